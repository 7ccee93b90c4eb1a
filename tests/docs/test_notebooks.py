"""The README's example and the notebooks run from top to bottom, cell by cell, in this process."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all four: what one has trained or captioned, the next finds."""
    return tmp_path_factory.mktemp("outputs")


def cells_of(path: Path) -> list[dict[str, Any]]:
    content = json.loads(path.read_text("utf-8"))
    assert content["nbformat"] == 4
    cells: list[dict[str, Any]] = content["cells"]
    return cells


def run_cell(source: str, name: str, names: dict[str, Any]) -> Any:
    """What a cell shows: the value of its last line."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), name, "eval"), names)


def example_of(page: str) -> list[str]:
    """Lines of the page's first Python block, without remarks."""
    text = (ROOT / page).read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    return [line.partition("  #")[0] for line in text.splitlines() if line]


def test_the_example_of_the_readme(
    outputs: Path,
    tiny_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = example_of("README.md")
    assert len(lines) == 5
    assert lines == example_of("docs/python.md")
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(outputs))
    exec("\n".join(lines), {"__name__": "__main__"})
    shown = capsys.readouterr().out
    assert "waterbird: what happens to the answer when a phrase is taken out" in shown
    assert "<run mini_waterbirds, erm + aspire, small_cnn, seed 0: test acc 0." in shown


def test_there_are_four() -> None:
    names = ["audit_a_classifier", "compare_baselines", "generate_and_train", "own_method"]
    assert [path.stem for path in NOTEBOOKS] == names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_that_was_shown_is_kept(path: Path) -> None:
    for cell in cells_of(path):
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(
    path: Path,
    outputs: Path,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(outputs))
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for number, cell in enumerate(cells_of(path)):
        if cell["cell_type"] == "code":
            shown.append(run_cell("".join(cell["source"]), f"cell-{number}", names))
            assert not isinstance(shown[-1], pd.DataFrame) or len(shown[-1])
    assert any(value is not None for value in shown)
    if path.stem == "audit_a_classifier":
        assert (tmp_path / "shortcuts.html").is_file()
        assert names["found"].features["spurious"].any()
    if path.stem == "own_method":  # our metric and the run's agree
        mine, of_run = shown[-1]
        assert mine.item() == pytest.approx(of_run)
        assert "__main__.HardFirst" in names["by_method"].result["identity"]["code"]
