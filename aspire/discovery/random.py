"""``score=random``: features drawn at random, to see what discovery is worth.

Of each class as many as ``score=effect`` finds, among those it can test. The true ones may be drawn
too. Nothing is tested: no feature has a p-value, and none is evidence about a classifier.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from aspire.discovery.base import Evidence, Verdict
from aspire.discovery.effect import Effect
from aspire.identity import Json
from aspire.rng import seed_for


class Random(Effect):
    """A draw of features. Args as for :class:`Effect`, which says how many there are of a class.

    ``seed`` is of the draw too. The score is the lot, in [0, 1): the order is as random.
    """

    is_evidence: ClassVar[bool] = False

    def identity(self) -> Mapping[str, Json]:
        return {**super().identity(), "score": "random"}

    def judge(self, evidence: Evidence) -> list[Verdict | None]:
        """None for what ``score=effect`` could not test."""
        verdicts = super().judge(evidence)
        tested = [i for i, v in enumerate(verdicts) if v is not None and v.q_value is not None]
        found = Counter(
            c.y for c, v in zip(evidence.candidates, verdicts, strict=True) if v and v.spurious
        )
        drawn: list[Verdict | None] = [None] * len(verdicts)
        for y in sorted({evidence.candidates[i].y for i in tested}):
            rows = [i for i in tested if evidence.candidates[i].y == y]
            rng = np.random.default_rng(seed_for(self.seed, "random features", y))
            lots = sorted(zip(rng.random(len(rows)).tolist(), rows, strict=True), reverse=True)
            for place, (lot, i) in enumerate(lots):
                drawn[i] = Verdict(lot, spurious=place < found[y])
        return drawn
