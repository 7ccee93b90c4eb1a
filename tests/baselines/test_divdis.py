"""DivDis: mutual information by hand, the loss against NumPy, and the choice of a head."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aspire.baselines.divdis import (
    DivDis,
    DivDisLoss,
    HalfAndHalf,
    Heads,
    disagreement,
    divergence,
    mutual_information,
    with_heads,
)
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch
from aspire.data.image_table import ImageTable
from aspire.data.table import Split

LN2 = float(np.log(2))


class Given(nn.Module):
    """A net whose heads' logits (B, H, K) are its input."""

    @property
    def head(self) -> Given:
        return self

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def every(self, x: torch.Tensor) -> torch.Tensor:
        return x


def one_hot(classes: list[list[int]], k: int) -> torch.Tensor:
    """(N, H) classes as (N, H, K) probabilities."""
    return torch.eye(k)[torch.tensor(classes)]


def batch(logits: Any, y: list[int]) -> Batch:
    image = torch.as_tensor(logits, dtype=torch.float32)
    return Batch(image, torch.tensor(y), torch.full((len(y),), -1), torch.arange(len(y)))


def softmax(z: np.ndarray) -> np.ndarray:
    exp = np.exp(z - z.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


# --- the terms -------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3, 7])
def test_equal_heads_on_uniform_classes_share_the_logarithm_of_the_classes(k: int) -> None:
    p = one_hot([[c, c] for c in range(k)], k)
    assert mutual_information(p).tolist() == pytest.approx([np.log(k)])
    # and so do heads that are each other's permutation
    p = one_hot([[c, (c + 1) % k] for c in range(k)], k)
    assert mutual_information(p).tolist() == pytest.approx([np.log(k)])


@pytest.mark.parametrize("k", [2, 5])
def test_independent_heads_share_nothing(k: int) -> None:
    p = one_hot([[a, b] for a in range(k) for b in range(k)], k)
    assert mutual_information(p).tolist() == pytest.approx([0.0], abs=1e-6)
    constant = torch.tensor([[[0.9, 0.1], [0.3, 0.7]]]).expand(6, 2, 2)
    assert mutual_information(constant).tolist() == pytest.approx([0.0], abs=1e-6)


def test_mutual_information_by_hand() -> None:
    # joint (3, 1; 1, 3) / 8, marginals 1/2: 3/4 ln(3/2) + 1/4 ln(1/2)
    p = one_hot([[0, 0]] * 3 + [[0, 1]] + [[1, 0]] + [[1, 1]] * 3, 2)
    assert mutual_information(p).tolist() == pytest.approx([0.75 * np.log(1.5) - 0.25 * LN2])
    # soft: heads (1, 0), (3/4, 1/4) on one image, (0, 1), (1/4, 3/4) on the other: the same joint
    p = torch.tensor([[[1.0, 0.0], [0.75, 0.25]], [[0.0, 1.0], [0.25, 0.75]]])
    assert mutual_information(p).tolist() == pytest.approx([0.75 * np.log(1.5) - 0.25 * LN2])


def test_every_pair_of_heads_is_there_once() -> None:
    # heads 0 and 2 are equal, head 1 is independent of both
    p = one_hot([[a, b, a] for a in range(2) for b in range(2)], 2)
    assert mutual_information(p).tolist() == pytest.approx([0.0, LN2, 0.0], abs=1e-6)
    assert len(mutual_information(one_hot([[0] * 5], 3))) == 10


def numpy_mutual_information(p: np.ndarray, i: int, j: int) -> float:
    joint = np.mean([np.outer(row[i], row[j]) for row in p], axis=0)
    assert joint.sum() == pytest.approx(1.0)
    assert joint.sum(1) == pytest.approx(p[:, i].mean(0))
    apart = np.outer(p[:, i].mean(0), p[:, j].mean(0))
    return float((joint * np.log(joint / apart)).sum())


def test_random_mutual_information_against_numpy() -> None:
    p = softmax(np.random.default_rng(0).normal(0, 3, (20, 4, 5)))
    expected = [numpy_mutual_information(p, i, j) for i in range(4) for j in range(i + 1, 4)]
    found = mutual_information(torch.tensor(p))
    assert found.tolist() == pytest.approx(expected)
    assert all(0 <= value <= np.log(5) for value in expected)
    # renaming a head's classes changes nothing
    renamed = torch.tensor(p)
    renamed[:, 1] = renamed[:, 1][:, [3, 0, 4, 1, 2]]
    assert mutual_information(renamed).tolist() == pytest.approx(expected)


def test_divergence_by_hand() -> None:
    half, quarter = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
    assert float(divergence(half, quarter)) == pytest.approx(0.5 * LN2 + 0.5 * np.log(2 / 3))
    assert float(divergence(quarter, half)) == pytest.approx(
        0.25 * np.log(0.5) + 0.75 * np.log(1.5)
    )
    assert float(divergence(half, half)) == 0.0
    assert float(divergence(torch.tensor([0.0, 1.0]), half)) == pytest.approx(LN2)
    assert torch.isfinite(divergence(half, torch.tensor([0.0, 1.0])))


# --- the loss --------------------------------------------------------------------------------


def test_loss_by_hand() -> None:
    # two source images with zero logits: cross-entropy ln 2 for both heads, mean prediction 1/2
    # two target images, both heads sure and equal: one image 0, one 1: MI = ln 2, means 1/2, KL 0
    sure = [[[200.0, 0], [200, 0]], [[0, 200], [0, 200]]]
    out = DivDisLoss(10.0, 10.0)(Given(), batch([np.zeros((2, 2))] * 2 + sure, [0, 1, -1, -1]))
    assert float(out.loss) == pytest.approx(11 * LN2)
    # both images 0 for both heads: MI = 0, KL((1, 0) || (1/2, 1/2)) = ln 2 for each head
    sure = [[[200.0, 0], [200, 0]]] * 2
    out = DivDisLoss(10.0, 3.0)(Given(), batch([np.zeros((2, 2))] * 2 + sure, [0, 1, -1, -1]))
    assert float(out.loss) == pytest.approx(4 * LN2)


@pytest.mark.parametrize(("heads", "k"), [(2, 2), (3, 4), (5, 3)])
def test_random_batches_against_numpy(heads: int, k: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        logits = rng.normal(0, 2, (14, heads, k))
        y = np.where(rng.random(14) < 0.5, rng.integers(0, k, 14), -1)
        y[:2] = 0, -1
        p, source = softmax(logits), y >= 0
        entropy = np.mean(
            [-np.log(p[n, h, y[n]]) for n in np.flatnonzero(source) for h in range(heads)]
        )
        shared = sum(
            numpy_mutual_information(p[~source], i, j)
            for i in range(heads)
            for j in range(i + 1, heads)
        )
        s = p[source].mean((0, 1))
        means = p[~source].mean(0)
        kept = np.mean([(means[h] * np.log(means[h] / s)).sum() for h in range(heads)])
        out = DivDisLoss(2.0, 0.5)(Given(), batch(logits, y.tolist()))
        assert float(out.loss) == pytest.approx(entropy + 2 * shared + 0.5 * kept, rel=1e-4)
        assert out.logits.numpy() == pytest.approx(logits[:, 0], rel=1e-6)
        found = [float(out.scalars[n]) for n in ("cross_entropy", "mutual_information")]
        assert found == pytest.approx([entropy, shared], rel=1e-4, abs=1e-6)
        assert float(out.scalars["consistency"]) == pytest.approx(kept, rel=1e-4, abs=1e-6)


def test_source_images_learn_from_their_labels_only() -> None:
    # the class shares of the source are a constant: gradient = (softmax - one_hot) / (images heads)
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(6, 3, 4)), [0, 3, 1, -1, -1, -1]
    given = batch(logits, y)
    given = given._replace(image=given.image.requires_grad_())
    DivDisLoss(10.0, 10.0)(Given(), given).loss.backward()
    expected = (softmax(logits[:3]) - np.eye(4)[y[:3]][:, None]) / 9
    assert given.image.grad is not None
    assert given.image.grad[:3].numpy() == pytest.approx(expected, abs=1e-6)
    assert given.image.grad[3:].abs().sum() > 0


def test_target_images_teach_nothing_without_their_terms() -> None:
    given = batch(np.random.default_rng(0).normal(size=(4, 2, 3)), [0, 2, -1, -1])
    given = given._replace(image=given.image.requires_grad_())
    DivDisLoss(0.0, 0.0)(Given(), given).loss.backward()
    assert given.image.grad is not None
    assert float(given.image.grad[2:].abs().sum()) == 0.0


@pytest.mark.parametrize("scale", [50.0, 1e4])
def test_saturated_predictions_have_finite_gradients(scale: float) -> None:
    rng = np.random.default_rng(0)
    for same in (False, True):
        logits = scale * rng.normal(size=(8, 3, 4))
        if same:
            logits[:] = logits[0]
        given = batch(logits, [0, 1, 2, 3, -1, -1, -1, -1])
        given = given._replace(image=given.image.requires_grad_())
        out = DivDisLoss(10.0, 10.0)(Given(), given)
        out.loss.backward()
        assert torch.isfinite(out.loss)
        assert given.image.grad is not None
        assert torch.isfinite(given.image.grad).all()


def test_descent_makes_heads_differ_on_the_target() -> None:
    # both features tell the source classes apart; on the target they are independent
    torch.manual_seed(0)
    source = torch.tensor([[1.0, 1], [-1, -1]]).repeat(4, 1)
    target = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]).repeat(2, 1)
    y = torch.tensor([1, 0] * 4 + [-1] * 8)
    net = with_heads(Classifier(nn.Identity(), 2, 2), 2, np.random.default_rng(0))
    given = Batch(torch.cat([source, target]), y, y, y)
    optimizer = torch.optim.Adam(net.parameters(), 0.1)
    for _ in range(200):
        optimizer.zero_grad()
        DivDisLoss(10.0, 10.0)(net, given).loss.backward()
        optimizer.step()
    heads = net.head.every(target).argmax(-1)
    assert (net.head.every(source).argmax(-1) == y[:8, None]).all()
    truth = {tuple((target[:, i] > 0).long().tolist()) for i in range(2)}
    assert {tuple(heads[:, h].tolist()) for h in range(2)} == truth


