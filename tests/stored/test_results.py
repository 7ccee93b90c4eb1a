"""Results that cannot be read are said to be so, and never stop what is shown of the others."""

from __future__ import annotations

import json
import platform
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from runfolders import run_folder

from aspire.baselines.base import Needs
from aspire.cli import main
from aspire.errors import DamagedError
from aspire.runs.ledger import Ledger, find_jobs
from aspire.stored.results import damage, read_mapping, read_training
from aspire.training import job as training


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def set_to(**values):
    def change(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def without(*keys: str):
    def change(path: Path) -> None:
        content = json.loads(path.read_text())
        path.write_text(json.dumps({k: v for k, v in content.items() if k not in keys}))

    return change


DAMAGES = [
    (cut, "no JSON"),
    (lambda path: path.write_bytes(b""), "empty"),
    (lambda path: path.write_bytes(b"[1, 2]"), "a list where keys and values were expected"),
    (lambda path: path.write_bytes(b"\xff\xfe"), "no JSON"),
    (lambda path: path.write_text("[" * 100_000), "no JSON"),
    (set_to(metrics="x"), "Expected `object`, got `str` - at `$.metrics`"),
    (set_to(metrics={"test": {"acc": 1.5, "groups": {}}}), "<= 1.0 - at `$.metrics.test.acc"),
    (set_to(seed="one"), "Expected `int`, got `str` - at `$.seed`"),
    (set_to(class_names=3), "Expected `array`, got `int` - at `$.class_names`"),
    (set_to(selectable={"val_acc": "../../other.safetensors"}), "at `$.selectable[...]`"),
    (without("weights_sha256"), "missing required field `weights_sha256`"),
    (without("metrics"), "missing required field `metrics`"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "reason"), DAMAGES)
def test_every_damage_is_named(change, reason, tmp_path):
    run = run_folder(tmp_path)
    assert damage(run) == ""
    change(run / "result.json")
    assert str(run / "result.json") in damage(run)
    assert reason in damage(run)
    with pytest.raises(DamagedError):
        read_training(run)


def test_what_is_read_is_the_callers_own(tmp_path):
    run = run_folder(tmp_path)
    read_training(run)["metrics"].clear()
    assert read_training(run)["metrics"]["test"]["worst_group_acc"] == 0.5
    assert read_mapping(run / "nothing.json") == {}


@pytest.mark.parametrize("change", [cut, set_to(metrics="x"), set_to(seed="one")])
def test_a_table_shows_the_others_and_the_reason(change, tmp_path, capsys, caplog):
    bad = run_folder(tmp_path, 0)
    run_folder(tmp_path, 1)
    change(bad / "result.json")
    assert main(["table", str(tmp_path)]) == 0
    assert "50.0 (1)" in capsys.readouterr().out
    assert "not in the table: waterbirds, erm, seed 0" in caplog.text
    assert str(bad / "result.json") in caplog.text
    grid = ["table", str(tmp_path), "rows=baseline", "cols=dataset", "format=md"]
    assert main(grid) == 0
    out = capsys.readouterr().out
    assert "50.0 (1)" in out
    assert f"{bad / 'result.json'} is damaged" in out.replace("\n", " ")
    assert main(["report", str(tmp_path)]) == 0
    assert "is damaged" in (tmp_path / "report.html").read_text()


def test_a_job_whose_file_is_damaged_is_one_that_failed(tmp_path):
    ledger = Ledger(tmp_path, "aspire train -m seed=0,1")
    ledger.expect(["seed=0"], {"dataset": "birds", "seed": 0}, "aspire train seed=0")
    ledger.expect(["seed=1"], {"dataset": "birds", "seed": 1}, "aspire train seed=1")
    cut(ledger.file(["seed=1"]))
    good, bad = sorted(find_jobs(tmp_path), key=lambda job: job.state, reverse=True)
    assert (good.state, bad.state) == ("new", "failed")
    assert f"{ledger.file(['seed=1'])} is damaged" in bad.look.reason
    ledger.note(["seed=1"], {"dataset": "birds", "seed": 1}, "aspire train seed=1")
    assert {job.state for job in find_jobs(tmp_path)} == {"new"}


class Job:
    """A training run whose work takes no time."""

    key, name = "0", "a job"
    needs = Needs()

    def __init__(self, folder: Path) -> None:
        self.where, self.trained = folder, 0

    def folder(self, root: Path) -> Path:
        return self.where

    def about(self):
        return {}

    def parts(self):
        return self, SimpleNamespace(tables={}, device="cpu")

    def run(self, context):
        self.trained += 1


def test_the_same_command_finishes_a_damaged_run_again(tmp_path, monkeypatch, caplog):
    folder = run_folder(tmp_path)
    whole = (folder / "result.json").read_bytes()
    job = Job(folder)

    def keep(job, folder, *what):
        (folder / "result.json").write_bytes(whole)

    monkeypatch.setattr(training, "_keep", keep)
    monkeypatch.setattr(training, "environment", lambda outputs: {})
    gone = folder / f".metrics.csv.{platform.node()}.4194305"
    gone.touch()
    assert training.run_training(job, tmp_path, lambda: b"seed: 0").state == "hit"
    assert not gone.exists()
    cut(folder / "result.json")
    gone.touch()
    run = training.run_training(job, tmp_path, lambda: b"seed: 0")
    assert (run.state, run.result["seed"], job.trained) == ("run", 0, 1)
    assert not gone.exists()
    (line,) = caplog.messages
    assert line.startswith(f"{folder / 'result.json'} is damaged: no JSON")
    assert line.endswith("The run is finished again.")


def test_one_of_several_processes_waits_for_what_the_main_one_writes(tmp_path, monkeypatch):
    """Its error would end them all, the main one before it has written anything."""
    folder = run_folder(tmp_path)
    whole = (folder / "result.json").read_bytes()
    (folder / "result.json").unlink()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    threading.Timer(0.3, (folder / "result.json").write_bytes, [whole]).start()
    run = training.run_training(Job(folder), tmp_path, lambda: b"seed: 0")
    assert run.result["seed"] == 0


@pytest.mark.parametrize("verb", ["evaluate", "rerun", "diff"])
@pytest.mark.parametrize("file", ["result.json", "config.yaml"])
def test_verbs_that_need_it_say_what_is_wrong_in_one_line(
    verb, file, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    run = run_folder(tmp_path)
    (run / file).write_text("{cut")
    words = [verb, str(run), *([str(run)] if verb == "diff" else [])]
    assert main(words) in (2, 3)
    err = capsys.readouterr().err
    assert f"{run / file} is damaged" in err
    assert "Traceback" not in err
    (run / file).unlink()
    assert main(words) == 2
    assert f"no {file} in it" in capsys.readouterr().err
