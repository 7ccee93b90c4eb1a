r"""One rule for the paths in tables and files: how an image is named there.

Backslashes are slashes, a leading ``./`` says nothing, and a bare name stands for the one file of
that name, if there is only one. Capital letters count.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from functools import cached_property
from pathlib import Path, PurePosixPath

from aspire.errors import DataError


def plain(name: str) -> str:
    r"""One spelling of a relative path.

    >>> plain(".\\masks\\1.png"), plain("./a//b.jpg"), plain("a.jpg")
    ('masks/1.png', 'a/b.jpg', 'a.jpg')
    """
    parts = [p for p in name.replace("\\", "/").split("/") if p != "."]
    return "/".join(p for i, p in enumerate(parts) if p or i == 0)


class Names:
    """Finds which of the known files a text means.

    Args:
        known: their paths, as they are in the dataset.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = {plain(k): k for k in known}

    @cached_property
    def _bare(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for name, known in self._known.items():
            found[PurePosixPath(name).name].append(known)
        return found

    def find(self, given: str) -> str | None:
        r"""The known path, or None where none or several fit.

        >>> names = Names(["cat/1.jpg", "dog/1.jpg", "dog/2.jpg"])
        >>> names.find(".\\dog\\1.jpg"), names.find("2.jpg"), names.find("1.jpg")
        ('dog/1.jpg', 'dog/2.jpg', None)
        """
        name = next((n for n in map(plain, (given, given.strip())) if n in self._known), None)
        if name is not None:
            return self._known[name]
        name = plain(given.strip())
        fitting = self._bare.get(name, [])
        return fitting[0] if len(fitting) == 1 else None


def relative_names(
    names: Sequence[str], root: Path, source: object, but: Set[str] = frozenset()
) -> list[str]:
    """The files that a column names, relative to ``root`` where they are in it.

    Args:
        names: of the column; "" where a row names none.
        root: what they are relative to.
        source: the table, for messages.
        but: files that a bare name in this column cannot mean.

    Raises:
        DataError: for web addresses.
    """
    top = root.resolve().as_posix().rstrip("/") + "/"
    result, files = [], None
    for row, given in enumerate(names):
        if "://" in given:
            raise DataError(
                f"{source}: row {row} names a web address ({given[:60]}); expected a file. "
                "Download the images first and name the files."
            )
        name = given
        if "\\" not in name or not (root / name).exists():  # else it is part of the name
            name = plain(name).removeprefix(top)
        if name and "/" not in name and not os.path.lexists(root / name):
            if files is None:
                files = Names(f for f in _files(root) if f not in but)
            name = files.find(name) or name
        result.append(name)
    return result


def _files(root: Path) -> Iterable[str]:
    for folder, _, names in os.walk(root):
        inner = Path(folder).relative_to(root).as_posix()
        yield from (n if inner == "." else f"{inner}/{n}" for n in names)
