"""A finished discovery or run as a person decides on it: what there is, and the steps so far.

The features are those that were found before anybody decided. The file of the decisions is read
anew for every answer, so that nothing is lost with this process, and nobody's steps by another one.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import msgspec

from aspire.errors import AspireError, ConfigError
from aspire.records import Edit, Effect, FilterDecision, SpuriousFeature, SyntheticImage
from aspire.reporting.artifacts import Artifacts, Json, read_result
from aspire.reporting.decided import history_of, on_of
from aspire.reporting.discovery import FeatureView, Strip, feature_view, strip_of
from aspire.reporting.labels import KINDS, counted
from aspire.reporting.pictures import Pictures
from aspire.stored.decisions import (
    FILE,
    Decisions,
    History,
    Judge,
    Key,
    Merge,
    Rename,
    Sort,
    Step,
    decided,
    read_history,
    write_history,
)
from aspire.stored.trouble import storage_error
from aspire.text import visible

EXAMPLES = 3  # strips of a feature


class RefusedError(AspireError):
    """A step that cannot be taken. The message is for the person on the page."""

    exit_code = 2


@dataclass(frozen=True)
class Evidence:
    """What was found about one phrase of one class.

    Args:
        view: the feature of the first classifier that has it.
        seed: of that one.
        spurious: seeds of the classifiers for which it is a shortcut.
        seeds: of those that have it.
    """

    view: FeatureView
    seed: str
    spurious: tuple[str, ...]
    seeds: tuple[str, ...]

    @property
    def key(self) -> Key:
        """Of the feature."""
        f = self.view.feature
        return f.y, f.kind, f.phrase


@dataclass(frozen=True)
class Made:
    """One generated image, and what the filters say of it."""

    record: SyntheticImage
    verdict: FilterDecision
    file: Path

    @property
    def sha(self) -> str:
        """SHA-256 of the file."""
        return PurePosixPath(self.record.file).stem


class Review:
    """What is decided on, and the decisions.

    Args:
        folder: of a finished aspire discover or aspire run.
        file: for the decisions; None for the one beside the results.

    Raises:
        AspireError: when the folder holds no such thing, or the file is about other results.
    """

    def __init__(self, folder: Path, file: Path | None = None) -> None:
        self.folder = Path(folder)
        self.file = self.folder / FILE if file is None else Path(file)
        self.result: Json = read_result(self.folder)
        self.artifacts = Artifacts(self.folder.resolve().parent.parent)
        self.class_names: list[str] = self.result["dataset"]["class_names"]
        self.on = on_of(self.result)
        self._lock = threading.Lock()
        if not self.features:
            listed = ", ".join(sorted(self.artifacts.absent)) or "none was found"
            raise ConfigError(
                f"{folder}: there is no feature to decide on ({listed}). Features are read from "
                f"{self.artifacts.outputs}/artifacts; the command at the end of the report makes "
                "what is missing there again."
            )
        self.history()

    # --- what there is -----------------------------------------------------------------------

    @cached_property
    def features(self) -> dict[Key, Evidence]:
        """Every feature that was found, in the order in which a class shows them."""
        score = self.result["settings"].get("score", {})
        found: dict[Key, list[tuple[str, SpuriousFeature]]] = defaultdict(list)
        for seed, entry in self.result["discovery"].items():
            folder = entry.get("found", entry["discover"])["folder"]
            for f in self.artifacts.lines(folder, SpuriousFeature):
                if f.y < len(self.class_names):
                    found[f.y, f.kind, f.phrase].append((seed, f))
        rows = []
        for mine in found.values():
            spurious = tuple(seed for seed, f in mine if f.spurious)
            seed, first = next((m for m in mine if m[1].spurious), mine[0])
            view = feature_view(first, score, len(spurious))
            rows.append(Evidence(view, seed, spurious, tuple(seed for seed, _ in mine)))
        rows.sort(key=lambda e: (e.key[0], not e.spurious, e.view.feature.rank, e.key))
        return {e.key: e for e in rows}

    @cached_property
    def images(self) -> dict[int, dict[str, Made]]:
        """Seed -> SHA-256 -> generated image."""
        found: dict[int, dict[str, Made]] = {}
        for seed, entry in self.result.get("generation", {}).items():
            folder = entry["generate"]["folder"]
            verdicts = {
                d.img_id: d
                for d in self.artifacts.lines(
                    (entry.get("filtered") or entry["filter"])["folder"], FilterDecision
                )
            }
            made = (
                Made(i, verdicts[i.img_id], self.artifacts.outputs / folder / i.file)
                for i in self.artifacts.lines(folder, SyntheticImage)
                if i.img_id in verdicts
            )
            found[int(seed)] = {m.sha: m for m in made}
        return found

    def strips(self, evidence: Evidence, pictures: Pictures) -> list[Strip]:
        """The edits of a feature with the largest drops."""
        wanted = evidence.view.feature.examples[:EXAMPLES]
        effects = self._effects(evidence.seed)
        return [
            strip_of(self._edits[e], effects[e], self.result, self.artifacts, pictures)
            for e in wanted
            if e in self._edits and e in effects
        ]

    @cached_property
    def _edits(self) -> dict[str, Edit]:
        folder = self.result["stages"]["edit"]["folder"]
        return {e.edit_id: e for e in self.artifacts.lines(folder, Edit)}

    def _effects(self, seed: str) -> dict[str, Effect]:
        if seed not in self._effects_of:
            folder = self.result["discovery"][seed]["score"]["folder"]
            effects = self.artifacts.lines(folder, Effect)
            self._effects_of[seed] = {e.edit_id: e for e in effects}
        return self._effects_of[seed]

    @cached_property
    def _effects_of(self) -> dict[str, dict[str, Effect]]:
        return {}

    # --- the steps -----------------------------------------------------------------------------

    def history(self) -> History:
        """The steps so far: those in the file, else those that the results were made with.

        Raises:
            AspireError: when the file is damaged, or is about other results.
        """
        if not self.file.exists():
            given = history_of(self.result)
            return History(on=self.on, steps=() if given is None else given.steps)
        history = read_history(self.file)
        if history.on != self.on:
            raise ConfigError(
                f"{self.file} is about other results than those in {self.folder}: they have been "
                f"made anew since, or it was copied here. Move it away, or name another file: "
                f"aspire review {self.folder} to=FILE"
            )
        return history

    def decisions(self) -> Decisions:
        """What they come to."""
        return decided(self.history(), str(self.file))

    def take(self, step: Step) -> str:
        """Take a step and keep it; what was done, in a sentence.

        Raises:
            RefusedError: when it is about nothing that is there, or contradicts another one.
            StorageError: when it cannot be kept; then it was not taken.
        """
        with self._lock:
            before = self.history()
            said = self._checked(step, decided(before, str(self.file)))
            after = before.then(step)
            if decided(after, str(self.file)) == decided(before, str(self.file)):
                return "It is so already."
            self._write(after)
        return said

    def back(self) -> str:
        """Take the last step back; what was undone, in words."""
        return self._moved(History.back, "Undone.", "There is nothing to undo.")

    def again(self) -> str:
        """Take the step that was undone last once more."""
        return self._moved(History.again, "Done again.", "There is nothing to redo.")

    def _moved(self, move: Callable[[History], History], done: str, nothing: str) -> str:
        with self._lock:
            before = self.history()
            if (after := move(before)) == before:
                raise RefusedError(nothing)
            self._write(after)
        return done

    def _write(self, history: History) -> None:
        try:
            write_history(self.file, history)
        except OSError as error:
            told = storage_error(error) or error
            raise type(told)(
                f"Nothing was kept. {str(told).splitlines()[0]} To keep the decisions elsewhere: "
                f"aspire review {self.folder} to=FILE"
            ) from None

    def _checked(self, step: Step, now: Decisions) -> str:
        """A sentence about a step that can be taken."""
        if isinstance(step, Judge):
            return self._judge(step, now)
        if isinstance(step, Merge):
            return self._merge(step, now)
        if isinstance(step, Rename):
            return self._rename(step, now)
        return self._sort(step)

    def _judge(self, step: Judge, now: Decisions) -> str:
        evidence = self.features.get((step.y, step.kind, step.phrase))
        if evidence is None or step.phrase in now.merged:
            raise RefusedError(f"“{step.phrase}” is no feature of this class any more. Reload.")
        if step.found != bool(evidence.spurious):
            raise RefusedError(f"“{step.phrase}” was found to be something else. Reload the page.")
        words = {
            "accept": "is a shortcut",
            "reject": "is no shortcut",
            "open": "is as it was found",
        }
        name = now.called(step.phrase)
        return f"“{name}” of {self.class_names[step.y]} {words[step.verdict]}."

    def _merge(self, step: Merge, now: Decisions) -> str:
        if step.into is None:
            if step.phrase not in now.merged:
                raise RefusedError(f"“{step.phrase}” is counted by itself already.")
            return f"“{step.phrase}” is counted by itself again."
        if step.into not in self._together(step.phrase, now):
            kinds = " and ".join(KINDS.values())
            raise RefusedError(
                f"“{step.phrase}” cannot be counted with “{step.into}”: expected two features of "
                f"one class whose edits are of one kind ({kinds})."
            )
        return f"“{step.phrase}” is counted together with “{now.called(step.into)}”."

    def _together(self, phrase: str, now: Decisions) -> set[str]:
        """The phrases that one may be counted with: neither itself nor one that is counted so."""
        mine = {key[:2] for key in self.features if key[2] == phrase}
        found = {key[2] for key in self.features if key[:2] in mine}
        return found - {phrase} - now.merged.keys()

    def _rename(self, step: Rename, now: Decisions) -> str:
        phrases = {key[2] for key in self.features}
        if step.phrase not in phrases or step.phrase in now.merged:
            raise RefusedError(f"“{step.phrase}” is no feature any more. Reload the page.")
        if step.name != step.name.strip() or visible(step.name) != step.name:
            raise RefusedError("A name has no space at its ends and no control characters.")
        taken = phrases | {name for p, name in now.names.items() if p != step.phrase}
        if step.name in taken - {step.phrase}:
            raise RefusedError(
                f"“{step.name}” is the name of another feature. To count both together, choose it "
                "under “count together with”."
            )
        return f"“{step.phrase}” is called “{step.name or step.phrase}”."

    def _sort(self, step: Sort) -> str:
        there = self.images.get(step.seed, {})
        if strange := [sha for sha in step.images if sha not in there]:
            raise RefusedError(
                f"{len(strange)} of these images are not among those that seed {step.seed} made."
            )
        words = {"keep": "kept", "drop": "dropped", "open": "left to the filters"}
        return f"{counted(len(set(step.images)), 'image')} {words[step.verdict]}."


def parse(data: bytes) -> Step:
    """A step as the page sends it.

    Raises:
        RefusedError: when it is none.
    """
    try:
        step: Step = msgspec.json.decode(data, type=Step)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(f"That is no step: {error}.") from None
    return step


def in_words(lines: Sequence[str]) -> str:
    """How much was decided."""
    return counted(len(lines), "decision") if lines else "nothing decided yet"