# --- heads and batches -----------------------------------------------------------------------


def test_several_heads_stand_in_for_one() -> None:
    net = Classifier(nn.Identity(), 16, 3)
    own = net.head
    made = with_heads(net, 4, np.random.default_rng(0))
    x = torch.randn(5, 16)
    every = made.head.every(x)
    assert every.shape == (5, 4, 3)
    assert torch.equal(made(x), own(x))
    assert torch.equal(every[:, 0], own(x))
    weights = [head.weight for head in made.head.heads]
    assert all(float(w.detach().abs().max()) <= 0.25 for w in weights)  # 1 / sqrt(16)
    assert all(float(w.detach().abs().max()) > 0.2 for w in weights)
    assert len({float(w.detach().sum()) for w in weights}) == 4


def test_heads_follow_from_the_generator_alone() -> None:
    def last() -> torch.Tensor:
        net = with_heads(Classifier(nn.Identity(), 4, 2), 3, np.random.default_rng(5))
        return net.head.heads[2].weight

    torch.manual_seed(0)
    one = last()
    torch.manual_seed(1)
    assert torch.equal(one, last())


def test_half_of_a_batch_is_source_and_half_target() -> None:
    draw = HalfAndHalf(source=10, target=3, batch_size=8)
    seen: set[int] = set()
    for step in range(50):
        rows = draw(np.random.default_rng(step), step)
        assert rows.shape == (8,)
        assert (rows[:4] < 10).all()
        assert (rows[4:] >= 10).all()
        seen |= set(rows.tolist())
    assert seen == set(range(13))
    assert (draw(np.random.default_rng(3), 0) == draw(np.random.default_rng(3), 0)).all()


