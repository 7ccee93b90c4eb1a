"""The jobs of a sweep, kept as one small file each, so that any process on any machine may write.

``<sweep>/jobs/<id>.json`` holds the words of a job, what it is called in tables, the run folder
it led to (relative, so that the outputs may be moved) and why it failed before it had one. The
state itself is never copied: it is read from the run folder, see :mod:`aspire.runs.claims`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from aspire.errors import DamagedError
from aspire.identity import digest_of
from aspire.runs.claims import RunStatus, State, run_status
from aspire.stored.files import own_file, write_atomic
from aspire.stored.results import read_any


@dataclass(frozen=True)
class JobEntry:
    """One job, run or not.

    Args:
        about: dataset, baseline, augmentation, model and seed, as far as they are known.
        look: at its run folder, or made up where it has none yet.
        command: finishes this job.
        sweep: finishes the whole sweep, or "" for a run that belongs to none.
        log: file with the traceback of its last failure.
        exit_code: of its last failure.
    """

    about: Mapping[str, Any]
    look: RunStatus
    command: str
    sweep: str = ""
    log: Path | None = None
    exit_code: int = 1

    @property
    def state(self) -> State:
        """See :class:`~aspire.runs.claims.RunStatus`."""
        return self.look.state

    @property
    def name(self) -> str:
        """How the job is called in one line."""
        known = {k: v for k, v in self.about.items() if v is not None}
        arm = str(known.get("baseline", "?"))
        if (augmentation := known.get("augmentation", "none")) != "none":
            arm += f" + {augmentation}"
        return f"{known.get('dataset', '?')}, {arm}, seed {known.get('seed', '?')}"


class Ledger:
    """The jobs of one sweep.

    Args:
        folder: of the sweep.
        sweep: the command that started it; only its main process needs to know.
    """

    def __init__(self, folder: Path, sweep: str = "") -> None:
        self.folder = Path(folder)
        self.sweep = sweep

    def file(self, words: Sequence[str]) -> Path:
        """Where a job is written down; the order of its words does not matter."""
        return self.folder / "jobs" / f"{digest_of(sorted(words))[:12]}.json"

    def expect(self, words: Sequence[str], about: Mapping[str, Any], command: str) -> None:
        """Write down a job that is going to be run, unless it is known."""
        if not self.file(words).is_file():
            self.note(words, about, command)

    def note(
        self,
        words: Sequence[str],
        about: Mapping[str, Any],
        command: str,
        run: Path | None = None,
        failed: str = "",
        traceback: str = "",
        exit_code: int = 1,
    ) -> Path:
        """Write down what became of a job; the file of its traceback, if there is one."""
        path = self.file(words)
        log = path.with_suffix(".log")
        if traceback:
            write_atomic(log, traceback.encode())
        elif run is not None and not failed:
            log.unlink(missing_ok=True)
        content = {
            "words": list(words),
            "about": dict(about),
            "command": command,
            "sweep": self.sweep or (_job(path)["sweep"] if path.exists() else ""),
            "run": Path(os.path.relpath(run, path.parent)).as_posix() if run else None,
            "failed": failed,
            "exit_code": exit_code if failed else 0,
        }
        write_atomic(path, json.dumps(content, indent=1).encode())
        return log

    def entry(self, words: Sequence[str], stale_after: float) -> JobEntry:
        """One job that has been written down."""
        return _entry(self.file(words), stale_after)


def find_jobs(folder: Path, stale_after: float = 60.0) -> list[JobEntry]:
    """Every job below a folder: those of its sweeps, and all run folders."""
    folder = Path(folder)
    found: dict[Path | str, JobEntry] = {}
    files = sorted(_walk(folder)) if folder.is_dir() else []
    for path in files:
        if _is_job(path):
            entry = _entry(path, stale_after)
            known = found.get(key := entry.look.folder.resolve())
            if known is None or (known.state != "done" and entry.command):
                found[key] = entry
    for path in files:
        run = path.parent if path.name == "result.json" else path.parent.parent
        if _is_job(path) or run.resolve() in found:
            continue
        entry_of_run = _entry_of_run(run, stale_after)
        if entry_of_run is not None:
            found[run.resolve()] = entry_of_run
    return sorted(found.values(), key=lambda e: _order(e.about))


def _order(about: Mapping[str, Any]) -> tuple[str, ...]:
    seed = str(about.get("seed", ""))
    names = [str(about.get(k, "")) for k in ("dataset", "model", "baseline", "augmentation")]
    if names[3] == "none":  # first of a comparison
        names[3] = ""
    return (*names, seed.zfill(8))


def _walk(folder: Path) -> Iterator[Path]:
    """Files that tell of jobs; the inner folders of runs are not looked into."""
    for root, folders, files in os.walk(folder):
        here = Path(root)
        run = "attempts" in folders or "result.json" in files
        if run:
            folders[:] = ["attempts"] if "result.json" not in files else []
        wanted = here.name in ("jobs", "attempts")
        for name in files:
            if name == "result.json" or (wanted and name.endswith(".json") and name[0] != "."):
                yield here / name


def _is_job(path: Path) -> bool:
    return path.parent.name == "jobs" and path.name != "result.json"


def _entry(path: Path, stale_after: float) -> JobEntry:
    content = _job(path)
    log = path.with_suffix(".log")
    look = RunStatus(path, "failed" if content["failed"] else "new", reason=content["failed"])
    if content["run"]:
        folder = Path(os.path.normpath(path.parent / content["run"]))
        look = run_status(folder, stale_after)
        if content["failed"] and look.state == "new":
            look = replace(look, state="failed", reason=content["failed"])
    return JobEntry(
        content["about"],
        look,
        content["command"],
        content["sweep"],
        log if log.is_file() else None,
        content.get("exit_code") or 1,
    )


class _About(msgspec.Struct):
    dataset: str | None = None
    baseline: str | None = None
    augmentation: str | None = None
    model: str | None = None
    seed: int | None = None


class _Job(msgspec.Struct):
    about: _About
    command: str = ""
    sweep: str = ""
    run: str | None = None
    failed: str = ""
    exit_code: int = 0


def _job(path: Path) -> dict[str, Any]:
    """What was written down of a job; of a damaged file that it is one."""
    try:
        found = msgspec.json.decode(own_file(path).read_bytes(), type=_Job)
    except (OSError, DamagedError, msgspec.DecodeError, RecursionError) as error:
        reason = f"{path} is damaged: {error}. The command of the sweep writes it again."
        found = _Job(about=_About(), failed=reason)
    content: dict[str, Any] = msgspec.to_builtins(found)
    return content


def _entry_of_run(folder: Path, stale_after: float) -> JobEntry | None:
    look = run_status(folder, stale_after)
    about = look.about
    if look.state == "done":
        result = read_any(folder)
        if "weights_sha256" not in result:  # of something else than a training run
            return None
        about = result
    elif look.damaged and about is None:
        if not (folder / "model.safetensors").is_file():  # of something else
            return None
        about = _named(folder)
    if about is None:
        return None
    keys = ("dataset", "baseline", "augmentation", "model", "seed", "key")
    return JobEntry(
        {k: about.get(k) for k in keys}, look, str((look.about or {}).get("command", ""))
    )


def _named(folder: Path) -> dict[str, Any]:
    """What the path says: ``<dataset>/<baseline>/<augmentation>/<model>-s<seed>-<key>``."""
    dataset, baseline, augmentation, name = ("?", "?", "?", "?", *folder.resolve().parts)[-4:]
    found = re.fullmatch(r"(.+)-s(\d+)-(\w+)", name)
    model, seed, key = found.groups() if found else (name, "0", "")
    about = {"dataset": dataset, "baseline": baseline, "augmentation": augmentation}
    return about | {"model": model, "seed": int(seed), "key": key}
