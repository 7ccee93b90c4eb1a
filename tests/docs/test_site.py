"""The documentation builds without a warning or a dead link; every command in it is accepted."""

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
