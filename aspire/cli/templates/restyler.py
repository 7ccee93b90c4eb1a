"""Blank: what puts the class object into another scene, and where it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from aspire.editing.base import Failure, Restyled, RestyleRequest
from aspire.editing.pixels import resize
from aspire.identity import Json
from aspire.values import Fraction


class Blank:
    """Lays the objects over the first donor of the scene.

    Args:
        strength: share of the new scene, in [0, 1]; the rest is the old one.
    """

    needs_donors: ClassVar[bool] = True

    def __init__(self, strength: Fraction = 1.0) -> None:
        self.strength = strength

    def identity(self) -> Mapping[str, Json]:
        return {"restyler": "blank", "version": 1, "strength": self.strength}

    def restyle(self, requests: Sequence[RestyleRequest]) -> list[Restyled | Failure | None]:
        return [self._restyle(request) if request.donors else None for request in requests]

    def _restyle(self, request: RestyleRequest) -> Restyled:
        old, donor = request.image.pixels, request.donors[0]
        new = resize(donor.pixels, *old.shape[:2])
        mixed = np.rint(self.strength * new + (1 - self.strength) * old).astype(np.uint8)
        return Restyled(np.where(request.keep[..., None], old, mixed), donor.ref)
