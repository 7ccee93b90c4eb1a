"""ERM: the mean cross-entropy by its closed form, and one fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aspire.baselines.base import Needs
from aspire.baselines.erm import ERM, CrossEntropy
from aspire.data.datamodule import Batch


class Given(nn.Module):
    """A net whose logits are its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def batch(logits: Any, y: list[int]) -> Batch:
    number = len(y)
    return Batch(
        torch.as_tensor(logits, dtype=torch.float32),
        torch.tensor(y),
        torch.full((number,), -1),
        torch.arange(number),
    )


def loss(logits: Any, y: list[int]) -> float:
    return float(CrossEntropy()(Given(), batch(logits, y)).loss)


def test_two_logits_by_hand() -> None:
    # softmax of (0, ln 3) is (1/4, 3/4)
    logits = [[0.0, float(np.log(3))]]
    assert loss(logits, [1]) == pytest.approx(np.log(4 / 3))
    assert loss(logits, [0]) == pytest.approx(np.log(4))
    assert loss(logits * 2, [0, 1]) == pytest.approx((np.log(4 / 3) + np.log(4)) / 2)


def test_ignorance_costs_the_logarithm_of_the_classes() -> None:
    assert loss(np.zeros((5, 7)), [0, 1, 2, 3, 6]) == pytest.approx(np.log(7))


def test_random_logits_against_log_sum_exp() -> None:
    rng = np.random.default_rng(0)
    logits, y = rng.normal(0, 3, (20, 4)), rng.integers(0, 4, 20)
    expected = (np.log(np.exp(logits).sum(1)) - logits[np.arange(20), y]).mean()
    assert loss(logits, y.tolist()) == pytest.approx(expected, rel=1e-5)


def test_gradient_is_softmax_minus_one_hot() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]], requires_grad=True)
    CrossEntropy()(
        Given(), Batch(logits, torch.tensor([2, 0]), *[torch.zeros(2).long()] * 2)
    ).loss.backward()
    exp = np.exp([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]])
    expected = (exp / exp.sum(1, keepdims=True) - np.array([[0, 0, 1], [1, 0, 0]])) / 2
    assert logits.grad is not None
    assert logits.grad.numpy() == pytest.approx(expected, abs=1e-6)


def test_it_is_the_erm_that_others_start_from() -> None:
    context: Any = SimpleNamespace(erm=lambda: "net")
    assert ERM().run(context) == "net"
    assert ERM.needs == Needs(train_groups=False, val_groups=False)
    assert ERM.needs.describe() == "none"
