"""How often the test by cluster errs where there is nothing to find, and what its interval covers.

    python -m experiments.discovery.error_rates

draws edits from a model: the logit of the true class's probability is the image's, plus the donor's
(standard deviation 1 or 2.5), plus noise; a control shows a donor of its own. Half a minute.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import t

from experiments.discovery.study import head, line

DRAWINGS = 20_000
Floats = NDArray[np.float64]


def net_drops(
    rng: np.random.Generator, drawings: int, donors: int, edits: int, odd: float, pull: float
) -> Floats:
    """(drawings, donors, edits) where the feature lifts the logit by ``pull``."""
    shape = drawings, donors, edits
    image = 2.5 + 1.5 * rng.standard_normal(shape)
    donor = odd * rng.standard_normal((drawings, donors, 1))
    control = odd * rng.standard_normal(shape)
    noise = 0.5 * rng.standard_normal((2, *shape))
    return np.asarray(expit(image + control + noise[0]) - expit(image + donor - pull + noise[1]))


def p_values(values: Floats) -> Floats:
    """Of Student's one-sided test, a row each."""
    error = values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
    return np.asarray(t.sf(values.mean(axis=1) / error, values.shape[1] - 1))


def by_flips(values: Floats) -> Floats:
    """Of all sign flips, a row each."""
    number = values.shape[1]
    signs = 1 - 2 * ((np.arange(2**number)[:, None] >> np.arange(number)) & 1)
    return np.asarray((values @ signs.T >= values.sum(axis=1)[:, None] - 1e-12).mean(axis=1))


def covered(rng: np.random.Generator, means: Floats, truth: float) -> tuple[float, float]:
    """Share of 95 % intervals that hold the truth: Student's t, and a percentile bootstrap."""
    number = means.shape[1]
    half = t.ppf(0.975, number - 1) * means.std(axis=1, ddof=1) / np.sqrt(number)
    student = abs(means.mean(axis=1) - truth) <= half
    some = means[:1000]
    again = some[:, rng.integers(0, number, (400, number))].mean(axis=2)
    low, high = np.percentile(again, [2.5, 97.5], axis=1)
    return float(student.mean()), float(((low <= truth) & (truth <= high)).mean())


def main() -> None:
    rng = np.random.default_rng(0)
    head("donors", "edits of each", "donors differ by", "edits as if independent: p <= 0.05",
         "p <= 0.005", "by donor, t: p <= 0.05", "p <= 0.005", "p <= 0.001",
         "by donor, sign flips: p <= 0.05", "95 % interval, t", "bootstrap")  # fmt: skip
    for donors in (3, 5, 8, 12):
        for edits in (1, 8):
            for odd in (1.0, 2.5):
                nothing = net_drops(rng, DRAWINGS, donors, edits, odd, 0.0)
                single = p_values(nothing.reshape(DRAWINGS, -1))
                student = p_values(nothing.mean(axis=2))
                flips = by_flips(nothing.mean(axis=2)[:4000])
                shares = [(single <= a).mean() for a in (0.05, 0.005)]
                shares += [(student <= a).mean() for a in (0.05, 0.005, 0.001)]
                shares.append((flips <= 0.05).mean())
                truth = float(net_drops(rng, 4000, 20, edits, odd, 2.0).mean())
                means = net_drops(rng, DRAWINGS, donors, edits, odd, 2.0).mean(axis=2)
                held = [f"{100 * share:.0f} %" for share in covered(rng, means, truth)]
                line(donors, edits, odd, *(f"{100 * s:.2g} %" for s in shares), *held)


if __name__ == "__main__":
    main()
