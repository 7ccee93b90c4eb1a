"""The finished phases of a training run, and the weights that they kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from aspire.errors import DamagedError
from aspire.stored.files import own_file
from aspire.stored.notes import note
from aspire.stored.seals import file_digest


class FinishedPhase(msgspec.Struct):
    """What ``finished.json`` says of a phase.

    Args:
        best: rule -> step of the evaluation it selects.
        sha256: file of weights -> digest.
    """

    steps: int
    best: dict[str, int]
    history: list[dict[str, float]]
    sha256: dict[str, str] = {}


def finished_phase(folder: Path) -> dict[str, Any] | None:
    """What a finished phase's checkpoints say; None where there is nothing or it is damaged.

    Of a damaged phase, which is trained again, a line says so.
    """
    path = folder / "finished.json"
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        done = msgspec.convert(content, FinishedPhase)
        for step in done.best.values():
            check_kept(weights_file(folder, step), done)
    except (OSError, ValueError, RecursionError, DamagedError) as error:
        note(f"{folder} is damaged: {error} It is trained again.")
        for file in (path, *folder.glob("step-*.safetensors")):
            file.unlink(missing_ok=True)
        return None
    return content


def check_kept(weights: Path, done: FinishedPhase | None = None) -> Path:
    """The weights of an evaluation, compared with what its phase says of them.

    Raises:
        DamagedError: when they are not those that were kept.
    """
    if done is None:
        try:
            text = own_file(weights.parent / "finished.json").read_bytes()
            done = msgspec.convert(json.loads(text), FinishedPhase)
        except (OSError, ValueError, RecursionError) as error:
            raise DamagedError(f"{weights.parent}/finished.json is damaged: {error}") from None
    expected = done.sha256.get(weights.name)
    if not weights.is_file() or (done.sha256 and file_digest(weights) != expected):
        raise DamagedError(f"{weights.name} is not what was kept.")
    return weights


def weights_file(folder: Path, step: int) -> Path:
    """Where a phase keeps the weights of one evaluation."""
    return folder / f"step-{step:07d}.safetensors"
