"""A user's own Hugging Face dataset on disk, without code.

Reads what ``dataset.save_to_disk(DIR)`` wrote: one ``Dataset`` (with a column ``split``, or its
splits are drawn) or a ``DatasetDict`` of train, validation and test. The image is a column of type
``Image`` or of paths; ``y`` and ``place`` (or label, attribute, ...) may be ``ClassLabel``, numbers
or names. Other columns as in :mod:`aspire.data.table_file`.

Images that live inside the Arrow files are written once, byte for byte, to a folder of ``cache``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from aspire.data.files import holds
from aspire.data.table import Dataset, name_of
from aspire.data.table_file import name_files
from aspire.data.tables import SPLIT_WORDS
from aspire.data.unified import ALIASES, FRACTIONS, Unifier, dataset_of
from aspire.errors import ConfigError, DataError, did_you_mean
from aspire.stored.files import locked
from aspire.values import Natural

# First bytes of an image file -> ending of the file that is written.
_ENDINGS = (
    (b"\xff\xd8", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"RIFF", ".webp"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
)
_SAVE = "dataset.save_to_disk(DIR) of the package datasets"


class HFDataset:
    """Reader of a folder that ``save_to_disk`` wrote.

    Args:
        root: the folder.
        cache: where images that live inside the Arrow files are written, once.
        images: folder that paths of images are relative to; None for ``root``.
        columns, class_names, attribute_names, class_words, spurious_attribute, fractions,
            split_seed, name: as in :class:`aspire.data.table_file.TableFile`; names default to
            those of a ``ClassLabel``.
    """

    def __init__(
        self,
        root: str | Path | None,
        cache: str | Path,
        images: str | Path | None = None,
        columns: Mapping[str, str] | None = None,
        class_names: Sequence[str] | None = None,
        attribute_names: Sequence[str] | None = None,
        class_words: Sequence[Sequence[str]] | None = None,
        spurious_attribute: str = "attribute",
        fractions: Mapping[str, float] = FRACTIONS,
        split_seed: Natural = 0,
        name: str | None = None,
    ) -> None:
        if not root:
            raise ConfigError(
                f"dataset.root is not set; expected a folder written by {_SAVE}: dataset.root=DIR"
            )
        self.root = Path(root)
        self.cache = Path(cache)
        self.images = Path(images) if images else self.root
        self.columns = dict(columns or {})
        self.names = {"y": class_names, "place": attribute_names}
        self.fractions, self.split_seed = fractions, split_seed
        self._unifier(self.names, self.columns)  # refuse wrong settings before anything is read
        self.class_words = class_words
        self.spurious_attribute = spurious_attribute
        self.name = name_of(name, root)

    def _unifier(
        self, names: Mapping[str, Sequence[str] | None], columns: Mapping[str, str]
    ) -> Unifier:
        return Unifier(columns, names["y"], names["place"], self.fractions, self.split_seed)

    def read(self) -> Dataset:
        """The metadata table, its rows in the order of the folder.

        Raises:
            ConfigError: when the package ``datasets`` is missing.
            DataError: when the folder cannot be read or a column is not as described.
        """
        parts = self._load()
        first = next(iter(parts.values()))
        image, mask = self._image_column(first), self._mask_column(first)
        frame = pd.concat([_frame(split, p) for split, p in parts.items()], ignore_index=True)
        names, columns = dict(self.names), dict(self.columns)
        for source, feature in first.features.items():
            labels = getattr(feature, "names", None)
            if labels is None:
                continue
            (column,) = [c for c in names if self._source(c, first) == source] or (source,)
            if names.get(column) is None:  # otherwise the user's names stand for its numbers
                frame[source] = [_label(v, labels) for v in frame[source].tolist()]
                names.update({column: labels} if column in names else {})
        root = self.images
        if image is not None:
            columns.pop("img_filename", None)
            root, files = self._files(parts, image)
            frame = frame.assign(img_filename=files)
        if mask is not None:
            columns.pop("mask_filename", None)
            folder, files = self._files(parts, mask, needed=False)
            masks = [os.path.relpath(folder / f, root) if f else "" for f in files]
            frame = frame.assign(mask_filename=masks)
        unify = self._unifier(names, columns)
        table, classes, attributes = unify(frame, str(self.root))
        name_files(table, root, self.root)
        return dataset_of(
            self.name,
            root,
            table,
            (classes, attributes),
            self.spurious_attribute,
            self.class_words,
        )

    def _load(self) -> dict[str, Any]:
        """Split word ("" for a single dataset) -> ``datasets.Dataset``."""
        if not self.root.is_dir():
            raise DataError(
                f"dataset.root={self.root}: no such folder. Expected one written by {_SAVE}; say "
                "where it is with dataset.root=DIR."
            )
        if not any((self.root / n).is_file() for n in ("dataset_dict.json", "state.json")):
            raise DataError(
                f"{self.root} was not written by {_SAVE}: neither dataset_dict.json nor state.json "
                f"is in it (it holds: {holds(self.root)}). Parquet files are turned into such a "
                "folder with load_dataset('parquet', data_dir=DIR).save_to_disk(OTHER)."
            )
        try:
            import datasets
        except ImportError:
            raise ConfigError("dataset=hf needs the package datasets: pip install datasets") from (
                None
            )
        try:
            loaded = datasets.load_from_disk(str(self.root))
            parts = dict(loaded) if isinstance(loaded, dict) else {"": loaded}
        except Exception as error:  # Arrow's, JSON's, OS errors and KeyErrors of a damaged folder
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"{self.root} cannot be read as a Hugging Face dataset: {reason}. Save it again "
                f"with {_SAVE}."
            ) from None
        for word in parts:
            if word and word.lower() not in SPLIT_WORDS:
                raise DataError(
                    f"{self.root} holds the split '{word}'.{did_you_mean(word, SPLIT_WORDS)} "
                    "Expected train, validation and test; rename it or save one Dataset."
                )
        features = [p.features for p in parts.values()]
        if not features or not sum(len(p) for p in parts.values()):
            raise DataError(f"{self.root} has no rows; expected one per image.")
        if any(f != features[0] for f in features):
            raise DataError(
                f"{self.root}: the splits {', '.join(parts)} differ in their columns or types. "
                "Cast them to the same features before saving."
            )
        return parts

    def _source(self, column: str, part: Any) -> str:
        """What a unified column is called here."""
        names = (self.columns.get(column, column), *ALIASES.get(column, ()))
        return next((n for n in names if n in part.features), column)

    def _image_column(self, part: Any) -> str | None:
        """The column of type Image, None where images are paths."""
        found = _pictures(part)
        chosen = self.columns.get("img_filename")
        if chosen is not None:
            return chosen if chosen in found else None
        pictures = [n for n in found if n not in ("mask", "mask_filename")]
        if len(pictures) > 1:
            raise DataError(
                f"{self.root} has {len(pictures)} image columns, {', '.join(pictures)}. Say which "
                f"is the picture to classify: 'dataset.columns={{img_filename: {pictures[0]}}}'."
            )
        return pictures[0] if pictures else None

    def _mask_column(self, part: Any) -> str | None:
        names = (self.columns.get("mask_filename"), "mask_filename", "mask")
        return next((n for n in names if n in _pictures(part)), None)

    # --- images inside the Arrow files ---

    def _files(
        self, parts: Mapping[str, Any], column: str, needed: bool = True
    ) -> tuple[Path, list[str]]:
        """Folder and names of the images, written out when this is the first time."""
        folder = self.cache / _key(parts, column)
        index = folder / "index.json"
        if not index.is_file():
            self.cache.mkdir(parents=True, exist_ok=True)
            with locked(Path(f"{folder}.lock")):
                if not index.is_file():
                    self._write(parts, column, folder, needed)
        content = json.loads(index.read_text("utf-8"))
        return folder if content["inside"] else self.images, content["files"]

    def _write(self, parts: Mapping[str, Any], column: str, folder: Path, needed: bool) -> None:
        import datasets

        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        files: list[str] = []
        inside: set[bool] = set()
        for word, part in parts.items():
            (unfinished / word).mkdir(parents=True, exist_ok=True)
            raw = part.select_columns([column]).cast_column(column, datasets.Image(decode=False))
            for row, cell in enumerate(raw):
                value = cell[column] or {}
                content, path = value.get("bytes"), value.get("path")
                if content is None and not path:
                    if not needed:
                        files.append("")
                        continue
                    raise DataError(
                        f"{self.root}: column '{column}' has no image in row {row}"
                        f"{f' of {word}' if word else ''}; expected one in every row."
                    )
                inside.add(content is not None)
                if len(inside) > 1:
                    raise DataError(
                        f"{self.root}: column '{column}' holds images in some rows and paths in "
                        f"others (row {row} is the first that differs). Save it again, so that all "
                        "of them are images."
                    )
                if content is None:
                    files.append(str(path))
                    continue
                name = f"{word}/{row:07d}{_ending(content)}".lstrip("/")
                (unfinished / name).write_bytes(content)
                files.append(name)
        index = {"inside": inside == {True}, "files": files}
        (unfinished / "index.json").write_text(json.dumps(index), "utf-8")
        os.replace(unfinished, folder)  # noqa: PTH105


def _pictures(part: Any) -> list[str]:
    """Names of the columns of type Image."""
    return [n for n, f in part.features.items() if type(f).__name__ == "Image"]


def _frame(word: str, part: Any) -> pd.DataFrame:
    """All columns but images as a frame; the split's word as a column, where there is one."""
    pictures = _pictures(part)
    plain = [n for n in part.features if n not in pictures]
    values = part.with_format(None).select_columns(plain)[:] if plain else {}
    frame = pd.DataFrame({n: list(values[n]) for n in plain}, index=range(len(part)))
    return frame.assign(split=word) if word else frame


def _label(value: object, names: Sequence[str]) -> str:
    """The name of a ClassLabel; -1 and None, its missing values, as they are for a table."""
    if value is None or not isinstance(value, int) or not 0 <= value < len(names):
        return "" if value is None else str(value)
    return names[value]


def _ending(content: bytes) -> str:
    return next((e for start, e in _ENDINGS if content.startswith(start)), ".img")


def _key(parts: Mapping[str, Any], column: str) -> str:
    """Name of the cache folder: another one when a file of the dataset changes."""
    seen = hashlib.sha256(column.encode())
    for word, part in parts.items():
        for file in part.cache_files:
            stat = Path(file["filename"]).stat()
            seen.update(f"{word}|{file['filename']}|{stat.st_size}|{stat.st_mtime_ns}".encode())
    return seen.hexdigest()[:24]
