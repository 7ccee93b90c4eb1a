"""Reads what W&B wrote offline, with nothing of the code that wrote it.

A ``.wandb`` file is a LevelDB log: after a header of 7 bytes, blocks of 32 KiB of fragments, each
with checksum (4 bytes), length (2) and kind (1: whole, 2: first, 3: middle, 4: last), around
protobuf records.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = 32768


def records(path: Path) -> Iterator[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, parts = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while position + 7 <= len(data):
        if BLOCK - position % BLOCK < 7:  # the rest of a block holds no fragment
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        if kind == 0:
            break
        part = data[position + 7 : position + 7 + length]
        parts = part if kind in (1, 2) else parts + part
        position += 7 + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(parts)
            yield record


@dataclass
class Run:
    """One run as W&B would get it."""

    folder: Path
    id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    best: set[str] = field(default_factory=set)  # metrics with summary=max
    exit_code: int | None = None

    def curve(self, name: str) -> dict[int, float]:
        axis = f"{name[: -len('val/acc')]}step" if name.endswith("val/acc") else "step"
        return {row[axis]: row[name] for row in self.history if name in row}

    def table(self, name: str) -> dict[str, Any]:
        path = self.folder / "files" / self.summary[name]["path"]
        content: dict[str, Any] = json.loads(path.read_text())
        return content

    def images(self, name: str) -> list[Path]:
        return [self.folder / "files" / f for f in self.summary[name]["filenames"]]


def put(into: dict[str, Any], item: Any) -> None:
    *path, last = [*item.nested_key] or [item.key]
    for key in path:
        into = into.setdefault(key, {})
    into[last] = json.loads(item.value_json)


def read_run(folder: Path) -> Run:
    (path,) = folder.glob("*.wandb")
    run = Run(folder)
    for record in records(path):
        kind = record.WhichOneof("record_type")
        content = getattr(record, kind)
        if kind == "run":
            run.id, run.name = content.run_id, content.display_name
            run.group, run.job_type, run.tags = content.run_group, content.job_type, [*content.tags]
            for item in content.config.update:
                put(run.config, item)
        elif kind == "config":
            for item in content.update:
                put(run.config, item)
        elif kind == "summary":
            for item in content.update:
                put(run.summary, item)
        elif kind == "history":
            row: dict[str, Any] = {}
            for item in content.item:
                put(row, item)
            run.history.append(row)
        elif kind == "metric" and content.summary.max:
            run.best.add(content.name)
        elif kind == "artifact":
            run.artifacts[content.name] = {
                "type": content.type,
                "metadata": json.loads(content.metadata or "{}"),
                "files": [(c.path, c.size) for c in content.manifest.contents],
            }
        elif kind == "exit":
            run.exit_code = content.exit_code
    return run


def read_runs(folder: Path) -> list[Run]:
    return [read_run(p) for p in sorted(folder.rglob("wandb/offline-run-*"))]
