"""The table of features in a terminal of 80 columns."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aspire.cli._show import show_features
from aspire.records import SpuriousFeature


def feature(rank: int, phrase: str, donors: int | None, q: float | None, **more: Any) -> Any:
    fields: dict[str, Any] = {
        "feature_id": "0/0", "y": 0, "rank": rank, "phrase": phrase, "support": 139, "flips": 117,
        "kind": "remove_object" if donors is None else "change_background", "flip_rate": 0.84,
        "score": 0.51, "mean_drop": 0.6, "spurious": False, "examples": (), "p_value": q,
        "interval": (0.77, 0.89), "controls": 139, "control_rate": 0.05, "control_drop": 0.1,
        "q_value": q, "donors": donors,
    }  # fmt: skip
    return SpuriousFeature(**fields | more)


def shown(capsys: Any, *features: Any) -> list[list[str]]:
    found: Any = SimpleNamespace(records=features, rejected=[])
    dataset: Any = SimpleNamespace(class_names=("dog",))
    show_features(dataset, found, 9)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert all(len(line) <= 80 for line in lines)
    return [line.split() for line in lines]


def test_the_number_of_donors_stands_beside_that_of_edits(capsys: pytest.CaptureFixture) -> None:
    head, scene, thing, wall = shown(
        capsys,
        feature(1, "grassy field", 12, 0.0004, spurious=True),
        feature(2, "boat", None, 0.2),
        feature(3, "dry stone wall", 1, None),
    )
    assert head == ["feature", "kind", "flips", "control", "donors", "score", "q", "spurious"]
    numbers = ["117/139", "7/139"]
    assert scene == ["1", "grassy", "field", "scene", *numbers, "12", "0.51", "0.0004", "yes"]
    assert thing == ["2", "boat", "object", *numbers, "-", "0.51", "0.2", "no"]
    assert wall[4:] == ["scene", *numbers, "1", "0.51", "-", "not", "judged"]


def test_where_nothing_was_donated_the_interval_of_the_rate_is_shown(
    capsys: pytest.CaptureFixture,
) -> None:
    head, thing, *_ = shown(capsys, feature(1, "boat", None, 0.2))
    assert "donors" not in head
    assert thing[3:7] == ["117/139", "84", "(77-89)", "7/139"]
