"""Arms of a comparison: what the file of an augmentation sets beside the augmentation itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from aspire.confdir import conf_dir
from aspire.errors import ConfigError
from aspire.stored.config import leaves


def groups_of_arm(arm: str) -> dict[str, str]:
    """Group -> choice that the file of an arm overrides; {} for a user's own arm."""
    entries = [e for e in _file(arm).get("defaults", []) if isinstance(e, DictConfig)]
    return {str(k).removeprefix("override /"): v for entry in entries for k, v in entry.items()}


def takes(group: str, choice: str, key: str) -> bool:
    """Whether the file of a choice has that dotted key."""
    content = OmegaConf.to_container(OmegaConf.load(conf_dir() / group / f"{choice}.yaml"))
    return isinstance(content, dict) and key.partition(".")[0] in content


def values_of_arm(arm: str) -> dict[str, Any]:
    """Key -> value that the file of an arm sets outside of ``augmentation``."""
    content = OmegaConf.to_container(_file(arm))
    if not isinstance(content, dict) or "augmentation" not in content:  # then all of it is inside
        return {}
    outside = {k: v for k, v in content.items() if k not in ("defaults", "augmentation")}
    return dict(leaves(outside)) if outside else {}


def check_arm(choices: Mapping[str, str | None], overrides: Sequence[str]) -> None:
    """Refuse an experiment that would silently replace what makes an arm that arm.

    Raises:
        ConfigError: naming both, unless the choice was typed.
    """
    typed = {word.lstrip("+").partition("=")[0] for word in overrides}
    arm = str(choices.get("augmentation"))
    for group, own in groups_of_arm(arm).items():
        taken = choices.get(group)
        if taken not in (None, own) and group not in typed:
            raise ConfigError(
                f"augmentation={arm} takes {group}={own}, experiment="
                f"{choices.get('experiment')} takes {group}={taken}. Leave one of them out, or "
                f"type {group}= to say which."
            )


def _file(arm: str) -> DictConfig:
    path = conf_dir() / "augmentation" / f"{arm}.yaml"
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else OmegaConf.create({})


@cache
def _read(path: Path, modified: int) -> DictConfig:
    """Read once, for a comparison asks for each arm many times; not to be changed."""
    content = OmegaConf.load(path)
    assert isinstance(content, DictConfig)
    return content
