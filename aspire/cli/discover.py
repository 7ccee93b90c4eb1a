"""``aspire discover``: which features is a classifier leaning on?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from aspire.classification.predictor import Probabilities
from aspire.cli._app import plain, task_overrides
from aspire.cli._results import dataset_entry, decisions_entry, discovery_entry, stage_entries
from aspire.cli._show import show_features, show_groups
from aspire.cli._stored import stored_yaml, with_names
from aspire.cli.jobs import Job
from aspire.console import console
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError, did_you_mean
from aspire.identity import digest_of
from aspire.pipeline.feature_table import feature_csv
from aspire.pipeline.flow import Pipeline
from aspire.pipeline.parts import Discovery
from aspire.reporting.labels import REASONS, agreement_of
from aspire.stored.files import tidy, write_atomic
from aspire.text import file_name
from aspire.version import __version__

IMAGES = "features.csv"  # which image shows which shortcut
SETTINGS = ("score", "stage", "captioner", "extractor", "segmenter", "inpainter", "restyler")


def job(cfg: DictConfig) -> None:
    """Caption, extract, edit, score and rank; print the features of each class."""
    work = Job("discover", cfg)
    work.refuse_random()
    show_groups(work.experiment.dataset)
    choice = str(HydraConfig.get().runtime.choices["classifier"])
    found = discovered(work, choice, overrides=task_overrides())
    experiment = work.experiment
    show_features(experiment.dataset, found.discovery.features, int(cfg.top), experiment.decisions)
    _show_tested(found.discovery)
    _show_agreement(found.result)
    report = found.write_report()
    console.show(
        "\n[bold]report[/bold]    {}\n[bold]features[/bold]  {}\n[bold]edits[/bold]     {}\n"
        "[bold]images[/bold]    {}\n"
        "[bold]next[/bold]      open the report in a browser; {} trains the shortcuts away",
        report,
        found.discovery.features.folder / "records.jsonl",
        found.discovery.edits.folder,
        found.folder / IMAGES,
        _training(found.discovery),
    )


def _training(discovery: Discovery) -> str:
    """What is typed next: where all that was found are objects, the arm that is for these."""
    kinds = {f.kind for f in discovery.features.records if f.spurious}
    return "aspire run 'arms=[none,swaps]'" if kinds == {"remove_object"} else "aspire run"


@dataclass(frozen=True)
class Found:
    """What a classifier leans on, and where that is kept.

    Args:
        work: the job that found it.
        pipeline, discovery: the stages, and what they gave.
        result: content of ``result.json``.
        folder: that it is in.
    """

    work: Job
    pipeline: Pipeline
    discovery: Discovery
    result: dict[str, Any]
    folder: Path

    def write_report(self) -> Path:
        """The page about it, written into the folder."""
        # drawing takes seconds to load, and by now the numbers are safe
        from aspire.reporting.discovery_report import write_discovery_report

        files = {img_id: ref.file for img_id, ref in self.pipeline.refs.items()}
        root = self.work.experiment.dataset.root
        return write_discovery_report(self.folder, self.work.outputs, root, files)


def discovered(work: Job, choice: str, **typed: Any) -> Found:
    """Look for the shortcuts of the job's classifier, and keep the result.

    Args:
        work: of this verb.
        choice: what the classifier is called.
        **typed: how it was asked for: ``overrides``, or in Python the ``call``.
    """
    experiment, seed = work.experiment, int(work.cfg.seed)
    pipeline = experiment.pipeline_of(_splits(experiment.dataset, str(work.cfg.split)))
    pipeline.check()
    if experiment.audited.exists:  # examined before a word is paid for
        classifier = experiment.classifier(seed, pipeline)
        pipeline.quote()
    else:
        pipeline.quote()
        classifier = experiment.classifier(seed, pipeline)
    discovery = pipeline.discover(classifier)
    result = {"overrides": [], **typed, **_result(work, pipeline, discovery, classifier, choice)}
    folder = _write(work, discovery, result)
    write_atomic(folder / IMAGES, feature_csv(pipeline, discovery.features.records).encode())
    return Found(work, pipeline, discovery, result, folder)


def _splits(dataset: Dataset, given: str) -> list[Split]:
    """The splits that ``split=`` names."""
    names = {s.name.lower(): s for s in dataset.splits}
    if given == "all":
        return list(names.values())
    if given not in names:
        raise ConfigError(
            f"split={given}: {dataset.name} has {', '.join(names)}, or all."
            f"{did_you_mean(given, [*names, 'all'])}"
        )
    return [names[given]]


def _result(
    work: Job, pipeline: Pipeline, discovery: Discovery, classifier: Probabilities, choice: str
) -> dict[str, Any]:
    """Everything the report needs."""
    cfg, seed = with_names(plain(work.cfg), work.own), int(work.cfg.seed)
    examination = work.experiment.examinations[seed]
    return {
        "schema": 1,
        "aspire": __version__,
        "dataset": dataset_entry(work.experiment),
        "splits": [s.name.lower() for s in pipeline.splits],
        "seed": seed,
        "settings": {k: cfg[k] for k in SETTINGS},
        "classifier": {
            "choice": choice,
            "settings": cfg["classifier"],
            "digest": classifier.digest,
        },
        **decisions_entry(cfg["decisions"]),
        "stages": stage_entries(pipeline, work.outputs),
        "discovery": {str(seed): discovery_entry(pipeline, discovery, work.outputs, examination)},
    }


def _write(work: Job, discovery: Discovery, result: dict[str, Any]) -> Path:
    """Keep the result in a folder of its own."""
    made_of = [discovery.features.key, result["classifier"]["digest"]]
    if decisions := work.experiment.decisions:
        made_of.append(decisions.digest)
    key = digest_of(made_of)[:8]
    folder = work.outputs / "discover" / f"{file_name(work.experiment.dataset.name)}-{key}"
    tidy(folder)
    write_atomic(folder / "config.yaml", stored_yaml(work.cfg, work.own))
    write_atomic(folder / "result.json", json.dumps(result, indent=1).encode())
    return folder


def _show_tested(discovery: Discovery) -> None:
    """What the ranking rests on, and what it could not look at."""
    effects, wrong = discovery.effects.records, discovery.effects.reasons()
    with_control = sum(e.p_control is not None for e in effects)
    missed = wrong.get("misclassified", 0)
    console.print(
        f"\n{len(effects)} edits of {len({e.img_id for e in effects})} images that the classifier "
        f"gets right, {with_control} with a control edit. {missed} images that it gets wrong were "
        "left out.",
        style="dim",
    )
    for reason, n in discovery.edits.reasons().items():
        console.print(
            f"  {n} edits could not be made: {reason} ({REASONS.get(reason, 'see the report')})",
            style="dim",
        )


def _show_agreement(result: dict[str, Any]) -> None:
    """How well the phrases name the shortcut, where the dataset knows it and one was found."""
    for discovery in result["discovery"].values():
        with_shortcut = {f["y"] for f in discovery["features"] if f["spurious"]}
        for found in discovery["truth"]:
            if found["y"] in with_shortcut:
                console.show(
                    "{}: the annotated shortcut is {} ({} phrases name it): {}",
                    result["dataset"]["class_names"][found["y"]],
                    found["attribute"],
                    len(found["true"]),
                    agreement_of(found),
                )
