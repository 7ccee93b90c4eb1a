"""``score=wilson``: how often the classifier changes its mind at least."""

from __future__ import annotations

from collections.abc import Mapping

from aspire.discovery.base import Evidence, Verdict
from aspire.identity import Json
from aspire.values import Count, Fraction


def wilson_interval(flips: int, support: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a rate (Wilson 1927), within [0, 1].

    >>> [round(end, 3) for end in wilson_interval(50, 100)], wilson_interval(0, 0)
    ([0.404, 0.596], (0.0, 1.0))
    """
    if support == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest  # takes longer to load than a finished job to be found

    interval = binomtest(flips, support).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


class Wilson:
    """The lower end of the 95 % Wilson interval of the pooled flip rate.

    High only where the classifier changes its mind often *and* on enough images. What the editor
    itself breaks is not subtracted; see :mod:`aspire.discovery.effect` for that.

    Args:
        min_support: edits a phrase needs to be called spurious.
        min_flip_rate: flips per edit a phrase needs to be called spurious, in [0, 1].
    """

    def __init__(self, min_support: Count = 5, min_flip_rate: Fraction = 0.1) -> None:
        self.min_support = min_support
        self.min_flip_rate = min_flip_rate

    def identity(self) -> Mapping[str, Json]:
        return {
            "score": "wilson",
            "min_support": self.min_support,
            "min_flip_rate": self.min_flip_rate,
        }

    def judge(self, evidence: Evidence) -> list[Verdict | None]:
        verdicts: list[Verdict | None] = []
        for candidate in evidence.candidates:
            flips, support = candidate.flips, len(candidate.effects)
            enough = support >= self.min_support and flips > 0
            verdicts.append(
                Verdict(
                    score=wilson_interval(flips, support)[0],
                    spurious=enough and flips / support >= self.min_flip_rate,
                )
                if support
                else None
            )
        return verdicts
