"""``dry_run=true``: what the jobs would do, how long they may take, and which cannot work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from aspire.cli._app import task_overrides
from aspire.cli._datasets import called
from aspire.cli.jobs import Job
from aspire.console import Table, console
from aspire.environment import yardstick_of
from aspire.errors import AspireError
from aspire.experiment import Shared
from aspire.progress import duration
from aspire.runs.claims import run_status
from aspire.runs.policy import PendingError, run_policy
from aspire.session import session
from aspire.stored.results import damage, read_any
from aspire.text import file_name
from aspire.yardstick import yardstick

DRY_RUN = {"_target_": "aspire.pipeline.dry_run.DryRunEngine"}


@dataclass
class PlannedJob:
    """One line of the plan.

    Args:
        key: of the run, or "" where it follows from work that is not done.
        note: what comes first, who runs it, or why it cannot work.
        after: key of the run that comes first, or "".
        seconds: it may take; None when unknown.
    """

    name: str
    state: str
    key: str = ""
    note: str = ""
    after: str = ""
    seconds: float | None = None


@dataclass
class Plan:
    """What the jobs of this command would do."""

    jobs: list[PlannedJob] = field(default_factory=list)


def add(cfg: DictConfig, shared_by: Callable[[DictConfig], Shared]) -> None:
    """Compose and check one job, train nothing, and remember what it would do."""
    choices = HydraConfig.get().runtime.choices
    augmentation = choices["augmentation"]
    entry = _entry(cfg)
    with open_dict(cfg):
        cfg.engine = DRY_RUN
        cfg.trainer.pixel_cache = False  # no image is decoded for a plan
    words = [*task_overrides(), "trainer.pixel_cache=false"]
    with _silence(), run_policy(plan=True, stale_after=float(cfg.sweep.stale_after)):
        try:
            work = Job("train", cfg, words, shared_by(cfg), chosen=choices)
            train = work.experiment.train
            if augmentation != "none":  # its own parts are checked even where its images lack
                _settled(lambda: train(work.recipe(augmentation="none")))
            run = train(work.recipe())
            entry.state, entry.key = "done", run.result["key"]
            return
        except PendingError as pending:
            _describe(entry, pending)
        except AspireError as error:
            entry.state, entry.note = "invalid", str(error)
            return
    entry.seconds = _expected(Path(cfg.paths.outputs) / "train", cfg, choices)


def refuse(cfg: DictConfig, error: AspireError) -> None:
    """Remember a job whose values cannot be right."""
    entry = _entry(cfg)
    entry.state, entry.note = "invalid", str(error)


def _entry(cfg: DictConfig) -> PlannedJob:
    choices = HydraConfig.get().runtime.choices
    baseline, augmentation = choices["baseline"], choices["augmentation"]
    arm = baseline if augmentation == "none" else f"{baseline} + {augmentation}"
    dataset = called(choices["dataset"], cfg.dataset)
    entry = PlannedJob(f"{dataset}, {arm}, seed {cfg.seed}", "new")
    session().of(Plan).jobs.append(entry)
    return entry


@contextmanager
def _silence() -> Iterator[None]:
    """The plan says in one line a job what a job says in many."""
    console.quiet = True
    try:
        yield
    finally:
        console.quiet = False


def _settled(check: Callable[[], Any]) -> None:
    try:
        check()
    except PendingError:
        return


def _describe(entry: PlannedJob, pending: PendingError) -> None:
    look = pending.look
    what, _, key = str(pending).rpartition(", ")
    if look is None or what != entry.name:
        entry.note, entry.after = f"first {pending}", key
        return
    entry.state, entry.key = look.state, key
    entry.note = look.who if look.state == "running" else look.reason


def _expected(root: Path, cfg: DictConfig, choices: Any) -> float | None:
    """Seconds, from finished runs: the same baseline and dataset, else as near as there are."""
    dataset = file_name(called(choices["dataset"], cfg.dataset))
    baseline = str(choices["baseline"])
    for pattern in (f"{dataset}/{baseline}/*/*", f"{dataset}/*/*/*", "*/*/*/*"):
        found = [p.parent for p in root.glob(f"{pattern}/result.json")]
        rates = [r for p in found if (r := _rate(p, root.parent / "cache")) is not None]
        if rates:
            return sum(rates) / len(rates) * int(cfg.fit.steps)
    return None


def _rate(run: Path, cache: Path) -> float | None:
    """Seconds that a step of a finished run's fit.steps would take on this machine.

    What was made where the yardstick is Y took Y / Y_here times as long as it would here.
    """
    if damage(run):
        return None
    result = read_any(run)
    seconds = run_status(run).seconds
    steps = result.get("identity", {}).get("fit", {}).get("steps")
    if not steps or not seconds:
        return None
    there = yardstick_of(run)
    slower = there.product / yardstick(cache).product if there else 1.0
    return float(seconds / steps * slower)


def print_summary() -> int | None:
    """Print the plan; exit code 2 when a job cannot work."""
    plan = session().of(Plan)
    jobs, plan.jobs = plan.jobs, []
    table = Table(f"plan of {len(jobs)} jobs: nothing is run")
    table.add_column("#", justify="right")
    for column in ("job", "state", "run", "note"):
        table.add_column(column, no_wrap=column != "note")
    number_of = {entry.key: n for n, entry in enumerate(jobs, start=1) if entry.key}
    for number, entry in enumerate(jobs, start=1):
        first = number_of.get(entry.after)
        note = f"after {first}" if first else (entry.note.splitlines() or [""])[0]
        table.add_row(str(number), entry.name, entry.state, entry.key, note)
    console.print(table)
    states = ("done", "running", "failed", "stale", "new", "invalid")
    numbers = {s: sum(e.state == s for e in jobs) for s in states}
    console.print(", ".join(f"{n} {s}" for s, n in numbers.items() if n))
    open_jobs = [e for e in jobs if e.state in ("new", "failed", "stale")]
    known = [e.seconds for e in open_jobs if e.seconds is not None]
    if known:
        missing = len(open_jobs) - len(known)
        unknown = f", without {missing}, which no finished run covers" if missing else ""
        console.print(
            f"about {duration(sum(known))} one after the other, by finished runs at the same "
            f"number of steps; discovery and generation come on top{unknown}"
        )
    elif open_jobs:
        console.print("no finished run yet to tell how long they take")
    invalid = [e for e in jobs if e.state == "invalid"]
    for entry in invalid:
        console.show("[red]cannot work[/red]: {}: ", entry.name, end="")
        console.print(entry.note)  # of several lines
    return 2 if invalid else None
