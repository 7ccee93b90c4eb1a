"""``score=effect``: how much the feature itself matters, with a test.

Each edit is compared with its control: the same treatment of the same image that leaves the
feature in place. The difference of the two probabilities of the true class is due to the feature
alone, whatever the editor breaks besides.

**What is counted.** Edits that show one photograph as the new scene share whatever is odd about it,
so they are one cluster, and the evidence is the mean of each cluster: a photograph counts once,
however many images were pasted on it. Where the new content was made for one image alone, as in a
removal or a generated scene, the image is the cluster. (The scene that is judged is not sampled: a
feature is what the dataset shows of it, so edits are not clustered by the photographs of controls.)

**The test.** Were the feature without influence, the sign of a cluster's mean would be a coin's
throw: the sign-flip test (Fisher 1935; for clusters Canay, Romano and Shaikh 2017) asks how often
such throws give a mean as large as the one seen. With G clusters no p-value is below 2 ** -G, too
coarse for few of them to outlast a correction for many features. Below ``FEW`` clusters their means
go to Student's t-test with G - 1 degrees of freedom, which stays on the safe side at levels of 4 %
and less however unequal the clusters are (Ibragimov and Müller 2010). Over all features of all
classes the p-values are corrected by Benjamini and Hochberg (1995), which bounds
the expected share of false ones among those called significant.

**The score** is not the mean but the lower end of its 95 % interval (Student's t over clusters):
what is certain. A feature with few donors, one of them a shortcut of another class, may have the
larger mean by accident. ``experiments/discovery`` measures the error rate of the test and the
coverage of the interval.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from aspire.discovery.base import Candidate, Evidence, Verdict
from aspire.identity import Json
from aspire.values import Count, Difference, Fraction, Natural

FEW = 10  # clusters below which sign flips are too coarse: 2 ** -10 is 0.001
DIGITS = 1e-5  # that probabilities are kept to, so no cluster is known more exactly


class Effect:
    """Drop of the true class's probability minus that under the control edit: a mean at least.

    Only edits with a control are counted; a phrase without any is not judged. Phrases on fewer
    than ``min_support`` images or ``min_donors`` clusters are neither tested nor corrected for:
    their number was known before any effect was.

    Args:
        min_support: images with edit and control that a test needs.
        min_donors: clusters of them that a test needs, two at least.
        max_q: largest corrected p-value of a spurious feature, in (0, 1).
        min_effect: smallest score of a spurious feature, in [-1, 1]. With hundreds of images a
            hair's breadth is significant; this says what matters.
        resamples: random sign flips where not all can be tried; bounds p from below.
        seed: of those.
    """

    def __init__(
        self,
        min_support: Count = 5,
        min_donors: Count = 3,
        max_q: Fraction = 0.05,
        min_effect: Difference = 0.05,
        resamples: Count = 9999,
        seed: Natural = 0,
    ) -> None:
        self.min_support = min_support
        self.min_donors = min_donors
        self.max_q = max_q
        self.min_effect = min_effect
        self.resamples = resamples
        self.seed = seed

    def identity(self) -> Mapping[str, Json]:
        return {
            "score": "effect",
            "version": 3,  # of the rule: by cluster
            "min_support": self.min_support,
            "min_donors": self.min_donors,
            "max_q": self.max_q,
            "min_effect": self.min_effect,
            "resamples": self.resamples,
            "seed": self.seed,
        }

    def judge(self, evidence: Evidence) -> list[Verdict | None]:
        from scipy.stats import false_discovery_control  # loads for a second: only where it is used

        means = [cluster_means(c) for c in evidence.candidates]
        tested = [
            i
            for i, c in enumerate(evidence.candidates)
            if len({e.img_id for e in c.effects if e.net_drop is not None}) >= self.min_support
            and len(means[i]) >= max(2, self.min_donors)
        ]
        p = [self._p_value(means[i]) for i in tested]
        q = false_discovery_control(p, method="bh") if p else ()
        values = dict(zip(tested, zip(p, q, strict=True), strict=True))
        verdicts: list[Verdict | None] = []
        for i, m in enumerate(means):
            if not len(m):
                verdicts.append(None)
                continue
            score = at_least(m)
            if i not in values:
                verdicts.append(Verdict(score, spurious=False))
                continue
            p_value, q_value = (float(v) for v in values[i])
            spurious = q_value <= self.max_q and score >= self.min_effect
            verdicts.append(Verdict(score, spurious, p_value, q_value))
        return verdicts

    def _p_value(self, means: NDArray[np.float64]) -> float:
        """One-sided; of all 2^G sign patterns where these are no more than ``resamples``."""
        from scipy.stats import permutation_test, t

        if len(means) < FEW:
            error = max(float(means.std(ddof=1)), DIGITS) / math.sqrt(len(means))
            return float(t.sf(means.mean() / error, len(means) - 1))
        result = permutation_test(
            (means,),
            lambda d, axis: d.mean(axis=axis),
            permutation_type="samples",  # of one sample: its signs
            vectorized=True,
            n_resamples=self.resamples,
            batch=1000,
            alternative="greater",
            rng=np.random.default_rng(self.seed),
        )
        return float(result.pvalue)


def at_least(means: NDArray[np.float64]) -> float:
    """Lower end of the 95 % interval of a mean, but no less than -1, as of a single value.

    >>> means = np.array([0.1, 0.2, 0.3, 0.4, 0.5])  # mean 0.3, standard error 0.0707, t 2.776
    >>> round(at_least(means), 3)
    0.104
    """
    return max(-1.0, interval(means)[0])


def interval(means: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of a mean by Student's t; everything, of a single value.

    >>> [round(end, 3) for end in interval(np.array([0.1, 0.2, 0.3, 0.4, 0.5]))]
    [0.104, 0.496]
    """
    from scipy.stats import t

    if len(means) < 2:
        return -np.inf, np.inf
    half = t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / math.sqrt(len(means))
    return float(means.mean() - half), float(means.mean() + half)


def cluster_means(candidate: Candidate) -> NDArray[np.float64]:
    """(G,) mean net drop of every cluster whose edits have controls; an image counts once in it."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for effect in candidate.effects:
        if effect.net_drop is not None:
            found[effect.cluster][effect.img_id].append(effect.net_drop)
    means = [np.mean([np.mean(d) for d in found[name].values()]) for name in sorted(found)]
    return np.array(means, dtype=np.float64)
