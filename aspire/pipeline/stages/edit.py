"""Stage 3: the same image without one of its features.

Object removal for every foreground phrase, a change of scene for the background. Pixels outside
the edit are bit-equal to the original, so that a changed prediction is due to the edit alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from aspire.data.images import Pixels
from aspire.data.loaded import LoadedImage
from aspire.editing.base import Inpainter, Mask, Restyler, RestyleRequest, Segmenter
from aspire.editing.composition import dilate
from aspire.pipeline.records import Edit, EditKind, Extraction, ImageRef, Rejected
from aspire.pipeline.stage import ItemResult, Json, SaveImage
from aspire.rng import seed_for


@dataclass(frozen=True)
class EditRequest:
    """One image, its phrases, and where its alternative scene may come from."""

    ref: ImageRef
    extraction: Extraction
    donors: tuple[ImageRef, ...]  # training images that show the alternative background


class EditStage:
    """EditRequest -> Edits.

    Rejections: ``no_mask`` (the phrase was not found in the image), ``no_object_mask`` (the class
    object was not found, so nothing can be kept), ``mask_too_large``, ``no_donor``.

    Args:
        root: the dataset's root.
        segmenter, inpainter, restyler: the backends.
        dilate: pixels by which a mask is grown before inpainting, in every direction (authors: 10
            at 512 px).
        images_per_class: how many images of each class the requests were drawn from; None for all.
        max_mask: a removal over a larger fraction of the image is not attempted, in (0, 1].
        seed: for the draws.
    """

    name: ClassVar[str] = "edit"
    version: ClassVar[int] = 1
    record = Edit

    def __init__(
        self,
        root: Path,
        segmenter: Segmenter,
        inpainter: Inpainter,
        restyler: Restyler,
        dilate: int = 3,
        max_mask: float = 0.5,
        images_per_class: int | None = None,
        seed: int = 0,
    ) -> None:
        self.root = Path(root)
        self.segmenter = segmenter
        self.inpainter = inpainter
        self.restyler = restyler
        self.dilate = dilate
        self.max_mask = max_mask
        self.images_per_class = images_per_class
        self.seed = seed

    def identity(self) -> Mapping[str, Json]:
        return {
            "segmenter": self.segmenter.identity(),
            "inpainter": self.inpainter.identity(),
            "restyler": self.restyler.identity(),
            "dilate": self.dilate,
            "max_mask": self.max_mask,
            "images_per_class": self.images_per_class,
            "seed": self.seed,
        }

    def item_id(self, item: EditRequest) -> str:
        return item.ref.img_id

    def run(self, items: Sequence[EditRequest], save: SaveImage) -> Iterator[ItemResult[Edit]]:
        for request in items:
            image = LoadedImage(request.ref, self.root)
            outcomes: list[Edit | Rejected] = [
                self._remove(image, phrase, save) for phrase in request.extraction.foreground
            ]
            if request.extraction.background is not None:
                outcomes.append(self._change_background(image, request, save))
            yield ItemResult(
                request.ref.img_id,
                tuple(o for o in outcomes if isinstance(o, Edit)),
                tuple(o for o in outcomes if isinstance(o, Rejected)),
            )

    def _remove(self, image: LoadedImage, phrase: str, save: SaveImage) -> Edit | Rejected:
        edit_id = f"{image.ref.img_id}/remove_object/{phrase}"
        mask = self.segmenter.segment(image, phrase)
        if mask is None:
            return Rejected(item_id=edit_id, reason="no_mask", detail=phrase)
        mask = dilate(mask, self.dilate)
        if (keep := self.segmenter.segment_class_object(image)) is not None:
            mask = mask & ~keep  # an object behind the class object must not take a bite out of it
        if mask.mean() > self.max_mask:
            return Rejected(
                item_id=edit_id,
                reason="mask_too_large",
                detail=f"{phrase}: {mask.mean():.0%} of the image, at most {self.max_mask:.0%}",
            )
        if not mask.any():
            return Rejected(item_id=edit_id, reason="no_mask", detail=f"{phrase}: hidden")
        edited = self.inpainter.inpaint(image.pixels, mask, seed_for(self.seed, edit_id))
        return self._record(image, edit_id, "remove_object", phrase, None, None, edited, mask, save)

    def _change_background(
        self, image: LoadedImage, request: EditRequest, save: SaveImage
    ) -> Edit | Rejected:
        phrase, new = request.extraction.background, request.extraction.alternative
        assert phrase is not None
        edit_id = f"{image.ref.img_id}/change_background/{phrase}"
        keep = self.segmenter.segment_class_object(image)
        if keep is None:
            return Rejected(item_id=edit_id, reason="no_object_mask", detail=phrase)
        restyled = new and self.restyler.restyle(
            RestyleRequest(
                image=image,
                keep=keep,
                source=phrase,
                target=new,
                donors=[LoadedImage(d, self.root) for d in request.donors],
                find_object=self.segmenter.segment_class_object,
                seed=seed_for(self.seed, edit_id),
            )
        )
        if not restyled:
            return Rejected(item_id=edit_id, reason="no_donor", detail=f"{phrase} -> {new}")
        return self._record(
            image,
            edit_id,
            "change_background",
            phrase,
            new,
            restyled.donor,
            restyled.pixels,
            ~keep,
            save,
        )

    def _record(
        self,
        image: LoadedImage,
        edit_id: str,
        kind: EditKind,
        phrase: str,
        replacement: str | None,
        donor: str | None,
        edited: Pixels,
        mask: Mask,
        save: SaveImage,
    ) -> Edit:
        return Edit(
            edit_id=edit_id,
            img_id=image.ref.img_id,
            y=image.ref.y,
            kind=kind,
            phrase=phrase,
            replacement=replacement,
            donor=donor,
            file=save(edited),
            mask=save(mask.astype(np.uint8) * 255),
            edited_share=round(float(mask.mean()), 6),
        )
