"""Stage 3: the same image without one of its features.

Object removal for every foreground phrase, a change of scene for the background. Pixels outside
the edit are bit-equal to the original, so that a changed prediction is due to the edit alone.
Beside each edit there is a control, which went the same way without taking the feature away: it
shows what the editor itself breaks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np

from aspire.data.images import Pixels
from aspire.data.loaded import LoadedImage
from aspire.editing.base import (
    Failure,
    Inpainter,
    Mask,
    Restyled,
    Restyler,
    RestyleRequest,
    Segmentation,
    Segmenter,
)
from aspire.editing.base import found as segmented
from aspire.editing.batching import Batches
from aspire.editing.class_objects import ClassObjects
from aspire.editing.control_mask import elsewhere
from aspire.editing.donors import Donors, photograph
from aspire.editing.pixels import dilate
from aspire.identity import Json
from aspire.language.concepts import cells_of
from aspire.pipeline.saving import save_all
from aspire.pipeline.stage import ItemResult, SaveImage
from aspire.records import Edit, EditKind, EditReason, Extraction, ImageRef, Region, Rejected
from aspire.rng import seed_for

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class EditRequest:
    """One image, its phrases, and where its scenes may come from.

    Requests share the tuples of spare donors, so the image itself may be in them; it is not used.

    Args:
        donors: training images that show the alternative background, dealt to this image.
        control_donors: the same of the background it has.
        spare, control_spare: all that show them, for when the object of none of those is known.
    """

    ref: ImageRef
    extraction: Extraction
    donors: tuple[ImageRef, ...]
    control_donors: tuple[ImageRef, ...] = ()
    spare: tuple[ImageRef, ...] = ()
    control_spare: tuple[ImageRef, ...] = ()


@dataclass(frozen=True)
class _Plan:
    """An edit that can be made."""

    image: LoadedImage
    kind: EditKind
    phrase: str
    replacement: str | None
    mask: Mask  # where pixels may change

    @property
    def edit_id(self) -> str:
        """Of the edit."""
        return _edit_id(self.image.ref.img_id, self.kind, self.phrase)

    def rejected(self, reason: EditReason, detail: str) -> Rejected:
        """It could not be carried out."""
        return _rejected(self.image, self.kind, self.phrase, reason, detail)


def _edit_id(img_id: str, kind: EditKind, phrase: str) -> str:
    return f"{img_id}/{kind}/{phrase}"


def _rejected(
    image: LoadedImage, kind: EditKind, phrase: str, reason: EditReason, detail: str = ""
) -> Rejected:
    img_id = image.ref.img_id
    return Rejected(
        item_id=_edit_id(img_id, kind, phrase),
        reason=reason,
        detail=f"{phrase}: {detail}" if detail else phrase,
        img_id=img_id,
        kind=kind,
        phrase=phrase,
    )


@dataclass(frozen=True)
class _Made:
    """What became of a plan, and of its control if it has one."""

    plan: _Plan
    edited: Pixels | Failure
    donor: ImageRef | None
    control: Pixels | Failure | None


@dataclass(frozen=True)
class _Hole:
    """Something to paint over."""

    pixels: Pixels
    mask: Mask
    seed: int
    beside: Mask | None  # the class object


class EditStage:
    """EditRequest -> Edits. The backends are asked for all items of a batch at once.

    Rejections: ``no_box``, ``low_score`` (the phrase was not found in the image, or not surely
    enough), ``empty_mask`` (found, and no pixel of it can be removed), ``mask_too_large``,
    ``no_object_mask`` (the class object was not found, so nothing can be kept), ``no_donor``,
    ``failed`` (a backend broke down on this image; the detail says how).

    Args:
        root: the dataset's root.
        segmenter, inpainter, restyler: the backends.
        class_words: for each class the phrases that name its object, best first; for segmenters
            that look for it by words. They follow from the dataset, so they are no part of the
            identity.
        dilate: pixels by which a mask is grown before inpainting, in every direction (authors: 10
            at 512 px).
        max_mask: a removal over a larger fraction of the image is not attempted, in (0, 1].
        controls: whether each edit gets a control: for a removal the same shape at a random other
            place, off the class object and off the feature, inpainted the same way; for a change
            of scene the same way to the scene the image shows already. Doubles the work.
        images_per_class: how many images of each class the requests were drawn from; None for all.
        seed: for the draws.
    """

    name: ClassVar[str] = "edit"
    version: ClassVar[int] = 7
    record = Edit

    def __init__(
        self,
        root: Path,
        segmenter: Segmenter,
        inpainter: Inpainter,
        restyler: Restyler,
        class_words: Sequence[Sequence[str]] = (),
        dilate: int = 3,
        max_mask: float = 0.5,
        controls: bool = True,
        images_per_class: int | None = None,
        seed: int = 0,
    ) -> None:
        self.root = Path(root)
        self.segmenter = segmenter
        self.inpainter = inpainter
        self.restyler = restyler
        self.dilate = dilate
        self.max_mask = max_mask
        self.controls = controls
        self.images_per_class = images_per_class
        self.seed = seed
        self._objects = ClassObjects(segmenter, class_words)

    def identity(self) -> Mapping[str, Json]:
        return {
            "segmenter": self.segmenter.identity(),
            "inpainter": self.inpainter.identity(),
            "restyler": self.restyler.identity(),
            "dilate": self.dilate,
            "max_mask": self.max_mask,
            "controls": self.controls,
            "images_per_class": self.images_per_class,
            "seed": self.seed,
        }

    def item_id(self, item: EditRequest) -> str:
        return item.ref.img_id

    def run(self, items: Sequence[EditRequest], save: SaveImage) -> Iterator[ItemResult[Edit]]:
        images = {i.ref.img_id: LoadedImage(i.ref, self.root) for i in items}
        asked = [i for i in items if i.extraction.foreground or i.extraction.background]
        objects = dict(
            zip(
                (i.ref.img_id for i in asked),
                self._objects.segment([images[i.ref.img_id] for i in asked]),
                strict=True,
            )
        )
        wanted = [(item, phrase) for item in asked for phrase in item.extraction.foreground]
        found = _all_at_once(lambda batch: self._places(batch, images), wanted)
        outcomes = self._removals(wanted, found, images, objects, save)
        things: dict[str, list[Mask]] = defaultdict(list)
        for (item, _), answer in zip(wanted, found, strict=True):
            if isinstance(answer, Segmentation) and answer.mask is not None:
                things[item.ref.img_id].append(answer.mask)
        outcomes |= self._scene_changes(asked, images, objects, things, save)
        for item in items:
            extraction = item.extraction
            ids = [
                _edit_id(item.ref.img_id, "remove_object", phrase)
                for phrase in extraction.foreground
            ]
            if extraction.background is not None:
                ids.append(_edit_id(item.ref.img_id, "change_background", extraction.background))
            own = [outcomes[edit_id] for edit_id in ids]
            yield ItemResult(
                item.ref.img_id,
                tuple(o for o in own if isinstance(o, Edit)),
                tuple(o for o in own if isinstance(o, Rejected)),
            )

    def _places(
        self, wanted: Sequence[tuple[EditRequest, str]], images: Mapping[str, LoadedImage]
    ) -> list[Segmentation]:
        """Where each phrase is: known already, or the segmenter is asked."""
        known = [known_region(item.extraction, phrase) for item, phrase in wanted]
        rest = [pair for pair, region in zip(wanted, known, strict=True) if region is None]
        asked = iter(
            self.segmenter.segment([images[i.ref.img_id] for i, _ in rest], [p for _, p in rest])
            if rest
            else ()
        )
        return [
            next(asked)
            if region is None
            else segmented(mask_of(region, images[item.ref.img_id].pixels))
            for (item, _), region in zip(wanted, known, strict=True)
        ]

    def _removals(
        self,
        wanted: Sequence[tuple[EditRequest, str]],
        found: Sequence[Segmentation | Failure],
        images: Mapping[str, LoadedImage],
        objects: Mapping[str, Segmentation],
        save: SaveImage,
    ) -> dict[str, Edit | Rejected]:
        outcomes: dict[str, Edit | Rejected] = {}
        plans: list[_Plan] = []
        for (item, phrase), answer in zip(wanted, found, strict=True):
            keep = objects[item.ref.img_id].mask
            if known_region(item.extraction, phrase) is not None:
                keep = None  # it was seen to be no part of the class object, so all of it goes
            image = images[item.ref.img_id]
            planned = self._plan_removal(image, phrase, answer, keep)
            if isinstance(planned, _Plan):
                plans.append(planned)
            else:
                outcomes[planned.item_id] = planned
        keeps = {plan.edit_id: objects[plan.image.ref.img_id].mask for plan in plans}
        holes = [
            _Hole(p.image.pixels, p.mask, seed_for(self.seed, p.edit_id), keeps[p.edit_id])
            for p in plans
        ]
        others: dict[str, _Hole] = {}
        for plan in plans if self.controls else ():
            seed = seed_for(self.seed, plan.edit_id, "control")
            keep = keeps[plan.edit_id]
            mask = elsewhere(plan.mask, _avoided(plan.mask, keep), seed)
            if mask is not None:
                others[plan.edit_id] = _Hole(plan.image.pixels, mask, seed, keep)
        painted = _all_at_once(self._fill, [*holes, *others.values()])
        controls = dict(zip(others, painted[len(holes) :], strict=True))
        made = [
            _Made(plan, pixels, None, controls.get(plan.edit_id))
            for plan, pixels in zip(plans, painted, strict=False)
        ]
        return outcomes | _records(made, save)

    def _fill(self, holes: Sequence[_Hole]) -> list[Pixels | Failure]:
        masks = [h.mask for h in holes]
        if self.inpainter.bleeds:
            larger = [h.mask if h.beside is None else h.mask | h.beside for h in holes]
            masks = [m if w.all() else w for m, w in zip(masks, larger, strict=True)]
        painted = self.inpainter.inpaint([h.pixels for h in holes], masks, [h.seed for h in holes])
        return [
            p if isinstance(p, Failure) else np.where(h.mask[..., None], p, h.pixels)
            for h, p in zip(holes, painted, strict=True)
        ]

    def _plan_removal(
        self,
        image: LoadedImage,
        phrase: str,
        answer: Segmentation | Failure,
        keep: Mask | None,
    ) -> _Plan | Rejected:
        if isinstance(answer, Failure):
            return _rejected(image, "remove_object", phrase, "failed", answer.detail)
        if answer.mask is None:
            reason = answer.reason or "no_box"
            return _rejected(image, "remove_object", phrase, reason, answer.detail)
        mask = dilate(answer.mask, self.dilate)
        if keep is not None:
            mask = mask & ~keep  # an object behind the class object must not take a bite out of it
        if mask.mean() > self.max_mask:
            size = f"{mask.mean():.0%} of the image, at most {self.max_mask:.0%}"
            return _rejected(image, "remove_object", phrase, "mask_too_large", size)
        if not mask.any():
            hidden = "hidden by the class object"
            return _rejected(image, "remove_object", phrase, "empty_mask", hidden)
        return _Plan(image, "remove_object", phrase, None, mask)

    def _scene_changes(
        self,
        items: Sequence[EditRequest],
        images: Mapping[str, LoadedImage],
        objects: Mapping[str, Segmentation],
        things: Mapping[str, Sequence[Mask]],
        save: SaveImage,
    ) -> dict[str, Edit | Rejected]:
        outcomes: dict[str, Edit | Rejected] = {}
        plans: list[_Plan] = []
        requests: list[RestyleRequest] = []
        others: dict[str, RestyleRequest] = {}
        for item in items:
            phrase, new = item.extraction.background, item.extraction.alternative
            if phrase is None:
                continue
            edit_id = _edit_id(item.ref.img_id, "change_background", phrase)
            image, segmentation = images[item.ref.img_id], objects[item.ref.img_id]
            keep = segmentation.mask
            if keep is None:
                broke = segmentation.reason == "failed"
                reason: EditReason = "failed" if broke else "no_object_mask"
                outcomes[edit_id] = _rejected(
                    image, "change_background", phrase, reason, segmentation.detail
                )
                continue
            if new is None:  # the corpus shows no other scene
                outcomes[edit_id] = _rejected(
                    image, "change_background", phrase, "no_donor", "no other scene is known"
                )
                continue
            # What stands before the scene stays, so that the scene alone is judged; what would be
            # too large to remove may well be the scene itself.
            for thing in things.get(item.ref.img_id, ()):
                keep = keep | thing if thing.mean() <= self.max_mask else keep
            request = RestyleRequest(
                image=image,
                keep=keep,
                source=phrase,
                target=new,
                donors=Donors(item.donors, item.ref, self.root),
                find_objects=self._objects.masks,
                seed=seed_for(self.seed, edit_id),
                spare=Donors(item.spare, item.ref, self.root),
            )
            plans.append(_Plan(image, "change_background", phrase, new, ~keep))
            requests.append(request)
            if self.controls:
                others[edit_id] = replace(
                    request,
                    target=phrase,
                    donors=Donors(item.control_donors, item.ref, self.root),
                    seed=seed_for(self.seed, edit_id, "control"),
                    spare=Donors(item.control_spare, item.ref, self.root),
                )
        restyled = _all_at_once(self.restyler.restyle, [*requests, *others.values()])
        controls = dict(zip(others, restyled[len(requests) :], strict=True))
        made: list[_Made] = []
        for plan, answer in zip(plans, restyled, strict=False):
            if answer is None:
                detail = f"no image of {plan.replacement}"
                outcomes[plan.edit_id] = plan.rejected("no_donor", detail)
                continue
            control = controls.get(plan.edit_id)
            pixels, donor = (
                (answer.pixels, answer.donor) if isinstance(answer, Restyled) else (answer, None)
            )
            other = control.pixels if isinstance(control, Restyled) else None
            made.append(_Made(plan, pixels, donor, other))
        return outcomes | _records(made, save)


def _avoided(mask: Mask, keep: Mask | None) -> Mask:
    """What a control's hole must not touch: the class object, or all but that.

    A visual concept may lie on the class object, or be a part of it that was not known as such. Its
    control bites as large a piece out of the object elsewhere, where there is one.
    """
    if keep is None:
        return mask
    bitten = (mask & keep).sum() > mask.sum() / 2
    if bitten:
        within = mask | ~keep
        return within if (~within).sum() >= mask.sum() else mask
    return mask | keep


def known_region(extraction: Extraction, phrase: str) -> Region | None:
    """Where a phrase is, if that was seen before any segmenter was asked."""
    return (extraction.regions or {}).get(phrase)


def mask_of(region: Region, pixels: Pixels) -> Mask:
    """(H, W) of an image."""
    cells = cells_of(region)
    height, width = pixels.shape[:2]
    rows, columns = (np.arange(n) * region.side // n for n in (height, width))
    return np.asarray(cells[rows[:, None], columns[None, :]])


def _all_at_once(
    work: Callable[[Sequence[T]], Sequence[R | Failure]], items: Sequence[T]
) -> list[R | Failure]:
    """What a backend makes of all items; a :class:`Failure` where it broke down."""
    return Batches(len(items)).map(work, items)


def _records(made: Sequence[_Made], save: SaveImage) -> dict[str, Edit | Rejected]:
    """The edits with their files; a control that could not be made is None, not a rejection."""
    records: dict[str, Edit | Rejected] = {}
    images: list[Pixels] = []
    for one in made:
        if not isinstance(one.edited, Failure):
            images += [one.edited, one.plan.mask.astype(np.uint8) * 255]
            if isinstance(one.control, np.ndarray):
                images.append(one.control)
    files = iter(save_all(save, images))
    for one in made:
        plan = one.plan
        if isinstance(one.edited, Failure):
            records[plan.edit_id] = plan.rejected("failed", one.edited.detail)
            continue
        records[plan.edit_id] = Edit(
            edit_id=plan.edit_id,
            img_id=plan.image.ref.img_id,
            y=plan.image.ref.y,
            kind=plan.kind,
            phrase=plan.phrase,
            replacement=plan.replacement,
            donor=one.donor.img_id if one.donor else None,
            file=next(files),
            mask=next(files),
            edited_share=round(float(plan.mask.mean()), 6),
            control=next(files) if isinstance(one.control, np.ndarray) else None,
            photograph=photograph(one.donor) if one.donor else None,
        )
    return records
