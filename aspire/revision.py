"""Which commit of this code runs, where it is installed from a checkout."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]


@cache
def revision(root: Path = HERE) -> dict[str, Any]:
    """The state of the code.

    Args:
        root: folder that may be a git checkout.

    Returns:
        ``commit``, 40 hex digits, and ``changed``, whether tracked files differ from it; nothing
        where ``root`` is no checkout, or git is missing or refuses.
    """
    if not (root / ".git").exists():
        return {}
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(root), *words],
                capture_output=True,
                text=True,
                check=True,
                timeout=20,
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit, "changed": bool(changes)}


def worded(environment: Mapping[str, Any]) -> str:
    """The short commit, with "changed" where files were; nothing where none was noted."""
    commit = str(environment.get("commit", ""))[:10]
    return f"{commit}, changed" if commit and environment.get("changed") else commit
