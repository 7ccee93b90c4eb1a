"""Blank: how strongly a classifier leans on a feature, and where the formula is from."""

from __future__ import annotations

from collections.abc import Mapping

from aspire.discovery.base import Evidence, Verdict
from aspire.identity import Json
from aspire.values import Count, Fraction


class Blank:
    """Mean fall of the true class's probability.

    Args:
        min_support: edits a phrase needs to be judged, at least 1.
        min_drop: fall it needs to be called spurious, in [0, 1].
    """

    def __init__(self, min_support: Count = 5, min_drop: Fraction = 0.1) -> None:
        self.min_support = min_support
        self.min_drop = min_drop

    def identity(self) -> Mapping[str, Json]:
        return {
            "score": "blank",
            "version": 1,
            "min_support": self.min_support,
            "min_drop": self.min_drop,
        }

    def judge(self, evidence: Evidence) -> list[Verdict | None]:
        return [
            Verdict(c.mean_drop, c.mean_drop >= self.min_drop)
            if len(c.effects) >= self.min_support
            else None
            for c in evidence.candidates
        ]
