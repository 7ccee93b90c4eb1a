"""What a search tries of each setting."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from aspire.errors import ConfigError

DIGITS = 3  # of a number that is tried, so that it can be typed


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole ones, or evenly by their logarithm."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def within(self, value: Any) -> bool:
        """Whether the value is one of them."""
        return _is_number(value) and self.low <= value <= self.high

    def rounded(self, value: float) -> float:
        """A value of few digits near the one given.

        >>> Range(0.001, 0.1).rounded(0.0123456), Range(1, 9, whole=True).rounded(4)
        (0.0123, 4)
        """
        if self.whole:
            return int(value)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


@dataclass(frozen=True)
class Choices:
    """One of these, written as JSON: lists are values like others."""

    texts: tuple[str, ...]

    def within(self, value: Any) -> bool:
        """Whether the value is one of them."""
        return json.dumps(value) in self.texts


Dimension: TypeAlias = Range | Choices


class _Leaf(msgspec.Struct, forbid_unknown_fields=True):
    """What stands in a yaml for one setting."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    around: float | None = None
    choices: list[Any] | None = None


def dimensions(
    space: Mapping[str, Any], now: Mapping[str, Any], fixed: Collection[str] = ()
) -> dict[str, Dimension]:
    """Dotted key -> what is tried; the value of today is always among it.

    Args:
        space: nested, each setting ``{low, high, log}``, ``{around: 10}`` (from a tenth of the
            value of today to ten times as much, by its logarithm) or ``{choices: [...]}``.
        now: dotted key -> value of today, from which a number is whole or not.
        fixed: keys that are left out.

    Raises:
        ConfigError: naming the key and what was expected.
    """
    leaves = dict(_leaves(space))
    if leaves and leaves.keys() <= set(fixed):
        raise ConfigError(
            "Every setting that could be tuned is typed. Leave one of these out: "
            f"{', '.join(leaves)}."
        )
    return {key: _dimension(key, leaf, now) for key, leaf in leaves.items() if key not in fixed}


def _leaves(node: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        key = f"{above}.{name}" if above else str(name)
        if isinstance(value, Mapping) and not set(value) & set(_Leaf.__struct_fields__):
            yield from _leaves(value, key)
        elif value is not None:  # null takes a setting out of the search
            yield key, value


def _dimension(key: str, content: Any, now: Mapping[str, Any]) -> Dimension:
    def refuse(why: str) -> ConfigError:
        return ConfigError(
            f"space.{key}={json.dumps(content, default=str)}: {why}. Expected {{low: 0.001, high: "
            "0.1, log: true}, {around: 10} or {choices: [a, b]}."
        )

    try:
        leaf = msgspec.convert(content, _Leaf)
    except msgspec.ValidationError as error:
        raise refuse(str(error)) from None
    if key not in now:
        raise refuse("the configuration has no such key")
    value = now[key]
    if leaf.choices is not None:
        texts = [json.dumps(c) for c in leaf.choices]
        return Choices(tuple(dict.fromkeys([*texts, json.dumps(value)])))
    if not _is_number(value):
        raise refuse(f"its value of today, {json.dumps(value)}, is no number")
    low, high, log = leaf.low, leaf.high, leaf.log
    if leaf.around is not None:
        if not (leaf.around > 1 and value > 0):
            raise refuse(f"around takes more than 1, and a value of today above 0, not {value}")
        low, high, log = value / leaf.around, value * leaf.around, True
    if low is None or high is None or not low < high:
        raise refuse("low must be below high")
    if log and low <= 0:
        raise refuse("by the logarithm low must be above 0")
    if log and value <= 0:
        raise refuse(f"by the logarithm the value of today must be above 0, not {value}")
    whole = isinstance(value, int) and float(low).is_integer() and float(high).is_integer()
    return Range(min(low, value), max(high, value), log, whole)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
