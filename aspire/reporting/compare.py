"""Two runs side by side: what was set, with which code, on which data, where, and what came out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aspire.errors import ConfigError
from aspire.reporting.provenance import Provenance, outputs_of
from aspire.stored.config import leaves, read_config
from aspire.stored.results import read_any, read_mapping

Json = dict[str, Any]

# Keys of a configuration that say where and how fast, not what.
EXECUTION = ("paths", "trainer", "logger", "engine", "dry_run", "sweep", "own", "offline")
SECTIONS = {
    "settings": "what changes the result",
    "execution": "where and how fast",
    "code": "with which code",
    "data": "on which data",
    "environment": "on which machine",
    "results": "what came out",
}
_DIGEST = re.compile("[0-9a-f]{64}")
_CODE = ("aspire", "commit", "changed")  # of environment.json


@dataclass(frozen=True)
class Difference:
    """One entry that two runs do not share; None where one has no such entry."""

    section: str
    name: str
    left: Any
    right: Any


def describe(folder: Path) -> dict[str, Json]:
    """Section -> name -> value of a run.

    Args:
        folder: of a training run, or of an ``aspire run`` or ``aspire discover``.

    Raises:
        ConfigError: when it holds no finished run.
        DamagedError: when its result cannot be read.
    """
    folder = Path(folder)
    if not (folder / "result.json").is_file():
        raise ConfigError(
            f"{folder}: no result.json in it. Expected the folder of a finished run, such as "
            "outputs/train/DATASET/BASELINE/AUGMENTATION/RUN."
        )
    result = read_any(folder)
    config = read_config(folder)
    environment = read_mapping(folder / "environment.json")
    stored = dict(leaves(config))
    execution = {k: v for k, v in stored.items() if k.split(".")[0] in EXECUTION}
    return {
        "settings": {k: v for k, v in stored.items() if k not in execution},
        "execution": execution,
        "code": _code(folder, result, environment),
        "data": _data(folder, result),
        "environment": {k: v for k, v in environment.items() if k not in _CODE},
        "results": dict(_results(result)),
    }


def differences(left: Mapping[str, Json], right: Mapping[str, Json]) -> list[Difference]:
    """What differs, section by section, in the order of the names.

    Args:
        left, right: of :func:`describe`.
    """
    return [
        Difference(section, name, left[section].get(name), right[section].get(name))
        for section in SECTIONS
        for name in sorted({*left[section], *right[section]})
        if left[section].get(name) != right[section].get(name)
    ]


def _code(folder: Path, result: Json, environment: Json) -> Json:
    """Versions of the package and of every stage, and the commit where it was noted."""
    code = {k: environment[k] for k in _CODE if k in environment}
    code.setdefault("aspire", result.get("aspire"))
    for name, source in Provenance(outputs_of(folder)).of(result).items():
        code[f"stage.{name}.version"] = source.manifest["version"]
    return {k: v for k, v in code.items() if v is not None}


def _data(folder: Path, result: Json) -> Json:
    if "dataset_digest" not in result:  # of a whole run
        about = {"dataset": result["dataset"]["name"], "digest": result["dataset"]["digest"]}
        return about | {f"stage.{k}": v["digest"] for k, v in result["stages"].items()}
    data = {"dataset": result["dataset"], "digest": result["dataset_digest"]}
    data |= {"train_images": result.get("train_images"), "generated": result["generated_digest"]}
    # files are known by their content, which a path does not tell
    data |= {k: v for k, v in leaves(result["identity"]) if _DIGEST.fullmatch(str(v))}
    sources = Provenance(outputs_of(folder)).of(result)
    return data | {f"stage.{name}": source.digest for name, source in sources.items()}


def _results(result: Json) -> Iterator[tuple[str, Any]]:
    if "metrics" in result:
        names = ("weights_sha256", "selection", "selected_step")
        yield from ((k, result.get(k)) for k in names)
        yield from leaves(result["metrics"])
        return
    for arm in result.get("arms", []):
        for run in arm["runs"]:
            yield from leaves(run["metrics"], f"{arm['arm']}.s{run['seed']}")
    for seed, discovery in result.get("discovery", {}).items():
        names = result["dataset"]["class_names"]
        for y, name in enumerate(names):
            found = [f["phrase"] for f in discovery["features"] if f["spurious"] and f["y"] == y]
            yield f"shortcuts.s{seed}.{name}", found
