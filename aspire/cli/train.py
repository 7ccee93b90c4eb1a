"""``aspire train``: one baseline on one dataset, with the chosen augmentation; or a sweep."""

from __future__ import annotations

import traceback
from collections import OrderedDict
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from aspire.classification.predictor import Probabilities
from aspire.classification.training import TrainedRun
from aspire.cli import _plan, _sweep
from aspire.cli._app import plain, task_overrides
from aspire.cli._bench import Bench
from aspire.cli._datasets import called
from aspire.cli._show import show_groups, show_metrics
from aspire.console import console
from aspire.errors import AspireError
from aspire.pipeline.flow import Pipeline
from aspire.pipeline.jobs import JobFailedError, RunningError, reason_of
from aspire.pipeline.manners import with_manners
from aspire.pipeline.store import digest_of
from aspire.pipeline.sweeps import Ledger
from aspire.stored.trouble import storage_error


def job(cfg: DictConfig) -> None:
    """Train, or find the finished run, and say where it is."""
    if cfg.dry_run:
        _plan.add(cfg, SharingBench)
        return
    words = task_overrides()
    settings = {
        "busy": "leave",
        "stale_after": float(cfg.sweep.stale_after),
        "command": _sweep.command_of(words),
    }
    with with_manners(**settings):
        if _sweep.sweeping():
            _job_of_sweep(cfg, words)
        else:
            _job_alone(cfg)


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


def sum_up() -> int | None:
    """What is said when the last job is over."""
    return _plan.sum_up() if _plan.planned else _sweep.sum_up()


def _job_alone(cfg: DictConfig) -> None:
    bench = Bench("train", cfg)
    show_groups(bench.dataset)
    try:
        run = bench.train()
    except RunningError as error:
        console.show("  {} It is left alone.", error)
        return
    show_metrics(run.result)
    console.show(
        "\n[bold]run[/bold]   {}\n[bold]next[/bold]  aspire evaluate {}\n      aspire table",
        run.folder,
        run.folder,
    )


def _job_of_sweep(cfg: DictConfig, words: list[str]) -> None:
    """The same, written down in the ledger of the sweep."""
    ledger, about = _ledger(), _about(cfg)
    command = _sweep.command_of(words)
    total = f"/{len(_sweep.current[0].jobs)}" if _sweep.current else ""
    arm = f"{about['dataset']}, {about['baseline']} + {about['augmentation']}, seed {cfg.seed}"
    console.show("[bold]{}{}[/bold]  {}", HydraConfig.get().job.num + 1, total, arm)
    folders: list[Path] = []

    def started(folder: Path) -> None:
        folders.append(folder)
        ledger.note(words, about, command, folder)

    try:
        _sweep.refuse_ranks(cfg)
        with with_manners(started=started):
            run = SharingBench("train", cfg).train()
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


class SharingBench(Bench):
    """The bench of one job of a sweep: what depends on the dataset alone, all jobs have in common.

    The datasets used last stay in memory, with the stages that know no classifier and the generated
    sets; models and trainers never do.
    """

    KEPT = 5  # datasets, or arms of one that exchange parts
    WORLD = (
        "dataset", "paths", "stage", "captioner", "extractor", "segmenter", "inpainter",
        "restyler", "score", "personaliser", "generator", "filter", "engine",
    )  # fmt: skip
    _worlds: OrderedDict[str, dict[str, Any]] = OrderedDict()  # noqa: RUF012 - of the process

    def __init__(self, verb: str, cfg: DictConfig, overrides: list[str] | None = None) -> None:
        super().__init__(verb, cfg, overrides)
        key = digest_of({k: plain(cfg.get(k)) for k in self.WORLD})
        self._world = self._worlds.setdefault(key, {"announced": self.announced})
        self._worlds.move_to_end(key)
        while len(self._worlds) > self.KEPT:
            self._worlds.popitem(last=False)
        self.announced = self._world["announced"]
        self._generated = self._world.setdefault("generated", {})
        for name in ("_checked", "dataset_digest", "pipeline"):
            if name in self._world:  # filled in as cached_property would
                self.__dict__[name] = self._world[name]

    def train(self, seed: int | None = None, **choices: str) -> TrainedRun:
        try:
            return super().train(seed, **choices)
        finally:
            kept = ("_checked", "dataset_digest", "pipeline")
            self._world.update({k: v for k, v in self.__dict__.items() if k in kept})

    def classifier(self, seed: int, pipeline: Pipeline | None = None) -> Probabilities:
        # The job cannot go on without it.
        with with_manners(busy="wait", started=lambda folder: None):
            return super().classifier(seed, pipeline)
