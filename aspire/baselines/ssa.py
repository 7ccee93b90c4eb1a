"""SSA: guess the attribute of the training images from a labelled part of val, then GroupDRO.

Source: Nam et al., "Spread Spurious Attribute: Improving Worst-group Accuracy with Spurious
Attribute Estimation", ICLR 2022. The attributes of val are a training signal here. The training
images are split into folds; for each, an attribute predictor learns from labelled val images and,
with pseudo-labels, from the other folds, and then labels the fold, whose images it never saw.
GroupDRO over (class, predicted attribute) follows.

A pseudo-label counts when the predictor is sure of it: the probability reaches a threshold that
keeps the groups (class, attribute) in balance. The smallest group, labelled and pseudo-labelled
images together, has the given threshold; that of each other group is so much higher that the group
is not larger.

Deviations, and choices where the description leaves room:

- Each image's probability and pseudo-label are those of the last time it was in a batch, and the
  thresholds follow from all of them at every step. Groups without a labelled image are capped but
  do not set the cap, which would be 0.
- The unlabelled loss is the sum over pseudo-labels that count, divided by all unlabelled images of
  the batch, so that few of them weigh little.
- A batch is half labelled and half unlabelled images, as far as there are as many, no image twice.
- Val is split within each group, since all of a small group could otherwise fall to one side.
- The last weights of a predictor are used, and not the best on the held-out part of val, since the
  evaluations of a fit judge classes. That part says how good the predictor is: recorded, warned of.

Predictors, folds and pseudo-labels are of the real images alone. GroupDRO learns from the mixture;
the generated images of a class, whose attribute nobody guesses, are a group of their own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from aspire.baselines.base import DatasetInfo, Needs, Objective, RunContext, StepOutput
from aspire.baselines.groupdro import GroupDROLoss
from aspire.baselines.rwg import group_balanced, listed
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch, Draw
from aspire.data.image_table import ImageTable
from aspire.data.table import Split
from aspire.errors import ConfigError
from aspire.values import FractionBelowOne, NonNegative, PositiveFraction, Several


class AttributeLoss(Objective):
    """Cross-entropy of the attribute: of labelled rows, and of pseudo-labels that count.

    The net has one output per attribute. No row may appear twice in a batch.

    Args:
        y: (M,) class of each row of the table that is trained on.
        attribute: (M,) its attribute, -1 where unlabelled.
        num_classes, num_attributes: how many there are.
        threshold: probability from which on a pseudo-label of the smallest group counts.

    State, by row: ``probability`` and ``guess`` of the last visit; 0 before it and where labelled.
    """

    y: Tensor
    attribute: Tensor
    labelled: Tensor
    probability: Tensor
    guess: Tensor

    def __init__(
        self,
        y: NDArray[np.int64],
        attribute: NDArray[np.int64],
        num_classes: int,
        num_attributes: int,
        threshold: float,
    ) -> None:
        super().__init__()
        self.num_attributes = num_attributes
        self.threshold = threshold
        known = attribute >= 0
        groups = y[known] * num_attributes + attribute[known]
        labelled = np.bincount(groups, minlength=num_classes * num_attributes)
        for name, value in (("y", y), ("attribute", attribute), ("labelled", labelled)):
            self.register_buffer(name, torch.tensor(value), persistent=False)

    def setup(self, info: DatasetInfo, net: Classifier) -> None:
        self.register_buffer("probability", torch.zeros(len(self.y)))
        self.register_buffer("guess", torch.zeros(len(self.y), dtype=torch.int64))

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        logits = net(batch.image)
        told = self.attribute[batch.row]
        known = told >= 0
        with torch.no_grad():
            probability, guess = logits.softmax(1).max(1)
            self.probability[batch.row] = torch.where(known, 0.0, probability)
            self.guess[batch.row] = torch.where(known, 0, guess)
            counts = self.accepted()[batch.row]
            weight = known / known.sum().clamp(min=1) + counts / (~known).sum().clamp(min=1)
        losses = F.cross_entropy(logits, torch.where(known, told, guess), reduction="none")
        used = counts.sum() / (~known).sum().clamp(min=1)
        return StepOutput((weight * losses).sum(), logits, {"pseudo_labels_used": used})

    def accepted(self) -> Tensor:
        """(M,) bool, whether the row's pseudo-label counts now."""
        rows = (self.probability >= self.threshold).nonzero()[:, 0]
        # the surest first within each group, and the groups one after another
        rows = rows[self.probability[rows].argsort(descending=True, stable=True)]
        group = self.y[rows] * self.num_attributes + self.guess[rows]
        order = group.argsort(stable=True)
        rows, group = rows[order], group[order]
        found = torch.bincount(group, minlength=len(self.labelled))
        size = (self.labelled + found)[self.labelled > 0].min()
        room = (size - self.labelled).clamp(min=0)
        rank = torch.arange(len(rows), device=rows.device) - (found.cumsum(0) - found)[group]
        result = torch.zeros_like(self.probability, dtype=torch.bool)
        result[rows[rank < room[group]]] = True
        return result


