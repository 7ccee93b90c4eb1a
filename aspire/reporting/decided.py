"""What a person decided, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from aspire.errors import AspireError
from aspire.reporting.labels import KINDS, counted
from aspire.stored.decisions import FILE, Decisions, History, On, decided, read_history
from aspire.stored.notes import note

Json = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """What a page says of a person's decisions.

    Args:
        lines: of those that its results were made with.
        since: of those that were made on these results, and that they do not know of.
    """

    lines: tuple[str, ...] = ()
    since: tuple[str, ...] = ()


def decisions_of(result: Json) -> Decisions | None:
    """Those that the results were made with; None where nobody decided."""
    history = history_of(result)
    return None if history is None else decided(history, "result.json")


def history_of(result: Json) -> History | None:
    """Their steps."""
    content = result.get("decisions")
    return None if content is None else msgspec.convert(content, History)


def on_of(result: Json) -> On:
    """What is decided on when it is about these results."""
    given = history_of(result)
    return On(
        dataset=result["dataset"]["digest"],
        class_names=tuple(result["dataset"]["class_names"]),
        found={
            seed: entry.get("found", entry["discover"])["digest"]
            for seed, entry in result["discovery"].items()
        },
        given=0 if given is None else len(given.steps),
    )


def told_of(result: Json, folder: Path) -> Told:
    """What was decided before, and in the file beside the results after them."""
    before = decisions_of(result)
    lines = [] if before is None else sentences(before)
    if not (folder / FILE).exists():
        return Told(tuple(lines))
    try:
        history = read_history(folder / FILE)
        if history.on != on_of(result):
            raise AspireError(f"{folder / FILE} is about other results.")
        since = [s for s in sentences(decided(history)) if s not in lines]
    except AspireError as error:
        note(f"Left out: {error}")
        since = []
    return Told(tuple(lines), tuple(since))


def sentences(decisions: Decisions) -> list[str]:
    """One for each thing that was decided, in a fixed order."""
    names = decisions.on.class_names
    verdicts = [
        f"{names[y]}: “{decisions.called(phrase)}” ({KINDS.get(kind, kind)}) "
        f"{'was accepted as a shortcut' if yes else 'was rejected: it is no shortcut'}."
        for (y, kind, phrase), yes in sorted(decisions.judged.items())
    ]
    merged = [
        f"“{phrase}” is counted together with “{decisions.called(into)}”."
        for phrase, into in sorted(decisions.merged.items())
    ]
    called = [f"“{phrase}” is called “{name}”." for phrase, name in sorted(decisions.names.items())]
    images = [
        f"Seed {seed}: {told}."
        for seed, found in sorted(decisions.images.items())
        if (told := _sorted(list(found.values())))
    ]
    return [*verdicts, *merged, *called, *images]


def _sorted(kept: Sequence[bool]) -> str:
    parts = ((sum(kept), "kept"), (len(kept) - sum(kept), "dropped"))
    return ", ".join(f"{counted(n, 'generated image')} {what}" for n, what in parts if n)
