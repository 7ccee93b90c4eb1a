"""SUBG: sizes and fairness of the subset, and what the fit is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aspire.baselines.erm import CrossEntropy
from aspire.baselines.subg import SUBG, balanced_rows
from aspire.data.image_table import ImageTable

GROUP = [0] * 9 + [1] * 3 + [3] * 5 + [0] * 2


def table(group: list[int], weight: Any = None) -> ImageTable:
    ids = np.array(group)
    paths = tuple(Path(str(i)) for i in range(len(group)))
    return ImageTable(paths, ids // 2, ids, weight)


def rows_of(group: list[int], seed: int = 0, weight: Any = None) -> np.ndarray:
    made = table(group, weight)
    return balanced_rows(made, np.unique(made.group), np.random.default_rng(seed))


def test_every_group_has_the_size_of_the_smallest() -> None:
    rows = rows_of(GROUP)
    assert np.bincount(np.array(GROUP)[rows]).tolist() == [3, 3, 0, 3]
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert {9, 10, 11} <= set(rows.tolist())  # the smallest is there as a whole


def test_the_seed_decides_the_subset() -> None:
    assert rows_of(GROUP, 1).tolist() == rows_of(GROUP, 1).tolist()
    assert len({tuple(rows_of(GROUP, seed)) for seed in range(20)}) > 15


def test_rows_of_a_group_have_the_same_chance() -> None:
    chosen = np.mean([np.isin(np.arange(19), rows_of(GROUP, seed)) for seed in range(2000)], axis=0)
    expected = np.array([3 / 11] * 9 + [1] * 3 + [3 / 5] * 5 + [3 / 11] * 2)
    assert chosen == pytest.approx(expected, abs=0.05)  # five standard deviations


def test_a_balanced_table_stays_whole() -> None:
    assert rows_of([3, 1, 0, 0, 1, 3]).tolist() == [0, 1, 2, 3, 4, 5]


def test_rows_that_are_never_drawn_do_not_count() -> None:
    rows = rows_of([0, 0, 0, 1, 1, 1], weight=np.array([1, 1, 1, 0, 1, 1]))
    assert np.bincount(np.array([0, 0, 0, 1, 1, 1])[rows]).tolist() == [2, 2]
    assert 3 not in rows


def run(made: ImageTable, batch_size: int = 4, seed: int = 0) -> dict[str, Any]:
    asked: dict[str, Any] = {"warnings": [], "record": {}}

    def fit(phase: str, objective: Any, **keywords: Any) -> str:
        asked.update(keywords, phase=phase, objective=objective)
        return "net"

    ctx = SimpleNamespace(
        info=SimpleNamespace(num_groups=4, num_classes=2, group_names=list("abcd")),
        train=made,
        batch_size=batch_size,
        fit=fit,
        rng=lambda name: np.random.default_rng(seed),
        record=asked["record"].update,
        warn=asked["warnings"].append,
    )
    ctx.real = ctx if made.real is None else SimpleNamespace(**vars(ctx))
    ctx.real.train = made.only_real()
    assert SUBG().run(ctx) == "net"
    return asked


def test_one_fit_on_the_subset() -> None:
    asked = run(table(GROUP))
    assert asked["phase"] == "train"
    assert isinstance(asked["objective"], CrossEntropy)
    assert np.bincount(asked["train"].group).tolist() == [3, 3, 0, 3]
    assert asked["sample_weights"] is None  # even passes over the subset
    assert asked["record"] == {"subset_images": 9, "subset_images_per_group": 3}
    # rows keep their path, class and group
    indices = [int(path.name) for path in asked["train"].paths]
    assert np.array(GROUP)[indices].tolist() == asked["train"].group.tolist()
    assert (asked["train"].group // 2).tolist() == asked["train"].y.tolist()


def test_missing_groups_are_named_and_left_out() -> None:
    (warning,) = run(table(GROUP))["warnings"]
    assert warning.startswith("No training image of c. SUBG balances the others;")


def test_a_subset_below_one_batch_is_named() -> None:
    asked = run(table([0, 0, 0, 1, 2, 3]), batch_size=8)
    (warning,) = asked["warnings"]
    assert warning.startswith(
        "The smallest group has 1 images, so SUBG trains on 4, fewer than one batch of 8"
    )
    assert "baseline=rwg" in warning
    assert run(table([0, 0, 1, 1, 2, 2, 3, 3, 3]), batch_size=8)["warnings"] == []


def test_generated_images_are_added_to_the_subset_of_the_real_ones() -> None:
    # groups of 3, 2 and 4 real images; generated ones in the small group 1 and in group 0
    real = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    group = real + [1] * 5 + [0]
    weight = np.array([0.5 / 9] * 9 + [0.5 / 6] * 6)
    mixed = replace(table(group, weight), real=np.arange(15) < 9)
    without, asked = run(table(real), batch_size=1), run(mixed, batch_size=1)
    subset, weights = asked["train"], asked["sample_weights"]
    own = [path.name for path in without["train"].paths]
    assert [path.name for path in subset.paths] == own + [str(i) for i in range(9, 15)]
    assert asked["record"] == {"subset_images": 6, "subset_images_per_group": 2}
    # the groups weigh 1 each. In 0 two real and one generated image, half of the weight each; in 1
    # two real and five generated; in 2 real ones alone
    expected = [1 / 4] * 2 + [1 / 4] * 2 + [1 / 2] * 2 + [1 / 10] * 5 + [1 / 2]
    assert weights == pytest.approx(np.array(expected))


def test_it_needs_the_groups_of_train() -> None:
    assert SUBG.needs.describe() == "train groups"
