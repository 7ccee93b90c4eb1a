"""Opening the files that a table, a folder or a configuration names: only files are opened.

A name may stand for a pipe, a device or a link to nowhere; reading those would wait for ever or
fill the memory.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from aspire.errors import DataError

# An opened pipe without a writer does not wait; Windows has neither of these.
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket",
}  # fmt: skip


class NotAFileError(DataError):
    """What was named is there and cannot be read as a file."""


def open_regular(path: Path) -> BinaryIO:
    """A file opened for reading.

    Raises:
        NotAFileError: for a folder, a pipe, a device, a socket, a link to nowhere.
        OSError: as ``open`` raises it, FileNotFoundError where nothing has that name.
    """
    try:
        number = os.open(path, os.O_RDONLY | _FLAGS)
    except FileNotFoundError:
        if path.is_symlink():
            where = path.readlink()
            raise NotAFileError(f"{path} is a link to {where}, which is not there.") from None
        raise
    except OSError:  # a socket, or on Windows a folder
        if kind := _kind(path.stat().st_mode):
            raise NotAFileError(f"{path} is {kind}; expected a file.") from None
        raise
    if kind := _kind(os.fstat(number).st_mode):
        os.close(number)
        raise NotAFileError(f"{path} is {kind}; expected a file.")
    return os.fdopen(number, "rb")


def _kind(mode: int) -> str:
    """What it is; "" for a file."""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no file")


def read_regular(path: Path) -> bytes:
    """The content of a file; raises as :func:`open_regular`."""
    with open_regular(path) as file:
        return file.read()


def holds(folder: Path, limit: int = 8) -> str:
    """What a folder holds, in a few words for an error message."""
    if not folder.is_dir():
        return "no such folder"
    names = sorted(p.name for p in folder.iterdir())
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "nothing") + more
