"""aspire review in the terminal: what it says, how it ends, and what stands in its way."""

from __future__ import annotations

import _thread
import socket
import threading
from pathlib import Path

import pytest
from reviewed import run_of

from aspire.cli import main, review


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    return run_of(tmp_path / "outputs").folder


def test_it_says_where_it_is_and_ends_with_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[str] = []

    def look(address: str) -> None:
        shown.append(address)
        threading.Timer(0.3, _thread.interrupt_main).start()  # Ctrl-C

    monkeypatch.setattr(review, "has_screen", lambda: True)
    monkeypatch.setattr("webbrowser.open", look)
    assert main(["review", str(folder)]) == 0
    said = capsys.readouterr()
    (address,) = shown
    assert address.startswith("http://127.0.0.1:")
    assert len(address.split("/")[3]) == 32  # 24 bytes by chance
    assert f"page       {address}" in said.out
    assert f"decisions  {folder}/decisions.json (nothing decided yet)" in said.out
    last = said.out.splitlines()[-1]
    assert last.startswith("Nothing decided yet; obeyed by aspire run decisions=")
    assert said.err == ""


def test_options_as_other_programs_have_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["review", str(folder), "--no-browser", "--port", port]) == 2
    said = capsys.readouterr().err
    assert f"port={port}: Address already in use. Type another number" in said
    assert main(["review", str(folder), "--port=70000"]) == 2
    assert "port=70000: expected a whole number from 0 to 65535" in capsys.readouterr().err
    assert main(["review", str(folder.parent)]) == 2
    assert "Expected a folder that aspire run or aspire discover has" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_said_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "decisions.json"
    assert review.unwritable(file) == ""
    monkeypatch.setattr("os.access", lambda path, mode: False)
    said = review.unwritable(file)
    assert said.startswith(f"{file} cannot be written, so that nothing you decide is kept.")
    assert said.endswith(f"aspire review {folder} to=FILE")


def test_decisions_are_read_before_anything_is_done(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "decisions=gone.json", "dataset.scale=0.02"]) == 2
    assert "decisions=gone.json: no such file. Expected a decisions.json" in capsys.readouterr().err
