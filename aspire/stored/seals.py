"""Files against the digest they were committed with; read once as long as they do not change.

A seal is a small file beside the one it speaks of, ``NAME.sha256``. It is written first: whatever
a kill leaves behind, a file that matches its seal is whole. Where a file is part of something that
has a manifest of its own, the digest is there instead.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aspire.session import session
from aspire.stored.files import write_atomic

LARGE = 2**24  # bytes; smaller files are read again sooner than a note about them is found
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass
class _Notes:
    folder: Path | None = None  # that digests of large files are kept in


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read once as long as its size and time do not change.

    Once in this process, and with :func:`remember_digests` once and for all.

    Raises:
        FileNotFoundError: when it does not exist.
    """
    path = path.resolve()
    stat = path.stat()
    return _file_digest(path, stat.st_size, stat.st_mtime_ns)


def remember_digests(folder: Path | None) -> None:
    """Keep the digests of large files in a folder, so that the next process need not read them.

    Args:
        folder: made when missing; None to keep nothing.
    """
    session().of(_Notes).folder = folder


@cache
def _file_digest(path: Path, size: int, modified: int) -> str:
    noted = None
    folder = session().of(_Notes).folder
    if folder is not None and size >= LARGE:
        seen = hashlib.sha256(f"{path}|{size}|{modified}".encode()).hexdigest()
        noted = folder / f"{seen}.digest"
        if (known := read_digest(noted)) is not None:
            return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if noted is not None:
        write_digest(noted, digest)
    return digest


def write_digest(path: Path, digest: str) -> None:
    """Remember a digest in a file, with a check of its own, for nothing else would show damage."""
    write_atomic(path, f"{digest} {_check(path, digest)}".encode())


def read_digest(path: Path, newest: float = 0.0) -> str | None:
    """The digest that a file remembers; None where it is missing, damaged or too old.

    Args:
        path: the file.
        newest: time of the latest change of what it speaks of.
    """
    try:
        digest, _, check = path.read_text("ascii").partition(" ")
        if path.stat().st_mtime < newest:
            return None
    except (OSError, ValueError):
        return None
    sound = _HEX.fullmatch(digest) is not None and check == _check(path, digest)
    return digest if sound else None


def _check(path: Path, digest: str) -> str:
    return hashlib.sha256(f"{path.name} {digest}".encode()).hexdigest()[:16]


# --- sealed files ------------------------------------------------------------------------------


def write_sealed(path: Path, data: bytes) -> None:
    """Write a file that :func:`intact` can judge, whenever the process dies."""
    write_digest(_seal(path), hashlib.sha256(data).hexdigest())
    write_atomic(path, data)


def seal(path: Path) -> None:
    """Seal a file that is complete, in a folder that is not in use yet."""
    write_digest(_seal(path), file_digest(path))


def intact(path: Path) -> bool:
    """Whether a sealed file is what was written; False where either is missing."""
    expected = read_digest(_seal(path))
    try:
        return expected is not None and file_digest(path) == expected
    except OSError:
        return False


def _seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
