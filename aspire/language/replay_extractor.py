"""Extractions from a file: a published one, or what a model once answered. Costs nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from aspire.errors import DataError
from aspire.identity import Json
from aspire.language.answers import VERSION, read_answer
from aspire.language.base import Phrases, Unreadable
from aspire.language.tables import read_rows, table_path
from aspire.stored.seals import file_digest

_FIELDS = ("foreground", "background", "alternative", "alt", "alternate_background")


class ReplayExtractor:
    """Looks captions up in a table of extractions.

    Its columns are ``caption``, ``foreground``, ``background`` and, where there is one,
    ``alternative`` (or the authors' ``alt``, ``alternate_background``). Lists are lists, or JSON
    where the file has only text; a field may also be one phrase as it stands. A table with a
    column ``raw`` is read as model answers instead. Of several rows with one caption the first
    counts; a caption that is not there is rejected as ``not_in_file``.

    Args:
        file: CSV, JSON lines or Parquet.
    """

    def __init__(self, file: str | None) -> None:
        self.file = file

    def identity(self) -> Mapping[str, Json]:
        """What is in the file.

        Raises:
            ConfigError, DataError: when it is not given or cannot be read.
        """
        return {
            "extractor": "replay",
            "file": file_digest(table_path(self.file, "extractor.file")),
            "answers": VERSION,
        }

    def extract(
        self, captions: Sequence[str], class_words: Sequence[Sequence[str]]
    ) -> list[Phrases | Unreadable]:
        return [
            read_answer(self._answers[_key(caption)], caption, words)
            if _key(caption) in self._answers
            else Unreadable("", "not_in_file")
            for caption, words in zip(captions, class_words, strict=True)
        ]

    @cached_property
    def _answers(self) -> dict[str, str]:
        """Caption -> its row as JSON."""
        rows = read_rows(table_path(self.file, "extractor.file"))
        columns = list(rows[0]) if rows else []
        if "caption" not in columns or not {"raw", "background", "foreground"} & set(columns):
            raise DataError(
                f"{self.file} cannot be replayed: it has {', '.join(columns) or 'no rows'}; "
                "expected caption, foreground, background, alternative (or caption, raw)."
            )
        found: dict[str, str] = {}
        for row in rows:
            answer = row["raw"] if "raw" in row else _as_json(row)
            found.setdefault(_key(str(row["caption"])), str(answer))
        return found


def _key(caption: str) -> str:
    return " ".join(caption.lower().split())


def _as_json(row: Mapping[str, Any]) -> str:
    return json.dumps({name: _value(row[name]) for name in _FIELDS if name in row})


def _value(value: Any) -> Any:
    """A list, a phrase, or None, out of what tables make of them."""
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                return json.loads(text)
            except json.JSONDecodeError:
                return text
        return text or None
    if value is None or isinstance(value, float):  # NaN, for an empty cell
        return None
    return list(value)
