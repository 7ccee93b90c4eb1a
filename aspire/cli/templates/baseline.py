"""Blank: what it does, the paper with its equations, and where this deviates from them.

Nothing is found out; it learns from the mixture of real and generated images.
"""

from __future__ import annotations

from typing import ClassVar

from torch.nn import functional as F

from aspire.baselines.base import Needs, Objective, RunContext, StepOutput
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch
from aspire.values import NonNegative


class BlankLoss(Objective):
    """Cross-entropy plus ``strength`` times the mean square of the logits.

    Args:
        strength: weight of the penalty, at least 0.
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        logits = net(batch.image)
        loss = F.cross_entropy(logits, batch.y) + self.strength * logits.square().mean()
        return StepOutput(loss, logits)


class Blank:
    """One fit with :class:`BlankLoss`.

    Args:
        strength: weight of the penalty, at least 0.
    """

    needs: ClassVar[Needs] = Needs()

    def __init__(self, strength: NonNegative = 0.01) -> None:
        self.strength = strength

    def run(self, ctx: RunContext) -> Classifier:
        return ctx.fit("train", BlankLoss(self.strength))
