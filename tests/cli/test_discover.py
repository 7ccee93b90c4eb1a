"""aspire discover on the command line: the report it leaves, and what a dry run does not do."""

import json
from pathlib import Path

import pytest

from aspire.cli import main

TINY = ["dataset.scale=0.02", "fit.steps=4", "fit.evaluations=2", "logger=none"]


@pytest.fixture(autouse=True)
def _outputs(tmp_path, monkeypatch, tiny_data):
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))


def test_the_report_is_written_named_and_written_again(tmp_path, capsys):
    assert main(["discover", "stage.edit.images_per_class=6", *TINY]) == 0
    out = capsys.readouterr().out
    (report,) = (tmp_path / "outputs" / "discover").glob("*/report.html")
    assert f"report    {report}" in out
    result = json.loads(report.with_name("result.json").read_text())
    assert result["overrides"][0] == "stage.edit.images_per_class=6"
    assert list(result["stages"]) == ["caption", "extract", "collapse", "edit"]
    features = Path(result["discovery"]["0"]["discover"]["folder"]) / "records.jsonl"
    lines = (tmp_path / "outputs" / features).read_text().splitlines()
    assert result["discovery"]["0"]["features"] == [json.loads(line) for line in lines]
    table = (report.with_name("features.csv")).read_text().splitlines()
    shortcuts = {f["phrase"] for f in result["discovery"]["0"]["features"] if f["spurious"]}
    assert table[0] == "path,y,split,feature,present"
    assert len(table) == 1 + result["dataset"]["images"]["train"] * len(shortcuts)
    before = report.read_bytes()
    report.unlink()
    assert main(["report", str(report.parent)]) == 0
    assert report.read_bytes() == before


def test_a_dry_run_trains_nothing_and_is_no_error(tmp_path, capsys):
    words = ["extractor=openai", "extractor.dry_run=true", "extractor.model=m", *TINY]
    assert main(["discover", *words]) == 0
    told = capsys.readouterr().err
    assert told.startswith("Dry run, nothing was asked.")
    assert not (tmp_path / "outputs" / "train").exists()
