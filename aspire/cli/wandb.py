"""``aspire wandb``: uploads, the dashboard, and sweeps that W&B's agents drive."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from aspire.cli._app import plain
from aspire.cli._overrides import check_overrides
from aspire.confdir import conf_dir
from aspire.console import console
from aspire.errors import ConfigError, did_you_mean
from aspire.reporting import wandb_sync
from aspire.reporting.wandb_run import Place
from aspire.runs.ledger import JobEntry, find_jobs
from aspire.stored.files import own_file
from aspire.stored.notes import note
from aspire.stored.results import read_training

METHODS = ("grid", "random", "bayes")
METRICS = ["worst_group_acc", "acc", "acc_adjusted"]


def job(cfg: DictConfig) -> None:
    """One of the three actions."""
    actions = {"sync": _sync, "dashboard": _dashboard, "sweep": _sweep}
    if cfg.action not in actions:
        raise ConfigError(
            f"aspire wandb {cfg.action}: no such action.{did_you_mean(str(cfg.action), actions)} "
            f"Actions: {', '.join(actions)}."
        )
    actions[cfg.action](cfg)


# --- sync --------------------------------------------------------------------------------------


def _sync(cfg: DictConfig) -> None:
    folder, place = Path(cfg.dir), _place(cfg)
    jobs = _jobs(cfg)
    runs, new = _offline(folder, jobs), wandb_sync.unlogged(jobs)
    console.print(
        f"{len(runs)} offline runs to upload; {len(new)} finished jobs that W&B knows nothing of "
        "are written from their results."
    )
    if cfg.dry_run:
        for path in (*runs, *new):
            console.show("  {}", path)
        return
    wandb_sync.check_account()
    done = {job.look.folder for job in jobs if job.state == "done"}
    for run in (r for r in runs if r.parents[1] in done and wandb_sync.moved(r)):
        wandb_sync.write_again(run, place, _sweep_name(folder))
    for job_folder in new:
        wandb_sync.write_run(job_folder, place, _sweep_name(folder))
    runs = _offline(folder, jobs)
    wandb_sync.upload(runs, place)
    console.show("[bold]done[/bold]  {} runs uploaded to project {}", len(runs), cfg.project)


def _offline(folder: Path, jobs: list[JobEntry]) -> list[Path]:
    """Offline runs of the jobs, of tables in the folder of their sweep, and of personalisations."""
    learnt = sorted((folder / "personalised").glob("*/"))
    folders = (folder, *(job.look.folder for job in jobs), *learnt)
    runs = [run for f in folders for run in wandb_sync.offline_runs(f)]
    for path in (p for run in runs for p in (run / "files").rglob("*") if p.is_symlink()):
        own_file(path)  # W&B would upload whatever it leads to
    return runs


def _sweep_name(folder: Path) -> str:
    return folder.resolve().name if (folder / "jobs").is_dir() else ""


def _place(cfg: DictConfig) -> Place:
    return Place(project=str(cfg.project), entity=cfg.entity, mode="offline")


def _jobs(cfg: DictConfig) -> list[JobEntry]:
    jobs = find_jobs(Path(cfg.dir), float(cfg.stale_after))
    if not jobs:
        raise ConfigError(
            f"{cfg.dir}: no job in it. Expected the folder of a sweep (outputs/sweeps/NAME) or one "
            "with runs below it, such as outputs/train."
        )
    for job in jobs:
        if job.look.damaged:
            note(f"left out: {job.name}: {job.look.reason}")
    return jobs


# --- dashboard ---------------------------------------------------------------------------------


def _dashboard(cfg: DictConfig) -> None:
    from aspire.reporting.dashboard import dashboard, save, specification

    jobs, folder = _jobs(cfg), Path(cfg.dir)
    report = dashboard(_subject(cfg, jobs))
    if cfg.dry_run:
        print(json.dumps(specification(report), indent=1))
        return
    wandb_sync.check_account()
    written = wandb_sync.write_table(folder, _place(cfg), METRICS)
    if written is not None:
        wandb_sync.upload([written], _place(cfg))
    os.environ.setdefault("WANDB_SILENT", "true")
    console.show("[bold]dashboard[/bold]  {}", save(report))


def _subject(cfg: DictConfig, jobs: list[JobEntry]) -> Any:
    from aspire.records import FilterDecision, SyntheticImage
    from aspire.reporting.artifacts import Artifacts
    from aspire.reporting.dashboard import Subject
    from aspire.reporting.provenance import Provenance, outputs_of

    done = [j.look.folder for j in jobs if j.state == "done"]
    provenances: dict[Path, Provenance] = {}
    results = [(f, read_training(f)) for f in done]
    if not results:
        raise ConfigError(f"{cfg.dir}: no job in it is finished; see aspire sweep status {cfg.dir}")
    kept: dict[str, set[str]] = defaultdict(set)
    rejected: set[str] = set()
    for folder, result in results:
        outputs = outputs_of(folder)
        sources = provenances.setdefault(outputs, Provenance(outputs)).of(result)
        if not sources:
            continue
        artifacts = Artifacts(outputs)
        classes = {
            i.img_id: i.y for i in artifacts.lines(sources["generate"].folder, SyntheticImage)
        }
        for decision in artifacts.lines(sources["filter"].folder, FilterDecision):
            if decision.kept:
                kept[result["dataset"]].add(result["class_names"][classes[decision.img_id]])
            elif decision.reason:
                rejected.add(decision.reason)
    arms = {(str(r["baseline"]), str(r["augmentation"])) for _, r in results}
    return Subject(
        project=str(cfg.project),
        entity=cfg.entity,
        sweep=_sweep_name(Path(cfg.dir)),
        groups={r["dataset"]: list(r["metrics"]["test"]["groups"]) for _, r in results},
        kept={dataset: sorted(names) for dataset, names in sorted(kept.items())},
        arms=sorted(arms, key=lambda a: (a[0], a[1] != "none", a[1])),
        rejected=sorted(rejected),
    )


# --- sweep -------------------------------------------------------------------------------------


def _sweep(cfg: DictConfig) -> None:
    print(yaml.safe_dump(sweep_file(cfg), sort_keys=False), end="")


def sweep_file(cfg: Any) -> dict[str, Any]:
    """What ``wandb sweep FILE`` takes: the same verb and the same choices as a stored sweep.

    Raises:
        ConfigError: for an experiment that does not exist or varies nothing.
    """
    stored = sorted(p.stem for p in (conf_dir() / "experiment").glob("*.yaml"))
    if cfg.of not in stored:
        raise ConfigError(
            f"of={cfg.of}: no such sweep.{did_you_mean(str(cfg.of), stored)} Choices: "
            f"{', '.join(stored)}."
        )
    if cfg.method not in METHODS:
        raise ConfigError(f"method={cfg.method}: expected {', '.join(METHODS[:-1])} or bayes.")
    content = yaml.safe_load((conf_dir() / "experiment" / f"{cfg.of}.yaml").read_text("utf-8"))
    varied = content["hydra"]["sweeper"]["params"]
    parameters = {k: {"values": _values(v)} for k, v in varied.items()}
    fixed = [f"experiment={cfg.of}", "hydra.mode=RUN"]  # one job of it, not the whole
    for name, choices in parameters.items():
        words = [f"{name}={choices['values'][0]}"]
        check_overrides("train", [*fixed, *words])
    return {
        "name": str(cfg.of),
        "project": str(plain(cfg.project)),
        "method": str(cfg.method),
        "metric": {"name": str(cfg.metric), "goal": "maximize"},
        "parameters": parameters,
        "command": ["${env}", "aspire", "train", *fixed, "${args_no_hyphens}"],
    }


def _values(given: Any) -> list[Any]:
    """``a,b`` as a list, numbers as numbers."""
    return [yaml.safe_load(word) for word in str(given).split(",")]
