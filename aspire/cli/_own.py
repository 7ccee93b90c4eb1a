"""What the user says is code of their own, which a configuration in a folder may then name."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from aspire.confdir import conf_dir
from aspire.plugins import plugins
from aspire.stored.config import targets_in


def own_targets(cfg: DictConfig) -> set[str]:
    """What ``own=``, ``--config-dir``, a typed ``_target_`` or a plug-in names."""
    hydra = HydraConfig.get()
    names = {str(name) for name in cfg.get("own") or ()} | {p.target for p in plugins()}
    for word in hydra.overrides.task:
        key, _, value = word.partition("=")
        if key.endswith("._target_"):
            names.add(value.strip("'\""))
    for source in hydra.runtime.config_sources:
        if source.schema == "file" and Path(source.path).resolve() != conf_dir().resolve():
            names |= targets_in(Path(source.path))
    return names
