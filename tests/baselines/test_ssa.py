"""SSA: which pseudo-labels count, the loss by hand, and what the method asks a fake context for."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aspire.baselines.base import DatasetInfo
from aspire.baselines.groupdro import GroupDROLoss
from aspire.baselines.ssa import SSA, AttributeLoss, half_and_half, split_evenly, with_outputs
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch
from aspire.data.image_table import ImageTable
from aspire.data.table import Split
from aspire.errors import ConfigError


class Given(nn.Module):
    """A net whose logits are its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def objective(
    y: list[int], attribute: list[int], threshold: float, classes: int = 2, attributes: int = 2
) -> AttributeLoss:
    made = AttributeLoss(np.array(y), np.array(attribute), classes, attributes, threshold)
    info = DatasetInfo(classes, classes * attributes, len(y), (0,) * 4, ["a", "b"], list("wxyz"))
    made.setup(info, None)
    return made


def batch(first: list[float], rows: list[int]) -> Batch:
    """Two logits each, with this probability of attribute 0."""
    p = np.array(first)
    image = torch.tensor(np.log(np.stack([p, 1 - p], 1)), dtype=torch.float32)
    empty = torch.full((len(rows),), -1)
    return Batch(image, empty, empty, torch.tensor(rows))


def test_one_batch_by_hand() -> None:
    # rows 0 to 3 are labelled, one of each group; 4 to 7 are not. Sure of 0.9: rows 4 and 5 as
    # group (0, 0), row 6 as (0, 1), none as (1, 0) or (1, 1), so these groups stay at 1 image and
    # so must the others: no pseudo-label counts. Loss: mean of the labelled rows 0 and 1
    made = objective([0, 0, 1, 1, 0, 0, 0, 1], [0, 1, 0, 1, -1, -1, -1, -1], 0.9)
    out = made(Given(), batch([0.5, 0.25, 0.95, 0.97, 0.05, 0.6], [0, 1, 4, 5, 6, 7]))
    assert float(out.loss) == pytest.approx((-np.log(0.5) - np.log(0.75)) / 2)
    assert float(out.scalars["pseudo_labels_used"]) == 0.0
    assert made.probability.tolist() == pytest.approx([0, 0, 0, 0, 0.95, 0.97, 0.95, 0.6])
    assert made.guess.tolist() == [0, 0, 0, 0, 0, 0, 1, 0]


def test_pseudo_labels_count_up_to_the_smallest_group_by_hand() -> None:
    # class 0 alone. Labelled: one of attribute 0, two of attribute 1. Sure: rows 3, 4, 5 of
    # attribute 0 (4 in all) and row 6 of attribute 1 (3 in all). So attribute 0 may have 3: the
    # surest two, rows 3 and 5, and row 6 counts
    made = objective([0] * 8, [0, 1, 1] + [-1] * 5, 0.9, classes=1)
    rows = [0, 3, 4, 5, 6, 7]
    out = made(Given(), batch([0.5, 0.99, 0.92, 0.95, 0.05, 0.6], rows))
    assert made.accepted().tolist() == [False] * 3 + [True, False, True, True, False]
    pseudo = -np.log([0.99, 0.95, 0.95]).sum() / 5  # of five unlabelled rows
    assert float(out.loss) == pytest.approx(-np.log(0.5) + pseudo, rel=1e-5)
    assert float(out.scalars["pseudo_labels_used"]) == pytest.approx(3 / 5)


def test_the_threshold_is_of_probabilities_and_not_of_logits() -> None:
    made = objective([0, 0, 0], [0, 1, -1], 0.9, classes=1)
    given = batch([0.5], [2])._replace(image=torch.tensor([[50.0, 49.0]]))
    made(Given(), given)
    assert float(made.probability[2]) == pytest.approx(1 / (1 + np.exp(-1)))
    assert not made.accepted().any()


def test_what_was_seen_earlier_counts_for_the_balance() -> None:
    made = objective([0] * 6, [0, 1, -1, -1, -1, -1], 0.9, classes=1)
    made(Given(), batch([0.99, 0.98], [2, 3]))
    assert not made.accepted().any()  # attribute 1 has one image, and so may attribute 0
    made(Given(), batch([0.02], [4]))
    assert made.accepted().tolist() == [False, False, True, False, True, False]
    made(Given(), batch([0.9999], [3]))  # now it is the surest
    assert made.accepted().tolist() == [False, False, False, True, True, False]
    made(Given(), batch([0.5], [4]))  # not sure any more
    assert not made.accepted().any()


