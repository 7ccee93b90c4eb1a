"""What the runs of a sweep share per dataset, as if one ``aspire run`` had made it.

A run knows its generated images by digest alone; the artifacts behind them tell the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aspire.errors import ConfigError
from aspire.records import FilterDecision, Rejected, SpuriousFeature
from aspire.reporting.artifacts import Artifacts, Json
from aspire.reporting.discovery import SeedView, views_of
from aspire.reporting.pictures import Pictures
from aspire.reporting.provenance import Provenance, Source, drawn_by_lot, outputs_of
from aspire.reporting.report import Generations
from aspire.stored.config import read_config
from aspire.stored.notes import note
from aspire.stored.results import read_training
from aspire.text import file_name

EXAMPLES = 2  # strips of edits for each feature
GALLERY = 12  # generated images shown of a class


@dataclass(frozen=True)
class Originals:
    """Where the images of a dataset are.

    Args:
        files: img_id -> file relative to ``root``.
    """

    root: Path
    files: Mapping[str, str]


@dataclass(frozen=True)
class Found:
    """What ASPIRE found and made on one dataset.

    Args:
        discoveries: one a seed; the first with pictures.
        generations: counts by class and filter, one a seed; the first with pictures.
        settings: of the filters and the score, for the words beside them.
    """

    dataset: str
    discoveries: list[SeedView]
    generations: list[Json]


def found_on(
    dataset: str,
    runs: Sequence[tuple[Path, Json]],
    kept: Path,
    originals: Originals | None,
) -> Found | None:
    """Discovery and generation behind the runs of one dataset; None where there was none.

    Args:
        runs: folder and result of its finished runs.
        kept: folder for small copies of the originals that are shown.
    """
    by_seed: dict[str, tuple[Path, Json, dict[str, Source], Json]] = {}
    provenances: dict[Path, Provenance] = {}
    # Arms exchange parts; what ASPIRE itself has made comes first.
    for folder, result in sorted(runs, key=lambda run: run[1]["augmentation"] != "aspire"):
        outputs = outputs_of(folder)
        provenance = provenances.setdefault(outputs, Provenance(outputs))
        sources = provenance.of(result)
        if not sources or drawn_by_lot(sources) or str(result["seed"]) in by_seed:
            continue
        try:
            config = read_config(folder)
        except ConfigError as error:  # the other runs are shown
            note(f"Left out of what was found on {dataset}: {error}")
            continue
        by_seed[str(result["seed"])] = (folder, result, sources, config)
    if not by_seed:
        return None
    ordered = dict(sorted(by_seed.items(), key=lambda item: int(item[0])))
    folder, first, sources, config = next(iter(ordered.values()))
    # Seeds of another outputs folder would need another root; one sweep has one.
    artifacts = Artifacts(outputs_of(folder))
    whole = {
        "dataset": {"name": dataset, "class_names": first["class_names"]},
        "settings": {"score": config.get("score", {}), "filter": config.get("filter", {})},
        "stages": {name: _entry(source) for name, source in sources.items()},
        "discovery": {seed: _discovery(artifacts, s) for seed, (_, _, s, _) in ordered.items()},
        "generation": {seed: _generation(artifacts, s) for seed, (_, _, s, _) in ordered.items()},
    }
    root, files = (originals.root, originals.files) if originals else (None, {})
    pictures = Pictures(kept / file_name(dataset), root, files)
    return Found(
        dataset,
        views_of(whole, artifacts, pictures, EXAMPLES),
        Generations(whole, artifacts, pictures, GALLERY).views(),
    )


def _entry(source: Source) -> Json:
    return {
        "folder": source.folder,
        "digest": source.digest,
        "records": source.manifest["records"],
        "rejected": source.manifest["rejected"],
    }


def _discovery(artifacts: Artifacts, sources: Mapping[str, Source]) -> Json:
    folder = sources["discover"].folder
    return {
        "score": _entry(sources["score"]),
        "discover": _entry(sources["discover"]),
        "features": [msgspec.to_builtins(f) for f in artifacts.lines(folder, SpuriousFeature)],
        "without": [
            msgspec.to_builtins(r) for r in artifacts.lines(folder, Rejected, "rejected.jsonl")
        ],
    }


def _generation(artifacts: Artifacts, sources: Mapping[str, Source]) -> Json:
    decisions = artifacts.lines(sources["filter"].folder, FilterDecision)
    reasons = Counter(d.reason for d in decisions if d.reason)
    stages = ("personalise", "generate", "measure", "filter", "nearest")
    return {
        **{name: _entry(sources[name]) for name in stages if name in sources},
        "kept": sum(d.kept for d in decisions),
        "reasons": dict(sorted(reasons.items())),
    }


def read_results(folders: Sequence[Path]) -> dict[str, Json]:
    """Folder of a finished run -> content of its ``result.json``."""
    return {str(f): read_training(f) for f in folders}
