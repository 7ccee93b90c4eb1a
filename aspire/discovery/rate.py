"""``score=rate``: how often the classifier changes its mind, over all members of a phrase."""

from __future__ import annotations

from collections.abc import Mapping

from aspire.discovery.base import Evidence, Verdict
from aspire.identity import Json
from aspire.values import Count, Fraction


class Rate:
    """Flips per edit, pooled over a phrase's members.

    Phrases with fewer than ``min_support`` edits are not judged: a rate of 1 in 1 says nothing.

    Args:
        min_support: edits a phrase needs, at least 1.
        min_flip_rate: flips per edit a phrase needs to be called spurious, in [0, 1].
    """

    def __init__(self, min_support: Count = 5, min_flip_rate: Fraction = 0.1) -> None:
        self.min_support = max(1, min_support)
        self.min_flip_rate = min_flip_rate

    def identity(self) -> Mapping[str, Json]:
        return {
            "score": "rate",
            "min_support": self.min_support,
            "min_flip_rate": self.min_flip_rate,
        }

    def judge(self, evidence: Evidence) -> list[Verdict | None]:
        verdicts: list[Verdict | None] = []
        for candidate in evidence.candidates:
            if len(candidate.effects) < self.min_support:
                verdicts.append(None)
                continue
            rate = candidate.flips / len(candidate.effects)
            verdicts.append(Verdict(rate, candidate.flips > 0 and rate >= self.min_flip_rate))
        return verdicts
