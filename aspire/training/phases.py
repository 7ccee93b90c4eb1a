"""One fit of a run: loaded where it is finished, else trained, or resumed where it was cut off."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file
from torch.optim import Optimizer

from aspire.baselines.base import DatasetInfo, Objective
from aspire.classification.backbones import Model
from aspire.classification.classifier import Classifier
from aspire.classification.selection import ORACLES
from aspire.data.datamodule import Draw, GroupDataModule
from aspire.data.groups import Grouper
from aspire.data.image_table import ImageTable
from aspire.data.pixels import PixelReader, PixelSource
from aspire.data.random_views import Change
from aspire.data.table import Split
from aspire.editing.batching import is_out_of_memory
from aspire.errors import AspireError, ConfigError
from aspire.processes import is_main, wait_for_all
from aspire.progress import Progress, Silent
from aspire.rng import seed_for
from aspire.stored.files import sound_checkpoint, tidy
from aspire.stored.phases import finished_phase, weights_file
from aspire.training.checkpoints import SelectionCheckpoint, ShowProgress
from aspire.training.module import ClassificationModule, SchedulerFactory
from aspire.training.settings import DeviceSettings, FitSettings


@dataclass(kw_only=True)
class Setup:
    """What all phases of a run have in common.

    Args:
        model: builds the networks.
        tables: val, test and whatever splits there are besides train.
        info, grouper: names and sizes.
        train_counts: (G,) training images per group, for the adjusted average.
        optimizer, scheduler: factories.
        fit_settings, device_settings: as configured.
        seed: of the run.
        pixels: gives the decoded images.
        change: done to every random view after the crop and the flip.
        logger: phase -> Lightning loggers.
        finish: closes the loggers of a phase; told whether it failed.
        progress: shows the steps.
    """

    model: Model
    tables: dict[Split, ImageTable]
    info: DatasetInfo
    grouper: Grouper
    train_counts: list[int]
    optimizer: Callable[..., Optimizer]
    scheduler: SchedulerFactory
    fit_settings: FitSettings
    device_settings: DeviceSettings
    seed: int
    pixels: PixelReader | None = None  # filled in __post_init__
    change: Change | None = None
    logger: Callable[[str], Any] = lambda phase: None
    finish: Callable[[bool], None] = lambda failed: None
    progress: Progress = field(default_factory=Silent)

    def __post_init__(self) -> None:
        self.preprocessing = self.model.preprocessing()
        self.pixels: PixelReader = self.pixels or PixelSource(self.preprocessing.stored_side)
        if self.change is not None and not self.fit_settings.augment:
            raise ConfigError(
                "fit.augment=false: every image is always seen the same way, and this augmentation "
                "changes random views. Expected fit.augment=true, or augmentation=fixed_views."
            )

    @property
    def device(self) -> torch.device:
        """Where everything outside a Trainer is computed."""
        return self.device_settings.torch_device()

    def prepare(self, net: Classifier) -> None:
        """Let a network compute as configured."""
        settings = self.device_settings
        net.autocast = settings.autocast()
        if settings.channels_last:
            net.to(memory_format=torch.channels_last)
        if settings.compile and net.backbone._compiled_call_impl is None:
            net.backbone.compile()


@dataclass(frozen=True)
class Phase:
    """One fit: what is trained on what, and for how long.

    Args:
        name: of its metrics and random states.
        folder: of its checkpoints.
        objective: what is minimised.
        net: what is trained.
        train: on what, with the groups and weights that the objective is told.
        fit: for how long, and which evaluation counts.
        draw: decides the rows of every batch; None for the table's weights.
        optimizer: settings of the optimizer that are not the configured ones.
    """

    name: str
    folder: Path
    objective: Objective
    net: Classifier
    train: ImageTable
    fit: FitSettings
    draw: Draw | None = None
    optimizer: Mapping[str, float] = field(default_factory=dict)


def run_phase(setup: Setup, phase: Phase, label: str, known: bool = False) -> dict[str, Any]:
    """Train the phase's network, and give it the selected weights.

    Args:
        setup: of the run.
        phase: what is to be done.
        label: that its curve is logged under.
        known: whether this run has logged it already.

    Returns:
        What the result says of it: steps, selection, evaluations.

    Raises:
        ConfigError: for a selection rule that does not apply.
    """
    phase.folder.mkdir(parents=True, exist_ok=True)
    if is_main():
        tidy(phase.folder)
    done = finished_phase(phase.folder)
    if done is None:
        keeper = SelectionCheckpoint(phase.folder, phase.fit.selection)
        state = _resume_point(keeper.last)
        step = state["global_step"] if state else 0
        if state and step >= phase.fit.steps:  # killed between the last evaluation and the mark
            keeper.load_state_dict(state["callbacks"][keeper.state_key])
        else:
            module, data = _module(setup, phase), _data(setup, phase)
            with _logging(setup, phase, step) as (loggers, advance):
                trainer = _trainer(setup, phase, loggers, [keeper, ShowProgress(advance)])
                with _interrupts(trainer), _memory(phase.fit):
                    checkpoint = keeper.last if step else None
                    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
        if is_main():
            keeper.finish(phase.fit.steps)
        wait_for_all()
        done = finished_phase(phase.folder)
        assert done is not None
    elif not known:
        for logger in setup.logger(label) or []:  # trained by another run: its curve, once more
            for row in done["history"]:
                logger.log_metrics(row, int(row["step"]))
        setup.finish(False)
    selection = phase.fit.selection
    if selection not in done["best"]:
        raise ConfigError(
            f"selection={selection} does not apply here: it needs group labels. Rules that do: "
            f"{', '.join(done['best'])}."
        )
    selected = done["best"][selection]
    phase.net.load_state_dict(load_file(weights_file(phase.folder, selected)))
    return {
        "steps": phase.fit.steps,
        "selection": selection,
        "selected_step": selected,
        "best": done["best"],
        "history": done["history"],
        "folder": phase.folder,
    }


@contextmanager
def _memory(fit: FitSettings) -> Iterator[None]:
    """Say what to type when memory runs out.

    The batch is not halved by itself, as it is for generators: batch normalisation and objectives
    that compare the images of a batch would give another result under the same name.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        size = fit.batch_size
        part = max((d for d in range(1, size) if size % d == 0), default=0)
        less = part and (
            f" fit.batch_size={part} fit.accumulate={fit.accumulate * size // part} has as many "
            "images a step, fewer of them in memory; it is another run, since batch normalisation "
            "and some methods see a batch at once."
        )
        raise AspireError(
            f"Out of memory with fit.batch_size={size}.{less or ''} A smaller model.image_size, "
            "or a smaller model, needs less too."
        ) from None


