"""Loggers of training runs. ``metrics.csv`` is always written; these come on top."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aspire.errors import ConfigError

_MODES = ("auto", "online", "offline", "disabled")


def wandb_logger(
    folder: Path,
    name: str,
    group: str,
    tags: list[str],
    config: Mapping[str, Any],
    run_id: str,
    project: str = "aspire",
    mode: str = "auto",
) -> Any:
    """A W&B run per job, offline unless the user is logged in.

    Args:
        folder: of the run; W&B's files go below it.
        name, group, tags, config: as W&B takes them; ``config`` holds plain values.
        run_id: the job's key, so that a resumed job continues its own run.
        project: W&B project.
        mode: "auto" is online with a key and offline without; ``WANDB_MODE`` wins over it.

    Returns:
        A Lightning logger, or None when disabled.

    Raises:
        ConfigError: for another mode.
    """
    if mode not in _MODES:
        raise ConfigError(f"logger.wandb.mode={mode}: expected one of {', '.join(_MODES)}.")
    mode = os.environ.get("WANDB_MODE", mode)
    if mode == "disabled":
        return None
    if mode == "auto":
        mode = "online" if logged_in() else "offline"
    os.environ.setdefault("WANDB_SILENT", "true")
    from pytorch_lightning.loggers import WandbLogger

    return WandbLogger(
        project=project,
        save_dir=folder,
        name=name,
        group=group,
        tags=tags,
        id=run_id,
        resume="allow",
        config=dict(config),
        offline=mode == "offline",
        job_type="train",
    )


def finish_wandb(failed: bool) -> None:
    """Close the run of this job, so that the next job does not log into it."""
    import sys

    if (wandb := sys.modules.get("wandb")) is not None and wandb.run is not None:
        wandb.finish(exit_code=int(failed))


def logged_in() -> bool:
    """Whether W&B has a key, from the environment or its own login."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    import netrc

    try:
        hosts = netrc.netrc().hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return any("wandb" in host for host in hosts)
