"""Passing a dataset on: an image folder, a table with images, or a Hugging Face dataset.

What is written is whole or not there, says where every image comes from, and holds the files'
own bytes: a copy that is read back has the same pixels.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from aspire.data.card import Card
from aspire.data.export_entry import Entry
from aspire.data.files import open_regular
from aspire.data.generated import GeneratedImages
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError, DataError, did_you_mean
from aspire.progress import Advance, Progress, Silent
from aspire.text import file_name, is_device
from aspire.version import __version__

COLUMNS = (
    *("img_id", "img_filename", "y", "split", "place", "class", "attribute", "caption"),
    *("mask_filename", "source", "parent_id", "seed", "prompt"),
    *("negative_prompt", "scene", "avoided"),
)
KINDS = ("folder", "csv", "hf")
MARK = ".aspire-export.json"


@dataclass
class Export:
    """Writes a dataset in one of the forms.

    Args:
        dataset: what to pass on.
        generated: images made from it, to go along.
        licence, homepage, command: for the card.
    """

    dataset: Dataset
    generated: GeneratedImages | None = None
    licence: str | None = None
    homepage: str | None = None
    command: str = "aspire data export"
    progress: Progress = field(default_factory=Silent)

    def write(self, to: str, folder: Path, overwrite: bool = False) -> int:
        """Write it.

        Args:
            to: folder, csv or hf.
            folder: where; made.
            overwrite: replace an earlier export.

        Returns:
            The number of images.

        Raises:
            ConfigError: when it cannot be written so or there.
            DataError: when a file of the dataset is missing.
        """
        check_kind(to)
        folder = Path(folder).expanduser().absolute()
        self._check_target(folder, overwrite)
        if self.generated is not None:
            self.generated.check(self.dataset)
        entries = list(self.entries())
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            with self.progress.task("export", len(entries)) as advance:
                if to == "hf":
                    from aspire.data.export_hf import write_hf

                    write_hf(self.dataset, entries, self.columns, partial, advance)
                else:
                    place = _ImageFolder(self.dataset, entries) if to == "folder" else _Flat()
                    _write_files(entries, self.columns, place, partial, advance)
            card = Card(self.dataset, self.generated, self.licence, self.homepage, self.command)
            (partial / "README.md").write_text(card.text(to, self._counts(entries)), "utf-8")
            mark = {"aspire": __version__, "dataset": self.dataset.name, "to": to}
            (partial / MARK).write_text(json.dumps(mark), "utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            partial.replace(folder)
        except OSError as error:
            file = f" {error.filename}" if error.filename else ""
            raise DataError(f"dir={folder}: {error.strerror or error}{file}.") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return len(entries)

    @property
    def columns(self) -> tuple[str, ...]:
        """The unified columns, with what the label maps show where that is known."""
        return COLUMNS + (("objects",) if "objects" in self.dataset.table.columns else ())

    def entries(self) -> Iterator[Entry]:
        """Every image in table order, then the generated ones."""
        data = self.dataset
        for row in data.table.to_dict("records"):
            mask = str(row.get("mask_filename") or "")
            values = {c: row.get(c, "") for c in self.columns} | self._names(row["y"], row["place"])
            values["source"] = row.get("source") or "real"
            yield Entry(
                {str(k): v for k, v in values.items()},
                data.path(str(row["img_filename"])),
                data.path(mask) if mask else None,
                synthetic=False,
            )
        if self.generated:
            ids = frozenset(data.table["img_id"])
            yield from generated_entries(self.generated, data.class_names, self.columns, ids)

    def _names(self, y: int, place: int) -> dict[str, Any]:
        attribute = self.dataset.attribute_names[place] if place >= 0 else ""
        names = {"class": self.dataset.class_names[y], "attribute": attribute}
        return {"y": int(y), "place": int(place), **names}

    def _check_target(self, folder: Path, overwrite: bool) -> None:
        root = self.dataset.root.resolve()
        if folder.resolve() == root or root in folder.resolve().parents:
            raise ConfigError(f"dir={folder} is inside the dataset ({root}); choose another.")
        if folder.is_file():
            raise ConfigError(f"dir={folder} is a file; expected a folder to be made.")
        if not folder.is_dir() or not any(folder.iterdir()):
            return
        if not overwrite:
            raise ConfigError(
                f"dir={folder} is not empty. Choose another folder, or replace an earlier export "
                "with overwrite=true."
            )
        if not (folder / MARK).is_file():
            raise ConfigError(
                f"dir={folder} is not an earlier export (it has no {MARK}), so overwrite=true does "
                "not remove it. Choose another folder or empty it yourself."
            )

    def _counts(self, entries: Sequence[Entry]) -> Counter[tuple[str, str]]:
        """(split, group) -> number of images."""
        names = {int(s): s.name.lower() for s in Split}
        return Counter(
            (
                names[int(e.values["split"])],
                "generated"
                if e.synthetic
                else f"{e.values['class']}/{e.values['attribute'] or 'unknown'}",
            )
            for e in entries
        )


def generated_entries(
    generated: GeneratedImages,
    class_names: Sequence[str],
    columns: Sequence[str] = COLUMNS,
    taken: frozenset[str] = frozenset(),
) -> Iterator[Entry]:
    """Generated images in their order; their groups are not known.

    Args:
        generated: the images.
        class_names: in index order.
        columns: of the table.
        taken: ids that other images have.
    """
    for made in generated.records:
        img_id = made.img_id if made.img_id not in taken else f"{made.img_id}-{made.seed}"
        values: dict[str, Any] = dict.fromkeys(columns, "")
        values |= {"y": made.y, "place": -1, "class": class_names[made.y]}
        values |= {"img_id": img_id, "split": int(Split.TRAIN), "source": "generated"}
        values |= {"parent_id": ";".join(made.parents), "seed": made.seed}
        values |= {"prompt": made.prompt, "negative_prompt": made.negative_prompt}
        values |= {"scene": made.scene, "avoided": ";".join(generated.avoided_by(made))}
        values |= {"img_filename": f"generated/{img_id}.png"}
        mask = generated.folder / made.mask if made.mask else None
        yield Entry(values, generated.folder / made.file, mask, synthetic=True)


def write_flat(entries: Sequence[Entry], folder: Path, advance: Advance) -> None:
    """``metadata.csv``, ``images/`` and ``masks/`` in a folder that is there.

    Its first column is called as the ``imagefolder`` of Hugging Face wants it.
    """
    columns = ["file_name", *dict.fromkeys(c for e in entries for c in e.values)]
    _write_files(entries, columns, _Flat(), folder, advance)


def _write_files(
    entries: Sequence[Entry],
    columns: Sequence[str],
    place: _Layout,
    folder: Path,
    advance: Advance,
) -> None:
    """Images and masks as files, ``metadata.csv``, and captions where a reader wants them."""
    table, captions = io.StringIO(), io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    caption_writer = csv.writer(captions, lineterminator="\n")
    caption_writer.writerow(["img_filename", "caption"])
    for entry in entries:
        name, mask = place.names(entry)
        _put(folder / name, entry.image, None)
        values = {**entry.values, "img_filename": name, "mask_filename": ""}
        if "file_name" in columns:
            values["file_name"] = name
        if entry.mask is not None:
            values["mask_filename"] = mask
            _put(folder / mask, entry.mask, entry.mask_bytes)
        writer.writerow(values)
        caption_writer.writerow([name, values["caption"]])
        advance(1)
    (folder / "metadata.csv").write_text(table.getvalue(), encoding="utf-8")
    if place.captions and any(e.values["caption"] for e in entries):
        (folder / "captions.csv").write_text(captions.getvalue(), encoding="utf-8")


def _put(target: Path, source: Path, content: Callable[[], bytes] | None) -> None:
    if target.exists():  # two rows may share a file
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        with open_regular(source) as file, target.open("wb") as copy:
            shutil.copyfileobj(file, copy)
    else:
        target.write_bytes(content())


class _Layout:
    """Where images and masks go: one name for each file, on every file system."""

    captions = False  # whether captions are wanted in a file of their own

    def __init__(self) -> None:
        self.taken: dict[str, Path] = {}

    def place(self, entry: Entry) -> str:
        """The name it would have alone."""
        raise NotImplementedError

    def mask(self, name: str) -> str:
        """The name of the mask of an image."""
        raise NotImplementedError

    def names(self, entry: Entry) -> tuple[str, str]:
        """Image and mask, relative. Different also without their endings, as masks are PNG."""
        path = PurePosixPath(self.place(entry))
        stem, number = path.stem, 0
        while self.taken.setdefault(str(path.with_suffix("")).casefold(), entry.image) != (
            entry.image
        ):
            number += 1
            path = path.with_name(f"{stem}-{number}{path.suffix}")
        return path.as_posix(), self.mask(path.with_suffix(".png").as_posix())


class _Flat(_Layout):
    """``images/`` and the name it had."""

    def place(self, entry: Entry) -> str:
        path = PurePosixPath(str(entry.values["img_filename"]))
        if path.is_absolute() or ".." in path.parts:
            path = PurePosixPath(safe(str(entry.values["img_id"])) + path.suffix)
        return f"images/{portable(path).as_posix()}"

    def mask(self, name: str) -> str:
        return f"masks/{name.removeprefix('images/')}"


class _ImageFolder(_Layout):
    """``split/class/attribute/`` and the last part of the name it had."""

    captions = True

    def __init__(self, dataset: Dataset, entries: Sequence[Entry]) -> None:
        super().__init__()
        self.classes = distinct(dataset.class_names)
        self.attributes = [*distinct(dataset.attribute_names), "unknown"]
        self.inner = any(e.values["place"] >= 0 for e in entries)

    def place(self, entry: Entry) -> str:
        values = entry.values
        parts = [Split(values["split"]).name.lower(), self.classes[values["y"]]]
        if self.inner:
            parts.append(self.attributes[values["place"]])
        name = PurePosixPath(PurePosixPath(str(values["img_filename"])).name)
        return "/".join([*parts, portable(name).as_posix()])

    def mask(self, name: str) -> str:
        return f"segmentations/{name}"


def check_kind(to: str) -> None:
    """Refuse before any work is done.

    Raises:
        ConfigError: for an unknown form, or when its package is missing.
    """
    if to not in KINDS:
        raise ConfigError(f"to={to}: expected one of {', '.join(KINDS)}.{did_you_mean(to, KINDS)}")
    if to == "hf":
        from aspire.data.export_hf import check_installed

        check_installed()


def safe(name: str) -> str:
    """A name that every file system takes.

    >>> safe("dark hair / man?")
    'dark hair _ man_'
    """
    usable = re.sub(r"[^\w .,()+=-]", "_", name).strip(" .") or "_"
    return usable if len(usable.encode()) <= 100 and not is_device(usable) else file_name(name)


def portable(path: PurePosixPath) -> PurePosixPath:
    """A relative path of a file that every file system takes, its ending kept.

    >>> portable(PurePosixPath("a: b./CON.jpg"))
    PurePosixPath('a_ b/CON-a3dbc4b6.jpg')
    """
    ending = re.sub(r"[^\w.]", "_", path.suffix)
    return PurePosixPath(*map(safe, path.parts[:-1]), f"{safe(path.stem)}{ending}")


def distinct(names: Sequence[str]) -> list[str]:
    """Folder names for names, different also where case does not count.

    >>> distinct(["a/b", "a?b", "A_b"])
    ['a_b', 'a_b-1', 'A_b-2']
    """
    taken: set[str] = set()
    result = []
    for index, name in enumerate(names):
        folder = safe(name)
        if folder.casefold() in taken:
            folder = f"{folder}-{index}"
        taken.add(folder.casefold())
        result.append(folder)
    return result
