"""The scripts of the documentation run as they stand: in an empty folder, without any yaml."""

from __future__ import annotations

import runpy
import shutil
import tomllib
from pathlib import Path

import pytest

from aspire.data.table import Dataset

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs/examples/own_network.py"


@pytest.fixture
def photos(waterbirds: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/CLASS/*.jpg with captions in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASPIRE_OUTPUTS", raising=False)
    lines = ["img_filename,caption"]
    for row in waterbirds.table.to_dict("records"):
        name = f"{waterbirds.class_names[row['y']]}/{Path(row['img_filename']).name}"
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(waterbirds.path(row["img_filename"]), tmp_path / "photos" / name)
        lines.append(f"{name},{row['caption']}")
    (tmp_path / "photos/captions.csv").write_text("\n".join(lines), "utf-8")
    return tmp_path


def test_own_folder_network_and_loss(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert {p.name for p in photos.iterdir()} == {"photos", "outputs", "shortcuts.html"}
    run = names["run"]
    assert run.result["baseline"] == "loss"
    assert set(run.result["identity"]["code"]) == {"__main__.Net", "__main__.loss"}
    shown = capsys.readouterr().out
    assert "landbird" in shown
    assert "p_waterbird" in shown
    # started again, everything is found
    again = runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert again["run"]._trained.state == "hit"
    assert again["found"].features.equals(names["found"].features)
    assert " run  " not in capsys.readouterr().out.replace("classifier", "")


def test_it_is_short_and_checked_by_mypy() -> None:
    assert len(EXAMPLE.read_text("utf-8").splitlines()) <= 25
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mypy"]
    assert "docs/examples" in settings["files"]
    assert settings["strict"]
