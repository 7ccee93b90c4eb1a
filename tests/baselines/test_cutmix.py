"""CutMix: the box and its area by hand, the loss against NumPy, its limits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aspire.baselines import cutmix
from aspire.baselines.cutmix import CutMix, CutMixLoss
from aspire.baselines.erm import CrossEntropy
from aspire.data.datamodule import Batch


class Mean(nn.Module):
    """A net whose logits are the channels' means; remembers the images."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return x.mean((2, 3))


def batch(image: torch.Tensor, y: Any) -> Batch:
    return Batch(image, torch.as_tensor(y), torch.full((len(y),), -1), torch.arange(len(y)))


def of_one_value(values: Any, size: int = 8) -> torch.Tensor:
    """(B, K, size, size) images whose channels are flat."""
    flat = torch.as_tensor(values, dtype=torch.float64)
    return flat[:, :, None, None].repeat(1, 1, size, size)


def fix(monkeypatch: pytest.MonkeyPatch, share: float, order: Any, centre: int) -> None:
    monkeypatch.setattr(cutmix, "beta", lambda a, n: torch.tensor([share], dtype=torch.float64))
    monkeypatch.setattr(torch, "randperm", lambda n: torch.as_tensor(order))
    monkeypatch.setattr(torch, "randint", lambda high, shape: torch.full(tuple(shape), centre))


def cross_entropy(logits: np.ndarray, y: Any) -> np.ndarray:
    return np.log(np.exp(logits).sum(1)) - logits[np.arange(len(logits)), y]


def test_one_pair_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # lambda 3/4: a box of half the sides, 4 x 4 of 8 x 8 around (4, 4), so a quarter is pasted.
    # Rows (0, 0) and (0, 4 ln 3) swapped: row 0 becomes (0, ln 3), softmax (1/4, 3/4), and its
    # label is 3/4 class 0 and 1/4 class 1; row 1 becomes (0, 3 ln 3), softmax (1/28, 27/28)
    fix(monkeypatch, 0.75, [1, 0], 4)
    net = Mean()
    loss = CutMixLoss(1.0, 1.0)(net, batch(of_one_value([[0, 0], [0, 4 * np.log(3)]]), [0, 1])).loss
    first = 0.75 * np.log(4) + 0.25 * np.log(4 / 3)
    second = 0.75 * np.log(28 / 27) + 0.25 * np.log(28)
    assert float(loss) == pytest.approx((first + second) / 2)
    pasted = net.seen[0, 1] > 0
    assert pasted[2:6, 2:6].all()
    assert int(pasted.sum()) == 16


def test_the_label_goes_by_the_area_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    # the same box around the corner (0, 0): only 2 x 2 of it lie in the image, 1/16 of the area
    fix(monkeypatch, 0.75, [1, 0], 0)
    net = Mean()
    loss = CutMixLoss(1.0, 1.0)(net, batch(of_one_value([[0, 0], [0, 16]]), [0, 1])).loss
    logits = np.array([[0, 1.0], [0, 15.0]])
    own, other = cross_entropy(logits, [0, 1]), cross_entropy(logits, [1, 0])
    assert net.seen.mean((2, 3)).numpy() == pytest.approx(logits)
    assert float(loss) == pytest.approx((15 / 16 * own + 1 / 16 * other).mean())


@pytest.mark.parametrize("classes", [2, 7])
def test_random_batches_against_numpy(classes: int) -> None:
    rng = np.random.default_rng(classes)
    torch.manual_seed(classes)
    for _ in range(10):
        number = int(rng.integers(2, 9))
        y = rng.integers(0, classes, number)
        net = Mean()
        # one image is 1 in a channel of its own: what is seen of it is its share of a row
        given = torch.eye(number, dtype=torch.float64)[:, :, None, None].repeat(1, 1, 12, 12)
        out = CutMixLoss(1.0, 1.0)(nn.Sequential(net, Pad(classes)), batch(given, y))
        shares = net.seen.mean((2, 3)).numpy()  # (B, B) of every image in every row
        assert shares.sum(1) == pytest.approx(np.ones(number))
        left = shares.diagonal()
        moved = left < 1
        assert len(np.unique(left[moved].round(9))) <= 1  # one box for all
        off = shares - np.diag(left)
        other = np.where(moved, off.argmax(1), np.arange(number))
        logits = out.logits.numpy()
        area = left[moved][0] if moved.any() else 1.0
        expected = area * cross_entropy(logits, y) + (1 - area) * cross_entropy(logits, y[other])
        assert float(out.loss) == pytest.approx(expected.mean(), rel=1e-9)


class Pad(nn.Module):
    """(B, N) -> (B, K): cut off, or filled up with zeros."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(x, (0, self.classes - x.shape[1]))


def test_without_a_box_it_is_erm(monkeypatch: pytest.MonkeyPatch) -> None:
    fix(monkeypatch, 1.0, [2, 0, 1], 4)
    given = batch(of_one_value(np.random.default_rng(0).normal(0, 2, (3, 4))), [0, 3, 1])
    erm = float(CrossEntropy()(Mean(), given).loss)
    assert float(CutMixLoss(1.0, 1.0)(Mean(), given).loss) == pytest.approx(erm)


def test_so_many_batches_are_mixed() -> None:
    torch.manual_seed(0)
    given, net = batch(of_one_value(np.eye(4)), [0, 1, 0, 1]), Mean()
    mixed = 0
    for _ in range(400):
        CutMixLoss(1.0, 0.25)(net, given)
        mixed += not torch.equal(net.seen, given.image)
    assert 60 < mixed < 120  # a quarter, less what an identity or an empty box leaves


def test_the_global_generator_decides() -> None:
    given = batch(torch.rand(6, 3, 16, 16), [0, 1, 2, 0, 1, 2])

    def losses(seed: int) -> list[float]:
        torch.manual_seed(seed)
        return [float(CutMixLoss(1.0, 0.5)(Mean(), given).loss) for _ in range(6)]

    assert losses(3) == losses(3) != losses(4)


def test_it_has_no_state_and_wants_whole_batches() -> None:
    assert CutMixLoss(1.0, 1.0).state_dict() == {}
    assert CutMixLoss.whole_images


def test_one_fit_on_the_table_as_it_is() -> None:
    asked: dict[str, Any] = {}

    def fit(phase: str, objective: Any, **keywords: Any) -> str:
        asked.update(keywords, phase=phase, objective=objective)
        return "net"

    context: Any = SimpleNamespace(fit=fit)
    assert CutMix(0.7, 0.5).run(context) == "net"
    objective = asked.pop("objective")
    assert (objective.alpha, objective.probability) == (0.7, 0.5)
    assert asked == {"phase": "train"}
    assert CutMix.needs.describe() == "none"
