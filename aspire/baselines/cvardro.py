"""CVaR DRO: minimise the mean loss of the worst fraction of each batch, no group labels.

Source: Levy et al., "Large-Scale Methods for Distributionally Robust Optimization", NeurIPS 2020:
the conditional value at risk of a mini-batch in place of that of the whole distribution.

Deviations: none. The batch's value is a biased estimate, larger for larger batches; the authors
bound the bias and train on it as is done here.

Nothing is found out; the worst images of a batch are the worst of the mixture.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional as F

from aspire.baselines.base import Needs, Objective, RunContext, StepOutput
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch
from aspire.values import PositiveFraction


class CVaRLoss(Objective):
    """Mean of the largest ``alpha * B`` losses of a batch of B.

    Sorted downwards, each of the first ``floor(alpha B)`` losses weighs ``1 / (alpha B)`` and the
    next one what is left of 1. The weights are constants in the gradient.

    Args:
        alpha: the fraction, in (0, 1].
    """

    def __init__(self, alpha: PositiveFraction) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        logits = net(batch.image)
        losses = F.cross_entropy(logits, batch.y, reduction="none")
        size = self.alpha * len(losses)  # may well be below 1: then it is all of the largest loss
        rank = torch.arange(len(losses), dtype=losses.dtype, device=losses.device)
        weights = (size - rank).clamp(0, 1) / size
        return StepOutput((losses.sort(descending=True).values * weights).sum(), logits)


class CVaRDRO:
    """One fit with :class:`CVaRLoss`.

    Args:
        alpha: fraction of a batch that counts, in (0, 1]; 1 is ERM. Papers tune it: SubpopBench
            takes 0.1 of batches of 108. Ours is 0.2, six or seven images of a batch of 32.

    Raises:
        ConfigError: for a fraction outside.
    """

    needs: ClassVar[Needs] = Needs()

    def __init__(self, alpha: PositiveFraction = 0.2) -> None:
        self.alpha = alpha

    def run(self, ctx: RunContext) -> Classifier:
        if self.alpha * ctx.batch_size < 1:
            ctx.warn(
                f"baseline.alpha={self.alpha} of fit.batch_size={ctx.batch_size} is less than one "
                "image, so every step follows the one largest loss, and a single mislabelled image "
                f"can be that. Try baseline.alpha={1 / ctx.batch_size:.2g} or more, or larger "
                "batches."
            )
        return ctx.fit("train", CVaRLoss(self.alpha))
