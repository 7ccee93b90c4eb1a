"""What result.json says of a dataset, its stages and a discovery; nothing of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from aspire.classification.examination import Examination
from aspire.discovery.ground_truth import agreement
from aspire.discovery.rank import phrases_of
from aspire.experiment import Experiment
from aspire.language.base import Looking
from aspire.pipeline.flow import Pipeline
from aspire.pipeline.parts import Discovery, collapsed_by
from aspire.pipeline.store import Artifact
from aspire.stored.decisions import read_history

Json = dict[str, Any]


def dataset_entry(experiment: Experiment) -> Json:
    """The dataset: what it is and how many images each group has."""
    dataset = experiment.dataset
    return {
        "name": dataset.name,
        "digest": experiment.dataset_digest,
        "class_names": list(dataset.class_names),
        "attribute_names": list(dataset.attribute_names),
        "spurious_attribute": dataset.spurious_attribute,
        "group_definition": dataset.group_definition,
        "checks": experiment.checks.to_dict(),
        "images": {s.name.lower(): len(dataset.split(s)) for s in dataset.splits},
        "class_counts": {s.name.lower(): dataset.class_counts(s) for s in dataset.splits},
        "group_counts": {s.name.lower(): dataset.group_counts(s) for s in dataset.splits},
    }


def artifact_entry(a: Artifact[Any], outputs: Path) -> Json:
    """An artifact: where it is and what is in it."""
    return {
        "folder": a.folder.relative_to(outputs).as_posix(),
        "digest": a.digest,
        "records": len(a.records),
        "rejected": a.reasons(),
    }


def decisions_entry(path: str | None) -> Json:
    """The steps of the person whose decisions were obeyed; nothing where nobody decided."""
    return {} if path is None else {"decisions": msgspec.to_builtins(read_history(Path(path)))}


def stage_entries(pipeline: Pipeline, outputs: Path) -> Json:
    """The stages that know no classifier."""
    looked = isinstance(pipeline.backends.extractor, Looking)
    first = {"concept": pipeline.concepts} if looked else {"caption": pipeline.captions}
    return {
        **{name: artifact_entry(a, outputs) for name, a in first.items()},
        "extract": artifact_entry(pipeline.extractions, outputs),
        "collapse": artifact_entry(pipeline.phrase_groups, outputs),
        "edit": artifact_entry(pipeline.edits, outputs),
    }


def discovery_entry(
    pipeline: Pipeline, discovery: Discovery, outputs: Path, examination: Examination
) -> Json:
    """What one classifier leans on, and how well that agrees with annotated shortcuts."""
    return {
        "examination": examination.to_dict(),
        "score": artifact_entry(discovery.effects, outputs),
        "discover": artifact_entry(discovery.features, outputs),
        **({"found": artifact_entry(discovery.found, outputs)} if discovery.found else {}),
        "features": [msgspec.to_builtins(f) for f in discovery.features.records],
        "without": [msgspec.to_builtins(r) for r in discovery.features.rejected],
        "truth": truth_entries(pipeline, discovery),
    }


def truth_entries(pipeline: Pipeline, discovery: Discovery) -> list[Json]:
    """Precision and recall of each class whose shortcut is annotated."""
    name = collapsed_by(pipeline.phrase_groups)
    phrases = {
        e.img_id: frozenset(name[p] for _, p in phrases_of(e)) for e in pipeline.extractions.records
    }
    return [
        {
            "y": found.y,
            "attribute": found.attribute,
            "true": sorted(found.true),
            "precision": {str(k): v for k, v in found.precision.items()},
            "recall": {str(k): v for k, v in found.recall.items()},
        }
        for found in agreement(pipeline.dataset, phrases, discovery.features.records)
    ]
