"""Effects of edits by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aspire.discovery.base import Candidate, Evidence
from aspire.records import Effect


def effect(
    number: int, phrase: str, flipped: bool = False, after: float = 0.5, **more: Any
) -> Effect:
    fields: dict[str, Any] = {
        "edit_id": f"{number:03d}/{phrase}", "img_id": str(number), "y": 0,
        "kind": "remove_object", "phrase": phrase, "replacement": None, "p_before": 0.9,
        "p_after": after, "predicted_after": 1 if flipped else 0,
    }  # fmt: skip
    return Effect(**fields | more)


def candidate(effects: list[Effect], y: int = 0, **occurrences: int) -> Candidate:
    first = effects[0]
    seen = {p: sum(e.phrase == p for e in effects) for p in {e.phrase for e in effects}}
    return Candidate(y, first.kind, first.phrase, tuple(effects), {**seen, **occurrences})


def flips(phrase: str, number: int, support: int, y: int = 0, after: float = 0.5) -> Candidate:
    effects = [
        effect(i, phrase, i < number, after, y=y, predicted_after=1 - y if i < number else y)
        for i in range(support)
    ]
    return candidate(effects, y)


def pairs(phrase: str, drops: list[float], y: int = 0) -> Candidate:
    """One image a net drop: the control keeps 0.9, the edit falls below it."""
    effects = [
        effect(i, phrase, after=0.9 - d, p_control=0.9, predicted_control=y, y=y, predicted_after=y)
        for i, d in enumerate(drops)
    ]
    return candidate(effects, y)


@pytest.fixture
def make() -> Callable[..., Any]:
    """The functions of this file, by name."""
    return {"effect": effect, "candidate": candidate, "flips": flips, "pairs": pairs}.__getitem__


@pytest.fixture
def evidence() -> Callable[..., Evidence]:
    return lambda *candidates: Evidence(tuple(candidates))
