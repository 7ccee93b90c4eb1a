"""What a search tries, and its journal: killed, cut short, damaged, of somebody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aspire.errors import ConfigError, DamagedError
from aspire.tuning.space import Choices, Range, dimensions
from aspire.tuning.study import Study, Trial

NOW = {"optimizer.lr": 0.05, "baseline.refits": 20, "baseline.source": "val", "baseline.g": [1, 2]}
SPACE = {
    "optimizer": {"lr": {"around": 10}},
    "baseline": {
        "refits": {"low": 5, "high": 80},
        "source": {"choices": ["train"]},
        "g": {"choices": [[1, 2], [3]]},
    },
}


def test_a_space_holds_the_values_of_today() -> None:
    assert dimensions(SPACE, NOW) == {
        "optimizer.lr": Range(0.005, 0.5, log=True),
        "baseline.refits": Range(5, 80, whole=True),
        "baseline.source": Choices(('"train"', '"val"')),
        "baseline.g": Choices(("[1, 2]", "[3]")),
    }
    wider = dimensions({"a": {"low": 1, "high": 2}, "b": None}, {"a": 7.5, "b": 1})
    assert wider == {"a": Range(1, 7.5)}


@pytest.mark.parametrize(
    ("leaf", "why"),
    [
        ({"low": 2, "high": 1}, 'space.a={"low": 2, "high": 1}: low must be below high. Expected'),
        ({"low": 0, "high": 1, "log": True}, "by the logarithm low must be above 0"),
        ({"around": 1}, "around takes more than 1"),
        ({"low": 0.1, "hihg": 1}, "hihg"),
        ({"low": "x", "high": 1}, "Expected `float | null`, got `str`"),
        (0.1, "Expected `object`, got `float`"),
    ],
)
def test_a_space_that_cannot_be_searched(leaf: Any, why: str) -> None:
    with pytest.raises(ConfigError) as error:
        dimensions({"a": leaf}, {"a": 1.0})
    assert why in str(error.value)


def test_a_space_of_what_is_not_there_or_no_number() -> None:
    with pytest.raises(ConfigError, match=r"space\.b\.c=.*: the configuration has no such key"):
        dimensions({"b": {"c": {"around": 10}}}, NOW)
    with pytest.raises(ConfigError, match=r'its value of today, "val", is no number'):
        dimensions({"baseline": {"source": {"low": 0, "high": 1}}}, NOW)


def study(folder: Path, digest: str = "d", sampler: Any = "tpe", seed: int = 0) -> Study:
    return Study(folder / "journal.log", digest, dimensions(SPACE, NOW), NOW, sampler, seed)


def score(values: Any) -> float:
    return 1 - abs(values["optimizer.lr"] - 0.1)


def search(folder: Path, trials: int, *, anew: bool = False, **how: Any) -> list[Any]:
    """Values of that many trials, the study opened anew for each where that is asked for."""
    found = study(folder, **how)
    for _ in range(trials):
        found = study(folder, **how) if anew else found
        values = found.suggest()
        assert values == (study(folder, **how) if anew else found).suggest()
        found.add(Trial(values, (score(values), 0.5)), runs=["a"])
    return [dict(t.values) for t in study(folder, **how).trials()]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_that_is_stopped_after_every_trial_is_the_one_that_is_not(
    tmp_path: Path, sampler: Any
) -> None:
    calm = search(tmp_path / "calm", 8, sampler=sampler)
    assert search(tmp_path / "rough", 8, anew=True, sampler=sampler) == calm
    assert calm[0] == NOW
    assert len({json.dumps(v) for v in calm}) == 8
    space = dimensions(SPACE, NOW)
    assert all(space[k].within(v) for values in calm for k, v in values.items())
    assert search(tmp_path / "other", 3, sampler=sampler, seed=1)[1:] != calm[1:3]


def test_tpe_looks_at_the_scores_and_random_does_not(tmp_path: Path) -> None:
    def drawn(sampler: Any, better: float) -> list[Any]:
        found = study(tmp_path / f"{sampler}{better}", sampler=sampler)
        for number in range(8):
            found.add(Trial(found.suggest(), (better * number,)))
        return [t.values for t in found.trials()]

    assert drawn("random", 1) == drawn("random", -1)
    rising, falling = drawn("tpe", 1), drawn("tpe", -1)
    assert rising[:5] == falling[:5]
    assert rising[6:] != falling[6:]


def test_a_line_that_was_cut_short_is_one_trial_less(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = search(tmp_path, 4)
    journal = tmp_path / "journal.log"
    (tmp_path / "journal.log.lock").symlink_to(journal)  # of the killed process
    journal.write_bytes(journal.read_bytes()[:-20])
    again = study(tmp_path)
    assert [t.values for t in again.trials()] == values[:3]
    assert "its last line was cut short and is left out" in caplog.text
    assert again.suggest() == values[3]


def test_failed_trials_count_and_never_win(tmp_path: Path) -> None:
    first = study(tmp_path)
    first.add(Trial(first.suggest(), (0.5, 0.5)))
    first.add(Trial(first.suggest(), None, "The loss became nan."))
    found = study(tmp_path).trials()
    assert [(t.score, t.reason) for t in found] == [
        ((0.5, 0.5), ""),
        (None, "The loss became nan."),
    ]


def test_a_journal_of_another_study_is_refused(tmp_path: Path) -> None:
    search(tmp_path, 1)
    with pytest.raises(ConfigError, match=r"holds trials of another study.*Remove it and type"):
        study(tmp_path, digest="other").trials()
    import optuna

    journal = tmp_path / "theirs" / "journal.log"
    journal.parent.mkdir()
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    storage = optuna.storages.JournalStorage(backend)
    optuna.create_study(storage=storage, study_name="theirs")
    with pytest.raises(ConfigError, match=r"holds the study 'theirs'"):
        study(journal.parent).trials()


@pytest.mark.parametrize("line", ["no JSON\n", '{"op_code": 99}\n', "[]\n"])
def test_what_is_no_journal_is_damaged(tmp_path: Path, line: str) -> None:
    (tmp_path / "journal.log").write_text(line)
    with pytest.raises(DamagedError, match=r"is no journal of a study .* Remove it and type"):
        study(tmp_path).trials()


def test_values_out_of_the_space_are_not_believed(tmp_path: Path) -> None:
    search(tmp_path, 2)
    journal = tmp_path / "journal.log"
    text = journal.read_text()
    assert '"optimizer.lr":0.05' in text
    journal.write_text(text.replace('"optimizer.lr":0.05', '"optimizer.lr":50'))
    with pytest.raises((ConfigError, DamagedError), match=r"another study|no journal"):
        study(tmp_path).trials()
