"""Completion in the shell: what may follow, and the scripts that ask for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from aspire.cli import main
from aspire.cli._completion import SCRIPTS
from aspire.cli._help import Page
from aspire.cli._overrides import initialized
from aspire.cli._verbs import VERBS
from aspire.cli.new import kinds


def test_it_is_installed_as_help_says(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["completion", "bash"],
        ["-sc", "install=bash"],
        ["train", "-sc", "install=bash"],
    ):
        assert main(words) == 0
        assert capsys.readouterr().out.rstrip() == SCRIPTS["bash"]
    assert main(["completion", "tcsh"]) == 2
    assert "install=tcsh: expected bash, fish, zsh." in capsys.readouterr().err
    assert main(["completion"]) == 2
    assert "expected a shell: aspire completion SHELL." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("aspire ", [*VERBS, "help", "completion"]),
        ("aspire ta", ["table"]),
        ("aspire --", ["--help", "--version"]),
        ("aspire help ta", ["table"]),
        ("aspire completion ", ["bash", "fish", "zsh"]),
        ("aspire nothing x", []),
        ("aspire train fit.st", ["fit.steps="]),
        ("aspire train optimizer.mom", ["optimizer.momentum="]),
        ("aspire train sta", ["stage."]),
        ("aspire table form", ["format="]),
        ("aspire table format=l", ["format=latex"]),
        ("aspire table basel", []),  # it takes none
        ("aspire table against=", ["against=published"]),
        ("aspire evaluate trainer=a", ["trainer=auto"]),
        ("aspire train baseline=gr", ["baseline=groupdro"]),
        ("aspire train -m baseline=erm,gr", ["baseline=erm,groupdro"]),
        ("aspire train baseline=jtt baseline.up", ["baseline.upweight="]),
        ("aspire train dry_run=", ["dry_run=true", "dry_run=false"]),
        ("aspire train hydra/launcher=sl", ["hydra/launcher=slots"]),
        ("aspire train --c", ["--cfg", "--config-dir"]),
        ("aspire train --cfg j", ["job"]),
        ("aspire train --help fit.steps", ["fit.steps"]),
        ("aspire help train baseli", ["baseline"]),
        ("aspire data ver", ["verify"]),
        ("aspire new cap", ["captioner"]),
        ("aspire sweep status out", ["outputs/"]),
        ("aspire report outp", ["outputs/"]),
        ("aspire evaluate outputs/r", ["outputs/run 1/"]),
        ("aspire train dataset=folder dataset.root=outputs/", ["dataset.root=outputs/run 1/"]),
        ("aspire train baseline=nothing fit.", []),  # nothing to be composed
    ],
)
def test_what_may_follow(
    line: str,
    expected: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "outputs/run 1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMP_LINE", line)
    assert main(["-sc", "query=bash"]) == 0
    assert capsys.readouterr().out.splitlines() == expected


def test_kinds_are_those_that_can_be_made() -> None:
    with initialized():
        said = Page("new", []).meaning("kind")
    assert said.partition(";")[0].split(" | ") == kinds()


def test_bash_asks_for_what_is_typed_so_far(tmp_path: Path) -> None:
    """With a program in place of aspire, which says what it was asked."""
    (tmp_path / "aspire").write_text('#!/bin/sh\nprintf "%s\\n" "[$COMP_LINE] $*" "run 1/"\n')
    (tmp_path / "aspire").chmod(0o755)
    line = "aspire train fit.st more"
    code = f"""{SCRIPTS["bash"]}
COMP_LINE="{line}" COMP_POINT=19 _aspire
printf "%s\\n" "${{COMPREPLY[@]}}"
complete -p aspire"""
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run(
        [bash, "-c", code],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    asked, answer, installed = done.stdout.splitlines()
    assert asked == "[aspire train fit.st] -sc query=bash"
    assert answer == "run 1/"
    assert installed == "complete -o nospace -F _aspire aspire"
