"""Ranking features: counts and Wilson intervals against hand-worked values."""

from __future__ import annotations

import math

import pytest

from aspire.discovery.rank import rank_features, wilson_lower
from aspire.pipeline.records import Effect


def effect(
    number: int, phrase: str, flipped: bool, after: float = 0.5, kind: str = "remove_object"
) -> Effect:
    return Effect(
        edit_id=f"{number:02d}/{phrase}",
        img_id=str(number),
        y=0,
        kind=kind,  # type: ignore[arg-type]
        phrase=phrase,
        replacement=None,
        p_before=0.9,
        p_after=after,
        predicted_after=1 if flipped else 0,
    )


def effects(phrase: str, flips: int, support: int, after: float = 0.5) -> list[Effect]:
    return [effect(i, phrase, i < flips, after) for i in range(support)]


@pytest.mark.parametrize("successes", [0, 1, 3, 7, 10])
def test_wilson_bound_solves_its_defining_equation(successes: int) -> None:
    # Wilson 1927: the bound p is where |k/n - p| = z sqrt(p (1 - p) / n)
    n, z = 10, 1.96
    p = wilson_lower(successes, n, z)
    assert abs(successes / n - p) == pytest.approx(z * math.sqrt(p * (1 - p) / n), abs=1e-12)
    assert p <= successes / n


@pytest.mark.parametrize("n", [1, 8, 100])
def test_wilson_bound_of_all_and_none(n: int) -> None:
    assert wilson_lower(n, n, 1.96) == pytest.approx(n / (n + 1.96**2))  # closed form for k = n
    assert wilson_lower(0, n) == 0.0
    assert wilson_lower(0, 0) == 0.0


def test_support_counts_as_much_as_rate() -> None:
    features = rank_features(0, effects("rare", 2, 2) + effects("common", 45, 50), 5, 0.1)
    # 2/(2 + 3.8416) = 0.342; the bound of 45 in 50 is 0.786
    assert [f.phrase for f in features] == ["common", "rare"]
    assert features[1].score == pytest.approx(2 / (2 + 1.96**2), abs=1e-6)
    assert features[0].score == pytest.approx(0.7864, abs=1e-4)
    assert [f.rank for f in features] == [1, 2]
    assert [f.feature_id for f in features] == ["000/0001", "000/0002"]


def test_counts_by_hand() -> None:
    group = [
        effect(1, "tree", True, after=0.1),  # drop 0.8
        effect(2, "tree", False, after=0.7),  # drop 0.2
        effect(3, "tree", True, after=0.4),  # drop 0.5
        effect(4, "tree", False, after=1.0),  # drop -0.1
    ]
    (feature,) = rank_features(0, group, min_support=4, min_flip_rate=0.5, examples=3)
    assert (feature.support, feature.flips, feature.flip_rate) == (4, 2, 0.5)
    assert feature.mean_drop == pytest.approx(0.35)
    assert feature.examples == ("01/tree", "03/tree", "02/tree")
    assert feature.spurious


@pytest.mark.parametrize(
    ("flips", "support", "spurious"),
    [(5, 5, True), (4, 4, False), (1, 10, True), (1, 11, False), (0, 50, False)],
)
def test_spurious_needs_support_and_rate(flips: int, support: int, spurious: bool) -> None:
    (feature,) = rank_features(0, effects("tree", flips, support), 5, 0.1)
    assert feature.spurious is spurious


def test_a_phrase_without_flips_is_never_spurious() -> None:
    (feature,) = rank_features(0, effects("tree", 0, 50), 0, 0.0)
    assert not feature.spurious


def test_ties_go_to_the_larger_drop_and_then_to_the_alphabet() -> None:
    group = effects("b", 2, 5, 0.5) + effects("c", 2, 5, 0.3) + effects("a", 2, 5, 0.5)
    assert [f.phrase for f in rank_features(0, group, 5, 0.1)] == ["c", "a", "b"]


def test_same_phrase_as_object_and_as_background_are_two_features() -> None:
    group = [effect(1, "lake", True), effect(2, "lake", True, kind="change_background")]
    features = rank_features(0, group, 1, 0.1)
    assert {f.kind for f in features} == {"remove_object", "change_background"}


def test_order_of_the_effects_does_not_matter() -> None:
    group = effects("a", 2, 5) + effects("b", 3, 6) + effects("c", 0, 9)
    assert rank_features(0, group, 5, 0.1) == rank_features(0, group[::-1], 5, 0.1)


def test_no_effects_no_features() -> None:
    assert rank_features(0, [], 5, 0.1) == []
