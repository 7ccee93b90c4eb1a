"""Captions from a file: made elsewhere, or published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from aspire.data.loaded import LoadedImage
from aspire.data.paths import plain
from aspire.errors import DataError, did_you_mean
from aspire.identity import Json
from aspire.language.tables import read_rows, table_path
from aspire.stored.seals import file_digest


class ReplayCaptioner:
    """Looks each image up in a table by ``img_id`` or ``img_filename``.

    An image that is not in the file, or whose caption is empty there, has no caption, which
    the stage counts.

    Args:
        file: CSV, JSON lines or Parquet.
        caption: the column of the captions.
        key: the column that names the image, as ``img_id`` or ``img_filename`` of the dataset;
            null takes whichever of the two there is.
    """

    def __init__(self, file: str | None, caption: str = "caption", key: str | None = None) -> None:
        self.file = file
        self.column = caption
        self.key = key

    def identity(self) -> Mapping[str, Json]:
        """What is in the file.

        Raises:
            ConfigError, DataError: when it is not given or cannot be read.
        """
        return {
            "captioner": "replay",
            "file": file_digest(table_path(self.file, "captioner.file")),
            "caption": self.column,
            "key": self.key,
        }

    def caption(self, images: Sequence[LoadedImage]) -> list[str | None]:
        by_id, by_file = self._captions
        return [
            by_id.get(image.ref.img_id) or by_file.get(plain(image.ref.file)) or None
            for image in images
        ]

    @cached_property
    def _captions(self) -> tuple[dict[str, str], dict[str, str]]:
        """Captions by img_id and by img_filename."""
        rows = read_rows(table_path(self.file, "captioner.file"))
        columns = list(rows[0]) if rows else []
        if self.column not in columns:
            raise DataError(
                f"{self.file} has no column '{self.column}'.{did_you_mean(self.column, columns)} "
                f"It has {', '.join(columns) or 'no rows'}; set captioner.caption=COLUMN."
            )
        if self.key is not None:
            keys = [self.key]
        else:
            keys = [k for k in ("img_id", "img_filename") if k in columns]
        if not keys or keys[0] not in columns:
            raise DataError(
                f"{self.file} has no column {self.key or 'img_id or img_filename'} to find images "
                f"by. It has {', '.join(columns)}; set captioner.key=COLUMN."
            )
        if self.key is not None:  # holds ids or file names; one table serves both
            table = self._table(rows, self.key)
            return table, {plain(name): caption for name, caption in table.items()}
        by_id = self._table(rows, "img_id") if "img_id" in keys else {}
        by_file = self._table(rows, "img_filename") if "img_filename" in keys else {}
        return by_id, {plain(name): caption for name, caption in by_file.items()}

    def _table(self, rows: list[dict[str, object]], key: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for row in rows:
            name, text = str(row[key]), str(row[self.column] or "")
            if found.setdefault(name, text) != text:
                raise DataError(
                    f"{self.file} holds two captions for {key} {name}: '{found[name]}' and "
                    f"'{text}'. Keep one row per image."
                )
        return found
