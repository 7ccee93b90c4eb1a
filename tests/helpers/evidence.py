"""What was found out about landbirds that lean on the forest, piece by piece."""

from __future__ import annotations

from typing import Any

from aspire.generation.base import ClassEvidence
from aspire.records import Effect, ImageRef, SpuriousFeature


def ref(img_id: str, y: int = 0, mask: str | None = "m.png") -> ImageRef:
    return ImageRef(img_id=img_id, file=f"{img_id}.png", y=y, mask=mask)


def feature(phrase: str, spurious: bool = True, kind: str = "change_background") -> SpuriousFeature:
    return SpuriousFeature(
        feature_id="000/0001", y=0, rank=1, kind=kind, phrase=phrase, support=9, flips=9,
        flip_rate=1.0, score=0.7, mean_drop=0.5, spurious=spurious, examples=(),
    )  # fmt: skip


def effect(
    phrase: str, replacement: str | None, before: float = 0.9, after: float = 0.1, number: int = 0
) -> Effect:
    """Edit number i, of image number i."""
    return Effect(
        edit_id=f"e{number}", img_id=f"i{number}", y=0, kind="change_background", phrase=phrase,
        replacement=replacement, p_before=before, p_after=after, predicted_after=int(after < 0.5),
    )  # fmt: skip


def landbirds(**values: Any) -> ClassEvidence:
    """The forest is spurious for landbirds, the desert is not; objects b and a."""
    usual: dict[str, Any] = {
        "y": 0,
        "name": "landbird",
        "features": (feature("forest"), feature("desert", spurious=False)),
        "objects": (ref("b"), ref("a")),
    }
    return ClassEvidence(**(usual | values))
