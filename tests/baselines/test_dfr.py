"""DFR: its regression against the optimality conditions, its folding by hand, its choices."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from aspire.baselines import dfr
from aspire.baselines.dfr import DFR, folded, halves, logistic_head
from aspire.classification.classifier import Classifier
from aspire.data.image_table import ImageTable
from aspire.data.table import Split
from aspire.errors import ConfigError

# scikit-learn before 1.8 has another name for it
OLD = getattr(LogisticRegression(), "penalty", None) == "l2"
L1: dict[str, Any] = {"penalty": "l1"} if OLD else {"l1_ratio": 1.0}


def blobs(classes: int, seed: int = 0, number: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Features of unlike scales, the classes overlapping a little."""
    rng = np.random.default_rng(seed)
    y = np.arange(number * classes) % classes
    centre = np.random.default_rng(99).normal(size=(classes, 6))
    x = (centre[y] + 0.7 * rng.normal(size=(len(y), 6))) * [1, 100, 0.01, 5, 1, 1]
    return x + np.array([0, 50, -3, 0, 1, 0]), y


def decide(head: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.asarray((x @ head[:, :-1].T + head[:, -1]).argmax(1))


# --- the regression ----------------------------------------------------------------------------


def test_folding_by_hand() -> None:
    # 2 (x - 3) / 4 - (z + 1) / 0.5 + 7 = 0.5 x - 2 z + (7 - 1.5 - 2)
    head = folded(np.array([[2.0, -1.0, 7.0]]), np.array([3.0, -1.0]), np.array([4.0, 0.5]))
    assert head.tolist() == [[0.5, -2.0, 3.5]]


def test_coefficients_fulfil_the_optimality_conditions_of_the_l1_penalty() -> None:
    # minimise C sum log(1 + exp(-s z)) + |w|_1 + |b|: the gradient of the first part is -sign(w)
    # where w is not 0, and nowhere above 1 in size
    x, y = blobs(2)
    x = StandardScaler().fit_transform(x)
    strength = 0.1
    head = logistic_head(x, y, strength, 2, seed=0)
    assert head[0] == pytest.approx(-head[1])
    w = 2 * head[1]
    design = np.column_stack([x, np.ones(len(x))])
    sign = 2 * y - 1
    gradient = -strength * design.T @ (sign / (1 + np.exp(sign * (design @ w))))
    assert 0 < (w == 0).sum() < len(w)
    assert gradient[w != 0] == pytest.approx(-np.sign(w[w != 0]), abs=0.02)
    assert (np.abs(gradient) <= 1.02).all()


@pytest.mark.parametrize("classes", [2, 3, 15])
def test_the_layer_decides_as_scikit_learn_does(classes: int) -> None:
    x, y = blobs(classes)
    fresh, _ = blobs(classes, seed=1)
    plain = LogisticRegression(C=0.3, solver="liblinear", max_iter=1000, random_state=0, **L1)
    model = make_pipeline(
        StandardScaler(), plain if classes == 2 else OneVsRestClassifier(plain)
    ).fit(x, y)
    scaler = model[0]
    head = logistic_head(scaler.transform(x), y, 0.3, classes, seed=0)
    head = folded(head, scaler.mean_, scaler.scale_)
    assert (decide(head, fresh) == model.predict(fresh)).all()
    net = classifier(6, classes)
    with torch.no_grad():
        net.head.weight.copy_(torch.from_numpy(head[:, :-1]))
        net.head.bias.copy_(torch.from_numpy(head[:, -1]))
    logits = net(torch.from_numpy(fresh).float())
    assert (logits.argmax(1).numpy() == model.predict(fresh)).all()


@pytest.mark.parametrize("present", [[1, 3], [0, 2, 4]])
def test_classes_without_images_are_never_predicted(present: list[int]) -> None:
    x, y = blobs(len(present))
    head = logistic_head(x, np.array(present)[y], 1.0, 5, seed=0)
    assert head.shape == (5, 7)
    far = 1000 * np.random.default_rng(0).normal(size=(500, 6))
    assert set(decide(head, far)) == set(present)


# --- which images ------------------------------------------------------------------------------


def test_halves_are_halves_of_every_group() -> None:
    group = np.array([0] * 10 + [2] * 5 + [3] * 2 + [5])
    first, second = halves(group, np.random.default_rng(0))
    assert sorted([*first, *second]) == list(range(18))
    assert np.bincount(group[first], minlength=6).tolist() == [5, 0, 3, 1, 0, 1]
    assert np.bincount(group[second], minlength=6).tolist() == [5, 0, 2, 1, 0, 0]


def pool(group: list[int], weight: np.ndarray | None = None) -> Any:
    number = len(group)
    y = np.array(group) // 2
    return dfr._Pool(np.zeros((number, 1)), y, np.array(group), weight, 3)


def test_subsamples_are_balanced_over_the_groups() -> None:
    many = pool([0] * 20 + [1] * 4 + [2] * 3 + [5] * 9 + [4])
    assert many.smallest == 3  # group 4 has one image alone and does not count
    rows = many.balanced(np.arange(37), 3, np.random.default_rng(0))
    assert np.bincount(many.group[rows]).tolist() == [3, 3, 3, 0, 1, 3]
    assert len(set(rows.tolist())) == len(rows)
    other = many.balanced(np.arange(37), 3, np.random.default_rng(1))
    assert set(rows.tolist()) != set(other.tolist())
    few = many.balanced(np.array([0, 1, 2, 22]), 2, np.random.default_rng(0))
    assert np.bincount(many.group[few]).tolist() == [2, 1]
    assert set(few.tolist()) <= {0, 1, 2, 22}


def test_subsamples_follow_the_weights_of_the_rows() -> None:
    weighted = pool([0, 0, 0, 1, 1], np.array([0.6, 0.1, 0.1, 0.1, 0.1]))
    rng = np.random.default_rng(0)
    times = sum(0 in weighted.balanced(np.arange(5), 1, rng) for _ in range(400))
    assert times == pytest.approx(400 * 0.75, abs=40)  # 0.6 of 0.8 within its group


# --- the whole method --------------------------------------------------------------------------


def classifier(features: int, classes: int) -> Classifier:
    return Classifier(nn.Identity(), features, classes)


def toy(number: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Feature 0 separates the classes, feature 1 the attribute: (x, y, group)."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(4), [number, number // 5, number // 5, number])
    y, a = group // 2, group % 2
    x = np.stack([2 * y - 1, 40 * a - 20], 1) + rng.uniform(-0.5, 0.5, (len(y), 2)) * [1, 10]
    return x, y, group


class Context(SimpleNamespace):
    """Gives out features by split and writes down what it is asked."""

    def __init__(
        self,
        splits: dict[Split, tuple[np.ndarray, np.ndarray, np.ndarray]],
        score: Callable[..., tuple[float, ...]] | None = None,
        weight: np.ndarray | None = None,
    ) -> None:
        groups = 1 + max(int(g.max()) for _, _, g in splits.values())
        super().__init__()
        self.info = SimpleNamespace(
            num_classes=groups // 2 + groups % 2,
            num_groups=groups,
            class_names=[f"class{k}" for k in range(groups // 2 + groups % 2)],
            group_names=[f"group{g}" for g in range(groups)],
        )
        self.splits = splits
        self.weight = weight
        self.judge = score or (lambda predicted, rows: (0.0,))
        self.store: dict[str, np.ndarray] = {}
        self.recorded: dict[str, Any] = {}
        self.warned: list[str] = []
        self.asked: list[Split] = []
        self.scored: list[tuple[np.ndarray, np.ndarray | None]] = []
        self.net: Classifier | None = None

    def erm(self, *, select: str | None) -> Classifier:
        self.selected = select
        torch.manual_seed(0)
        self.net = classifier(self.splits[Split.VAL][0].shape[1], self.info.num_classes)
        return self.net

    def table(self, split: Split) -> ImageTable:
        _, y, group = self.splits[split]
        return ImageTable((Path("x"),) * len(y), y, group, self.weight)

    def features(self, net: Classifier, split: Split) -> torch.Tensor:
        assert net is self.net
        self.asked.append(split)
        return torch.from_numpy(self.splits[split][0]).float()

    def score(self, predicted: np.ndarray, rows: np.ndarray | None = None) -> tuple[float, ...]:
        self.scored.append((predicted, rows))
        return self.judge(predicted, rows)

    def rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng(sum(name.encode()))

    def remember(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        if name not in self.store:
            self.store[name] = make()
        return self.store[name]

    def record(self, **values: Any) -> None:
        self.recorded.update(values)

    def warn(self, text: str) -> None:
        self.warned.append(text)


@pytest.mark.parametrize("rule", [None, "last"])
def test_the_base_is_selected_as_it_is_said(rule: Any) -> None:
    x, y, group = toy()
    ctx = Context({Split.VAL: (x, y, group)})
    DFR(refits=1, strengths=[1.0], base_selection=rule).run(ctx)  # type: ignore[arg-type]  # a stand-in
    assert ctx.selected == rule


@pytest.mark.parametrize("source", ["val", "train"])
def test_a_separable_toy_is_classified_exactly(source: Any) -> None:
    x, y, group = toy()
    context = Context({Split.TRAIN: toy(60, seed=1), Split.VAL: (x, y, group)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = DFR(source).run(context)
    assert net is context.net
    fresh, truth, _ = toy(200, seed=2)
    assert (net(torch.from_numpy(fresh).float()).argmax(1).numpy() == truth).all()
    # the shortcut is as good as unused: it spans 40, the class 2
    weight = net.head.weight.detach().numpy()
    assert np.abs(weight[:, 1] * 40).max() < 0.1 * np.abs(weight[:, 0] * 2).max()
    assert context.recorded["source"] == source
    assert context.recorded["images_per_group"] == {"val": 6, "train": 12}[source]
    assert context.warned == []


def test_strengths_are_judged_on_the_other_half_of_val_and_the_first_best_is_kept() -> None:
    x, y, group = toy()
    values = iter([(0.2, 1.0), (0.5, 0.1), (0.5, 0.3), (0.5, 0.3)])
    context = Context({Split.VAL: (x, y, group)}, lambda predicted, rows: next(values))
    DFR(strengths=(1.0, 0.5, 0.2, 0.1), refits=1).run(context)
    assert context.recorded["strength"] == 0.2
    assert context.asked == [Split.VAL]
    _, expected = halves(group, context.rng("dfr_tune"))
    for predicted, rows in context.scored:
        assert rows is not None
        assert rows.tolist() == expected.tolist()
        assert predicted.shape == rows.shape
    assert (context.scored[0][0] == y[expected]).all()  # the toy is separable


def test_from_train_the_strengths_are_judged_on_all_of_val() -> None:
    x, y, group = toy()
    context = Context({Split.TRAIN: toy(60, seed=1), Split.VAL: (x, y, group)})
    DFR("train", refits=1, strengths=(1.0,)).run(context)
    assert context.asked == [Split.TRAIN, Split.VAL]
    ((predicted, rows),) = context.scored
    assert rows is None
    assert (predicted == y).all()


def test_heads_of_the_refits_are_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    # features 1 and 3 in equal shares have mean 2 and deviation 1, so that the layer
    # w (x - 2) + b becomes w x + b - 2 w; w = 3, 4, 8 and b = 1, 0, 5 have the means 5 and 2
    number = 8
    y = np.repeat([0, 1], number)
    x = np.tile([1.0, 3.0], number)[:, None]
    heads = iter([(9, 9), (3, 1), (4, 0), (8, 5)])  # the first is the tuning's
    sizes = []

    def fixed(features: np.ndarray, y: np.ndarray, *rest: Any) -> np.ndarray:
        sizes.append(np.bincount(y).tolist())
        assert set(np.unique(features)) <= {-1.0, 1.0}
        w, b = next(heads)
        return np.array([[w, b], [0, 0]], dtype=float)

    monkeypatch.setattr(dfr, "logistic_head", fixed)
    context = Context({Split.VAL: (x, y, 2 * y)})
    monkeypatch.setattr(dfr, "halves", lambda group, rng: (np.arange(16), np.arange(16)))
    net = DFR(strengths=(1.0,), refits=3).run(context)
    assert net.head.weight.tolist() == [[5.0], [0.0]]
    assert net.head.bias.tolist() == [2.0 - 2 * 5.0, 0.0]
    assert sizes == [[4, 4], [8, 8], [8, 8], [8, 8]]


def test_an_interrupted_run_does_not_fit_again(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context({Split.VAL: toy()})
    first = DFR(refits=2).run(context).head.weight.tolist()
    monkeypatch.setattr(dfr, "_regression", None)
    second = DFR(refits=2).run(context).head.weight.tolist()
    assert first == second


def test_equal_seeds_give_equal_heads() -> None:
    heads = [DFR(refits=2).run(Context({Split.VAL: toy()})).head for _ in range(2)]
    assert torch.equal(heads[0].weight, heads[1].weight)


def test_groups_and_classes_that_lack_images_are_named() -> None:
    x, _, group = toy()
    # group 5 (class 2) has one image, groups 3 and 4 none; class 3 has none at all
    keep = group != 3
    x = np.concatenate([x[keep], [[9.0, 0.0]]])
    group = np.append(group[keep], 5)
    context = Context({Split.VAL: (x, group // 2, group)})
    context.info.num_classes, context.info.class_names = 4, ["ant", "bee", "cat", "dog"]
    net = DFR(refits=2).run(context)
    text = "\n".join(context.warned)
    assert "no image of the class dog" in text
    assert "no image of the group group3, group4" in text
    assert "1 image of the group group5" in text
    assert "Try baseline.source=train" in text
    assert context.recorded["images_per_group"] == 6
    assert net.head.weight.shape == (4, 2)
    assert 3 not in net(torch.from_numpy(100 * x).float()).argmax(1)


@pytest.mark.parametrize(("group", "said"), [([0, 0, 0, 1], "1 classes"), ([0, 2], "at most 1")])
def test_a_split_that_cannot_be_used_is_a_config_error(group: list[int], said: str) -> None:
    given = np.array(group)
    context = Context({Split.VAL: (np.zeros((len(group), 2)), given // 2, given)})
    with pytest.raises(ConfigError, match=rf"baseline.source=val: .*{said}.*source=train"):
        DFR().run(context)


def test_what_it_needs_depends_on_the_source() -> None:
    assert DFR.needs.describe() == "val groups"
    assert DFR("val").needs.describe() == "val groups"
    assert DFR("train").needs.describe() == "train+val groups"
