"""``aspire rerun``: a finished training run again, from the configuration in its folder."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from aspire.cli._app import compose_config, plain
from aspire.cli._datasets import checked_dataset
from aspire.cli._stored import compose_words
from aspire.cli.diff import show_differences
from aspire.cli.jobs import IDENTITY, training_identity
from aspire.console import console
from aspire.errors import AspireError, ConfigError
from aspire.reporting.compare import describe, differences
from aspire.reporting.provenance import Provenance, outputs_of
from aspire.revision import revision, worded
from aspire.runs.ledger import find_jobs
from aspire.runs.trained import TrainedRun, load_run
from aspire.stored.config import leaves, read_config
from aspire.stored.results import read_mapping
from aspire.training.job import TrainingJob
from aspire.version import __version__

# A result is another one when any of these is.
NUMBERS = ("weights_sha256", "metrics", "selected_step")


class ChangedError(AspireError):
    """The numbers of the rerun are others, or would not be comparable."""


def job(cfg: DictConfig) -> None:
    """Check what has changed since, run, compare."""
    run = load_run(Path(cfg.run))
    if "weights_sha256" not in run.result:
        raise ConfigError(
            f"{cfg.run}: not a training run. aspire run and aspire discover are repeated by the "
            "command in their report; finished work is found."
        )
    stored = read_config(run.folder)
    words = [*compose_words(stored, run.result), *map(str, cfg.set)]
    target = Path(cfg.paths.outputs) / "rerun" / run.folder.name
    composed, _ = compose_config("train", words)
    data = [f"paths.outputs={target}", f"paths.data={composed.paths.data}", "logger=none"]
    # Where and how fast is of today, but another number of threads rounds otherwise.
    trainer = stored.get("trainer")
    if isinstance(trainer, dict) and isinstance(threads := trainer.get("threads"), int):
        data.append(f"trainer.threads={threads}")
    command = ["train", *words, *data]
    changes = _changes(run, composed)
    for change in changes:
        console.show("[yellow]changed[/yellow]  {}", change)
    console.show("[bold]command[/bold]  {}", shlex.join(["aspire", *command]))
    if cfg.dry_run:
        return
    if changes and not cfg.anyway:
        raise ChangedError(
            "What the run was made with has changed, so other numbers would say little. Type "
            "anyway=true to run it all the same, or take the code and data of then."
        )
    if cfg.reuse:
        _share(outputs_of(run.folder), target)
    again = _train(command, target, run)
    _compare(run, again)


def _changes(run: TrainedRun, composed: DictConfig) -> list[str]:
    """What of code and data is not as it was, a sentence each."""
    result, changes = run.result, []
    dataset, _ = checked_dataset(composed.dataset)
    digest = dataset.digest(Path(composed.paths.outputs) / "cache")
    if digest != result["dataset_digest"]:
        changes.append(
            f"data: {dataset.root} has digest {digest[:12]}, the run was made on "
            f"{result['dataset_digest'][:12]}"
        )
    key = TrainingJob(
        dataset=dataset,
        dataset_digest=result["dataset_digest"],
        identity=result["identity"],
        extra_digest=result["generated_digest"],
        seed=result["seed"],
        checks={},
        labels={},
        parts=lambda: None,
    ).key
    if key != result["key"]:
        changes.append(
            f"code: training gives other numbers by now (VERSION of training/job.py): "
            f"the same settings had key {result['key']} and have {key}"
        )
    then, now = (dict(leaves(i)) for i in (result["identity"], training_identity(composed)))
    for name, value in leaves({k: plain(composed[k]) for k in IDENTITY}):
        if now.get(name) not in (value, then.get(name)):  # a file, counted by its content
            changes.append(f"file: {name}={value} is not the file that the run was made with")
    environment = run.folder / "environment.json"
    noted = read_mapping(environment)
    if noted.get("aspire", __version__) != __version__:
        changes.append(f"code: aspire {noted['aspire']} then, {__version__} now")
    before, today = worded(noted), worded(revision())
    if before and today and before != today:
        changes.append(f"code: commit {before} then, {today} now")
    stages = Provenance(outputs_of(run.folder)).of(result)
    if result["generated_digest"] and not stages:
        console.show(
            "[dim]The stages behind its generated images are not at hand: whether they are made "
            "the same way shows when they are.[/dim]"
        )
    return changes


def _share(outputs: Path, target: Path) -> None:
    """Let the rerun find the artifacts of the run."""
    there, here = outputs / "artifacts", target / "artifacts"
    if there.is_dir() and not here.exists():
        target.mkdir(parents=True, exist_ok=True)
        try:
            here.symlink_to(there.resolve(), target_is_directory=True)
        except OSError:  # Windows lets few people make links, and some file systems nobody
            shutil.copytree(there, here)


def _train(command: Sequence[str], target: Path, run: TrainedRun) -> TrainedRun:
    """The rerun, in a process of its own; what was cut off is continued, what is done removed."""
    for done in _finished(target, run):
        shutil.rmtree(done)
    code = subprocess.run([sys.executable, "-m", "aspire", *command], check=False).returncode
    finished = _finished(target, run)
    if code or not finished:
        raise ChangedError("The rerun failed; its own output is above.")
    return TrainedRun(finished[-1], "run")


def _finished(target: Path, run: TrainedRun) -> list[Path]:
    """Finished runs of the same arm and seed below a folder."""
    same = ("baseline", "augmentation", "seed")
    jobs = [j for j in find_jobs(target / "train") if j.state == "done"]
    mine = [j for j in jobs if all(j.about[k] == run.result[k] for k in same)]
    return sorted((j.look.folder for j in mine), key=lambda f: f.stat().st_mtime)


def _alike(left: Any, right: Any) -> bool:
    """Whether what both say is the same; a later version may say more."""
    if isinstance(left, dict) and isinstance(right, dict):
        return all(_alike(left[k], right[k]) for k in left.keys() & right.keys())
    return bool(left == right)


def _compare(run: TrainedRun, again: TrainedRun) -> None:
    same = [k for k in NUMBERS if _alike(run.result[k], again.result[k])]
    console.show("\n[bold]rerun[/bold]    {}", again.folder)
    if len(same) == len(NUMBERS):
        console.show("[green]the same[/green]  weights and every number are those of the run")
        return
    left, right = describe(run.folder), describe(again.folder)
    found = [d for d in differences(left, right) if d.section != "execution"]
    show_differences(found, left, right)
    if "metrics" in same:
        console.print("\nEvery number is the same; only the weights differ in their last digits.")
        return
    raise ChangedError(
        "The rerun gave other numbers; what else differs is listed above. Another machine, number "
        "of threads or version of torch is enough for the last digits."
    )
