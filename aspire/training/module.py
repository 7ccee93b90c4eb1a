"""The classification LightningModule: net + objective + group metrics, and no method in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from aspire.baselines.base import Objective, StepOutput
from aspire.classification.classifier import Classifier
from aspire.classification.metrics import CorrectByExample, GroupMetrics, group_metrics
from aspire.data.datamodule import Batch
from aspire.data.groups import Grouper
from aspire.data.image_table import ImageTable
from aspire.errors import AspireError
from aspire.rng import seed_for

WARM_UP = 10  # steps by which a young average is younger than its decay says

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerFactory = Callable[[Optimizer, int], LRScheduler | None]


class ClassificationModule(pl.LightningModule):
    """Trains ``net`` on ``objective`` and measures every group of the splits it is given.

    Args:
        net, objective: what to train, and on what.
        optimizer, scheduler: factories; the scheduler receives the total number of steps and steps
            after every batch.
        tables: what is measured after every epoch, by split: always "val".
        grouper: group names.
        train_counts: (G,) training images per group, for the adjusted average.
        steps: optimiser steps in all.
        ema: decay of the moving average of the net's weights that is measured and kept in their
            place; None for the weights themselves.
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
        ema: float | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.objective = objective
        # a module of its own: its state is kept and resumed with everything else's
        self.average = None if ema is None else averaged(net, ema)
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
        # each once, though an objective may hold parts of the net
        trained = dict.fromkeys((*self.net.parameters(), *self.objective.parameters()))
        parameters = [p for p in trained if p.requires_grad]
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

    def on_train_batch_end(self, *args: Any) -> None:
        if self.average is not None and self.global_step > int(self.average.n_averaged):
            self.average.update_parameters(self.net)

    @property
    def judged(self) -> nn.Module:
        """The net that is measured and kept."""
        return self.net if self.average is None else self.average.module

    @property
    def train_loss(self) -> float:
        """Mean loss of this epoch's steps so far."""
        return float(torch.stack(self.losses).mean()) if self.losses else float("nan")

    def on_validation_epoch_start(self) -> None:
        for correct in self.correct:
            correct.reset()  # type: ignore[operator]

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        predicted = self.judged(batch.image).argmax(1)
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


def averaged(net: Classifier, decay: float) -> AveragedModel:
    """A copy of a net that follows it, at the start faster: d = min(decay, (1 + n) / (10 + n)).

    Args:
        net: copied as it is, buffers included (running statistics are averaged too).
        decay: in (0, 1); the average looks back over about 1 / (1 - decay) steps.
    """

    def follow(average: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        share = min(decay, (1 + float(steps)) / (WARM_UP + float(steps)))
        if not average.is_floating_point():  # counts of batches
            return current
        return torch.lerp(current, average, share)

    average = AveragedModel(net, avg_fn=follow, use_buffers=True)
    return average.requires_grad_(False)
