"""LfF: a network that is pushed into the shortcut tells another which images to learn from.

Source: Nam et al., "Learning from Failure: Training Debiased Classifier from Biased Classifier",
NeurIPS 2020, Algorithm 1. The biased network minimises the generalised cross-entropy (Zhang and
Sabuncu 2018), which prefers what it already gets right; the other minimises the cross-entropy with
the relative difficulty ``W = l_b / (l_b + l_d)`` of each image as its weight. Smoothing and
normalisation of the two losses as in the authors' code: per image a moving average, divided by the
largest of its class.

As in that code the generalised cross-entropy is ``q p^q CE`` with ``q p^q`` held constant, whose
gradient is q times that of ``(1 - p^q) / q``.

Deviations:

- One optimiser for the sum of both losses, which share no gradient.
- An image that appears more than once in a batch counts there with the mean loss of its views; in
  the authors' code whichever is written last counts.
- Where all of a class has loss 0, its images weigh 0 instead of dividing 0 by 0.

The biased network and the difficulties are of the real images alone. The other network learns from
the mixture; a generated image, which has no difficulty, weighs what the real ones of its batch
weigh on average.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from aspire.baselines.base import DatasetInfo, Needs, Objective, RunContext, StepOutput
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch
from aspire.values import FractionBelowOne, PositiveFraction

EPSILON = 1e-8  # authors': keeps W finite where both losses are 0


class LfFLoss(Objective):
    """``mean(q p_b^q CE_b) + mean(W CE_d)``, the factors held constant.

    Args:
        biased: the network that learns the shortcut; the one trained beside it is the result.
        q: strength of the preference for easy images, in (0, 1].
        ema: share of the old value in the moving averages, in [0, 1).
        real: (N,) bool, the rows that have a difficulty; None for all.

    State, by row: ``label`` is -1 until the first visit; the averages start with the first loss.
    """

    label: Tensor
    loss_biased: Tensor
    loss_debiased: Tensor
    real: Tensor | None

    def __init__(
        self,
        biased: Classifier,
        q: PositiveFraction,
        ema: FractionBelowOne,
        real: NDArray[np.bool_] | None = None,
    ) -> None:
        super().__init__()
        self.biased = biased
        self.q = q
        self.ema = ema
        told = None if real is None else torch.from_numpy(real)
        self.register_buffer("real", told, persistent=False)
        self.whole_images = real is not None  # type: ignore[misc]  # the biased one sees a part

    def setup(self, info: DatasetInfo, net: Classifier) -> None:
        self.num_classes = info.num_classes
        self.register_buffer("label", torch.full((info.num_train,), -1))
        self.register_buffer("loss_biased", torch.zeros(info.num_train))
        self.register_buffer("loss_debiased", torch.zeros(info.num_train))

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        logits = net(batch.image)
        debiased = F.cross_entropy(logits, batch.y, reduction="none")
        own = slice(None) if self.real is None else self.real[batch.row].nonzero()[:, 0]
        judged = Batch(*(part[own] for part in batch))
        if not len(judged.y):
            return StepOutput(debiased.mean(), logits)
        biased = F.cross_entropy(self.biased(judged.image), judged.y, reduction="none")
        with torch.no_grad():
            ease = self.q * torch.exp(-biased) ** self.q
            seen = self.label[judged.row] >= 0
            self.label[judged.row] = judged.y
            difficulty_b = self._difficulty(self.loss_biased, biased, judged, seen)
            difficulty_d = self._difficulty(self.loss_debiased, debiased[own], judged, seen)
            found = difficulty_b / (difficulty_b + difficulty_d + EPSILON)
            weight = found.mean().repeat(len(debiased))
            weight[own] = found
        loss = (ease * biased).mean() + (weight * debiased).mean()
        scalars = {"weight": weight.mean(), "loss_biased": biased.detach().mean()}
        return StepOutput(loss, logits, scalars)

    def _difficulty(self, average: Tensor, loss: Tensor, batch: Batch, seen: Tensor) -> Tensor:
        """(B,) in [0, 1]: the updated averages, in terms of the largest of the class."""
        same = batch.row[:, None] == batch.row
        new = (same * loss).sum(1) / same.sum(1)  # all views of an image write the same value
        average[batch.row] = torch.where(
            seen, self.ema * average[batch.row] + (1 - self.ema) * new, new
        )
        # images not seen yet hold 0 and change no maximum, whatever class they are put to
        largest = average.new_zeros(self.num_classes).scatter_reduce(
            0, self.label.clamp(min=0), average, "amax"
        )[batch.y]
        return torch.where(largest > 0, average[batch.row] / largest, 0.0)


class LfF:
    """One fit with :class:`LfFLoss`, beside a second network of the same kind.

    Args:
        q: strength of the biased network's preference for easy images, in (0, 1] (authors: 0.7).
        ema: share of the old value in the moving averages of the losses, in [0, 1) (authors: 0.7).

    Raises:
        ConfigError: for a value outside its range.
    """

    needs: ClassVar[Needs] = Needs()

    def __init__(self, q: PositiveFraction = 0.7, ema: FractionBelowOne = 0.7) -> None:
        self.q = q
        self.ema = ema

    def run(self, ctx: RunContext) -> Classifier:
        biased = ctx.network("biased")
        return ctx.fit("train", LfFLoss(biased, self.q, self.ema, ctx.train.real))
