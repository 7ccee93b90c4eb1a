"""One training run: a folder that holds everything about it, made once and resumed when cut off."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aspire.data.table import Dataset
from aspire.environment import FILE, environment
from aspire.identity import arm_name, digest_of
from aspire.processes import is_main
from aspire.runs.claims import RunningError, claim, run_status
from aspire.runs.policy import PendingError, policy
from aspire.runs.trained import TrainedRun
from aspire.stored.files import tidy, write_atomic
from aspire.stored.notes import note
from aspire.stored.phases import weights_file
from aspire.stored.results import damage
from aspire.text import file_name

RESULT_SCHEMA = 1
VERSION = 2  # rises when equal settings give other weights
MIXED_VERSION = 3  # the same, where only runs with generated images have other weights


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
        labels = {name: file_name(label) for name, label in self.labels.items()}
        name = f"{labels['model']}-s{self.seed}-{self.key}"
        folder = root / file_name(self.dataset.name)
        return folder / labels["baseline"] / labels["augmentation"] / name

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

    What happens with a run that someone else works on, :func:`aspire.runs.policy.policy`
    says.

    Args:
        root: runs are kept below it.
        config_yaml: gives the text of the resolved configuration, kept beside the result.

    Raises:
        RunningError: someone else works on it, and it shall be left alone.
        PendingError: it is not done, and nothing but a plan is wanted.
    """
    folder = job.folder(root)
    wanted = policy()
    together = int(os.environ.get("WORLD_SIZE", 1)) > 1  # then the main process decides for all
    if (folder / "result.json").is_file() and (reason := damage(folder)):
        note(f"{reason} The run is finished again.")
    while not _finished(folder):
        if wanted.plan:
            job.parts()
            raise PendingError(f"{job.name}, {job.key}", run_status(folder, wanted.stale_after))
        try:
            with _attempt(job, folder):
                if is_main() and _finished(folder):  # a moment ago
                    break
                if is_main():
                    tidy(folder, deep=True)
                    wanted.started(folder)
                    write_atomic(folder / "config.yaml", config_yaml())
                started = time.monotonic()
                baseline, context = job.parts()
                net = baseline.run(context)
                metrics = _judged(job, context, net)
                if is_main():
                    about = {
                        **environment(root.parent),
                        "device": str(context.device),
                        "seconds": round(time.monotonic() - started, 1),
                        "finished": time.strftime("%Y-%m-%dT%H:%M:%S"),
                    }
                    write_atomic(folder / FILE, json.dumps(about, indent=1).encode())
                    _keep(job, folder, baseline.needs.describe(), context, net, metrics)
            parent = os.getppid()  # once that has ended, nobody writes it any more
            while not is_main() and not _finished(folder) and os.getppid() == parent:
                time.sleep(POLL)
            return TrainedRun(folder, "run")
        except RunningError as error:
            if error.look.state == "done":
                continue
            if wanted.busy == "leave" and not together:
                raise
            time.sleep(POLL)
    tidy(folder, deep=True)
    return TrainedRun(folder, "hit")


def _attempt(job: TrainingJob, folder: Path) -> AbstractContextManager[None]:
    """The run as this process's work; one of several that train together has it from the main."""
    if not is_main():
        return nullcontext()
    wanted = policy()
    return claim(folder, {**job.about(), "command": wanted.command}, wanted.stale_after)


def _finished(folder: Path) -> bool:
    return (folder / "result.json").is_file() and not damage(folder)


def _judged(job: TrainingJob, context: Any, net: Any) -> dict[str, Any]:
    """Split -> its metrics, with a warning where the network knows one class alone."""
    from aspire.classification.metrics import group_metrics

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
    return {split: m.to_dict() for split, m in metrics.items()}


def _keep(
    job: TrainingJob, folder: Path, needs: str, context: Any, net: Any, metrics: Mapping[str, Any]
) -> None:
    """Write down weights and numbers."""
    from safetensors.torch import save

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
        "needs": needs,
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
        "metrics": metrics,
        "history": {k: p["history"] for k, p in context.phases.items()},
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "identity": job.identity,
    }
    # Last, since its presence says that the run is finished.
    write_atomic(folder / "result.json", json.dumps(result, indent=1).encode())


def _keep_selectable(phase: dict[str, Any], state: dict[str, Any], folder: Path) -> dict[str, str]:
    """Rule -> file of the weights it selects, below the run's folder.

    Empty where the result is not what the last phase selected: a method that replaces the head
    afterwards cannot be selected again.
    """
    import torch
    from safetensors.torch import load_file

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
