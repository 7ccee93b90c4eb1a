"""What lies in an outputs folder, for reports: a missing artifact is noted, never an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from aspire.errors import ConfigError
from aspire.stored.results import read_any

T = TypeVar("T")
Json = dict[str, Any]


class Artifacts:
    """Reads records by the folder that a ``result.json`` names.

    Args:
        outputs: what these folders are relative to.
    """

    def __init__(self, outputs: Path) -> None:
        self.outputs = Path(outputs)
        self.absent: set[str] = set()

    def lines(self, folder: str, record: type[T], name: str = "records.jsonl") -> list[T]:
        """The records of an artifact; none where it is not there, which ``absent`` then says."""
        path = self.outputs / folder / name
        if not path.is_file():
            self.absent.add(folder)
            return []
        decoder = msgspec.json.Decoder(record)
        return [decoder.decode(line) for line in path.read_bytes().splitlines()]

    def manifest(self, folder: str) -> Json:
        """The manifest of an artifact, or an empty one."""
        path = self.outputs / folder / "manifest.json"
        content: Json = json.loads(path.read_bytes()) if path.is_file() else {}
        return content


def read_result(folder: Path) -> Json:
    """The ``result.json`` of a finished ``aspire run`` or ``aspire discover``.

    Raises:
        ConfigError: when the folder holds neither.
        DamagedError: when the file cannot be read.
    """
    path = folder / "result.json"
    if not path.is_file():
        raise ConfigError(
            f"{folder}: not a finished run, since it has no result.json. Expected a folder that "
            "aspire run or aspire discover has made (outputs/run/DATASET-..., "
            "outputs/discover/DATASET-...); make one with: aspire run"
        )
    result = read_any(folder)
    if "discovery" not in result:
        raise ConfigError(
            f"{folder}: its result.json is not of an aspire run or aspire discover. Expected "
            "outputs/run/DATASET-...; for training runs there is: aspire table DIR"
        )
    return result
