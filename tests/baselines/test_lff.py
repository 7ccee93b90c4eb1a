"""LfF by hand, as a NumPy trajectory, and what its gradients may and may not contain."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aspire.baselines.base import DatasetInfo
from aspire.baselines.lff import LfF, LfFLoss
from aspire.data.datamodule import Batch

LN2 = float(np.log(2))


class Part(nn.Module):
    """A net whose logits are one part of its input: 0 for the result, 1 for the biased one."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, self.index]


def objective(
    q: float = 0.7, ema: float = 0.7, rows: int = 12, classes: int = 2, real: Any = None
) -> LfFLoss:
    made = LfFLoss(Part(1), q, ema, real)
    names = [str(c) for c in range(classes)]
    made.setup(DatasetInfo(classes, classes, rows, (0,) * classes, names, names), None)
    return made


def batch(biased: Any, debiased: Any, y: list[int], rows: list[int], classes: int = 2) -> Batch:
    """Images whose two parts are logits with these cross-entropies."""
    parts = []
    for losses in (debiased, biased):
        p = np.exp(-np.asarray(losses, dtype=float))
        rest = (1 - p) / (classes - 1)
        prob = np.where(np.arange(classes) == np.array(y)[:, None], p[:, None], rest[:, None])
        parts.append(np.log(prob))
    image = torch.tensor(np.stack(parts, 1), dtype=torch.float32)
    return Batch(image, torch.tensor(y), torch.full((len(y),), -1), torch.tensor(rows))


def step(made: LfFLoss, given: Batch) -> float:
    return float(made(Part(0), given).loss)


def test_one_batch_by_hand() -> None:
    # first visit: the averages are the losses. In terms of the class's largest,
    # l_b = (1/2, 1) and l_d = (1, 1/2), so W = (1/3, 2/3)
    # q = 1: mean p CE_b = (1/2 ln 2 + 1/4 2 ln 2) / 2 = 1/2 ln 2
    # mean W CE_d = (1/3 2 ln 2 + 2/3 ln 2) / 2 = 2/3 ln 2
    made = objective(q=1.0)
    given = batch([LN2, 2 * LN2], [2 * LN2, LN2], [0, 0], [3, 5])
    assert step(made, given) == pytest.approx((1 / 2 + 2 / 3) * LN2)
    assert made.loss_biased[[3, 5]].tolist() == pytest.approx([LN2, 2 * LN2])
    assert made.label.tolist() == [-1, -1, -1, 0, -1, 0] + [-1] * 6


def test_averages_and_their_largest_by_hand() -> None:
    made = objective(q=1.0, ema=0.75)
    step(made, batch([4.0, 1.0], [1.0, 2.0], [0, 1], [0, 1]))
    # row 0 again: 0.75 * 4 + 0.25 * 2 = 3.5 and 0.75 * 1 + 0.25 * 5 = 2; row 2 is new: 7 and 1
    # largest of class 0 over rows 0 and 2: 7 and 2, so l_b = (1/2, 1), l_d = (1, 1/2)
    out = made(Part(0), batch([2.0, 7.0], [5.0, 1.0], [0, 0], [0, 2]))
    assert made.loss_biased[:3].tolist() == pytest.approx([3.5, 1.0, 7.0])
    assert made.loss_debiased[:3].tolist() == pytest.approx([2.0, 2.0, 1.0])
    biased = 2 * np.exp(-2) + 7 * np.exp(-7)
    assert float(out.loss) == pytest.approx((biased + 1 / 3 * 5 + 2 / 3 * 1) / 2, rel=1e-5)
    assert float(out.scalars["weight"]) == pytest.approx(1 / 2)
    # the largest is of the class, though class 1 has the larger loss of the other network
    assert float(made.loss_debiased[1]) == pytest.approx(2.0)


