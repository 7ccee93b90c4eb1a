"""The arm ``augmentation=edits``: the edited images themselves, as the generated set.

What discovery made anyway, real images whose last found feature was taken out, is trained on as it
is. So there are as many images as there are such edits, each once.

A class of which nothing was found is shown, where usual images are wanted, by its control edits:
they bear the traces of the same work and show what the class usually shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from aspire.data.images import read_image
from aspire.data.loaded import LoadedImage
from aspire.editing.base import Segmenter
from aspire.editing.class_objects import ClassObjects
from aspire.errors import ConfigError
from aspire.generation.base import ClassEvidence, GenerationRequest, Sampled
from aspire.generation.contexts import avoided_phrases
from aspire.identity import Json
from aspire.records import Concept, Effect, ImageRef, Picture, Rejected
from aspire.rng import seed_for

T = TypeVar("T")


class EditedImages:
    """Hands on all edits after which a correctly classified image shows no spurious feature.

    An edit that left another one, or put one there with the new scene, is none of them; neither is
    any control edit, but as a usual image. They are shuffled once, so that the first of them are a
    fair sample.

    Args:
        folder: that the files of the edits are below; the artifact store.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def identity(self) -> Mapping[str, Json]:
        return {"personaliser": "edits"}

    def personalise(self, evidence: ClassEvidence) -> Concept | Rejected:
        concept_id = f"{evidence.y:03d}"
        avoided = avoided_phrases(evidence)
        if not avoided:
            return Rejected(item_id=concept_id, reason="no_spurious_feature", detail=evidence.name)
        chosen = [e for e in evidence.effects if e.phrase in avoided and _frees(e, evidence)]
        if not chosen:
            detail = f"{evidence.name}: no edit left an image without {sorted(avoided)}"
            return Rejected(item_id=concept_id, reason="no_edit", detail=detail)
        return Concept(
            concept_id=concept_id,
            y=evidence.y,
            objects=(),
            contexts=(),
            avoided=tuple(sorted(avoided)),
            pictures=self._pictures(chosen, evidence.edited),
        )

    def usual(self, evidence: ClassEvidence) -> Concept | None:
        """The control edits of a class; see :class:`aspire.generation.base.ShowsUsual`."""
        chosen = [e for e in evidence.effects if e.edit_id in evidence.controls]
        if not chosen:
            return None
        return Concept(
            concept_id=f"{evidence.y:03d}",
            y=evidence.y,
            objects=(),
            contexts=(),
            avoided=(),
            pictures=self._pictures(chosen, evidence.controls),
        )

    def _pictures(self, chosen: Sequence[Effect], files: Mapping[str, Path]) -> tuple[Picture, ...]:
        """Of the edits, shuffled once."""
        return tuple(
            Picture(
                file=relative_to(self.folder, files[e.edit_id]),
                edit_id=e.edit_id,
                img_id=e.img_id,
                scene=e.replacement,
            )
            for e in sorted(chosen, key=lambda e: seed_for(0, "edits", e.edit_id))
        )


def relative_to(folder: Path, file: Path) -> str:
    """A file of an edit as records name it, below the artifact store.

    Raises:
        ConfigError: when it is not below.
    """
    try:
        return file.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        raise ConfigError(
            f"personaliser.folder={folder}: the edits are not below it, but in "
            f"{file.parent}. Expected the artifact store, ${{paths.outputs}}/artifacts."
        ) from None


def _frees(effect: Effect, evidence: ClassEvidence) -> bool:
    """Whether the edited image is at hand and shows no spurious feature of its class."""
    avoided = avoided_phrases(evidence)
    left = evidence.phrases.get(effect.img_id, frozenset()) - {effect.phrase}
    free = not left & avoided and effect.replacement not in avoided
    return free and effect.edit_id in evidence.edited


def own_of(asked: GenerationRequest, there: Sequence[T], name: str) -> T | Rejected:
    """What the n-th image of a class is made of; its number is the end of its id.

    Args:
        asked: for the image.
        there: one for each image that can be made.
        name: what they are called.
    """
    number = int(asked.img_id.rpartition("-")[2])
    if number < len(there):
        return there[number]
    detail = f"{len(there)} {name} in all"
    return Rejected(item_id=asked.img_id, reason=f"no_more_{name}", detail=detail)


class EditSampler:
    """Gives the n-th picture of a concept as its n-th image.

    Args:
        root, refs: the dataset's root, and img_id -> image; given by the pipeline.
        folder: as of :class:`EditedImages`.
        segmenter: finds the class objects, which no edit touches; for filters.
        class_words: for each class the phrases that name its object; see the edit stage.
    """

    batch_size: ClassVar[int] = 16

    def __init__(
        self,
        root: Path,
        refs: Mapping[str, ImageRef],
        folder: str | Path,
        segmenter: Segmenter,
        class_words: Sequence[Sequence[str]] = (),
    ) -> None:
        self.root = Path(root)
        self.refs = refs
        self.folder = Path(folder)
        self.segmenter = segmenter
        self.objects = ClassObjects(segmenter, class_words)

    def identity(self) -> Mapping[str, Json]:
        return {"sampler": "edits", "segmenter": self.segmenter.identity()}

    def available(self, concept: Concept) -> int:
        """See :class:`aspire.generation.quota.Limited`."""
        return len(concept.pictures)

    def sample(self, requests: Sequence[GenerationRequest]) -> list[Sampled | Rejected]:
        return [self._image(request) for request in requests]

    def _image(self, asked: GenerationRequest) -> Sampled | Rejected:
        picture = own_of(asked, asked.concept.pictures, "edits")
        if isinstance(picture, Rejected):
            return picture
        shown = f", {picture.scene}" if picture.scene else ""
        (mask,) = self.objects.masks([LoadedImage(self.refs[picture.img_id], self.root)])
        return Sampled(
            pixels=read_image(self.folder / picture.file),
            prompt=f"a photo of a {asked.class_name}{shown}",
            parents=(picture.img_id, ""),
            mask=mask,
            scene=picture.scene or "",
        )
