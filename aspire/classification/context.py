"""The real :class:`~aspire.baselines.base.RunContext`: a new Trainer for every phase."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from aspire.baselines.base import DatasetInfo, Objective
from aspire.classification.backbones import Model
from aspire.classification.checkpoints import SelectionCheckpoint, ShowProgress
from aspire.classification.classifier import Classifier
from aspire.classification.module import ClassificationModule, OptimizerFactory, SchedulerFactory
from aspire.data.datamodule import GroupDataModule, evaluation_loader
from aspire.data.groups import Grouper
from aspire.data.image_table import ImageTable
from aspire.data.pixels import PixelReader
from aspire.data.table import Split
from aspire.errors import ConfigError
from aspire.progress import Progress, Silent
from aspire.rng import seed_for

LoggerFactory = Callable[[str], Any]


@dataclass
class FitSettings:
    """How long and how to train; part of a run's identity.

    Args:
        steps: optimiser steps, the same in every arm of a comparison.
        evaluations: how often the val split is measured; divides ``steps``.
        batch_size: images a step.
        selection: which evaluation counts, a name of :mod:`aspire.classification.selection`.

    Raises:
        ConfigError: when the numbers do not fit together.
    """

    steps: int
    evaluations: int
    batch_size: int
    selection: str

    def __post_init__(self) -> None:
        for name in ("steps", "evaluations", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"fit.{name}={getattr(self, name)}: expected at least 1.")
        if self.steps % self.evaluations:
            near = max(self.evaluations, round(self.steps / self.evaluations) * self.evaluations)
            raise ConfigError(
                f"fit.steps={self.steps} is not a multiple of fit.evaluations={self.evaluations}. "
                f"Try fit.steps={near}."
            )

    @property
    def steps_per_epoch(self) -> int:
        """Steps between two evaluations."""
        return self.steps // self.evaluations


@dataclass
class DeviceSettings:
    """Where and how fast; never part of a run's identity.

    Args:
        accelerator, devices, precision: as Lightning takes them.
        num_workers: loader processes.
        channels_last: memory format; faster on most convolutional networks.
        pixel_cache: decode every image once into ``outputs/cache``, for all jobs; "auto" does so
            up to 4 GiB. Never changes a result.
        threads: CPU threads, or None for torch's choice.
    """

    accelerator: str = "auto"
    devices: int | str = 1
    precision: str = "32-true"
    num_workers: int = 0
    channels_last: bool = True
    threads: int | None = None
    pixel_cache: bool | Literal["auto"] = "auto"

    def torch_device(self) -> torch.device:
        """The device for evaluation."""
        if self.accelerator in ("cpu", "auto") and not torch.cuda.is_available():
            mps = self.accelerator == "auto" and torch.backends.mps.is_available()
            return torch.device("mps" if mps else "cpu")
        return torch.device("cpu" if self.accelerator == "cpu" else "cuda")


@dataclass
class TrainingContext:
    """Builds and runs one Trainer per phase, each with its own folder.

    Args:
        folder: of the run; phases are folders in ``folder/checkpoints``.
        model: builds the networks.
        tables: val and test.
        train: what to train on.
        info, grouper: names and sizes.
        train_counts: (G,) training images per group, for the adjusted average.
        optimizer, scheduler: factories.
        fit_settings, device_settings: as configured.
        seed: of the run.
        hide_train_groups: whether the objective must not see the training groups.
        pixels: gives the decoded images; None for their files.
        logger: phase -> Lightning loggers.
        finish: closes the loggers of a phase; told whether it failed.
        progress: shows the steps.
    """

    folder: Path
    model: Model
    tables: dict[Split, ImageTable]
    train: ImageTable
    info: DatasetInfo
    grouper: Grouper
    train_counts: list[int]
    optimizer: OptimizerFactory
    scheduler: SchedulerFactory
    fit_settings: FitSettings
    device_settings: DeviceSettings
    seed: int
    hide_train_groups: bool
    pixels: PixelReader | None = None
    logger: LoggerFactory = lambda phase: None
    finish: Callable[[bool], None] = lambda failed: None
    progress: Progress = field(default_factory=Silent)
    phases: dict[str, dict[str, Any]] = field(default_factory=dict)

    def fit(
        self,
        phase: str,
        objective: Objective,
        *,
        net: Classifier | None = None,
        train: ImageTable | None = None,
        sample_weights: NDArray[np.float64] | None = None,
        steps: int | None = None,
    ) -> Classifier:
        if phase in self.phases:
            raise ValueError(f"phase {phase!r} stands twice in one run")
        fit = self.fit_settings
        if steps is not None:
            fit = FitSettings(steps, min(fit.evaluations, steps), fit.batch_size, fit.selection)
        table = self.train if train is None else train
        if sample_weights is not None:
            table = ImageTable(table.paths, table.y, table.group, sample_weights)
        torch.manual_seed(seed_for(self.seed, phase, "init"))
        net = self.model.build(self.info.num_classes) if net is None else net
        net.train()  # a given one may have been judged before; Lightning leaves it as it is
        objective.setup(self.info, net)
        if self.device_settings.channels_last:
            net = net.to(memory_format=torch.channels_last)
        module = ClassificationModule(
            net,
            objective,
            self.optimizer,
            self.scheduler,
            self.tables[Split.VAL],
            self.grouper,
            self.train_counts,
            fit.steps,
            seed_for(self.seed, phase, "run"),
            self.model.preprocessing().normalise,
        )
        data = GroupDataModule(
            table,
            self.tables[Split.VAL],
            self.model.preprocessing(),
            fit.batch_size,
            fit.steps_per_epoch,
            seed_for(self.seed, phase, "data"),
            self.hide_train_groups,
            self.device_settings.num_workers,
            self.pixels,
        )
        folder = self.folder / "checkpoints" / phase
        folder.mkdir(parents=True, exist_ok=True)
        keeper = SelectionCheckpoint(folder, fit.selection)
        resume = _resume_point(keeper.last)
        done = resume["global_step"] if resume else 0
        if done < fit.steps:
            failed = True
            try:
                self._run_trainer(phase, module, data, keeper, done)
                failed = False
            finally:
                self.finish(failed)
        else:
            keeper.load_state_dict(resume["callbacks"][keeper.state_key])
        net.load_state_dict(load_file(keeper.selected))
        self.phases[phase] = {
            "steps": fit.steps,
            "selection": fit.selection,
            "selected_step": keeper.best_step,
            "history": keeper.history,
        }
        return net

    def _run_trainer(
        self,
        phase: str,
        module: ClassificationModule,
        data: GroupDataModule,
        keeper: SelectionCheckpoint,
        done: int,
    ) -> None:
        """One Trainer, used once: a reused one trains nothing."""
        with (
            self.progress.task(phase, total=module.steps, done=done) as advance,
            _quiet_lightning(),
        ):
            trainer = pl.Trainer(
                accelerator=self.device_settings.accelerator,
                devices=self.device_settings.devices,
                precision=self.device_settings.precision,  # type: ignore[arg-type]
                max_epochs=module.steps // data.steps_per_epoch,
                logger=self.logger(phase) or False,
                callbacks=[keeper, ShowProgress(advance)],
                default_root_dir=self.folder,
                log_every_n_steps=1,
                num_sanity_val_steps=0,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            checkpoint = keeper.last if done else None
            on_interrupt = signal.getsignal(signal.SIGINT)
            try:
                trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
            except SystemExit:  # Lightning's answer to Ctrl-C, which it also switches off
                if not trainer.interrupted:
                    raise
                signal.signal(signal.SIGINT, on_interrupt)
                raise KeyboardInterrupt from None

    def predict(self, net: Classifier, split: Split) -> Tensor:
        return self.collect(net, split, lambda n, x: n(x).argmax(1))

    def features(self, net: Classifier, split: Split) -> Tensor:
        return self.collect(net, split, lambda n, x: n.features(x))

    def collect(
        self, net: Classifier, split: Split, fn: Callable[[Classifier, Tensor], Tensor]
    ) -> Tensor:
        """``fn`` of every image of a split, in evaluation mode: (N, ...), row i = example i."""
        table = self.train if split == Split.TRAIN else self.tables[split]
        preprocessing = self.model.preprocessing()
        loader = evaluation_loader(
            table,
            preprocessing,
            2 * self.fit_settings.batch_size,
            self.device_settings.num_workers,
            self.pixels,
        )
        device = self.device_settings.torch_device()
        net = net.to(device).eval()
        with torch.inference_mode():
            parts = [
                fn(net, preprocessing.normalise(batch.image.to(device))).cpu() for batch in loader
            ]
        return torch.cat(parts)


def _resume_point(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


class _quiet_lightning:  # noqa: N801
    """Lightning's start-up notes and its advice on loaders are not for our users."""

    def __enter__(self) -> None:
        self.catch = warnings.catch_warnings()
        self.catch.__enter__()
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        for name in ("pytorch_lightning", "lightning_fabric"):
            logging.getLogger(name).setLevel(logging.ERROR)

    def __exit__(self, *error: object) -> None:
        self.catch.__exit__(None, None, None)
