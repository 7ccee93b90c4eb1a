"""LISA: who is paired with whom, the mixed loss by hand, and CutMix's areas."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aspire.baselines import lisa
from aspire.baselines.erm import CrossEntropy
from aspire.baselines.lisa import LISA, LISALoss, Pairs, paste, qualified_partners
from aspire.data.datamodule import Batch
from aspire.data.image_table import ImageTable

LN2, LN4 = float(np.log(2)), float(np.log(4))


class Flat(nn.Module):
    """A net whose logits are its input, a (B, K, 1, 1) image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


class Mean(nn.Module):
    """A net whose logits are the channels' means; remembers the images."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return x.mean((2, 3))


def batch(image: torch.Tensor, y: Any) -> Batch:
    number = len(y)
    return Batch(image, torch.as_tensor(y), torch.full((number,), -1), torch.arange(number))


def flat(logits: Any) -> torch.Tensor:
    return torch.as_tensor(logits, dtype=torch.float64)[:, :, None, None]


def table(group: Any, attributes: int = 2, weight: Any = None) -> ImageTable:
    ids = np.array(group)
    return ImageTable((Path("x"),) * len(ids), ids // attributes, ids, weight)


# the loss


def test_two_pairs_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # pair 0: (0, 0) and (0, ln 9) at 1/2 is (0, ln 3), softmax (1/4, 3/4); labels 0 and 1 by half
    # pair 1: (0, ln 16) and (0, 0) at 1/4 is (0, ln 2), softmax (1/3, 2/3); both labels are 1
    monkeypatch.setattr(lisa, "beta", lambda alpha, number: torch.tensor([0.5, 0.25]).double())
    logits = [[0, 0], [0, np.log(16)], [0, np.log(9)], [0, 0]]
    out = LISALoss(2.0)(Flat(), batch(flat(logits), [0, 1, 1, 1]))
    assert out.logits.numpy() == pytest.approx(np.log([[1, 3], [1, 2]]))
    first, second = (LN4 + np.log(4 / 3)) / 2, np.log(3 / 2)
    assert float(out.loss) == pytest.approx((first + second) / 2)


def test_twenty_random_batches_against_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        half = int(rng.integers(1, 9))
        logits, y = rng.normal(0, 2, (2 * half, 15)), rng.integers(0, 15, 2 * half)
        share = rng.beta(2, 2, half)
        monkeypatch.setattr(lisa, "beta", lambda a, n, v=share: torch.from_numpy(v))
        mixed = share[:, None] * logits[:half] + (1 - share[:, None]) * logits[half:]
        soft = share[:, None] * np.eye(15)[y[:half]] + (1 - share[:, None]) * np.eye(15)[y[half:]]
        log_softmax = mixed - np.log(np.exp(mixed).sum(1, keepdims=True))
        out = LISALoss(2.0)(Flat(), batch(flat(logits), y))
        assert out.logits.shape == (half, 15)
        assert float(out.loss) == pytest.approx(-(soft * log_softmax).sum(1).mean(), rel=1e-9)


@pytest.mark.parametrize("cutmix", [False, True])
def test_with_lambda_one_it_is_erm_on_the_anchors(
    cutmix: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lisa, "beta", lambda a, number: torch.ones(number, dtype=torch.float64))
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.normal(0, 2, (12, 3, 8, 8)).astype(np.float32))
    y = rng.integers(0, 3, 12)
    net = Mean()
    mixed = LISALoss(2.0, cutmix)(net, batch(image, y))
    assert torch.equal(net.seen, image[:6])
    erm = CrossEntropy()(net, batch(image[:6], y[:6]))
    assert torch.equal(mixed.logits, erm.logits)
    assert float(mixed.loss) == pytest.approx(float(erm.loss), rel=1e-6)


def test_every_pair_has_its_own_lambda() -> None:
    torch.manual_seed(0)
    net = Mean()
    image = torch.cat([torch.zeros(500, 3, 2, 2), torch.ones(500, 3, 2, 2)])
    LISALoss(2.0)(net, batch(image, [0] * 1000))
    share = 1 - net.seen[:, 0, 0, 0].numpy()
    assert len(np.unique(share)) > 490
    assert share.mean() == pytest.approx(0.5, abs=0.04)
    assert share.var() == pytest.approx(1 / 20, rel=0.2)  # of Beta(2, 2)


def test_the_global_generator_decides() -> None:
    image, y = torch.randn(8, 3, 16, 16), [0, 1, 2, 0, 1, 2, 0, 1]

    def losses(seed: int, cutmix: bool) -> list[float]:
        torch.manual_seed(seed)
        made = LISALoss(2.0, cutmix)
        return [float(made(Mean(), batch(image, y)).loss) for _ in range(4)]

    for cutmix in (False, True):
        assert losses(1, cutmix) == losses(1, cutmix)
        assert losses(1, cutmix) != losses(2, cutmix)


def test_it_has_no_state_and_wants_whole_batches() -> None:
    assert LISALoss(2.0).state_dict() == {}
    assert LISALoss.whole_images


# CutMix


def test_the_share_is_that_of_the_area() -> None:
    torch.manual_seed(0)
    share = torch.rand(200, dtype=torch.float64)
    image, left = paste(torch.zeros(200, 3, 12, 20), torch.ones(200, 3, 12, 20), share)
    assert (1 - image.double().mean((1, 2, 3))).numpy() == pytest.approx(left.numpy())
    assert (left >= share - 1e-9).all()  # the box is rounded down and cut by the edge
    assert (left > share + 0.05).any()


def test_the_pasted_part_is_a_box_of_the_other_image_in_place() -> None:
    torch.manual_seed(0)
    a = torch.arange(2 * 3 * 9 * 9.0).view(2, 3, 9, 9)
    b = -a - 1
    image, _ = paste(a, b, torch.tensor([0.5, 0.8], dtype=torch.float64))
    for i in range(2):
        box = image[i] < 0
        assert torch.equal(image[i][box], b[i][box])
        assert torch.equal(image[i][~box], a[i][~box])
        assert torch.equal(box[0], box[1])
        rows, columns = box[0].any(1), box[0].any(0)
        assert torch.equal(box[0], rows[:, None] & columns)
        for line in (rows, columns):  # one run
            assert int((line[1:] != line[:-1]).sum()) <= 2


def test_a_box_in_the_middle_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # share 3/4 leaves a box of half the side: 4 of 8 around place 4, so 16 of 64
    monkeypatch.setattr(torch, "randint", lambda length, shape: torch.full(tuple(shape), 4))
    a, b = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    image, left = paste(a, b, torch.tensor([0.75], dtype=torch.float64))
    assert float(left) == 0.75
    assert torch.equal(image[0, 0, 2:6, 2:6], torch.ones(4, 4))
    assert float(image.sum()) == 16
    # in the corner a quarter of it is left: 4 of 64
    monkeypatch.setattr(torch, "randint", lambda length, shape: torch.full(tuple(shape), 0))
    image, left = paste(a, b, torch.tensor([0.75], dtype=torch.float64))
    assert float(left) == 1 - 4 / 64
    assert float(image[0, 0, :2, :2].sum()) == float(image.sum()) == 4


def test_labels_follow_the_true_share(monkeypatch: pytest.MonkeyPatch) -> None:
    # the corner case above with logits for softmax (1/2, 1/4, 1/4) whatever the image
    monkeypatch.setattr(lisa, "beta", lambda a, number: torch.full((number,), 0.75).double())
    monkeypatch.setattr(torch, "randint", lambda length, shape: torch.full(tuple(shape), 0))
    image = torch.log(torch.tensor([2.0, 1.0, 1.0]))[None, :, None, None].expand(2, 3, 8, 8)
    loss = LISALoss(2.0, cutmix=True)(Mean(), batch(image, [0, 1])).loss
    assert float(loss) == pytest.approx(60 / 64 * LN2 + 4 / 64 * LN4)


# the pairs


def test_partners_of_two_by_two() -> None:
    label, domain = qualified_partners(np.arange(4), 4, 2)
    assert [np.flatnonzero(row).tolist() for row in label] == [[1], [0], [3], [2]]
    assert [np.flatnonzero(row).tolist() for row in domain] == [[2], [3], [0], [1]]


def test_partners_of_three_by_three_with_groups_missing() -> None:
    # groups 3 y + a without 1 (0/1) and 8 (2/2)
    label, domain = qualified_partners(np.array([0, 2, 3, 4, 5, 6, 7]), 9, 3)
    assert [np.flatnonzero(row).tolist() for row in label] == [
        [2], [], [0], [4, 5], [3, 5], [3, 4], [7], [6], [],
    ]  # fmt: skip
    assert [np.flatnonzero(row).tolist() for row in domain] == [
        [3, 6], [], [5], [0, 6], [7], [2], [0, 3], [4], [],
    ]  # fmt: skip


def test_partners_are_mutual_and_never_both() -> None:
    label, domain = qualified_partners(np.array([0, 1, 4, 7, 9, 11, 14]), 15, 3)
    for partners in (label, domain):
        assert (partners == partners.T).all()
        assert not partners.diagonal().any()
    assert not (label & domain).any()


def asked(
    group: Any,
    *,
    classes: int = 2,
    attributes: int = 2,
    weight: Any = None,
    batch_size: int = 8,
    **settings: Any,
) -> SimpleNamespace:
    """What LISA asks of its context."""
    got = SimpleNamespace(warnings=[])

    def fit(phase: str, objective: Any, **keywords: Any) -> str:
        got.phase, got.objective, got.keywords = phase, objective, keywords
        return "net"

    names = [f"{y}/{a}" for y in range(classes) for a in range(attributes)]
    info = SimpleNamespace(num_classes=classes, num_groups=len(names), group_names=names)
    ctx = SimpleNamespace(
        info=info,
        train=table(group, attributes, weight),
        batch_size=batch_size,
        fit=fit,
        warn=got.warnings.append,
    )
    assert LISA(**settings).run(ctx) == "net"
    got.pairs = got.keywords["draw"]
    return got


def drawn(pairs: Pairs, steps: int) -> np.ndarray:
    """(steps, 2, size) rows."""
    rows = [pairs(np.random.default_rng(step), step) for step in range(steps)]
    return np.array(rows).reshape(steps, 2, pairs.size)


GROUPS = np.repeat(np.arange(4), [40, 3, 7, 50])


def test_one_fit_on_pairs() -> None:
    got = asked(GROUPS, mix_alpha=0.7, cutmix=True)
    assert got.phase == "train"
    assert isinstance(got.objective, LISALoss)
    assert (got.objective.mix_alpha, got.objective.cutmix) == (0.7, True)
    assert list(got.keywords) == ["draw"]
    assert got.warnings == []
    rows = got.pairs(np.random.default_rng(0), 0)
    assert rows.shape == (16,)  # eight mixed images
    assert rows.dtype == np.int64
    assert rows.tolist() == got.pairs(np.random.default_rng(0), 0).tolist()


def test_a_step_mixes_across_the_attribute_or_across_the_class() -> None:
    group = GROUPS[drawn(asked(GROUPS).pairs, 400)]
    same_y = group[:, 0] // 2 == group[:, 1] // 2
    same_a = group[:, 0] % 2 == group[:, 1] % 2
    assert (same_y ^ same_a).all()
    assert (same_y.all(1) | same_a.all(1)).all()  # one strategy a step
    assert same_y.all(1).mean() == pytest.approx(0.5, abs=0.1)  # four standard deviations


@pytest.mark.parametrize(("intra_label", "label"), [(0.0, False), (1.0, True)])
def test_one_strategy_alone(intra_label: float, label: bool) -> None:
    group = GROUPS[drawn(asked(GROUPS, intra_label=intra_label).pairs, 50)]
    assert ((group[:, 0] // 2 == group[:, 1] // 2) == label).all()


def test_anchors_and_partners_are_balanced_over_groups() -> None:
    rows = drawn(asked(GROUPS, batch_size=32).pairs, 400)
    for role in (0, 1):
        share = np.bincount(GROUPS[rows[:, role]].ravel()) / (400 * 32)
        assert share == pytest.approx([0.25] * 4, abs=0.02)
        # and over the rows of a group
        share = np.bincount(rows[:, role].ravel(), minlength=100)[40:43] / (400 * 32)
        assert share == pytest.approx([1 / 12] * 3, abs=0.015)


def test_partners_are_balanced_over_the_groups_that_qualify() -> None:
    group = np.repeat(np.arange(9), [5, 90, 1, 4, 4, 4, 30, 1, 2])
    made = asked(group, classes=3, attributes=3, batch_size=64, intra_label=1.0).pairs
    pairs = group[drawn(made, 300)]
    of_first = pairs[:, 1][pairs[:, 0] == 0]
    assert np.unique(of_first).tolist() == [1, 2]
    assert (of_first == 1).mean() == pytest.approx(0.5, abs=0.05)


def test_rows_are_drawn_by_their_weights_within_a_group() -> None:
    group = np.array([0, 3, 0, 1, 2, 0, 3, 1])
    weight = np.array([0.1, 0.2, 0.3, 0.05, 0.01, 0.0, 0.2, 0.15])
    rows = drawn(asked(group, weight=weight, batch_size=64).pairs, 200)
    for role in (0, 1):
        share = np.bincount(rows[:, role].ravel(), minlength=8) / (200 * 64)
        # a quarter for each group: 0.1 : 0.3, 0.05 : 0.15, 1, 0.2 : 0.2
        expected = [1 / 16, 1 / 8, 3 / 16, 1 / 16, 1 / 4, 0, 1 / 8, 3 / 16]
        assert share == pytest.approx(expected, abs=0.02)
    assert 5 not in rows


def test_a_group_without_partner_is_mixed_by_the_other_strategy() -> None:
    # 0/1 is missing: nothing shares the class of 0/0, nothing the attribute of 1/1
    group = np.array([0, 0, 0, 2, 2, 3])
    got = asked(group)
    missing, label, domain = got.warnings
    assert missing.startswith("No training image of 0/1. LISA mixes the others;")
    assert label.startswith(
        "LISA finds no training images of the same class and another attribute for 0/0 "
        "(1 of 3 groups). It mixes 1 of them by the other strategy and 0 within the group"
    )
    assert "the same attribute and another class for 1/1 (1 of 3 groups)" in domain
    pairs = group[drawn(got.pairs, 100)]
    met = {(int(a), int(b)) for a, b in zip(pairs[:, 0].ravel(), pairs[:, 1].ravel(), strict=True)}
    assert met == {(0, 2), (2, 3), (3, 2), (2, 0)}


def test_a_strategy_that_is_switched_off_is_no_way_out() -> None:
    group = np.array([0, 0, 0, 2, 2, 3])
    got = asked(group, intra_label=1.0)
    _, label = got.warnings
    assert "It mixes 0 of them by the other strategy and 1 within the group" in label
    pairs = group[drawn(got.pairs, 100)]
    met = {(int(a), int(b)) for a, b in zip(pairs[:, 0].ravel(), pairs[:, 1].ravel(), strict=True)}
    assert met == {(0, 0), (2, 3), (3, 2)}


def test_one_attribute_leaves_mixing_across_classes() -> None:
    group = np.repeat(np.arange(15), 4)
    got = asked(group, classes=15, attributes=1)
    (label,) = got.warnings
    assert "for 0/0, 1/0, 2/0, 3/0, 4/0 and 10 more (15 of 15 groups)" in label
    pairs = group[drawn(got.pairs, 50)]
    assert (pairs[:, 0] != pairs[:, 1]).all()


def test_a_single_group_is_mixed_with_itself() -> None:
    group = np.zeros(5, dtype=int)
    got = asked(group)
    assert len(got.warnings) == 3
    assert drawn(got.pairs, 20).max() <= 4


# settings


def test_it_needs_the_groups_of_train() -> None:
    assert LISA.needs.describe() == "train groups"
