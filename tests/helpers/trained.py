"""Trainings on the tiny folder, and what is compared of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from aspire.baselines.base import Objective, StepOutput
from aspire.baselines.erm import ERM, CrossEntropy
from aspire.baselines.groupdro import GroupDRO
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch
from aspire.training.checkpoints import SelectionCheckpoint

STEPS = 8  # four epochs of two
BASELINES: Mapping[str, Callable[[], Any]] = {"erm": ERM, "groupdro": lambda: GroupDRO(eta=0.5)}


def weights(net: Classifier) -> dict[str, Any]:
    return {k: v.numpy().copy() for k, v in net.state_dict().items()}


def plain(phases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What is known of the phases, their folders aside."""
    return {k: {n: v for n, v in p.items() if n != "folder"} for k, p in phases.items()}


def equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


class Kill(Exception):  # noqa: N818  # what it stands for is no error
    """Stands for a power cut right after an evaluation was kept."""


def kill_after(monkeypatch: pytest.MonkeyPatch, evaluation: int) -> None:
    original = SelectionCheckpoint.on_train_epoch_end

    def patched(self: SelectionCheckpoint, *args: Any) -> None:
        original(self, *args)
        if len(self.history) == evaluation:
            raise Kill

    monkeypatch.setattr(SelectionCheckpoint, "on_train_epoch_end", patched)


class Stumbling(Objective):
    """Cross-entropy until step ``at`` (from 0); then an error, or a loss that is not finite."""

    def __init__(self, at: int, error: BaseException | None = None, loss: float = 0.0) -> None:
        super().__init__()
        self.at, self.error, self.loss, self.step = at, error, loss, 0

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        out = CrossEntropy()(net, batch)
        self.step += 1
        if self.step <= self.at:
            return out
        if self.error is not None:
            raise self.error
        return StepOutput(out.loss * self.loss, out.logits)
