"""For tests alone: Hydra composes in half the time. What users run has nothing of it.

The suite composes thousands of times. Each file of conf/ is read once here, and two steps of Hydra
that change nothing are left out; everything is composed anew nevertheless. A command that a test
starts as a process (``helpers/commands.py``, launchers, engines) has Hydra as it is.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from hydra._internal import defaults_list
from hydra._internal.config_repository import ConfigRepository

_read = ConfigRepository.load_config
_choices = defaults_list._create_interpolation_map
_files: dict[tuple[Any, ...], bytes] = {}  # pickled: copied so in a quarter of the time


def make_quicker(patch: pytest.MonkeyPatch) -> None:
    """Replace three functions of Hydra until the patch is undone."""
    patch.setattr(ConfigRepository, "load_config", _read_once)
    patch.setattr(ConfigRepository, "__deepcopy__", _same_sources, raising=False)
    patch.setattr(defaults_list, "_create_interpolation_map", _choices_if_asked)


def _read_once(self: ConfigRepository, config_path: str) -> Any:
    key = (config_path, *((s.provider, s.path) for s in self.sources))
    if key not in _files:
        _files[key] = pickle.dumps(_read(self, config_path))
    return pickle.loads(_files[key])


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
