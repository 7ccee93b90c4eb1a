"""CVaR DRO by hand, against the dual formula of Rockafellar and Uryasev, and its limits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aspire.baselines.cvardro import CVaRDRO, CVaRLoss
from aspire.baselines.erm import CrossEntropy
from aspire.data.datamodule import Batch


class Given(nn.Module):
    """A net whose logits are its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def batch(logits: Any, y: list[int]) -> Batch:
    number = len(y)
    given = torch.as_tensor(logits, dtype=torch.float64)
    return Batch(given, torch.tensor(y), torch.full((number,), -1), torch.arange(number))


def with_losses(losses: Any) -> Batch:
    """Two logits each, whose cross-entropy for class 0 is the given loss."""
    p = np.exp(-np.array(losses))
    return batch(np.stack([np.log(p), np.log1p(-p)], axis=1), [0] * len(p))


def value(alpha: float, losses: Any) -> float:
    return float(CVaRLoss(alpha)(Given(), with_losses(losses)).loss)


def test_a_whole_number_of_losses_by_hand() -> None:
    # 0.4 of five are the two largest
    assert value(0.4, [1, 5, 2, 4, 3]) == pytest.approx((5 + 4) / 2)


def test_the_remainder_by_hand() -> None:
    # 0.5 of five are 2.5: the third largest counts by half; (5 + 4 + 3 / 2) / 2.5
    assert value(0.5, [1, 5, 2, 4, 3]) == pytest.approx(10.5 / 2.5)


def test_less_than_one_image_is_the_largest_loss() -> None:
    assert value(0.05, [1, 5, 2, 4, 3]) == pytest.approx(5)
    assert value(0.2, [1, 5, 2, 4, 3]) == pytest.approx(5)


@pytest.mark.parametrize("alpha", [0.03, 0.1, 0.2, 0.35, 0.7, 0.999, 1.0])
def test_twenty_random_batches_against_the_dual(alpha: float) -> None:
    # CVaR = min over eta of eta + E max(0, loss - eta) / alpha, attained at one of the losses
    rng = np.random.default_rng(0)
    for _ in range(20):
        losses = rng.exponential(1.0, int(rng.integers(1, 40)))
        over = np.maximum(losses[None] - losses[:, None], 0).mean(1)
        assert value(alpha, losses) == pytest.approx((losses + over / alpha).min(), rel=1e-6)


@pytest.mark.parametrize("number", [1, 7, 32])
def test_alpha_one_is_erm(number: int) -> None:
    rng = np.random.default_rng(number)
    logits, y = rng.normal(0, 2, (number, 15)), rng.integers(0, 15, number).tolist()
    got = []
    for objective in (CVaRLoss(1.0), CrossEntropy()):
        given = torch.tensor(logits, requires_grad=True)
        loss = objective(Given(), batch(logits, y)._replace(image=given)).loss
        loss.backward()
        got.append((loss.item(), given.grad))
    assert got[0][0] == pytest.approx(got[1][0], rel=1e-12)
    assert torch.allclose(got[0][1], got[1][1], rtol=1e-12)


def test_weights_carry_no_gradient() -> None:
    # losses ln 2, ln 4, ln 8 of which 0.5 * 3 = 1.5 count: weights 0, 1/3, 2/3
    given = with_losses(np.log([2, 4, 8]))
    image = given.image.clone().requires_grad_()
    CVaRLoss(0.5)(Given(), given._replace(image=image)).loss.backward()
    p = np.array([[1 / 2, 1 / 2], [1 / 4, 3 / 4], [1 / 8, 7 / 8]])
    expected = np.array([0, 1 / 3, 2 / 3])[:, None] * (p - [1, 0])
    assert image.grad is not None
    assert image.grad.numpy() == pytest.approx(expected)


def test_order_of_the_batch_does_not_matter_and_less_is_worse() -> None:
    losses = np.random.default_rng(0).exponential(1.0, 20)
    assert value(0.33, losses) == pytest.approx(value(0.33, losses[::-1]))
    values = [value(alpha, losses) for alpha in (0.01, 0.1, 0.3, 0.6, 1.0)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(losses.mean())


def test_equal_losses_are_their_value() -> None:
    for alpha in (0.1, 0.45, 1.0):
        assert value(alpha, [0.7] * 9) == pytest.approx(0.7)


def test_it_has_no_state() -> None:
    assert CVaRLoss(0.2).state_dict() == {}


def run(alpha: float, batch_size: int) -> tuple[dict[str, Any], list[str]]:
    asked: dict[str, Any] = {}
    warnings: list[str] = []

    def fit(phase: str, objective: Any, **keywords: Any) -> str:
        asked.update(keywords, phase=phase, objective=objective)
        return "net"

    ctx = SimpleNamespace(batch_size=batch_size, fit=fit, warn=warnings.append)
    assert CVaRDRO(alpha).run(ctx) == "net"
    return asked, warnings


def test_one_fit_on_the_table_as_it_is() -> None:
    asked, warnings = run(0.3, 32)
    objective = asked.pop("objective")
    assert isinstance(objective, CVaRLoss)
    assert objective.alpha == 0.3
    assert asked == {"phase": "train"}
    assert warnings == []


def test_a_fraction_below_one_image_is_named() -> None:
    _, (warning,) = run(0.1, 8)
    assert warning.startswith("baseline.alpha=0.1 of fit.batch_size=8 is less than one image")
    assert "Try baseline.alpha=0.12 or more" in warning
    assert run(0.125, 8)[1] == []


def test_it_needs_nothing() -> None:
    assert CVaRDRO.needs.describe() == "none"
