"""For tests alone: Hydra remembers what it read and composed. What users run has nothing of it.

The suite composes thousands of times, mostly the same words. A command that a test starts as a
process (``helpers/commands.py``, launchers, engines) has Hydra as it is.
"""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from omegaconf import base

_load, _read = ConfigLoaderImpl.load_configuration, ConfigRepository.load_config
_choices = defaults_list._create_interpolation_map
_kept: dict[tuple[Any, ...], bytes] = {}  # pickled: copied so in a quarter of the time


def make_quicker(patch: pytest.MonkeyPatch) -> None:
    """Replace functions of Hydra and OmegaConf until the patch is undone."""
    patch.setattr(ConfigLoaderImpl, "load_configuration", _load_once)
    patch.setattr(ConfigRepository, "load_config", _read_once)
    patch.setattr(ConfigRepository, "__deepcopy__", _same_sources, raising=False)
    patch.setattr(defaults_list, "_create_interpolation_map", _choices_if_asked)
    patch.setattr(base, "parse", functools.cache(vars(base)["parse"]))


def _once(key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    if key not in _kept:
        _kept[key] = pickle.dumps(make())
    return pickle.loads(_kept[key])


def _load_once(
    self: ConfigLoaderImpl, config_name: str | None, overrides: list[str], *how: Any, **more: Any
) -> Any:
    sources = tuple((part.provider, part.path) for part in self.config_search_path.get_path())
    key = (config_name, *overrides, *how, *more.items(), *sources, Path.cwd())
    return _once(key, lambda: _load(self, config_name, overrides, *how, **more))


def _read_once(self: ConfigRepository, config_path: str) -> Any:
    key = (config_path, *((s.provider, s.path) for s in self.sources))
    return _once(key, lambda: _read(self, config_path))


def _same_sources(self: ConfigRepository, memo: Any) -> ConfigRepository:
    """Hydra copies all it knows whenever it looks at a group; sources do not change."""
    repository = copy.copy(self)
    repository.sources = list(self.sources)
    return repository


def _choices_if_asked(overrides: Any, defaults: Sequence[Any], self_added: bool) -> Any:
    """Hydra puts them together for every file: a third of its time."""
    if any(d.is_interpolation() for d in defaults if not d.is_self()):
        return _choices(overrides, defaults, self_added)
    return None
