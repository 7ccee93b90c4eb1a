"""The real :class:`~aspire.baselines.base.RunContext`: a new Trainer for every phase."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import signal
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor
from torch.optim import Optimizer

from aspire.baselines.base import DatasetInfo, Objective
from aspire.classification.backbones import Model
from aspire.classification.checkpoints import (
    SelectionCheckpoint,
    ShowProgress,
    finished_phase,
    weights_file,
)
from aspire.classification.classifier import Classifier
from aspire.classification.metrics import group_metrics
from aspire.classification.module import ClassificationModule, SchedulerFactory
from aspire.classification.selection import ORACLES, score
from aspire.classification.settings import DeviceSettings, FitSettings, Identities
from aspire.classification.training import VERSION
from aspire.data.datamodule import Draw, GroupDataModule, evaluation_loader
from aspire.data.groups import Grouper
from aspire.data.image_table import ImageTable
from aspire.data.pixels import PixelReader, PixelSource
from aspire.data.random_views import Change
from aspire.data.table import Split
from aspire.errors import ConfigError
from aspire.pipeline.store import digest_of
from aspire.processes import is_main, wait_for_all
from aspire.progress import Progress, Silent
from aspire.rng import seed_for
from aspire.stored.files import locked, sound_checkpoint, tidy
from aspire.stored.notes import note
from aspire.stored.seals import intact, write_sealed

LoggerFactory = Callable[[str], Any]


@dataclass
class TrainingContext:
    """Builds and runs one Trainer per phase, each with its own folder.

    Args:
        folder: of the run; phases are folders in ``folder/checkpoints``.
        model: builds the networks.
        tables: val, test and whatever splits there are besides train.
        train: what to train on; groups -1 where the method must not see them.
        info, grouper: names and sizes.
        train_counts: (G,) training images per group, for the adjusted average.
        optimizer, scheduler: factories.
        fit_settings, device_settings: as configured.
        seed: of the run.
        shared: says what may be shared with other runs; None to share nothing.
        pixels: gives the decoded images.
        change: done to every random view after the crop and the flip.
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
    optimizer: Callable[..., Optimizer]
    scheduler: SchedulerFactory
    fit_settings: FitSettings
    device_settings: DeviceSettings
    seed: int
    shared: Identities | None = None
    pixels: PixelReader | None = None  # filled in __post_init__
    change: Change | None = None
    logger: LoggerFactory = lambda phase: None
    finish: Callable[[bool], None] = lambda failed: None
    progress: Progress = field(default_factory=Silent)
    phases: dict[str, dict[str, Any]] = field(default_factory=dict)
    recorded: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.preprocessing = self.model.preprocessing()
        self.pixels: PixelReader = self.pixels or PixelSource(self.preprocessing.stored_side)
        if self.change is not None and not self.fit_settings.augment:
            raise ConfigError(
                "fit.augment=false: every image is always seen the same way, and this augmentation "
                "changes random views. Expected fit.augment=true, or augmentation=fixed_views."
            )
        self.steps = self.fit_settings.steps
        self.batch_size = self.fit_settings.batch_size

    @property
    def device(self) -> torch.device:
        """Where everything outside a Trainer is computed."""
        return self.device_settings.torch_device()

    @property
    def real(self) -> TrainingContext:
        """See :class:`~aspire.baselines.base.RunContext`."""
        if self.train.real is None:
            return self
        return replace(
            self,
            train=self.train.only_real(),
            info=replace(self.info, num_train=int(self.train.real.sum())),
            shared=self.shared and replace(self.shared, images=self.shared.real_images),
        )

    # --- training ----------------------------------------------------------------------------

    def network(self, name: str) -> Classifier:
        torch.manual_seed(seed_for(self.seed, name, "init") % 2**63)
        return self.model.build(self.info.num_classes)

    def fit(
        self,
        phase: str,
        objective: Objective,
        *,
        net: Classifier | None = None,
        train: ImageTable | None = None,
        groups: NDArray[np.int64] | None = None,
        sample_weights: NDArray[np.float64] | None = None,
        draw: Draw | None = None,
        steps: int | None = None,
        lr: float | None = None,
        weight_decay: float | None = None,
        select: str | None = None,
    ) -> Classifier:
        if phase in self.phases:
            raise ValueError(f"phase {phase!r} stands twice in one run")
        table = self.train if train is None else train
        table = replace(table, group=table.group if groups is None else groups)
        if sample_weights is not None:
            table = replace(table, weight=sample_weights)
        settings = {"lr": lr, "weight_decay": weight_decay}
        return self._fit(
            phase,
            self.folder / "checkpoints" / phase,
            objective,
            net or self.network(phase),
            table,
            draw,
            self._settings(steps, select),
            {k: v for k, v in settings.items() if v is not None},
        )

    def erm(
        self,
        *,
        rows: NDArray[np.int64] | None = None,
        steps: int | None = None,
        lr: float | None = None,
        weight_decay: float | None = None,
        select: str | None = None,
    ) -> Classifier:
        from aspire.baselines.erm import CrossEntropy

        fit = self._settings(steps, select)
        given = {"lr": lr, "weight_decay": weight_decay}
        settings = {k: v for k, v in given.items() if v is not None}
        training = dict(self.shared.training) if self.shared else {}
        # What is selected does not change the training, unless it has the test split measured.
        oracle = fit.selection in ORACLES
        training["fit"] = {**fit.identity(), "selection": "oracle" if oracle else "any"}
        parts = {
            "images": self.shared.images if self.shared else len(self.train),
            "training": training,
            "settings": settings,
            "rows": None if rows is None else hashlib.sha256(rows.tobytes()).hexdigest(),
            "seed": self.seed,
            "version": VERSION,
        }
        key = digest_of(parts)[:12]
        shared = self.shared if self.device_settings.share_stages else None
        root = shared.root / "erm" if shared else self.folder / "checkpoints"
        folder = root / f"erm-{key}"
        table = self.train if rows is None else self.train.take(rows)
        table = replace(table, group=np.full(len(table), -1))
        with _lock(folder) if shared and is_main() else contextlib.nullcontext():
            return self._fit(
                "erm", folder, CrossEntropy(), self.network("erm"), table, None, fit, settings
            )

    def _settings(self, steps: int | None, select: str | None) -> FitSettings:
        """The configured settings, with the number of evaluations that divides ``steps``."""
        fit = replace(self.fit_settings, selection=select or self.fit_settings.selection)
        if steps is None or steps == fit.steps:
            return fit
        wanted = max(1, round(fit.evaluations * steps / fit.steps))
        evaluations = next(n for n in range(wanted, 0, -1) if steps % n == 0)
        return replace(fit, steps=steps, evaluations=evaluations)

    def _fit(
        self,
        phase: str,
        folder: Path,
        objective: Objective,
        net: Classifier,
        table: ImageTable,
        draw: Draw | None,
        fit: FitSettings,
        settings: dict[str, float],
    ) -> Classifier:
        """One phase in its folder: loaded where it is finished, else trained or resumed."""
        label = self._label(phase, folder)
        folder.mkdir(parents=True, exist_ok=True)
        if is_main():
            tidy(folder)
        done = finished_phase(folder)
        if done is None:
            self._train(phase, folder, objective, net, table, draw, fit, settings)
            done = finished_phase(folder)
            assert done is not None
        elif label not in self.phases:
            for logger in self.logger(label) or []:  # trained by another run: its curve, once more
                for row in done["history"]:
                    logger.log_metrics(row, int(row["step"]))
            self.finish(False)
        if fit.selection not in done["best"]:
            measured = ", ".join(done["best"])
            raise ConfigError(
                f"selection={fit.selection} does not apply here: it needs group labels. Rules "
                f"that do: {measured}."
            )
        step = done["best"][fit.selection]
        net.load_state_dict(load_file(weights_file(folder, step)))
        self.phases[label] = {
            "steps": fit.steps,
            "selection": fit.selection,
            "selected_step": step,
            "best": done["best"],
            "history": done["history"],
            "folder": folder,
        }
        return net

    def _label(self, phase: str, folder: Path) -> str:
        """What a phase is called in the result: a method may need ERMs of two lengths."""
        known = {p["folder"]: label for label, p in self.phases.items()}
        new = f"{phase}-{len(self.phases) + 1}" if phase in self.phases else phase
        return known.get(folder, new)

    def _train(
        self,
        phase: str,
        folder: Path,
        objective: Objective,
        net: Classifier,
        table: ImageTable,
        draw: Draw | None,
        fit: FitSettings,
        settings: dict[str, float],
    ) -> None:
        net.train()  # a given one may have been judged before; Lightning leaves it as it is
        objective.setup(self._info(table), net)
        for part in (net, *objective.modules()):
            if isinstance(part, Classifier):
                part.whole_input = objective.whole_images
                self._prepare(part)
        evaluated = {"val": self.tables[Split.VAL]}
        if fit.selection in ORACLES:
            evaluated["test"] = self.tables[Split.TEST]
        module = ClassificationModule(
            net,
            objective,
            partial(self.optimizer, **settings),
            self.scheduler,
            evaluated,
            self.grouper,
            self.train_counts,
            fit.steps,
            seed_for(self.seed, phase, "run"),
            self.preprocessing.normalise,
            fit.ema,
        )
        data = GroupDataModule(
            table,
            list(evaluated.values()),
            self.preprocessing,
            fit.batch_size,
            fit.steps_per_epoch * fit.accumulate,
            seed_for(self.seed, phase, "data"),
            draw,
            fit.augment,
            objective.whole_images,
            self.device_settings.num_workers,
            self.pixels,
            self.change,
        )
        keeper = SelectionCheckpoint(folder, fit.selection)
        resume = _resume_point(keeper.last)
        done = resume["global_step"] if resume else 0
        if resume and done >= fit.steps:  # killed between the last evaluation and the mark
            keeper.load_state_dict(resume["callbacks"][keeper.state_key])
        else:
            failed = True
            try:
                self._run_trainer(phase, module, data, keeper, fit, done)
                failed = False
            finally:
                self.finish(failed)
        if is_main():
            keeper.finish(fit.steps)
        wait_for_all()

    def _run_trainer(
        self,
        phase: str,
        module: ClassificationModule,
        data: GroupDataModule,
        keeper: SelectionCheckpoint,
        fit: FitSettings,
        done: int,
    ) -> None:
        """One Trainer, used once: a reused one trains nothing."""
        device = self.device_settings
        precision = "32-true" if device.precision in ("auto", "bf16") else device.precision
        with (
            self.progress.task(phase, total=module.steps, done=done) as advance,
            _quiet_lightning(),
        ):
            trainer = pl.Trainer(
                accelerator=device.accelerator,
                devices=device.num_devices(),
                strategy=device.strategy,
                precision=precision,
                max_epochs=fit.evaluations,
                accumulate_grad_batches=fit.accumulate,
                sync_batchnorm=device.torch_device().type == "cuda",  # no-op on one device
                use_distributed_sampler=False,  # the datamodule shares the batches out
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
            except SystemExit as stop:  # Lightning's answer to Ctrl-C, which it also switches off
                if not trainer.interrupted or type(stop) is not SystemExit:  # that of SIGTERM
                    raise
                signal.signal(signal.SIGINT, on_interrupt)
                raise KeyboardInterrupt from None

    def _info(self, table: ImageTable) -> DatasetInfo:
        """Sizes of what is trained on; pseudo groups may be others than the dataset's."""
        known = bool((table.group >= 0).all())
        if not known:
            none = (0,) * self.info.num_groups
            return replace(self.info, num_train=len(table), group_counts=none)
        number = max(self.info.num_groups, int(table.group.max()) + 1)
        counts = np.bincount(table.group, minlength=number)
        return replace(
            self.info,
            num_train=len(table),
            num_groups=number,
            group_counts=tuple(int(n) for n in counts),
        )

    def _prepare(self, net: Classifier) -> None:
        settings = self.device_settings
        net.autocast = settings.autocast()
        if settings.channels_last:
            net.to(memory_format=torch.channels_last)
        if settings.compile and net.backbone._compiled_call_impl is None:
            net.backbone.compile()

    # --- looking -----------------------------------------------------------------------------

    def table(self, split: Split) -> ImageTable:
        if split == Split.TRAIN:
            return self.train
        if split not in self.tables:
            raise ConfigError(
                f"The dataset has no {split.name.lower()} split; it has train, "
                f"{', '.join(s.name.lower() for s in self.tables)}."
            )
        return self.tables[split]

    def predict(self, net: Classifier, split: Split) -> Tensor:
        return self.logits(net, split).argmax(1)

    def logits(self, net: Classifier, split: Split) -> Tensor:
        features = self.features(net, split)
        head = net.head.to(self.device)
        with torch.inference_mode():
            parts = [head(part.to(self.device)).cpu() for part in features.split(4096)]
        return torch.cat(parts)

    def features(self, net: Classifier, split: Split) -> Tensor:
        table = self.table(split)
        if self.shared is None or not self.device_settings.feature_cache:
            return self.collect(net, table, lambda n, x: n.features(x))
        weights = {k: v.detach().cpu().contiguous() for k, v in net.backbone.state_dict().items()}
        identity = {
            "weights": hashlib.sha256(save(weights)).hexdigest(),
            "preprocessing": self.preprocessing.to_dict(),
            "images": self.shared.images,
            "split": split.name,
            "autocast": str(self.device_settings.autocast()),
        }
        path = self.shared.root / "features" / f"{digest_of(identity)[:16]}.safetensors"
        if path.is_file():
            if intact(path):
                return load_file(path)["features"]
            note(f"{path} is not what was kept. The features are computed again.")
        features = self.collect(net, table, lambda n, x: n.features(x))
        write_sealed(path, save({"features": features.contiguous()}))
        return features

    def collect(
        self, net: Classifier, table: ImageTable, fn: Callable[[Classifier, Tensor], Tensor]
    ) -> Tensor:
        loader = evaluation_loader(
            table,
            self.preprocessing,
            2 * self.fit_settings.batch_size,
            self.device_settings.num_workers,
            self.pixels,
        )
        net = net.to(self.device).eval()
        self._prepare(net)
        normalise = self.preprocessing.normalise
        with torch.inference_mode():
            parts = [fn(net, normalise(b.image.to(self.device))).cpu() for b in loader]
        return torch.cat(parts)

    def score(
        self, predicted: NDArray[np.int64], rows: NDArray[np.int64] | None = None
    ) -> tuple[float, ...]:
        val = self.tables[Split.VAL] if rows is None else self.tables[Split.VAL].take(rows)
        metrics = group_metrics(
            np.asarray(predicted == val.y), val.y, val.group, self.grouper, self.train_counts
        )
        rule = self.fit_settings.selection
        if rule in ("last", *ORACLES):  # nothing to say about predictions on val
            rule = "val_worst_class" if metrics.worst_group_acc is None else "val_worst_group"
        return score(rule, {"val": metrics}, 0)

    # --- remembering -------------------------------------------------------------------------

    def rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng(seed_for(self.seed, name, "rng"))

    def remember(self, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        path = self.folder / "state" / f"{name}.npy"
        if path.is_file():
            if intact(path):
                kept: NDArray[Any] = np.load(path, allow_pickle=False)
                return kept
            note(f"{path} is not what was kept. It is made again.")
        made = make()
        content = io.BytesIO()
        np.save(content, made, allow_pickle=False)
        write_sealed(path, content.getvalue())
        return made

    def record(self, **values: Any) -> None:
        self.recorded.update(values)

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _lock(folder: Path) -> AbstractContextManager[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return locked(folder.with_name(f".{folder.name}.lock"))


def _resume_point(path: Path) -> dict[str, Any] | None:
    if not sound_checkpoint(path):
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