class SSA:
    """Attribute predictors for each fold, then GroupDRO over (class, predicted attribute).

    Args:
        infer: length of each predictor's training as a fraction of the run's steps, in (0, 1].
        val_fraction: part of val that is held out to judge the predictors, in [0, 1); the rest
            trains them.
        threshold: probability from which on a pseudo-label of the smallest group counts, in (0, 1]
            (SpuCo: 0.95).
        folds: of the training images, at least 2 (SpuCo: 3).
        eta: step size of the group weights, at least 0 (GroupDRO's authors: 0.01).

    Raises:
        ConfigError: for a value outside its range.
    """

    needs: ClassVar[Needs] = Needs(val_groups=True)

    def __init__(
        self,
        infer: PositiveFraction = 0.5,
        val_fraction: FractionBelowOne = 0.5,
        threshold: PositiveFraction = 0.95,
        folds: Several = 3,
        eta: NonNegative = 0.01,
    ) -> None:
        self.infer = infer
        self.val_fraction = val_fraction
        self.threshold = threshold
        self.folds = folds
        self.eta = eta

    def run(self, ctx: RunContext) -> Classifier:
        attributes = ctx.info.num_groups // ctx.info.num_classes
        if attributes < 2:
            raise ConfigError(
                "baseline=ssa predicts the spurious attribute and this dataset has one value of "
                "it. Use a method that needs no groups, such as baseline=jtt."
            )
        train = ctx.real.train
        if len(train) < self.folds:
            raise ConfigError(
                f"baseline.folds={self.folds}: expected at most the number of training images, "
                f"{len(train)}."
            )
        val = ctx.table(Split.VAL)
        labelled, held_out = split_evenly(val.group, self.val_fraction, ctx.rng("ssa-val"))
        told, judge = val.take(labelled), val.take(held_out)
        order = ctx.rng("ssa-folds").permutation(len(train))
        guess = np.zeros(len(train), dtype=np.int64)
        accuracies = []
        for number, fold in enumerate(np.array_split(order, self.folds)):
            rest = train.take(np.setdiff1d(order, fold))
            net = self._predictor(ctx, f"attributes-{number}", told, rest, attributes)
            guess[fold] = predict(ctx, net, train.take(fold), f"fold-{number}")
            if len(judge):
                right = predict(ctx, net, judge, f"held-out-{number}") == judge.group % attributes
                accuracies.append([right[judge.group == g].mean() for g in np.unique(judge.group)])
        found = train.y * attributes + guess
        self._report(ctx, told, accuracies, found)
        groups = ctx.train.widened(found, ctx.info.num_groups + ctx.train.y)
        weights = group_balanced(replace(ctx.train, group=groups))
        return ctx.fit("train", GroupDROLoss(self.eta), groups=groups, sample_weights=weights)

    def _predictor(
        self, ctx: RunContext, phase: str, told: ImageTable, rest: ImageTable, attributes: int
    ) -> Classifier:
        """A network that tells the attributes apart.

        Args:
            phase: of its training.
            told: images with their groups.
            rest: images to pseudo-label.
            attributes: how many there are.
        """
        unknown = np.full(len(rest), -1)
        joint = ImageTable(
            told.paths + rest.paths,
            np.concatenate([told.y, rest.y]),
            np.concatenate([told.group, unknown]),
        )
        attribute = np.concatenate([told.group % attributes, unknown])
        return ctx.fit(
            phase,
            AttributeLoss(joint.y, attribute, ctx.info.num_classes, attributes, self.threshold),
            net=with_outputs(ctx.network(phase), attributes, ctx.rng(f"{phase}-head")),
            train=joint,
            draw=half_and_half(len(told), len(rest), ctx.batch_size, rest.weight),
            steps=max(1, round(self.infer * ctx.steps)),
            select="last",  # the evaluations on the way compare attributes with classes
        )

    def _report(
        self,
        ctx: RunContext,
        told: ImageTable,
        accuracies: list[list[float]],
        groups: NDArray[np.int64],
    ) -> None:
        """Record how the attributes were guessed and warn where they cannot be trusted.

        Args:
            told: the labelled images.
            accuracies: of each predictor, for each group that is held out.
            groups: (N,) pseudo group of each real training image.
        """
        info = ctx.info
        counts = np.bincount(groups, minlength=info.num_groups)
        ctx.record(
            labelled_images=len(told),
            attribute_accuracy=[float(np.mean(a)) for a in accuracies],
            attribute_worst_group=[float(min(a)) for a in accuracies],
            pseudo_groups={n: int(c) for n, c in zip(info.group_names, counts, strict=True)},
        )
        attributes = info.num_groups // info.num_classes
        labelled = np.bincount(told.group, minlength=info.num_groups)
        shown = labelled.reshape(-1, attributes).sum(0)
        if not shown.all():
            prefix = f"{info.class_names[0]}/"
            names = [
                info.group_names[a].removeprefix(prefix) for a in range(attributes) if not shown[a]
            ]
            ctx.warn(
                f"No labelled val image shows {listed(names)}, so SSA cannot find it in the "
                "training images. Add val images of it."
            )
        chance, accuracy = 1 / attributes, np.mean(accuracies) if accuracies else 1.0
        if accuracy < (1 + chance) / 2:
            ctx.warn(
                "SSA's attribute predictors are nearer to guessing than to knowing: accuracy "
                f"{accuracy:.2f} over the groups of held-out val images, where {chance:.2f} is "
                "chance. The pseudo groups are often wrong. Try a larger baseline.infer than "
                f"{self.infer}, or another optimizer.lr."
            )
        lost = [n for n, c, k in zip(info.group_names, counts, labelled, strict=True) if c == 0 < k]
        if lost:
            ctx.warn(
                f"SSA took no training image for {listed(lost)}, so GroupDRO does not protect it. "
                f"If there are such images, try a larger baseline.infer than {self.infer} or a "
                f"smaller baseline.threshold than {self.threshold}."
            )