def test_a_group_that_nobody_labelled_neither_counts_nor_stops_the_others() -> None:
    # group (1, 1) has no labelled row; groups (0, 0), (0, 1), (1, 0) have one each and one sure row
    y, attribute = [0, 0, 1, 0, 0, 1, 1, 1, 1], [0, 1, 0] + [-1] * 6
    made = objective(y, attribute, 0.9)
    made(Given(), batch([0.95, 0.05, 0.95, 0.01, 0.02, 0.03], [3, 4, 5, 6, 7, 8]))
    # the others have 2 images each, so of (1, 1) the two surest count
    assert made.accepted().tolist() == [False] * 3 + [True] * 5 + [False]


@pytest.mark.parametrize("seed", range(5))
def test_random_states_against_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, classes, attributes, threshold = 200, 3, 4, 0.6
    y = rng.integers(0, classes, size)
    attribute = np.where(np.arange(size) < 20, rng.integers(0, attributes, size), -1)
    made = objective(y.tolist(), attribute.tolist(), threshold, classes, attributes)
    probability = np.where((attribute < 0) & (rng.random(size) < 0.9), rng.random(size), 0)
    guess = rng.integers(0, attributes, size)
    made.probability.copy_(torch.tensor(probability))
    made.guess.copy_(torch.tensor(guess))

    def members(c: int, a: int) -> list[int]:
        sure = [
            i for i in range(size) if probability[i] >= threshold and (y[i], guess[i]) == (c, a)
        ]
        return sorted(sure, key=lambda i: -probability[i])

    groups = [(c, a) for c in range(classes) for a in range(attributes)]
    told = {g: int(((y == g[0]) & (attribute == g[1])).sum()) for g in groups}
    size_of_smallest = min(told[g] + len(members(*g)) for g in groups if told[g])
    expected = {i for g in groups for i in members(*g)[: max(0, size_of_smallest - told[g])]}
    assert set(made.accepted().nonzero()[:, 0].tolist()) == expected
    assert expected


def test_a_pseudo_label_is_no_gradient_and_the_rest_is_softmax_minus_one_hot() -> None:
    made = objective([0] * 5, [0, 1, -1, -1, -1], 0.9, classes=1)
    made(Given(), batch([0.04], [4]))  # so that attribute 0 may have two
    given = batch([0.6, 0.95, 0.7], [0, 2, 3])
    given = given._replace(image=given.image.requires_grad_())
    made(Given(), given).loss.backward()
    sides = np.array([-1.0, 1.0])
    expected = np.stack([0.4 * sides, 0.05 / 2 * sides, 0 * sides])  # row 3 is not sure
    assert given.image.grad is not None
    assert given.image.grad.numpy() == pytest.approx(expected, abs=1e-6)


def test_batches_of_one_kind_are_finite() -> None:
    made = objective([0, 0, 0], [0, 1, -1], 0.9, classes=1)
    assert float(made(Given(), batch([0.6], [2])).loss) == 0.0
    assert float(made(Given(), batch([0.5], [0])).loss) == pytest.approx(np.log(2))


def test_state_is_what_was_seen_and_nothing_else() -> None:
    made = objective([0, 0, 0], [0, 1, -1], 0.9, classes=1)
    made(Given(), batch([0.95], [2]))
    assert set(made.state_dict()) == {"probability", "guess"}
    assert list(made.parameters()) == []
    fresh = objective([0, 0, 0], [0, 1, -1], 0.9, classes=1)
    fresh.load_state_dict(made.state_dict())
    assert torch.equal(fresh.probability, made.probability)


def test_val_is_split_within_each_group() -> None:
    group = np.array([0] * 10 + [1] * 5 + [2] + [-1] * 3 + [4] * 4)
    a, b = split_evenly(group, 0.5, np.random.default_rng(0))
    assert np.bincount(group[a], minlength=5).tolist() == [5, 3, 1, 0, 2]
    assert np.bincount(group[b], minlength=5).tolist() == [5, 2, 0, 0, 2]
    assert len(np.union1d(a, b)) == 20
    other, _ = split_evenly(group, 0.5, np.random.default_rng(1))
    assert other.tolist() != a.tolist()
    everything, nothing = split_evenly(group, 0.0, np.random.default_rng(0))
    assert (len(everything), len(nothing)) == (20, 0)


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "size", "expected"),
    [
        (20, 50, 8, (4, 4)),
        (20, 50, 7, (3, 4)),
        (2, 50, 8, (2, 6)),
        (20, 3, 8, (4, 3)),
        (5, 5, 1, (1, 1)),
    ],
)
def test_batches_are_half_labelled_and_no_row_twice(
    labelled: int, unlabelled: int, size: int, expected: tuple[int, int]
) -> None:
    draw = half_and_half(labelled, unlabelled, size)
    for step in range(20):
        rows = draw(np.random.default_rng(step), step)
        assert len(set(rows.tolist())) == len(rows)
        assert ((rows < labelled).sum(), (rows >= labelled).sum()) == expected
        assert rows.max() < labelled + unlabelled


