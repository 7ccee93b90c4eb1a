"""Group accuracies against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aspire.classification.metrics import CorrectByExample, group_metrics
from aspire.data.groups import Grouper

GROUPER = Grouper(["cat", "dog"], ["land", "water"])

# cat/land 3 of 4, cat/water 1 of 2, dog/land 1 of 1, dog/water 1 of 3
CORRECT = np.array([1, 1, 1, 0, 1, 0, 1, 1, 0, 0], bool)
Y = np.array([0] * 6 + [1] * 4)
GROUP = np.array([0] * 4 + [1] * 2 + [2] + [3] * 3)
TRAIN = [70, 10, 5, 15]


def test_all_by_hand() -> None:
    m = group_metrics(CORRECT, Y, GROUP, GROUPER, TRAIN)
    assert m.acc == pytest.approx(0.6)
    assert m.acc_balanced == pytest.approx((3 / 4 + 1 / 2 + 1 + 1 / 3) / 4)
    # 0.70 * 0.75 + 0.10 * 0.5 + 0.05 * 1 + 0.15 / 3
    assert m.acc_adjusted == pytest.approx(0.675)
    assert (m.worst_group, m.worst_group_acc) == ("dog/water", pytest.approx(1 / 3))
    assert m.worst_class_acc == pytest.approx(2 / 4)  # cats 4 of 6, dogs 2 of 4
    assert m.groups == {
        "cat/land": (0.75, 4),
        "cat/water": (0.5, 2),
        "dog/land": (1.0, 1),
        "dog/water": (pytest.approx(1 / 3), 3),
    }
    assert m.absent == []


def test_absent_group_counts_nowhere() -> None:
    here = GROUP != 3
    m = group_metrics(CORRECT[here], Y[here], GROUP[here], GROUPER, TRAIN)
    assert m.groups["dog/water"] == (None, 0)
    assert m.absent == ["dog/water"]
    assert (m.worst_group, m.worst_group_acc) == ("cat/water", 0.5)
    assert m.acc_balanced == pytest.approx((0.75 + 0.5 + 1) / 3)
    assert m.acc_adjusted == pytest.approx((70 * 0.75 + 10 * 0.5 + 5 * 1) / 85)


@pytest.mark.parametrize("unknown", [slice(0, 1), slice(0, None)])
def test_one_unknown_group_makes_the_group_numbers_unknown(unknown: slice) -> None:
    group = GROUP.copy()
    group[unknown] = -1
    m = group_metrics(CORRECT, Y, group, GROUPER, TRAIN)
    assert m.acc == pytest.approx(0.6)
    assert m.worst_class_acc == pytest.approx(0.5)
    assert m.acc_balanced is m.acc_adjusted is m.worst_group is m.worst_group_acc is None
    assert all(accuracy is None for accuracy, _ in m.groups.values())


def test_no_training_counts_no_adjusted_average() -> None:
    assert group_metrics(CORRECT, Y, GROUP, GROUPER).acc_adjusted is None
    # all present groups were absent from training
    assert group_metrics(CORRECT, Y, GROUP, GROUPER, [0, 0, 0, 0]).acc_adjusted is None


def test_order_of_the_examples_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(10)
    a = group_metrics(CORRECT, Y, GROUP, GROUPER, TRAIN)
    assert group_metrics(CORRECT[order], Y[order], GROUP[order], GROUPER, TRAIN) == a


def test_renaming_the_attributes_permutes_the_groups() -> None:
    swapped = np.array([1, 0, 3, 2])[GROUP]
    a = group_metrics(CORRECT, Y, GROUP, GROUPER)
    b = group_metrics(CORRECT, Y, swapped, Grouper(["cat", "dog"], ["water", "land"]))
    assert b.groups == a.groups
    assert b.worst_group == a.worst_group


def test_names_are_the_promised_ones() -> None:
    flat = group_metrics(CORRECT, Y, GROUP, GROUPER, TRAIN).flat("test")
    assert flat["test/worst_group_acc"] == pytest.approx(1 / 3)
    assert flat["test/group/cat/land/acc"] == 0.75
    assert flat["test/group/cat/land/n"] == 4
    unknown = group_metrics(CORRECT, Y, np.full(10, -1), GROUPER, TRAIN).flat("val")
    assert set(unknown) == {
        "val/acc",
        "val/worst_class_acc",
        *(f"val/group/{n}/n" for n in GROUPER.names),
    }


def test_random_split_against_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    y, place, correct = rng.integers(0, 2, 300), rng.integers(0, 2, 300), rng.random(300) < 0.7
    m = group_metrics(correct, y, GROUPER.ids(y, place), GROUPER, TRAIN)
    expected = {}
    for label, cls in enumerate(("cat", "dog")):
        for where, attribute in enumerate(("land", "water")):
            hits = [
                c for c, a, b in zip(correct, y, place, strict=True) if (a, b) == (label, where)
            ]
            expected[f"{cls}/{attribute}"] = (sum(hits) / len(hits), len(hits))
    assert {k: (pytest.approx(a), n) for k, (a, n) in expected.items()} == m.groups
    assert m.worst_group_acc == pytest.approx(min(a for a, _ in expected.values()))


def test_repeated_examples_count_once() -> None:
    book = CorrectByExample(5)
    # two processes, padded to six: example 0 appears twice
    book.update(torch.tensor([1, 0, 1]), torch.tensor([1, 1, 1]), torch.tensor([0, 2, 4]))
    book.update(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), torch.tensor([1, 3, 0]))
    correct = book.compute()
    assert correct.tolist() == [True, True, False, False, True]
    assert correct.mean() == pytest.approx(3 / 5)


def test_missing_example_is_an_error() -> None:
    book = CorrectByExample(4)
    book.update(torch.tensor([1, 1]), torch.tensor([1, 0]), torch.tensor([0, 3]))
    with pytest.raises(RuntimeError, match=r"2 of 4 examples were not evaluated.*Do not limit"):
        book.compute()


def test_reset_forgets() -> None:
    book = CorrectByExample(2)
    book.update(torch.tensor([1, 1]), torch.tensor([1, 1]), torch.tensor([0, 1]))
    book.reset()
    with pytest.raises(RuntimeError, match="2 of 2"):
        book.compute()


def test_book_is_not_in_the_weights() -> None:
    assert CorrectByExample(4).state_dict() == {}
