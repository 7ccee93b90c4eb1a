"""Group metrics as torchmetrics classes, each with its function.

They are those of every table and report of ASPIRE, over the groups that are present. Of a group
without an example nothing is known: its accuracy is NaN, and it takes no part in a worst or a mean.

>>> preds, target = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 0])
>>> groups = torch.tensor([0, 0, 2, 1])
>>> group_accuracy(preds, target, groups, num_groups=4)
tensor([1., 0., 1., nan])
>>> worst = WorstGroupAccuracy(num_groups=4)
>>> worst.update(preds[:2], target[:2], groups[:2])  # a batch may lack groups
>>> worst.update(preds[2:], target[2:], groups[2:])
>>> worst.compute()
tensor(0.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


def group_accuracy(preds: Tensor, target: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """Accuracy in each group.

    Args:
        preds: (N,) classes, or (N, K) scores of which the largest counts.
        target: (N,) classes.
        groups: (N,) from 0 to ``num_groups - 1``.
        num_groups: G.

    Returns:
        (G,) float32 in [0, 1]; NaN for a group without an example.

    Raises:
        ValueError: for shapes that do not go together, or a group outside; -1, "unknown", too: one
            unknown group makes every group's accuracy unknown.
    """
    return _shares(*_counts(preds, target, groups, num_groups))


def worst_group_accuracy(preds: Tensor, target: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """The lowest accuracy of a group that is present: () float32; see :func:`group_accuracy`."""
    return _worst(group_accuracy(preds, target, groups, num_groups))


def balanced_group_accuracy(
    preds: Tensor, target: Tensor, groups: Tensor, num_groups: int
) -> Tensor:
    """The mean accuracy of the groups that are present: () float32; see :func:`group_accuracy`."""
    return group_accuracy(preds, target, groups, num_groups).nanmean()


def adjusted_group_accuracy(
    preds: Tensor, target: Tensor, groups: Tensor, train_counts: Sequence[int] | Tensor
) -> Tensor:
    """Group accuracies weighted by the groups' shares of the training images.

    The "average" of the Waterbirds literature (Sagawa et al. 2020): test splits there have another
    proportion of groups than the training split.

    Args:
        preds, target, groups: see :func:`group_accuracy`.
        train_counts: (G,) training images of each group; a group that is absent here takes no part,
            and the other shares are scaled up.

    >>> preds, target = torch.tensor([1, 0, 0]), torch.tensor([1, 0, 1])
    >>> adjusted_group_accuracy(preds, target, torch.tensor([0, 1, 2]), [70, 20, 10])
    tensor(0.9000)
    """
    counts = torch.as_tensor(train_counts)
    return _adjusted(group_accuracy(preds, target, groups, len(counts)), counts)


class GroupAccuracy(Metric):
    """See :func:`group_accuracy`; counts are summed over batches and processes.

    A sampler that repeats examples so that processes have equally many counts them twice; ASPIRE's
    own evaluation books each example once.

    Args:
        num_groups: G.
        **kwargs: of :class:`torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    correct: Tensor
    total: Tensor

    def __init__(self, num_groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_groups = num_groups
        for name in ("correct", "total"):
            zeros = torch.zeros(num_groups, dtype=torch.int64)
            self.add_state(name, default=zeros, dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, groups: Tensor) -> None:
        """Count a batch; it may lack groups."""
        correct, total = _counts(preds, target, groups, self.num_groups)
        self.correct += correct
        self.total += total

    def compute(self) -> Tensor:
        """(G,) float32 in [0, 1]; NaN for a group without an example."""
        return _shares(self.correct, self.total)


class WorstGroupAccuracy(GroupAccuracy):
    """See :func:`worst_group_accuracy`; arguments as :class:`GroupAccuracy`."""

    def compute(self) -> Tensor:
        """() float32 in [0, 1]; NaN without any example."""
        return _worst(super().compute())


class BalancedGroupAccuracy(GroupAccuracy):
    """See :func:`balanced_group_accuracy`; arguments as :class:`GroupAccuracy`."""

    def compute(self) -> Tensor:
        """() float32 in [0, 1]; NaN without any example."""
        return super().compute().nanmean()


class AdjustedGroupAccuracy(GroupAccuracy):
    """See :func:`adjusted_group_accuracy`.

    Args:
        train_counts: (G,) training images of each group.
        **kwargs: of :class:`torchmetrics.Metric`.
    """

    train_counts: Tensor

    def __init__(self, train_counts: Sequence[int] | Tensor, **kwargs: Any) -> None:
        super().__init__(len(train_counts), **kwargs)
        self.register_buffer("train_counts", torch.as_tensor(train_counts), persistent=False)

    def compute(self) -> Tensor:
        """() float32 in [0, 1]; NaN without any example of a group that was trained on."""
        return _adjusted(super().compute(), self.train_counts)


def _counts(
    preds: Tensor, target: Tensor, groups: Tensor, num_groups: int
) -> tuple[Tensor, Tensor]:
    """(G,) int64 right examples, and all."""
    if preds.ndim == 2:
        preds = preds.argmax(1)
    if not preds.shape == target.shape == groups.shape or preds.ndim != 1:
        raise ValueError(
            f"preds, target and groups have shapes {tuple(preds.shape)}, {tuple(target.shape)} and "
            f"{tuple(groups.shape)}; expected (N,) each, or (N, K) scores as preds."
        )
    if len(groups) and (int(groups.min()) < 0 or int(groups.max()) >= num_groups):
        raise ValueError(
            f"groups holds {int(groups.min())} to {int(groups.max())}; expected 0 to "
            f"{num_groups - 1} (num_groups={num_groups}). Where the group of an example is "
            "unknown, so is the accuracy in every group."
        )
    groups = groups.long()
    total = torch.bincount(groups, minlength=num_groups)
    return torch.bincount(groups[preds == target], minlength=num_groups), total


def _shares(correct: Tensor, total: Tensor) -> Tensor:
    return correct.float() / total  # 0 / 0 is NaN


def _worst(shares: Tensor) -> Tensor:
    known = shares[~shares.isnan()]
    return known.min() if len(known) else shares.new_tensor(float("nan"))


def _adjusted(shares: Tensor, counts: Tensor) -> Tensor:
    known = ~shares.isnan()
    weights = counts.to(shares)[known]
    return (shares[known] * weights).sum() / weights.sum()
