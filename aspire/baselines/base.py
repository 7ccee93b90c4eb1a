"""The two seams of a training method.

An :class:`Objective` is what one step minimises. A :class:`Baseline` is which fits happen, on what
and in what order, told through a :class:`RunContext`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch, Draw
from aspire.data.image_table import ImageTable
from aspire.data.pixels import PixelReader
from aspire.data.table import Split
from aspire.data.transforms import Preprocessing


@dataclass(frozen=True)
class Needs:
    """What a method must be given; checked before training and shown beside its numbers.

    Args:
        train_groups: the group of every training image.
        val_groups: the group of every val image, for more than choosing the checkpoint.
        target: images of the target distribution without their labels.
    """

    train_groups: bool = False
    val_groups: bool = False
    target: bool = False

    def describe(self) -> str:
        """For tables: "train+val groups", "val groups, unlabelled target", "none", ..."""
        parts = [n for n, on in (("train", self.train_groups), ("val", self.val_groups)) if on]
        told = [f"{'+'.join(parts)} groups"] if parts else []
        return ", ".join(told + ["unlabelled target"] * self.target) or "none"


@dataclass(frozen=True)
class DatasetInfo:
    """The sizes an objective may depend on."""

    num_classes: int
    num_groups: int
    num_train: int  # rows of the table that is trained on; Batch.row is below it
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

    It is written for one device. On several, each forwards its share of the images and ``net``
    gives back the outputs of all, so that loss and state are those of the whole batch.
    """

    whole_images: ClassVar[bool] = False  # mixes images, so every device needs all of the batch

    def setup(self, info: DatasetInfo, net: Classifier) -> None:
        """Called once before training, before a checkpoint is loaded; makes the state."""

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        """The loss of one batch."""
        raise NotImplementedError


class RunContext(Protocol):
    """The whole vocabulary of a baseline.

    Whatever a method does to find out (error sets, references, environments, biased networks,
    pseudo-labels, heat maps, held-out folds) sees real images: it asks ``ctx.real``. Whatever it
    does to learn sees the mixture of real and generated ones: it asks ``ctx``. Generated images
    lack the shortcut, so that what was trained on them does not show it any more.

    What it gives is the same when a killed run is started again: every random state follows from
    the seed and a name, finished phases are loaded and not trained.
    """

    info: DatasetInfo
    train: ImageTable  # real and generated images; groups are -1 unless the baseline needs them
    seed: int
    steps: int  # optimiser steps a whole fit has, unless told otherwise
    batch_size: int
    accumulate: int  # batches a step
    folder: Path  # of the run, for files a method makes
    preprocessing: Preprocessing  # of the model
    pixels: PixelReader
    device: torch.device

    @property
    def real(self) -> RunContext:
        """This run as it is without generated images; itself where there are none.

        ``ctx.real.train`` are the real rows of ``ctx.train``, in order and without weights, and
        ``ctx.real.erm()`` is the network that the run without augmentation trains. What is
        remembered, recorded and warned of is that of this run.
        """
        ...

    def network(self, name: str) -> Classifier:
        """A fresh network; its random parts follow from the seed and ``name``."""
        ...

    def fit(
        self,
        phase: str,
        objective: Objective,
        *,
        net: Classifier | None = None,
        train: ImageTable | None = None,
        groups: NDArray[np.int64] | None = None,
        sample_weights: NDArray[np.float64] | None = None,
        draw: Draw | None = None,
        steps: int | None = None,
        lr: float | None = None,
        weight_decay: float | None = None,
        select: str | None = None,
    ) -> Classifier:
        """Train ``net`` or a fresh network and return it with the selected weights.

        Args:
            phase: names the checkpoints and metrics of this fit; unique within a run.
            objective: what to minimise.
            net: continue from this network instead of ``network(phase)``.
            train: another table than ``self.train``.
            groups: (N,) groups the objective is told instead of the table's, from 0 on.
            sample_weights: (N,) draw rows in proportion, with replacement.
            draw: decides the rows of every batch instead.
            steps, lr, weight_decay: if not the configured ones.
            select: rule of :mod:`aspire.classification.selection`, if not the configured one.
        """
        ...

    def erm(
        self,
        *,
        rows: NDArray[np.int64] | None = None,
        steps: int | None = None,
        lr: float | None = None,
        weight_decay: float | None = None,
        select: str | None = None,
        accumulate: int | None = None,
    ) -> Classifier:
        """The ERM of this seed, trained once for all methods that start from it.

        Args:
            rows: train on these rows of ``self.train`` only.
            steps, lr, weight_decay, select: as for :meth:`fit`. The evaluation that counts may be
                another for each method; the training is shared all the same.
            accumulate: batches a step, if not as configured.
        """
        ...

    def table(self, split: Split) -> ImageTable:
        """``self.train``, or another split with its groups."""
        ...

    def predict(self, net: Classifier, split: Split) -> Tensor:
        """(N,) int64 class ids, row i = example i of that split, without random views."""
        ...

    def logits(self, net: Classifier, split: Split) -> Tensor:
        """(N, K) float32, row i = example i of that split, from :meth:`features`."""
        ...

    def features(self, net: Classifier, split: Split) -> Tensor:
        """(N, D) float32 penultimate features, row i = example i; computed once for all runs."""
        ...

    def collect(
        self, net: Classifier, table: ImageTable, fn: Callable[[Classifier, Tensor], Tensor]
    ) -> Tensor:
        """``fn(net, images)`` over a table, in evaluation mode without gradients: (N, ...)."""
        ...

    def score(
        self, predicted: NDArray[np.int64], rows: NDArray[np.int64] | None = None
    ) -> tuple[float, ...]:
        """How good predictions of the val split are under the run's selection rule.

        Args:
            predicted: (N,) classes of the val split, or of ``rows`` of it.

        Returns:
            A tuple; the larger one is better.
        """
        ...

    def rng(self, name: str) -> np.random.Generator:
        """A generator that follows from the seed and ``name``."""
        ...

    def remember(self, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """``make()``, or what it gave before this run was interrupted."""
        ...

    def record(self, **values: Any) -> None:
        """Plain values for ``result.json``: a chosen hyperparameter, the size of an error set."""
        ...

    def warn(self, text: str) -> None:
        """Say in the terminal and in ``result.json`` that this run is degenerate, and why."""
        ...


class Baseline(Protocol):
    """A training method."""

    needs: ClassVar[Needs]

    def run(self, ctx: RunContext) -> Classifier:
        """Train and return the classifier to be judged."""
        ...
