"""CutMix: cross-entropy on images with a box cut from another one, labels by area, no group labels.

Source: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
Features", ICCV 2019 (arXiv 1905.04899), section 3.1: one lambda ~ Beta(alpha, alpha) and one box a
batch, which is mixed with a permutation of itself. The box has sides ``sqrt(1 - lambda)`` of the
image's and its centre anywhere, so the edge may cut it; the labels are mixed by the area that is
left, as in the authors' code (clovaai/CutMix-PyTorch, train.py).

Deviations: none.

Nothing is found out; boxes go between real and generated images of a batch as they come.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional as F

from aspire.baselines.base import Needs, Objective, RunContext, StepOutput
from aspire.baselines.lisa import paste
from aspire.baselines.mixup import beta, soft_cross_entropy
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch
from aspire.values import Positive, PositiveFraction


class CutMixLoss(Objective):
    """Mean cross-entropy of ``x_i`` with a box of ``x_j``, for both labels in proportion.

    Args:
        alpha: of the Beta distribution of lambda, more than 0.
        probability: that a batch is mixed, in (0, 1].
    """

    whole_images: ClassVar[bool] = True

    def __init__(self, alpha: float, probability: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.probability = probability

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        if float(torch.rand(())) >= self.probability:  # on the CPU: all devices throw alike
            logits = net(batch.image)
            return StepOutput(F.cross_entropy(logits, batch.y), logits)
        other = torch.randperm(len(batch.y)).to(batch.y.device)
        images, left = paste(batch.image, batch.image[other], beta(self.alpha, 1))
        logits = net(images)
        mine = left.to(logits)
        return StepOutput(soft_cross_entropy(logits, batch.y, batch.y[other], mine), logits)


class CutMix:
    """One fit with :class:`CutMixLoss`.

    Args:
        alpha: of the Beta distribution of lambda, more than 0 (authors: 1, which is uniform).
        probability: that a batch is mixed, in (0, 1] (authors: 1 on ImageNet, 0.5 on CIFAR).

    Raises:
        ConfigError: for other values.
    """

    needs: ClassVar[Needs] = Needs()

    def __init__(
        self,
        alpha: Positive = 1.0,
        probability: PositiveFraction = 1.0,
    ) -> None:
        self.alpha = alpha
        self.probability = probability

    def run(self, ctx: RunContext) -> Classifier:
        return ctx.fit("train", CutMixLoss(self.alpha, self.probability))
