"""``aspire run``: the whole pipeline, then the table and the report."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from aspire.cli._app import plain, task_overrides
from aspire.cli._estimate import expectation, on_processor, seconds_at_reference, threads_of
from aspire.cli._overrides import check_choices
from aspire.cli._results import (
    artifact_entry,
    dataset_entry,
    decisions_entry,
    discovery_entry,
    stage_entries,
)
from aspire.cli._show import show_features, show_groups
from aspire.cli._stored import stored_yaml
from aspire.cli._tuned import remark_on
from aspire.cli.jobs import IDENTITY, Job
from aspire.console import console
from aspire.data.table import Split
from aspire.environment import FILE, environment
from aspire.errors import ConfigError
from aspire.experiment import Experiment
from aspire.identity import arm_name, digest_of
from aspire.moved import as_first_named, without_added
from aspire.own_code import code_digests, targets_in
from aspire.pipeline.deciding import check_seeds
from aspire.pipeline.parts import Discovery, Generation, NothingFoundError
from aspire.pretrained import content_digest
from aspire.recipe import Recipe
from aspire.reporting.table import as_rich, rows_of, usable_metrics
from aspire.runs.trained import TrainedRun
from aspire.stored.config import contents
from aspire.stored.files import tidy, write_atomic
from aspire.text import file_name
from aspire.version import __version__
from aspire.yardstick import yardstick

# Where and how fast, not what.
NON_IDENTITY_KEYS = ("paths", "trainer", "logger", "engine", "own", "offline")
METRICS = ["worst_group_acc", "acc", "acc_adjusted"]


def job(cfg: DictConfig) -> None:
    """Every arm with every seed, discovery and generation on the way; then table and report."""
    console.print(shlex.join(["aspire", "run", *task_overrides()]), style="bold")
    work = Job("run", cfg)
    work.refuse_random()
    seeds = [int(s) for s in cfg.seeds]
    arms = _arms(cfg)
    experiment = work.experiment
    show_groups(experiment.dataset)
    remark_on(HydraConfig.get().runtime.choices, experiment.dataset.name, seeds)
    folder = _folder(experiment, cfg, seeds, arms)
    generating = _generating(work, arms, seeds[0])
    if not (folder / "result.json").is_file():
        _say_how_long(experiment, cfg, arms, bool(generating))

    _check(experiment, generating, seeds)
    runs: dict[tuple[str, str], list[TrainedRun]] = {}
    found: dict[int, Discovery] = {}
    made: dict[str, dict[int, Generation]] = {}
    missing: list[dict[str, Any]] = []
    for seed in seeds:
        console.show("[bold]seed {}[/bold]", seed)
        found[seed] = experiment.pipeline.discover(experiment.classifier(seed))
        why: dict[str, str] = {}
        for augmentation, recipe in _generating(work, arms, seed).items():
            kind = "" if recipe.exchange is None else augmentation
            if seed in made.get(kind, {}):
                continue
            try:
                made.setdefault(kind, {})[seed] = experiment.generate(seed, recipe)
            except NothingFoundError as error:
                why[augmentation] = error.reason
                for line in f"{augmentation}: {error}".splitlines():
                    console.show("  [yellow]{}[/yellow]", line)
        for baseline, augmentation in arms:
            if augmentation in why:
                arm = arm_name(baseline, augmentation)
                missing.append({"arm": arm, "seed": seed, "reason": why[augmentation]})
                continue
            run = experiment.train(
                work.recipe(baseline=baseline, augmentation=augmentation, seed=seed)
            )
            runs.setdefault((baseline, augmentation), []).append(run)

    result = _result(experiment, cfg, seeds, runs, found, made, missing)
    tidy(folder)
    content = json.dumps(result, indent=1).encode()
    report = folder / "report.html"
    new = not report.is_file() or _content(folder / "result.json") != content
    if new:
        _write(folder, cfg, environment(experiment.outputs), content)
    console.print()
    show_features(experiment.dataset, found[seeds[0]].features, 5, experiment.decisions)
    trained = [r.result for group in runs.values() for r in group]
    metrics = usable_metrics(trained, METRICS, "test")
    console.print(as_rich(rows_of(trained, metrics), metrics, "test", console.width))
    for gap in missing:
        note = f"not run: {gap['arm']}, seed {gap['seed']}: {gap['reason']}"
        console.show("  [yellow]{}[/yellow]", note)

    if new:
        # Imported here and last: drawing takes seconds to load, and the numbers are safe by now.
        from aspire.reporting.report import write_report

        files = {img_id: ref.file for img_id, ref in experiment.pipeline.refs.items()}
        report = write_report(folder, experiment.outputs, experiment.dataset.root, files)
    console.show(
        "\n[bold]report[/bold]   {}\n[bold]results[/bold]  {}\n"
        "[bold]next[/bold]     open the report in a browser; the same command again does no work;\n"
        "         {}",
        report,
        folder / "result.json",
        _suggestion(cfg),
    )


def _check(experiment: Experiment, generating: dict[str, Recipe], seeds: list[int]) -> None:
    """What can be refused before any work is done, and the price of what costs."""
    if experiment.decisions is not None and not experiment.audited.exists:
        check_seeds(experiment.decisions, seeds)  # each has a classifier of its own
    experiment.pipeline.check()
    for recipe in generating.values():
        experiment.pipeline_for(recipe).check_making()
    experiment.pipeline.quote()


def _write(folder: Path, cfg: DictConfig, about: dict[str, Any], content: bytes) -> None:
    write_atomic(folder / "config.yaml", stored_yaml(cfg))
    write_atomic(folder / FILE, json.dumps(about, indent=1).encode())
    write_atomic(folder / "result.json", content)


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _say_how_long(
    experiment: Experiment, cfg: DictConfig, arms: list[tuple[str, str]], generating: bool
) -> None:
    """One line before the work starts, where its parts have been timed."""
    if not on_processor(cfg):
        return
    dataset = experiment.dataset
    seconds = seconds_at_reference(
        cfg,
        dict(HydraConfig.get().runtime.choices),
        arms,
        generating=generating,
        train_images=len(dataset.split(Split.TRAIN)),
        classes=len(dataset.class_names),
    )
    if seconds is not None:
        threads = threads_of(cfg)
        console.print(expectation(seconds, yardstick(experiment.outputs / "cache"), threads))


def _arms(cfg: DictConfig) -> list[tuple[str, str]]:
    """(baseline, augmentation) of every arm, in the order of the table."""
    if not cfg.seeds or len(set(cfg.seeds)) != len(cfg.seeds):
        raise ConfigError(
            f"seeds={list(cfg.seeds)}: expected distinct whole numbers, e.g. [0,1,2]."
        )
    main = str(HydraConfig.get().runtime.choices["baseline"])
    arms = [(main, str(a)) for a in cfg.arms] + [(str(r), "none") for r in cfg.references]
    if not arms:
        raise ConfigError("arms=[]: expected at least one augmentation, e.g. arms=[none,aspire].")
    for baseline, augmentation in arms:  # before any work is done
        check_choices([f"baseline={baseline}", f"augmentation={augmentation}"])
    return arms


def _generating(job: Job, arms: list[tuple[str, str]], seed: int) -> dict[str, Recipe]:
    """The augmentations that train on generated images, with the recipes that make them."""
    first: dict[str, str] = {}  # whose job is trained too, and so composed in any case
    for baseline, augmentation in arms:
        first.setdefault(augmentation, baseline)
    recipes = {
        augmentation: job.recipe(seed, baseline=baseline, augmentation=augmentation)
        for augmentation, baseline in first.items()
    }
    return {a: r for a, r in recipes.items() if r.augmentation.uses_generated}


def _folder(
    experiment: Experiment, cfg: DictConfig, seeds: list[int], arms: list[tuple[str, str]]
) -> Path:
    settings = {str(k): plain(v) for k, v in cfg.items() if k not in NON_IDENTITY_KEYS}
    if experiment.decisions is None:  # then the name is what it was before there were any
        del settings["decisions"]
    else:
        settings["decisions"] = experiment.decisions.digest
    identity = contents(as_first_named(without_added(settings)), content_digest)
    identity |= {"seeds": seeds, "arms": [list(a) for a in arms], "data": experiment.dataset_digest}
    if code := code_digests(targets_in(identity)):
        identity["code"] = code
    key = digest_of(identity)[:8]
    return experiment.outputs / "run" / f"{file_name(experiment.dataset.name)}-{key}"


def _result(
    experiment: Experiment,
    cfg: DictConfig,
    seeds: list[int],
    runs: dict[tuple[str, str], list[TrainedRun]],
    found: dict[int, Discovery],
    made: dict[str, dict[int, Generation]],
    missing: list[dict[str, Any]],
) -> dict[str, Any]:
    """Everything the report and the table need; no times and no paths of this machine.

    Args:
        made: "" -> the generated sets of this run's own parts, and the name of each arm that
            exchanges parts -> its own ones.
    """
    outputs = experiment.outputs
    return {
        "schema": 1,
        "aspire": __version__,
        "dataset": dataset_entry(experiment),
        "overrides": task_overrides(),
        "seeds": seeds,
        "settings": {k: plain(cfg.get(k, {})) for k in (*IDENTITY, "score", "stage", "filter")},
        "arms": [
            {
                "arm": arm_name(baseline, augmentation),
                "baseline": baseline,
                "augmentation": augmentation,
                "model": group[0].result["model"],
                "needs": group[0].result["needs"],
                "selection": group[0].result["selection"],
                "steps": group[0].result["steps"],
                "runs": [
                    {
                        "seed": r.result["seed"],
                        "folder": r.folder.relative_to(outputs).as_posix(),
                        "train_images": r.result["train_images"],
                        "selected_step": r.result["selected_step"],
                        "weights_sha256": r.digest,
                        "metrics": r.result["metrics"],
                    }
                    for r in group
                ],
            }
            for (baseline, augmentation), group in runs.items()
        ],
        "missing": missing,
        **decisions_entry(cfg.decisions),
        "stages": stage_entries(experiment.pipeline, outputs),
        "discovery": {
            str(seed): discovery_entry(
                experiment.pipeline, d, outputs, experiment.examinations[seed]
            )
            for seed, d in found.items()
        },
        "generation": _generations(made.get("", {}), outputs),
        "generation_of_arms": {a: _generations(g, outputs) for a, g in made.items() if a},
    }


def _generations(made: dict[int, Generation], outputs: Path) -> dict[str, Any]:
    return {
        str(seed): {
            "personalise": artifact_entry(g.concepts, outputs),
            "generate": artifact_entry(g.images, outputs),
            "measure": artifact_entry(g.measurements, outputs),
            "filter": artifact_entry(g.decisions, outputs),
            **({"filtered": artifact_entry(g.filtered, outputs)} if g.filtered else {}),
            "nearest": artifact_entry(g.nearest, outputs),
            "kept": len(g.kept),
            "reasons": {
                reason: sum(d.reason == reason for d in g.decisions.records)
                for reason in sorted({d.reason for d in g.decisions.records if d.reason})
            },
        }
        for seed, g in made.items()
    }


def _suggestion(cfg: DictConfig) -> str:
    if "duplicates" in cfg.arms:
        return "aspire table compares all runs so far"
    words = [w for w in task_overrides() if w.partition("=")[0] not in ("arms", "references")]
    words += ["arms=[none,duplicates,aspire]", "references=[groupdro]"]
    return f"{shlex.join(['aspire', 'run', *words])}: controls"