@pytest.mark.parametrize(("size", "source", "target"), [(7, 4, 3), (2, 1, 1), (1, 1, 1)])
def test_odd_and_tiny_batches_hold_both(size: int, source: int, target: int) -> None:
    rows = HalfAndHalf(5, 5, size)(np.random.default_rng(0), 0)
    assert ((rows < 5).sum(), (rows >= 5).sum()) == (source, target)


def test_source_rows_are_drawn_by_their_weights() -> None:
    draw = HalfAndHalf(3, 3, 400, np.array([0.0, 3.0, 1.0]))
    counts = np.bincount(draw(np.random.default_rng(0), 0), minlength=6)
    assert counts[0] == 0
    assert 120 < counts[1] < 180  # three quarters of 200
    assert counts[3:].sum() == 200


def test_disagreement_by_hand() -> None:
    p = np.array(
        [
            [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]],  # pairs 01 and 02 differ by 2
            [[0.5, 0.5], [0.5, 0.5], [0.25, 0.75]],  # pairs 02 and 12 differ by 1/2
        ]
    )
    assert disagreement(p).tolist() == [4.0, 1.0]


# --- the baseline ----------------------------------------------------------------------------


def run(
    baseline: DivDis, logits: list[list[float]], y: list[int], weight: Any = None
) -> SimpleNamespace:
    """What DivDis asks for, where head h finds ``logits[n][h]`` for class 1 on val image n."""
    asked = SimpleNamespace(records={}, warnings=[], tables=[])
    train = ImageTable(
        (Path("a"), Path("b"), Path("c")), np.array([0, 1, 1]), np.full(3, -1), weight
    )
    tables = {
        Split.VAL: ImageTable(
            tuple(Path(f"v{n}") for n in range(len(y))), np.array(y), np.zeros(len(y), np.int64)
        ),
        Split.TEST: ImageTable((Path("t"),), np.array([1]), np.array([1])),
    }
    features = torch.tensor(logits)

    def table(split: Split) -> ImageTable:
        asked.tables.append(split)
        return tables[split]

    def fit(phase: str, objective: Any, *, net: Classifier, **keywords: Any) -> Classifier:
        asked.fit = SimpleNamespace(phase=phase, objective=objective, **keywords)
        asked.heads = net.head
        assert isinstance(net.head, Heads)
        for h, head in enumerate(net.head.heads):  # head h reads feature h
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
            head.weight.data[1, h] = 1.0
        return net

    context = SimpleNamespace(
        train=train,
        batch_size=8,
        table=table,
        network=lambda name: Classifier(nn.Identity(), features.shape[1], 2),
        rng=lambda name: np.random.default_rng(0),
        fit=fit,
        features=lambda net, split: features if split == Split.VAL else None,
        record=lambda **values: asked.records.update(values),
        warn=asked.warnings.append,
    )

    asked.net = baseline.run(context)
    return asked


