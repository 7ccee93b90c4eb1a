"""SIGTERM is one line; names of folders follow from content; leftovers go at the next start."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from aspire.cli import main
from aspire.cli import run as run_verb
from aspire.cli import table as table_verb
from aspire.cli._app import compose_config
from aspire.cli._signals import Stopped, stoppable
from aspire.cli.jobs import Job
from aspire.runs.claims import claim, run_status
from aspire.stored.config import contents


@pytest.fixture(autouse=True)
def nobody_answers_to_sigterm():
    """Ray, where a test before used it, leaves an answer of its own in the process."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def test_sigterm_is_one_line_and_the_exit_code_of_a_stopped_process(tmp_path, monkeypatch, capsys):
    before = signal.getsignal(signal.SIGTERM)

    def job(cfg):
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("went on")

    monkeypatch.setattr(table_verb, "job", job)
    assert main(["table", str(tmp_path)]) == 143
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: Stopped. The same command continues where it stopped.\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_stopped_run_says_so_and_is_continued(tmp_path):
    with pytest.raises(Stopped), stoppable(), claim(tmp_path, {}):
        os.kill(os.getpid(), signal.SIGTERM)
    look = run_status(tmp_path)
    assert (look.state, look.reason) == ("failed", "stopped from outside")


def test_whoever_already_answers_to_sigterm_keeps_it():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [1]


def folder_of(data: Path, outputs: Path, *words: str) -> str:
    overrides = ["dataset=waterbirds", f"dataset.root={data}", f"paths.outputs={outputs}", *words]
    cfg, _ = compose_config("run", overrides)
    experiment = Job("run", cfg, overrides).experiment
    return run_verb._folder(experiment, cfg, [0], [("erm", "none")]).name


def test_the_name_of_a_whole_run_follows_from_what_is_in_it(waterbirds_folder, tmp_path):
    moved = tmp_path / "elsewhere" / "birds"
    shutil.copytree(waterbirds_folder, moved)
    captions = [tmp_path / "a.csv", tmp_path / "elsewhere" / "b.csv"]
    for path in captions:
        path.write_text("img_filename,caption\n")
    replay = ("captioner=replay", f"captioner.file={captions[0]}")
    again = ("captioner=replay", f"captioner.file={captions[1]}")
    first = folder_of(waterbirds_folder, tmp_path / "o", *replay)
    assert folder_of(moved, tmp_path / "elsewhere" / "o", *again) == first
    captions[1].write_text("img_filename,caption\nx,y\n")
    assert folder_of(moved, tmp_path / "elsewhere" / "o", *again) != first
    assert folder_of(moved, tmp_path / "o", *replay, "fit.steps=20") != first


def test_files_count_by_content_and_folders_of_data_not_at_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "w.pt"
    for name in ("w.pt", "hub", "word"):
        (tmp_path / name).touch()
    node = {
        "root": "/a", "weights": str(file), "model": "owner/id", "n": [1], "name": str(file),
        "table_of_mine": "w.pt", "lists": ["./word", "word"], "other": {"weights": "hub"},
    }  # fmt: skip
    counted = {
        **node, "weights": "digest of w.pt", "table_of_mine": "digest of w.pt",
        "lists": ["digest of word", "word"],
    }  # fmt: skip
    assert contents(node, lambda path: f"digest of {path.name}") == counted | {"root": None}
    node["root"] = str(tmp_path)
    in_place = contents(node, lambda path: f"digest of {path.name}", elsewhere=False)
    assert in_place == counted | {"root": str(tmp_path)}
