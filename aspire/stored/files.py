"""Files that are whole or absent whenever a process dies, and what is left of those that died."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from aspire.errors import DamagedError
from aspire.stored.notes import note
from aspire.stored.trouble import UNWRITABLE

FORGOTTEN = 3600.0  # seconds after which nobody on another machine still writes a file

_TEMPORARY = re.compile(r"\..+\.(?P<machine>[^/]*)\.(?P<process>\d+)")


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is either absent, old or whole, whenever the process dies.

    Where nothing can be written, a file that holds the same already will do.

    Raises:
        OSError: with the name of the file.
    """
    # of this process on this machine, for folders are shared between machines
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        if error.errno in UNWRITABLE and path.is_file() and path.read_bytes() == data:
            return
        _remove(temporary)
        error.filename = str(path)
        raise
    except BaseException:
        _remove(temporary)
        raise


def own_file(path: Path, folder: Path | None = None) -> Path:
    """A file of a folder that somebody may have sent, before it is opened.

    Args:
        path: of the file; where nothing has that name, opening it will say so.
        folder: that it belongs to, by default the one it is in.

    Raises:
        DamagedError: for a link that leads out of the folder, and for a pipe, a device or a folder.
    """
    real, home = path.resolve(), (folder or path.parent).resolve()
    if not real.is_relative_to(home):
        raise DamagedError(
            f"{path} leads out of its folder, to {real}, and is not read. Expected the file itself."
        )
    if path.exists() and not path.is_file():
        raise DamagedError(f"{path} is no file.")
    return path


def _remove(temporary: Path) -> None:
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of that name, as the only process.

    In a folder where this process may not write it goes without: what is there can only be read.
    """
    lock = FileLock(path)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        yield
        return
    try:
        yield
    finally:
        lock.release()


def sound_checkpoint(path: Path) -> bool:
    """Whether a state to resume from is there and whole; a damaged one is removed, with a line.

    Args:
        path: of a file that ``torch.save`` wrote, whose members have check sums.
    """
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as members:
            broken = members.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        broken = str(error) or type(error).__name__
    if broken is None:
        return True
    note(f"{path} is damaged ({broken}). What it was kept for begins again.")
    path.unlink(missing_ok=True)
    return False


def tidy(folder: Path, deep: bool = False) -> None:
    """Take away what killed processes have left half-written in a folder.

    Args:
        folder: in which nobody else works at the moment, or only processes that are alive.
        deep: also in all folders below it.
    """
    for path in _dot_files(Path(folder), deep):
        if path.name.startswith(".now-") or path.suffix == ".tmp" or _abandoned(path):
            try:
                path.unlink(missing_ok=True)
            except OSError:  # somebody else's folder, read only
                return


def _dot_files(folder: Path, deep: bool) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        yield from (Path(root) / f for f in files if f.startswith(".") or f.endswith(".tmp"))
        if not deep:
            folders.clear()


def _abandoned(path: Path) -> bool:
    """Whether it is a temporary file whose process has gone."""
    found = _TEMPORARY.fullmatch(path.name)
    if found is None:
        return False
    if found["machine"] == platform.node() and os.name != "nt":
        try:
            os.kill(int(found["process"]), 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
        return False
    try:
        return time.time() - path.stat().st_mtime > FORGOTTEN
    except OSError:
        return False
