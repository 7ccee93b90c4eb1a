"""A folder that somebody has sent, through every verb that reads one: each refuses it by name."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runfolders import CONFIG, hostile, run_folder

from aspire.cli import main
from aspire.cli.jobs import Job
from aspire.errors import AspireError
from aspire.runs.ledger import Ledger
from aspire.stored.files import own_file

SECRET = "sk-hunter2"


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.file}",)


def _target(place: Path, seed: int) -> Path:
    return _sent(place, seed, config=hostile(place / "executed"))


def _command(place: Path, seed: int) -> Path:
    model = {"_target_": "os.system", "command": f"touch {place / 'executed'}"}
    dataset = {"_target_": "pandas.read_pickle", "filepath_or_buffer": str(place / "pickle")}
    (place / "pickle").write_bytes(pickle.dumps(Touch(place / "executed")))
    return _sent(place, seed, config={"model": model, "dataset": dataset})


def _interpolation(place: Path, seed: int) -> Path:
    model = CONFIG["model"] | {"width": "${oc.env:OPENAI_API_KEY}"}
    return _sent(place, seed, config={"model": model})


def _resolver(place: Path, seed: int) -> Path:
    return _sent(place, seed, config={"${oc.env:OPENAI_API_KEY}": 1})


def _link(name: str) -> Callable[[Path, int], Path]:
    def make(place: Path, seed: int) -> Path:
        run = _sent(place, seed)
        (place / "mine.txt").write_text(json.dumps({"key": SECRET}))
        (run / name).unlink()
        (run / name).symlink_to(place / "mine.txt")
        return run

    return make


def _pickle(place: Path, seed: int) -> Path:
    return _sent(place, seed, weights=pickle.dumps(Touch(place / "executed")))


def _attempts(place: Path, seed: int) -> Path:
    """A job that is said to run, in a process that is none, and one that never ends."""
    run = _sent(place, seed)
    (run / "attempts").mkdir()
    about = {"dataset": ["$(touch x)"], "command": {}}
    attempt = {"state": "running", "pid": "1; touch executed", "began": "x", "about": about}
    (run / "attempts" / "1.json").write_text(json.dumps(attempt))
    (run / "attempts" / "2.json").symlink_to("/dev/zero")
    (run / "attempts" / "9x.json").write_text("{}")
    return run


def _sent(place: Path, seed: int, **changes: Any) -> Path:
    """Its images are said to be generated, so that a report looks at its configuration."""
    return run_folder(
        place / "sent", seed, generated_digest="0" * 64, dataset=f"d{seed}", **changes
    )


# What it is -> how it is made, what is said of it, and who has to look at it.
CONFIGURED = {"evaluate", "predict", "rerun", "diff", "discover", "report"}
FOLDERS = {
    "report": ["report"], "table": ["table"], "sweep": ["sweep", "status"],
    "wandb": ["wandb", "sync"], "dashboard": ["wandb", "dashboard"],
}  # fmt: skip
EVERYBODY = CONFIGURED | set(FOLDERS)
KINDS: dict[str, tuple[Callable[[Path, int], Path], str, set[str]]] = {
    "targets": (_target, r"names (distutils\.spawn\.spawn|pathlib\.Path\.touch)", CONFIGURED),
    "commands": (_command, r"names (os\.system|pandas\.read_pickle)", CONFIGURED),
    "interpolation": (_interpolation, r"model\.width holds an interpolation", CONFIGURED),
    "resolver": (_resolver, r"oc\.env:OPENAI_API_KEY}' is no key", CONFIGURED),
    "linked configuration": (_link("config.yaml"), r"config\.yaml leads out", CONFIGURED),
    "linked result": (_link("result.json"), r"result\.json leads out", EVERYBODY),
    "linked environment": (_link("environment.json"), r"environment\.json leads out", {"diff"}),
    "linked weights": (
        _link("model.safetensors"),
        "safetensors leads out",
        {"discover", "predict"},
    ),
    "pickled weights": (_pickle, "", set()),
    "attempts": (_attempts, "", set()),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where all this lies; in the end nothing was run, looked up or read from elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "mine"))
    monkeypatch.setenv("ASPIRE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    yield tmp_path
    assert not (tmp_path / "executed").exists()
    written = [p for p in tmp_path.rglob("*") if p.is_file() and not p.is_symlink()]
    texts = [p.read_text(errors="replace") for p in written if p != tmp_path / "mine.txt"]
    assert not [text for text in (*map(str, written), *texts) if SECRET in text]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", sorted(EVERYBODY - set(FOLDERS)))
def test_a_run_is_refused_by_what_is_wrong_with_it(
    verb, kind, place, waterbirds_folder, capsys, caplog
):
    make, refusal, readers = KINDS[kind]
    run, images = make(place, 0), ["dataset=waterbirds", f"dataset.root={waterbirds_folder}"]
    said = ""
    if verb == "discover":
        words = [*images, "classifier=run", f"classifier.path={run}"]
        try:
            Job.of("discover", words).experiment.classifier(0)
        except AspireError as error:
            said = str(error)
    else:
        words = {
            "evaluate": images, "predict": [str(waterbirds_folder)],
            "rerun": ["dry_run=true"], "diff": [str(run)],
        }[verb]  # fmt: skip
        assert main([verb, str(run), *words]) in (0, 2, 3)
    said += "".join(capsys.readouterr()) + caplog.text
    assert verb not in readers or re.search(refusal, said)
    assert SECRET not in said


@pytest.mark.parametrize("verb", FOLDERS)
def test_of_a_folder_what_is_wrong_is_named_and_the_rest_is_shown(verb, place, capsys, caplog):
    makers = [make for make, _, _ in KINDS.values()]
    runs = [make(place, seed) for seed, make in enumerate(makers)]
    (runs[-1] / "result.json").unlink()
    run_folder(place / "sent", seed=99)
    ledger = Ledger(place / "sent")
    ledger.note(["a=1"], {"dataset": "${oc.env:OPENAI_API_KEY}"}, "aspire train", runs[-1])
    (ledger.folder / "jobs" / "2.json").symlink_to(place / "mine.txt")
    dry = ["dry_run=true"] if FOLDERS[verb][0] == "wandb" else []
    assert main([*FOLDERS[verb], str(place / "sent"), *dry]) == 0
    said = "".join(capsys.readouterr()) + caplog.text
    if (page := place / "sent" / "report.html").is_file():
        said += page.read_text()
    for _, refusal, readers in KINDS.values():
        assert verb not in readers or re.search(refusal, said)
    assert SECRET not in said


def test_what_is_no_file_of_the_folder_is_not_opened(tmp_path):
    home = tmp_path / "run"
    home.mkdir()
    (home / "a").write_text("a")
    (home / "b").symlink_to("a")
    os.mkfifo(home / "pipe")
    (home / "out").symlink_to(tmp_path)
    assert own_file(home / "b").read_text() == "a"
    assert not own_file(home / "none").exists()
    with pytest.raises(AspireError, match=r"pipe is no file\."):
        own_file(home / "pipe")
    with pytest.raises(AspireError, match=rf"leads out of its folder, to {tmp_path}/x, and is not"):
        own_file(home / "out" / "x", home)
