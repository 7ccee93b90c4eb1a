"""GroupDRO against Algorithm 1 of Sagawa et al. (2020), by hand and as a NumPy trajectory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aspire.baselines.base import DatasetInfo
from aspire.baselines.groupdro import GroupDRO, GroupDROLoss
from aspire.data.datamodule import Batch
from aspire.data.image_table import ImageTable

LN2, LN4 = float(np.log(2)), float(np.log(4))
COUNTS = (4, 1, 9, 16)


class Given(nn.Module):
    """A net whose logits are its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def objective(
    eta: float, adjustment: float = 0.0, counts: tuple[int, ...] = COUNTS
) -> GroupDROLoss:
    made = GroupDROLoss(eta, adjustment)
    made.setup(DatasetInfo(2, len(counts), sum(counts), counts, ["a", "b"], list("wxyz")), None)
    return made


def logits_with(losses: list[float]) -> np.ndarray:
    """Two logits each, whose cross-entropy for class 0 is the given loss."""
    p = np.exp(-np.array(losses))
    return np.stack([np.log(p), np.log1p(-p)], axis=1)


def batch(losses: list[float], groups: list[int]) -> Batch:
    number = len(losses)
    return Batch(
        torch.tensor(logits_with(losses), dtype=torch.float32),
        torch.zeros(number, dtype=torch.int64),
        torch.tensor(groups),
        torch.arange(number),
    )


def step(made: GroupDROLoss, losses: list[float], groups: list[int]) -> float:
    return float(made(Given(), batch(losses, groups)).loss)


def test_one_batch_by_hand() -> None:
    # eta = 1 makes exp(eta * loss) a power: group 0 has mean ln 2, group 1 ln 4, the others none
    # q = 1/4 (2, 4, 1, 1) normalised = (2, 4, 1, 1) / 8; loss = 1/4 ln 2 + 1/2 ln 4 = 5/4 ln 2
    made = objective(eta=1.0)
    assert made.q.tolist() == [0.25] * 4
    loss = step(made, [LN2, LN2, LN4], [0, 0, 1])
    assert made.q.tolist() == pytest.approx([0.25, 0.5, 0.125, 0.125])
    assert loss == pytest.approx(1.25 * LN2)


def test_adjustment_by_hand() -> None:
    # C / sqrt(n) is ln 2 / sqrt(4, 1, 9, 16): group 0 counts ln 2 / 2 more, group 1 ln 2 more
    made = objective(eta=2.0, adjustment=LN2)
    loss = step(made, [LN2 / 2, LN2], [0, 1])
    # adjusted losses ln 2 and 2 ln 2; q ~ (4, 16, 1, 1)
    assert made.q.tolist() == pytest.approx([4 / 22, 16 / 22, 1 / 22, 1 / 22])
    assert loss == pytest.approx((4 / 22 + 2 * 16 / 22) * LN2)


@pytest.mark.parametrize("adjustment", [0.0, 1.5])
def test_twenty_random_batches_against_numpy(adjustment: float) -> None:
    rng = np.random.default_rng(0)
    made, eta = objective(eta=0.3, adjustment=adjustment), 0.3
    q = np.full(4, 0.25)
    lacking = 0
    for _ in range(20):
        number = int(rng.integers(3, 12))
        losses = rng.uniform(0.01, 3.0, number)
        groups = rng.choice(4, number, p=[0.5, 0.05, 0.15, 0.3])
        value = {}
        for g in set(groups.tolist()):
            value[g] = losses[groups == g].mean() + adjustment / np.sqrt(COUNTS[g])
            q[g] *= np.exp(eta * value[g])
        q /= q.sum()
        lacking += len(value) < 4
        expected = sum(q[g] * v for g, v in value.items())
        assert step(made, losses.tolist(), groups.tolist()) == pytest.approx(expected, rel=1e-4)
        assert made.q.numpy() == pytest.approx(q, rel=1e-4)
        assert float(made.q.sum()) == pytest.approx(1.0, abs=1e-6)
    assert lacking > 5


def test_without_steps_of_q_it_is_the_mean_of_the_group_losses() -> None:
    made = objective(eta=0.0)
    loss = step(made, [0.1, 0.3, 1.0, 2.0, 0.5], [0, 0, 1, 2, 3])
    assert loss == pytest.approx((0.2 + 1.0 + 2.0 + 0.5) / 4)
    assert made.q.tolist() == [0.25] * 4


