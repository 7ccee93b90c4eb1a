"""What the user says is code of their own, which a configuration in a folder may then name."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from aspire.confdir import conf_dir
from aspire.stored.config import targets_in


def own_targets(cfg: DictConfig) -> set[str]:
    """Classes and functions named by ``own=``, by ``--config-dir`` or by a typed ``_target_``."""
    hydra = HydraConfig.get()
    names = {str(name) for name in cfg.get("own") or ()}
    for word in hydra.overrides.task:
        key, _, value = word.partition("=")
        if key.endswith("._target_"):
            names.add(value.strip("'\""))
    for source in hydra.runtime.config_sources:
        if source.schema == "file" and Path(source.path).resolve() != conf_dir().resolve():
            names |= targets_in(Path(source.path))
    return names
