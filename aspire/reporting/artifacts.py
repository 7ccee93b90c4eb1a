"""What is in an outputs folder, for reports: a missing artifact is noted, never an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from aspire.errors import ConfigError, DamagedError
from aspire.stored.artifacts import is_committed, read_manifest, verified_lines
from aspire.stored.notes import note
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
        """The records of an artifact; none where it is not there, which ``absent`` then says.

        One that is not what was committed counts as one that is not there, and a line says so.
        """
        try:
            if is_committed(self.outputs / folder):
                return verified_lines(self.outputs / folder, record, name)
        except DamagedError as error:
            note(f"Left out: {error}")
        self.absent.add(folder)
        return []

    def manifest(self, folder: str) -> Json:
        """The manifest of an artifact, or an empty one."""
        try:
            return read_manifest(self.outputs / folder)
        except DamagedError:
            return {}


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
