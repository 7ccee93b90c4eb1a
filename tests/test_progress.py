"""What is said on the way where there is no terminal."""

import io

import pytest

from aspire.console import Console
from aspire.progress import Bars


class Clock:
    """Stands still until it is told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def lines_of(bars_total: int, done: int, steps: list[tuple[float, int]]) -> list[str]:
    """What is printed when ``steps`` of (seconds, items) pass."""
    file, clock = io.StringIO(), Clock()
    bars = Bars(Console(file=file, width=120), clock=clock)
    with bars.task("generate", bars_total, done) as advance:
        for seconds, number in steps:
            clock.now += seconds
            advance(number)
    return [line.strip() for line in file.getvalue().splitlines()]


def test_a_line_every_30_seconds_with_rate_and_time_left() -> None:
    # 2 a second: after 30 s 60 of 300, and 240 more take 120 s
    told = lines_of(300, 0, [(10.0, 20)] * 7)
    assert told == [
        "generate: 60/300, 2.0/s, 2 min left",
        "generate: 120/300, 2.0/s, 1 min 30 s left",
    ]


def test_short_work_says_nothing() -> None:
    assert lines_of(10, 0, [(1.0, 1)] * 10) == []


def test_what_was_done_before_is_no_part_of_the_rate() -> None:
    # 200 were there; 10 in 40 s are one in 4 s, and 90 more take 6 minutes
    assert lines_of(300, 200, [(40.0, 10)]) == ["generate: 210/300, 4 s each, 6 min left"]


def test_items_made_together_are_rated_by_whole_batches() -> None:
    # 64 in 256 s, twice: 4 s each; the first of a batch says nothing of its others
    batch = [(256.0, 1), *[(0.0, 1)] * 63]
    assert lines_of(192, 0, batch * 2) == [
        "generate: 1/192",
        "generate: 65/192, 4 s each, 8 min 28 s left",
    ]


def test_items_made_one_by_one_are_rated_from_the_second_on() -> None:
    assert lines_of(4, 0, [(40.0, 1)] * 3) == [
        "generate: 1/4",
        "generate: 2/4, 40 s each, 1 min 20 s left",
        "generate: 3/4, 40 s each, 40 s left",
    ]


@pytest.mark.parametrize("there", [True, False])
def test_a_bar_in_a_notebook_where_it_can_show_one(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    class Bar:
        def __init__(self, *columns: object, **options: object) -> None:
            shown.append("bar")

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *error: object) -> None: ...

        def add_task(self, name: str, total: int, completed: int) -> int:
            shown.append(f"{name} {completed}/{total}")
            return 0

        def advance(self, task: int, number: int) -> None:
            shown.append(f"+{number}")

    monkeypatch.setattr("aspire.progress.RichBars", Bar)
    monkeypatch.setattr("aspire.progress.find_spec", lambda name: there or None)
    bars = Bars(Console(file=io.StringIO(), force_jupyter=True))
    with bars.task("edit", 5, 1) as advance:
        advance(2)
    assert shown == (["bar", "edit 1/5", "+2"] if there else [])


@pytest.mark.parametrize("number", [0, 4])
def test_nothing_done_and_all_done_divide_by_nothing(number: int) -> None:
    expected = {0: "generate: 0/4", 4: "generate: 4/4, 8 s each, 0 s left"}
    assert lines_of(4, 0, [(32.0, number)]) == [expected[number]]
