"""A package outside the tree adds a baseline, a dataset and a captioner by entry points alone."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from aspire.cli import main
from aspire.own_code import code_digests, code_of
from aspire.plugins import plugins

PACKAGE = '''
from aspire.baselines.erm import ERM
from aspire.data.waterbirds import Waterbirds


class Patient(ERM):
    """ERM, with a key of its own."""

    def __init__(self, patience: int = 3) -> None:
        self.patience = patience


class Ponds(Waterbirds):
    """A folder laid out like Waterbirds."""


class Oracle:
    """Says what it was told to."""

    def __init__(self, text: str) -> None:
        self.text = text

    def identity(self):
        return {"captioner": "oracle", "text": self.text}

    def caption(self, images):
        return [self.text] * len(images)
'''
ENTRIES = """
[aspire.baselines]
patient = ponds_package:Patient
erm = ponds_package:Patient

[aspire.datasets]
ponds = ponds_package:Ponds

[aspire.captioners]
oracle = ponds_package:Oracle
broken = no_such_module_here:Nothing
"""


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``pip install`` leaves behind: a module, and metadata with entry points."""
    site = tmp_path / "site-packages"
    info = site / "ponds_package-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "ponds_package.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ponds-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    plugins.cache_clear()
    yield
    plugins.cache_clear()
    from hydra.core.config_store import ConfigStore

    for group in ("baseline", "dataset", "captioner"):
        ConfigStore.instance().repo.pop(group, None)
    sys.modules.pop("ponds_package", None)


@pytest.mark.usefixtures("_installed")
def test_a_package_s_choices_are_listed_composed_and_trained(
    waterbirds_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "baselines", "format=json"]) == 0
    listed = {c["name"]: c["what"] for c in json.loads(capsys.readouterr().out)}
    assert listed["patient"] == "ponds_package.Patient, of the package ponds-package"
    assert "ponds" not in listed["erm"]  # a name of ours is never replaced

    assert main(["train", "captioner=oracle", "captioner.text=hello", "--cfg", "job"]) == 0
    assert "ponds_package.Oracle" in capsys.readouterr().out
    assert main(["train", "baseline=patiemt", "--cfg", "job"]) == 2
    assert "Did you mean patient?" in capsys.readouterr().err

    words = ["baseline=patient", "baseline.patience=5", "dataset=ponds"]
    words += [
        f"dataset.root={waterbirds_folder}",
        "fit.steps=2",
        "fit.evaluations=1",
        "logger=none",
    ]
    assert main(["train", *words, "model=small_cnn"]) == 0
    (path,) = (tmp_path / "outputs/train").rglob("result.json")
    assert json.loads(path.read_text())["baseline"] == "patient"
    # what is installed may be named by a run's folder, too
    assert main(["evaluate", str(path.parent)]) == 0
    (table,) = (tmp_path / "outputs/evaluate").glob("*.csv")
    assert len(pd.read_csv(table)) == 16

    told = ["captioner=oracle", "captioner.text=a bird in a swamp"]
    shared = [w for w in words if "baseline" not in w]
    assert main(["discover", *shared, *told, "model=small_cnn"]) == 0
    (captions,) = (tmp_path / "outputs/artifacts/caption").glob("*/records.jsonl")
    assert {json.loads(line)["text"] for line in captions.read_text().splitlines()} == {
        "a bird in a swamp"
    }

    assert main(["discover", "captioner=broken", "logger=none"]) != 0
    assert "no_such_module_here" in capsys.readouterr().err


@pytest.mark.usefixtures("_installed")
def test_another_version_of_a_package_is_another_identity(tmp_path: Path) -> None:
    targets = ["ponds_package.Patient", "torch.optim.SGD"]
    assert code_digests(targets) == {"ponds_package": "ponds-package 1.0"}
    oracle = importlib.import_module("ponds_package").Oracle("hello")
    assert code_of(oracle) == {"ponds_package": "ponds-package 1.0"}
    metadata = tmp_path / "site-packages/ponds_package-1.0.dist-info/METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    plugins.cache_clear()
    assert code_digests(targets) == code_of(oracle) == {"ponds_package": "ponds-package 1.1"}


def test_list_says_which_model_a_choice_fetches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "captioner", "format=json"]) == 0
    needs = {c["name"]: c["needs"] for c in json.loads(capsys.readouterr().out)}
    assert needs["blip"] == "Salesforce/blip-image-captioning-large"
    assert needs["dataset"] == ""
    assert main(["list", "captioner"]) == 0
    assert "captioner=blip " in capsys.readouterr().out
    assert main(["list"]) == 0
    assert "mini_waterbirds" in capsys.readouterr().out
    assert main(["list", "capioner"]) == 2
    assert "Did you mean captioner?" in capsys.readouterr().err


def test_without_plugins_nothing_of_hydra_is_imported_for_them() -> None:
    code = "import sys, aspire.cli._plugins as p; p.add_to_hydra(); print('hydra' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
