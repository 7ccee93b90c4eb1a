"""A run folder that somebody has sent, through every verb: nothing in it is run or looked up."""

from __future__ import annotations

from pathlib import Path

import pytest
from runfolders import CONFIG, hostile, run_folder

from aspire.cli import main
from aspire.cli._app import compose_config
from aspire.cli.jobs import Job
from aspire.stored.config import StoredConfigError

SECRET = "sk-hunter2"


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "mine"))
    monkeypatch.setenv("ASPIRE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    return tmp_path


def commands(run: Path) -> dict[str, list[str]]:
    return {
        "evaluate": ["evaluate", str(run)],
        "rerun": ["rerun", str(run), "dry_run=true"],
        "diff": ["diff", str(run), str(run)],
    }


@pytest.mark.parametrize("verb", ["evaluate", "rerun", "diff"])
def test_what_it_names_is_refused_and_never_called(verb, place, capsys):
    file = place / "executed"
    run = run_folder(place / "sent", config=hostile(file))
    assert main(commands(run)[verb]) == 2
    err = capsys.readouterr().err
    assert "names distutils.spawn.spawn" in err or "names pathlib.Path.touch" in err
    assert str(run / "config.yaml") in err
    assert not file.exists()


@pytest.mark.parametrize("verb", ["evaluate", "rerun", "diff"])
@pytest.mark.parametrize("key", ["name", "root"])
def test_a_variable_of_this_machine_is_not_looked_up(verb, key, place, capsys):
    dataset = CONFIG["dataset"] | {key: "${oc.env:OPENAI_API_KEY}"}
    run = run_folder(place / "sent", config={"dataset": dataset})
    assert main(commands(run)[verb]) == 2
    out, err = capsys.readouterr()
    assert f"dataset.{key} holds an interpolation" in err
    written = [p.read_text() for p in place.rglob("*") if p.is_file() and "mine" in p.parts]
    assert not [
        text for text in (out, err, *written, *map(str, place.rglob("*"))) if SECRET in text
    ]


def test_a_report_shows_the_others_and_says_what_it_left_out(place, capsys):
    file = place / "executed"
    run_folder(place / "sent", seed=0, config=hostile(file), generated_digest="0" * 64)
    run_folder(place / "sent", seed=1)
    assert main(["report", str(place / "sent")]) == 0
    assert "names pathlib.Path.touch" in capsys.readouterr().out
    assert (place / "sent" / "report.html").is_file()
    assert main(["table", str(place / "sent")]) == 0
    assert "50.0 ± 0.0 (2)" in capsys.readouterr().out
    assert not file.exists()


def test_the_classifier_of_a_hostile_folder_is_not_built(place, waterbirds_folder):
    file = place / "executed"
    sent = run_folder(place / "sent", config={"model": hostile(file)["model"]})
    words = ["dataset=waterbirds", f"dataset.root={waterbirds_folder}"]
    words += ["classifier=run", f"classifier.path={sent}"]
    cfg, _ = compose_config("discover", words)
    experiment = Job("discover", cfg, words).experiment
    with pytest.raises(StoredConfigError, match="names distutils"):
        experiment.classifier(0)  # examined, and so asked, before it is handed out
    assert not file.exists()


def test_code_of_ones_own_is_named_again_on_the_command_line(place, monkeypatch, capsys):
    run = run_folder(place / "sent", config={"baseline": {"_target_": "mine.Baseline"}})
    assert main(["diff", str(run), str(run)]) == 2
    assert "If it is code of your own, say so: 'own=[mine.Baseline]'" in capsys.readouterr().err
    assert main(["diff", str(run), str(run), "own=[mine.Baseline]"]) == 0
    own = place / "conf" / "baseline"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("_target_: mine.Baseline\n")
    assert main(["diff", str(run), str(run), "--config-dir", str(place / "conf")]) == 0
    assert "are the same" in capsys.readouterr().out


def test_data_that_has_moved_is_said_and_found_again(place, waterbirds_folder, capsys):
    gone = {"dataset": CONFIG["dataset"] | {"root": str(place / "gone")}}
    run = run_folder(place / "sent", config=gone)
    assert main(["evaluate", str(run)]) == 3
    hint = f"It was in {place / 'gone'}. Where it has moved: aspire evaluate RUN root=DIR"
    assert hint in capsys.readouterr().err