def _module(setup: Setup, phase: Phase) -> ClassificationModule:
    net, objective, fit = phase.net, phase.objective, phase.fit
    net.train()  # a given one may have been judged before; Lightning leaves it as it is
    objective.setup(_info(setup.info, phase.train), net)
    for part in (net, *objective.modules()):
        if isinstance(part, Classifier):
            part.whole_input = objective.whole_images
            if fit.frozen:
                part.backbone.requires_grad_(False)
            setup.prepare(part)
    return ClassificationModule(
        net,
        objective,
        partial(setup.optimizer, **phase.optimizer),
        setup.scheduler,
        _evaluated(setup, fit),
        setup.grouper,
        setup.train_counts,
        fit.steps,
        seed_for(setup.seed, phase.name, "run"),
        setup.preprocessing.normalise,
        fit.ema,
    )


def _data(setup: Setup, phase: Phase) -> GroupDataModule:
    fit = phase.fit
    return GroupDataModule(
        phase.train,
        list(_evaluated(setup, fit).values()),
        setup.preprocessing,
        fit.batch_size,
        fit.steps_per_epoch * fit.accumulate,
        seed_for(setup.seed, phase.name, "data"),
        phase.draw,
        fit.augment,
        phase.objective.whole_images,
        setup.device_settings.num_workers,
        setup.pixels,
        setup.change,
    )


def _evaluated(setup: Setup, fit: FitSettings) -> dict[str, ImageTable]:
    splits = (Split.VAL, Split.TEST) if fit.selection in ORACLES else (Split.VAL,)
    return {split.name.lower(): setup.tables[split] for split in splits}


def _trainer(setup: Setup, phase: Phase, loggers: Any, callbacks: list[pl.Callback]) -> pl.Trainer:
    """One Trainer, used once: a reused one trains nothing."""
    device = setup.device_settings
    precision = "32-true" if device.precision in ("auto", "bf16") else device.precision
    return pl.Trainer(
        accelerator=device.accelerator,
        devices=device.num_devices(),
        strategy=device.strategy,
        precision=precision,
        max_epochs=phase.fit.evaluations,
        accumulate_grad_batches=phase.fit.accumulate,
        sync_batchnorm=device.torch_device().type == "cuda",  # no-op on one device
        use_distributed_sampler=False,  # the datamodule shares the batches out
        logger=loggers,
        callbacks=callbacks,
        default_root_dir=phase.folder,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _info(info: DatasetInfo, table: ImageTable) -> DatasetInfo:
    """Sizes of what is trained on; pseudo groups may be others than the dataset's."""
    known = bool((table.group >= 0).all())
    if not known:
        none = (0,) * info.num_groups
        return replace(info, num_train=len(table), group_counts=none)
    number = max(info.num_groups, int(table.group.max()) + 1)
    counts = np.bincount(table.group, minlength=number)
    return replace(
        info,
        num_train=len(table),
        num_groups=number,
        group_counts=tuple(int(n) for n in counts),
    )


def _resume_point(path: Path) -> dict[str, Any] | None:
    if not sound_checkpoint(path):
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


# --- around a Trainer --------------------------------------------------------------------------


@contextmanager
def _logging(setup: Setup, phase: Phase, done: int) -> Iterator[tuple[Any, Callable[[int], None]]]:
    """The loggers of a phase, closed afterwards, and its bar; Lightning's own notes are muted.

    Its start-up notes and its advice on loaders are not for our users.
    """
    failed = True
    try:
        with (
            setup.progress.task(phase.name, total=phase.fit.steps, done=done) as advance,
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
            for name in ("pytorch_lightning", "lightning_fabric"):
                logging.getLogger(name).setLevel(logging.ERROR)
            yield setup.logger(phase.name) or False, advance
        failed = False
    finally:
        setup.finish(failed)


@contextmanager
def _interrupts(trainer: pl.Trainer) -> Iterator[None]:
    """Ctrl-C as Python has it: Lightning's answer is to exit, and it switches Ctrl-C off."""
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not trainer.interrupted or type(stop) is not SystemExit:  # that of SIGTERM
            raise
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from None
