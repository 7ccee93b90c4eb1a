"""Selection rules on a made-up history whose best epochs are known."""

from __future__ import annotations

import pytest

from aspire.classification.metrics import GroupMetrics
from aspire.classification.selection import RULES, score, selection_rule
from aspire.errors import ConfigError


def metrics(
    acc: float, balanced: float | None, worst_group: float | None, worst_class: float
) -> GroupMetrics:
    return GroupMetrics(
        acc=acc,
        acc_balanced=balanced,
        acc_adjusted=None,
        worst_group=None if worst_group is None else "a/b",
        worst_group_acc=worst_group,
        worst_class_acc=worst_class,
        groups={},
    )


#            acc  balanced  worst group  worst class
HISTORY = [
    metrics(0.80, 0.60, 0.30, 0.50),
    metrics(0.95, 0.70, 0.40, 0.60),  # best accuracy
    metrics(0.85, 0.75, 0.50, 0.60),  # worst group as good as the next, but less balanced
    metrics(0.84, 0.78, 0.50, 0.55),  # best worst group, ties broken by balance
    metrics(0.90, 0.80, 0.45, 0.65),  # best balance
    metrics(0.92, 0.65, 0.35, 0.65),  # best worst class, ties broken by accuracy
    metrics(0.70, 0.50, 0.10, 0.20),
]


def picked(rule: str, history: list[GroupMetrics]) -> int:
    """As the training does it: a later evaluation must be strictly better."""
    best: int = -1
    top: tuple[float, ...] | None = None
    for epoch, values in enumerate(history):
        # the oracle looks at the same history on test, in the opposite order of time
        measured = {"val": values, "test": history[len(history) - 1 - epoch]}
        new = score(rule, measured, (epoch + 1) * 30)
        if top is None or new > top:
            best, top = epoch, new
    return best


@pytest.mark.parametrize(
    ("rule", "epoch"),
    [
        ("val_worst_group", 3),
        ("val_worst_class", 5),
        ("val_acc", 1),
        ("val_balanced", 4),
        ("last", 6),
        ("oracle_test", 3),  # of 7, the fourth from either end
    ],
)
def test_rule_picks_the_epoch(rule: str, epoch: int) -> None:
    assert picked(rule, HISTORY) == epoch


def test_every_rule_is_tested_here() -> None:
    val = {"val_worst_group", "val_worst_class", "val_acc", "val_balanced"}
    assert set(RULES) == val | {"last", "oracle_test"}


@pytest.mark.parametrize("rule", ["val_worst_group", "val_worst_class", "val_acc", "val_balanced"])
def test_full_ties_keep_the_first(rule: str) -> None:
    assert picked(rule, [HISTORY[0], HISTORY[3], HISTORY[3], HISTORY[3]]) == 1


@pytest.mark.parametrize("rule", ["val_worst_group", "val_balanced"])
def test_rule_that_needs_groups_names_those_that_do_not(rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        score(rule, {"val": metrics(0.8, None, None, 0.5)}, 30)
    text = str(caught.value)
    assert f"selection={rule} needs group labels on the val split and it has none" in text
    assert "val_worst_class, val_acc or last" in text


@pytest.mark.parametrize("rule", ["val_worst_class", "val_acc", "last"])
def test_other_rules_do_without_groups(rule: str) -> None:
    assert score(rule, {"val": metrics(0.8, None, None, 0.5)}, 30)[0] in (0.5, 0.8, 30.0)


def test_unknown_rule_suggests_the_nearest_and_lists_all() -> None:
    with pytest.raises(ConfigError) as caught:
        selection_rule("val_worst_grup")
    text = str(caught.value)
    assert "selection=val_worst_grup: no such rule. Did you mean val_worst_group?" in text
    assert (
        "Rules: val_worst_group, val_worst_class, val_acc, val_balanced, last, oracle_test." in text
    )
