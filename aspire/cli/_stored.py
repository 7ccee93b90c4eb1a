"""What a run keeps of its configuration, and from there back to the words that compose it today."""

from __future__ import annotations

import re
from collections.abc import Mapping
from inspect import unwrap
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from aspire.cli._app import compose_config, plain
from aspire.cli._words import quoted
from aspire.confdir import conf_dir
from aspire.errors import ConfigError
from aspire.own_objects import label_of, name_of
from aspire.reporting.compare import EXECUTION
from aspire.stored.config import OWN, absolute, leaves, refuse_own

LIST_GROUPS = ("filter",)  # groups of which several choices hold at once
KEY = re.compile(r"[\w./-]+")
Json = Mapping[str, Any]


def stored_yaml(cfg: DictConfig, own: Mapping[str, Any] | None = None) -> bytes:
    """The text of a run's ``config.yaml``: resolved, with absolute paths.

    Args:
        cfg: the configuration.
        own: see :func:`with_names`.
    """
    return OmegaConf.to_yaml(with_names(absolute(plain(cfg)), own or {})).encode()


def with_names(settings: Json, own: Mapping[str, Any]) -> dict[str, Any]:
    """Plain settings in which objects that took the place of some are called by their name.

    Args:
        settings: by group.
        own: group -> object. Those of ``filter`` are listed beside the chosen ones.
    """
    named: dict[str, Any] = {**settings}
    for group, thing in own.items():
        if group == "filter":
            further = {label_of(f): {OWN: name_of(unwrap(f))} for f in thing}
            named[group] = {**(named.get(group) or {}), **further}
        elif group in named:
            named[group] = {OWN: name_of(unwrap(thing))}
    return named


def compose_words(stored: Json, result: Json) -> list[str]:
    """Overrides of ``aspire train`` that give the stored settings again.

    Choices are those files of ``conf/`` that are nearest to the stored values; what still differs,
    since a file has changed or the user had typed it, follows key by key.

    Args:
        stored: content of a run's ``config.yaml``.
        result: of its ``result.json``.

    Raises:
        ConfigError: when no words lead to the stored settings.
    """
    for group, node in stored.items():
        for part in node.values() if group in LIST_GROUPS else (node,):
            refuse_own(group, part)
    for key, _ in leaves(stored):
        if not KEY.fullmatch(key):
            raise ConfigError(f"config.yaml: {key[:80]!r} is no key that can be typed again.")
    words = [f"seed={result['seed']}", "hparams=unified"]
    for group, node in stored.items():
        folder = conf_dir() / group
        if group in EXECUTION or not folder.is_dir() or not isinstance(node, Mapping):
            continue
        if group in LIST_GROUPS:
            words.append(f"{group}=[{','.join(node)}]")
        elif choice := _nearest(folder, node, str(result.get(group, ""))):
            words.append(f"{group}={choice}")
    words += _corrections(_settings(stored), _composed(words))
    left = dict(_difference(_settings(stored), _composed(words)))
    if left:
        raise ConfigError(
            "The stored settings cannot be composed any more: " + ", ".join(sorted(left)[:8]) + "."
        )
    return words


def _nearest(folder: Path, node: Json, label: str) -> str | None:
    """The file with the same class and the most equal values; one of the right name wins a tie."""
    wanted, best = dict(leaves(node)), (0, False, "")
    for path in sorted(folder.glob("*.yaml")):
        content = yaml.safe_load(path.read_bytes()) or {}
        found = dict(leaves(content))
        if content.get("_target_") != node.get("_target_"):
            continue
        equal = 1 + sum(wanted.get(k) == v for k, v in found.items())
        best = max(best, (equal, path.stem == label, path.stem))
    return best[2] or None


def _settings(config: Json) -> dict[str, Any]:
    return {k: v for k, v in leaves(config) if k.split(".")[0] not in EXECUTION}


def _composed(words: list[str]) -> dict[str, Any]:
    return _settings(plain(compose_config("train", words)[0]))


def _difference(wanted: Json, given: Json) -> list[tuple[str, Any]]:
    return [(k, v) for k, v in wanted.items() if k not in given or given[k] != v]


def _corrections(wanted: Json, given: Json) -> list[str]:
    gone = [f"~{k}" for k in given if k not in wanted and not _below(k, wanted)]
    return gone + [f"++{k}={quoted(v)}" for k, v in _difference(wanted, given)]


def _below(key: str, wanted: Json) -> bool:
    """Whether a value stands where there are further keys now, or the other way round."""
    return any(k.startswith(f"{key}.") or key.startswith(f"{k}.") for k in wanted)