def split_evenly(
    group: NDArray[np.int64], fraction: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn from and rows to hold out: ``fraction`` of each group, rounded down.

    Args:
        group: (N,) groups; rows of an unknown one (-1) are in neither part.
        fraction: in [0, 1).
        rng: decides which rows.

    >>> a, b = split_evenly(np.array([0, 0, 0, 1, -1]), 0.5, np.random.default_rng(0))
    >>> len(a), len(b), 3 in a
    (3, 1, True)
    """
    kept, held = [], []
    for g in np.unique(group[group >= 0]):
        rows = rng.permutation(np.flatnonzero(group == g))
        cut = int(fraction * len(rows))
        held.append(rows[:cut])
        kept.append(rows[cut:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(held))


def half_and_half(
    labelled: int, unlabelled: int, batch_size: int, weight: NDArray[np.float64] | None = None
) -> Draw:
    """Batches of distinct rows, half of them labelled where there are as many.

    Args:
        labelled: rows at the start of the table.
        unlabelled: rows after them.
        batch_size: rows in all; at least one of each kind.
        weight: (unlabelled,) draw these in proportion.
    """
    p = None if weight is None else weight / weight.sum()
    few = min(max(1, batch_size // 2), labelled)
    many = min(max(1, batch_size - few), unlabelled if p is None else np.count_nonzero(p))

    def draw(rng: np.random.Generator, step: int) -> NDArray[np.int64]:
        known = rng.choice(labelled, few, replace=False)
        return np.concatenate([known, labelled + rng.choice(unlabelled, many, replace=False, p=p)])

    return draw


def with_outputs(net: Classifier, outputs: int, rng: np.random.Generator) -> Classifier:
    """``net`` with a fresh head of that many outputs; ``rng`` decides its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        net.head = nn.Linear(net.head.in_features, outputs)
    return net


def predict(ctx: RunContext, net: Classifier, table: ImageTable, name: str) -> NDArray[np.int64]:
    """(N,) attribute of each image of a table, remembered under ``name``."""
    return ctx.remember(
        f"attributes-{name}", lambda: ctx.collect(net, table, lambda n, x: n(x).argmax(1)).numpy()
    )
