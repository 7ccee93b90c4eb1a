"""Mixup: cross-entropy on blends of two images and their labels, no group labels.

Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, section 2: one
lambda ~ Beta(alpha, alpha) a batch, which is mixed with a permutation of itself.

Deviations: none.

Nothing is found out; real and generated images of a batch are mixed with one another.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Gamma
from torch.nn import functional as F

from aspire.baselines.base import Needs, Objective, RunContext, StepOutput
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch
from aspire.values import Positive


class MixupLoss(Objective):
    """Mean cross-entropy of ``lambda x_i + (1 - lambda) x_j`` for both labels, in proportion.

    Args:
        alpha: of the Beta distribution of lambda, more than 0. The smaller, the less is mixed.
    """

    whole_images: ClassVar[bool] = True

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        mine = beta(self.alpha, 1).to(batch.image)
        other = torch.randperm(len(batch.y)).to(batch.y.device)
        logits = net(blend(batch.image, batch.image[other], mine))
        return StepOutput(soft_cross_entropy(logits, batch.y, batch.y[other], mine), logits)


class Mixup:
    """One fit with :class:`MixupLoss`.

    Args:
        alpha: of the Beta distribution of lambda, more than 0 (0.2: SubpopBench; Zhang et al.:
            0.1 to 0.4 on ImageNet).

    Raises:
        ConfigError: for another value.
    """

    needs: ClassVar[Needs] = Needs()

    def __init__(
        self,
        alpha: Positive = 0.2,
    ) -> None:
        self.alpha = alpha

    def run(self, ctx: RunContext) -> Classifier:
        return ctx.fit("train", MixupLoss(self.alpha))


def beta(alpha: float, number: int) -> Tensor:
    """(number,) float64 on the CPU, from Beta(alpha, alpha).

    Drawn there, whatever the device, so that all devices mix alike. X / (X + Y) of two gamma
    variables, in logarithms: of a small alpha both are 0 in floating point, and torch's own sample
    is then 1/2. For each, Gamma(alpha) = Gamma(alpha + 1) U^(1 / alpha), and -ln U is exponential.
    """
    larger = torch.full((2, number), alpha + 1, dtype=torch.float64)
    log = Gamma(larger, 1.0).sample().log() - torch.empty_like(larger).exponential_() / alpha
    return torch.sigmoid(log[0] - log[1])


def blend(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """``share a + (1 - share) b``; (B, 3, S, S) each and (B,) or (1,) shares of ``a``."""
    share = share[:, None, None, None]
    return share * a + (1 - share) * b


def soft_cross_entropy(logits: Tensor, a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Mean cross-entropy for a label that is ``a`` by ``share`` and otherwise ``b``.

    Args:
        logits: (B, K).
        a, b: (B,) classes.
        share: (B,) or (1,) in [0, 1].
    """
    of_a = F.cross_entropy(logits, a, reduction="none")
    of_b = F.cross_entropy(logits, b, reduction="none")
    return (share * of_a + (1 - share) * of_b).mean()
