"""What a sweep needs around its jobs: who belongs to it, and what became of it."""

from __future__ import annotations

import itertools
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, read_write
from rich.text import Text

from aspire.cli._app import say
from aspire.cli._datasets import called
from aspire.console import console, styled
from aspire.errors import ConfigError, RemoteError
from aspire.experiment import in_words
from aspire.progress import duration
from aspire.runs.ledger import JobEntry, Ledger
from aspire.session import session
from aspire.stored.files import tidy
from aspire.stored.results import read_training

SOME_FAILED = 4  # exit code of a sweep
STYLES = {"done": "green", "running": "cyan", "failed": "red", "stale": "yellow", "new": "dim"}
LABELS = ("dataset", "baseline", "augmentation", "model", "seed")


@dataclass
class Sweep:
    """The sweep that this process has started."""

    ledger: Ledger
    jobs: list[list[str]]
    stale_after: float

    def entries(self) -> list[JobEntry]:
        """Its jobs as they are now."""
        return [self.ledger.entry(words, self.stale_after) for words in self.jobs]


@dataclass
class _Started:
    sweep: Sweep | None = None


def started() -> Sweep | None:
    """The sweep that this process has started, if it has."""
    return session().of(_Started).sweep


class SweepBookkeeping(Callback):
    """Hydra's callback: writes down the jobs of a sweep before the first one starts."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        loader = GlobalHydra.instance().config_loader()
        try:
            refuse_ranks(config)
        except ConfigError as error:  # of what a callback raises Hydra only warns
            say(str(error), error.exit_code)
            raise SystemExit(error.exit_code) from None
        if config.dry_run:  # the plan is put together here
            basic = compose("train", ["hydra/launcher=basic"], return_hydra_config=True)
            with read_write(config):
                config.hydra.launcher = basic.hydra.launcher
            return
        sweep = Sweep(
            ledger=Ledger(Path(config.hydra.sweep.dir), command_of(sys.argv[1:])),
            jobs=jobs_of(config, loader),
            stale_after=float(config.sweep.stale_after),
        )
        choices = config.hydra.runtime.choices
        tidy(sweep.ledger.folder / "jobs")
        for words in sweep.jobs:
            given = dict(w.lstrip("+").split("=", 1) for w in words if "=" in w)
            about = {k: given.get(k, choices.get(k)) for k in LABELS}
            about["seed"] = int(given.get("seed", config.seed))
            if about["dataset"] == choices.get("dataset"):
                node = {k: given.get(f"dataset.{k}", v) for k, v in config.dataset.items()}
                about["dataset"] = called(about["dataset"], node)
            sweep.ledger.expect(words, about, command_of(words))
        session().of(_Started).sweep = sweep


def jobs_of(config: DictConfig, loader: ConfigLoader) -> list[list[str]]:
    """The words of every job, in the order of Hydra's own sweeper: the last key changes first."""
    params = [f"{k}={v}" for k, v in (config.hydra.sweeper.get("params") or {}).items()]
    parsed = OverridesParser.create(loader).parse_overrides(
        [*params, *config.hydra.overrides.task]
    )  # fmt: skip
    choices: dict[str, list[str]] = {}  # what is typed replaces what is stored
    for override in parsed:
        key = override.get_key_element()
        values = (
            override.sweep_string_iterator()
            if override.is_discrete_sweep()
            else [override.get_value_element_as_str()]
        )
        choices[key] = [f"{key}={value}" for value in values]
    return [list(job) for job in itertools.product(*choices.values())]


def command_of(words: Sequence[str]) -> str:
    """What runs these words, a sweep or one of its jobs."""
    return shlex.join(["aspire", "train", *words])


