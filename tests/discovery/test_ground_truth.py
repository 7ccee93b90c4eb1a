"""Precision and recall against data whose truth is known by construction."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aspire.data.table import Dataset
from aspire.discovery.ground_truth import agreement, names_attribute
from aspire.records import SpuriousFeature


def dataset(counts: dict[tuple[int, int], int]) -> Dataset:
    rows = [(y, a, 0) for (y, a), n in counts.items() for _ in range(n)]
    rows += [(0, 0, 1), (0, 0, 2)]
    table = pd.DataFrame(rows, columns=["y", "place", "split"])
    table["img_id"] = [str(i) for i in range(len(table))]
    table["img_filename"] = table["img_id"] + ".png"
    return Dataset("d", Path(), table, ("cat", "dog"), ("land", "water"))


def feature(y: int, rank: int, phrase: str) -> SpuriousFeature:
    return SpuriousFeature(
        feature_id=f"{y}/{rank}", y=y, rank=rank, kind="change_background", phrase=phrase,
        support=9, flips=9, flip_rate=1.0, score=1.0, mean_drop=0.5, spurious=True, examples=(),
    )  # fmt: skip


def captions(data: Dataset) -> dict[str, frozenset[str]]:
    """Scenes follow the place, "paws" the class, "ball" neither."""
    found = {}
    for i, row in enumerate(data.table.itertuples()):
        scene = (("forest", "field"), ("lake", "sea"))[row.place][i % 2]
        own = {"paws"} if row.y == 1 else set()
        found[str(row.img_id)] = frozenset({scene, *own, *({"ball"} if i % 3 == 0 else ())})
    return found


CORRELATED = {(0, 0): 95, (0, 1): 15, (1, 0): 15, (1, 1): 95}


def test_precision_and_recall_by_hand() -> None:
    data = dataset(CORRELATED)
    features = [
        feature(0, 1, "forest"), feature(0, 2, "ball"), feature(0, 3, "field"),
        feature(1, 1, "paws"), feature(1, 2, "sea"), feature(1, 3, "lake"), feature(1, 4, "ball"),
    ]  # fmt: skip
    cat, dog = agreement(data, captions(data), features, ks=(1, 2, 3))
    assert (cat.attribute, dog.attribute) == ("land", "water")
    assert cat.true == {"forest", "field"}
    assert dog.true == {"sea", "lake"}  # and not "paws", which goes with the class
    assert cat.precision == {1: 1.0, 2: 0.5, 3: pytest.approx(2 / 3)}
    assert cat.recall == {1: 0.5, 2: 0.5, 3: 1.0}
    assert dog.precision == {1: 0.0, 2: 0.5, 3: pytest.approx(2 / 3)}


def test_cues_of_their_own_are_looked_for_in_each_class_alone() -> None:
    # attribute 0: the class's own cue shows, a gym or a beach; elsewhere it is a street
    data = dataset({(0, 0): 95, (0, 1): 5, (1, 0): 95, (1, 1): 5})
    data = dataclasses.replace(data, own_cue=0)
    scenes = {(0, 0): "gym", (1, 0): "beach"}
    held = {
        str(r.img_id): frozenset({scenes.get((int(r.y), int(r.place)), "street")})
        for r in data.table.itertuples()
    }
    features = [feature(y, k, p) for y in (0, 1) for k, p in ((1, "gym"), (2, "beach"))]
    cat, dog = agreement(data, held, features, ks=(1,))
    assert (cat.true, dog.true) == ({"gym"}, {"beach"})
    assert (cat.precision, dog.precision) == ({1: 1.0}, {1: 0.0})


def test_balanced_data_have_no_truth() -> None:
    data = dataset(dict.fromkeys(CORRELATED, 40))
    assert agreement(data, captions(data), [feature(0, 1, "forest")]) == []


def test_without_annotation_nothing_is_said() -> None:
    data = dataset(CORRELATED)
    data.table["place"] = -1
    assert agreement(data, captions(data), [feature(0, 1, "forest")]) == []


def test_odds_ratio_is_stratified() -> None:
    # Simpson: over both classes together the phrase goes with the attribute, in neither alone
    y = np.repeat([0, 1], 100)
    has = np.concatenate([np.arange(100) < 90, np.arange(100) < 10])
    held = np.concatenate([np.arange(100) % 10 < 9, np.arange(100) % 10 < 1])
    assert not names_attribute(held, has, y)
    assert names_attribute(has & (np.arange(200) % 2 == 0), has, y)
    assert not names_attribute(np.arange(200) < 4, has, y)  # too few to tell
