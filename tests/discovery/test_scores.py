"""Every score against values worked out by hand or by another formula."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from aspire.discovery.effect import Effect, cluster_means, interval
from aspire.discovery.official import Official, sum_rule
from aspire.discovery.random import Random
from aspire.discovery.rate import Rate
from aspire.discovery.wilson import Wilson, wilson_interval

Make = Callable[[str], Callable[..., Any]]
Gather = Callable[..., Any]


# --- wilson ----------------------------------------------------------------------------------


@pytest.mark.parametrize("successes", [0, 1, 3, 7, 10])
def test_wilson_ends_solve_their_defining_equation(successes: int) -> None:
    # Wilson 1927: the ends p are where |k/n - p| = z sqrt(p (1 - p) / n)
    n, z = 10, 1.959964
    for p in wilson_interval(successes, n):
        spread = z * math.sqrt(p * (1 - p) / n)
        assert abs(successes / n - p) == pytest.approx(spread, abs=1e-6)


def test_wilson_counts_support_as_much_as_rate(make: Make, evidence: Gather) -> None:
    rare, common = Wilson().judge(evidence(make("flips")("a", 2, 2), make("flips")("b", 45, 50)))
    assert rare.score == pytest.approx(2 / (2 + 1.959964**2), abs=1e-6)  # closed form for k = n
    assert common.score == pytest.approx(0.7864, abs=1e-4)
    assert (rare.spurious, common.spurious) == (False, True)


@pytest.mark.parametrize(
    ("flipped", "support", "spurious"),
    [(5, 5, True), (4, 4, False), (1, 10, True), (1, 11, False), (0, 50, False)],
)
@pytest.mark.parametrize("score", [Wilson(), Rate()])
def test_spurious_needs_support_and_rate(
    make: Make, evidence: Gather, score: Any, flipped: int, support: int, spurious: bool
) -> None:
    (verdict,) = score.judge(evidence(make("flips")("tree", flipped, support)))
    assert (verdict is not None and verdict.spurious) is spurious


# --- rate and official -----------------------------------------------------------------------


def test_rate_is_pooled_over_the_members(make: Make, evidence: Gather) -> None:
    e = make("effect")
    group = [e(i, "dog", i < 1) for i in range(2)] + [e(i, "dogs", i < 3) for i in range(8)]
    (verdict,) = Rate().judge(evidence(make("candidate")(group)))
    assert verdict.score == pytest.approx(4 / 10)
    assert Rate(min_support=11).judge(evidence(make("candidate")(group))) == [None]


def test_official_adds_the_rates_of_the_members_over_all_captions_that_name_them(
    make: Make,
) -> None:
    e = make("effect")
    group = [e(i, "dog", i < 1) for i in range(2)] + [e(i, "dogs", i < 3) for i in range(8)]
    # "dog" stands in 4 captions of right images, 2 of which could be edited
    assert sum_rule(make("candidate")(group, dog=4)) == pytest.approx(1 / 4 + 3 / 8)


def test_official_takes_fifteen_then_ten_until_there_are_thirty_five(
    make: Make, evidence: Gather
) -> None:
    flips = make("flips")
    groups = [flips("a", 20, 20), flips("b", 18, 20), flips("c", 16, 20), flips("d", 9, 20)]
    other = flips("a", 1, 20, y=1)
    verdicts = Official().judge(evidence(*groups, other))
    # 15 of a, 10 of b, 10 of c: d is not needed; another class has its own count
    assert [v.spurious for v in verdicts] == [True, True, True, False, True]
    few = Official().judge(evidence(flips("a", 3, 3), flips("b", 0, 5)))
    assert [v.spurious for v in few] == [True, False]


# --- effect ----------------------------------------------------------------------------------


def test_what_the_control_breaks_too_is_subtracted(make: Make, evidence: Gather) -> None:
    e = make("effect")
    broken = make("candidate")(
        [e(i, "a", True, 0.2, p_control=0.2, predicted_control=1) for i in range(20)]
    )
    (verdict,) = Effect().judge(evidence(broken))
    assert verdict.score == 0.0
    assert not verdict.spurious
    (blind,) = Wilson().judge(evidence(broken))  # which is why this is not the default
    assert blind.spurious


def test_p_value_is_that_of_all_sign_patterns(make: Make, evidence: Gather) -> None:
    drops = [0.3, -0.05, 0.2, 0.1, 0.4, -0.1, 0.25, 0.05, -0.15, 0.3, 0.15]
    seen = np.mean(drops)
    signs = itertools.product((1, -1), repeat=len(drops))
    all_means = [float(np.mean(np.multiply(s, drops))) for s in signs]
    exact = np.mean([m >= seen - 1e-12 for m in all_means])
    (verdict,) = Effect().judge(evidence(make("pairs")("a", drops)))
    assert verdict.p_value == pytest.approx(exact)
    assert verdict.q_value == pytest.approx(exact)  # one test needs no correction
    expected = ttest_1samp(drops, 0).confidence_interval(0.95)
    assert verdict.score == pytest.approx(expected.low)
    assert interval(np.array(drops)) == pytest.approx((expected.low, expected.high))


def donated(make: Make, phrase: str, drops: dict[str, list[float]], y: int = 0) -> Any:
    """Changes of scene: photograph -> the net drops of the images that were moved to it."""
    flat = [(name, d) for name, values in drops.items() for d in values]
    effects = [
        make("effect")(
            i, phrase, after=0.9 - d, p_control=0.9, predicted_control=y, y=y, predicted_after=y,
            kind="change_background", replacement="new", photograph=name,
        )
        for i, (name, d) in enumerate(flat)
    ]  # fmt: skip
    return make("candidate")(effects, y)


def test_a_donor_counts_once_however_many_images_were_moved_to_it(
    make: Make, evidence: Gather
) -> None:
    # 15 edits of 4 photographs, whose means are 0.4, 0.2, 0.3 and 0.1
    group = donated(
        make, "lake",
        {"a": [0.3, 0.5] * 4, "b": [0.2], "c": [0.1, 0.5, 0.3], "d": [0.0, 0.2, 0.1]},
    )  # fmt: skip
    means = [0.4, 0.2, 0.3, 0.1]
    assert cluster_means(group) == pytest.approx(means)
    (verdict,) = Effect().judge(evidence(group))
    # mean 0.25, standard error 0.0645, t = 3.873 on 3 degrees of freedom; quantile 3.182
    assert verdict.score == pytest.approx(0.25 - 3.18245 * math.sqrt(0.05 / 3 / 4), abs=1e-5)
    assert verdict.p_value == pytest.approx(ttest_1samp(means, 0, alternative="greater").pvalue)
    assert verdict.p_value == pytest.approx(0.01523, abs=1e-4)
    # as if they were independent, the same edits would be all but certain
    alone = make("pairs")("lake", [0.3, 0.5] * 4 + [0.2, 0.1, 0.5, 0.3, 0.0, 0.2, 0.1])
    (single,) = Effect().judge(evidence(alone))
    assert single.p_value < verdict.p_value / 10


@pytest.mark.parametrize(("donors", "tested"), [(1, False), (2, False), (3, True)])
def test_a_feature_on_fewer_than_three_donors_is_not_judged(
    make: Make, evidence: Gather, donors: int, tested: bool
) -> None:
    group = donated(make, "wall", {f"d{i}": [0.9, 0.8 + i / 100] * 10 for i in range(donors)})
    strong = make("pairs")("tree", [0.5, 0.4] * 10)
    first, second = Effect().judge(evidence(group, strong))
    assert (first.q_value is not None, first.spurious) == (tested, tested)
    if not tested:  # and so not corrected for
        assert second.q_value == second.p_value


def test_equal_answers_on_few_donors_are_no_division_by_zero(make: Make, evidence: Gather) -> None:
    same = donated(make, "lake", {f"d{i}": [0.9] * 2 for i in range(4)})
    none = donated(make, "sea", {f"d{i}": [0.0] * 2 for i in range(4)})
    first, second = Effect().judge(evidence(same, none))
    assert first.spurious
    assert second.p_value == pytest.approx(0.5)


def test_what_is_certain_ranks_before_what_is_large(make: Make, evidence: Gather) -> None:
    lucky = make("pairs")("a", [0.9] * 6 + [0.0] * 4)
    steady = make("pairs")("b", [0.5, 0.4] * 60)
    first, second = Effect().judge(evidence(lucky, steady))
    assert cluster_means(lucky).mean() > cluster_means(steady).mean()
    assert first.score < second.score


def test_correction_over_all_classes_is_benjamini_hochberg(make: Make, evidence: Gather) -> None:
    rng = np.random.default_rng(0)
    groups = [
        make("pairs")(f"p{i}", list(rng.normal(mean, 0.1, 12)), y=i % 2)
        for i, mean in enumerate((0.2, 0.1, 0.05, 0.0, -0.1))
    ]
    verdicts = Effect().judge(evidence(*groups))
    p = np.array([v.p_value for v in verdicts])
    order = np.argsort(p)
    q = np.empty(5)
    smallest = 1.0
    for rank in range(5, 0, -1):  # step up, by the definition
        smallest = min(smallest, p[order[rank - 1]] * 5 / rank)
        q[order[rank - 1]] = smallest
    assert [v.q_value for v in verdicts] == pytest.approx(q)


def test_effects_without_control_are_not_counted(make: Make, evidence: Gather) -> None:
    e = make("effect")
    some = [e(i, "a", after=0.5, p_control=0.8, predicted_control=0) for i in range(6)]
    mixed = make("candidate")([*some, *(e(10 + i, "a", True, 0.0) for i in range(50))])
    (verdict,) = Effect().judge(evidence(mixed))
    assert verdict.score == pytest.approx(0.3)
    assert Effect().judge(evidence(make("flips")("a", 9, 9))) == [None]


def test_an_image_counts_once_however_many_members_it_names(make: Make) -> None:
    e = make("effect")
    both = [
        e(1, "dog", after=0.5, p_control=0.9, predicted_control=0),
        e(1, "dogs", after=0.7, p_control=0.9, predicted_control=0),
        e(2, "dog", after=0.9, p_control=0.9, predicted_control=0),
    ]
    assert cluster_means(make("candidate")(both)) == pytest.approx([0.3, 0.0])


def test_significant_is_not_enough(make: Make, evidence: Gather) -> None:
    hair = make("pairs")("a", [0.01 + i * 1e-4 for i in range(60)])
    (verdict,) = Effect().judge(evidence(hair))
    assert verdict.q_value < 0.001
    assert not verdict.spurious
    (single,) = Effect(min_support=1).judge(evidence(make("pairs")("d", [0.9])))
    assert (single.p_value, single.spurious) == (None, False)
    few = make("pairs")("b", [0.9] * 4)
    assert Effect().judge(evidence(make("pairs")("c", [0.9])))[0].score == -1.0  # no interval
    (untested,) = Effect().judge(evidence(few))
    assert (untested.p_value, untested.spurious) == (None, False)


def test_false_discoveries_stay_below_five_percent(make: Make, evidence: Gather) -> None:
    rng = np.random.default_rng(1)
    runs = [
        any(
            v.q_value <= 0.05
            for v in Effect(resamples=999).judge(
                evidence(*(make("pairs")(f"{i}", list(rng.normal(0, 0.2, 15))) for i in range(10)))
            )
        )
        for _ in range(60)
    ]
    # with nothing to find every discovery is false; 60 runs at 5 % rarely give more than 8
    assert sum(runs) <= 8


def test_same_evidence_same_verdicts(make: Make, evidence: Gather) -> None:
    group = make("pairs")("a", list(np.random.default_rng(2).normal(0.05, 0.2, 40)))
    assert Effect().judge(evidence(group)) == Effect().judge(evidence(group))
    assert Effect(seed=1).identity() != Effect().identity()


# --- random ----------------------------------------------------------------------------------


def five_and_one(make: Make, evidence: Gather) -> Any:
    """Class 0: two strong phrases of five that can be tested; class 1: one without an effect."""
    pairs = make("pairs")
    strong, none = [0.5, 0.52, 0.55, 0.48, 0.5, 0.51], [0.01, -0.01, 0.02, -0.02, 0.01, -0.01]
    rare = [0.9, 0.9]
    return evidence(
        pairs("a", strong), pairs("b", none), pairs("c", strong), pairs("d", none),
        pairs("e", none), pairs("f", rare), pairs("g", none, y=1),
    )  # fmt: skip


def test_random_draws_as_many_as_effect_finds_and_calls_none_of_them_significant(
    make: Make, evidence: Gather
) -> None:
    given = five_and_one(make, evidence)
    found = Effect().judge(given)
    assert [v is not None and v.spurious for v in found] == [True, False, True] + [False] * 4
    for seed in range(20):
        drawn = Random(seed=seed).judge(given)
        assert [v is None for v in drawn] == [False] * 5 + [True, False]  # what can be tested
        assert sum(v.spurious for v in drawn[:5] if v is not None) == 2
        assert drawn[6] is not None
        assert not drawn[6].spurious  # nothing was found for class 1
        assert all(v.p_value is v.q_value is None for v in drawn if v is not None)
        # those that are drawn stand first
        ranked = sorted((v for v in drawn[:5] if v is not None), key=lambda v: -v.score)
        assert [v.spurious for v in ranked] == [True, True, False, False, False]


def test_every_pair_is_drawn_alike_often_and_a_seed_decides(make: Make, evidence: Gather) -> None:
    given = five_and_one(make, evidence)

    def draw(seed: int) -> tuple[int, ...]:
        return tuple(i for i, v in enumerate(Random(seed=seed).judge(given)) if v and v.spurious)

    # 10 pairs of 5, 300 seeds: 30 each, standard deviation 5.2
    counts = Counter(draw(seed) for seed in range(300))
    assert len(counts) == 10
    assert max(abs(n - 30) for n in counts.values()) < 20
    assert draw(3) == draw(3)


def test_random_has_an_identity_of_its_own() -> None:
    assert Random().identity() != Effect().identity()
    assert Random(seed=1).identity() != Random(seed=0).identity()
    assert not Random.is_evidence
