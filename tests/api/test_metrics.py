"""Group metrics as torchmetrics classes: values worked by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aspire import metrics

# group 0: 3 of 4 right; 1: 1 of 2; 2: nobody; 3: 2 of 2
PREDS = torch.tensor([0, 0, 0, 1, 1, 0, 1, 1])
TARGET = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
GROUPS = torch.tensor([0, 0, 0, 0, 1, 1, 3, 3])
TRAIN = [60, 10, 20, 10]  # without group 2 the shares are 6/8, 1/8, 1/8

EXPECTED = {
    "worst_group_accuracy": 0.5,
    "balanced_group_accuracy": 0.75,
    "adjusted_group_accuracy": 0.75 * 6 / 8 + 0.5 / 8 + 1 / 8,
}
CLASSES = {
    "worst_group_accuracy": metrics.WorstGroupAccuracy,
    "balanced_group_accuracy": metrics.BalancedGroupAccuracy,
    "adjusted_group_accuracy": metrics.AdjustedGroupAccuracy,
}


def test_each_group() -> None:
    found = metrics.group_accuracy(PREDS, TARGET, GROUPS, 4)
    assert found.tolist()[:2] == [0.75, 0.5]
    assert found[2].isnan()
    assert found[3] == 1


@pytest.mark.parametrize("name", EXPECTED)
def test_a_function_and_its_class_agree_however_it_is_batched(name: str) -> None:
    last = TRAIN if name.startswith("adjusted") else 4
    function = getattr(metrics, name)
    assert function(PREDS, TARGET, GROUPS, last).item() == pytest.approx(EXPECTED[name])
    scores = torch.nn.functional.one_hot(PREDS, 2).float()
    assert function(scores, TARGET, GROUPS, last).item() == pytest.approx(EXPECTED[name])
    metric = CLASSES[name](last)  # type: ignore[arg-type]  # G, or their counts
    for part in torch.arange(8).split(3):  # batches that lack groups
        metric.update(PREDS[part], TARGET[part], GROUPS[part])
    assert metric.compute().item() == pytest.approx(EXPECTED[name])
    metric.reset()
    metric.update(PREDS[6:], TARGET[6:], GROUPS[6:])
    assert metric.compute() == 1


def test_without_an_example_nothing_is_known() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    assert metrics.worst_group_accuracy(none, none, none, 4).isnan()
    assert metrics.adjusted_group_accuracy(none, none, none, TRAIN).isnan()


@pytest.mark.parametrize(
    ("preds", "groups", "text"),
    [
        (PREDS, GROUPS - 1, "groups holds -1 to 2; expected 0 to 3"),
        (PREDS, GROUPS + 1, "groups holds 1 to 4; expected 0 to 3"),
        (PREDS[:2], GROUPS, r"shapes \(2,\), \(8,\) and \(8,\); expected \(N,\) each"),
    ],
)
def test_mistakes(preds: Tensor, groups: Tensor, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        metrics.group_accuracy(preds, TARGET, groups, 4)
