"""What every miniature is: counts, a cache on disk, a table; a subclass draws single pictures."""

from __future__ import annotations

import abc
import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aspire.data.images import Pixels, png_bytes
from aspire.data.table import Dataset, Split
from aspire.errors import AspireError, ConfigError
from aspire.miniatures.drawing.looks import LOOKS, LookName
from aspire.miniatures.drawing.pen import Style
from aspire.rng import seed_for
from aspire.stored.files import locked
from aspire.stored.notes import note
from aspire.stored.seals import read_digest, write_digest

COLUMNS = (
    "img_id", "img_filename", "y", "split", "place", "caption", "mask_filename", "objects",
)  # fmt: skip
UNSEEN_SHARE = 0.25  # images of a group in the unseen split, as a share of those in test


@dataclass(frozen=True)
class Picture:
    """One image of a miniature.

    Args:
        pixels: (S, S, 3) uint8 RGB.
        labels: (S, S) uint8; 0 background, 1 class object, 2, 3, ... the objects.
        caption: names the class object, every object and the background.
        objects: phrase -> label.
    """

    pixels: Pixels
    labels: Pixels
    caption: str
    objects: dict[str, int]


class Miniature(abc.ABC):
    """A dataset that draws itself on the first :meth:`read`.

    Args:
        root: folder for the renderings, one subfolder per set of arguments.
        scale: share of the benchmark's images, above 0 and at most 1.
        correlation: share of the majority within each class in train, above 0.5 and at most 1
            (then the minority groups are empty there); None keeps the benchmark's.
        size: side of the images in pixels, 32 to 512.
        seed: another seed gives other pictures.
        clutter: probability of each of two further objects in a picture, 0 to 1.
        style: how the pictures look; see :mod:`aspire.miniatures.drawing.looks`.
        example: a good ``scale``, for the error message.

    Raises:
        ConfigError: naming the key that cannot work.
    """

    name: ClassVar[str]
    version: ClassVar[int]  # raise it whenever the pictures or the table change
    classes: ClassVar[tuple[str, ...]]
    attributes: ClassVar[tuple[str, ...]]
    attribute: ClassVar[str]  # what the attribute is
    class_words: ClassVar[tuple[tuple[str, ...], ...]]
    group_definition: ClassVar[str] = "class and attribute of an image"
    own_cue: ClassVar[int | None] = None  # attribute that is another thing in every class

    def __init__(
        self,
        root: str | Path,
        scale: float,
        correlation: float | None,
        size: int,
        seed: int,
        clutter: float,
        style: LookName = "plain",
    ) -> None:
        self.root = Path(root)
        self.scale = float(scale)
        self.correlation = None if correlation is None else float(correlation)
        self.size = size
        self.seed = seed
        self.clutter = float(clutter)
        self.style = style

    @abc.abstractmethod
    def benchmark_counts(self, split: Split) -> tuple[int, ...]:
        """Images per group of train, val or test, in group order."""

    @abc.abstractmethod
    def draw(self, rng: np.random.Generator, y: int, place: int, style: Style) -> Picture:
        """One picture. All that is random comes from ``rng``."""

    def knobs(self) -> list[float | None]:
        """Further arguments that the pictures or counts depend on."""
        return []

    @property
    def key(self) -> str:
        """Short hash of everything the pictures depend on."""
        parts = [
            self.name, self.version, self.scale, self.correlation, self.size, self.seed,
            self.clutter, *self.knobs(), *([] if self.style == "plain" else [self.style]),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    def counts(self, split: Split) -> tuple[int, ...]:
        """Images per group, in group order; unseen has a quarter of test's, at least 1 a group."""
        if split is Split.UNSEEN:
            test = self.benchmark_counts(Split.TEST)
            return tuple(max(1, half_up(n * UNSEEN_SHARE)) for n in test)
        return self.benchmark_counts(split)

    def read(self) -> Dataset:
        """The dataset; drawn when it is not there yet or damaged, only read otherwise."""
        folder = render_once(self.root, self.key, self._render)
        if _as_drawn(folder, self._dataset):
            return self._dataset(folder)
        note(f"{folder} is not what was drawn. It is drawn again.")
        return self._dataset(render_once(self.root, self.key, self._render, again=True))

    def _dataset(self, folder: Path) -> Dataset:
        types = {"img_id": str, "caption": str, "objects": str}
        table = pd.read_csv(folder / "metadata.csv", dtype=types, keep_default_na=False)
        return Dataset(
            name=self.name,
            root=folder,
            table=table,
            class_names=self.classes,
            attribute_names=self.attributes,
            spurious_attribute=self.attribute,
            class_words=self.class_words,
            group_definition=self.group_definition,
            own_cue=self.own_cue,
        )

    def _render(self, folder: Path) -> pd.DataFrame:
        """Draw every picture below ``folder``."""
        rows = [row for split in Split for row in self._render_split(split, folder)]
        return pd.DataFrame(rows, columns=COLUMNS)

    def _render_split(self, split: Split, folder: Path) -> list[dict[str, str | int]]:
        """Draw one split below ``folder``; its rows of the table."""
        word = split.name.lower()
        look = LOOKS[self.style]
        style = look.unseen if split is Split.UNSEEN else look.style
        for kind in ("images", "masks"):
            (folder / kind / word).mkdir(parents=True)
        rows: list[dict[str, str | int]] = []
        for index, group in enumerate(self._groups(split)):
            y, place = divmod(int(group), len(self.attributes))
            name = f"{word}-{index:05d}"
            rng = np.random.default_rng(seed_for(self.seed, self.name, word, index))
            picture = self.draw(rng, y, place, style)
            image, mask = f"images/{word}/{name}.png", f"masks/{word}/{name}.png"
            pixels = look.camera(picture.pixels) if look.camera else picture.pixels
            (folder / image).write_bytes(png_bytes(pixels))
            (folder / mask).write_bytes(png_bytes(picture.labels))
            objects = json.dumps(picture.objects)
            values = (name, image, y, int(split), place, picture.caption, mask, objects)
            rows.append(dict(zip(COLUMNS, values, strict=True)))
        return rows

    def _groups(self, split: Split) -> NDArray[np.int64]:
        """(N,) group ids of a split in random order, as in the benchmarks' tables."""
        counts = self.counts(split)
        rng = np.random.default_rng(seed_for(self.seed, self.name, split.name.lower(), "order"))
        return rng.permutation(np.repeat(np.arange(len(counts)), counts))


def half_up(value: float) -> int:
    """Rounded as by hand; Python's ``round`` sends 874.5 to 874."""
    return math.floor(value + 0.5)


def majority(total: int, share: float) -> int:
    """The majority's part of a class; leaves at least one minority image below a share of 1."""
    return total if share == 1 else min(half_up(total * share), total - 1)


def _as_drawn(folder: Path, read: Callable[[Path], Dataset]) -> bool:
    """Whether a drawn folder is what was drawn, by the digest noted when it was first read."""
    seal = folder / "drawn.digest"
    try:
        digest = read(folder).digest(folder / "seen" if os.access(folder, os.W_OK) else None)
    except (OSError, ValueError, KeyError, AspireError):  # pandas' errors are ValueErrors
        return False
    known = read_digest(seal)
    if known is None:
        with contextlib.suppress(OSError):  # the data may be read-only
            write_digest(seal, digest)
    return known in (None, digest)


def render_once(
    root: Path, key: str, render: Callable[[Path], pd.DataFrame], again: bool = False
) -> Path:
    """Fill ``root/key`` unless it is there already; it appears complete or not at all.

    Safe between processes: the second one waits and finds the work done.

    Args:
        root: folder for the renderings, made when missing.
        key: short hash of everything the rendering depends on.
        render: draws into the folder it is given (which exists) and returns the metadata table.
        again: although it is there.

    Returns:
        The folder, with ``metadata.csv`` in it.

    Raises:
        ConfigError: when ``root`` cannot be made.
    """
    folder, partial = root / key, root / f".{key}.partial"
    if not again and (folder / "metadata.csv").is_file():
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"dataset.root={root} cannot be made: {error}. Expected a folder that can be written "
            "to. Type for example: paths.data=$HOME/aspire-data"
        ) from None
    with locked(root / f".{key}.lock"):
        if not again and (folder / "metadata.csv").is_file():
            return folder  # another process was faster
        # These can only be left from a process that was killed, for we hold the lock.
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            partial.mkdir()
            render(partial).to_csv(partial / "metadata.csv", index=False)
            partial.replace(folder)
        except BaseException:  # also Ctrl-C: half a dataset helps nobody
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return folder


def wrong(key: str, given: object, expected: str, example: float) -> ConfigError:
    """The error for an argument of a miniature that cannot work."""
    return ConfigError(
        f"dataset.{key}={given}: expected {expected}. Type for example: dataset.{key}={example}"
    )
