"""CnC: its loss by hand and against NumPy, its batches by the definitions of their members."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aspire.baselines.cnc import CnC, CnCLoss, ContrastiveDraw
from aspire.baselines.erm import CrossEntropy
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch
from aspire.data.image_table import ImageTable
from aspire.data.table import Split

LN2 = float(np.log(2))


class Given(nn.Module):
    """A net whose features are its input and whose logits are given."""

    def __init__(self, logits: Any) -> None:
        super().__init__()
        self.logits = torch.as_tensor(logits, dtype=torch.float32)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def head(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits


def batch(features: Any, y: list[int] | None = None) -> Batch:
    image = torch.as_tensor(features, dtype=torch.float32)
    number = len(image)
    classes = torch.tensor(y or [0] * number)
    return Batch(image, classes, torch.full((number,), -1), torch.arange(number))


def contrastive(made: CnCLoss, features: Any) -> float:
    out = made(Given(np.zeros((len(features), 2))), batch(features))
    return float(out.scalars["contrastive"])


def test_one_tuple_by_hand() -> None:
    # temperature 1 / ln 2 makes exp(cosine / temperature) = 2 ** cosine
    # anchor and positive: cosine 0, s = 1; anchor and negative: cosine 1, s = 2: L = ln 3
    # positive and anchor: s = 1; positive and easy negative: cosine 0, s = 1: L = ln 2
    features = [[3.0, 0.0], [0.0, 1.0], [0.5, 0.0], [-1.0, 0.0]]
    # zero logits of 5 classes cost ln 5 each
    made = CnCLoss(1 / LN2, 0.75, positives=1, negatives=1)
    out = made(Given(np.zeros((4, 5))), batch(features))
    assert float(out.scalars["contrastive"]) == pytest.approx(np.log(6))
    assert float(out.scalars["cross_entropy"]) == pytest.approx(np.log(5))
    assert float(out.loss) == pytest.approx(0.75 * np.log(6) + 0.25 * np.log(5))
    assert out.logits.shape == (4, 5)


def test_all_positives_are_in_the_denominator() -> None:
    # all alike: every s is equal, so each positive has 1 of (2 + 3) parts, on both sides
    features = np.ones((10, 4))
    assert contrastive(CnCLoss(0.1, 1.0, 2, 3), features) == pytest.approx(2 * np.log(5), rel=1e-5)


def term(anchor: np.ndarray, positives: np.ndarray, negatives: np.ndarray, t: float) -> float:
    def s(other: np.ndarray) -> float:
        cosine = anchor @ other / np.linalg.norm(anchor) / np.linalg.norm(other)
        return float(np.exp(cosine / t))

    below = sum(s(p) for p in positives) + sum(s(n) for n in negatives)
    return -float(np.mean([np.log(s(p) / below) for p in positives]))


@pytest.mark.parametrize(("positives", "negatives", "tuples"), [(1, 4, 1), (3, 2, 4), (2, 2, 3)])
def test_random_batches_against_numpy(positives: int, negatives: int, tuples: int) -> None:
    rng = np.random.default_rng(0)
    size = 2 * (positives + negatives)
    features = rng.normal(size=(tuples * size, 6))
    logits, y = rng.normal(size=(len(features), 4)), rng.integers(0, 4, len(features))
    terms = []
    for one in features.reshape(tuples, size, 6):
        a, p = one[:positives], one[positives : 2 * positives]
        n = one[2 * positives : 2 * positives + negatives]
        e = one[2 * positives + negatives :]
        terms.append(term(a[0], p, n, 0.2) + term(p[0], a, e, 0.2))
    entropy = (np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]).mean()
    made = CnCLoss(0.2, 0.6, positives, negatives)
    loss = made(Given(logits), batch(features, y.tolist())).loss
    assert float(loss) == pytest.approx(0.6 * np.mean(terms) + 0.4 * entropy, rel=1e-4)


def test_positives_are_pulled_and_negatives_pushed() -> None:
    # one plane, angles of anchor, positive, negative, easy negative
    def loss(*angles: float) -> float:
        return contrastive(
            CnCLoss(0.5, 1.0, 1, 1), np.stack([np.cos(angles), np.sin(angles)], axis=1)
        )

    start = loss(0.0, 1.0, -1.0, 2.5)
    assert loss(0.0, 0.8, -1.0, 2.5) < start  # the positive nearer to the anchor
    assert loss(0.0, 1.0, -1.2, 2.5) < start  # the negative farther from the anchor
    assert loss(0.0, 1.0, -1.0, 2.7) < start  # the easy negative farther from the positive


def test_weight_zero_is_cross_entropy() -> None:
    rng = np.random.default_rng(1)
    logits, y = rng.normal(size=(8, 3)), [0, 1, 2, 0, 1, 2, 0, 1]
    given = batch(rng.normal(size=(8, 5)), y)
    loss = CnCLoss(0.1, 0.0, 2, 2)(Given(logits), given).loss
    expected = F.cross_entropy(torch.as_tensor(logits, dtype=torch.float32), torch.tensor(y))
    assert float(loss) == pytest.approx(float(expected))


def test_the_gradient_stays_finite_where_features_vanish() -> None:
    image = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [0, 0]], requires_grad=True)
    given = Batch(image, *[torch.zeros(4, dtype=torch.int64)] * 3)
    out = CnCLoss(0.001, 1.0, 1, 1)(Given(np.zeros((4, 2))), given)
    out.loss.backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()


def test_it_trains_backbone_and_head_with_batch_statistics() -> None:
    norm = nn.BatchNorm1d(3)
    net = Classifier(nn.Sequential(nn.Linear(3, 3), norm), 3, 2)
    made = CnCLoss(0.1, 0.75, 2, 1)
    made(net, batch(torch.randn(12, 3))).loss.backward()
    assert int(norm.num_batches_tracked) == 1
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.head.parameters())
    assert next(net.backbone.parameters()).grad is not None
    assert made.state_dict() == {}
    assert list(made.parameters()) == []


# --- drawing ---------------------------------------------------------------------------------


def parts(draw: ContrastiveDraw, rows: np.ndarray) -> list[list[np.ndarray]]:
    """Anchors, positives, negatives and easy negatives of each tuple."""
    m, n = draw.numbers
    tuples = rows.reshape(draw.tuples, 2 * (m + n))
    return [np.split(one, [m, 2 * m, 2 * m + n]) for one in tuples]


def test_every_member_fits_its_definition() -> None:
    rng = np.random.default_rng(0)
    y, predicted = rng.integers(0, 4, 400), rng.integers(0, 4, 400)
    draw = ContrastiveDraw(y, predicted, tuples=3, positives=5, negatives=2)
    assert draw.empty == {}
    assert draw.rows == 3 * 14
    classes = []
    for step in range(40):
        rows = draw(np.random.default_rng(step), step)
        assert rows.shape == (draw.rows,)
        for anchors, positives, negatives, easy in parts(draw, rows):
            c = y[anchors[0]]
            classes.append(int(c))
            assert (y[anchors] == c).all()
            assert (predicted[anchors] == c).all()
            assert (y[positives] == c).all()
            assert (predicted[positives] != c).all()
            assert (y[negatives] != c).all()
            assert (predicted[negatives] == c).all()
            k = predicted[positives[0]]
            assert (y[easy] == k).all()
            assert (predicted[easy] == k).all()
    assert classes == [0, 1, 2, 3] * 30


def test_two_classes_by_hand() -> None:
    # rows 0, 1: class 0 seen right; 2: class 0 taken for 1; 3: class 1 taken for 0; 4: 1 seen right
    y, predicted = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 0, 1])
    draw = ContrastiveDraw(y, predicted, tuples=2, positives=1, negatives=1)
    first, second = parts(draw, draw(np.random.default_rng(0), 0))
    assert int(first[0][0]) in (0, 1)
    assert [int(kind[0]) for kind in first[1:]] == [2, 3, 4]
    assert [int(kind[0]) for kind in second[:3]] == [4, 3, 2]
    assert int(second[3][0]) in (0, 1)


def test_batches_follow_from_generator_and_step_and_reach_every_row() -> None:
    rng = np.random.default_rng(0)
    y, predicted = rng.integers(0, 3, 60), rng.integers(0, 3, 60)
    draw = ContrastiveDraw(y, predicted, 1, 4, 4)
    again = ContrastiveDraw(y, predicted, 1, 4, 4)
    again(np.random.default_rng(99), 5)  # nothing is kept from step to step
    one = draw(np.random.default_rng(7), 2)
    assert (one == again(np.random.default_rng(7), 2)).all()
    assert (one != draw(np.random.default_rng(8), 2)).any()
    seen = np.concatenate([draw(np.random.default_rng(s), s) for s in range(300)])
    assert set(seen.tolist()) == set(range(60))


def test_rows_of_a_cell_are_drawn_in_proportion_to_their_weights() -> None:
    y = np.array([0] * 4 + [1] * 2)
    predicted = np.array([0, 0, 0, 1, 0, 1])
    weight = np.array([1.0, 3.0, 0.0, 1.0, 1.0, 1.0])
    draw = ContrastiveDraw(y, predicted, 1, 50, 1, weight)
    ((anchors, *_),) = parts(draw, draw(np.random.default_rng(0), 0))
    counts = np.bincount(anchors, minlength=3)
    assert counts[2] == 0  # a weight of nothing
    assert 0.6 < counts[1] / 50 < 0.9  # three of four


def test_a_class_without_mistakes_takes_any_of_its_rows_as_positives() -> None:
    # nobody of class 0 is mistaken, class 1 is taken for 0 once
    y, predicted = np.array([0, 0, 1, 1, 1]), np.array([0, 0, 0, 1, 1])
    draw = ContrastiveDraw(y, predicted, 2, 30, 30)
    first, second = parts(draw, draw(np.random.default_rng(0), 0))
    assert set(first[0]) <= {0, 1}
    assert set(first[1]) == {0, 1}
    assert set(first[2]) == {2}
    assert set(first[3]) == {2}  # predicted as the first positive is: as 0
    assert set(second[1]) == {2}
    assert set(second[2]) == {0, 1}  # nobody is taken for 1: any row of another class
    assert set(second[3]) == {0, 1}
    assert draw.empty == {"positives": [0], "negatives": [1]}


def test_a_class_that_is_never_right_is_anchored_at_its_most_frequent_mistake() -> None:
    # class 2 is taken for 0 twice and for 1 once
    y = np.array([0, 0, 1, 1, 2, 2, 2])
    predicted = np.array([0, 1, 1, 0, 0, 0, 1])
    draw = ContrastiveDraw(y, predicted, 3, 30, 30)
    *_, third = parts(draw, draw(np.random.default_rng(0), 0))
    assert set(third[0]) == {4, 5}
    assert set(third[1]) == {6}
    assert set(third[2]) == {0, 3}  # predicted as the anchors are: as 0
    assert set(third[3]) == {2}  # of class 1 and seen as such
    assert draw.empty == {"anchors": [2]}


def test_easy_negatives_fall_back_to_equal_predictions_and_then_to_other_classes() -> None:
    # class 0 is taken for 2 and for 3; class 2 is never right, but row 3 is taken for it; nobody
    # else is taken for 3
    y = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 2, 3, 2, 0, 0])
    draw = ContrastiveDraw(y, predicted, 1, 1, 4)
    assert set(draw.easy[0, 2]) == {3}
    assert set(draw.easy[0, 3]) == {3, 4, 5}
    assert draw.empty["easy negatives"] == [0]


@pytest.mark.parametrize("seed", range(5))
def test_scarce_mistakes_of_many_classes_never_break_a_batch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.choice(15, 60)
    predicted = np.where(rng.random(60) < 0.1, rng.choice(15, 60), y)
    weight = (rng.random(60) < 0.8).astype(float)
    draw = ContrastiveDraw(y, predicted, 2, 3, 2, weight)
    for step in range(20):
        rows = draw(np.random.default_rng(step), step)
        assert weight[rows].all()
        for anchors, positives, negatives, easy in parts(draw, rows):
            c = y[anchors[0]]
            assert (y[anchors] == c).all()
            assert (y[positives] == c).all()
            assert (y[negatives] != c).all()
            assert (y[easy] != c).all()


# --- the baseline ----------------------------------------------------------------------------


def run(
    baseline: CnC,
    y: list[int],
    predicted: list[int],
    steps: int = 100,
    batch_size: int = 32,
    real: Any = None,
    accumulate: int = 1,
) -> SimpleNamespace:
    """What CnC asks of a context whose first ERM predicts as given."""
    asked = SimpleNamespace(fits=[], erm=[], real=[], records={}, warnings=[], names=[])
    table = ImageTable((Path("x"),) * len(y), np.array(y), np.full(len(y), -1), real=real)

    def fit(phase: str, objective: Any, **keywords: Any) -> str:
        asked.fits.append((phase, objective, keywords))
        return "net"

    def remember(name: str, make: Any) -> np.ndarray:
        asked.names.append(name)
        return make()

    def predict(net: Any, split: Split) -> torch.Tensor:
        assert (net, split) == ("reference", Split.TRAIN)
        return torch.tensor(predicted)

    context = SimpleNamespace(
        info=SimpleNamespace(class_names=["cat", "dog", "owl"]),
        train=table,
        steps=steps,
        batch_size=batch_size,
        accumulate=accumulate,
        fit=fit,
        erm=lambda **keywords: asked.erm.append(keywords) or "reference",
        predict=predict,
        remember=remember,
        record=lambda **values: asked.records.update(values),
        warn=asked.warnings.append,
    )
    apart = SimpleNamespace(erm=lambda **keywords: asked.real.append(keywords) or "reference")
    context.real = context if real is None else apart
    assert baseline.run(context) == "net"
    return asked


def test_a_short_erm_and_then_a_fresh_network_on_tuples() -> None:
    asked = run(CnC(positives=3, negatives=1), [0, 0, 1, 1], [0, 1, 1, 0], batch_size=20)
    assert asked.erm == [{"steps": 20, "select": "last", "accumulate": 1}]
    assert asked.names == ["reference_predictions"]
    ((phase, objective, keywords),) = asked.fits
    assert phase == "train"
    assert isinstance(objective, CnCLoss)
    assert set(keywords) == {"draw", "net"}
    assert keywords["net"] is None
    # 2 * (3 + 1) images a tuple, of which two fit into 20
    assert asked.records == {"reference_errors": 2, "tuples_per_step": 2, "images_per_step": 16}
    rows = keywords["draw"](np.random.default_rng(0), 0)
    assert rows.tolist() == [0, 0, 0, 1, 1, 1, 3, 2, 2, 2, 2, 3, 3, 3, 1, 0]
    assert asked.warnings == []


def test_the_second_network_can_go_on_from_a_copy_of_the_reference() -> None:
    asked = run(CnC(start="reference"), [0, 0, 1, 1], [0, 1, 1, 0])
    ((_, _, keywords),) = asked.fits
    assert keywords["net"] == "reference"


def test_generated_images_lie_where_the_reference_puts_them() -> None:
    # of class 0 row 0 is right and row 4, generated, is not; of class 1 rows 2 and 3 are right
    real = np.array([True, True, True, True, False])
    asked = run(CnC(positives=1, negatives=1), [0, 0, 1, 1, 0], [0, 0, 1, 1, 1], real=real)
    assert asked.real == [{"steps": 20, "select": "last", "accumulate": 1}]
    assert asked.erm == []
    assert asked.records["reference_errors"] == 0
    ((_, _, keywords),) = asked.fits
    rows = keywords["draw"](np.random.default_rng(0), 0)
    assert rows[1] == 4  # the positive of the first tuple


def test_a_tuple_is_never_cut() -> None:
    asked = run(CnC(), [0, 0, 1, 1], [0, 1, 1, 0], batch_size=4)
    assert asked.records["images_per_step"] == 32


def test_the_reference_makes_a_step_of_every_batch() -> None:
    """A step of 32 tuples is 32 steps of the reference: as many images, and not 70 steps of it."""
    asked = run(CnC(reference=0.2), [0, 0, 1, 1], [0, 1, 1, 0], steps=350, accumulate=32)
    assert asked.erm == [{"steps": 2240, "select": "last", "accumulate": 1}]


def test_the_reference_has_at_least_one_step() -> None:
    assert run(CnC(reference=0.001), [0, 1], [1, 0]).erm[0]["steps"] == 1


def test_without_mistakes_it_is_erm_and_says_so() -> None:
    asked = run(CnC(), [0, 0, 1], [0, 0, 1])
    ((phase, objective, keywords),) = asked.fits
    assert (phase, type(objective), keywords) == ("train", CrossEntropy, {})
    assert asked.records == {"reference_errors": 0}
    (warning,) = asked.warnings
    assert "wrong on 0 of 3 training images" in warning
    assert "plain ERM. Try a smaller baseline.reference" in warning


def test_one_class_leaves_nothing_to_contrast() -> None:
    asked = run(CnC(), [0, 0, 0], [0, 1, 0])
    assert isinstance(asked.fits[0][1], CrossEntropy)
    assert len(asked.warnings) == 1


def test_empty_cells_are_named() -> None:
    asked = run(CnC(), [0, 0, 1, 1, 2], [0, 0, 0, 1, 2])
    assert [w.split(" (20 steps) ")[1].split(".")[0] for w in asked.warnings] == [
        "is wrong about no image of cat, owl",
        "mistakes no image of another class for dog, owl",
        "gives images of owl a prediction that it gives to no other class",
    ]


def test_too_few_tuples_for_the_classes_are_named() -> None:
    y = [c for c in range(5) for _ in range(2)]
    predicted = [(c + n) % 5 for c in range(5) for n in range(2)]
    (warning,) = run(CnC(), y, predicted).warnings
    assert "a step holds 1 of the tuples and so images of few of the 5 classes" in warning
    assert run(CnC(positives=2, negatives=2), y, predicted).warnings == []


def test_it_needs_nothing() -> None:
    assert CnC.needs.describe() == "none"
