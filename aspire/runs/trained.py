"""A finished training run, known by its folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from aspire.errors import ConfigError, DamagedError
from aspire.runs.claims import run_status
from aspire.stored.files import own_file
from aspire.stored.phases import check_kept
from aspire.stored.results import read_any
from aspire.stored.seals import file_digest


@dataclass(frozen=True)
class TrainedRun:
    """A finished run, known by its folder."""

    folder: Path
    state: Literal["hit", "run"]

    @cached_property
    def result(self) -> dict[str, Any]:
        """The content of ``result.json``.

        Raises:
            DamagedError: when it cannot be read.
        """
        return read_any(self.folder)

    @property
    def weights(self) -> Path:
        """The selected weights."""
        return self.folder / "model.safetensors"

    def weights_by(self, selection: str) -> Path:
        """The weights that another selection rule takes; nothing is trained.

        Raises:
            ConfigError: for a rule that does not apply to this run, with those that do.
        """
        selectable: dict[str, str] = self.result.get("selectable", {})
        if selection not in selectable:
            raise ConfigError(
                f"selection={selection}: this run cannot be selected by it. Expected "
                + (
                    f"one of {', '.join(selectable)}."
                    if selectable
                    else "nothing: its last layer "
                    f"was made after training ({self.result['baseline']})."
                )
            )
        return self.folder / selectable[selection]

    def check(self, weights: Path) -> Path:
        """The weights, selected ones or others of the run, once they are seen to be its own.

        Raises:
            DamagedError: when they are not what the run was finished with, with what to do.
        """
        try:
            own_file(weights, self.folder)
            if weights != self.weights:
                return check_kept(weights)
            if not weights.is_file():
                raise DamagedError("it is not there.")
            if (found := file_digest(weights)) != self.digest:
                raise DamagedError(
                    f"its SHA-256 is {found[:12]}..., and that of the run's result is "
                    f"{self.digest[:12]}..."
                )
        except DamagedError as error:
            raise DamagedError(
                f"{weights}: these are not the weights that the run was finished with: {error} "
                f"Take the folder from where it came from again, or remove {self.folder} and train "
                f"it again{self._command()}."
            ) from None
        return weights

    def _command(self) -> str:
        command = (run_status(self.folder).about or {}).get("command")
        return f": {command}" if command else ""

    @property
    def digest(self) -> str:
        """SHA-256 of the weights; equal for equal weights, wherever they are."""
        digest: str = self.result["weights_sha256"]
        return digest


def load_run(folder: Path) -> TrainedRun:
    """A finished run by its folder.

    Raises:
        ConfigError: when there is none.
        DamagedError: when its result cannot be read.
    """
    folder = Path(folder)
    if not (folder / "result.json").is_file():
        raise ConfigError(
            f"run={folder}: no result.json in it. Expected the folder of a finished run, such as "
            "the one that aspire train prints."
        )
    read_any(folder)
    return TrainedRun(folder, "hit")
