"""Hydra composes a job several times and reads the same files each time; here it does so once.

What it copies and parses over and over is left out as well: half the time of what remains.
"""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, base
from omegaconf.errors import OmegaConfBaseException

from aspire.checking import problems
from aspire.cli._keys import Launcher
from aspire.errors import ConfigError

MODE = "hydra.mode=RUN"  # Hydra's own word, once it knows


@contextmanager
def composing_once() -> Iterator[None]:
    """Within it equal words are composed once, whoever asks, and a file of conf/ is read once.

    Hydra composes a job to learn its mode, once more to run it, and each job of a sweep beforehand;
    the verbs compose the arms of a comparison. Nothing is remembered from one command to the next.
    """
    load, read = ConfigLoaderImpl.load_configuration, ConfigRepository.load_config
    choices = defaults_list._create_interpolation_map
    composed: dict[tuple[Any, ...], bytes] = {}  # pickled: copied so in a quarter of the time
    files: dict[tuple[Any, ...], bytes] = {}

    @functools.wraps(load)
    def load_once(
        self: ConfigLoaderImpl,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        **options: Any,
    ) -> DictConfig:
        if not options.get("validate_sweep_overrides", True):  # only the mode is wanted
            try:
                return load_once(self, config_name, overrides, RunMode.RUN)
            except (HydraException, OmegaConfBaseException):
                pass  # the words of a sweep, or wrong ones
        if overrides and overrides[-1] == MODE:  # the same words otherwise
            config = load_once(self, config_name, overrides[:-1], run_mode, **options)
            config.hydra.mode = RunMode.RUN
            config.hydra.overrides.hydra.append(MODE)
            return config
        last: dict[str, str] = {}  # of each key the last value, as in Hydra
        for word in overrides:
            name, _, value = word.partition("=")
            last.pop(name, None)
            last[name] = value
        place = tuple((part.provider, part.path) for part in self.config_search_path.get_path())
        key = (config_name, tuple(last.items()), run_mode, place, Path.cwd())
        if key not in composed:
            config = load(self, config_name, overrides, run_mode, **options)
            _check_launcher(config)
            composed[key] = pickle.dumps(config)
        copied: DictConfig = pickle.loads(composed[key])
        return copied

    def read_once(self: ConfigRepository, config_path: str) -> Any:
        key = (config_path, *((s.provider, s.path) for s in self.sources))
        if key not in files:
            files[key] = pickle.dumps(read(self, config_path))
        return pickle.loads(files[key])

    def choices_if_asked(overrides: Any, defaults: Sequence[Any], self_added: bool) -> Any:
        """Hydra puts them together for every file: a third of its time."""
        if any(d.is_interpolation() for d in defaults if not d.is_self()):
            return choices(overrides, defaults, self_added)
        return None

    def same_sources(self: ConfigRepository, memo: Any) -> ConfigRepository:
        """Hydra copies all it knows whenever it looks at a group; sources do not change."""
        repository = copy.copy(self)
        repository.sources = list(self.sources)
        return repository

    quicker: dict[tuple[Any, str], Any] = {
        (ConfigLoaderImpl, "load_configuration"): load_once,
        (ConfigRepository, "load_config"): read_once,
        (ConfigRepository, "__deepcopy__"): same_sources,
        (defaults_list, "_create_interpolation_map"): choices_if_asked,
        # of an interpolation, each time it is looked up
        (base, "parse"): functools.cache(vars(base)["parse"]),
    }
    before = {place: vars(place[0]).get(place[1]) for place in quicker}
    for (owner, name), function in quicker.items():
        setattr(owner, name, function)
    try:
        yield
    finally:
        for (owner, name), function in before.items():
            if function is None:
                delattr(owner, name)
            else:
                setattr(owner, name, function)


def _check_launcher(config: DictConfig) -> None:
    """Hold the values of a launcher of ours against what it takes, before it is made.

    Raises:
        ConfigError: with what was expected, a line for each value.
    """
    node: Any = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    if not isinstance(node, dict) or not str(node.get("_target_")).startswith("hydra_plugins."):
        return
    if found := list(problems(node, "hydra.launcher", Launcher)):
        raise ConfigError("\n".join(found))
