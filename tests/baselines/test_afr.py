"""AFR: its weights by hand, its descent against torch's autograd, its choices."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aspire.baselines.afr import AFR, descend, divide, example_weights, logits, with_one
from aspire.classification.classifier import Classifier
from aspire.data.image_table import ImageTable
from aspire.data.table import Split
from aspire.errors import ConfigError


def table(y: np.ndarray, weight: np.ndarray | None = None, copies: int = 1) -> ImageTable:
    paths = tuple(Path(f"{row // copies}.png") for row in range(len(y)))
    return ImageTable(paths, y, np.full(len(y), -1), weight)


# --- weights and rows --------------------------------------------------------------------------


def test_weights_by_hand() -> None:
    # gamma = 2 ln 2 makes exp(-gamma p) a power: 1/2, 1/4, 1; over n_y 1/4, 1/8, 1; sum 11/8
    p, y = np.array([0.5, 1.0, 0.0]), np.array([0, 0, 1])
    weights = example_weights(p, y, 2 * float(np.log(2)))
    assert weights == pytest.approx(np.array([2, 1, 8]) / 11)


def test_without_gamma_the_weights_only_balance_the_classes() -> None:
    y = np.array([0, 0, 0, 2, 1, 1])
    weights = example_weights(np.linspace(0, 1, 6), y, 0.0)
    assert weights == pytest.approx(np.array([1 / 3, 1 / 3, 1 / 3, 1, 1 / 2, 1 / 2]) / 3)


def test_weights_multiply_into_those_of_the_rows() -> None:
    # own mass of class 0 is 0.4, of class 1 0.6; p = 1, 0, 0, 1 with gamma = ln 3
    own = np.array([0.1, 0.3, 0.4, 0.2])
    weights = example_weights(
        np.array([1.0, 0.0, 0.0, 1.0]), np.array([0, 0, 1, 1]), float(np.log(3)), own
    )
    expected = np.array([0.1 / 3 / 0.4, 0.3 / 0.4, 0.4 / 0.6, 0.2 / 3 / 0.6])
    assert weights == pytest.approx(expected / expected.sum())
    even = example_weights(np.zeros(4), np.array([0, 0, 1, 1]), 1.0, np.full(4, 0.25))
    assert even == pytest.approx([0.25] * 4)


def test_train_is_divided_by_image_files() -> None:
    given = table(np.zeros(60, dtype=np.int64), copies=3)
    first, second = divide(given, 0.2, np.random.default_rng(0))
    assert sorted([*first, *second]) == list(range(60))
    assert len(second) == 12  # 4 of 20 files
    assert not {r // 3 for r in first} & {r // 3 for r in second}
    assert first.tolist() == sorted(first)
    again = divide(given, 0.2, np.random.default_rng(1))[1]
    assert again.tolist() != second.tolist()


def test_each_stage_gets_an_image() -> None:
    given = table(np.zeros(3, dtype=np.int64))
    for holdout, expected in ((0.01, 1), (0.99, 2)):
        assert len(divide(given, holdout, np.random.default_rng(0))[1]) == expected
    with pytest.raises(ConfigError, match="divides the train split in two; it has 1 image"):
        divide(table(np.zeros(1, dtype=np.int64)), 0.2, np.random.default_rng(0))


# --- the descent -------------------------------------------------------------------------------


def problem(scale: float = 1.0, number: int = 30, classes: int = 3) -> dict[str, torch.Tensor]:
    made = torch.Generator().manual_seed(0)
    y = torch.arange(number) % classes
    x = with_one(scale * torch.randn(number, 4, generator=made)).double()
    weights = torch.rand(2, number, generator=made).double()
    start = torch.randn(classes, 5, generator=made).double()
    return {"x": x, "y": y, "weights": weights / weights.sum(1, keepdim=True), "start": start}


def by_autograd(
    given: dict[str, torch.Tensor], which: int, strength: float, lr: float, steps: int
) -> list[torch.Tensor]:
    """The formula as torch would be told it: cross-entropy, penalty, norm clipping, plain SGD."""
    w = given["start"][:, :-1].clone().requires_grad_()
    b = given["start"][:, -1].clone().requires_grad_()
    optimiser = torch.optim.SGD([w, b], lr=lr)
    found = []
    for _ in range(steps):
        losses = F.cross_entropy(given["x"][:, :-1] @ w.T + b, given["y"], reduction="none")
        away = (w - given["start"][:, :-1]).square().sum() + (
            b - given["start"][:, -1]
        ).square().sum()
        loss = (given["weights"][which] * losses).sum() + strength * away
        optimiser.zero_grad()
        loss.backward()
        norm = float(torch.cat([w.grad.flatten(), b.grad]).norm())
        if norm > 1:
            for p in (w, b):
                p.grad /= norm
        optimiser.step()
        found.append(torch.cat([w, b[:, None]], 1).detach().clone())
    return found


@pytest.mark.parametrize("scale", [1.0, 20.0])  # without and with the clipping of the gradient
def test_descent_is_that_of_autograd(scale: float) -> None:
    given = problem(scale)
    strengths = torch.tensor([0.0, 0.3]).double()
    heads = descend(given["x"], given["y"], given["weights"], strengths, given["start"], 0.1)
    found = [next(heads) for _ in range(20)]
    for which in range(2):
        expected = by_autograd(given, which, float(strengths[which]), 0.1, 20)
        for step in range(20):
            assert torch.allclose(found[step][which], expected[step], atol=1e-10)
    assert not torch.equal(found[0][0], found[19][0])


def test_one_step_is_no_longer_than_the_learning_rate() -> None:
    given = problem(scale=1000.0)
    first = next(
        descend(given["x"], given["y"], given["weights"], torch.zeros(2), given["start"], 0.05)
    )
    steps = (first - given["start"]).flatten(1).norm(dim=1)
    assert steps.tolist() == pytest.approx([0.05, 0.05])


def test_a_strong_pull_leaves_the_head_as_it_is() -> None:
    # where it comes to rest the pull 2 lambda |W - W0| equals the gradient of the loss
    given, distances = problem(), []
    for strength in (1.0, 10.0, 50.0):
        strengths = torch.full((2,), strength).double()
        heads = descend(given["x"], given["y"], given["weights"], strengths, given["start"], 0.01)
        rest = [next(heads) for _ in range(2000)][-1][0]
        off = given["x"] @ rest.T
        gradient = (F.softmax(off, 1) - F.one_hot(given["y"], 3)).T @ (
            given["weights"][0][:, None] * given["x"]
        )
        assert torch.allclose(2 * strength * (given["start"] - rest), gradient, atol=1e-6)
        distances.append(float((rest - given["start"]).norm()))
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 0.02


def test_logits_of_several_heads() -> None:
    given = problem()
    heads = torch.stack([given["start"], 2 * given["start"]])
    expected = torch.stack([given["x"] @ h.T for h in heads], 1)
    assert torch.allclose(logits(given["x"], heads), expected)


# --- the whole method --------------------------------------------------------------------------


def context(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    score: Any,
    head: np.ndarray,
    weight: np.ndarray | None = None,
    classes: int = 2,
) -> SimpleNamespace:
    """Features are given; the ERM has the head given, its intercepts last."""
    x = {Split.TRAIN: train[0], Split.VAL: val[0]}
    net = Classifier(nn.Identity(), head.shape[1] - 1, classes)
    with torch.no_grad():
        net.head.weight.copy_(torch.from_numpy(head[:, :-1]))
        net.head.bias.copy_(torch.from_numpy(head[:, -1]))
    made = SimpleNamespace(
        info=SimpleNamespace(num_classes=classes, class_names=["ant", "bee", "cat"][:classes]),
        train=table(train[1], weight),
        device=torch.device("cpu"),
        rng=lambda name: np.random.default_rng(7),
        score=score,
        asked=[],
        recorded={},
        warned=[],
        net=net,
    )

    def erm(**keywords: Any) -> Classifier:
        made.asked.append(keywords)
        return net

    made.erm = erm
    made.features = lambda net, split: torch.from_numpy(x[split]).float()
    made.record = lambda **values: made.recorded.update(values)
    made.warn = made.warned.append
    made.remember = lambda name, make: make()
    made.real = made
    return made


def shortcut(
    number: int, aligned: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, y, a): a weak true feature and a strong one that agrees with it in most rows."""
    y = rng.integers(0, 2, number)
    a = np.where(rng.random(number) < aligned, y, 1 - y)
    x = np.stack([2 * y - 1, 3 * (2 * a - 1)], 1) + 0.1 * rng.normal(size=(number, 2))
    return x, y, a


