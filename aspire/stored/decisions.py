"""``decisions.json``: what a person decided about features and generated images.

The file holds the steps in the order in which they were taken, and those that were taken back. What
they come to, :class:`Decisions`, follows from the steps alone: the last word on a thing counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from aspire.errors import ConfigError, DamagedError
from aspire.identity import digest_of
from aspire.records import EditKind
from aspire.stored.files import own_file, write_atomic
from aspire.values import Natural
from aspire.version import __version__

FILE = "decisions.json"
LARGEST = 32 * 2**20  # bytes; a step takes 200, one on a page of images 5,000

Phrase = Annotated[str, Meta(min_length=1, max_length=2000)]
Name = Annotated[str, Meta(max_length=200)]
Sha = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Key: TypeAlias = tuple[int, EditKind, str]  # class, kind, phrase of a feature


class _Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    pass


class Judge(_Step, frozen=True, tag="judge"):
    """Whether a feature is a shortcut; "open" leaves it to the score again."""

    y: Natural
    kind: EditKind
    phrase: Phrase
    found: bool  # what the score says
    verdict: Literal["accept", "reject", "open"]


class Merge(_Step, frozen=True, tag="merge"):
    """A phrase is counted together with another one; with None it stands for itself again."""

    phrase: Phrase
    into: Phrase | None


class Rename(_Step, frozen=True, tag="rename"):
    """What a phrase is called where it is shown; "" for itself."""

    phrase: Phrase
    name: Name


class Sort(_Step, frozen=True, tag="sort"):
    """Which generated images may be trained on; "open" leaves it to the filters again."""

    seed: Natural
    images: Annotated[tuple[Sha, ...], Meta(min_length=1, max_length=100_000)]
    verdict: Literal["keep", "drop", "open"]


Step: TypeAlias = Judge | Merge | Rename | Sort


class On(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was decided on.

    Args:
        dataset: its digest.
        class_names: in index order.
        found: seed -> digest of the features that discovery found, before anybody decided.
        given: how many of the first steps the results were made with.
    """

    dataset: str
    class_names: tuple[str, ...]
    found: dict[str, str]
    given: Natural = 0


