"""The artifact store: what a stage has made is kept under the hash of what it was made from.

Layout, under the store's root::

    <stage>/<key>/manifest.json    identity, counts, digest, versions, wall time
                  records.jsonl    one record a line, sorted, so equal work gives equal bytes
                  rejected.jsonl
                  files/<aa>/<sha256>.png

A folder with a manifest is complete, and verified before it is used: what is not as it was
committed is made again. Work in progress is in ``<stage>/<key>.partial`` with a
journal of finished items; a killed run continues after the last of them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import msgspec
from numpy.typing import NDArray

from aspire.data.images import png_bytes
from aspire.errors import AspireError, DamagedError
from aspire.identity import Json, digest_of
from aspire.own_code import code_of
from aspire.pipeline.stage import Engine, Item, ItemResult, Rec, Stage
from aspire.progress import Progress, Silent
from aspire.records import Record, Rejected
from aspire.stored.artifacts import (
    images_in,
    is_image,
    lines,
    read_manifest,
    verify,
)
from aspire.stored.files import locked, tidy, write_atomic
from aspire.stored.notes import note
from aspire.version import __version__

T = TypeVar("T")


@dataclass(frozen=True)
class Artifact(Generic[Rec]):
    """What a stage has made.

    Args:
        digest: SHA-256 of the records and rejections, and through the file names in them of every
            file. Downstream identity is built on it, so a stage that gives the same bytes again
            invalidates nothing.
        state: "hit" when it was there already, "run" when it has just been made.
    """

    stage: str
    key: str
    folder: Path
    digest: str
    state: Literal["hit", "run"]
    records: tuple[Rec, ...]
    rejected: tuple[Rejected, ...]
    resumed: int = 0  # items taken over from an interrupted run
    seconds: float = 0.0

    def path(self, relative: str) -> Path:
        """Absolute path of one of its files."""
        return self.folder / relative

    def reasons(self) -> dict[str, int]:
        """Rejections by reason, most frequent first."""
        return dict(Counter(r.reason for r in self.rejected).most_common())


class ArtifactStore:
    """Runs stages and keeps what they make.

    Args:
        root: folder of the store; made when missing.
        progress: shows how far a stage is.
        on_done: told of every artifact, hit or run.
    """

    def __init__(
        self,
        root: Path,
        progress: Progress | None = None,
        on_done: Callable[[Artifact[Any]], None] = lambda artifact: None,
    ) -> None:
        self.root = Path(root)
        self.progress = progress or Silent()
        self.on_done = on_done

    def run(
        self,
        stage: Stage[Item, Rec],
        items: Sequence[Item],
        upstream: Mapping[str, str],
        engine: Engine,
        max_rejected: float = 1.0,
    ) -> Artifact[Rec]:
        """The stage's artifact for these items: from the store, or made now.

        Args:
            items: must follow from ``upstream`` alone; item ids are unique.
            upstream: name -> digest of everything the items were made from.
            max_rejected: largest accepted fraction of items without a record, in [0, 1].

        Raises:
            AspireError: when more items were rejected; the finished ones are kept.
        """
        spec: dict[str, Json] = {
            "stage": stage.name,
            "version": stage.version,
            "identity": stage.identity(),
            "upstream": dict(upstream),
        }
        if code := code_of(stage):
            spec["code"] = code
        key = digest_of(spec)[:16]
        folder = self.root / stage.name / key
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f".{key}.lock")):
            tidy(folder)
            artifact = self._hit(stage, folder, max_rejected)
            if artifact is None:
                artifact = self._make(stage, items, spec, folder, engine, max_rejected)
        self.on_done(artifact)
        return artifact

    def _hit(
        self, stage: Stage[Item, Rec], folder: Path, max_rejected: float
    ) -> Artifact[Rec] | None:
        """The finished artifact; None where there is none, or it is not what was committed."""
        if not folder.is_dir():
            return None
        try:
            artifact = self._load(stage, folder, "hit")
            manifest = read_manifest(folder)
        except DamagedError as error:
            note(f"{error} It is made again.")
            return None
        empty, total = manifest["without_record"], manifest["items"]
        _check_share(stage.name, empty, total, artifact.rejected, max_rejected, folder)
        return artifact

    def _load(
        self, stage: Stage[Item, Rec], folder: Path, state: Literal["hit", "run"]
    ) -> Artifact[Rec]:
        manifest = verify(folder)
        return Artifact(
            stage=stage.name,
            key=folder.name,
            folder=folder,
            digest=manifest["digest"],
            state=state,
            records=tuple(lines(folder, stage.record)),
            rejected=tuple(lines(folder, Rejected, "rejected.jsonl")),
            resumed=manifest["resumed"] if state == "run" else 0,
            seconds=manifest["seconds"],
        )

    def _make(
        self,
        stage: Stage[Item, Rec],
        items: Sequence[Item],
        spec: Mapping[str, Json],
        folder: Path,
        engine: Engine,
        max_rejected: float,
    ) -> Artifact[Rec]:
        started = time.monotonic()
        partial = folder.with_suffix(".partial")
        partial.mkdir(exist_ok=True)
        tidy(partial, deep=True)
        results = _read_journal(partial / "journal.jsonl", stage.record)
        resumed = len(results)
        todo = [item for item in items if stage.item_id(item) not in results]

        with (
            (partial / "journal.jsonl").open("ab") as journal,
            self.progress.task(stage.name, total=len(items), done=resumed) as advance,
        ):
            for result in engine.map(stage, todo, _Files(partial)):
                results[result.item_id] = result
                journal.write(_journal_line(result))
                journal.flush()  # a killed process loses at most the item it was working on
                advance(1)

        records = [r for i in sorted(results) for r in results[i].records]
        rejected = [r for i in sorted(results) for r in results[i].rejected]
        empty = sum(not r.records and bool(r.rejected) for r in results.values())
        _check_share(stage.name, empty, len(results), rejected, max_rejected, partial)
        _write_lines(partial / "records.jsonl", records)
        _write_lines(partial / "rejected.jsonl", rejected)
        digest = hashlib.sha256()
        for name in ("records.jsonl", "rejected.jsonl"):
            digest.update(hashlib.sha256((partial / name).read_bytes()).digest())
        manifest = {
            **spec,
            "digest": digest.hexdigest(),
            "items": len(results),
            "without_record": empty,
            "records": len(records),
            "rejected": dict(Counter(r.reason for r in rejected)),
            "resumed": resumed,
            "seconds": round(time.monotonic() - started, 3),
            "aspire": __version__,
        }
        write_atomic(partial / "manifest.json", json.dumps(manifest, indent=1).encode())
        if folder.exists():  # damaged, or without a manifest
            shutil.rmtree(folder)
        partial.replace(folder)
        (folder / "journal.jsonl").unlink()  # last: until the rename a kill must find it
        return self._load(stage, folder, "run")


@dataclass(frozen=True)
class _Files:
    """Saves images below a folder; of use in other processes too."""

    folder: Path

    def __call__(self, pixels: NDArray[Any]) -> str:
        data = png_bytes(pixels)
        sha = hashlib.sha256(data).hexdigest()
        name = f"files/{sha[:2]}/{sha}.png"
        if not (self.folder / name).is_file():
            write_atomic(self.folder / name, data)
        return name


def _journal_line(result: ItemResult[Any]) -> bytes:
    line = {"item": result.item_id, "records": result.records, "rejected": result.rejected}
    text = msgspec.json.encode(line)
    return b"%s\t%08x\n" % (text, zlib.crc32(text))


def _read_journal(path: Path, record: type[Rec]) -> dict[str, ItemResult[Rec]]:
    """Finished items of an interrupted run; a last line cut short by a kill is dropped."""
    results: dict[str, ItemResult[Rec]] = {}
    if not path.is_file():
        return results
    whole = path.read_bytes()
    kept = whole[: whole.rfind(b"\n") + 1]
    if len(kept) < len(whole):
        write_atomic(path, kept)
    for line in kept.splitlines():
        text, tab, check = line.partition(b"\t")  # JSON holds no tabs; lines of old have no check
        if tab and check != b"%08x" % zlib.crc32(text):
            continue  # damaged: that item is done again
        broken = [f for f, sha in images_in(text) if not is_image(path.parent / f, sha)]
        for file in broken:
            (path.parent / file).unlink(missing_ok=True)
        if broken:
            continue
        try:
            raw = msgspec.json.decode(text)
            results[raw["item"]] = ItemResult(
                raw["item"],
                tuple(msgspec.convert(r, record) for r in raw["records"]),
                tuple(msgspec.convert(r, Rejected) for r in raw["rejected"]),
            )
        except (msgspec.DecodeError, KeyError, TypeError):  # of another version, or damaged
            continue
    return results


def _write_lines(path: Path, records: Sequence[Record]) -> None:
    write_atomic(path, b"".join(msgspec.json.encode(r) + b"\n" for r in records))


def _check_share(
    stage: str,
    empty: int,
    total: int,
    rejected: Sequence[Rejected],
    limit: float,
    folder: Path,
) -> None:
    if empty <= limit * total:
        return
    reasons = Counter(r.reason for r in rejected)
    counts = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
    first = rejected[0]
    raise AspireError(
        f"{stage}: {empty} of {total} items gave nothing ({counts}); at most {limit:.0%} are "
        f"accepted. The first: {first.item_id}: {first.reason} {first.detail}\n"
        f'Finished items are kept: look at the "rejected" lines of {folder}/journal.jsonl, then '
        f"change the stage's settings or "
        f"raise stage.{stage}.max_rejected."
    )
