"""Group accuracies, written out: absent groups, padding and unknown groups are handled here.

Per-example state and not per-batch counts: an example that a distributed sampler repeats is counted
once, and a batch that lacks a group cannot be booked to another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aspire.data.groups import Grouper


@dataclass(frozen=True)
class GroupMetrics:
    """Accuracies of one split; fractions in [0, 1], None where it cannot be known.

    Args:
        acc: plain mean over the examples.
        acc_balanced: mean over the groups that are present.
        acc_adjusted: group accuracies weighted by the *training* shares of the groups, the
            "average" of the Waterbirds literature (Sagawa et al. 2020).
        worst_group, worst_group_acc: over the groups that are present.
        worst_class_acc: over the classes that are present; needs no group labels.
        groups: name -> (accuracy or None, number of examples).
        classes: the same for every class.
    """

    acc: float
    acc_balanced: float | None
    acc_adjusted: float | None
    worst_group: str | None
    worst_group_acc: float | None
    worst_class_acc: float
    groups: Mapping[str, tuple[float | None, int]]
    classes: Mapping[str, tuple[float | None, int]] = field(default_factory=dict)

    @property
    def worst_class(self) -> str | None:
        """The class of ``worst_class_acc``."""
        return next((k for k, (a, _) in self.classes.items() if a == self.worst_class_acc), None)

    @property
    def absent(self) -> list[str]:
        """Groups without an example in this split."""
        return [name for name, (_, n) in self.groups.items() if n == 0]

    def flat(self, split: str) -> dict[str, float]:
        """Under the names that are API: ``test/worst_group_acc``, ``test/group/<name>/acc``, ..."""
        values: dict[str, float | None] = {
            f"{split}/acc": self.acc,
            f"{split}/acc_balanced": self.acc_balanced,
            f"{split}/acc_adjusted": self.acc_adjusted,
            f"{split}/worst_group_acc": self.worst_group_acc,
            f"{split}/worst_class_acc": self.worst_class_acc,
        }
        for name, (accuracy, n) in self.groups.items():
            values[f"{split}/group/{name}/acc"] = accuracy
            values[f"{split}/group/{name}/n"] = n
        return {k: v for k, v in values.items() if v is not None}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``result.json``."""
        return {
            "acc": self.acc,
            "acc_adjusted": self.acc_adjusted,
            "acc_balanced": self.acc_balanced,
            "worst_group_acc": self.worst_group_acc,
            "worst_group": self.worst_group,
            "worst_class_acc": self.worst_class_acc,
            "worst_class": self.worst_class,
            "groups": {k: {"acc": a, "n": n} for k, (a, n) in self.groups.items()},
            "classes": {k: {"acc": a, "n": n} for k, (a, n) in self.classes.items()},
        }


def group_metrics(
    correct: NDArray[np.bool_],
    y: NDArray[np.int64],
    group: NDArray[np.int64],
    grouper: Grouper,
    train_counts: Sequence[int] | None = None,
) -> GroupMetrics:
    """All accuracies of a split from one truth value per example.

    Args:
        correct: (N,) whether example i was classified correctly.
        y: (N,) classes.
        group: (N,) groups, -1 unknown. One unknown group makes the group metrics unknown.
        grouper: names.
        train_counts: (G,) training images per group, for ``acc_adjusted``. A group that is absent
            here takes no part; the other shares are scaled up.

    >>> g = Grouper(["cat", "dog"], ["land", "water"])
    >>> m = group_metrics(np.array([1, 1, 0, 1], bool), np.array([0, 0, 1, 1]),
    ...                   np.array([0, 0, 2, 3]), g, [8, 0, 1, 1])
    >>> m.acc, m.worst_group, m.worst_group_acc, m.acc_balanced, m.acc_adjusted
    (0.75, 'dog/land', 0.0, 0.6666666666666666, 0.9)
    >>> m.absent
    ['cat/water']
    >>> m.worst_class, m.classes["dog"]
    ('dog', (0.5, 2))
    """
    classes = {}
    for index, name in enumerate(grouper.class_names):
        chosen = y == index
        classes[name] = (float(correct[chosen].mean()) if chosen.any() else None, int(chosen.sum()))
    known = bool((group >= 0).all())
    groups: dict[str, tuple[float | None, int]] = {}
    for index, name in enumerate(grouper.names):
        chosen = group == index
        n = int(chosen.sum()) if known else 0
        groups[name] = (float(correct[chosen].mean()) if n else None, n)
    present = {k: a for k, (a, n) in groups.items() if a is not None}
    worst = min(present, key=lambda k: present[k]) if present else None
    adjusted = None
    if present and train_counts is not None:
        weights = {k: c for k, c in zip(groups, train_counts, strict=True) if k in present}
        total = sum(weights.values())
        if total:
            adjusted = sum(present[k] * c for k, c in weights.items()) / total
    return GroupMetrics(
        acc=float(correct.mean()),
        acc_balanced=float(np.mean(list(present.values()))) if present else None,
        acc_adjusted=adjusted,
        worst_group=worst,
        worst_group_acc=present[worst] if worst is not None else None,
        worst_class_acc=min(float(correct[y == c].mean()) for c in np.unique(y)),
        groups=groups,
        classes=classes,
    )


class CorrectByExample(nn.Module):
    """Collects, during an evaluation epoch, whether each example was classified correctly.

    Args:
        size: examples in the split.

    State: (size,) int8, -1 not seen yet, 0 wrong, 1 right. Repeats of an example (padding of a
    distributed sampler) write the same entry.
    """

    seen: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("seen", torch.full((size,), -1, dtype=torch.int8), persistent=False)

    def reset(self) -> None:
        """Forget everything; called at the start of each epoch."""
        self.seen.fill_(-1)

    def update(self, predicted: Tensor, y: Tensor, index: Tensor) -> None:
        """Book a batch; all (B,), ``index`` the rows of the split's table."""
        self.seen[index] = (predicted == y).to(torch.int8)

    def compute(self) -> NDArray[np.bool_]:
        """(size,) truth values, merged over all processes.

        Raises:
            RuntimeError: when an example was not seen, since every number would be wrong.
        """
        seen = self.seen
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            seen = seen.to(torch.int32)
            torch.distributed.all_reduce(seen, torch.distributed.ReduceOp.MAX)
        missing = int((seen < 0).sum())
        if missing:
            raise RuntimeError(
                f"{missing} of {len(seen)} examples were not evaluated; the accuracies would be "
                "of another set. Do not limit the evaluation batches."
            )
        return np.asarray(seen.cpu().numpy() == 1)
