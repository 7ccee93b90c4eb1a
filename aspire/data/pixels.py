"""Decoded images: straight from their files, or from a cache that is decoded once for all jobs.

Both give the same bytes, so the cache is a matter of speed and never of results.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from aspire.data.images import Pixels, image_size, read_image
from aspire.progress import Progress, Silent
from aspire.stored.files import locked, tidy
from aspire.stored.notes import note
from aspire.stored.seals import intact, seal

PixelReader = Callable[[Path], Pixels]
"""Path of an image -> (H, W, 3) uint8 RGB, shrunk to the side that is stored."""

FILES = ("pixels.bin", "index.npy")
CHUNK = 64  # images decoded between two entries of the index; what a kill can cost
MAPPED_BYTES = 2**28  # of the cache that a process holds at once
AUTO_BYTES = 4 * 2**30  # largest cache made without being asked for


def decode(path: Path, side: int) -> Pixels:
    """An image, shrunk so that its shorter side is at most ``side`` pixels: (H, W, 3) uint8."""
    return shrink(read_image(path), side)


def shrink(pixels: Pixels, side: int) -> Pixels:
    """The same for pixels that are decoded already."""
    shorter = min(pixels.shape[:2])
    if shorter <= side:
        return pixels
    from PIL import Image

    height, width = (round(n * side / shorter) for n in pixels.shape[:2])
    small = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(small)


class PixelCache:
    """Decoded images of one dataset or generated set, memory-mapped, each found by its path.

    Args:
        folder: of the cache: ``pixels.bin`` (all images, one after the other) and ``index.npy``,
            (N, 3) int64: offset, height, width.
        paths: the images, in the order of the index.
    """

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        self.folder = folder
        self.row = {path: row for row, path in enumerate(paths)}
        self.index = np.load(folder / "index.npy")
        # Private, so that torch gets arrays it believes it may write to; nothing does.
        with (folder / "pixels.bin").open("rb") as file:
            self.map = mmap.mmap(
                file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE
            )
        self.bytes = np.frombuffer(self.map, np.uint8)
        self.touched = 0

    def __call__(self, path: Path) -> Pixels:
        offset, height, width = (int(n) for n in self.index[self.row[path]])
        size = height * width * 3
        self.touched += size
        if self.touched > MAPPED_BYTES:
            # Hand the pages back: they stay in the system's cache, not in this process's account.
            self.map.madvise(mmap.MADV_DONTNEED)
            self.touched = size
        return self.bytes[offset : offset + size].reshape(height, width, 3)

    def __contains__(self, path: Path) -> bool:
        return path in self.row

    def __getstate__(self) -> tuple[Path, list[Path]]:
        return self.folder, list(self.row)

    def __setstate__(self, state: tuple[Path, list[Path]]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # a worker process maps the file itself


def open_cache(
    root: Path,
    key: str,
    paths: Sequence[Path],
    side: int,
    progress: Progress | None = None,
    threads: int | None = None,
) -> PixelCache:
    """The cache of these images: the finished one, or made now, in parallel.

    Args:
        root: caches are kept below it.
        key: digest of the images' content.
        paths: the images, in an order that follows from the content.
        side: see :func:`decode`.
        threads: that decode; None for one a core.

    A killed build continues with the next chunk; parallel jobs wait for one another.
    """
    folder = root / f"{key[:16]}-{side}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f".{folder.name}.lock")):
        tidy(root)
        if folder.is_dir() and not all(intact(folder / name) for name in FILES):
            note(f"{folder} is not what was kept. The images are decoded again.")
            shutil.rmtree(folder)
        if not folder.is_dir():
            _build(folder, paths, side, progress or Silent(), threads)
    return PixelCache(folder, paths)


def _build(
    folder: Path, paths: Sequence[Path], side: int, progress: Progress, threads: int | None
) -> None:
    partial = folder.with_suffix(".partial")
    partial.mkdir(exist_ok=True)
    rows = _finished(partial)
    end = rows[-1][0] + rows[-1][1] * rows[-1][2] * 3 if rows else 0
    with (
        (partial / "pixels.bin").open("r+b" if rows else "wb") as data,
        (partial / "index.jsonl").open("a", encoding="utf-8") as index,
        ThreadPoolExecutor(threads or os.cpu_count()) as pool,
        progress.task("decode", total=len(paths), done=len(rows)) as advance,
    ):
        data.truncate(end)
        data.seek(end)
        for start in range(len(rows), len(paths), CHUNK):
            chunk = paths[start : start + CHUNK]
            lines = []
            for pixels in pool.map(lambda path: decode(path, side), chunk):
                content = np.ascontiguousarray(pixels).data
                rows.append((end, pixels.shape[0], pixels.shape[1]))
                lines.append(json.dumps([*rows[-1], zlib.crc32(content)]) + "\n")
                data.write(content)
                end += pixels.size
            data.flush()  # the index never promises what is not written
            index.write("".join(lines))
            index.flush()
            advance(len(chunk))
    np.save(partial / "index.npy", np.array(rows, dtype=np.int64).reshape(-1, 3))
    for name in FILES:
        seal(partial / name)
    if folder.exists():
        shutil.rmtree(folder)
    partial.replace(folder)


def _finished(partial: Path) -> list[tuple[int, int, int]]:
    """Images that an interrupted build has finished, up to the first that is not as it was."""
    index, pixels = partial / "index.jsonl", partial / "pixels.bin"
    if not (index.is_file() and pixels.is_file()):
        return []
    rows: list[tuple[int, int, int]] = []
    lines = index.read_bytes().splitlines(keepends=True)
    with pixels.open("rb") as data:
        for line in lines:
            try:
                offset, height, width, check = map(int, json.loads(line))
            except (ValueError, TypeError):  # cut short by a kill
                break
            content = data.read(height * width * 3)
            if zlib.crc32(content) != check or offset + len(content) != data.tell():
                break
            rows.append((offset, height, width))
    index.write_bytes(b"".join(lines[: len(rows)]))
    return rows


class PixelSource:
    """Gives the decoded pixels of any image, from a cache where there is one.

    Args:
        side: see :func:`decode`.
        caches: looked through in order.
    """

    def __init__(self, side: int, caches: Sequence[PixelCache] = ()) -> None:
        self.side = side
        self.caches = tuple(caches)

    def __call__(self, path: Path) -> Pixels:
        for cache in self.caches:
            if path in cache:
                return cache(path)
        return decode(path, self.side)


def expected_bytes(paths: Sequence[Path], side: int, probes: int = 16) -> int:
    """How large a cache would be, judged from a few images."""
    chosen = [paths[i] for i in _spread(len(paths), probes)]
    if not chosen:
        return 0
    total = 0.0
    for path in chosen:
        height, width = image_size(path)
        shrink = min(1.0, side / max(1, min(height, width)))
        total += 3 * height * width * shrink**2
    return round(total / len(chosen) * len(paths))


def _spread(size: int, number: int) -> Iterator[int]:
    step = max(1, size // number)
    return iter(range(0, size, step))
