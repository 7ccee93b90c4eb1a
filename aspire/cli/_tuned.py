"""``hparams=FILE``: values that a search has found, as a preset like those of ``conf/hparams/``.

A file is composed as ``conf/hparams/mini/BASELINE.yaml`` is: on top of its preset, below what is
typed, and for its own baseline alone, so that another one of the same job keeps the preset's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser

from aspire.cli._words import parsed_or_none, quoted
from aspire.console import console
from aspire.errors import ConfigError
from aspire.stored.tuned import TunedValues, read_folder, read_values

KEY = "hparams="


def is_file(choice: object) -> bool:
    """Whether a choice of ``hparams`` is a file of values, or a folder of them."""
    text = str(choice)
    return text.endswith((".yaml", ".yml")) or ("/" in text and Path(text).is_dir())


def read_choice(choice: str) -> dict[str, TunedValues]:
    """Baseline -> values of a choice of ``hparams`` that is a file or folder.

    Raises:
        ConfigError: for what is not one.
    """
    path = Path(choice)
    if path.is_dir():
        return read_folder(path)
    values = read_values(path)
    return {values.baseline: values}


def with_values_files(words: Sequence[str]) -> list[str]:
    """The words; files that ``hparams=`` names have whole paths, and can be composed.

    Raises:
        ConfigError: for a file that is no values file.
    """
    return [_with_files(w) if w.startswith(KEY) else w for w in words]


def _with_files(word: str) -> str:
    text = word.removeprefix(KEY)
    if "/" not in text and ".y" not in text:  # a preset
        return word
    if is_file(text) and Path(text).exists():
        choices: list[Any] = [text]
    else:
        override = parsed_or_none(OverridesParser.create(), word)
        if override is None or override.is_delete():
            return word
        value = override.value()
        swept = override.is_choice_sweep()
        choices = list(override.sweep_iterator()) if swept else [value]
    if not any(isinstance(c, str) and is_file(c) for c in choices):
        return word
    return KEY + ",".join(_added(str(c)) if is_file(c) else quoted(c) for c in choices)


def _added(choice: str) -> str:
    """The choice, quoted and with its whole path, after Hydra has been told of it."""
    path = os.path.abspath(choice)  # noqa: PTH100  # no link is followed: the name is kept
    found = read_choice(path)
    first = next(iter(found.values()))
    tuned = f"hparams/tuned/{hashlib.sha256(path.encode()).hexdigest()[:16]}"
    store, folder, name = ConfigStore.instance(), *path.strip("/").rpartition("/")[::2]
    above: list[Any] = [f"/hparams/{first.preset}"]
    if len(found) == 1:  # then it says which baseline, unless another is typed
        above.append({"override /baseline": first.baseline})
    above += [{f"override /{group}": choice} for group, choice in first.choices.items()]
    values = [{"optional /hparams/values@_global_": first.preset}]
    values.append({f"optional /{tuned}": "${baseline}"})
    for group, defaults in (("hparams", above), ("hparams/values", values)):
        place = f"{group}/{folder}".rstrip("/")
        store.store(name, {"defaults": defaults}, place, "_global_", "aspire")
    for baseline, own in found.items():
        store.store(baseline, nested(own.values), tuned, "_global_", "aspire")
    return quoted(path)


def named_by(choice: str) -> list[tuple[str, str]]:
    """(group, choice) of everything in ``conf/`` that a file or folder of values names."""
    found = read_choice(choice)
    first = next(iter(found.values()))
    named = [("baseline", b) for b in found] + [("hparams", first.preset)]
    return [*named, *first.choices.items()]


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as mappings.

    >>> nested({"a.b": 1, "a.c": 2})
    {'a': {'b': 1, 'c': 2}}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        *above, last = key.split(".")
        node = found
        for name in above:
            node = node.setdefault(name, {})
        node[last] = value
    return found


def check_tuned(choices: Mapping[str, str | None]) -> None:
    """Refuse a values file of another baseline, whose values would silently be left out.

    Raises:
        ConfigError: naming those that it has values of.
    """
    chosen, baseline = str(choices.get("hparams")), choices.get("baseline")
    if not is_file(chosen):
        return
    there = read_choice(chosen)
    if baseline not in there:
        raise ConfigError(
            f"hparams={chosen} has values of {', '.join(there)}, not of baseline={baseline}. To "
            f"find some: aspire tune baseline={baseline}."
        )


def remark_on(choices: Mapping[str, str | None], dataset: str, seeds: Iterable[int]) -> None:
    """Say where results with these values would flatter: on seeds that they were tuned with."""
    chosen = str(choices.get("hparams"))
    values = read_choice(chosen).get(str(choices.get("baseline"))) if is_file(chosen) else None
    if values is None or values.tuned is None:
        return
    tuned = values.tuned
    if same := sorted(set(seeds) & set(tuned.seeds)):
        console.show(
            "  [yellow]{}: the values of {} were tuned with {}. Report other seeds.[/yellow]",
            ("seeds " if len(same) > 1 else "seed ") + ", ".join(map(str, same)),
            chosen,
            "them" if len(same) > 1 else "it",
        )
    if tuned.dataset != dataset:
        console.show(
            "  [yellow]the values of {} were tuned on {}, not on {}.[/yellow]",
            chosen,
            tuned.dataset,
            dataset,
        )
