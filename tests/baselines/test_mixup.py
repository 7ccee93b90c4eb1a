"""Mixup against its formula in NumPy, its limits, and the draws of lambda."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aspire.baselines import mixup
from aspire.baselines.erm import CrossEntropy
from aspire.baselines.mixup import Mixup, MixupLoss, beta, blend, soft_cross_entropy
from aspire.data.datamodule import Batch

LN2, LN4 = float(np.log(2)), float(np.log(4))


class Flat(nn.Module):
    """A net whose logits are its input, a (B, K, 1, 1) image; remembers it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x.flatten(1)
        return self.seen


def batch(logits: Any, y: Any) -> Batch:
    number = len(y)
    image = torch.as_tensor(logits, dtype=torch.float64)[:, :, None, None]
    return Batch(image, torch.as_tensor(y), torch.full((number,), -1), torch.arange(number))


def cross_entropy(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y])


def test_one_pair_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # rows (0, 0) and (0, ln 9) swapped at lambda = 1/2: both become (0, ln 3), softmax (1/4, 3/4).
    # labels 0 and 1, half each: the mean of -ln 1/4 and -ln 3/4
    monkeypatch.setattr(mixup, "beta", lambda alpha, number: torch.full((number,), 0.5))
    monkeypatch.setattr(torch, "randperm", lambda number: torch.tensor([1, 0]))
    loss = MixupLoss(0.2)(Flat(), batch([[0, 0], [0, np.log(9)]], [0, 1])).loss
    assert float(loss) == pytest.approx((LN4 + np.log(4 / 3)) / 2)


def test_soft_labels_by_hand() -> None:
    # softmax (1/2, 1/4, 1/4): class 0 costs ln 2, the others ln 4
    logits = torch.log(torch.tensor([[2.0, 1.0, 1.0]])).repeat(2, 1)
    a, b = torch.tensor([0, 1]), torch.tensor([2, 0])
    loss = soft_cross_entropy(logits, a, b, torch.tensor([0.25, 0.5]))
    assert float(loss) == pytest.approx((0.25 * LN2 + 0.75 * LN4 + 0.5 * LN4 + 0.5 * LN2) / 2)


def test_blends_by_hand() -> None:
    a, b = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 8.0)
    assert blend(a, b, torch.tensor([0.25, 1.0])).mean((1, 2, 3)).tolist() == [6, 0]
    assert blend(a, b, torch.tensor([0.5])).mean((1, 2, 3)).tolist() == [4, 4]


def test_twenty_random_batches_against_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        number = int(rng.integers(1, 12))
        logits, y = rng.normal(0, 2, (number, 5)), rng.integers(0, 5, number)
        share, order = rng.beta(0.4, 0.4), rng.permutation(number)
        monkeypatch.setattr(
            mixup, "beta", lambda a, n, v=share: torch.full((n,), v, dtype=torch.float64)
        )
        monkeypatch.setattr(torch, "randperm", lambda n, v=order: torch.from_numpy(v))
        mixed = share * logits + (1 - share) * logits[order]
        expected = share * cross_entropy(mixed, y) + (1 - share) * cross_entropy(mixed, y[order])
        out = MixupLoss(0.4)(Flat(), batch(logits, y))
        assert float(out.loss) == pytest.approx(expected.mean(), rel=1e-9)
        assert out.logits.numpy() == pytest.approx(mixed)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_without_mixing_it_is_erm(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixup, "beta", lambda alpha, number: torch.full((number,), share))
    rng = np.random.default_rng(0)
    given = batch(rng.normal(0, 2, (9, 4)), rng.integers(0, 4, 9))
    erm = CrossEntropy()(Flat(), given).loss
    assert float(MixupLoss(0.2)(Flat(), given).loss) == pytest.approx(float(erm), rel=1e-12)


def test_a_batch_is_mixed_with_a_permutation_of_itself_by_one_lambda() -> None:
    torch.manual_seed(0)
    net = Flat()
    for _ in range(10):
        made = torch.eye(6, dtype=torch.float64)  # what is left of row i is its share of column i
        MixupLoss(2.0)(net, batch(made, [0] * 6))
        assert net.seen.sum(0).numpy() == pytest.approx(
            np.ones(6)
        )  # each once as itself, once mixed
        off = net.seen[(net.seen > 0) & (net.seen < 1)].numpy()
        assert len(np.unique(off.round(9))) <= 2  # lambda and 1 - lambda


def test_the_global_generator_decides() -> None:
    rng = np.random.default_rng(0)
    given = batch(rng.normal(0, 2, (9, 4)), rng.integers(0, 4, 9))

    def losses(seed: int) -> list[float]:
        torch.manual_seed(seed)
        return [float(MixupLoss(1.0)(Flat(), given).loss) for _ in range(5)]

    assert losses(3) == losses(3)
    assert losses(3) != losses(4)
    assert len(set(losses(3))) == 5


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0, 10.0])
def test_lambda_has_the_moments_of_beta(alpha: float) -> None:
    # mean 1/2, variance 1 / (4 (2 alpha + 1))
    torch.manual_seed(0)
    drawn = beta(alpha, 20_000).numpy()
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert drawn.mean() == pytest.approx(0.5, abs=0.02)
    assert drawn.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


@pytest.mark.parametrize(("alpha", "mixed"), [(0.01, 0.046), (0.001, 0.0046), (1e-6, 0.0)])
def test_a_small_alpha_hardly_mixes(alpha: float, mixed: float) -> None:
    # P(0.01 < lambda < 0.99) is about alpha ln(99)
    torch.manual_seed(0)
    drawn = beta(alpha, 20_000).numpy()
    assert ((drawn > 0.01) & (drawn < 0.99)).mean() == pytest.approx(mixed, abs=0.006)
    assert drawn.mean() == pytest.approx(0.5, abs=0.02)


def test_gradient_goes_through_both_images(monkeypatch: pytest.MonkeyPatch) -> None:
    # at lambda = 3/4 the gradient of a mixed row, softmax minus soft label, reaches its two images
    # by 3/4 and 1/4; all logits 0, so softmax is 1/2
    monkeypatch.setattr(mixup, "beta", lambda alpha, number: torch.full((number,), 0.75))
    monkeypatch.setattr(torch, "randperm", lambda number: torch.tensor([1, 0]))
    given = batch(np.zeros((2, 2)), [0, 1])
    image = given.image.clone().requires_grad_()
    MixupLoss(0.2)(Flat(), given._replace(image=image)).loss.backward()
    row = (np.array([0.5, 0.5]) - [0.75, 0.25]) / 2
    expected = [0.75 * row + 0.25 * -row, 0.75 * -row + 0.25 * row]
    assert image.grad is not None
    assert image.grad.flatten(1).numpy() == pytest.approx(np.array(expected))


def test_it_has_no_state_and_wants_whole_batches() -> None:
    assert MixupLoss(0.2).state_dict() == {}
    assert MixupLoss.whole_images


def test_one_fit_on_the_table_as_it_is() -> None:
    asked: dict[str, Any] = {}

    def fit(phase: str, objective: Any, **keywords: Any) -> str:
        asked.update(keywords, phase=phase, objective=objective)
        return "net"

    context: Any = SimpleNamespace(fit=fit)
    assert Mixup(0.7).run(context) == "net"
    objective = asked.pop("objective")
    assert isinstance(objective, MixupLoss)
    assert objective.alpha == 0.7
    assert asked == {"phase": "train"}


def test_it_needs_nothing() -> None:
    assert Mixup.needs.describe() == "none"