# on the first two images the heads differ most; head 1 is right there and wrong on all others
VAL: dict[str, Any] = {
    "logits": [[9.0, -9.0], [-8.0, 8.0], [3.0, -3.0], [3.0, -3.0], [-2.0, 2.0]],
    "y": [0, 1, 1, 1, 0],
}


def test_the_head_that_is_right_where_they_differ_most_is_chosen() -> None:
    asked = run(DivDis(labels=2), **VAL)
    assert asked.records == {
        "chosen_head": 1,
        "queried_labels": 2,
        "queried_accuracy": 1.0,
        "queried_accuracy_per_head": [0.0, 1.0],
    }
    assert asked.warnings == []
    assert asked.net.head is asked.heads.heads[1]
    plain = Classifier(nn.Identity(), 2, 2)
    assert isinstance(asked.net.head, nn.Linear)
    assert set(asked.net.state_dict()) == set(plain.state_dict())
    plain.load_state_dict(asked.net.state_dict())
    assert plain(torch.tensor([[9.0, -9.0]])).argmax().item() == 0


def test_more_labels_than_images_query_all() -> None:
    asked = run(DivDis(labels=16), **VAL)
    assert asked.records["queried_labels"] == 5
    assert asked.records["chosen_head"] == 0
    assert asked.records["queried_accuracy_per_head"] == pytest.approx([0.6, 0.4])


def test_heads_that_the_labels_do_not_tell_apart_are_named() -> None:
    asked = run(DivDis(heads=3, labels=1), [[5.0, -5.0, 4.0]], [1])
    assert asked.records["chosen_head"] == 0
    (warning,) = asked.warnings
    assert "heads 0, 2 are right equally often (100%) on the 1 queried images" in warning
    assert "Try more baseline.labels" in warning


def test_heads_that_never_differ_are_named() -> None:
    asked = run(DivDis(labels=2), [[5.0, 5.0], [-1.0, -2.0]], [1, 1])
    (warning,) = asked.warnings
    assert "all heads say the same of every val image" in warning


@pytest.mark.parametrize(
    ("target", "size", "split"), [("val", 5, Split.VAL), ("test", 1, Split.TEST)]
)
def test_one_fit_on_labelled_source_and_unlabelled_target(
    target: str, size: int, split: Split
) -> None:
    asked = run(DivDis(target=target, diversity=3.0, consistency=4.0), **VAL)
    fit = asked.fit
    assert (fit.phase, fit.select) == ("train", "last")
    assert fit.train.y.tolist() == [0, 1, 1] + [-1] * size
    assert fit.train.group.tolist() == [-1] * (3 + size)
    assert fit.train.paths[3:] == (
        (Path("t"),) if target == "test" else tuple(Path(f"v{n}") for n in range(5))
    )
    assert (fit.objective.diversity, fit.objective.consistency) == (3.0, 4.0)
    rows = fit.draw(np.random.default_rng(0), 0)
    assert (fit.train.y[rows] >= 0).tolist() == [True] * 4 + [False] * 4
    assert set(asked.tables) == {split, Split.VAL}  # labels come from val


def test_weights_of_the_rows_decide_which_source_images_are_drawn() -> None:
    asked = run(DivDis(), weight=np.array([0.0, 1.0, 0.0]), **VAL)
    rows = asked.fit.draw(np.random.default_rng(0), 0)
    assert rows[:4].tolist() == [1] * 4


def test_it_needs_the_target_and_no_groups() -> None:
    assert DivDis.needs.describe() == "unlabelled target"