def test_generated_images_weigh_what_the_real_ones_do_on_average() -> None:
    # rows 3 and 5 are real, with the first test's W of 1/3 and 2/3; row 7 is not: W = 1/2
    real = np.array([True] * 6 + [False] * 6)
    made = objective(q=1.0, real=real)
    given = batch([LN2, 2 * LN2, 9.0], [2 * LN2, LN2, 3 * LN2], [0, 0, 0], [3, 5, 7])
    learnt = (1 / 3 * 2 + 2 / 3 * 1 + 1 / 2 * 3) / 3
    assert step(made, given) == pytest.approx((1 / 2 + learnt) * LN2)
    assert made.label[7] == -1
    assert float(made.loss_biased[7]) == 0
    assert made.whole_images  # the second network sees the real images of the whole batch
    # a batch without real images is learnt as it is: (2 + 4) / 2
    alone = batch([9.0, 9.0], [2.0, 4.0], [0, 1], [6, 8])
    assert step(made, alone) == pytest.approx(3.0)


def reference(
    memory: list[dict[int, float]],
    y_of: dict[int, int],
    losses: list[np.ndarray],
    y: np.ndarray,
    rows: np.ndarray,
    q: float,
    ema: float,
) -> float:
    """The loss of one batch from the formulas; ``memory`` is by network, then by row."""
    difficulty = []
    for own, loss in zip(memory, losses, strict=True):
        for row in set(rows.tolist()):
            new = loss[rows == row].mean()
            own[row] = ema * own[row] + (1 - ema) * new if row in own else new
            y_of[row] = int(y[rows == row][0])
        largest = {c: max(v for r, v in own.items() if y_of[r] == c) for c in set(y.tolist())}
        difficulty.append(np.array([own[r] / largest[c] for r, c in zip(rows, y, strict=True)]))
    weight = difficulty[0] / (difficulty[0] + difficulty[1] + 1e-8)
    assert ((weight >= 0) & (weight <= 1)).all()
    ease = q * np.exp(-losses[0]) ** q
    return float((ease * losses[0]).mean() + (weight * losses[1]).mean())


@pytest.mark.parametrize(("q", "ema"), [(0.7, 0.7), (0.3, 0.0)])
def test_twenty_random_batches_against_numpy(q: float, ema: float) -> None:
    rng = np.random.default_rng(0)
    made = objective(q, ema, rows=15, classes=3)
    labels = rng.integers(0, 3, 15)
    memory: list[dict[int, float]] = [{}, {}]
    y_of: dict[int, int] = {}
    repeated = 0
    for _ in range(20):
        rows = rng.integers(0, 15, 7)
        repeated += len(set(rows.tolist())) < 7
        losses = [rng.uniform(0.01, 4.0, 7) for _ in range(2)]
        given = batch(losses[0], losses[1], labels[rows].tolist(), rows.tolist(), classes=3)
        expected = reference(memory, y_of, losses, labels[rows], rows, q, ema)
        assert step(made, given) == pytest.approx(expected, rel=1e-4)
        for buffer, own in zip((made.loss_biased, made.loss_debiased), memory, strict=True):
            assert buffer.numpy() == pytest.approx([own.get(r, 0.0) for r in range(15)], rel=1e-4)
    assert repeated > 10


def test_order_within_a_batch_does_not_matter_even_for_a_repeated_row() -> None:
    losses, y, rows = [1.0, 3.0, 0.5], [0, 0, 1], [4, 4, 2]
    a, b = objective(), objective()
    step(a, batch(losses, losses, y, rows))
    order = [1, 2, 0]
    take = [[v[i] for i in order] for v in (losses, y, rows)]
    step(b, batch(take[0], take[0], take[1], take[2]))
    assert torch.equal(a.loss_biased, b.loss_biased)
    assert float(a.loss_biased[4]) == pytest.approx(2.0)