class History(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the file.

    Args:
        steps: those that hold, the oldest first.
        undone: those that were taken back, the last one first.
    """

    schema: Literal[1] = 1
    aspire: str = __version__
    on: On
    steps: tuple[Step, ...] = ()
    undone: tuple[Step, ...] = ()

    def then(self, step: Step) -> History:
        """With one step more; what was undone is gone."""
        return msgspec.structs.replace(self, steps=(*self.steps, step), undone=())

    def back(self) -> History:
        """Without the last step; the results were made with the first ones, which stay."""
        if len(self.steps) <= self.on.given:
            return self
        return msgspec.structs.replace(
            self, steps=self.steps[:-1], undone=(self.steps[-1], *self.undone)
        )

    def again(self) -> History:
        """With the step that was taken back last."""
        if not self.undone:
            return self
        return msgspec.structs.replace(
            self, steps=(*self.steps, self.undone[0]), undone=self.undone[1:]
        )


@dataclass(frozen=True)
class Decisions:
    """What the steps come to.

    Args:
        on: what was decided on.
        judged: feature -> whether it is a shortcut. Of a phrase that is counted under another one
            nothing is said.
        merged: phrase -> the one that it is counted under, which is in no other.
        names: phrase -> what it is called.
        images: seed -> SHA-256 of an image -> whether it is kept.
        remade: whether other images are generated than those that were decided on.
        source: the file, for messages.
    """

    on: On
    judged: Mapping[Key, bool] = field(default_factory=dict)
    merged: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[int, Mapping[str, bool]] = field(default_factory=dict)
    remade: bool = False
    source: str = FILE

    @property
    def digest(self) -> str:
        """Of all that; steps that came to nothing do not count."""
        return digest_of(
            {
                "on": msgspec.to_builtins(self.on),
                "judged": [[*key, verdict] for key, verdict in sorted(self.judged.items())],
                "merged": dict(self.merged),
                "names": dict(self.names),
                "images": {str(seed): dict(found) for seed, found in self.images.items()},
            }
        )

    def called(self, phrase: str) -> str:
        """The name of a phrase."""
        return self.names.get(phrase, phrase)


def decided(history: History, source: str = FILE) -> Decisions:
    """What the steps of a history come to.

    Raises:
        ConfigError: for phrases that are counted under each other in a circle.
    """
    judged: dict[Key, Judge] = {}
    names: dict[str, str] = {}
    images: dict[int, dict[str, bool]] = {}
    for step in history.steps:
        if isinstance(step, Judge):
            judged[step.y, step.kind, step.phrase] = step
        elif isinstance(step, Rename):
            names[step.phrase] = step.name
        elif isinstance(step, Sort):
            mine = images.setdefault(step.seed, {})
            for sha in step.images:
                mine.pop(sha, None)
            if step.verdict != "open":
                mine |= dict.fromkeys(step.images, step.verdict == "keep")
    merged = _merged(history.steps, source)
    return Decisions(
        on=history.on,
        judged={
            key: step.verdict == "accept"
            for key, step in judged.items()
            if step.verdict != "open" and step.phrase not in merged
        },
        merged=merged,
        names={p: n for p, n in names.items() if n and n != p and p not in merged},
        images={seed: found for seed, found in images.items() if found},
        remade=_generates(history.steps, source)
        != _generates(history.steps[: history.on.given], source),
        source=source,
    )


def _merged(steps: Iterable[Step], source: str) -> dict[str, str]:
    direct: dict[str, str | None] = {s.phrase: s.into for s in steps if isinstance(s, Merge)}
    ends: dict[str, str] = {}
    for phrase in direct:
        seen, end = {phrase}, phrase
        while (above := direct.get(end)) is not None:
            if above in seen:
                raise ConfigError(
                    f"{source}: “{phrase}” is counted under itself, by way of "
                    f"{', '.join(f'“{p}”' for p in sorted(seen))}. Take one of these steps out."
                )
            seen.add(above)
            end = above
        if end != phrase:
            ends[phrase] = end
    return ends


def _generates(steps: Sequence[Step], source: str) -> tuple[Mapping[Key, str], Mapping[str, str]]:
    """What generating depends on: verdicts other than those of the score, and what is merged."""
    last = {(s.y, s.kind, s.phrase): s for s in steps if isinstance(s, Judge)}
    merged = _merged(steps, source)
    own = {"accept": True, "reject": False}
    return {
        key: s.verdict
        for key, s in last.items()
        if own.get(s.verdict, s.found) != s.found and s.phrase not in merged
    }, merged


def read_history(path: Path) -> History:
    """The content of a file of decisions, checked: it may come from elsewhere.

    Raises:
        ConfigError: when it is not there.
        DamagedError: when it is cut short, or not of this shape.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise ConfigError(
            f"decisions={path}: no such file. Expected a {FILE} that aspire review DIR has "
            "written, DIR being the folder of a finished aspire discover or aspire run."
        )
    try:
        if own_file(path).stat().st_size > LARGEST:
            raise DamagedError(f"{path} is damaged: larger than {LARGEST} bytes.")
        history = msgspec.json.decode(path.read_bytes(), type=History)
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedError(
            f"{path} is damaged: {error}. Expected what aspire review writes. Put it right, or "
            "remove it and decide again with aspire review DIR."
        ) from None
    on = history.on
    if on.given > len(history.steps):
        raise DamagedError(
            f"{path} is damaged: {on.given} steps are said to be given, and it holds "
            f"{len(history.steps)}."
        )
    for step in (*history.steps, *history.undone):
        if isinstance(step, Judge) and step.y >= len(on.class_names):
            raise DamagedError(
                f"{path} is damaged: it judges a feature of class {step.y}, and names "
                f"{len(on.class_names)} classes."
            )
    return history


def read_decisions(path: str | Path | None) -> Decisions | None:
    """What a file of decisions comes to; None without one.

    Raises:
        ConfigError, DamagedError: as :func:`read_history` and :func:`decided`.
    """
    if path is None:
        return None
    return decided(read_history(Path(path)), str(path))


def as_json(history: History) -> bytes:
    """The bytes of a file: one step a line, to be read and compared by people."""
    whole: dict[str, Any] = msgspec.to_builtins(history)

    def listed(name: str) -> str:
        lines = [msgspec.json.encode(step).decode() for step in whole.pop(name)]
        return f'"{name}": [' + ",".join(f"\n  {line}" for line in lines) + "]"

    parts = [listed("steps"), listed("undone")]
    head = [f'"{k}": {msgspec.json.encode(v).decode()}' for k, v in whole.items()]
    return ("{\n " + ",\n ".join([*head, *parts]) + "\n}\n").encode()


def write_history(path: Path, history: History) -> None:
    """Write the file, so that it is old or new whenever the process dies.

    Raises:
        OSError: with the name of the file.
    """
    write_atomic(path, as_json(history))
