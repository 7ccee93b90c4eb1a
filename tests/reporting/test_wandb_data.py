"""A run that somebody sent cannot name files of this machine for W&B to upload."""

from __future__ import annotations

import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from wandb.proto.wandb_internal_pb2 import Record
from wandb_file import records as read_by_the_tests

from aspire.errors import DamagedError
from aspire.reporting.wandb_data import check_uploads
from aspire.reporting.wandb_run import Place
from aspire.reporting.wandb_sync import upload

BLOCK = 32768


def forged(folder: Path, *records: Record) -> Path:
    """An offline run with these records, in the format of LevelDB's log."""
    run = folder / "wandb" / "offline-run-20260101_000000-x"
    run.mkdir(parents=True)
    data = b":W&B\xe1\xbe\x00"
    for record in records:
        rest, first = record.SerializeToString(), True
        while rest or first:
            left = BLOCK - len(data) % BLOCK
            if left < 7:
                data += b"\0" * left
                continue
            part, rest = rest[: left - 7], rest[left - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}
            head = bytes([kind[first, not rest]])
            data += struct.pack("<IH", zlib.crc32(head + part), len(part)) + head + part
            first = False
    (run / "run-x.wandb").write_bytes(data)
    return run


def record(kind: str, path: str) -> Record:
    it = Record()
    if kind == "file":
        it.files.files.add().path = path
    elif kind == "code":
        it.environment.code_path_local = path
    elif kind == "manifest":
        it.artifact.manifest.manifest_file_path = path
    else:
        artifact = it.artifact if kind == "artifact" else it.request.log_artifact.artifact
        artifact.manifest.contents.add().local_path = path
    return it


@pytest.mark.parametrize("kind", ["file", "code", "manifest", "artifact", "request"])
@pytest.mark.parametrize("path", ["/etc/passwd", "../../../../secret", "~/../../../../x"])
def test_a_path_elsewhere_is_refused_before_anything_is_uploaded(kind, path, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("handed over"))
    long = Record()
    long.output.line = "x" * 3 * BLOCK  # what follows does not begin in the first block
    run = forged(tmp_path, long, record(kind, path))
    with pytest.raises(DamagedError) as told:
        upload([run], Place())
    assert path in str(told.value)
    assert "Nothing was uploaded" in str(told.value)


def test_a_link_in_its_folder_does_not_help(tmp_path):
    (tmp_path / "out").symlink_to("/etc")
    with pytest.raises(DamagedError, match="would have W&B upload"):
        check_uploads(forged(tmp_path / "job", record("file", "../../../../out/passwd")))


def test_its_own_files_pass(tmp_path):
    staged = tmp_path / "wandb" / "artifacts" / "staging" / "tmp1"
    own = [record("file", "media/images/a.png"), record("artifact", str(staged))]
    run = forged(tmp_path, *own)
    check_uploads(run)
    (data,) = run.glob("*.wandb")
    assert list(read_by_the_tests(data)) == own  # the forger is right


def test_what_is_no_data_of_wandb(tmp_path):
    run = forged(tmp_path)
    (data,) = run.glob("*.wandb")
    data.write_bytes(data.read_bytes() + struct.pack("<IHB", 0, 4, 1) + b"\xff\xff\xff\xff")
    with pytest.raises(DamagedError, match="W&B did not write"):
        check_uploads(run)
