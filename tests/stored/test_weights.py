"""Weights that are not those a run was finished with are refused, with what to do."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from runfolders import CONFIG, run_folder
from safetensors.torch import save

from aspire.classification.backbones import SmallCNN
from aspire.classification.predictor import FinishedRun, Request, RunPredictor
from aspire.cli import main
from aspire.errors import DamagedError
from aspire.runs.trained import load_run
from aspire.stored.files import sound_checkpoint, tidy

IMAGE = [np.zeros((64, 64, 3), np.uint8)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A network that was never trained, kept as a finished run."""
    torch.manual_seed(0)
    return run_folder(tmp_path, weights=save(SmallCNN().build(2).state_dict()))


def predictor(run: Path) -> RunPredictor:
    return RunPredictor(load_run(run), SmallCNN)


def negate(path: Path) -> None:
    state = SmallCNN().build(2).state_dict()
    path.write_bytes(save({**state, "head.weight": -state["head.weight"]}))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x80
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "damage",
    [negate, flip, Path.unlink, lambda p: os.truncate(p, 100), lambda p: os.truncate(p, 0)],
)
def test_other_weights_are_refused(damage, run, waterbirds_folder, capsys, monkeypatch):
    assert predictor(run)(IMAGE).shape == (1, 2)
    damage(run / "model.safetensors")
    with pytest.raises(DamagedError, match="not the weights that the run was finished with"):
        predictor(run)(IMAGE)
    request = Request(("landbird", "waterbird"), 0, pytest.fail, lambda run: SmallCNN())
    with pytest.raises(DamagedError, match=f"remove {run} and train it again"):
        FinishedRun(str(run)).classifier(request)(IMAGE)
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(run / "outputs"))
    words = ["evaluate", str(run), f"root={waterbirds_folder}", "trainer.threads=1"]
    assert main(words) == 3
    assert "not the weights that the run was finished with" in capsys.readouterr().err


def test_weights_of_another_network_are_one_message(tmp_path):
    run = run_folder(tmp_path, weights=save({"a": torch.zeros(1)}))
    with pytest.raises(DamagedError, match=r"no weights of the network that config\.yaml"):
        predictor(run)(IMAGE)
    assert CONFIG["model"]["_target_"].endswith("SmallCNN")


def test_weights_of_another_rule_are_checked_by_their_phase(run):
    phase = run / "checkpoints" / "erm"
    phase.mkdir(parents=True)
    weights = phase / "step-0000010.safetensors"
    weights.write_bytes((run / "model.safetensors").read_bytes())
    digest = load_run(run).digest
    done = {"steps": 10, "best": {"val_acc": 10}, "history": [], "sha256": {weights.name: digest}}
    (phase / "finished.json").write_text(json.dumps(done))
    assert load_run(run).check(weights) == weights
    flip(weights)
    with pytest.raises(DamagedError, match=r"step-0000010\.safetensors is not what was kept"):
        load_run(run).check(weights)
    (phase / "finished.json").write_text("{")
    with pytest.raises(DamagedError, match=r"finished\.json is damaged"):
        load_run(run).check(weights)


@pytest.mark.parametrize("how", ["cut", "flipped", "text"])
def test_a_damaged_state_to_resume_from_is_dropped_with_a_line(how, tmp_path, caplog):
    path = tmp_path / "last.ckpt"
    torch.save({"weight": torch.arange(1000)}, path)
    assert sound_checkpoint(path)
    if how == "cut":
        os.truncate(path, 500)
    elif how == "text":
        path.write_text("weights")
    else:
        with zipfile.ZipFile(path) as members:
            place = next(i for i in members.infolist() if i.file_size == 8000).header_offset
        data = bytearray(path.read_bytes())
        data[place + 1000] ^= 1
        path.write_bytes(bytes(data))
    assert not sound_checkpoint(path)
    assert not path.exists()
    assert f"{path} is damaged" in caplog.text
    assert not sound_checkpoint(path)  # absent by now, and nothing more is said
    assert len(caplog.messages) == 1


def test_what_kills_have_left_is_taken_away_and_nothing_else(tmp_path):
    machine = os.uname().nodename
    gone = [f".metrics.csv.{machine}.4194305", "attempts/.now-0a1b", "checkpoints/last.tmp"]
    kept = [f".metrics.csv.{machine}.{os.getppid()}", "result.json", ".abc.lock", "a.4194305"]
    for name in (*gone, *kept):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    tidy(tmp_path, deep=True)
    assert [n for n in (*gone, *kept) if (tmp_path / n).exists()] == kept
