"""Committed artifacts of the store, verified before anything in them is used.

The manifest holds the digest of the records, the records name the images, and an image is named by
its own digest, so that nothing in an artifact can change unnoticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from aspire.errors import DamagedError
from aspire.stored.files import own_file, write_atomic
from aspire.stored.seals import file_digest

T = TypeVar("T")
Json = dict[str, Any]
VERIFIED = ".verified"  # holds sizes and times of the files as they were when all was well
# In the artifact's own folder: a record may also name an image of another stage, by a longer path.
_IMAGE = re.compile(rb'(?<=[:,\[]")files/[0-9a-f]{2}/([0-9a-f]{64})\.png')


class Manifest(msgspec.Struct):
    """What ``manifest.json`` says of an artifact."""

    stage: str
    version: int
    identity: Any
    upstream: dict[str, str]
    digest: str
    items: int = 0
    without_record: int = 0
    records: int = 0
    rejected: dict[str, int] = {}
    resumed: int = 0
    seconds: float = 0.0


def is_committed(folder: Path) -> bool:
    """Whether an artifact has been finished here, however it is now."""
    return (folder / "manifest.json").is_file()


def read_manifest(folder: Path) -> Json:
    """The manifest of an artifact.

    Raises:
        DamagedError: when it is not there, cut short or of another shape.
    """
    path = Path(folder) / "manifest.json"
    try:
        data = own_file(path).read_bytes()
        msgspec.json.decode(data, type=Manifest)
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: {error}.") from None
    content: Json = msgspec.json.decode(data)
    return content


def verify(folder: Path) -> Json:
    """See that an artifact is what was committed, and give its manifest.

    Everything is read once a process, and while sizes and times stay the same once for all.

    Raises:
        DamagedError: naming the first file that is not as it was.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    state = _state(folder)
    if _known.get(folder) == state or _remembered(folder) == state:
        _known[folder] = state
        return manifest
    whole = hashlib.sha256()
    for name in ("records.jsonl", "rejected.jsonl"):
        whole.update(hashlib.sha256(_bytes(folder / name)).digest())
    if whole.hexdigest() != manifest["digest"]:
        raise DamagedError(f"{folder}: the records are not those that were committed.")
    for name, sha in images_in(_bytes(folder / "records.jsonl")):
        if not is_image(folder / name, sha):
            raise DamagedError(f"{folder}: {name} is not the image that was committed.")
    _known[folder] = state
    with contextlib.suppress(OSError):  # read only: the next process looks again
        write_atomic(folder / VERIFIED, state.encode())
    return manifest


def verified_lines(folder: Path, record: type[T], name: str = "records.jsonl") -> list[T]:
    """The records or rejections of an artifact.

    Raises:
        DamagedError: as :func:`verify`, and for records of another version.
    """
    verify(folder)
    return lines(folder, record, name)


def lines(folder: Path, record: type[T], name: str = "records.jsonl") -> list[T]:
    """The same of an artifact that has just been verified.

    Raises:
        DamagedError: for records of another version.
    """
    decoder = msgspec.json.Decoder(record)
    try:
        return [decoder.decode(line) for line in _bytes(folder / name).splitlines()]
    except msgspec.DecodeError as error:
        raise DamagedError(
            f"{folder / name} holds a record this version cannot read: {error}."
        ) from None


def images_in(lines: bytes) -> Iterator[tuple[str, str]]:
    """(file, SHA-256) of every image that records name."""
    return ((m[0].decode(), m[1].decode()) for m in _IMAGE.finditer(lines))


def is_image(path: Path, sha: str) -> bool:
    """Whether a file is the image it is named after."""
    try:
        return file_digest(path) == sha
    except OSError:
        return False


_known: dict[Path, str] = {}


def _state(folder: Path) -> str:
    """Names, sizes and times of the files of an artifact, in one digest."""
    found = [
        f"{name}|{stat.st_size}|{stat.st_mtime_ns}\n" for name, stat in _files(str(folder), "")
    ]
    return hashlib.sha256("".join(sorted(found)).encode()).hexdigest()


def _files(folder: str, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every file below a folder but those with a dot; thousands, looked at again at every start."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                own_file(Path(entry.path))
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{prefix}{entry.name}/")
            elif not entry.name.startswith(".") and entry.is_file():
                yield prefix + entry.name, entry.stat()


def _remembered(folder: Path) -> str:
    try:
        return (folder / VERIFIED).read_text("ascii")
    except (OSError, ValueError):
        return ""


def _bytes(path: Path) -> bytes:
    try:
        return own_file(path).read_bytes()
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror or error}.") from None
