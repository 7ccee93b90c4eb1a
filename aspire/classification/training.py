"""One training run: a folder that holds everything about it, made once and resumed when cut off."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aspire.data.table import Dataset
from aspire.environment import FILE, environment
from aspire.errors import ConfigError, DamagedError
from aspire.pipeline.jobs import RunningError, claim, look_at
from aspire.pipeline.manners import PendingError, manners
from aspire.pipeline.store import digest_of, write_atomic
from aspire.processes import is_main
from aspire.reporting.table import arm_name
from aspire.stored.files import own_file, tidy
from aspire.stored.notes import note
from aspire.stored.results import damage, read_any
from aspire.stored.seals import file_digest
from aspire.text import file_name

RESULT_SCHEMA = 1
VERSION = 2  # rises when equal settings give other weights
MIXED_VERSION = 3  # the same, where only runs with generated images have other weights


@dataclass(frozen=True)
class TrainedRun:
    """A finished run, known by its folder."""

    folder: Path
    state: Literal["hit", "run"]

    @cached_property
    def result(self) -> dict[str, Any]:
        """The content of ``result.json``.

        Raises:
            DamagedError: when it cannot be read.
        """
        return read_any(self.folder)

    @property
    def weights(self) -> Path:
        """The selected weights."""
        return self.folder / "model.safetensors"

    def weights_by(self, selection: str) -> Path:
        """The weights that another selection rule takes; nothing is trained.

        Raises:
            ConfigError: for a rule that does not apply to this run, with those that do.
        """
        selectable: dict[str, str] = self.result.get("selectable", {})
        if selection not in selectable:
            raise ConfigError(
                f"selection={selection}: this run cannot be selected by it. Expected "
                + (
                    f"one of {', '.join(selectable)}."
                    if selectable
                    else "nothing: its last layer "
                    f"was made after training ({self.result['baseline']})."
                )
            )
        return self.folder / selectable[selection]

    def check(self, weights: Path) -> Path:
        """The weights, selected ones or others of the run, once they are seen to be its own.

        Raises:
            DamagedError: when they are not what the run was finished with, with what to do.
        """
        from aspire.classification.checkpoints import check_kept

        try:
            own_file(weights, self.folder)
            if weights != self.weights:
                return check_kept(weights)
            if not weights.is_file():
                raise DamagedError("it is not there.")
            if (found := file_digest(weights)) != self.digest:
                raise DamagedError(
                    f"its SHA-256 is {found[:12]}..., and that of the run's result is "
                    f"{self.digest[:12]}..."
                )
        except DamagedError as error:
            raise DamagedError(
                f"{weights}: these are not the weights that the run was finished with: {error} "
                f"Take the folder from where it came from again, or remove {self.folder} and train "
                f"it again{self._command()}."
            ) from None
        return weights

    def _command(self) -> str:
        command = (look_at(self.folder).about or {}).get("command")
        return f": {command}" if command else ""

    @property
    def digest(self) -> str:
        """SHA-256 of the weights; equal for equal weights, wherever they lie."""
        digest: str = self.result["weights_sha256"]
        return digest


@dataclass
class TrainingJob:
    """Everything that makes a run, split into what changes its result and what does not.

    Args:
        dataset: what to train and judge on.
        dataset_digest: of its content.
        identity: plain values of every setting that changes the result.
        extra_digest: of the generated images, or None without any.
        seed: of the run.
        checks: what was found when the dataset was checked, as counts.
        labels: names for tables: baseline, model, augmentation.
        parts: builds the heavy objects, only when there is work to do.
    """

    dataset: Dataset
    dataset_digest: str
    identity: Mapping[str, Any]
    extra_digest: str | None
    seed: int
    checks: Mapping[str, Any]
    labels: Mapping[str, str]
    parts: Callable[[], Any]

    @cached_property
    def key(self) -> str:
        """Hash of what changes the result."""
        parts: dict[str, Any] = {
            "version": VERSION,
            "dataset": self.dataset_digest,
            "identity": dict(self.identity),
            "extra": self.extra_digest,
            "seed": self.seed,
        }
        if self.extra_digest is not None:
            parts["mixed"] = MIXED_VERSION
        return digest_of(parts)[:12]

    def folder(self, root: Path) -> Path:
        """``<root>/<dataset>/<baseline>/<augmentation>/<model>-s<seed>-<key>``."""
        labels = self.labels
        name = f"{labels['model']}-s{self.seed}-{self.key}"
        return (
            root / file_name(self.dataset.name) / labels["baseline"] / labels["augmentation"] / name
        )

    @property
    def name(self) -> str:
        """How the job is called in one line."""
        arm = arm_name(self.labels["baseline"], self.labels["augmentation"])
        return f"{self.dataset.name}, {arm}, seed {self.seed}"

    def about(self) -> dict[str, Any]:
        """What tables need to know of a job that has no result yet."""
        return {"dataset": self.dataset.name, **self.labels, "seed": self.seed, "key": self.key}


POLL = 0.5  # seconds between two looks at a run that someone else works on


def run_training(job: TrainingJob, root: Path, config_yaml: Callable[[], bytes]) -> TrainedRun:
    """The run of this job: the finished one if there is one, else made or resumed now.

    What happens with a run that someone else works on, :func:`aspire.pipeline.manners.manners`
    say.

    Args:
        root: runs are kept below it.
        config_yaml: gives the text of the resolved configuration, kept beside the result.

    Raises:
        RunningError: someone else works on it, and it shall be left alone.
        PendingError: it is not done, and nothing but a plan is wanted.
    """
    folder = job.folder(root)
    wanted = manners()
    together = int(os.environ.get("WORLD_SIZE", 1)) > 1  # then the main process decides for all
    if (folder / "result.json").is_file() and (reason := damage(folder)):
        note(f"{reason} The run is finished again.")
    while not _finished(folder):
        if wanted.plan:
            job.parts()
            raise PendingError(f"{job.name}, {job.key}", look_at(folder, wanted.stale_after))
        if not is_main():
            _train(job, folder, root.parent)
            return TrainedRun(folder, "run")
        try:
            with claim(folder, {**job.about(), "command": wanted.command}, wanted.stale_after):
                if _finished(folder):  # a moment ago
                    break
                tidy(folder, deep=True)
                wanted.started(folder)
                write_atomic(folder / "config.yaml", config_yaml())
                _train(job, folder, root.parent)
            return TrainedRun(folder, "run")
        except RunningError as error:
            if error.look.state == "done":
                continue
            if wanted.busy == "leave" and not together:
                raise
            time.sleep(POLL)
    tidy(folder, deep=True)
    return TrainedRun(folder, "hit")


def _finished(folder: Path) -> bool:
    return (folder / "result.json").is_file() and not damage(folder)


def _train(job: TrainingJob, folder: Path, outputs: Path) -> None:
    from safetensors.torch import save

    from aspire.classification.metrics import group_metrics

    started = time.monotonic()
    baseline, context = job.parts()
    net = baseline.run(context)
    metrics = {}
    for split, table in context.tables.items():
        predicted = context.predict(net, split).numpy()
        if len(np.unique(predicted)) == 1 < len(np.unique(table.y)):
            context.warn(
                f"Every {split.name.lower()} image is called "
                f"{job.dataset.class_names[int(predicted[0])]}: nothing else was learnt. Try "
                "another optimizer.lr or more fit.steps."
            )
        metrics[split.name.lower()] = group_metrics(
            predicted == table.y, table.y, table.group, context.grouper, context.train_counts
        )
    if not is_main():
        return
    state = {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
    weights = save(state)
    write_atomic(folder / "model.safetensors", weights)
    phase = list(context.phases.values())[-1]
    result = {
        "schema": RESULT_SCHEMA,
        "key": job.key,
        "dataset": job.dataset.name,
        "dataset_digest": job.dataset_digest,
        "class_names": list(job.dataset.class_names),
        "attribute_names": list(job.dataset.attribute_names),
        "group_definition": job.dataset.group_definition,
        **job.labels,
        "seed": job.seed,
        "needs": baseline.needs.describe(),
        "selection": phase["selection"],
        "selected_step": phase["selected_step"],
        "selectable": _keep_selectable(phase, state, folder),
        "steps": sum(p["steps"] for p in context.phases.values()),
        "method": context.recorded,
        "warnings": context.warnings,
        "generated_digest": job.extra_digest,
        "train_images": len(context.train),
        "checks": job.checks,
        "group_counts": {s.name.lower(): job.dataset.group_counts(s) for s in job.dataset.splits},
        "metrics": {k: m.to_dict() for k, m in metrics.items()},
        "history": {k: p["history"] for k, p in context.phases.items()},
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "identity": job.identity,
    }
    about = {
        **environment(outputs),
        "device": str(context.device),
        "seconds": round(time.monotonic() - started, 1),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }
    write_atomic(folder / FILE, json.dumps(about, indent=1).encode())
    # Last, since its presence says that the run is finished.
    write_atomic(folder / "result.json", json.dumps(result, indent=1).encode())


def _keep_selectable(phase: dict[str, Any], state: dict[str, Any], folder: Path) -> dict[str, str]:
    """Rule -> file of the weights it selects, below the run's folder.

    Empty where the result is not what the last phase selected: a method that replaces the head
    afterwards cannot be selected anew.
    """
    import torch
    from safetensors.torch import load_file

    from aspire.classification.checkpoints import weights_file

    selected = load_file(weights_file(phase["folder"], phase["selected_step"]))
    same = selected.keys() == state.keys()
    if not same or not all(torch.equal(selected[k], state[k]) for k in state):
        return {}
    shared: Path = phase["folder"]
    own = shared
    if not shared.is_relative_to(folder):  # the run's folder must stand alone
        own = folder / "checkpoints" / "erm"
        shutil.copytree(shared, own, dirs_exist_ok=True)
    files = {rule: weights_file(own, step) for rule, step in phase["best"].items()}
    return {rule: file.relative_to(folder).as_posix() for rule, file in files.items()}


def load_run(folder: Path) -> TrainedRun:
    """A finished run by its folder.

    Raises:
        ConfigError: when there is none.
        DamagedError: when its result cannot be read.
    """
    folder = Path(folder)
    if not (folder / "result.json").is_file():
        raise ConfigError(
            f"run={folder}: no result.json in it. Expected the folder of a finished run, such as "
            "the one that aspire train prints."
        )
    read_any(folder)
    return TrainedRun(folder, "hit")