def refuse_ranks(config: DictConfig) -> None:
    """Refuse a sweep of jobs of several processes: each rank would begin the whole sweep.

    Raises:
        ConfigError: with what to type instead.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ConfigError(
            "A sweep cannot be started by torchrun: every process would run all of it. Start "
            "the jobs one by one, or without torchrun and with trainer.devices=1."
        )
    if config.trainer.devices not in (1, "auto"):
        raise ConfigError(
            f"trainer.devices={config.trainer.devices} in a sweep: each process of a job would "
            "begin the whole sweep again. Expected 1: use several devices for several jobs at once,"
            "\n  hydra/launcher=slots trainer.devices=1\n"
            "or start the jobs one by one with torchrun, as aspire sweep status lists them."
        )


def sweeping() -> bool:
    """Whether this job is one of a sweep."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def job_ended(words: Sequence[str], error: RemoteError | None, done: int, output: Path) -> None:
    """Say what became of a job that ran in another process, and write it down if it could not."""
    sweep = started()
    assert sweep is not None
    entry = sweep.ledger.entry(words, sweep.stale_after)
    if error is not None and entry.state == "new":
        sweep.ledger.note(words, entry.about, entry.command, None, str(error))
        entry = sweep.ledger.entry(words, sweep.stale_after)
    what = in_colour(entry.state)
    if entry.state == "done":
        result = read_training(entry.look.folder)
        what = styled("{}  test {}", what, in_words(result["metrics"]["test"]))
    elif entry.look.reason:
        what = styled("{}  {}  [dim]{}[/dim]", what, entry.look.reason, output)
    console.show("[bold]{}/{}[/bold]  {}: {}", done, len(sweep.jobs), entry.name, what)


def in_colour(state: str) -> Text:
    """The state of a job."""
    return Text(state, style=STYLES[state])


def print_summary() -> int | None:
    """Say what became of the sweep's jobs; the exit code, or None where all ended alike."""
    sweep = started()
    if sweep is None:
        return None
    session().of(_Started).sweep = None
    entries = sweep.entries()
    if len(entries) == 1 and entries[0].state == "done":
        return None
    console.show("\n[bold]sweep[/bold]  {}: {}", sweep.ledger.folder, counts(entries))
    failed = [e for e in entries if e.state in ("failed", "stale")]
    for line in reasons(entries):
        console.show("  {}", line)
    if failed or any(e.state == "new" for e in entries):
        command = sweep.ledger.sweep
        console.show("[bold]next[/bold]   the same command does what is left: {}", command)
    else:
        console.show(
            "[bold]next[/bold]   aspire table {} rows=baseline cols=dataset", sweep.ledger.folder
        )
    if not any(e.state in ("done", "running") for e in entries):
        return next((e.exit_code for e in failed), None)
    return SOME_FAILED if failed else None


def reasons(entries: Sequence[JobEntry]) -> list[Text]:
    """Why jobs are not done, those with one reason together, and what finishes them."""
    found: dict[tuple[str, str], list[JobEntry]] = {}
    for entry in entries:
        if entry.state in ("failed", "stale", "running"):
            why = entry.look.who if entry.state == "running" else entry.look.reason
            found.setdefault((entry.state, why), []).append(entry)
    lines = []
    for (state, why), group in found.items():
        names = "; ".join(e.name for e in group[:3])
        more = f" and {len(group) - 3} more" if len(group) > 3 else ""
        lines.append(styled("{}: {}{}: {}", in_colour(state), names, more, why))
        logs = [str(e.log) for e in group if e.log]
        if logs:
            lines.append(styled("  log: {}", logs[0]))
        if state != "running":
            lines.append(styled("  [dim]{}[/dim]", group[0].command))
    return lines


def counts(entries: Sequence[JobEntry]) -> str:
    """``70 done, 1 failed, 1 new``.

    >>> from aspire.runs.claims import RunStatus
    >>> done, new = (JobEntry({}, RunStatus(Path(), s), "") for s in ("done", "new"))
    >>> counts([new, done, done])
    '2 done, 1 new'
    """
    order = ("done", "running", "failed", "stale", "new")
    numbers = {s: sum(e.state == s for e in entries) for s in order}
    return ", ".join(f"{n} {s}" for s, n in numbers.items() if n) or "no job"


def age(entry: JobEntry) -> str:
    """How long ago something happened to a job."""
    return duration(entry.look.age) if entry.state != "new" else ""
