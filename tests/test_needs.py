"""The pages that name tests name tests there are; what no other file holds of the needs."""

from __future__ import annotations

import ast
import os
import re
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from aspire.confdir import conf_dir

TESTS = Path(__file__).parent


def named(page: str) -> Iterator[tuple[str, str]]:
    """(file, test) of each that a page names; ``::test`` is of the file before it."""
    path = ""
    for file, test in re.findall(
        r"`((?:[\w/]+\.py)?)(?:::)?(test_\w+)?`", (TESTS / page).read_text("utf-8")
    ):
        path = file or path
        if file or test:
            yield path, test


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_bytes())
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize(("page", "least"), [("README.md", 60), ("needs.md", 100)])
def test_every_test_that_is_named_exists(page: str, least: int) -> None:
    found = [(f, t) for f, t in named(page) if "test_" in Path(f).name]
    assert len(found) >= least
    missing = [
        f"{f}::{t}" for f, t in found if not (TESTS / f).is_file() or (t and t not in names_in(f))
    ]
    assert missing == []


def test_no_need_is_left_out() -> None:
    text = (TESTS / "needs.md").read_text("utf-8")
    assert re.findall(r"^\| (\d+) \|", text, re.MULTILINE) == [str(n) for n in range(1, 46)]
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    assert all(row[-2].strip() for row in rows)


def test_nothing_of_what_is_expected_is_left_out() -> None:
    """The survey lists 11, 8, 10, 8 and 9 things under five headings."""
    _, *parts = (TESTS / "needs.md").read_text("utf-8").split("\n### ")
    rows = [re.findall(r"^\| (?!expected)(.+?) \| (.+) \|$", part, re.MULTILINE) for part in parts]
    assert [len(found) for found in rows] == [11, 8, 10, 8, 9]
    assert all(answer.strip() for found in rows for _, answer in found)


def test_no_test_reaches_another_machine() -> None:
    assert "WANDB_API_KEY" not in os.environ
    with socket.socket() as client, pytest.raises(OSError, match=r"no test connects to 8\.8\.8\.8"):
        client.connect(("8.8.8.8", 53))


def test_every_dataset_that_is_downloaded_names_its_licence() -> None:
    for path in (conf_dir() / "dataset").glob("*.yaml"):
        content = yaml.safe_load(path.read_text("utf-8"))
        if content.get("sources"):
            assert len(content["licence"]) > 20, path
            assert content["homepage"].startswith("https://"), path
