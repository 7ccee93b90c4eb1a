"""The files a dataset consists of, as its configuration lists them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from aspire.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Part:
    """One file of a dataset and where it can be had.

    Args:
        name: of the file.
        urls: in the order in which they are tried.
        sha256, size: of the file, where known.
        unpack: whether it is an archive.
        into: folder, relative to the dataset's, that it or its content goes to.
        strip: folder around everything in the archive, left out where it is there; one of the
            name of the dataset's folder is left out anyway.
    """

    name: str
    urls: tuple[str, ...] = ()
    sha256: str | None = None
    size: int | None = None
    unpack: bool = True
    into: str = "."
    strip: str | None = None


def parts_of(dataset: str, sources: Sequence[Mapping[str, Any]] | None) -> tuple[Part, ...]:
    """The checked ``sources`` of a dataset's configuration.

    Raises:
        ConfigError: naming the entry and the key.
    """
    parts = []
    known = [f.name for f in fields(Part)]
    for number, given in enumerate(sources or ()):
        where = f"dataset.sources[{number}] of {dataset}"
        for key in given:
            if key not in known:
                raise ConfigError(
                    f"{where}: unknown key {key}.{did_you_mean(str(key), known)} "
                    f"Known: {', '.join(known)}."
                )
        if not given.get("name"):
            raise ConfigError(f"{where}: it has no name; expected name: FILE.")
        urls = given.get("urls") or ()
        part = Part(**{**given, "urls": (urls,) if isinstance(urls, str) else tuple(urls)})
        if not isinstance(part.name, str) or part.name != Path(part.name).name:
            raise ConfigError(f"{where}: name={part.name!r}: expected the name of a file.")
        if part.sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", str(part.sha256)):
            raise ConfigError(f"{where}: sha256={part.sha256}: expected 64 hexadecimal digits.")
        if PurePosixPath(part.into).is_absolute() or ".." in PurePosixPath(part.into).parts:
            raise ConfigError(f"{where}: into={part.into}: expected a folder within the dataset's.")
        parts.append(part)
    if len({p.name for p in parts}) < len(parts):
        raise ConfigError(f"dataset.sources of {dataset}: two parts have one name.")
    return tuple(parts)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
