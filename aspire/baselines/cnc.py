"""CnC: pull images of a class together that a first ERM tells apart, push off its look-alikes.

Source: Zhang et al., "Correct-N-Contrast: A Contrastive Approach for Improving Robustness to
Spurious Correlations", ICML 2022, with its two-sided contrastive batches.

Deviations: the reference's predictions themselves define the cells, as in the paper (the authors'
code clusters its features unless told otherwise). Batch normalisation is in training mode, since
the network learns from these batches alone (the authors' code sets the encoder to evaluation).
Cells are drawn from with replacement, so that a small one does not shrink the tuples. A step holds
about ``fit.batch_size`` images (the authors add up the gradients of 32 tuples, as does
``fit.accumulate=32``). The cross-entropy is of all images of a batch; where ``positives`` and
``negatives`` differ, the authors cut it to as many of each kind as the smaller of the two. The
reference is this run's ERM, stopped early instead of held back by a strong weight decay; it makes a
step of every batch, however many of them a step of the tuples has. With ``start=reference`` the
second network goes on from the weights of the first instead of fresh ones: tuples of few images
each show few of many classes a batch, from which a network without pretrained weights learns badly.

The reference is of the real images alone; the tuples are of the mixture. A generated image lies in
the cell that this reference puts it in: one without the shortcut is a positive or a hard negative.
"""

from __future__ import annotations

import copy
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from aspire.baselines.base import Needs, Objective, RunContext, StepOutput
from aspire.baselines.erm import CrossEntropy
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch
from aspire.data.table import Split
from aspire.values import Count, Fraction, Positive


