"""The real :class:`~aspire.baselines.base.RunContext`: a new Trainer for every phase."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aspire.baselines.base import Objective
from aspire.baselines.erm import CrossEntropy
from aspire.classification.classifier import Classifier
from aspire.classification.metrics import group_metrics
from aspire.classification.selection import ORACLES, score
from aspire.data.datamodule import Draw
from aspire.data.image_table import ImageTable
from aspire.data.table import Split
from aspire.errors import ConfigError
from aspire.identity import digest_of
from aspire.processes import is_main
from aspire.rng import seed_for
from aspire.stored.files import locked
from aspire.stored.notes import note
from aspire.stored.seals import intact, write_sealed
from aspire.text import file_name
from aspire.training.features import collect, features_of, logits_of
from aspire.training.job import VERSION
from aspire.training.phases import Phase, Setup, run_phase
from aspire.training.settings import FitSettings, Identities


@dataclass(kw_only=True)
class TrainingContext(Setup):
    """Gives a baseline its vocabulary, and keeps what it said of the run.

    Each phase has a folder in ``folder/checkpoints``; see :mod:`.phases` for how one is trained,
    and :mod:`.features` for how tables are looked at.

    Args:
        folder: of the run.
        train: what to train on; groups -1 where the method must not see them.
        shared: says what may be shared with other runs; None to share nothing.
    """

    folder: Path
    train: ImageTable
    shared: Identities | None = None
    phases: dict[str, dict[str, Any]] = field(default_factory=dict)
    recorded: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.steps = self.fit_settings.steps
        self.batch_size = self.fit_settings.batch_size
        self.accumulate = self.fit_settings.accumulate

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
            raise ValueError(f"phase {phase!r} appears twice in one run")
        table = self.train if train is None else train
        table = replace(table, group=table.group if groups is None else groups)
        if sample_weights is not None:
            table = replace(table, weight=sample_weights)
        todo = Phase(
            phase,
            self.folder / "checkpoints" / file_name(phase),
            objective,
            net or self.network(phase),
            table,
            self._settings(steps, select),
            draw,
            _given(lr=lr, weight_decay=weight_decay),
        )
        self.phases[phase] = run_phase(self, todo, phase)
        return todo.net

    def erm(
        self,
        *,
        rows: NDArray[np.int64] | None = None,
        steps: int | None = None,
        lr: float | None = None,
        weight_decay: float | None = None,
        select: str | None = None,
        accumulate: int | None = None,
    ) -> Classifier:
        fit = self._settings(steps, select)
        fit = replace(fit, accumulate=accumulate or fit.accumulate)
        settings = _given(lr=lr, weight_decay=weight_decay)
        shared = self.shared if self.device_settings.share_stages else None
        root = shared.root / "erm" if shared else self.folder / "checkpoints"
        table = self.train if rows is None else self.train.take(rows)
        todo = Phase(
            "erm",
            root / f"erm-{self._erm_key(rows, fit, settings)}",
            CrossEntropy(),
            self.network("erm"),
            replace(table, group=np.full(len(table), -1)),
            fit,
            optimizer=settings,
        )
        label = self._label(todo)
        with _lock(todo.folder) if shared and is_main() else contextlib.nullcontext():
            self.phases[label] = run_phase(self, todo, label, known=label in self.phases)
        return todo.net

    def _erm_key(
        self, rows: NDArray[np.int64] | None, fit: FitSettings, settings: Mapping[str, float]
    ) -> str:
        """Hash of what changes the weights of an ERM."""
        training = dict(self.shared.training) if self.shared else {}
        # What is selected does not change the training, unless it has the test split measured.
        oracle = fit.selection in ORACLES
        training["fit"] = {**fit.identity(), "selection": "oracle" if oracle else "any"}
        parts = {
            "images": self.shared.images if self.shared else len(self.train),
            "training": training,
            "settings": dict(settings),
            "rows": None if rows is None else hashlib.sha256(rows.tobytes()).hexdigest(),
            "seed": self.seed,
            "version": VERSION,
        }
        return digest_of(parts)[:12]

    def _label(self, phase: Phase) -> str:
        """What it is called in the result: a method may need ERMs of two lengths."""
        known = {p["folder"]: label for label, p in self.phases.items()}
        name = phase.name
        new = f"{name}-{len(self.phases) + 1}" if name in self.phases else name
        return known.get(phase.folder, new)

    def _settings(self, steps: int | None, select: str | None) -> FitSettings:
        """The configured settings, with the number of evaluations that divides ``steps``."""
        fit = replace(self.fit_settings, selection=select or self.fit_settings.selection)
        if steps is None or steps == fit.steps:
            return fit
        wanted = max(1, round(fit.evaluations * steps / fit.steps))
        evaluations = next(n for n in range(wanted, 0, -1) if steps % n == 0)
        return replace(fit, steps=steps, evaluations=evaluations)

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
        return logits_of(self, net, self.features(net, split))

    def features(self, net: Classifier, split: Split) -> Tensor:
        return features_of(self, net, self.table(split), self.shared, split.name)

    def collect(
        self, net: Classifier, table: ImageTable, fn: Callable[[Classifier, Tensor], Tensor]
    ) -> Tensor:
        return collect(self, net, table, fn)

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
        path = self.folder / "state" / f"{file_name(name)}.npy"
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


def _given(**settings: float | None) -> dict[str, float]:
    """Those that are not None."""
    return {name: value for name, value in settings.items() if value is not None}


def _lock(folder: Path) -> AbstractContextManager[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return locked(folder.with_name(f".{folder.name}.lock"))
