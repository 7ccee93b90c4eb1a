"""Tables that captions and extractions are replayed from: CSV, JSON lines or Parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aspire.data.csv_file import read_csv
from aspire.data.files import read_regular
from aspire.data.table_file import read_parquet
from aspire.errors import ConfigError, DataError


def table_path(file: str | None, setting: str) -> Path:
    """The path of a table.

    Args:
        file: its path.
        setting: the setting to name when it is missing.

    Raises:
        ConfigError: when no file was given.
        DataError: when it does not exist.
    """
    if not file:
        raise ConfigError(f"Nothing to replay: set {setting}=FILE (.csv, .jsonl or .parquet).")
    path = Path(file).expanduser()
    if not path.is_file():
        raise DataError(f"{path} does not exist. Set {setting} to the file to replay.")
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table, by its ending: .csv, .tsv, .jsonl, .ndjson or .parquet.

    Raises:
        DataError: when it has another ending or cannot be read.
    """
    match path.suffix.lower():
        case ".csv" | ".tsv":
            rows: list[dict[Any, Any]] = read_csv(path, all_text=True).to_dict("records")
        case ".jsonl" | ".ndjson":
            rows = _json_lines(path)
        case ".parquet":
            rows = read_parquet(path).to_dict("records")
        case _:
            raise DataError(
                f"{path} cannot be replayed; expected a file that ends in .csv, .tsv, .jsonl, "
                ".ndjson or .parquet."
            )
    return [{str(key): value for key, value in row.items()} for row in rows]


def _json_lines(path: Path) -> list[dict[Any, Any]]:
    rows = []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # JSON, and numbers of 5,000 digits
            raise DataError(f"{path}, line {number} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number} holds no JSON object.")
        rows.append(row)
    return rows


def _lines(path: Path) -> list[str]:
    try:
        return read_regular(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text. Save it as UTF-8.") from None
