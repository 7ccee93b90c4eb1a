"""A baseline of the user's own, from the working folder: found without PYTHONPATH, never stale."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aspire.cli import main

TINY = ["dataset.scale=0.02", "fit.steps=1", "fit.evaluations=1", "logger=none"]
BASELINE = """
from aspire.baselines.erm import ERM
from mine_helper import STRENGTH
class Mine(ERM):
    pass
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_data: Path) -> None:
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    for name in ("mine_baseline", "mine_helper"):
        sys.modules.pop(name, None)
    Path("own/baseline").mkdir(parents=True)
    Path("own/baseline/mine.yaml").write_text("_target_: mine_baseline.Mine\n")


def runs(tmp_path: Path) -> set[str]:
    return {p.parent.name for p in (tmp_path / "outputs/train").rglob("result.json")}


def test_changed_code_is_another_run(tmp_path: Path) -> None:
    Path("mine_baseline.py").write_text(BASELINE)
    Path("mine_helper.py").write_text("STRENGTH = 1\n")
    words = ["train", "--config-dir", "own", "baseline=mine", *TINY]
    assert main(words) == 0
    first = runs(tmp_path)
    assert len(first) == 1
    assert main(words) == 0
    assert runs(tmp_path) == first
    Path("mine_helper.py").write_text("STRENGTH = 2\n")
    assert main(words) == 0
    assert len(runs(tmp_path)) == 2


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (None, "ModuleNotFoundError: No module named 'mine_baseline'. Modules are looked for"),
        ("import no_such_library_here\n", "No module named 'no_such_library_here'"),
        ("class Mine(:\n", "SyntaxError"),
        ("class Other: pass\n", "has no attribute 'Mine'"),
        ("raise RuntimeError('needs a GPU')\n", "needs a GPU"),
    ],
)
def test_an_import_that_fails_says_why(
    source: str | None, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if source is not None:
        Path("mine_baseline.py").write_text(source)
    assert main(["train", "--config-dir", "own", "baseline=mine", *TINY]) == 2
    told = capsys.readouterr().err
    assert text in told
    assert "mine_baseline.Mine cannot be " in told
