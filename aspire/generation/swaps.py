"""The arm ``augmentation=swaps``: a found object changes places with what others have there.

Taking an object out leaves a trace, and where the images of one class alone bear it, the trace is
learnt for the class. Here nothing is painted: an image of the class gets the region from an image
without the object, and images of other classes get the object. Both bear the same seam, so it says
nothing of the class, and the object is seen with every class. A region moves, never the class
object, so the labels stay (CutMix, Yun et al. 2019, arXiv 1905.04899, mixes labels too).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from aspire.data.images import read_image, read_labels
from aspire.data.loaded import LoadedImage
from aspire.editing.base import Segmenter
from aspire.editing.class_objects import ClassObjects
from aspire.editing.pixels import fill, resize
from aspire.generation.base import ClassEvidence, GenerationRequest, Sampled
from aspire.generation.contexts import avoided_phrases
from aspire.generation.edited import own_of, relative_to
from aspire.identity import Json
from aspire.records import Concept, Effect, ImageRef, Patch, Rejected, Swap
from aspire.rng import seed_for
from aspire.values import Count, Natural, OpenFraction


class FoundRegions:
    """Says for every class which regions change places; only found features that are objects do.

    An image of a class with such features is rid of all of them that it shows, or not used. Images
    of every class get the objects of others; those of a class with such features every second time.
    Found scenes stay where they are. So an object is seen with its class in real images, and with
    the others in these.

    Args:
        folder: that the files of the edits are below; the artifact store.
        copies: images made of each training image that can be used.
    """

    def __init__(self, folder: str | Path, copies: Count = 4) -> None:
        self.folder = Path(folder)
        self.copies = copies

    def identity(self) -> Mapping[str, Json]:
        return {"personaliser": "regions", "copies": self.copies}

    def personalise(self, evidence: ClassEvidence) -> Concept | Rejected:
        concept_id = f"{evidence.y:03d}"
        found = [f for f in evidence.features if f.spurious and f.kind == "remove_object"]
        avoided = frozenset(f.phrase for f in found)
        swaps = self._swaps(evidence, avoided)
        if not swaps:
            return self._nothing(evidence, avoided)
        return Concept(
            concept_id=concept_id,
            y=evidence.y,
            objects=(),
            contexts=(),
            avoided=tuple(sorted(avoided)),
            swaps=tuple(swaps),
        )

    def _nothing(self, evidence: ClassEvidence, avoided: frozenset[str]) -> Rejected:
        """Why nothing of the class changes places."""
        features = sorted(avoided or avoided_phrases(evidence))
        if not features:
            reason, why = "no_spurious_feature", "none of its own, and no object of another class"
        elif not avoided:
            reason, why = "only_scenes", f"what was found are scenes: {features}"
        elif all(shown & avoided for shown in evidence.phrases.values()):
            reason, why = "no_donor", f"every training image shows one of {features}"
        else:
            reason, why = "no_edit", f"no image was rid of all that it shows of {features}"
        return Rejected(
            item_id=f"{evidence.y:03d}", reason=reason, detail=f"{evidence.name}: {why}"
        )

    def _swaps(self, evidence: ClassEvidence, avoided: frozenset[str]) -> list[Swap]:
        """Every image once, then every image a second time, and so on."""
        given = tuple(self._regions(evidence.foreign, evidence).values())
        without = sorted(i for i, shown in evidence.phrases.items() if not shown & avoided)
        taken = self._taken(evidence, avoided) if without else {}
        images = sorted(taken) if avoided else [r.img_id for r in evidence.objects if given]
        swaps = []
        for copy in range(self.copies):
            for position, img_id in enumerate(images):
                rng = np.random.default_rng(seed_for(copy, "swaps", img_id))
                patches = []
                if avoided:
                    donor = without[rng.integers(len(without))]
                    patches.append(Patch(donor=donor, masks=taken[img_id].masks))
                if given and ((copy + position) % 2 or not avoided):
                    patches.append(given[rng.integers(len(given))])
                swaps.append(Swap(img_id=img_id, patches=tuple(patches)))
        return swaps

    def _taken(self, evidence: ClassEvidence, avoided: frozenset[str]) -> dict[str, Patch]:
        """The images of the class whose every spurious feature was taken out by an edit."""
        removed = defaultdict(set)
        effects = [e for e in evidence.effects if e.phrase in avoided and e.kind == "remove_object"]
        for effect in effects:
            removed[effect.img_id].add(effect.phrase)
        regions = self._regions(effects, evidence)
        shown = evidence.phrases
        return {i: r for i, r in regions.items() if shown[i] & avoided <= removed[i]}

    def _regions(self, effects: Sequence[Effect], evidence: ClassEvidence) -> dict[str, Patch]:
        """Image -> where all its objects are that these edits took out."""
        masks: dict[str, list[str]] = defaultdict(list)
        for effect in effects:
            masks[effect.img_id].append(relative_to(self.folder, evidence.masks[effect.edit_id]))
        return {i: Patch(donor=i, masks=tuple(files)) for i, files in masks.items()}


class RegionSampler:
    """Gives the n-th swap of a concept as its n-th image.

    Its attribute is that of its last donor, whose object, or lack of one, it shows. Where the
    annotated attribute is the scene instead, that is wrong: the scene stays.

    Args:
        root, refs: the dataset's root, and img_id -> image; given by the pipeline.
        folder: as of :class:`FoundRegions`.
        segmenter: finds the class objects.
        feather: pixels of soft rim, inside the region.
        max_covered: a swap that covers more of the class object is rejected as ``object_covered``.
        class_words: for each class the phrases that name its object; see the edit stage.
    """

    batch_size: ClassVar[int] = 16

    def __init__(
        self,
        root: Path,
        refs: Mapping[str, ImageRef],
        folder: str | Path,
        segmenter: Segmenter,
        feather: Natural = 6,
        max_covered: OpenFraction = 0.5,
        class_words: Sequence[Sequence[str]] = (),
    ) -> None:
        self.root = Path(root)
        self.refs = refs
        self.folder = Path(folder)
        self.segmenter = segmenter
        self.feather = feather
        self.max_covered = max_covered
        self.objects = ClassObjects(segmenter, class_words)

    def identity(self) -> Mapping[str, Json]:
        return {
            "sampler": "regions",
            "segmenter": self.segmenter.identity(),
            "feather": self.feather,
            "max_covered": self.max_covered,
        }

    def available(self, concept: Concept) -> int:
        """See :class:`aspire.generation.quota.Limited`."""
        return len(concept.swaps)

    def sample(self, requests: Sequence[GenerationRequest]) -> list[Sampled | Rejected]:
        return [self._image(request) for request in requests]

    def _image(self, asked: GenerationRequest) -> Sampled | Rejected:
        swap = own_of(asked, asked.concept.swaps, "swaps")
        if isinstance(swap, Rejected):
            return swap
        image = LoadedImage(self.refs[swap.img_id], self.root)
        (mask,) = self.objects.masks([image])
        pixels = image.pixels
        height, width = pixels.shape[:2]
        free = np.ones((height, width), bool)
        for patch in swap.patches:
            masks = [read_labels(self.folder / m) for m in patch.masks]
            where = np.any(masks, axis=0).astype(np.uint8)
            hole = resize(255 * where, height, width) > 127
            donor = read_image(self.root / self.refs[patch.donor].file)
            pixels = fill(pixels, hole, resize(donor, height, width), self.feather)
            free &= ~hole
        if mask is not None and mask.any():
            covered = 1 - float((mask & free).sum() / mask.sum())
            if covered > self.max_covered:
                detail = f"{covered:.0%} of {swap.img_id}'s object"
                return Rejected(item_id=asked.img_id, reason="object_covered", detail=detail)
        return Sampled(
            pixels=pixels,
            prompt=f"a photo of a {asked.class_name}",
            # the last one shows what the image shows: the object of another class, or none
            parents=(swap.img_id, *(p.donor for p in swap.patches)),
            mask=None if mask is None else mask & free,
        )
