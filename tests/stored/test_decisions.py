"""The file of a person's decisions: what its steps come to, and what is no such file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aspire.errors import AspireError, ConfigError, DamagedError
from aspire.stored.decisions import (
    History,
    Judge,
    Merge,
    On,
    Rename,
    Sort,
    as_json,
    decided,
    read_decisions,
    read_history,
    write_history,
)

ON = On(dataset="d", class_names=("cat", "dog"), found={"0": "f"})
A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def judge(phrase: str, verdict: str, y: int = 0, found: bool = True) -> Judge:
    return Judge(y=y, kind="remove_object", phrase=phrase, found=found, verdict=verdict)


def test_the_last_word_on_a_thing_counts() -> None:
    steps = (
        judge("ball", "reject"), judge("ball", "accept"), judge("bone", "reject"),
        judge("bone", "open"), judge("ball", "reject", y=1),
        Rename(phrase="ball", name="toy"), Rename(phrase="bone", name="x"),
        Rename(phrase="bone", name=""),
        Sort(seed=0, images=(A, B), verdict="drop"), Sort(seed=0, images=(B, C), verdict="keep"),
        Sort(seed=0, images=(C,), verdict="open"), Sort(seed=1, images=(A,), verdict="keep"),
    )  # fmt: skip
    found = decided(History(on=ON, steps=steps))
    assert found.judged == {(0, "remove_object", "ball"): True, (1, "remove_object", "ball"): False}
    assert found.names == {"ball": "toy"}
    assert found.images == {0: {A: False, B: True}, 1: {A: True}}
    # what comes to the same is the same
    short = decided(History(on=ON, steps=(steps[10], *steps[4:6], *steps[8:12], steps[1])))
    assert short.digest == found.digest
    assert decided(History(on=ON, steps=steps[:-1])).digest != found.digest


def test_phrases_are_counted_under_the_last_and_nothing_is_said_of_them() -> None:
    steps = (
        judge("ball", "reject"), Rename(phrase="ball", name="x"),
        Merge(phrase="ball", into="toy"), Merge(phrase="toy", into="thing"),
        Merge(phrase="bone", into="toy"), Merge(phrase="bone", into=None),
    )  # fmt: skip
    found = decided(History(on=ON, steps=steps))
    assert found.merged == {"ball": "thing", "toy": "thing"}
    assert (found.judged, found.names) == ({}, {})
    circle = "“ball” is counted under itself, by way of “ball”, “thing”, “toy”"
    with pytest.raises(ConfigError, match=circle):
        decided(History(on=ON, steps=(*steps, Merge(phrase="thing", into="ball"))))


def test_what_is_taken_back_is_taken_again_until_something_else_is_done() -> None:
    one, two = judge("ball", "reject"), judge("bone", "reject")
    history = History(on=ON).then(one).then(two)
    back = history.back().back()
    assert (back.steps, back.undone) == ((), (one, two))
    assert back.back() == back
    assert back.again().steps == (one,)
    assert back.again().again() == history
    assert history.again() == history
    assert back.then(two).undone == ()
    # what the results were made with stays
    given = History(on=On(dataset="d", class_names=("cat",), found={}, given=1), steps=(one, two))
    assert given.back().back().steps == (one,)


@pytest.mark.parametrize(
    ("steps", "given", "remade"),
    [
        ((judge("ball", "reject"),), 0, True),
        ((judge("ball", "accept"),), 0, False),  # as the score says
        ((judge("ball", "accept", found=False),), 0, True),
        ((judge("ball", "reject"), judge("ball", "open")), 0, False),
        ((judge("ball", "reject"),), 1, False),  # the results were made with it
        ((Rename(phrase="ball", name="toy"), Sort(seed=0, images=(A,), verdict="drop")), 0, False),
        ((Merge(phrase="ball", into="toy"),), 0, True),
    ],
)
def test_what_has_others_generated(steps: Any, given: int, remade: bool) -> None:
    on = On(dataset="d", class_names=("cat",), found={}, given=given)
    assert decided(History(on=on, steps=steps)).remade == remade


def test_a_file_is_read_as_it_was_written_and_a_line_is_a_step(tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    steps = (judge('<b>"\n', "reject"), Sort(seed=0, images=(A,), verdict="drop"))
    history = History(on=ON, steps=steps).back()
    write_history(path, history)
    assert read_history(path) == history
    assert path.read_text().splitlines()[5] == (
        '  {"do":"judge","y":0,"kind":"remove_object","phrase":"<b>\\"\\n","found":true,'
        '"verdict":"reject"}],'
    )
    assert read_decisions(None) is None
    told = read_decisions(path)
    assert told is not None
    assert told.source == str(path)


GOOD = json.loads(as_json(History(on=ON, steps=(judge("ball", "reject"),))))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged: Input data was truncated"),
        (b'{"schema": 1', "Input data was truncated"),
        (b"\xff\xfe", "is damaged"),
        (b"[" * 100_000, "is damaged"),
        ({**GOOD, "schema": 2}, "Invalid enum value 2"),
        ({**GOOD, "more": 1}, "unknown field `more`"),
        ({**GOOD, "steps": [{"do": "run", "command": "x"}]}, "Invalid value 'run'"),
        ({**GOOD, "steps": [{**GOOD["steps"][0], "y": -1}]}, "Expected `int` >= 0"),
        ({**GOOD, "steps": [{**GOOD["steps"][0], "y": 2}]}, "of class 2, and names 2 classes"),
        ({**GOOD, "undone": [{"do": "sort", "seed": 0, "images": ["../x"], "verdict": "keep"}]},
         "matching regex"),
        ({**GOOD, "on": {**GOOD["on"], "given": 2}}, "2 steps are said to be given"),
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_refused(content: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(DamagedError) as caught:
        read_decisions(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file\. Expected a decisions\.json that aspire"):
        read_decisions(tmp_path / "x.json")
    with pytest.raises(AspireError, match="is no file"):
        read_decisions(tmp_path)
    (tmp_path / "d.json").symlink_to("/etc/hostname")
    with pytest.raises(DamagedError, match="leads out of its folder"):
        read_decisions(tmp_path / "d.json")
