"""What a finished job gives W&B besides numbers: digests, artifacts, features and pictures."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aspire.records import FilterDecision, Neighbour, SpuriousFeature, SyntheticImage
from aspire.reporting.artifacts import Artifacts
from aspire.reporting.labels import KINDS
from aspire.reporting.pictures import beside, small
from aspire.reporting.provenance import Provenance, Source, drawn_by_lot, outputs_of
from aspire.reporting.report import spread
from aspire.stored.results import read_mapping
from aspire.text import file_name, shortened
from aspire.version import __version__

SHOWN = 16  # pictures of each class, and of each reason
COLUMNS = (
    "class", "rank", "phrase", "kind", "shortcut", "score", "flips", "edits", "donors", "flip_rate",
    "low", "high", "control_rate", "q_value",
)  # fmt: skip


def log_sources(run: Any, folder: Path, result: Mapping[str, Any]) -> None:
    """Everything the job was made from, as far as it is at hand.

    Args:
        run: of W&B.
        folder: of the training run.
        result: content of its ``result.json``.
    """
    sources = Provenance(outputs_of(folder)).of(result)
    digests = {"dataset": result["dataset_digest"], "weights": result["weights_sha256"]}
    if result.get("generated_digest"):
        digests["generated"] = result["generated_digest"]
    digests |= {f"stage/{name}": source.digest for name, source in sources.items()}
    environment = folder / "environment.json"
    run.config.update(
        {
            "digests": digests,
            "aspire": __version__,
            "environment": read_mapping(environment),
            **{k: result[k] for k in ("needs", "selection", "train_images")},
        },
        allow_val_change=True,
    )
    _log_dataset(run, result)
    if sources:
        artifacts = Artifacts(outputs_of(folder))
        _log_generated(run, result, sources)
        if not drawn_by_lot(sources):
            _log_features(run, result, artifacts, sources["discover"])
        _log_pictures(run, result, artifacts, sources)


def _artifact(run: Any, name: str, kind: str, content: Mapping[str, Any]) -> None:
    """An artifact that says which data it was, by digest: the data stay where they are.

    W&B makes a new version of it only when the content changes.
    """
    import wandb

    artifact = wandb.Artifact(name, type=kind, metadata=dict(content))
    with artifact.new_file(f"{kind}.json", mode="w") as file:
        json.dump(content, file, indent=1)
    run.log_artifact(artifact)


def _log_dataset(run: Any, result: Mapping[str, Any]) -> None:
    names = ("class_names", "attribute_names", "group_counts", "group_definition")
    content = {"digest": result["dataset_digest"], **{k: result[k] for k in names}}
    _artifact(run, f"dataset-{file_name(result['dataset'])}", "dataset", content)


def _log_generated(run: Any, result: Mapping[str, Any], sources: Mapping[str, Source]) -> None:
    content = {
        "digest": result["generated_digest"],
        "dataset": result["dataset_digest"],
        "seed": result["seed"],
        "stages": {
            name: {k: s.manifest.get(k) for k in ("digest", "records", "rejected", "identity")}
            for name, s in sources.items()
        },
    }
    _artifact(
        run, f"generated-{file_name(result['dataset'])}-s{result['seed']}", "generated-set", content
    )


def _log_features(
    run: Any, result: Mapping[str, Any], artifacts: Artifacts, source: Source
) -> None:
    import wandb

    names = result["class_names"]
    rows = [
        (
            names[f.y], f.rank, f.phrase, KINDS.get(f.kind, f.kind), f.spurious, f.score, f.flips,
            f.support, f.donors, f.flip_rate, *f.interval, f.control_rate, f.q_value,
        )
        for f in artifacts.lines(source.folder, SpuriousFeature)
    ]  # fmt: skip
    run.log({"features": wandb.Table(columns=list(COLUMNS), data=[list(r) for r in rows])})
    run.summary["features/shortcuts"] = sum(bool(row[4]) for row in rows)


def media(name: str) -> str:
    """A name as part of the key of pictures, of which W&B makes the names of files.

    >>> media("waterbird"), media("../x")
    ('waterbird', '___x')
    """
    return re.sub(r'\.\.|[\\/:*?"<>|]', "_", shortened(name, 64))


def kept_key(name: str) -> str:
    """Under which key the generated images of a class are."""
    return f"generated/kept/{media(name)}"


def _log_pictures(
    run: Any, result: Mapping[str, Any], artifacts: Artifacts, sources: Mapping[str, Source]
) -> None:
    """Grids of generated images: what was kept by class, what was rejected by reason."""
    import wandb

    folder = sources["generate"].folder
    images = {i.img_id: i for i in artifacts.lines(folder, SyntheticImage)}
    grids: dict[str, list[tuple[SyntheticImage, str]]] = defaultdict(list)
    reasons: dict[str, int] = defaultdict(int)
    for decision in artifacts.lines(sources["filter"].folder, FilterDecision):
        if (image := images.get(decision.img_id)) is None:
            continue
        name = result["class_names"][image.y]
        if decision.kept:
            grids[kept_key(name)].append((image, f"{name}: {image.prompt}"))
            continue
        reason = str(decision.reason)
        reasons[reason] += 1
        scores = ", ".join(f"{k} {v:.3g}" for k, v in decision.scores.items())
        grids[f"generated/rejected/{reason}"].append((image, f"{name}: {image.prompt} ({scores})"))
    shown: dict[str, Any] = {}
    for key, group in grids.items():
        found = [
            (small(artifacts.outputs / folder / image.file), words)
            for image, words in spread(group, SHOWN)
        ]
        shown[key] = [wandb.Image(p, caption=words) for p, words in found if p is not None]
    shown |= _nearest(result, artifacts, sources, images)
    run.log({key: pictures for key, pictures in shown.items() if pictures})
    run.summary.update({f"generated/rejected/{reason}/n": n for reason, n in reasons.items()})
    run.summary["generated/made"] = len(images)
    run.summary["generated/kept/n"] = len(images) - sum(reasons.values())


def _nearest(
    result: Mapping[str, Any],
    artifacts: Artifacts,
    sources: Mapping[str, Source],
    images: Mapping[str, SyntheticImage],
) -> dict[str, list[Any]]:
    """Generated images of each class, each left of the training image that it looks most like."""
    import wandb

    found: dict[str, list[Any]] = defaultdict(list)
    if "nearest" not in sources:
        return found
    folder = sources["nearest"].folder
    for n in sorted(artifacts.lines(folder, Neighbour), key=lambda n: n.distance):
        image = images[n.img_id]
        made = small(artifacts.outputs / sources["generate"].folder / image.file)
        real = small(artifacts.outputs / folder / n.file)
        if made is None or real is None:
            continue
        words = f"{image.prompt} | {n.real_id}, difference {n.distance:.3f}"
        both = wandb.Image(beside(made, real), caption=words)
        found[f"generated/nearest/{media(result['class_names'][image.y])}"].append(both)
    return found
