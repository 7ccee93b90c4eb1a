"""Getting a dataset's files: from the first source that works, or from a file got by hand.

Beside the dataset's folder ``ROOT`` there are, while there is work to do::

    .ROOT.lock             one job at a time
    ROOT.download/         NAME.part (continued by the next call), archives, unfinished unpacking

and in it, when a part is complete, ``.aspire-sources.json``: where each part came from and its
SHA-256, compared when it is fetched again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.filesize import decimal as readable

from aspire.data.sources import Part, sha256_of
from aspire.data.transfer import (
    DiskError,
    SourceError,
    fetch,
    forget,
    is_html,
    meter,
    origin_of,
)
from aspire.data.unpack import Limits, unpack
from aspire.errors import ConfigError, DataError, ServiceError
from aspire.progress import Progress, Silent
from aspire.values import Natural, Positive

RECORD = ".aspire-sources.json"


class DatasetFiles:
    """The files of one dataset: what is there, and how to get the rest.

    Args:
        dataset: its name, for messages.
        root: its folder.
        parts: what it consists of.
        homepage: where a person can get it.
        wrapper: name that its folder has by default, and with it most archives of it.
        timeout, retries: see :func:`aspire.data.transfer.fetch`.
        limits: of its archives.
        progress, say: show how far the work is, and what is being done.
    """

    def __init__(
        self,
        dataset: str,
        root: Path,
        parts: Sequence[Part],
        *,
        homepage: str | None = None,
        wrapper: str | None = None,
        timeout: Positive = 30.0,
        retries: Natural = 2,
        limits: Limits | None = None,
        progress: Progress | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.dataset, self.root, self.parts = dataset, Path(root).resolve(), tuple(parts)
        self.homepage, self.wrapper = homepage, wrapper
        self.timeout, self.retries = timeout, retries
        self.limits, self.progress, self.say = limits or Limits(), progress or Silent(), say
        self.work = self.root.with_name(f"{self.root.name}.download")

    def missing(self) -> list[Part]:
        """The parts that are not in the dataset's folder."""
        return [p for p in self.parts if not self._is_here(p, self._record().get(p.name))]

    def changed(self) -> list[str]:
        """What is wrong with the files that are kept as they came, one sentence each."""
        problems = []
        for part in self.parts:
            path, entry = self.root / part.into / part.name, self._record().get(part.name)
            if part.unpack or entry is None or not entry.get("sha256"):
                continue
            if not path.is_file():
                problems.append(f"{part.name} is missing in {path.parent}")
            elif sha256_of(path) != entry["sha256"]:
                problems.append(f"{part.name} is not the file that came from {entry['source']}")
        return problems

    def download(self, overwrite: bool = False) -> list[str]:
        """Get every part that is not there.

        Args:
            overwrite: get all of them again, whatever their checksum was.

        Returns:
            The names of the parts that were got.

        Raises:
            ServiceError: when no source of a part works, with every reason and the manual way.
            DataError: when they cannot be stored here.
        """
        with self._locked():
            todo = list(self.parts) if overwrite else self.missing()
            failures = [text for part in todo if (text := self._download(part, overwrite))]
            if failures:
                raise ServiceError("\n".join(failures))
        return [part.name for part in todo]

    def add(self, source: Path, overwrite: bool = False) -> list[str]:
        """Take a copy that was got by hand: one part, a folder of parts, or the dataset's folder.

        Returns:
            The names of what was taken.

        Raises:
            DataError: when it is not there or fails a check.
            ConfigError: when it cannot be told which part it is.
        """
        source = Path(source).expanduser().absolute()
        if not source.exists():
            raise DataError(f"from={source}: no such file or folder.")
        with self._locked():
            if source.is_dir():
                files = [p for p in self.parts if (source / p.name).is_file()]
                if any(p.unpack for p in files):
                    for part in files:
                        self._add(part, source / part.name, overwrite)
                    return [p.name for p in files]
                self._add_folder(source)
                return [source.name]
            part = self._match(source)
            self._add(part, source, overwrite)
        return [part.name]

    # --- one part ------------------------------------------------------------------------------

    def _download(self, part: Part, overwrite: bool) -> str:
        """Get one part; what went wrong, or an empty string."""
        whole = self.work / part.name
        unfinished = self.work / f"{part.name}.part"
        noun = "archive" if part.unpack else "file"
        if whole.is_file():  # of a run that was killed after downloading
            with suppress(SourceError):
                self._take(part, whole, "an earlier download", overwrite)
                return ""
            whole.unlink()
        reasons: list[str] = []
        begun = origin_of(unfinished)
        for url in sorted(part.urls, key=lambda u: u != begun):  # first what is half here
            try:
                for _ in range(2):
                    self.say(f"{part.name} from {url}")
                    continued = fetch(
                        url, unfinished, progress=self.progress, timeout=self.timeout,
                        retries=self.retries, size=part.size,
                        any_origin=part.sha256 is not None, noun=noun,
                    )  # fmt: skip
                    unfinished.replace(whole)
                    forget(unfinished)
                    try:
                        self._take(part, whole, url, overwrite)
                        return ""
                    except SourceError:
                        whole.unlink(missing_ok=True)
                        if not continued:
                            raise
            except SourceError as error:
                self.say(f"  {error}")
                reasons.append(f"{len(reasons) + 1}) {url} {error}")
        which = self.dataset if len(self.parts) == 1 else f"{self.dataset}: {part.name}"
        failed = f"{len(reasons)} of {len(part.urls)} sources failed. {'; '.join(reasons)}."
        if not part.urls:
            failed = "there is no source that a program may fetch."
        page = f" from {self.homepage}" if self.homepage else ""
        sha = f" (expected SHA-256 {part.sha256})" if part.sha256 else ""
        return (
            f"{which}: {failed} Download it by hand{page}, then: "
            f"aspire data add dataset={self.dataset} from=FILE{sha}"
        )

    def _add(self, part: Part, file: Path, overwrite: bool) -> None:
        try:
            self._take(part, file, file.name, overwrite, keep=True)
        except SourceError as error:
            raise DataError(f"from={file}: {error}") from None

    def _take(
        self, part: Part, file: Path, source: str, overwrite: bool, keep: bool = False
    ) -> None:
        """Check a file and put it, or what it holds, in its place.

        Raises:
            SourceError: when it fails a check.
        """
        size = file.stat().st_size
        with file.open("rb") as opened:
            head = opened.read(512)
        if size == 0:
            raise SourceError("it is empty (0 bytes)")
        if is_html(head) and not part.name.endswith((".html", ".htm")):
            raise SourceError(f"it is a web page ({readable(size)}) instead of the file")
        if part.size is not None and size != part.size:
            raise SourceError(f"it has {size} bytes instead of {part.size}")
        sha, before = sha256_of(file), self._record().get(part.name, {}).get("sha256")
        if part.sha256 and sha != part.sha256.lower():
            raise SourceError(f"its SHA-256 is {sha[:12]}... instead of {part.sha256[:12]}...")
        if before and sha != before and not overwrite:
            raise SourceError(
                f"its SHA-256 is {sha[:12]}... and was {before[:12]}... the first time: the file "
                "has been changed; if you want the new one, overwrite=true"
            )
        target = self.root / part.into
        if part.unpack:
            staged = self.work / "unpacked"
            shutil.rmtree(staged, ignore_errors=True)
            try:
                with meter(self.progress, f"unpack {part.name}", size) as tick:
                    unpack(file, staged, self.limits, tick)
            except DiskError:
                raise
            except DataError as error:
                raise SourceError(str(error).removesuffix(".")) from None
            entries = _publish(_content(staged, self._wrappers(part)), target)
            shutil.rmtree(staged, ignore_errors=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            if keep:
                file = Path(shutil.copyfile(file, self.work / part.name))
            file.replace(target / part.name)
            entries = [part.name]
        entry = {"sha256": sha, "size": size, "source": source, "entries": entries[:100]}
        self._write_record({**self._record(), part.name: entry})
        if part.unpack and not keep:
            file.unlink()

    def _match(self, file: Path) -> Part:
        """Which part a file is: by name, by checksum, or because it can only be one."""
        if not self.parts:  # a user's own dataset
            return Part(file.name)
        by_name = [p for p in self.parts if p.name == file.name]
        sha = sha256_of(file) if any(p.sha256 for p in self.parts) and not by_name else ""
        by_sha = [p for p in self.parts if p.sha256 and p.sha256.lower() == sha]
        for found in (by_name, by_sha, self.parts, self.missing()):
            if len(found) == 1:
                return found[0]
        raise ConfigError(
            f"from={file}: which part of {self.dataset} is it? Rename it to one of: "
            f"{', '.join(p.name for p in self.parts)}."
        )

    def _add_folder(self, source: Path) -> None:
        root, real = self.root.resolve(), source.resolve()
        if root == real or real in root.parents or root in real.parents:
            raise ConfigError(
                f"from={source}: the dataset's folder is {self.root}; there is nothing to copy. "
                f"To use a folder where it is: dataset.root={source}"
            )
        staged = self.work / "unpacked"
        shutil.rmtree(staged, ignore_errors=True)
        try:
            shutil.copytree(source, staged)
        except (OSError, shutil.Error) as error:
            shutil.rmtree(staged, ignore_errors=True)
            raise DiskError(f"from={source} cannot be copied to {self.root}: {error}") from None
        if not any(p.is_file() for p in staged.rglob("*")):
            raise DataError(f"from={source}: it holds no files.")
        entries = _publish(_content(staged, self._wrappers(Part(source.name))), self.root)
        entry = {"sha256": None, "size": None, "source": source.name, "entries": entries[:100]}
        self._write_record({**self._record(), **{p.name: entry for p in self.parts}})

    # --- bookkeeping ---------------------------------------------------------------------------

    def _wrappers(self, part: Part) -> list[str]:
        """Names that a folder around a part's content may have."""
        names = [part.strip, (self.root / part.into).name]
        return [n for n in (*names, self.wrapper if part.into == "." else None) if n]

    def _is_here(self, part: Part, entry: Mapping[str, Any] | None) -> bool:
        if entry is None:
            return False
        copied = entry.get("sha256") is None  # came as a folder: entries are the root's
        target = self.root if copied else self.root / part.into
        return all((target / name).exists() for name in entry["entries"])

    def _record(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            return dict(json.loads((self.root / RECORD).read_text("utf-8")))
        return {}

    def _write_record(self, record: Mapping[str, Any]) -> None:
        temporary = self.work / RECORD
        temporary.write_text(json.dumps(record, indent=1), "utf-8")
        temporary.replace(self.root / RECORD)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self.root.with_name(f".{self.root.name}.lock"))
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                self.say(f"another job is downloading {self.dataset}; waiting for it")
                lock.acquire()
            self.work.mkdir(exist_ok=True)
            yield
        except OSError as error:
            raise DiskError(f"{self.root} cannot be written: {error.strerror or error}.") from None
        finally:
            if lock.is_locked:
                with suppress(OSError):  # what is unfinished stays
                    self.work.rmdir()
            lock.release()


def _content(staged: Path, wrappers: Sequence[str]) -> Path:
    """The folder whose content is meant: archives often wrap it in one of its own name."""
    for name in wrappers:
        if (staged / name).is_dir() and [p.name for p in staged.iterdir()] == [name.split("/")[0]]:
            return staged / name
    return staged


def _publish(content: Path, target: Path) -> list[str]:
    """Move what is in a folder into another, in one step where that is not there yet."""
    entries = sorted(p.name for p in content.iterdir())
    with suppress(OSError):
        target.rmdir()  # only if empty
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        content.replace(target)
        return entries
    for path in list(content.iterdir()):
        there = target / path.name
        if path.is_dir() and there.is_dir():
            _publish(path, there)
        else:
            if there.is_dir():
                shutil.rmtree(there)
            path.replace(there)
    return entries
