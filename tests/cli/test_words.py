"""Words as they are typed: positionals, values that Hydra's grammar cannot read, completion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from aspire.cli import main
from aspire.cli._overrides import check_overrides
from aspire.cli._words import quoted, with_positionals

HOSTILE = [
    "it's", "x=1", "a b, (v2) #3", "c8 it's (v2), final=1 #x", "[1]", "{a}", "a\\", "a\\'b",
    '"q"', "${seed}", "null", "1e3", "-x", "@", "\\\\", "日本", "a:b", "~", "true", "$HOME", "'",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
def test_a_quoted_value_is_read_back(value: str) -> None:
    read = OverridesParser.create().parse_override(f"dir={quoted(value)}").value()
    assert str(read).replace("\\${", "${") == value


@pytest.mark.parametrize("name", [n for n in HOSTILE if n != "-x"])
def test_a_folder_typed_first_is_never_an_override(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert main(["evaluate", name]) == 2
    assert f"run={name}: no result.json in it." in capsys.readouterr().err


def test_the_second_word_may_be_a_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it's, 2").mkdir()
    assert main(["sweep", "status", "it's, 2"]) == 2
    assert "it's, 2: no job in it." in capsys.readouterr().err
    # What is not there stays what it looks like.
    assert with_positionals(["status", "x=1/run"], ("action", "dir")) == [
        "action=status",
        "x=1/run",
    ]


@pytest.mark.parametrize(
    "root", ["c8 it's (v2), final=1 #x/...", "a,b", "2024", "007", "1e3", "(x)", "true", 'say "hi"']
)
def test_a_path_needs_no_quotes(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["dataset=folder", f"dataset.root={root}", "paths.outputs=o"]
    assert main(["data", "show", *words]) != 0
    err = capsys.readouterr().err
    assert f"dataset.root={root}" in err
    assert "Lexer" not in err


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("fit.steps=a'b", "fit.steps=a'b: expected a whole number of at least 1; other characters"),
        (
            "+own.key=it's (1)",
            "+own.key=it's (1) cannot be read as it stands. In quotes its value is a text: "
            "\"+own.key='it\\'s (1)'\"",
        ),
        (
            "+own.key=a$ (b",
            "In quotes its value is a text: '+own.key='\"'\"'a$ (b'\"'\"''",
        ),
        ("=x y)", "=x y) cannot be read as it stands."),
    ],
)
def test_what_cannot_be_read_is_answered_with_what_to_type(
    word: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", word]) == 2
    assert said in capsys.readouterr().err


def test_a_group_that_a_verb_does_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "run", "logger=none"]) == 2
    said = "logger: aspire evaluate does not take it. It takes paths, trainer, dataset."
    assert said in capsys.readouterr().err
    assert main(["report", "run", "model=small_cnn"]) == 2
    assert "model: aspire report does not take it." in capsys.readouterr().err
    assert main(["evaluate", "run", "loger=none"]) == 2
    assert "loger: no such key." in capsys.readouterr().err


def test_lists_and_mappings_are_read_back() -> None:
    value = {"a": [1, None, True], "b": "x y"}
    read = OverridesParser.create().parse_override(f"k={quoted(value)}").value()
    assert json.loads(json.dumps(read)) == value


def test_an_option_may_stand_among_keys() -> None:
    """Hydra's parser takes keys on one side of an option only."""
    words = ["seed=0,1", "-m", "--config-dir", "conf", "baseline=erm", "fit.steps=3"]
    assert check_overrides("train", words) == [
        "-m", "--config-dir", "conf", "seed=0,1", "baseline=erm", "fit.steps=3"
    ]  # fmt: skip
