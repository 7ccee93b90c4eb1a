"""Who works on a run: one attempt at a time, with a heartbeat, and how the last one ended.

Beside everything else a run folder has ``attempts/<n>.json``, one file per attempt: who started it
where and when, and how it ended. The file is created exclusively (``O_EXCL``, atomic on network
file systems too), and the highest number counts, so that of any number of processes on any number
of machines exactly one starts, and exactly one takes over from a dead one. Its modification time is
the heartbeat, compared with that of a file made just now in the same folder: clocks may differ.

The state of a run is ``done`` with a ``result.json`` that can be read, ``running`` with a fresh
heartbeat, ``stale`` when the heartbeat stopped or the process is gone from this machine, ``failed``
when the last attempt said so or the result is damaged, and ``new`` otherwise.
"""

from __future__ import annotations

import _thread
import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from aspire.errors import AspireError, DamagedError
from aspire.progress import duration
from aspire.stored.files import own_file, write_atomic
from aspire.stored.results import damage

State = Literal["new", "running", "done", "failed", "stale"]

BEATS = 6  # heartbeats within the time after which a run without any is stale


@dataclass(frozen=True)
class RunStatus:
    """What is known about a run from its folder.

    Args:
        age: seconds since the last sign of life, or since the result was written.
        who: host and process of the last attempt, or "".
        reason: why the last attempt failed, in one line.
        seconds: of work in all attempts.
        about: what the attempt knew about its job.
        damaged: there is a result, and it cannot be read.
    """

    folder: Path
    state: State
    age: float = 0.0
    who: str = ""
    reason: str = ""
    seconds: float = 0.0
    about: Mapping[str, Any] | None = None
    damaged: bool = False


class RunningError(AspireError):
    """Someone else works on this run."""

    def __init__(self, look: RunStatus) -> None:
        self.look = look
        super().__init__(f"{look.folder} is being made by {look.who}.")


class JobFailedError(AspireError):
    """A job of a sweep failed in a way nobody foresaw."""

    exit_code = 1


def run_status(folder: Path, stale_after: float = 60.0) -> RunStatus:
    """The state of the run in this folder."""
    attempts = _attempts(folder)
    contents = [_read(p) for p in attempts]
    known = RunStatus(
        folder,
        "new",
        who=_who(contents[-1]) if contents else "",
        seconds=sum(_worked(p, c) for p, c in zip(attempts, contents, strict=True)),
        about=contents[-1].get("about") if contents else None,
    )
    result = folder / "result.json"
    if result.is_file():
        if reason := damage(folder):
            return replace(known, state="failed", age=_age(result), reason=reason, damaged=True)
        return replace(known, state="done", age=_age(result))
    if not attempts:
        return known
    last, age = contents[-1], _age(attempts[-1])
    if last.get("state") == "failed":
        return replace(known, state="failed", age=age, reason=last.get("reason", ""))
    if last.get("state") == "done":
        reason = "its result.json is gone"
    elif age > stale_after:
        reason = f"no sign of life for {duration(age)}"
    elif last.get("place") == _place() and not _alive(last):
        reason = "its process is gone"
    else:
        return replace(known, state="running", age=age)
    return replace(known, state="stale", age=age, reason=reason)


@contextmanager
def claim(folder: Path, about: Mapping[str, Any], stale_after: float = 60.0) -> Iterator[None]:
    """Work on a run as the only one; how the block ends is written down.

    Args:
        folder: of the run; made when missing.
        about: plain values that describe the job, kept with the attempt.

    Raises:
        RunningError: someone else works on it, or took over because this process had not given a
            sign of life for ``stale_after`` seconds (it was suspended).
    """
    # Counted before the state is judged: whoever starts in between takes the number.
    path = folder / "attempts" / f"{len(_attempts(folder)) + 1}.json"
    look = run_status(folder, stale_after)
    if look.state == "running":
        raise RunningError(look)
    content = {
        "state": "running",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "place": _place(),
        "born": _born(os.getpid()),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "began": time.time(),
        "about": dict(about),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=1))
    except FileExistsError:
        raise RunningError(run_status(folder, stale_after)) from None
    heart = _Heartbeat(path, stale_after / BEATS)
    try:
        yield
        heart.check(folder, stale_after)
    except BaseException as error:
        heart.stop()
        if heart.superseded and not isinstance(error, RunningError):
            raise RunningError(run_status(folder, stale_after)) from error
        if not heart.superseded:
            _end(path, content, state="failed", reason=reason_of(error))
        raise
    heart.stop()
    _end(path, content, state="done")


