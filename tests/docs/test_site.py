"""The site builds without a warning; every command in it is accepted, and run where it can be."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from aspire.cli import main
from aspire.cli._overrides import check_overrides

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Verbs whose words are files of a finished run: what they do with them is tested in tests/cli.
OF_A_RUN = {"rerun", "diff", "evaluate", "predict", "report", "review", "doctor"}


def commands() -> list[str]:
    """Every line of the pages that begins with ``aspire``, without its remark."""
    found = {}
    for page in PAGES:
        text = page.read_text("utf-8").replace(" \\\n", " ")
        for line in re.findall(r"^\s*(aspire [a-z].*)$", text, re.MULTILINE):
            command = line.split("  #")[0].strip()
            if "..." not in command and command.split()[1] not in OF_A_RUN:
                found[command] = page.name
    return sorted(found)


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_documentation_is_accepted(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    verb, *words = shlex.split(command)[1:]
    if "-m" in words:  # no configuration of one job shows a sweep
        check_overrides(verb, words)
        return
    shown = [] if {"--cfg", "--help"} & {*words} else ["--cfg", "job"]
    assert main([verb, *words, *shown]) == 0, capsys.readouterr().err


def test_the_site_builds_without_a_warning(tmp_path):
    """Dead links between pages, missing pictures and headings are warnings of Sphinx."""
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-q", str(ROOT / "docs"), str(tmp_path / "site")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site/made/choices/baseline.html").read_text("utf-8")
    assert all(path.stem in page for path in (ROOT / "conf/baseline").glob("*.yaml"))


# --- commands that need nothing but this installation are run, cut short -----------------------

ELSEWHERE = re.compile(
    # what the reader has: files, folders, a finished sweep or run
    r"FILE|DIR|RUN|outputs/|again|wandb|"
    # what is downloaded, or a cluster
    r"me/|hub|blip|timm|lora|textual|resnet|=waterbirds|=celeba|ray|submitit|fetch|"
    # hours, or run by tests of their own: a whole table, all methods, the quickstart, slots
    r"experiment=|glob|aspire quickstart|slots|tiny_sd|tune -m|mini_celeba"
)
SHORT = {
    "fit.steps": "2", "fit.evaluations": "1", "logger": "none", "dataset.scale": "0.02",
    "stage.edit.images_per_class": "2",
}  # fmt: skip
CUT = {
    "train": SHORT,
    "run": SHORT | {"seeds": "[0]"},
    "discover": SHORT,
    "tune": SHORT | {"n_trials": "2"},
    "data": {"dataset.scale": "0.02"},
}


def runnable() -> list[str]:
    return [c for c in commands() if not ELSEWHERE.search(c)]


def shortened(command: str) -> list[str]:
    """The words of a command with what makes it short, in place of what it says of that."""
    verb, *words = shlex.split(command)[1:]
    if verb == "data" and words[0] in ("list", "export"):
        return [verb, *words, *(["dataset.scale=0.02"] if words[0] == "export" else [])]
    cut = {} if {"--help", "--cfg"} & {*words} else CUT.get(verb, {})
    flags = [w for w in words if cut and w.startswith("-")]  # Hydra wants the keys side by side
    kept = [w for w in words if w not in flags and w.partition("=")[0] not in cut]
    return [verb, *flags, *(f"{key}={value}" for key, value in cut.items()), *kept]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all: what one has trained, the next finds. But for searches, which are of one space."""
    return tmp_path_factory.mktemp("outputs")


def test_most_of_what_can_be_run_here_is() -> None:
    assert {shlex.split(c)[1] for c in runnable()} >= {"train", "run", "discover", "tune", "list"}
    assert len(runnable()) > 25


@pytest.mark.parametrize("command", runnable())
def test_it_runs(
    command: str,
    outputs: Path,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))
    apart = command.startswith("aspire tune")
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path if apart else outputs))
    ended, told = main(shortened(command)), capsys.readouterr()
    # a classifier of two steps leans on nothing, so that there is nothing to generate
    assert ended == 0 or "no_spurious_feature" in told.err + told.out, told