def test_it_unlearns_a_shortcut_and_says_what_it_chose() -> None:
    rng = np.random.default_rng(0)
    x, y, _ = shortcut(1000, 0.95, rng)
    val, truth, a = shortcut(400, 0.5, rng)
    group = 2 * truth + a

    def score(predicted: np.ndarray) -> tuple[float, ...]:
        right = predicted == truth
        return (min(float(right[group == g].mean()) for g in range(4)), float(right.mean()))

    # ERM's head looks at the shortcut: class 1 where feature 1 is positive
    head = np.array([[-0.2, -1.0, 0.0], [0.2, 1.0, 0.0]])
    made = context((x, y), (val, truth), score, head)
    assert score(made.net(torch.from_numpy(val).float()).argmax(1).numpy())[0] < 0.1
    net = AFR().run(made)
    assert net is made.net
    assert score(net(torch.from_numpy(val).float()).argmax(1).numpy())[0] > 0.9
    assert made.recorded["gamma"] in (4, 8, 12, 16, 20)
    assert made.recorded["strength"] in (0.0, 0.1, 0.2, 0.3)
    assert made.recorded["head_step"] % 10 == 0
    assert made.recorded["held_out_images"] == 200
    assert made.warned == []


def test_best_pair_and_step_under_the_rule_become_the_head() -> None:
    rng = np.random.default_rng(1)
    x, y, _ = shortcut(60, 0.9, rng)
    val, truth, _ = shortcut(20, 0.5, rng)
    calls = []

    def score(predicted: np.ndarray) -> tuple[float, ...]:
        calls.append(predicted)
        return (1.0 if len(calls) in (7, 8) else 0.0,)

    # 120 steps are judged each 2nd; 2 x 2 pairs, so the 7th call is step 4, gamma 1, strength 0
    head = np.array([[0.1, 0.3, 0.0], [0.2, -0.1, 0.5]])
    made = context((x, y), (val, truth), score, head)
    afr = AFR(
        holdout=0.5,
        gammas=(0.5, 1.0),
        strengths=(0.0, 0.1),
        head_steps=120,
        head_lr=0.1,
        base_selection="last",
    )
    net = afr.run(made)
    assert len(calls) == 60 * 4
    assert made.recorded == {
        "gamma": 1.0,
        "strength": 0.0,
        "head_step": 4,
        "held_out_images": 30,
    }
    kept, rows = divide(made.train, 0.5, np.random.default_rng(7))
    assert made.asked[0]["rows"].tolist() == kept.tolist()
    assert [keywords["select"] for keywords in made.asked] == ["last", "last"]
    p = torch.from_numpy(x[rows] @ head[:, :-1].T + head[:, -1]).softmax(1)
    p = p.numpy()[np.arange(30), y[rows]]
    given = {
        "x": with_one(torch.from_numpy(x[rows])),
        "y": torch.from_numpy(y[rows]),
        "weights": torch.from_numpy(example_weights(p, y[rows], 1.0))[None],
        "start": torch.from_numpy(head),
    }
    expected = by_autograd(given, 0, 0.0, 0.1, 4)[-1]
    assert torch.allclose(net.head.weight.double(), expected[:, :-1], atol=1e-5)
    assert torch.allclose(net.head.bias.double(), expected[:, -1], atol=1e-5)
    assert (calls[6] == net(torch.from_numpy(val).float()).argmax(1).numpy()).all()