class _Heartbeat:
    """Touches the attempt now and then, and stops this process when another took over."""

    def __init__(self, path: Path, every: float) -> None:
        self.path = path
        self.every = every
        self.superseded = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="heartbeat")
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(self.every):
            if self._taken_over():
                self.superseded = True
                _thread.interrupt_main()
                return
            with contextlib.suppress(OSError):  # a share that is away for a moment
                os.utime(self.path)

    def _taken_over(self) -> bool:
        return self.path.with_name(f"{int(self.path.stem) + 1}.json").exists()

    def check(self, folder: Path, stale_after: float) -> None:
        if self._taken_over():
            self.superseded = True
            raise RunningError(run_status(folder, stale_after))

    def stop(self) -> None:
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()


def reason_of(error: BaseException) -> str:
    """One line that says why: the message of an error of ours, type and message of another."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, SystemExit):  # how a cluster's signal ends a job
        return "stopped from outside"
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return text if isinstance(error, AspireError) else f"{type(error).__name__}: {text}"


# --- attempts on disk ------------------------------------------------------------------------


class _Attempt(msgspec.Struct):
    """What a file of an attempt says."""

    state: Literal["running", "done", "failed"]
    host: str
    pid: Annotated[int, msgspec.Meta(gt=0, lt=2**31)]
    place: str
    started: str
    began: float
    born: str = ""
    reason: str = ""
    seconds: float = 0.0
    about: dict[str, str | float | bool | None] = {}


def _attempts(folder: Path) -> list[Path]:
    """Files of the attempts, in order; their numbers have no gap."""
    found = {int(p.stem): p for p in (folder / "attempts").glob("*.json") if p.stem.isdecimal()}
    return [found[n] for n in sorted(found)]


def _read(path: Path) -> dict[str, Any]:
    """The content; {} for one that is being written at this moment, and for a damaged one."""
    try:
        data = own_file(path, path.parents[1]).read_bytes()
        msgspec.json.decode(data, type=_Attempt)
        content: dict[str, Any] = json.loads(data)
    except (ValueError, OSError, RecursionError, DamagedError):  # msgspec's errors are ValueErrors
        return {}
    return content


def _end(path: Path, content: Mapping[str, Any], **how: str) -> None:
    seconds = round(time.time() - content["began"], 1)
    whole = {**content, "seconds": seconds, **how}
    write_atomic(path, json.dumps(whole, indent=1).encode())


def _who(content: Mapping[str, Any]) -> str:
    if not content:
        return "another process"
    here = " (this machine)" if content.get("place") == _place() else ""
    return f"process {content['pid']} on {content['host']}{here} since {content['started']}"


def _worked(path: Path, content: Mapping[str, Any]) -> float:
    """Seconds of an attempt; of one that was cut off up to its last sign of life."""
    if "seconds" in content:
        return float(content["seconds"])
    with contextlib.suppress(OSError):
        return max(0.0, path.stat().st_mtime - float(content.get("began", "inf")))
    return 0.0


def _age(path: Path) -> float:
    """Seconds since a file was touched, by the clock of the machine that keeps the files."""
    probe = path.with_name(f".now-{uuid.uuid4().hex}")
    try:
        probe.touch(exist_ok=False)
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:  # somebody else's folder, read only
        now = time.time()
    try:
        return max(0.0, now - path.stat().st_mtime)
    except FileNotFoundError:
        return 0.0


@cache
def _place() -> str:
    """This machine, this boot and this space of process numbers: where a pid means something."""
    parts = [socket.gethostname()]
    for path in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        with contextlib.suppress(OSError):
            parts.append(
                str(path.readlink()) if path.is_symlink() else path.read_text("utf-8").strip()
            )
    return "|".join(parts)


def _born(pid: int) -> str:
    """When a process began, so that a later one with its number is not taken for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _alive(content: Mapping[str, Any]) -> bool:
    pid = int(content["pid"])
    if content.get("born"):
        return _born(pid) == str(content["born"])
    if os.name == "nt":  # signal 0 would end it there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
