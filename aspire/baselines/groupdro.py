"""GroupDRO: minimise the loss of the worst group, with the true groups known.

Source: Sagawa et al., "Distributionally Robust Neural Networks for Group Shifts", ICLR 2020,
Algorithm 1; generalisation adjustment of its section 3.3.

Deviations: groups absent from a batch take no part in the update (the authors' code lets them
through with a loss of 0 plus the adjustment); without adjustment the two are equal.

Nothing is found out, the groups being given. A generated image is of the group of its scene; its
share within the group is that of :mod:`aspire.baselines.rwg`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from aspire.baselines.base import DatasetInfo, Needs, Objective, RunContext, StepOutput
from aspire.baselines.rwg import group_balanced, present_groups
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch
from aspire.values import NonNegative


class GroupDROLoss(Objective):
    """``sum_g q_g (L_g + C / sqrt(n_g))`` with ``q_g <- q_g exp(eta (L_g + C / sqrt(n_g)))``.

    L_g is the mean loss of group g in the batch; q is normalised after each update.

    Args:
        eta: step size of the group weights, at least 0.
        adjustment: C of the generalisation adjustment, at least 0.
    """

    q: Tensor
    offset: Tensor

    def __init__(self, eta: NonNegative, adjustment: NonNegative = 0.0) -> None:
        super().__init__()
        self.eta = eta
        self.adjustment = adjustment

    def setup(self, info: DatasetInfo, net: Classifier) -> None:
        counts = torch.tensor(info.group_counts, dtype=torch.float32)
        present = counts > 0
        self.register_buffer("q", present / present.sum())
        self.register_buffer("offset", self.adjustment / counts.clamp(min=1).sqrt())

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        logits = net(batch.image)
        losses = F.cross_entropy(logits, batch.y, reduction="none")
        member = F.one_hot(batch.group, len(self.q)).to(losses.dtype)  # (B, G)
        counts = member.sum(0)
        here = counts > 0
        group_loss = member.T @ losses / counts.clamp(min=1) + self.offset * here
        with torch.no_grad():
            q = self.q * torch.exp(self.eta * group_loss.detach() * here)
            self.q.copy_(q / q.sum())
        loss = (self.q * group_loss * here).sum()
        scalars = {f"q/{g}": self.q[g].clone() for g in range(len(self.q))}
        return StepOutput(loss, logits, scalars)


class GroupDRO:
    """One fit with :class:`GroupDROLoss` on group-balanced batches, as the authors run it.

    Args:
        eta: step size of the group weights (authors: 0.01).
        adjustment: C of the generalisation adjustment (authors: 0 to 5, tuned).

    Raises:
        ConfigError: for a negative value.
    """

    needs: ClassVar[Needs] = Needs(train_groups=True, val_groups=True)

    def __init__(self, eta: NonNegative = 0.01, adjustment: NonNegative = 0.0) -> None:
        self.eta = eta
        self.adjustment = adjustment

    def run(self, ctx: RunContext) -> Classifier:
        present_groups(ctx, "GroupDRO minimises the worst loss of the others")
        weights = group_balanced(ctx.train)
        return ctx.fit("train", GroupDROLoss(self.eta, self.adjustment), sample_weights=weights)
