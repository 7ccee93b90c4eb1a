"""Unpacking archives that came from somewhere: all of it or nothing, and never outside its folder.

The standard library's own extraction is not used: its filters follow links and have let entries
out before. Here no link is ever made (one that stays inside is written as a copy of its target),
every byte is counted against limits while it is written, and names are checked before.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rich.filesize import decimal as readable

from aspire.data.transfer import DiskError, is_html
from aspire.errors import DataError
from aspire.progress import Advance
from aspire.values import AtLeastOne, Count, Positive

CHUNK = 1 << 20
RATIO_FROM = 8 << 20  # small archives may be of any ratio
MAX_HEADER = 16 << 20  # largest single read that a tar header may ask for
MAX_NAME, MAX_PATH = 255, 1000  # bytes of one component, characters of a whole name
OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {
    "tar.gz": gzip.open,
    "tar.bz2": bz2.open,
    "tar.xz": lzma.open,
    "tar": lambda raw: raw,
}
KINDS = {
    **{b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\x1f\x8b": "tar.gz"},
    **{b"BZh": "tar.bz2", b"\xfd7zXZ\x00": "tar.xz"},
}
OTHERS = {b"7z\xbc\xaf": "a 7z", b"Rar!": "a RAR", b"\x28\xb5\x2f\xfd": "a Zstandard"}


@dataclass(frozen=True)
class Limits:
    """What an archive may hold.

    Args:
        max_gb: unpacked size, in 10^9 bytes.
        max_ratio: unpacked over packed size, for more than 8 MiB.
        max_entries: files and folders.
    """

    max_gb: Positive = 200.0
    max_ratio: AtLeastOne = 200.0
    max_entries: Count = 2_000_000


def archive_kind(path: Path) -> str:
    """``zip``, ``tar``, ``tar.gz``, ``tar.bz2`` or ``tar.xz``, by content: names often lie.

    Raises:
        DataError: when it is none of them, saying what it seems to be.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise DataError(f"{path.name} is empty (0 bytes), not an archive.")
    for magic, kind in KINDS.items():
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar":
        return "tar"
    if is_html(head):
        size = readable(path.stat().st_size)
        raise DataError(f"{path.name} is a web page ({size}), not an archive.")
    for magic, name in OTHERS.items():
        if head.startswith(magic):
            raise DataError(
                f"{path.name} is {name} archive; expected zip, tar, tar.gz, tar.bz2 or tar.xz. "
                "Unpack it by hand and give the folder."
            )
    raise DataError(
        f"{path.name} is not an archive: it begins with {head[:8]!r}. Expected zip, tar, tar.gz, "
        "tar.bz2 or tar.xz."
    )


def unpack(
    archive: Path,
    target: Path,
    limits: Limits | None = None,
    tick: Advance = lambda size: None,
) -> int:
    """Unpack into ``target``, which appears whole or not at all.

    Args:
        target: folder to be made; must not exist.
        tick: told of every so many bytes of the archive that are done.

    Returns:
        The number of files.

    Raises:
        DataError: when anything is wrong with the archive, naming the entry.
    """
    kind = archive_kind(archive)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed run
    partial.mkdir(parents=True)
    try:
        work = _Unpacking(archive, partial, limits or Limits(), tick)
        with _in_our_words(archive.name):
            (work.zip if kind == "zip" else work.tar)(kind)
            work.finish()
        partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(work.files)


