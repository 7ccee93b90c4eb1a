"""A new background by cut and paste: the class object on the scene of another training image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, TypeAlias

import numpy as np

from aspire.data.loaded import LoadedImage
from aspire.editing.base import Failure, Inpainter, Mask, Restyled, RestyleRequest
from aspire.editing.pixels import dilate, paste, resize
from aspire.identity import Json
from aspire.values import Count, Natural

Choice: TypeAlias = tuple[LoadedImage, Mask]  # a donor and where its object is


class CompositionRestyler:
    """Pastes the kept object on the donor's scene, the donor's own object painted over.

    Args:
        inpainter: fills the place of the donor's object where the pasted one does not cover it.
        feather: width in pixels of the soft rim, outside the object, so that the cut does not
            show; the object's own pixels stay bit-equal.
        grow_donor: pixels by which the donor's object is widened before it is painted over, since
            annotated masks rarely reach the very edge.
        donor_candidates: of so many donors drawn at random the one is taken whose own object the
            pasted one covers best, since less has to be painted over then.
    """

    needs_donors: ClassVar[bool] = True

    def __init__(
        self,
        inpainter: Inpainter,
        feather: Natural = 2,
        grow_donor: Natural = 4,
        donor_candidates: Count = 8,
    ) -> None:
        self.inpainter = inpainter
        self.feather = feather
        self.grow_donor = grow_donor
        self.donor_candidates = donor_candidates

    def identity(self) -> Mapping[str, Json]:
        return {
            "restyler": "composition",
            "feather": self.feather,
            "grow_donor": self.grow_donor,
            "donor_candidates": self.donor_candidates,
            **self.inpainter.identity(),
        }

    def restyle(self, requests: Sequence[RestyleRequest]) -> list[Restyled | Failure | None]:
        chosen = self._chosen(requests)
        without = [i for i, choice in enumerate(chosen) if choice is None and requests[i].spare]
        others = self._chosen([replace(requests[i], donors=requests[i].spare) for i in without])
        for i, choice in zip(without, others, strict=True):
            chosen[i] = choice
        pairs = [
            (request, *choice)
            for request, choice in zip(requests, chosen, strict=True)
            if choice is not None
        ]
        scenes = iter(
            self.inpainter.inpaint(
                [donor.pixels for _, donor, _ in pairs],
                [dilate(mask, self.grow_donor) for _, _, mask in pairs],
                [request.seed for request, _, _ in pairs],
            )
        )
        results: list[Restyled | Failure | None] = []
        for request, choice in zip(requests, chosen, strict=True):
            if choice is None:
                results.append(None)
                continue
            pixels, scene = request.image.pixels, next(scenes)
            if isinstance(scene, Failure):
                results.append(scene)
                continue
            if scene.shape != pixels.shape:
                scene = resize(scene, pixels.shape[0], pixels.shape[1])
            pasted = paste(pixels, request.keep, scene, self.feather)
            results.append(Restyled(pasted, choice[0].ref))
        return results

    def _chosen(self, requests: Sequence[RestyleRequest]) -> list[Choice | None]:
        drawn = [self._candidates(request) for request in requests]
        masks: list[list[Mask | None]] = [[] for _ in requests]
        # One question about the candidates of all requests that ask the same segmenter.
        for find in dict.fromkeys(request.find_objects for request in requests):
            places = [i for i, request in enumerate(requests) if request.find_objects == find]
            answers = iter(find([donor for i in places for donor in drawn[i]]))
            for i in places:
                masks[i] = [next(answers) for _ in drawn[i]]
        return [
            best_covered(request.keep, donors, found)
            for request, donors, found in zip(requests, drawn, masks, strict=True)
        ]

    def _candidates(self, request: RestyleRequest) -> list[LoadedImage]:
        rng = np.random.default_rng(request.seed)
        number = min(self.donor_candidates, len(request.donors))
        drawn = rng.choice(len(request.donors), size=number, replace=False) if number else ()
        return [request.donors[int(index)] for index in drawn]


def best_covered(
    keep: Mask, donors: Sequence[LoadedImage], masks: Sequence[Mask | None]
) -> Choice | None:
    """The donor whose object ``keep`` covers best; None when no donor's object is known."""
    known = [(d, m) for d, m in zip(donors, masks, strict=True) if m is not None]
    return min(known, key=lambda pair: uncovered_share(pair[1], keep), default=None)


def uncovered_share(mask: Mask, cover: Mask) -> float:
    """Fraction of the image that is in ``mask`` and not under ``cover``."""
    return float((mask & ~cover).mean() if mask.shape == cover.shape else mask.mean())
