"""EIIL: its closed forms against autograd, its search against NumPy, and what it asks for."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aspire.baselines.eiil import EIIL, assignment_gradient, infer_environments, scale_gradient
from aspire.baselines.groupdro import GroupDROLoss
from aspire.data.image_table import ImageTable
from aspire.data.table import Split


def drawn(classes: int, number: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(classes)
    logits = torch.tensor(rng.normal(0, 3, (number, classes)))
    return logits, torch.tensor(rng.integers(0, classes, number))


def test_scale_gradient_by_hand() -> None:
    # logits (ln 3, 0): p = (3/4, 1/4), expected logit 3/4 ln 3; less ln 3 or 0 for the true class
    ln3 = float(np.log(3))
    logits = torch.tensor([[ln3, 0.0], [ln3, 0.0]])
    found = scale_gradient(logits, torch.tensor([0, 1]))
    assert found.tolist() == pytest.approx([-ln3 / 4, 3 * ln3 / 4])


@pytest.mark.parametrize("classes", [2, 5])
def test_closed_forms_are_what_double_backward_gives(classes: int) -> None:
    logits, y = drawn(classes)
    w = torch.tensor(np.random.default_rng(1).normal(size=len(y)), requires_grad=True)
    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    losses = F.cross_entropy(scale * logits, y, reduction="none")
    r = torch.sigmoid(w)
    penalty = torch.zeros((), dtype=torch.float64)
    for assigned in (r, 1 - r):
        (slope,) = torch.autograd.grad((assigned * losses).mean(), scale, create_graph=True)
        penalty = penalty + slope**2 / 2
    (expected,) = torch.autograd.grad(penalty, w)
    share = scale_gradient(logits, y) / len(y)
    assert torch.allclose(assignment_gradient(w.detach(), share), expected, rtol=1e-10, atol=1e-15)


def test_search_is_adam_uphill() -> None:
    rng = np.random.default_rng(3)
    share, start = rng.normal(0, 0.1, 9), rng.normal(size=9)
    w, m, v = start.copy(), np.zeros(9), np.zeros(9)
    lr, near = 0.05, []
    for t in range(1, 21):
        r = 1 / (1 + np.exp(-w))
        slope = ((r * share).sum() - ((1 - r) * share).sum()) * share * r * (1 - r)
        m = 0.9 * m + 0.1 * slope
        v = 0.999 * v + 0.001 * slope**2
        w += lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        near.append(np.abs(w).min())
        found = infer_environments(torch.tensor(share), torch.tensor(start), t, lr)
        assert found.tolist() == (w > 0).tolist()
    assert min(near) < 0.05  # so that a search that strays would be seen
    assert ((w > 0) != (start > 0)).any()


def test_a_long_search_tells_the_signs_apart() -> None:
    # the objective is largest where all of one sign are together
    share = torch.tensor([0.3, -0.1, 0.2, -0.4, 0.05, -0.02], dtype=torch.float64)
    for seed in range(3):
        start = torch.tensor(np.random.default_rng(seed).standard_normal(6))
        found = infer_environments(share, start, 600, 0.1)
        assert found.tolist() in ((share > 0).tolist(), (share < 0).tolist())


def test_the_start_is_left_as_it_was() -> None:
    start = torch.zeros(3, dtype=torch.float64)
    infer_environments(torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64), start, 3, 0.1)
    assert start.tolist() == [0, 0, 0]


Y = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2])
WRONG = np.array([0, 1, 0, 0, 0, 1, 1, 1, 0], bool)  # where the shortcut misleads


class Context:
    """Notes what it is asked for; the reference network is sure, and wrong in some rows."""

    def __init__(
        self, wrong: Any = WRONG, weight: Any = None, kept: dict[str, Any] | None = None
    ) -> None:
        number = len(Y)
        said = np.where(wrong, (Y + 1) % 3, Y)
        self.reference = torch.tensor(2.0 * np.eye(3)[said], dtype=torch.float32)
        self.train = ImageTable((Path("x"),) * number, Y, np.full(number, -1), weight)
        self.info = SimpleNamespace(num_classes=3, class_names=["ant", "bee", "cat"])
        self.steps = 40
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.recorded: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.kept = {} if kept is None else kept
        self.real = self

    def erm(self, **keywords: Any) -> str:
        self.asked.append(("erm", keywords))
        return "biased"

    def fit(self, phase: str, objective: Any, **keywords: Any) -> str:
        assert isinstance(objective, GroupDROLoss)
        self.asked.append((phase, {**keywords, "eta": objective.eta}))
        return "robust"

    def logits(self, net: str, split: Split) -> torch.Tensor:
        assert (net, split) == ("biased", Split.TRAIN)
        self.asked.append(("logits", {}))
        return self.reference

    def rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng(0)

    def remember(self, name: str, make: Any) -> Any:
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    def record(self, **values: Any) -> None:
        self.recorded.update(values)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def run(ctx: Context, **settings: Any) -> Any:
    return EIIL(**{"env_steps": 600, "env_lr": 0.1, **settings}).run(ctx)


def test_environments_are_where_the_reference_is_wrong_and_make_groups_with_the_class() -> None:
    ctx = Context()
    assert run(ctx, reference=0.1, eta=0.3) == "robust"
    assert ctx.asked[0] == ("erm", {"steps": 4, "select": "last"})
    phase, asked = ctx.asked[-1]
    assert phase == "train"
    assert set(asked) == {"groups", "sample_weights", "eta"}
    assert asked["eta"] == 0.3
    environment = asked["groups"] - 2 * Y
    assert environment.dtype == np.int64
    assert environment.tolist() in (WRONG.tolist(), (~WRONG).tolist())
    # as often every pseudo group: its rows' weights sum to 1
    mass = np.bincount(asked["groups"], weights=asked["sample_weights"], minlength=6)
    assert mass == pytest.approx([1.0] * 6)
    first = int(environment[1])  # of the wrong ones
    assert ctx.recorded["reference_steps"] == 4
    assert ctx.recorded["pseudo_groups"][f"bee/environment {first}"] == 2
    assert ctx.recorded["pseudo_groups"][f"ant/environment {1 - first}"] == 2
    assert sum(ctx.recorded["pseudo_groups"].values()) == len(Y)
    assert ctx.warnings == []


def test_weights_of_the_rows_stay_within_a_pseudo_group_and_count_in_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = np.array([1, 2, 3, 1, 1, 1, 4, 1, 1.0]) / 15
    ctx = Context(weight=own)
    shares = []

    def infer(share: torch.Tensor, *rest: Any) -> torch.Tensor:
        shares.append(share)
        return infer_environments(share, *rest)

    monkeypatch.setattr("aspire.baselines.eiil.infer_environments", infer)
    run(ctx)
    gradient = scale_gradient(ctx.reference.double(), torch.from_numpy(Y)).numpy()
    assert shares[0].numpy() == pytest.approx(own * gradient)
    weights = ctx.asked[-1][1]["sample_weights"]
    # ant: rows 0 and 2 (1 : 3) and row 1; bee: rows 3 and 4, rows 5 and 6 (1 : 4); cat: one each
    assert weights == pytest.approx([1 / 4, 1, 3 / 4, 1 / 2, 1 / 2, 1 / 5, 4 / 5, 1, 1])


def test_an_interrupted_run_does_not_search_again() -> None:
    first = Context()
    run(first)
    again = Context(wrong=~WRONG, kept=first.kept)
    run(again)
    assert [name for name, _ in again.asked] == ["erm", "train"]
    assert np.array_equal(again.asked[-1][1]["groups"], first.asked[-1][1]["groups"])


@pytest.mark.parametrize(
    ("kept", "text"),
    [
        ([1] * 9, "all training images into one environment.*baseline.reference than 0.05"),
        ([0, 1, 0, 1, 1, 1, 1, 0, 1], "all training images of bee into one environment"),
    ],
)
def test_classes_in_one_environment_are_warned_about(kept: list[int], text: str) -> None:
    ctx = Context(kept={"environments": np.array(kept)})
    assert run(ctx) == "robust"
    (warning,) = ctx.warnings
    assert re.search(text, warning)
    mass = np.bincount(ctx.asked[-1][1]["groups"], weights=ctx.asked[-1][1]["sample_weights"])
    assert mass[mass > 0] == pytest.approx(1.0)


def test_a_class_without_images_is_not_called_one_environment() -> None:
    ctx = Context()
    ctx.info.num_classes, ctx.info.class_names = 4, ["ant", "bee", "cat", "dog"]
    run(ctx)
    assert ctx.warnings == []


def test_it_is_told_no_groups() -> None:
    assert EIIL.needs.describe() == "none"
