"""Reading CSV files as people and programs save them, and saying what was taken for granted."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from aspire.data.files import NotAFileError, holds, read_regular
from aspire.errors import DataError
from aspire.text import quoted

# First bytes of what is often saved under the name of a table.
_NOT_A_TABLE = (
    (b"PK\x03\x04", "a spreadsheet or ZIP archive; export it as CSV (UTF-8)"),
    (b"\x1f\x8b", "gzip-compressed; unpack it first"),
    (b"<!doctype", "a web page, not the file behind the link; download it again"),
    (b"<html", "a web page, not the file behind the link; download it again"),
    (b"par1", "a Parquet file; give it the ending .parquet"),
)
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
READ_AS = "read as"  # kind of note


def add_note(table: pd.DataFrame, kind: str, *lines: str) -> None:
    """Remember with a table what its reader left out or took for granted.

    ``Dataset.notes`` has it, and the check of the dataset counts and shows it.
    """
    if lines:
        table.attrs.setdefault("notes", {}).setdefault(kind, []).extend(lines)


def read_csv(
    path: Path, key: str = "root", all_text: bool = False, rest: str | None = None
) -> pd.DataFrame:
    """A CSV file (or tab-separated, by the ending ``.tsv``).

    Text that is not UTF-8 is read as UTF-16 by its mark or else as Windows-1252, and columns that
    semicolons, tabs or bars separate are told apart where every row agrees; both is noted.

    Args:
        path: of the file.
        key: the setting to name when it is missing.
        all_text: every value as text, "" where empty; otherwise pandas' types.
        rest: a last column of this name takes what is too much in a row: commas in its text.

    Raises:
        DataError: when it is missing, empty, not a CSV, or its rows do not fit its header.
    """
    try:
        content = read_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(path, key, holds(path.parent)) from None
    except NotAFileError:
        if path.is_dir():
            raise _missing(path, key, holds(path.parent)) from None
        raise
    for start, what in _NOT_A_TABLE:
        if content[:4096].lstrip().lower().startswith(start.lower()):
            raise DataError(f"{path} is {what}.")
    text, notes = _decoded(path, content)
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    if named := re.match(r"sep=(.)\r?\n", text):  # Excel's own
        separator, text = named[1], text[named.end() :]
    elif other := _other_separator(text, separator):
        notes.append(f"{path.name}: its columns are separated by {_SEPARATORS[other]}")
        separator = other
    try:
        table = _parsed(path, text, separator, all_text, rest, notes)
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a CSV file: {error}.") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise DataError(
            f"{path} cannot be read as a CSV file: {_wrong_row(text, separator, error)}"
        ) from None
    add_note(table, READ_AS, *notes)
    return table


def _missing(path: Path, key: str, there: str) -> DataError:
    kind = "folder" if key == "root" else "file"
    return DataError(
        f"{path.name} not found in {path.parent} (it holds: {there}). Expected the dataset's own "
        f"{kind}; set dataset.{key} to it."
    )


def _decoded(path: Path, content: bytes) -> tuple[str, list[str]]:
    """The text, and what was taken for granted about it."""
    notes: list[str] = []
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
        if wide:
            notes.append(f"{path.name}: UTF-16 text, as Excel's Unicode text")
    except UnicodeDecodeError:
        if b"\0" in content and not wide:
            text = "\0"
        else:
            text = _western(path, content)
            odd = next(line for line in text.splitlines() if not line.isascii())
            notes.append(
                f"{path.name}: not UTF-8, taken for Windows-1252 (Latin-1); look whether "
                f"{quoted(odd)} is right, else save it as UTF-8"
            )
    if "\0" in text:
        raise DataError(f"{path} is not a text file: it holds NUL bytes. Export it as CSV (UTF-8).")
    return text, notes


def _western(path: Path, content: bytes) -> str:
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path} is neither UTF-8 nor Windows-1252 text (line {line}). Save it as UTF-8: in "
            'Excel "CSV UTF-8 (comma delimited)".'
        ) from None


def _other_separator(text: str, usual: str) -> str | None:
    """A separator that makes columns of every row, where the usual one makes none of the header."""
    header = text.lstrip("\r\n").split("\n", 1)[0]
    if usual in header:
        return None
    for other in (o for o in _SEPARATORS if o in header and o != usual):
        numbers = {len(r) for r in csv.reader(io.StringIO(text), delimiter=other) if r}
        if len(numbers) == 1:
            return other
    return None


def _parsed(
    path: Path, text: str, separator: str, all_text: bool, rest: str | None, notes: list[str]
) -> pd.DataFrame:
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    records = csv.reader(io.StringIO(lines), delimiter=separator)
    names, first = next(records, []), next(records, [])
    if rest is not None and names[-1:] == [rest]:
        lines, joined = _with_rest(lines, separator, len(names))
        if joined:
            notes.append(
                f"{path.name}: {len(joined)} rows have commas in {rest} outside quotes (first: "
                f"row {joined[0]}); all of it is taken for the {rest}"
            )
    # pandas would take the first field for a name of the row.
    elif 1 < len(names) < len(first) and lines.count("\n") > 1:
        raise DataError(
            f"{path}: the rows have more fields ({len(first)}) than the header has names "
            f"({', '.join(names)}). Put values that contain a comma in quotes."
        )
    twice = sorted({n for n in names if n and names.count(n) > 1})
    if twice:
        raise DataError(
            f"{path}: the column '{twice[0]}' appears {names.count(twice[0])} times in the header. "
            "Column names must be unique; rename or remove all but one."
        )
    if len(names) == 1:
        for other, word in _SEPARATORS.items():
            if other in names[0] and other != separator:
                raise DataError(
                    f"{path}: the columns are separated by {word} ({names[0].strip()}), and not "
                    f"every row has as many. Save it as CSV with commas"
                    f"{', or name it .tsv' * (other == chr(9))}."
                )
    table = pd.read_csv(
        io.StringIO(lines),
        sep=separator,
        dtype=str if all_text else {"img_id": str, "img_filename": str, "image_id": str},
        keep_default_na=False,  # a class may be called NA or null
        na_values=[] if all_text else [""],
        low_memory=False,
    )
    return table.fillna("") if all_text else table


def _with_rest(text: str, separator: str, number: int) -> tuple[str, list[int]]:
    """Rows of so many fields, the last one with all that was too much; which rows had it."""
    records = [r for r in csv.reader(io.StringIO(text), delimiter=separator) if r]
    joined = [row for row, r in enumerate(records[1:]) if len(r) > number]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    writer.writerows([*r[: number - 1], separator.join(r[number - 1 :])] for r in records)
    return out.getvalue(), joined


def _wrong_row(text: str, separator: str, error: Exception) -> str:
    """Which row does not fit, and what to do."""
    records = csv.reader(io.StringIO(text), delimiter=separator)
    names: Sequence[str] = next((r for r in records if r), [])
    for row, fields in enumerate(r for r in records if r):
        if len(fields) > len(names):
            return (
                f"row {row} (line {records.line_num}) has {len(fields)} fields, the header "
                f"{len(names)} ({', '.join(names)}): {quoted(separator.join(fields))}. Put a value "
                f"with {'a comma' if separator == ',' else repr(separator)} in double quotes."
            )
    if "EOF inside string" in str(error):
        opened = re.sub(r".*row (\d+).*", r"\1", str(error).replace("\n", " "))
        return f'a quotation mark (") that is opened in line {int(opened) + 1} is never closed.'
    return str(error).strip()
