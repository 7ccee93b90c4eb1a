"""What stands in the way of reading and writing: one message, exit code 6, and what still works."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from aspire.cli import doctor, main
from aspire.stored.files import locked, write_atomic
from aspire.stored.trouble import storage_error

KEPT = "What is finished is kept, and the same command goes on."


def os_error(number: int, name: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (os_error(errno.ENOSPC, "out/a.json"), "out/a.json: the disk is full. Make room, or take"),
        (os_error(errno.EDQUOT), "A file: your quota of the disk is used up."),
        (os_error(errno.EFBIG, "x"), "x: it would be larger than the limit for files (ulimit -f)."),
        (os_error(errno.EROFS, "x"), "x: the file system is read-only. Take another folder"),
        (os_error(errno.EACCES, "x"), "x: permission is denied."),
        (os_error(errno.EMFILE, "x"), "x: too many files are open. Raise the limit (ulimit -n)."),
        (os_error(errno.ENAMETOOLONG, "x"), "x: its name is too long."),
        (FileExistsError(errno.EEXIST, "File exists", "out"), "out: a file is where a folder"),
        # as torch, safetensors and a wrapped error of another library word it
        (RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"), "full"),
        (
            Exception("I/O error: No space left on device (os error 28)"),
            "A file: the disk is full.",
        ),
        (Exception("Error(27): File too large"), "A file: it would be larger than the limit"),
    ],
)
def test_the_cause_is_named(error: Exception, said: str) -> None:
    found = storage_error(error)
    assert found is not None
    assert said in str(found)
    assert str(found).endswith(KEPT)
    assert found.exit_code == 6


def test_what_came_first_counts() -> None:
    ledger = os_error(errno.ENOSPC, "attempts/1.json")
    ledger.__context__ = os_error(errno.EFBIG, "weights")  # while its end was written down
    assert str(storage_error(ledger)).startswith("weights: it would be larger")
    made = os_error(errno.EROFS, "out")  # by mkdir(parents=True), which tried the last one first
    made.__context__ = os_error(errno.ENOENT, "out/images")
    assert str(storage_error(made)).startswith("out: the file system is read-only")
    moved = OSError(errno.ENOSPC, "full", "/tmp/x", None, "out/last.ckpt")
    assert str(storage_error(moved)).startswith("out/last.ckpt: the disk is full")
    wrapped = RuntimeError("while saving")
    wrapped.__cause__ = os_error(errno.ENOSPC, "report")
    assert str(storage_error(wrapped)).startswith("report: the disk is full")


@pytest.mark.parametrize("error", [ValueError("x"), ConnectionResetError(104, "x"), TimeoutError()])
def test_other_errors_are_left_alone(error: Exception) -> None:
    assert storage_error(error) is None


def test_a_verb_answers_with_exit_code_6(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(cfg: Any) -> None:
        raise os_error(errno.ENOSPC, "a/result.json")

    monkeypatch.setattr(doctor, "job", full)
    assert main(["doctor", f"paths.outputs={tmp_path / 'o'}"]) == 6
    err = capsys.readouterr().err
    assert err.startswith("error: a/result.json: the disk is full. Make room")
    assert "Traceback" not in err


@pytest.mark.parametrize("below", ["", "below"])
def test_outputs_that_are_a_file(
    below: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("")
    assert main(["train", "logger=none", f"paths.outputs={tmp_path / 'out' / below}"]) == 6
    assert "a file is where a folder should be. Move it" in capsys.readouterr().err


def test_a_path_that_is_too_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "logger=none", f"paths.outputs={tmp_path / ('x' * 300)}"]) == 6
    assert "its name is too long." in capsys.readouterr().err


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **keywords: Any) -> None:
        raise os_error(errno.EROFS)

    monkeypatch.setattr(Path, "write_bytes", refused)
    monkeypatch.setattr(FileLock, "acquire", refused)


def test_what_is_there_already_need_not_be_written(tmp_path: Path, read_only: None) -> None:
    path = tmp_path / "result.json"
    with path.open("wb") as file:
        file.write(b"{}")
    write_atomic(path, b"{}")
    with pytest.raises(OSError, match="Read-only") as caught:
        write_atomic(path, b"[]")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"{}"
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_that_cannot_be_taken_keeps_nobody_from_reading(
    tmp_path: Path, read_only: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(tmp_path / ".lock"):
        pass
    monkeypatch.setattr(FileLock, "acquire", lambda self: (_ for _ in ()).throw(os_error(28, "x")))
    with pytest.raises(OSError, match="No space"), locked(tmp_path / ".lock"):
        pass
