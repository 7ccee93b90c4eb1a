"""``extractor=concepts``: features that were seen, where no caption names them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import Pixels
from aspire.data.loaded import LoadedImage
from aspire.eye import Eye, shared_eye
from aspire.identity import Json
from aspire.language.activation import RATHER, heat, object_classes, sureness
from aspire.language.concepts import (
    Bools,
    Cluster,
    Floats,
    axes_of,
    clusters_of,
    grown,
    joined,
    learn_axes,
    nearest,
    region_of,
    shares_of,
)
from aspire.language.imagenet import thousand
from aspire.records import ConceptSpace, Crop, Extraction, Part, VisualConcept
from aspire.values import Count, Fraction, Natural, Several

CROPS = 6  # of a concept, shown and named by
LOOKED = 16  # images of a class in which its object is looked for
SURE = 0.5  # probability from which it is there


class ConceptExtractor:
    """Clusters parts of images by class; see :mod:`aspire.language.concepts`.

    Args:
        clusters: numbers of clusters to choose from, by the rule there.
        per_class: concepts of a class, those with the largest contrast.
        min_contrast: by how much oftener a concept is in images of its class than in others.
        scene: a concept that covers a larger share of the images that show it is their scene, which
            is changed for another; where there is no other it is taken out as an object is.
        on_object: a concept of which a larger share lies where the class object lights up is a part
            of that, whatever the network calls it, and no feature.
        images_per_class: that concepts are learnt from; bounds memory.
        seed: of the draw and of the clusters.
    """

    needs_captions: ClassVar[bool] = False

    def __init__(
        self,
        clusters: Sequence[Several] = (16, 24, 32),
        per_class: Count = 4,
        min_contrast: Fraction = 0.2,
        scene: Fraction = 0.25,
        on_object: Fraction = 0.4,
        images_per_class: Count = 200,
        seed: Natural = 0,
    ) -> None:
        self.clusters = tuple(clusters)
        self.per_class = per_class
        self.min_contrast = min_contrast
        self.scene = scene
        self.on_object = on_object
        self.images_per_class = images_per_class
        self.seed = seed
        self.eye = Eye(sides=(224,))

    def identity(self) -> Mapping[str, Json]:
        return {
            "extractor": "concepts",
            "version": 2,
            "eye": self.eye.identity(),
            "clusters": list(self.clusters),
            "per_class": self.per_class,
            "min_contrast": self.min_contrast,
            "scene": self.scene,
            "on_object": self.on_object,
            "images_per_class": self.images_per_class,
            "seed": self.seed,
        }

    def learn(
        self,
        images: Sequence[LoadedImage],
        class_words: Sequence[Sequence[str]],
    ) -> ConceptSpace:
        """The concepts of all classes.

        Args:
            images: of all classes, at most ``images_per_class`` of each.
            class_words: for each class the words for its object.
        """
        grids = self.eye.cells(map(_read, images))
        side = grids.shape[1]
        axes = learn_axes(grids, self.seed)
        points = axes.points(grids).reshape(len(images), side * side, -1)
        y = np.array([i.ref.y for i in images])
        centres, concepts = [], []
        for label, words in enumerate(class_words):
            own = np.asarray(y == label)
            if not own.any():
                centres.append(np.zeros((0, points.shape[-1]), np.float32))
                continue
            found, clusters = clusters_of(points, own, self.clusters, self.seed)
            centres.append(found)
            near, far = nearest(points, found)
            near, far = near.reshape(-1, side, side), far.reshape(-1, side, side)
            clear = [c for c in clusters if c.contrast >= self.min_contrast]
            lit = _lit(images, np.flatnonzero(own), words, side) if clear else {}
            kept = 0
            for parts in joined(clear, near, far, own):
                if kept == self.per_class:
                    break
                concept = self._concept(label, parts, near, far, own, images, words, lit)
                if concept is not None:
                    concepts.append(concept)
                    kept += 1
        return ConceptSpace(
            mean=tuple(map(_plain, axes.mean)),
            scale=tuple(map(_plain, axes.scale)),
            basis=tuple(tuple(map(_plain, row)) for row in axes.basis),
            centres=tuple(tuple(tuple(map(_plain, c)) for c in found) for found in centres),
            concepts=_named_apart(_with_others(concepts)),
        )

    def _concept(
        self,
        y: int,
        clusters: Sequence[Cluster],
        near: NDArray[np.int64],
        far: Floats,
        own: Bools,
        images: Sequence[LoadedImage],
        words: Sequence[str],
        lit: Mapping[int, Bools],
    ) -> VisualConcept | None:
        """None where the network takes it for the class object, and where it lies on that.

        Args:
            y: the class.
            clusters: it is made of, the clearest first.
            near, far, own: see :func:`joined`.
            images: of all classes.
            words: for the class object.
            lit: image -> (side, side) where its object is, for some.
        """
        parts = tuple(Part(cluster=c.number, radius=c.radius) for c in clusters)
        places = places_of(parts, near, far)
        first = places_of(parts[:1], near, far)
        shows = np.flatnonzero(first.any(axis=(1, 2)) & own)
        closest = [float(far[i][first[i]].min()) for i in shows]
        best = [int(i) for i in shows[np.argsort(closest, kind="stable")[:CROPS]]]
        crops = [Crop(img_id=images[i].ref.img_id, box=_box(places[i])) for i in best]
        cuts = [_cut(_read(images[i]), c.box) for i, c in zip(best, crops, strict=True)]
        logits = np.stack([self.eye.logits(s.pooled()) for s in self.eye.look(cuts)])
        name, is_object = _nearest_word(logits, words)
        if is_object:
            return None
        area = float(grown(places[own & places.any(axis=(1, 2))]).mean())
        if area <= self.scene and self._is_part(places, lit):
            return None
        shown, elsewhere = shares_of(places, own)
        return VisualConcept(
            name=f"{name}?",
            y=y,
            parts=parts,
            scene=area > self.scene,
            own=round(shown, 4),
            others=round(elsewhere, 4),
            crops=tuple(crops),
        )

    def _is_part(self, places: Bools, lit: Mapping[int, Bools]) -> bool:
        """Whether it is a part of the class object: (N, side, side) where it is in each image."""
        shares = [lit[i][grown(places[i])].mean() for i in lit if places[i].any()]
        return bool(shares) and float(np.mean(shares)) > self.on_object

    def look(self, images: Sequence[LoadedImage], space: ConceptSpace) -> list[Extraction]:
        """The concepts of each image, and where they are.

        ``regions`` holds what it shows of any class's, ``foreground`` what of its own: that is what
        is taken out of it. Its scene is the one that covers most of it.
        """
        grids = self.eye.cells([i.pixels for i in images])
        points = axes_of(space).points(grids)
        places: list[dict[str, Bools]] = [{} for _ in images]
        for y, centres in enumerate(space.centres):
            mine = [c for c in space.concepts if c.y == y]
            if not mine:
                continue
            near, far = nearest(points, np.array(centres, dtype=np.float32))
            for concept in mine:
                cells = places_of(concept.parts, near, far)
                for i in np.flatnonzero(cells.any(axis=(1, 2))):
                    places[i][concept.name] = grown(cells[i])
        found = []
        for image, shown in zip(images, places, strict=True):
            own = [c for c in space.concepts if c.y == image.ref.y and c.name in shown]
            scenes = sorted(c.name for c in own if c.scene)
            found.append(
                Extraction(
                    img_id=image.ref.img_id,
                    foreground=tuple(c.name for c in own if not c.scene),
                    background=max(scenes, key=lambda name: shown[name].sum(), default=None),
                    alternative=None,
                    regions={name: region_of(cells) for name, cells in sorted(shown.items())},
                )
            )
        return found


def places_of(parts: Sequence[Part], near: NDArray[np.int64], far: Floats) -> Bools:
    """Where a concept is: the cells nearest to one of its centres, and near enough."""
    found = [(near == p.cluster) & (far <= p.radius) for p in parts]
    return np.asarray(np.any(found, axis=0))


def _lit(
    images: Sequence[LoadedImage], own: NDArray[np.intp], words: Sequence[str], side: int
) -> dict[int, Bools]:
    """Of some images of a class, evenly drawn: (side, side) where its object lights up.

    Only of those that the network surely knows it in. Where ImageNet has no word for the class
    that is an animal: what else an image is most surely of may be the thing beside the object.
    """
    eye, table = shared_eye("auto"), thousand()
    related, found = table.relatives(words), {}
    for i in own[np.linspace(0, len(own) - 1, min(LOOKED, len(own))).round().astype(int)]:
        answers = eye.answers(eye.look([_read(images[i])])[0])
        classes = object_classes(answers, words)
        known = bool(related) or classes == table.animals
        if known and sureness(answers, classes) >= SURE:
            found[int(i)] = np.asarray(heat(answers, classes, (side, side)) > RATHER)
    return found


def _read(image: LoadedImage) -> Pixels:
    """The pixels, which nobody keeps: thousands are looked at."""
    return LoadedImage(image.ref, image.root).pixels


def _nearest_word(logits: Floats, class_words: Sequence[str]) -> tuple[str, bool]:
    """What parts of images look most like, and whether that is the class object.

    Args:
        logits: (N, 1000) of the parts.
        class_words: for the class object.
    """
    table = thousand()
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = (powers / powers.sum(axis=1, keepdims=True)).mean(axis=0)
    best = int(p.argmax())
    return table.words[best], best in table.relatives(class_words)


def _plain(value: np.float32) -> float:
    return round(float(value), 5)


def _box(cells: Bools) -> tuple[float, float, float, float]:
    """Around the largest part that hangs together, in fractions."""
    import cv2

    _, _, stats, _ = cv2.connectedComponentsWithStats(cells.astype(np.uint8), connectivity=8)
    left, top, width, height, _ = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())]
    side = len(cells)
    x0, y0, x1, y1 = (round(int(e) / side, 4) for e in (left, top, left + width, top + height))
    return x0, y0, x1, y1


def _cut(pixels: Pixels, box: tuple[float, float, float, float]) -> Pixels:
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box
    return pixels[
        int(y0 * height) : max(int(y0 * height) + 1, round(y1 * height)),
        int(x0 * width) : max(int(x0 * width) + 1, round(x1 * width)),
    ]


def _with_others(concepts: Sequence[VisualConcept]) -> Sequence[VisualConcept]:
    """The same, a lone scene as an object: there is nothing that it could be changed for."""
    import msgspec

    if sum(c.scene for c in concepts) != 1:
        return concepts
    return [msgspec.structs.replace(c, scene=False) for c in concepts]


def _named_apart(concepts: Sequence[VisualConcept]) -> tuple[VisualConcept, ...]:
    """A second concept of one name is "name? 2"."""
    import msgspec

    seen: Counter[str] = Counter()
    apart = []
    for concept in concepts:
        seen[concept.name] += 1
        n = seen[concept.name]
        apart.append(
            concept if n == 1 else msgspec.structs.replace(concept, name=f"{concept.name} {n}")
        )
    return tuple(apart)
