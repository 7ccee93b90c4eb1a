"""``score=effect``: how much the feature itself matters, with a test.

Each edit is compared with its control: the same treatment of the same image that leaves the
feature in place. The difference of the two probabilities of the true class is due to the feature
alone, whatever the editor breaks besides. Were the feature without influence, the sign of that
difference would be a coin's throw in every image: the sign-flip permutation test (Fisher 1935)
asks how often such throws give a mean as large as the one seen. Over all features of all classes
the p-values are corrected by Benjamini and Hochberg (1995), which bounds the expected share of
false ones among those called significant.

Ranked and held against the threshold is not the mean difference but the lower end of its 95 %
interval (Student's t): what is certain. A feature on ten images, some of which went to a scene that
is a shortcut of another class, may have the larger mean by accident.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from aspire.discovery.base import Candidate, Evidence, Verdict
from aspire.pipeline.stage import Json
from aspire.values import Count, Difference, Fraction, Natural


class Effect:
    """Drop of the true class's probability minus that under the control edit: a mean at least.

    Only edits with a control are counted; a phrase without any is not judged. Phrases on fewer
    than ``min_support`` images are neither tested nor corrected for: their number was known before
    any effect was.

    Args:
        min_support: images with edit and control that a test needs, two at least.
        max_q: largest corrected p-value of a spurious feature, in (0, 1).
        min_effect: smallest score of a spurious feature, in [-1, 1]. With hundreds of images a
            hair's breadth is significant; this says what matters.
        resamples: random sign flips where not all can be tried; bounds p from below.
        seed: of those.
    """

    def __init__(
        self,
        min_support: Count = 5,
        max_q: Fraction = 0.05,
        min_effect: Difference = 0.05,
        resamples: Count = 9999,
        seed: Natural = 0,
    ) -> None:
        self.min_support = min_support
        self.max_q = max_q
        self.min_effect = min_effect
        self.resamples = resamples
        self.seed = seed

    def identity(self) -> Mapping[str, Json]:
        return {
            "score": "effect",
            "version": 2,  # of the rule: the lower end of the interval
            "min_support": self.min_support,
            "max_q": self.max_q,
            "min_effect": self.min_effect,
            "resamples": self.resamples,
            "seed": self.seed,
        }

    def judge(self, evidence: Evidence) -> list[Verdict | None]:
        from scipy.stats import false_discovery_control  # loads for a second: only where it is used

        drops = [net_drops(c) for c in evidence.candidates]
        tested = [i for i, d in enumerate(drops) if len(d) >= max(2, self.min_support)]
        p = [self._p_value(drops[i]) for i in tested]
        q = false_discovery_control(p, method="bh") if p else ()
        values = dict(zip(tested, zip(p, q, strict=True), strict=True))
        verdicts: list[Verdict | None] = []
        for i, d in enumerate(drops):
            if not len(d):
                verdicts.append(None)
                continue
            score = at_least(d)
            if i not in values:
                verdicts.append(Verdict(score, spurious=False))
                continue
            p_value, q_value = (float(v) for v in values[i])
            spurious = q_value <= self.max_q and score >= self.min_effect
            verdicts.append(Verdict(score, spurious, p_value, q_value))
        return verdicts

    def _p_value(self, drops: NDArray[np.float64]) -> float:
        """One-sided; exact where all 2^n sign patterns are no more than ``resamples``."""
        from scipy.stats import permutation_test

        result = permutation_test(
            (drops,),
            lambda d, axis: d.mean(axis=axis),
            permutation_type="samples",  # of one sample: its signs
            vectorized=True,
            n_resamples=self.resamples,
            batch=1000,
            alternative="greater",
            rng=np.random.default_rng(self.seed),
        )
        return float(result.pvalue)


def at_least(drops: NDArray[np.float64]) -> float:
    """Lower end of the 95 % interval of a mean, but no less than -1, as of a single value.

    >>> drops = np.array([0.1, 0.2, 0.3, 0.4, 0.5])  # mean 0.3, standard error 0.0707, t 2.776
    >>> round(at_least(drops), 3)
    0.104
    """
    from scipy.stats import t

    if len(drops) < 2:
        return -1.0
    error = drops.std(ddof=1) / np.sqrt(len(drops))
    return max(-1.0, float(drops.mean() - t.ppf(0.975, len(drops) - 1) * error))


def net_drops(candidate: Candidate) -> NDArray[np.float64]:
    """(N,) net drop of every image that has edit and control; an image counts once."""
    by_image: dict[str, list[float]] = defaultdict(list)
    for effect in candidate.effects:
        if effect.net_drop is not None:
            by_image[effect.img_id].append(effect.net_drop)
    return np.array([np.mean(by_image[i]) for i in sorted(by_image)], dtype=np.float64)
