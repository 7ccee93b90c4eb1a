"""Values files: the settings that a search found best, for ``hparams=FILE``.

They come from anybody, so that they are checked before they are believed: plain values of known
keys, nothing that names code or another key.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated

import msgspec
import yaml
from msgspec import Meta

from aspire.errors import ConfigError
from aspire.stored.config import PlainLoader
from aspire.stored.files import write_atomic
from aspire.values import Count, Fraction, Natural

LARGEST = 2**16  # bytes; ours have some 600
Name = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,99}$")]
# What a method may be tuned by; _target_ and its like begin with an underscore.
Key = Annotated[str, Meta(pattern=r"^(baseline|optimizer|fit)(\.[A-Za-z][A-Za-z0-9_]{0,99}){1,3}$")]
Group = Annotated[str, Meta(pattern="^(model|optimizer|scheduler)$")]
Text = Annotated[str, Meta(pattern=r"^[^${}]*$", max_length=200)]  # no interpolation
Value = bool | int | float | Text | list[int | float | Text] | None


class Search(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where the values come from.

    Args:
        dataset: that they were tuned on.
        seeds: of the trainings; results of the same seeds flatter.
        n_trials, sampler, steps: the effort, equal for all methods of a comparison.
        selection: the rule that chose the checkpoint of each training.
        metric, score: of the val split, the mean over the seeds.
        trial: the best, counted from 1.
        command: that made the file.
    """

    dataset: str
    seeds: list[Natural]
    n_trials: Count
    sampler: str
    steps: Count
    selection: str
    metric: str
    score: Fraction
    trial: Count
    command: str


class TunedValues(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a values file says.

    Args:
        baseline: that the values are of.
        preset: of ``conf/hparams/``, whose values hold for everything else.
        choices: group of ``conf/`` -> choice that the values belong to.
        values: dotted key -> value.
        tuned: how they were found; None where somebody wrote them down.
    """

    baseline: Name
    preset: Name = "unified"
    choices: dict[Group, Name] = {}
    values: dict[Key, Value]
    tuned: Search | None = None


def write_values(path: Path, found: TunedValues, about: str) -> None:
    """Write a values file.

    Args:
        about: one line, put above.
    """
    content = {k: v for k, v in msgspec.to_builtins(found).items() if v not in (None, {})}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    write_atomic(path, f"# {about}\n{text}".encode())


def read_values(path: Path) -> TunedValues:
    """What a values file says.

    Raises:
        ConfigError: for a file that is missing, no file, too large, or of another shape; with the
            key where there is one.
    """
    try:
        if not path.is_file():
            raise ValueError("it is no file" if path.exists() else "there is no such file")
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST} bytes")
        content = yaml.load(path.read_bytes(), PlainLoader)
        found = msgspec.convert(content, TunedValues)
        found.values = {k: _number(v) for k, v in found.values.items()}
        if not_finite := [k for k, v in found.values.items() if not _finite(v)]:
            raise ValueError(f"{not_finite[0]} is not finite")
        return found
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ConfigError(
            f"hparams={path}: {reason}. Expected a preset (unified, paper or mini) or a file of "
            "values as aspire tune writes it: baseline: NAME, preset: unified, values: "
            "{optimizer.lr: 0.01}."
        ) from None


def read_folder(folder: Path) -> dict[str, TunedValues]:
    """Baseline -> what the values file of it in a folder says.

    Raises:
        ConfigError: as :func:`read_values`, without any file, for two of one baseline, and for
            different presets.
    """
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise ConfigError(
            f"hparams={folder}: no values file in it. Expected a folder of aspire tune, "
            "outputs/tune/DATASET/KEY, with a BASELINE.yaml for each method."
        )
    found: dict[str, TunedValues] = {}
    for path in paths:
        values = read_values(path)
        if values.baseline in found:
            raise ConfigError(f"hparams={folder}: two files have values of {values.baseline}.")
        found[values.baseline] = values
    for what in ("preset", "choices"):
        if len({str(getattr(v, what)) for v in found.values()}) > 1:
            said = "; ".join(f"{b}: {getattr(v, what)}" for b, v in found.items())
            raise ConfigError(f"hparams={folder}: its files have different {what} ({said}).")
    return found


def _number(value: Value) -> Value:
    """YAML takes 1e-3 for a text."""
    if isinstance(value, list):
        return [_number(v) for v in value]  # type: ignore[misc]  # of single values
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
        return float(value)
    return value


def _finite(value: Value) -> bool:
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