@contextmanager
def _in_our_words(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise DiskError(f"{name} cannot be unpacked here: {error.strerror}.") from None
        raise _damaged(name, error) from None
    except (
        *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
        *(NotImplementedError, RuntimeError, ValueError, IndexError, OverflowError),
    ) as error:
        raise _damaged(name, error) from None


def _damaged(name: str, reason: object) -> DataError:
    return DataError(
        f"{name} is damaged or cut short ({str(reason).strip() or type(reason).__name__}). "
        "Nothing of it was kept; get it again."
    )


class _Unpacking:
    """One archive on its way into a folder that nobody else looks at yet."""

    def __init__(self, archive: Path, folder: Path, limits: Limits, tick: Advance) -> None:
        self.archive, self.folder, self.limits, self.tick = archive, folder, limits, tick
        self.packed = archive.stat().st_size
        self.written = self.entries = 0
        self.spelled: dict[str, str] = {}  # name without case -> name, of files and folders
        self.files: set[str] = set()
        self.links: list[tuple[str, str]] = []

    def refuse(self, entry: str, why: str) -> DataError:
        shown = entry if len(entry) <= 80 else f"{entry[:60]}...{entry[-12:]}"
        return DataError(f"{self.archive.name}: entry {shown!r} {why}. Nothing of it was kept.")

    def too_much(self, limit: str, why: str) -> DataError:
        return DataError(
            f"{self.archive.name} {why}. If that is right, allow it with unpack.{limit}=NUMBER. "
            "Nothing of it was kept."
        )

    def count(self, size: int) -> None:
        """Count bytes against the limits."""
        self.written += size
        if self.written > self.limits.max_gb * 1e9:
            raise self.too_much("max_gb", f"unpacks to more than {self.limits.max_gb:g} GB")
        if self.written > max(RATIO_FROM, self.limits.max_ratio * self.packed):
            why = f"({readable(self.packed)}) unpacks to more than {self.limits.max_ratio:g} times"
            raise self.too_much("max_ratio", f"{why} its size, as a decompression bomb does")

    def claim(self, raw: str, folder: bool) -> str | None:
        """The checked name of an entry; None for what is not wanted."""
        self.entries += 1
        if self.entries > self.limits.max_entries:
            raise self.too_much("max_entries", f"holds more than {self.entries - 1} entries")
        name = raw.replace("\\", "/")
        if name.startswith("/") or (len(name) > 1 and name[1] == ":"):
            raise self.refuse(raw, "has an absolute path")
        parts = [p for p in name.split("/") if p not in ("", ".")]
        if ".." in parts:
            raise self.refuse(raw, "leads out of the folder (..)")
        if any(ord(c) < 32 for c in name):
            raise self.refuse(raw, "has control characters in its name")
        if len(name) > MAX_PATH or any(len(p.encode(errors="replace")) > MAX_NAME for p in parts):
            raise self.refuse(raw, f"has a name of {len(name)} characters, too long for a disk")
        if not parts and not folder:
            raise self.refuse(raw, "has no name")
        if not parts or parts[0] == "__MACOSX" or parts[-1] == ".DS_Store":
            return None
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            is_file = depth == len(parts) and not folder
            before = self.spelled.setdefault(_caseless(path), path)
            if before != path:
                raise self.refuse(raw, f"differs from '{before}' only in case")
            if path in self.files:
                again = "appears twice" if is_file else "has a file's name as its folder"
                raise self.refuse(raw, again)
            if is_file:
                if (self.folder / path).is_dir():
                    raise self.refuse(raw, "has a folder's name")
                self.files.add(path)
            elif not (self.folder / path).is_dir():
                (self.folder / path).mkdir()
        return "/".join(parts)

    def write(self, name: str, source: IO[bytes], count: bool) -> int:
        size = 0
        with (self.folder / name).open("xb") as out:
            while chunk := source.read(CHUNK):
                size += len(chunk)
                if count:
                    self.count(len(chunk))
                out.write(chunk)
        return size

    def zip(self, kind: str) -> None:
        with zipfile.ZipFile(self.archive) as archive:
            for info in archive.infolist():
                mode = info.external_attr >> 16
                form = stat.S_IFMT(mode)
                name = self.claim(info.filename, info.is_dir())
                if info.flag_bits & 1:
                    raise self.refuse(
                        info.filename, "is encrypted; unpack it by hand and give the folder"
                    )
                if form not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                    raise self.refuse(info.filename, "is a device or pipe")
                if name is None or info.is_dir():
                    continue
                with archive.open(info) as source:
                    if form == stat.S_IFLNK:
                        self.links.append((name, source.read(MAX_PATH + 1).decode()))
                    else:
                        self.write(name, source, count=True)
                self.tick(info.compress_size)

    def tar(self, kind: str) -> None:
        with self.archive.open("rb") as raw, OPENERS[kind](raw) as stream:
            counted = _Counted(stream, self.count)
            # tarfile needs only read, seek and tell of it
            with tarfile.open(fileobj=counted, mode="r:") as archive:  # type: ignore[call-overload]
                at = 0
                while (member := archive.next()) is not None:
                    archive.members = []  # or all headers stay in memory
                    self.member(archive, member)
                    self.tick(raw.tell() - at)
                    at = raw.tell()
                # A reader stops silently at a damaged header; an intact archive ends in zeros.
                if counted.last != bytes(512):
                    raise EOFError("no end-of-archive mark")
                rest = 0
                while chunk := counted.read(CHUNK):  # verifies the checksum at the end
                    rest += len(chunk)
                    if rest > MAX_HEADER:
                        raise EOFError("data after the end of the archive")

    def member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            raise self.refuse(member.name, "is a device or pipe")
        if member.issparse():
            raise self.refuse(member.name, "is a sparse file")
        name = self.claim(member.name, member.isdir())
        if name is None or member.isdir():
            return
        if member.issym():
            self.links.append((name, member.linkname))
        elif member.islnk():  # relative to the archive, not to the entry
            up = "../" * name.count("/")
            absolute = member.linkname.startswith("/")
            self.links.append((name, member.linkname if absolute else up + member.linkname))
        else:
            source = archive.extractfile(member)
            assert source is not None
            if self.write(name, source, count=False) != member.size:
                raise EOFError(f"'{member.name}' is cut short")

    def finish(self) -> None:
        """Write links as copies, then check what there is now."""
        waiting = {name for name, _ in self.links}
        todo = list(self.links)
        while todo:
            left = []
            for name, link in todo:
                goal = posixpath.normpath(posixpath.join(posixpath.dirname(name), link))
                if link.startswith(("/", "\\")) or goal == ".." or goal.startswith("../"):
                    raise self.refuse(name, f"is a link that points out of the archive ({link})")
                if goal in waiting and goal != name:
                    left.append((name, link))
                    continue
                if goal == name or goal not in self.files:
                    raise self.refuse(name, f"is a link to what is not a file in it ({link})")
                self.count((self.folder / goal).stat().st_size)
                shutil.copyfile(self.folder / goal, self.folder / name)
                waiting.discard(name)
            if len(left) == len(todo):
                raise self.refuse(left[0][0], "is a link in a circle of links")
            todo = left
        if not self.files:
            raise DataError(f"{self.archive.name} holds no files.")
        if len(self.files) == 1:
            (only,) = self.files
            with (self.folder / only).open("rb") as file:
                head = file.read(512)
            if head.startswith(tuple(KINDS)) or head[257:262] == b"ustar":
                raise DataError(
                    f"{self.archive.name} holds only another archive, {only}. Unpack it once by "
                    "hand and give the inner one."
                )


class _Counted:
    """A stream that counts what is read from it; only forward, and no giant reads."""

    def __init__(self, stream: IO[bytes], count: Callable[[int], None]) -> None:
        self.stream, self.count, self.position, self.last = stream, count, 0, b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER:
            raise EOFError("a header of absurd size")
        self.last = data = self.stream.read(size)
        self.position += len(data)
        self.count(len(data))
        return data

    def tell(self) -> int:
        return self.position

    def seek(self, position: int) -> None:
        while position > self.position:
            if not self.read(min(CHUNK, position - self.position)):
                raise EOFError("unexpected end of data")
        if position < self.position:
            raise EOFError("a header that points backwards")


def _caseless(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
