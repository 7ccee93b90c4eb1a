"""RWG: the weights by hand, and what the fit is asked for."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aspire.baselines import rwg
from aspire.baselines.erm import CrossEntropy
from aspire.baselines.rwg import RWG, group_balanced
from aspire.data.image_table import ImageTable


def table(group: list[int], weight: list[float] | None = None) -> ImageTable:
    own = None if weight is None else np.array(weight)
    ids = np.array(group)
    return ImageTable((Path("x"),) * len(group), ids // 2, ids, own)


def test_weights_are_the_inverse_sizes_of_the_groups() -> None:
    assert group_balanced(table([0, 3, 0, 1, 1, 0])) == pytest.approx(
        [1 / 3, 1, 1 / 3, 1 / 2, 1 / 2, 1 / 3]
    )


def test_rows_keep_their_own_weights_within_their_group() -> None:
    # group 0 holds 1 + 3, group 1 holds 2 + 2, group 2 holds 0.5
    weights = group_balanced(table([0, 0, 1, 1, 2], [1, 3, 2, 2, 0.5]))
    assert weights == pytest.approx([0.25, 0.75, 0.5, 0.5, 1])


def test_weights_of_one_size_are_no_weights() -> None:
    group = [0] * 5 + [1] * 2 + [3]
    assert group_balanced(table(group, [0.125] * 8)) == pytest.approx(group_balanced(table(group)))


def test_balanced_groups_are_drawn_as_they_are() -> None:
    assert group_balanced(table([0, 1, 2, 3, 3, 2, 1, 0])) == pytest.approx([0.5] * 8)


def test_rows_that_are_never_drawn_stay_so() -> None:
    weights = group_balanced(table([0, 0, 1, 1], [0, 1, 0, 0]))
    assert weights.tolist() == [0, 1, 0, 0]


def test_a_draw_holds_all_groups_alike() -> None:
    group = np.repeat(np.arange(5), [400, 7, 90, 3, 1])
    weights = group_balanced(table(group.tolist()))
    drawn = np.random.default_rng(0).choice(len(group), 50_000, p=weights / weights.sum())
    # sqrt(0.2 * 0.8 / 50,000) is 0.002
    assert np.bincount(group[drawn]) / 50_000 == pytest.approx([0.2] * 5, abs=0.01)


def run(group: list[int], groups: int = 4) -> tuple[dict[str, Any], list[str]]:
    asked: dict[str, Any] = {}
    warnings: list[str] = []

    def fit(phase: str, objective: Any, **keywords: Any) -> str:
        asked.update(keywords, phase=phase, objective=objective)
        return "net"

    names = [f"g{i}" for i in range(groups)]
    info = SimpleNamespace(num_groups=groups, num_classes=groups // 2, group_names=names)
    ctx = SimpleNamespace(info=info, train=table(group), fit=fit, warn=warnings.append)
    assert RWG().run(ctx) == "net"
    return asked, warnings


def test_one_fit_with_balanced_weights() -> None:
    asked, warnings = run([0, 0, 1, 2, 3])
    assert asked.pop("sample_weights") == pytest.approx([0.5, 0.5, 1, 1, 1])
    assert isinstance(asked.pop("objective"), CrossEntropy)
    assert asked == {"phase": "train"}
    assert warnings == []


def test_missing_groups_are_named() -> None:
    asked, (warning,) = run([0, 0, 3])
    assert asked["sample_weights"] == pytest.approx([0.5, 0.5, 1])
    assert warning.startswith("No training image of g1, g2. RWG balances the others;")
    _, (warning,) = run([0], groups=30)
    assert "of g1, g2, g3, g4, g5 and 24 more. " in warning


def test_it_needs_the_groups_of_train() -> None:
    assert RWG.needs.describe() == "train groups"


def test_examples_of_the_docstrings() -> None:
    result = doctest.testmod(rwg)
    assert (result.attempted > 0, result.failed) == (True, 0)
