"""The two seams of a training method.

An :class:`Objective` is what one step minimises. A :class:`Baseline` is which fits happen, on what
and in what order, told through a :class:`RunContext`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch
from aspire.data.image_table import ImageTable
from aspire.data.table import Split


@dataclass(frozen=True)
class Needs:
    """What a method must be told; checked before training and shown beside its numbers."""

    train_groups: bool = False
    val_groups: bool = False

    def describe(self) -> str:
        """For tables: "train+val groups", "none", ..."""
        parts = [n for n, on in (("train", self.train_groups), ("val", self.val_groups)) if on]
        return f"{'+'.join(parts)} groups" if parts else "none"


@dataclass(frozen=True)
class DatasetInfo:
    """The sizes an objective may depend on."""

    num_classes: int
    num_groups: int
    num_train: int
    group_counts: tuple[int, ...]  # training images per group; zeros where groups are hidden
    class_names: Sequence[str]
    group_names: Sequence[str]


@dataclass(frozen=True)
class StepOutput:
    """What a step gives back."""

    loss: Tensor  # ()
    logits: Tensor  # (B, K)
    scalars: dict[str, Tensor] = field(default_factory=dict)  # () each, logged under train/


class Objective(nn.Module):
    """What one training step minimises.

    Every tensor it carries is a buffer and every network a submodule, so that its state moves
    between devices and is in the checkpoints.
    """

    def setup(self, info: DatasetInfo, net: Classifier) -> None:
        """Called once before training, before a checkpoint is loaded; makes the state."""

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        """The loss of one batch."""
        raise NotImplementedError


class RunContext(Protocol):
    """The whole vocabulary of a baseline."""

    info: DatasetInfo
    train: ImageTable
    seed: int

    def fit(
        self,
        phase: str,
        objective: Objective,
        *,
        net: Classifier | None = None,
        train: ImageTable | None = None,
        sample_weights: NDArray[np.float64] | None = None,
        steps: int | None = None,
    ) -> Classifier:
        """Train a fresh network (or ``net``) and return it with the selected weights.

        Args:
            phase: names the checkpoints and metrics of this fit; unique within a run.
            objective: what to minimise.
            net: continue from this network instead of a fresh one.
            train: another table than ``self.train``.
            sample_weights: (N,) draw rows in proportion, with replacement.
            steps: optimiser steps, if not the configured number.
        """
        ...

    def predict(self, net: Classifier, split: Split) -> Tensor:
        """(N,) int64 class ids, row i = example i of that split."""
        ...

    def features(self, net: Classifier, split: Split) -> Tensor:
        """(N, D) float32 penultimate features, row i = example i of that split."""
        ...


class Baseline(Protocol):
    """A training method."""

    needs: ClassVar[Needs]

    def run(self, ctx: RunContext) -> Classifier:
        """Train and return the classifier to be judged."""
        ...