def test_unlabelled_rows_are_drawn_as_their_weights_say() -> None:
    draw = half_and_half(3, 4, 2, np.array([0.0, 0.2, 0.6, 0.0]))
    rows = np.array([draw(np.random.default_rng(s), s) for s in range(400)])
    seen = np.bincount(rows[:, 1], minlength=7) / 400
    assert seen == pytest.approx([0, 0, 0, 0, 0.25, 0.75, 0], abs=0.07)
    both = half_and_half(3, 4, 8, np.array([0.0, 0.2, 0.6, 0.0]))(np.random.default_rng(0), 0)
    assert sorted(both[3:].tolist()) == [4, 5]


def test_a_head_is_fresh_and_seeded_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    heads = []
    for seed in (1, 1, 2):
        net = Classifier(nn.Identity(), 6, 15)
        torch.manual_seed(0)
        made = with_outputs(net, 3, np.random.default_rng(seed))
        assert made is net
        assert torch.equal(torch.rand(1), expected)
        assert made(torch.zeros(2, 6)).shape == (2, 3)
        heads.append(made.head.weight.detach())
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


CLASSES, ATTRIBUTES = ["cat", "dog", "eel"], ["land", "water"]


def table(name: str, y: list[int], attribute: list[int]) -> ImageTable:
    group = np.where(np.array(attribute) < 0, -1, np.array(y) * 2 + np.array(attribute))
    return ImageTable(tuple(Path(f"{name}{i}") for i in range(len(y))), np.array(y), group)


class Context:
    """Notes what it is asked for; its attribute predictors know ``truth`` of the training rows."""

    def __init__(
        self, val: ImageTable, kept: dict[str, Any] | None = None, blind: bool = False
    ) -> None:
        rng = np.random.default_rng(0)
        y = rng.integers(0, 3, 20)
        self.truth = rng.integers(0, 2, 20)
        self.train = table("train", y.tolist(), [-1] * 20)
        self.val = val
        self.info = SimpleNamespace(
            num_classes=3,
            num_groups=6,
            class_names=CLASSES,
            group_names=[f"{c}/{a}" for c in CLASSES for a in ATTRIBUTES],
        )
        self.steps, self.batch_size = 40, 8
        self.blind = blind
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.collected: list[tuple[str, list[str]]] = []
        self.recorded: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.kept = {} if kept is None else kept

    @property
    def real(self) -> Context:
        return self

    def table(self, split: Split) -> ImageTable:
        assert split == Split.VAL
        return self.val

    def network(self, name: str) -> Classifier:
        net = Classifier(nn.Identity(), 4, 3)
        net.phase = name
        return net

    def fit(self, phase: str, objective: Any, **keywords: Any) -> Any:
        self.asked.append((phase, {**keywords, "objective": objective}))
        return keywords.get("net", "robust")

    def collect(self, net: Any, table: ImageTable, fn: Any) -> torch.Tensor:
        self.collected.append((net.phase, [str(p) for p in table.paths]))
        assert fn(lambda x: x, torch.tensor([[0.0, 1.0], [1.0, 0.0]])).tolist() == [1, 0]
        if self.blind:
            return torch.zeros(len(table), dtype=torch.int64)
        known = dict(zip(map(str, self.val.paths), self.val.group % 2, strict=True))
        known |= dict(zip(map(str, self.train.paths), self.truth, strict=True))
        return torch.tensor([known[str(p)] for p in table.paths])

    def rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng(len(name))

    def remember(self, name: str, make: Any) -> Any:
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    def record(self, **values: Any) -> None:
        self.recorded.update(values)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def full_val() -> ImageTable:
    return table("val", [0, 0, 1, 1, 2, 2] * 4, [0, 1] * 12)


def run(ctx: Context, **settings: Any) -> Any:
    return SSA(**settings).run(ctx)


