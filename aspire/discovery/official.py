"""``score=official``: the sum rule of the ASPIRE authors.

Ghosh et al., ACL Findings 2024, ``parse_top_k_classes.py``. For a class c and a group G of
collapsed phrases::

    s_c(G) = sum over o in G of flips(o) / occurrences(o)

where flips(o) counts the correctly classified images of c that the edit of o turned, and
occurrences(o) the correctly classified images of c whose caption names o, edited or not. The sum
is unbounded, rewards groups with many spellings, and gives a phrase seen once the full 1/1: it is
here for comparison.

Deviations: phrases are collapsed by :mod:`aspire.discovery.collapse`, not by Porter stems and word
counts, and a phrase removed as an object is apart from the same phrase as a scene (the authors
book both as foreground).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from aspire.discovery.base import Candidate, Evidence, Verdict
from aspire.identity import Json
from aspire.values import Count


class Official:
    """The sum rule; spurious is what the authors take images from.

    They walk through the groups of a class from the strongest and take flipped images, up to
    ``first`` of the first and ``later`` of each further group, until there are ``images``.

    Args:
        images, first, later: the authors' 35, 15 and 10.
    """

    def __init__(self, images: Count = 35, first: Count = 15, later: Count = 10) -> None:
        self.images = images
        self.first = first
        self.later = later

    def identity(self) -> Mapping[str, Json]:
        return {"score": "official", "take": [self.images, self.first, self.later]}

    def judge(self, evidence: Evidence) -> list[Verdict | None]:
        scores = [sum_rule(c) if c.effects else None for c in evidence.candidates]
        order = sorted(
            (i for i, s in enumerate(scores) if s is not None and s > 0),
            key=lambda i: (
                evidence.candidates[i].y,
                -(scores[i] or 0.0),
                -evidence.candidates[i].flips,
                evidence.candidates[i].phrase,
            ),
        )
        taken: Counter[int] = Counter()
        used = set()
        for i in order:
            candidate = evidence.candidates[i]
            if taken[candidate.y] < self.images:
                limit = self.later if taken[candidate.y] else self.first
                taken[candidate.y] += min(candidate.flips, limit)
                used.add(i)
        return [None if s is None else Verdict(s, i in used) for i, s in enumerate(scores)]


def sum_rule(candidate: Candidate) -> float:
    """s_c(G) of one candidate; at least 0, unbounded above."""
    flips = Counter(e.phrase for e in candidate.effects if e.flipped)
    return sum(number / candidate.occurrences[o] for o, number in flips.items())