class ContrastiveDraw:
    """Draws the rows of a batch: tuples of anchors, positives, negatives and easy negatives.

    With c the class of a tuple and f the reference's prediction:

    - anchors: rows of class c with f = c;
    - positives, as many: rows of class c with f != c;
    - negatives: rows of other classes with f = c;
    - easy negatives, as many: rows of class k with f = k, where k is f of the first positive.

    The classes take turns, as in the authors' loader. An empty cell is filled without its condition
    on f: positives are any rows of class c, negatives of either kind any rows of other classes (the
    easy ones first any of those with f = k). A class without one correct prediction is anchored at
    its most frequent wrong one, which then stands for c in "f = c" and "f != c".

    Args:
        y, predicted: (N,) classes and the reference's predictions; two classes at least.
        tuples: in a batch, at least 1.
        positives, negatives: in a tuple, at least 1.
        weight: (N,) rows of a cell are drawn in proportion, or None.

    Attributes:
        rows: in a batch.
        empty: kind of cell -> classes whose tuples do without it.
    """

    def __init__(
        self,
        y: NDArray[np.int64],
        predicted: NDArray[np.int64],
        tuples: int,
        positives: int,
        negatives: int,
        weight: NDArray[np.float64] | None = None,
    ) -> None:
        self.predicted = predicted
        self.tuples = tuples
        self.numbers = (positives, negatives)
        self.weight = weight
        self.rows = tuples * 2 * (positives + negatives)
        self.empty: dict[str, list[int]] = {}
        self.anchors: dict[int, NDArray[np.int64]] = {}
        self.positives: dict[int, NDArray[np.int64]] = {}
        self.negatives: dict[int, NDArray[np.int64]] = {}
        self.easy: dict[tuple[int, int], NDArray[np.int64]] = {}
        usable = np.ones(len(y), dtype=bool) if weight is None else weight > 0
        self.classes: list[int] = np.unique(y[usable]).tolist()
        for c in self.classes:
            own, other = usable & (y == c), usable & (y != c)
            f = c
            if not (own & (predicted == c)).any():
                self._note("anchors", c)
                f = int(np.bincount(predicted[own]).argmax())
            self.anchors[c] = np.flatnonzero(own & (predicted == f))
            self.positives[c] = self._rows("positives", c, own & (predicted != f), own)
            self.negatives[c] = self._rows("negatives", c, other & (predicted == f), other)
            for k in np.unique(predicted[self.positives[c]]).tolist():
                alike = other & (predicted == k)
                right = alike & (y == k)
                wanted = right if right.any() else alike
                self.easy[c, k] = self._rows("easy negatives", c, wanted, other)

    def _rows(
        self, kind: str, c: int, wanted: NDArray[np.bool_], instead: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        if wanted.any():
            return np.flatnonzero(wanted)
        self._note(kind, c)
        return np.flatnonzero(instead)

    def _note(self, kind: str, c: int) -> None:
        classes = self.empty.setdefault(kind, [])
        if c not in classes:
            classes.append(c)

    def __call__(self, rng: np.random.Generator, step: int) -> NDArray[np.int64]:
        """(rows,) one tuple after another: anchors, positives, negatives, easy negatives."""
        positives, negatives = self.numbers
        drawn: list[NDArray[np.int64]] = []
        for number in range(step * self.tuples, (step + 1) * self.tuples):
            c = self.classes[number % len(self.classes)]
            anchors = self._pick(rng, self.anchors[c], positives)
            pulled = self._pick(rng, self.positives[c], positives)
            pushed = self._pick(rng, self.negatives[c], negatives)
            k = int(self.predicted[pulled[0]])
            easy = self._pick(rng, self.easy[c, k], negatives)
            drawn += [anchors, pulled, pushed, easy]
        return np.concatenate(drawn)

    def _pick(
        self, rng: np.random.Generator, cell: NDArray[np.int64], number: int
    ) -> NDArray[np.int64]:
        p = None if self.weight is None else self.weight[cell] / self.weight[cell].sum()
        return rng.choice(cell, number, p=p)


class CnCLoss(Objective):
    """Contrastive terms of the tuples of a batch, and the cross-entropy of all its images.

    ``w * mean over tuples of [L(a_1, P, N) + L(p_1, A, E)] + (1 - w) * cross-entropy`` with
    A, P, N, E the anchors, positives, negatives and easy negatives of a tuple and

    ``L(a, P, N) = -mean_{p in P} log(s(a, p) / (sum_{q in P} s(a, q) + sum_{n in N} s(a, n)))``

    where ``s(a, b) = exp(cosine(features of a, features of b) / temperature)``.

    Args:
        temperature: above 0.
        contrastive_weight: w, from 0 to 1.
        positives, negatives: as the batches were drawn by :class:`ContrastiveDraw`.
    """

    def __init__(
        self, temperature: Positive, contrastive_weight: Fraction, positives: Count, negatives: int
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.contrastive_weight = contrastive_weight
        self.numbers = [positives, positives, negatives, negatives]

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        features = net.features(batch.image)
        logits = net.head(features)
        tuples = features.reshape(-1, sum(self.numbers), features.shape[1])
        anchors, positives, negatives, easy = tuples.split(self.numbers, dim=1)
        contrastive = self._contrast(anchors[:, 0], positives, negatives)
        contrastive = contrastive + self._contrast(positives[:, 0], anchors, easy)
        entropy = F.cross_entropy(logits, batch.y)
        w = self.contrastive_weight
        scalars = {"contrastive": contrastive.detach(), "cross_entropy": entropy.detach()}
        return StepOutput(w * contrastive + (1 - w) * entropy, logits, scalars)

    def _contrast(self, anchor: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """L of (T, D) anchors, (T, M, D) positives and (T, N, D) negatives; mean over T."""
        others = torch.cat([positives, negatives], dim=1)
        similar = F.cosine_similarity(anchor.unsqueeze(1), others, dim=2) / self.temperature
        return -similar.log_softmax(dim=1)[:, : positives.shape[1]].mean()


INSTEAD = {
    "anchors": "is right about no image of {}. Those of its most frequent mistake are the anchors "
    "there. Try a larger baseline.reference.",
    "positives": "is wrong about no image of {}. Any image of the class is a positive there, which "
    "pulls nothing across a shortcut. Try a smaller baseline.reference.",
    "negatives": "mistakes no image of another class for {}. Any image of another class is a "
    "negative there. Try a smaller baseline.reference.",
    "easy negatives": "gives images of {} a prediction that it gives to no other class. Any image "
    "of another class is an easy negative there.",
}


class CnC:
    """A short ERM, then a fresh network on contrastive tuples made of its mistakes.

    Without any mistake there is nothing to contrast and the second fit is plain ERM, with a
    warning; what single empty cells mean is explained at :class:`ContrastiveDraw`, warned of, too.

    Args:
        temperature: of the contrastive terms, above 0 (paper: 0.1 Waterbirds, 0.05 CelebA).
        contrastive_weight: share of the contrastive terms, 0 to 1 (paper: 0.75).
        positives: and anchors in a tuple, at least 1 (paper: 17 Waterbirds, 64 CelebA).
        negatives: hard ones in a tuple, and as many easy ones, at least 1 (paper: as positives). A
            tuple of 2 * (positives + negatives) images is never cut, even if that is more than
            ``fit.batch_size``.
        reference: steps of the first ERM as a fraction of a whole fit, above 0.
        start: weights that the second network starts with: ``fresh`` ones, as the first had, or
            those of the ``reference``.

    Raises:
        ConfigError: for a value out of its range.
    """

    needs: ClassVar[Needs] = Needs()

    def __init__(
        self,
        temperature: Positive = 0.1,
        contrastive_weight: Fraction = 0.75,
        positives: Count = 8,
        negatives: Count = 8,
        reference: Positive = 0.2,
        start: Literal["fresh", "reference"] = "fresh",
    ) -> None:
        self.temperature = temperature
        self.contrastive_weight = contrastive_weight
        self.positives = positives
        self.negatives = negatives
        self.reference = reference
        self.start = start

    def run(self, ctx: RunContext) -> Classifier:
        steps = max(1, round(self.reference * ctx.steps)) * ctx.accumulate
        reference = ctx.real.erm(steps=steps, select="last", accumulate=1)
        predicted = ctx.remember(
            "reference_predictions", lambda: ctx.predict(reference, Split.TRAIN).numpy()
        )
        y, weight = ctx.train.y, ctx.train.weight
        own = ctx.train.is_real
        errors = int((predicted != y)[own].sum())
        ctx.record(reference_errors=errors)
        usable = slice(None) if weight is None else weight > 0
        if (predicted == y)[usable].all() or len(np.unique(y[usable])) < 2:
            ctx.warn(
                f"cnc: the reference ({steps} steps) is wrong on {errors} of {own.sum()} training "
                "images, which leaves nothing to contrast; the run is plain ERM. Try a smaller "
                "baseline.reference."
            )
            return ctx.fit("train", CrossEntropy())
        tuples = max(1, ctx.batch_size // (2 * (self.positives + self.negatives)))
        draw = ContrastiveDraw(y, predicted, tuples, self.positives, self.negatives, weight)
        ctx.record(tuples_per_step=tuples, images_per_step=draw.rows)
        for kind, classes in draw.empty.items():
            names = ", ".join(ctx.info.class_names[c] for c in classes)
            ctx.warn(f"cnc: the reference ({steps} steps) {INSTEAD[kind].format(names)}")
        if 4 * tuples < len(draw.classes):
            ctx.warn(
                f"cnc: a step holds {tuples} of the tuples and so images of few of the "
                f"{len(draw.classes)} classes, from which a network learns badly. Try smaller "
                "baseline.positives and baseline.negatives or a larger fit.batch_size."
            )
        loss = CnCLoss(self.temperature, self.contrastive_weight, self.positives, self.negatives)
        net = copy.deepcopy(reference) if self.start == "reference" else None
        return ctx.fit("train", loss, net=net, draw=draw)