def test_every_training_image_is_labelled_by_a_predictor_that_did_not_see_it() -> None:
    ctx = Context(full_val())
    assert run(ctx, infer=0.25, threshold=0.8, eta=0.2) == "robust"
    names = [name for name, _ in ctx.asked]
    assert names == ["attributes-0", "attributes-1", "attributes-2", "train"]
    labelled_by: list[str] = []
    held_out = set()
    for phase, asked in ctx.asked[:3]:
        made, joint = asked["objective"], asked["train"]
        assert isinstance(made, AttributeLoss)
        assert (made.threshold, made.num_attributes, len(made.labelled)) == (0.8, 2, 6)
        assert (asked["steps"], asked["select"]) == (10, "last")
        assert asked["net"].phase == phase
        assert asked["net"].head.out_features == 2
        paths = [str(p) for p in joint.paths]
        # half of each group of val, then two thirds of train, whose attributes are not told
        assert made.labelled.tolist() == [2] * 6
        assert all(p.startswith("val") for p in paths[:12])
        assert all(p.startswith("train") for p in paths[12:])
        assert (joint.group[:12] % 2).tolist() == made.attribute[:12].tolist()
        assert set(made.attribute[12:].tolist()) == {-1} == set(joint.group[12:].tolist())
        assert made.y.tolist() == joint.y.tolist()
        rows = asked["draw"](np.random.default_rng(0), 0)
        assert ((rows < 12).sum(), len(rows)) == (4, 8)
        fold, judged = (seen for net, seen in ctx.collected if net == phase)
        assert not set(fold) & set(paths)
        assert not set(judged) & set(paths)
        assert len(judged) == 12
        labelled_by += fold
        held_out |= set(judged)
    assert sorted(labelled_by) == sorted(str(p) for p in ctx.train.paths)
    assert len(held_out) == 12
    asked = ctx.asked[3][1]
    assert isinstance(asked["objective"], GroupDROLoss)
    assert asked["objective"].eta == 0.2
    assert "train" not in asked
    assert asked["groups"].tolist() == (ctx.train.y * 2 + ctx.truth).tolist()
    mass = np.bincount(asked["groups"], weights=asked["sample_weights"])
    assert mass == pytest.approx(np.ones(6))
    assert ctx.recorded["labelled_images"] == 12
    assert ctx.recorded["attribute_accuracy"] == [1.0] * 3
    assert ctx.recorded["pseudo_groups"]["dog/water"] == int((asked["groups"] == 3).sum())
    assert ctx.warnings == []


def test_weights_of_the_rows_stay_within_a_pseudo_group() -> None:
    ctx = Context(full_val())
    own = np.linspace(1, 2, 20)
    ctx.train = ImageTable(ctx.train.paths, ctx.train.y, ctx.train.group, own)
    run(ctx)
    groups, weights = ctx.asked[-1][1]["groups"], ctx.asked[-1][1]["sample_weights"]
    for g in np.unique(groups):
        assert weights[groups == g] == pytest.approx(own[groups == g] / own[groups == g].sum())
    assert all(asked["train"].weight is None for _, asked in ctx.asked[:3])  # the draw has them


def test_an_interrupted_run_does_not_guess_again() -> None:
    first = Context(full_val())
    run(first)
    again = Context(full_val(), kept=first.kept, blind=True)
    run(again)
    assert again.collected == []
    assert np.array_equal(again.asked[-1][1]["groups"], first.asked[-1][1]["groups"])
    assert again.recorded == first.recorded


def test_predictors_that_guess_are_warned_about_and_groups_they_miss() -> None:
    ctx = Context(full_val(), blind=True)
    assert run(ctx) == "robust"
    assert ctx.recorded["attribute_accuracy"] == [0.5] * 3
    assert ctx.recorded["attribute_worst_group"] == [0.0] * 3
    guessing, missed = ctx.warnings
    assert re.search("0.50 over the groups of held-out .* larger baseline.infer than 0.5", guessing)
    assert re.search("no training image for cat/water, dog/water, eel/water", missed)


def test_an_attribute_that_val_does_not_show_is_warned_about() -> None:
    ctx = Context(table("val", [0, 0, 1, 1, 2, 2], [0] * 6), blind=True)
    run(ctx)
    (warning,) = ctx.warnings  # the groups that no val image has are no surprise
    assert re.search("No labelled val image shows water", warning)


def test_images_of_val_without_a_group_are_left_out() -> None:
    ctx = Context(table("val", [0, 0, 1, 1, 2, 2] * 2, [0, 1, 0, 1, 0, -1] * 2))
    run(ctx, val_fraction=0.0)
    assert ctx.asked[0][1]["objective"].labelled.tolist() == [2, 2, 2, 2, 2, 0]
    assert len(ctx.collected) == 3  # nothing is held out, so nothing is judged
    assert ctx.recorded["attribute_accuracy"] == []


def test_what_cannot_be_done_is_a_config_error() -> None:
    ctx = Context(full_val())
    with pytest.raises(ConfigError, match=r"baseline.folds=21: expected at most .* 20"):
        run(ctx, folds=21)
    ctx.info.num_groups = 3
    with pytest.raises(ConfigError, match=r"one value of it.*baseline=jtt"):
        run(ctx)


def test_it_learns_from_the_groups_of_val() -> None:
    assert SSA.needs.describe() == "val groups"
