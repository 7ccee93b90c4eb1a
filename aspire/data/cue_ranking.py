"""The ranking of Hard ImageNet's train images by the strength of their spurious cue.

Forms: the authors' pickle (class -> list of paths, best first), the same as JSON, or a CSV with the
columns ``path,rank``. Of a path only ``<wnid>/<file>`` at its end counts.
"""

from __future__ import annotations

import io
import json
import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from aspire.data.csv_file import read_csv
from aspire.data.files import read_regular
from aspire.data.tables import require_columns
from aspire.errors import DataError

LARGEST = 64 * 2**20  # bytes; the authors' file has under three million


_CONTAINERS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    ("builtins", "list"): list,
    ("builtins", "dict"): dict,
}


def read_ranking(path: Path) -> Iterator[tuple[str, str]]:
    """(wnid, file name) of every ranked image, in the order of the file within each class.

    Raises:
        DataError: when the file is not a ranking, or a pickle that wants to run code.
    """
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path} is {path.stat().st_size:,} bytes, too large for a ranking.")
    suffix = path.suffix.lower()
    if suffix == ".csv":
        table = read_csv(path, key="ranking")
        require_columns(table, ("path", "rank"), path)
        if table["rank"].dtype.kind not in "if" or table["rank"].isna().any():
            raise DataError(f"{path}: column 'rank' holds texts or gaps; expected numbers.")
        lists = [table.sort_values("rank", kind="stable")["path"].tolist()]
    else:
        lists = _lists(_load_json(path) if suffix == ".json" else load_pickle(path), path)
    for paths in lists:
        for name in paths:
            parts = PurePosixPath(str(name).replace("\\", "/")).parts
            if not isinstance(name, str) or len(parts) < 2:
                raise DataError(f"{path} holds {name!r}; expected paths that end in <wnid>/<file>.")
            yield parts[-2], parts[-1]


def load_pickle(path: Path) -> object:
    """A pickle of lists, dictionaries, texts and numbers. Nothing else is ever built from it.

    Raises:
        DataError: when it holds anything else, which could run code, or is damaged.
    """
    try:
        return _Plain(io.BytesIO(read_regular(path))).load()
    except DataError as error:
        raise DataError(
            f"{path} {error} and is not loaded, since a pickle can run code. Expected lists of "
            "paths per class; if you trust it, convert it to JSON and set dataset.ranking to that."
        ) from None
    except Exception as error:  # a damaged pickle fails in any way
        reason = str(error) or type(error).__name__
        raise DataError(f"{path} cannot be read as a pickle: {reason}. Get it again.") from None


class _Plain(pickle.Unpickler):
    """Lists, dictionaries, texts and numbers need no class; of what does, only containers pass."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in _CONTAINERS:
            return _CONTAINERS[module, name]
        raise DataError(f"holds {module}.{name}")

    def persistent_load(self, pid: object) -> object:
        raise DataError("holds a persistent reference")


def _load_json(path: Path) -> object:
    try:
        return json.loads(path.read_text("utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}.") from None


def _lists(content: object, path: Path) -> list[list[object]]:
    if not isinstance(content, dict) or not content:
        raise DataError(
            f"{path} holds a {type(content).__name__}; expected class -> list of paths."
        )
    for key, value in content.items():
        if not isinstance(value, list | tuple):
            raise DataError(
                f"{path} holds a {type(value).__name__} for class {key!r}; expected a list of "
                "paths."
            )
    return [list(v) for v in content.values()]
