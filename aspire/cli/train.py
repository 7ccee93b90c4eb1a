"""``aspire train``: one baseline on one dataset, with the chosen augmentation; or a sweep."""

from __future__ import annotations

import traceback
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from aspire.cli import _plan, _sweep
from aspire.cli._app import plain, task_overrides
from aspire.cli._datasets import called
from aspire.cli._show import show_groups, show_metrics
from aspire.cli._tuned import remark_on
from aspire.cli.jobs import Job
from aspire.console import console
from aspire.errors import AspireError
from aspire.experiment import Shared
from aspire.identity import digest_of
from aspire.runs.claims import JobFailedError, RunningError, reason_of
from aspire.runs.ledger import Ledger
from aspire.runs.policy import run_policy
from aspire.session import session
from aspire.stored.trouble import storage_error


def job(cfg: DictConfig) -> None:
    """Train, or find the finished run, and say where it is."""
    if cfg.dry_run:
        _plan.add(cfg, shared_by)
        return
    words = task_overrides()
    settings = {
        "busy": "leave",
        "stale_after": float(cfg.sweep.stale_after),
        "command": _sweep.command_of(words),
    }
    with run_policy(**settings):
        if _sweep.sweeping():
            _job_of_sweep(cfg, words)
            return
        work = Job("train", cfg)
        show_groups(work.experiment.dataset)
        remark_on(HydraConfig.get().runtime.choices, work.experiment.dataset.name, [cfg.seed])
        try:
            run = work.experiment.train(work.recipe())
        except RunningError as error:
            console.show("  {} It is left alone.", error)
            return
    show_metrics(run.result)
    console.show(
        "\n[bold]run[/bold]   {}\n[bold]next[/bold]  aspire evaluate {}\n      aspire table",
        run.folder,
        run.folder,
    )


def refused(cfg: DictConfig, error: AspireError) -> bool:
    """Keep account of a sweep's job whose values were refused; whether the plan will say why."""
    if not _sweep.sweeping():
        return False
    if cfg.dry_run:
        _plan.refuse(cfg, error)
        return True
    words = task_overrides()
    command = _sweep.command_of(words)
    _ledger().note(words, _about(cfg), command, failed=str(error), exit_code=error.exit_code)
    return False


def print_summary() -> int | None:
    """What is said when the last job is over."""
    return _plan.print_summary() if session().of(_plan.Plan).jobs else _sweep.print_summary()


def _job_of_sweep(cfg: DictConfig, words: list[str]) -> None:
    """The same, written down in the ledger of the sweep."""
    ledger, about = _ledger(), _about(cfg)
    command = _sweep.command_of(words)
    sweep = _sweep.started()
    total = f"/{len(sweep.jobs)}" if sweep else ""
    arm = f"{about['dataset']}, {about['baseline']} + {about['augmentation']}, seed {cfg.seed}"
    console.show("[bold]{}{}[/bold]  {}", HydraConfig.get().job.num + 1, total, arm)
    folders: list[Path] = []

    def started(folder: Path) -> None:
        folders.append(folder)
        ledger.note(words, about, command, folder)

    try:
        _sweep.refuse_ranks(cfg)
        with run_policy(started=started):
            work = Job("train", cfg, shared=shared_by(cfg))
            remark_on(HydraConfig.get().runtime.choices, work.experiment.dataset.name, [cfg.seed])
            run = work.experiment.train(work.recipe())
    except RunningError as error:
        ledger.note(words, about, command, error.look.folder)
        console.show("  left alone: {} works on it", error.look.who)
        return
    except Exception as problem:
        told = storage_error(problem, cfg.paths.outputs) or problem
        trace = "" if isinstance(told, AspireError) else traceback.format_exc()
        folder = folders[-1] if folders else None
        code = told.exit_code if isinstance(told, AspireError) else 1
        log = ledger.note(words, about, command, folder, reason_of(told), trace, code)
        if isinstance(told, AspireError):
            raise told from None
        raise JobFailedError(f"{reason_of(told)}\nTraceback: {log}") from told
    known = {k: run.result[k] for k in ("dataset", "baseline", "augmentation", "model", "seed")}
    ledger.note(words, known, command, run.folder)


def _ledger() -> Ledger:
    return Ledger(Path(HydraConfig.get().sweep.dir))


def _about(cfg: DictConfig) -> dict[str, Any]:
    choices = HydraConfig.get().runtime.choices
    about = {k: choices.get(k) for k in _sweep.LABELS} | {"seed": cfg.seed}
    return about | {"dataset": called(about["dataset"], cfg.dataset)}


KEPT = 5  # datasets, or arms of one that exchange parts
SHARED_BY = (
    "dataset", "paths", "stage", "captioner", "extractor", "segmenter", "inpainter",
    "restyler", "score", "personaliser", "generator", "filter", "engine", "decisions",
)  # fmt: skip


@dataclass
class _Kept:
    shared: OrderedDict[str, Shared] = field(default_factory=OrderedDict)


def shared_by(cfg: DictConfig) -> Shared:
    """What the jobs of a sweep have in common that agree in what depends on the dataset.

    Datasets, the stages that know no classifier and generated sets stay in memory for those used
    last; models and trainers never do.
    """
    key = digest_of({k: plain(cfg.get(k)) for k in SHARED_BY})
    kept = session().of(_Kept).shared
    shared = kept.setdefault(key, Shared())
    kept.move_to_end(key)
    while len(kept) > KEPT:
        kept.popitem(last=False)
    return shared