def test_last_step_is_judged_too() -> None:
    x, y, _ = shortcut(40, 0.9, np.random.default_rng(0))
    count = iter(range(10**6))
    made = context((x, y), (x, y), lambda predicted: (float(next(count)),), np.eye(2, 3))
    AFR(gammas=(1.0,), strengths=(0.0,), head_steps=101, head_lr=0.1).run(made)
    assert made.recorded["head_step"] == 101


def test_classes_that_are_not_held_out_are_named() -> None:
    x, y, _ = shortcut(40, 0.9, np.random.default_rng(0))
    made = context((x, y), (x, y), lambda predicted: (0.0,), np.eye(3), classes=3)
    AFR(head_steps=2).run(made)
    (text,) = made.warned
    assert "none of the 8 images held out is of the class cat" in text
    assert "baseline.holdout" in text


def test_weights_of_the_rows_count() -> None:
    x, y, _ = shortcut(40, 0.9, np.random.default_rng(0))
    heads = []
    for weight in (None, np.full(40, 1 / 40), np.linspace(0.001, 0.04, 40)):
        made = context((x, y), (x, y), lambda predicted: (0.0,), np.eye(2, 3), weight)
        heads.append(AFR(head_steps=1, head_lr=0.1).run(made).head.weight.detach().clone())
    assert torch.allclose(heads[0], heads[1], atol=1e-6)
    assert not torch.allclose(heads[0], heads[2], atol=1e-4)


def test_a_pull_that_would_overshoot_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"baseline.strengths=\[60.0\]: .*\[0, 50\]"):
        AFR(strengths=(60.0,))


def test_it_needs_the_val_groups() -> None:
    assert AFR.needs.describe() == "val groups"
