"""Which files of this machine a ``.wandb`` file would have uploaded.

It is a LevelDB log: after a header of 7 bytes, blocks of 32 KiB of fragments, each with checksum (4
bytes), length (2) and kind (1: whole, 2: first, 3: middle, 4: last), around protobuf records.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aspire.errors import DamagedError

HEADER, BLOCK = 7, 32768
WHOLE, FIRST, LAST = 1, 2, 4
REMOVE = (
    "Nothing was uploaded. Remove the folder it is in to leave that run out; the run of a finished "
    "job is then written from its result.json."
)


def check_uploads(run: Path) -> None:
    """Refuse an offline run that names files which are not its own.

    W&B uploads the files that the data name, wherever they are, and the data may have been sent.

    Args:
        run: the folder ``offline-run-*``; its artifacts wait in its parent.

    Raises:
        DamagedError: for a path that leads out of the parent of ``run``; for foreign data.
    """
    home = run.resolve().parent
    for data in run.glob("*.wandb"):
        for name in _paths(data):
            if not (home / run.name / "files" / name).resolve().is_relative_to(home):
                raise DamagedError(
                    f"{data} would have W&B upload {name}, which is not below {home}. {REMOVE}"
                )


def _paths(data: Path) -> Iterator[str]:
    """Every local path in the data."""
    for record in _records(data):
        yield from (item.path for item in record.files.files)
        yield record.environment.code_path_local
        for artifact in (record.artifact, record.request.log_artifact.artifact):
            manifest = artifact.manifest
            yield manifest.manifest_file_path
            yield from (entry.local_path for entry in manifest.contents)


def _records(data: Path) -> Iterator[Any]:
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, parts = data.read_bytes(), HEADER, b""
    while at + HEADER <= len(content):
        left = BLOCK - at % BLOCK
        if left < HEADER:  # the rest of a block holds no fragment
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        if kind == 0:
            break
        part = content[at + HEADER : at + HEADER + length]
        parts = part if kind in (WHOLE, FIRST) else parts + part
        at += HEADER + length
        if kind in (WHOLE, LAST):
            record = Record()
            try:
                record.ParseFromString(parts)
            except DecodeError:
                raise DamagedError(f"{data} holds what W&B did not write. {REMOVE}") from None
            yield record
