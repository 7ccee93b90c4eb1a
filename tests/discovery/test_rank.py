"""From effects to candidates to ranked features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aspire.discovery.rank import gather, rank_features
from aspire.discovery.rate import Rate
from aspire.discovery.wilson import Wilson
from aspire.records import Extraction

Make = Callable[[str], Callable[..., Any]]


def extraction(img_id: str, foreground: tuple[str, ...] = (), background: str | None = None) -> Any:
    return Extraction(img_id=img_id, foreground=foreground, background=background, alternative=None)


def test_counts_by_hand(make: Make, evidence: Callable[..., Any]) -> None:
    e = make("effect")
    group = [
        e(1, "tree", True, after=0.1, p_control=0.8, predicted_control=0),  # drop 0.8, control 0.1
        e(
            2, "trees", False, after=0.7, p_control=0.5, predicted_control=1
        ),  # drop 0.2, control 0.4
        e(3, "tree", True, after=0.4),  # drop 0.5
        e(4, "tree", False, after=1.0),  # drop -0.1
    ]
    (feature,) = rank_features(evidence(make("candidate")(group)), Wilson(min_support=4))
    assert (feature.support, feature.flips, feature.flip_rate) == (4, 2, 0.5)
    assert feature.mean_drop == pytest.approx(0.35)
    assert (feature.controls, feature.control_rate) == (2, 0.5)
    assert feature.control_drop == pytest.approx(0.25)
    assert feature.examples == ("001/tree", "003/tree", "002/trees", "004/tree")
    assert feature.members == ("tree", "trees")
    assert feature.interval[0] == feature.score
    assert feature.spurious


def test_order_within_each_class(make: Make, evidence: Callable[..., Any]) -> None:
    flips = make("flips")
    given = [
        flips("rare", 2, 2), flips("b", 20, 50), flips("a", 20, 50), flips("c", 20, 50, after=0.3),
        flips("other", 50, 50, y=1),
    ]  # fmt: skip
    features = rank_features(evidence(*given), Rate(min_support=1, min_flip_rate=0.5))
    # what is spurious first (here all but those at 0.4), then score, then drop, then alphabet
    assert [f.phrase for f in features] == ["rare", "c", "a", "b", "other"]
    assert [f.rank for f in features] == [1, 2, 3, 4, 1]
    assert [f.feature_id for f in features][-2:] == ["000/0004", "001/0001"]
    assert rank_features(evidence(*given[::-1]), Rate(1, 0.5)) == features


def test_gather_joins_members_and_keeps_kinds_and_classes_apart(make: Make) -> None:
    e = make("effect")
    effects = [
        e(1, "dog"), e(2, "dogs"), e(3, "dog", y=1),
        e(1, "lake", kind="change_background"), e(2, "lake"),
    ]  # fmt: skip
    names = {"dog": "dog", "dogs": "dog", "lake": "lake", "sea": "sea"}
    right = [
        (0, extraction("1", ("dog",), "lake")),
        (0, extraction("2", ("dogs", "lake"))),
        (0, extraction("4", ("dog",))),  # could not be edited
        (1, extraction("3", ("dog",))),
    ]
    wrong = [(0, extraction("5", (), "sea"))]
    found = {(c.y, c.kind, c.phrase): c for c in gather(effects, right, wrong, names)}
    assert set(found) == {
        (0, "remove_object", "dog"), (0, "remove_object", "lake"), (1, "remove_object", "dog"),
        (0, "change_background", "lake"), (0, "change_background", "sea"),
    }  # fmt: skip
    dog = found[0, "remove_object", "dog"]
    assert [e.img_id for e in dog.effects] == ["1", "2"]
    assert dog.occurrences == {"dog": 2, "dogs": 1}
    sea = found[0, "change_background", "sea"]
    assert (sea.effects, sea.occurrences) == ((), {})


def test_nothing_gathered_nothing_ranked(evidence: Callable[..., Any]) -> None:
    assert gather([], [], [], {}) == ()
    assert rank_features(evidence(), Wilson()) == []
