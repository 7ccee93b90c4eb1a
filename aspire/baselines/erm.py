"""Empirical risk minimisation: the mean cross-entropy, and the shortcuts that come with it.

Nothing is found out; it learns from the mixture of real and generated images.
"""

from __future__ import annotations

from typing import ClassVar

from torch.nn import functional as F

from aspire.baselines.base import Needs, Objective, RunContext, StepOutput
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch


class CrossEntropy(Objective):
    """Mean cross-entropy over the batch."""

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        logits = net(batch.image)
        return StepOutput(F.cross_entropy(logits, batch.y), logits)


class ERM:
    """One fit with :class:`CrossEntropy`, which other methods start from."""

    needs: ClassVar[Needs] = Needs()

    def run(self, ctx: RunContext) -> Classifier:
        return ctx.erm()
