"""JTT: what its two stages are asked for, and that the odds are those of the authors' list."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from aspire.baselines.erm import ERM, CrossEntropy
from aspire.baselines.jtt import JTT
from aspire.data.image_table import ImageTable
from aspire.data.table import Split

Y = [0, 0, 1, 1, 1, 2]
PREDICTED = [0, 1, 1, 1, 0, 2]  # rows 1 and 4 are errors


class Context:
    """Notes what it is asked for; ``kept`` is what an interrupted run left."""

    def __init__(
        self, predicted: list[int], weight: Any = None, kept: dict[str, Any] | None = None
    ) -> None:
        self.predicted = predicted
        self.train = ImageTable((Path("x"),) * len(Y), np.array(Y), np.full(len(Y), -1), weight)
        self.info = SimpleNamespace(num_classes=3)
        self.steps = 50
        self.batch_size = 4
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.recorded: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.kept = {} if kept is None else kept
        self.real = self

    def erm(self, **keywords: Any) -> str:
        self.asked.append(("erm", keywords))
        return f"erm {keywords.get('steps')}"

    def fit(self, phase: str, objective: Any, **keywords: Any) -> str:
        assert isinstance(objective, CrossEntropy)
        self.asked.append((phase, keywords))
        return "upweighted"

    def predict(self, net: str, split: Split) -> torch.Tensor:
        assert split == Split.TRAIN
        self.asked.append(("predict", {"net": net}))
        return torch.tensor(self.predicted)

    def remember(self, name: str, make: Any) -> Any:
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    def record(self, **values: Any) -> None:
        self.recorded.update(values)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def run(ctx: Context, **settings: Any) -> Any:
    return JTT(**settings).run(ctx)


def test_errors_of_a_short_erm_count_more_in_a_fresh_fit() -> None:
    ctx = Context(PREDICTED)
    assert run(ctx, identify=0.2, upweight=7.5) == "upweighted"
    # 0.2 of 50 steps; judged as it stands at the end, on the rows it learned from
    assert ctx.asked[:2] == [
        ("erm", {"steps": 10, "select": "last"}),
        ("predict", {"net": "erm 10"}),
    ]
    phase, keywords = ctx.asked[2]
    assert phase == "train"
    assert set(keywords) == {"sample_weights"}  # no net: it starts again
    assert keywords["sample_weights"].tolist() == [1, 7.5, 1, 1, 7.5, 1]
    assert ctx.recorded == {"identify_steps": 10, "error_images": 2}
    assert ctx.warnings == []


def test_the_second_stage_has_epochs_of_the_enlarged_list() -> None:
    # 6 images are 2 batches of 4, 25 epochs; with 2 errors 10 times more they are 26, 7 batches
    ctx = Context(PREDICTED)
    run(ctx, identify=0.2, upweight=11, enlarged=True)
    _, keywords = ctx.asked[2]
    assert keywords["steps"] == 175
    assert keywords["sample_weights"].tolist() == [1, 11, 1, 1, 11, 1]
    assert ctx.recorded["enlarged_steps"] == 175


def test_odds_are_those_of_a_list_with_the_errors_added_lambda_times() -> None:
    added = 20
    rows = np.concatenate([np.arange(6), np.tile([1, 4], added)])
    expected = np.bincount(rows) / len(rows)
    ctx = Context(PREDICTED)
    run(ctx, upweight=added + 1)
    weights = ctx.asked[-1][1]["sample_weights"]
    assert weights / weights.sum() == pytest.approx(expected)


def test_weights_of_the_rows_are_multiplied() -> None:
    own = np.array([0.1, 0.2, 0.1, 0.3, 0.05, 0.25])
    ctx = Context(PREDICTED, own)
    run(ctx, upweight=10)
    assert ctx.asked[-1][1]["sample_weights"] == pytest.approx([0.1, 2.0, 0.1, 0.3, 0.5, 0.25])
    assert ctx.train.weight is own
    assert own[1] == 0.2


def test_generated_images_are_never_errors_and_keep_their_share() -> None:
    # six real images of 1/12 and two generated ones of 1/8 and 3/8; rows 1 and 4 are errors
    real = Context(PREDICTED)
    ctx = Context(PREDICTED)
    ctx.real = real
    own = np.array([1 / 12] * 6 + [1 / 8, 3 / 8])
    paths, y = (Path("x"),) * 8, np.array([*Y, 0, 1])
    ctx.train = ImageTable(paths, y, np.full(8, -1), own, np.arange(8) < 6)
    run(ctx, upweight=3)
    assert [name for name, _ in real.asked] == ["erm", "predict"]
    ((_, keywords),) = ctx.asked
    # 4 + 2 * 3 = 10 parts of one half
    expected = [1 / 20, 3 / 20, 1 / 20, 1 / 20, 3 / 20, 1 / 20, 1 / 8, 3 / 8]
    assert keywords["sample_weights"] == pytest.approx(expected)
    assert ctx.recorded["error_images"] == 2


def test_without_upweighting_it_is_erm() -> None:
    ctx, plain = Context(PREDICTED), Context(PREDICTED)
    assert run(ctx, upweight=1) == ERM().run(plain)
    assert ctx.asked == plain.asked


@pytest.mark.parametrize(
    ("predicted", "text"),
    [
        (Y, "got none of the 6 .* smaller baseline.identify than 0.2"),
        ([3] * 6, "all of the 6 .* larger"),
    ],
)
def test_no_or_only_errors_are_warned_about_and_erm(predicted: list[int], text: str) -> None:
    ctx, plain = Context(predicted), Context(predicted)
    assert run(ctx) == ERM().run(plain)
    assert ctx.asked[-1] == plain.asked[-1]
    (warning,) = ctx.warnings
    assert re.search(text, warning)


def test_an_interrupted_run_does_not_look_for_errors_again() -> None:
    first = Context(PREDICTED)
    run(first)
    again = Context([9] * 6, kept=first.kept)
    run(again)
    assert [name for name, _ in again.asked] == ["erm", "train"]
    assert np.array_equal(
        again.asked[-1][1]["sample_weights"], first.asked[-1][1]["sample_weights"]
    )


def test_the_first_stage_has_a_step_at_least() -> None:
    ctx = Context(PREDICTED)
    run(ctx, identify=1e-3)
    assert ctx.asked[0][1]["steps"] == 1


def test_it_is_told_no_groups() -> None:
    assert JTT.needs.describe() == "none"
