"""The classification LightningModule: net + objective + group metrics, and no method in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from aspire.baselines.base import Objective, StepOutput
from aspire.classification.classifier import Classifier
from aspire.classification.metrics import CorrectByExample, GroupMetrics, group_metrics
from aspire.data.datamodule import Batch
from aspire.data.groups import Grouper
from aspire.data.image_table import ImageTable
from aspire.errors import AspireError
from aspire.rng import seed_for

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerFactory = Callable[[Optimizer, int], LRScheduler | None]


class ClassificationModule(pl.LightningModule):
    """Trains ``net`` on ``objective`` and measures every group of the splits it is given.

    Args:
        net, objective: what to train, and on what.
        optimizer, scheduler: factories; the scheduler is told the total number of steps and steps
            after every batch.
        tables: what is measured after every epoch, by split: always "val".
        grouper: group names.
        train_counts: (G,) training images per group, for the adjusted average.
        steps: optimiser steps in all.
        seed: each epoch's random state follows from it, so a resumed run is not a different one.
        normalise: uint8 images of a loader -> floats for the net, on the device.
    """

    def __init__(
        self,
        net: Classifier,
        objective: Objective,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        tables: Mapping[str, ImageTable],
        grouper: Grouper,
        train_counts: list[int],
        steps: int,
        seed: int,
        normalise: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.net = net
        self.objective = objective
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.tables = dict(tables)
        self.grouper = grouper
        self.train_counts = train_counts
        self.steps = steps
        self.seed = seed
        self.normalise = normalise
        self.correct = nn.ModuleList(CorrectByExample(len(t)) for t in self.tables.values())
        self.measured: dict[str, GroupMetrics] = {}
        self.losses: list[Tensor] = []

    def configure_optimizers(self) -> Any:
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer = self.make_optimizer(parameters)
        scheduler = self.make_scheduler(optimizer, self.steps)
        if scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        return batch._replace(image=self.normalise(batch.image))

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(seed_for(self.seed, "epoch", self.current_epoch) % 2**63)
        self.losses.clear()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        out: StepOutput = self.objective(self.net, batch)
        if not torch.isfinite(out.loss):
            raise AspireError(
                f"The loss became {out.loss.item()} at step {self.global_step}. The last good "
                "checkpoint is kept. Try a smaller optimizer.lr"
                + ("" if self.trainer.precision == "32-true" else " or trainer.precision=32-true")
                + "."
            )
        self.losses.append(out.loss.detach())
        for name, value in out.scalars.items():
            self.log(f"train/{name}", value)
        return out.loss

    @property
    def train_loss(self) -> float:
        """Mean loss of this epoch's steps so far."""
        return float(torch.stack(self.losses).mean()) if self.losses else float("nan")

    def on_validation_epoch_start(self) -> None:
        for correct in self.correct:
            correct.reset()  # type: ignore[operator]

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        predicted = self.net(batch.image).argmax(1)
        self.correct[dataloader_idx].update(predicted, batch.y, batch.row)  # type: ignore[operator]

    def on_validation_epoch_end(self) -> None:
        for (split, table), correct in zip(self.tables.items(), self.correct, strict=True):
            self.measured[split] = group_metrics(
                correct.compute(),  # type: ignore[operator]
                table.y,
                table.group,
                self.grouper,
                self.train_counts,
            )
            self.log_dict(self.measured[split].flat(split))
        self.log("train/loss", self.train_loss)
