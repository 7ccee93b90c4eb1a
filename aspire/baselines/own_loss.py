"""A loss of the user's own as a baseline: one fit that minimises it.

Nothing is found out; it learns from the mixture of real and generated images.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor

from aspire.baselines.base import Needs, Objective, RunContext, StepOutput
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch
from aspire.errors import ConfigError
from aspire.own_objects import name_of

Loss = Callable[[Tensor, Tensor], Tensor]


class LossOf(Objective):
    """A function of the logits (B, K) and the classes (B,) to a scalar."""

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        logits = net(batch.image)
        loss = self.loss(logits, batch.y)
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
            shape = tuple(getattr(loss, "shape", ()))
            told = f"a tensor of shape {shape}" if isinstance(loss, Tensor) else name_of(loss)
            raise ConfigError(
                f"objective={name_of(self.loss)} gives {told}; expected a single number that "
                "depends on the logits, such as torch.nn.functional.cross_entropy(logits, y)."
            )
        return StepOutput(loss.reshape(()), logits)


class OwnObjective:
    """One fit of an objective.

    Args:
        objective: what is minimised; an :class:`~aspire.baselines.base.Objective`, or a function
            ``loss(logits, y)`` of logits (B, K) and classes (B,).
        needs: what it must be told.
    """

    def __init__(self, objective: Objective | Loss, needs: Needs | None = None) -> None:
        if not callable(objective):
            raise ConfigError(
                f"objective is a {name_of(objective)}; expected a function loss(logits, y) or an "
                "aspire.Objective."
            )
        self.objective = objective
        self.needs = needs or getattr(objective, "needs", Needs())
        self.__wrapped__ = objective  # whose name is this one's

    def run(self, ctx: RunContext) -> Classifier:
        given = copy.deepcopy(self.objective)  # what it remembers of this run is no part of it
        return ctx.fit("train", given if isinstance(given, Objective) else LossOf(given))