def test_gradients_are_of_the_cross_entropies_alone() -> None:
    q = 0.7
    given = batch([LN2, 2 * LN2], [2 * LN2, LN2], [0, 0], [3, 5])
    given = given._replace(image=given.image.requires_grad_())
    objective(q)(Part(0), given).loss.backward()
    p_d, p_b = np.array([1 / 4, 1 / 2]), np.array([1 / 2, 1 / 4])
    sides = np.array([-1.0, 1.0])  # softmax - one-hot of (p, 1 - p), label 0, is (1 - p) * sides
    weight = np.array([1 / 3, 2 / 3])
    assert given.image.grad is not None
    grad = given.image.grad.numpy()
    assert grad[:, 0] == pytest.approx((weight * (1 - p_d) / 2)[:, None] * sides, abs=1e-6)
    assert grad[:, 1] == pytest.approx((q * p_b**q * (1 - p_b) / 2)[:, None] * sides, abs=1e-6)


def test_the_biased_gradient_is_q_times_that_of_the_generalised_cross_entropy() -> None:
    q, rng = 0.4, np.random.default_rng(1)
    image = torch.tensor(rng.normal(0, 2, (6, 2, 3)), dtype=torch.float32, requires_grad=True)
    y = torch.tensor(rng.integers(0, 3, 6))
    given = Batch(image, y, torch.full((6,), -1), torch.arange(6))
    objective(q, classes=3)(Part(0), given).loss.backward()
    logits = image.detach()[:, 1].clone().requires_grad_()
    p = F.softmax(logits, 1)[torch.arange(6), y]
    ((1 - p**q) / q).mean().backward()
    assert image.grad is not None
    assert logits.grad is not None
    assert torch.allclose(image.grad[:, 1], q * logits.grad, atol=1e-7)


def test_networks_that_agree_weigh_every_image_half() -> None:
    given = batch([0.5, 2.0, 1.0], [0.5, 2.0, 1.0], [0, 0, 1], [0, 1, 2])
    out = objective()(Part(0), given)
    assert float(out.scalars["weight"]) == pytest.approx(0.5)


def test_losses_of_zero_stay_finite() -> None:
    image = torch.tensor([[[100.0, -100.0]] * 2, [[-100.0, 100.0]] * 2], requires_grad=True)
    given = Batch(image, torch.tensor([0, 1]), torch.full((2,), -1), torch.arange(2))
    out = objective()(Part(0), given)
    out.loss.backward()
    assert float(out.loss) == 0.0
    assert float(out.scalars["weight"]) == 0.0
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()


def test_state_goes_on_where_it_was() -> None:
    made = LfFLoss(nn.Linear(2, 2), 0.7, 0.7)
    names = ["a", "b"]
    made.setup(DatasetInfo(2, 2, 4, (0, 0), names, names), None)
    assert set(made.state_dict()) == {
        "label",
        "loss_biased",
        "loss_debiased",
        "biased.weight",
        "biased.bias",
    }
    assert {name for name, _ in made.named_parameters()} == {"biased.weight", "biased.bias"}
    first, second = objective(), objective()
    step(first, batch([1.0, 2.0], [3.0, 0.5], [0, 1], [0, 1]))
    second.load_state_dict(first.state_dict())
    given = batch([0.5, 1.0], [1.0, 2.0], [0, 1], [0, 2])
    assert step(second, given) == step(first, given)
    assert torch.equal(second.label, first.label)


def test_one_fit_beside_a_network_of_its_own() -> None:
    asked: dict[str, Any] = {}

    def fit(phase: str, objective: Any, **keywords: Any) -> str:
        asked.update(keywords, phase=phase, objective=objective)
        return "net"

    twin = nn.Linear(1, 1)
    named: list[str] = []

    def network(name: str) -> nn.Module:
        named.append(name)
        return twin

    train = SimpleNamespace(real=None)
    context: Any = SimpleNamespace(fit=fit, network=network, train=train)
    assert LfF(0.5, 0.9).run(context) == "net"
    made = asked.pop("objective")
    assert asked == {"phase": "train"}
    assert (made.q, made.ema) == (0.5, 0.9)
    assert made.biased is twin
    assert named == ["biased"]  # another name than the phase, so another start


def test_it_is_told_no_groups() -> None:
    assert LfF.needs.describe() == "none"