def test_renaming_the_groups_permutes_the_weights() -> None:
    order = [2, 0, 3, 1]
    a = objective(eta=0.7, adjustment=1.0)
    b = objective(eta=0.7, adjustment=1.0, counts=tuple(COUNTS[order.index(g)] for g in range(4)))
    for losses, groups in (([0.3, 1.0, 2.0], [0, 1, 3]), ([0.4, 0.2], [2, 2])):
        assert step(a, losses, groups) == pytest.approx(step(b, losses, [order[g] for g in groups]))
    assert a.q.tolist() == pytest.approx([float(b.q[order[g]]) for g in range(4)])


def test_groups_without_training_images_start_at_nothing() -> None:
    made = objective(eta=1.0, counts=(4, 0, 4, 0))
    assert made.q.tolist() == [0.5, 0.0, 0.5, 0.0]
    step(made, [1.0, 2.0], [0, 2])
    assert made.q[[1, 3]].tolist() == [0.0, 0.0]


def test_weights_are_state_and_not_parameters() -> None:
    made = objective(eta=1.0)
    step(made, [0.1, 2.0], [0, 1])
    assert set(made.state_dict()) == {"q", "offset"}
    assert list(made.parameters()) == []
    fresh = objective(eta=1.0)
    fresh.load_state_dict(made.state_dict())
    assert torch.equal(fresh.q, made.q)


def test_weights_of_the_groups_carry_no_gradient() -> None:
    # d loss / d logits = q_g / n_g * (softmax - one_hot), q a constant
    made = objective(eta=1.0)
    given = batch([LN2, LN4], [0, 1])
    given = given._replace(image=given.image.requires_grad_())
    made(Given(), given).loss.backward()
    q = np.array([2, 4, 1, 1]) / 8
    p = np.array([[0.5, 0.5], [0.25, 0.75]])
    expected = q[:2, None] * (p - [[1, 0], [1, 0]])
    assert given.image.grad is not None
    assert given.image.grad.numpy() == pytest.approx(expected, abs=1e-6)


def test_weights_are_logged_and_keep_their_value() -> None:
    made = objective(eta=1.0)
    out = made(Given(), batch([LN2], [0]))
    assert set(out.scalars) == {"q/0", "q/1", "q/2", "q/3"}
    before = float(out.scalars["q/0"])
    step(made, [3.0], [1])
    assert float(out.scalars["q/0"]) == before == pytest.approx(2 / 5)


def run(group: list[int], weight: Any = None, groups: int = 4) -> np.ndarray:
    """The sampling weights that GroupDRO asks for."""
    asked: dict[str, Any] = {}
    warned: list[str] = []

    def fit(phase: str, objective: Any, **keywords: Any) -> str:
        asked.update(keywords, phase=phase, objective=objective)
        return "net"

    y = np.array(group) // 2
    table = ImageTable((Path("x"),) * len(group), y, np.array(group), weight)
    counts = tuple(np.bincount(group, minlength=groups).tolist())
    names = ["a/x", "a/y", "b/x", "b/y"][:groups]
    info = SimpleNamespace(group_counts=counts, num_groups=groups, group_names=names)
    context: Any = SimpleNamespace(info=info, train=table, fit=fit, warn=warned.append)
    assert GroupDRO(0.1).run(context) == "net"
    assert [("b/x" in text) for text in warned] == [True] * (2 not in group)
    assert asked["phase"] == "train"
    assert isinstance(asked["objective"], GroupDROLoss)
    return np.asarray(asked["sample_weights"])


def test_batches_are_balanced_over_the_groups() -> None:
    group = [0] * 6 + [1] * 2 + [3]
    weights = run(group)
    weights /= weights.sum()
    assert weights == pytest.approx([1 / 18] * 6 + [1 / 6] * 2 + [1 / 3])


def test_batches_stay_balanced_when_rows_have_weights_of_their_own() -> None:
    group, own = [0, 0, 0, 1, 3, 3], np.array([0.1, 0.1, 0.2, 0.3, 0.05, 0.25])
    weights = run(group, own)
    weights /= weights.sum()
    # a third for each group; within a group as the rows' own weights say
    assert weights == pytest.approx([1 / 12, 1 / 12, 1 / 6, 1 / 3, 1 / 18, 5 / 18])


def test_it_needs_the_groups() -> None:
    assert GroupDRO.needs.describe() == "train+val groups"
