"""With which code and on which machine a result was made; beside the result, never part of it."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aspire.revision import revision
from aspire.stored.results import read_mapping
from aspire.version import __version__
from aspire.yardstick import Yardstick, read_yardstick, yardstick

FILE = "environment.json"


def environment(outputs: Path) -> dict[str, Any]:
    """The content of ``environment.json``, but for what a verb has to add.

    Args:
        outputs: the yardstick of the machine is kept in the cache below it.
    """
    return {
        "aspire": __version__,
        **revision(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "machine": platform.platform(),
        "yardstick": asdict(yardstick(outputs / "cache")),
    }


def yardstick_of(run: Path) -> Yardstick | None:
    """Of the processor that made a run; None where none was noted or a GPU did the work."""
    content = read_mapping(run / FILE)
    if content.get("device", "cpu") != "cpu":
        return None
    return read_yardstick(content.get("yardstick"))
