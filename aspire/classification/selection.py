"""Which evaluation of a training run counts: rules by name, stored beside every number."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aspire.classification.metrics import GroupMetrics
from aspire.errors import ConfigError, did_you_mean

Score = tuple[float, ...]  # compared from the left, so later entries break ties
Measured = Mapping[str, GroupMetrics]  # split -> its metrics at one evaluation
Rule = Callable[[Measured, int], Score | None]  # None where it cannot be applied


def _worst_group(metrics: GroupMetrics | None) -> Score | None:
    if metrics is None or metrics.worst_group_acc is None or metrics.acc_balanced is None:
        return None
    return (metrics.worst_group_acc, metrics.acc_balanced)


def _balanced(metrics: GroupMetrics) -> Score | None:
    return None if metrics.acc_balanced is None else (metrics.acc_balanced,)


RULES: dict[str, Rule] = {
    "val_worst_group": lambda measured, step: _worst_group(measured["val"]),
    "val_worst_class": lambda measured, step: (
        measured["val"].worst_class_acc,
        measured["val"].acc,
    ),
    "val_acc": lambda measured, step: (measured["val"].acc,),
    "val_balanced": lambda measured, step: _balanced(measured["val"]),
    "last": lambda measured, step: (float(step),),
    "oracle_test": lambda measured, step: _worst_group(measured.get("test")),
}
ORACLES = ("oracle_test",)  # look at the test split: an upper bound, never a result


def selection_rule(name: str) -> Rule:
    """The rule of that name: higher scores win, ties keep the first.

    Raises:
        ConfigError: with the names there are.
    """
    if name not in RULES:
        raise ConfigError(
            f"selection={name}: no such rule.{did_you_mean(name, RULES)} Rules: {', '.join(RULES)}."
        )
    return RULES[name]


def score(name: str, measured: Measured, step: int) -> Score:
    """How good one evaluation is under a rule.

    Raises:
        ConfigError: where the split has not the groups that the rule looks at.
    """
    found = selection_rule(name)(measured, step)
    if found is None:
        split = "test" if name in ORACLES else "val"
        raise ConfigError(
            f"selection={name} needs group labels on the {split} split and it has none. Use "
            "selection=val_worst_class, val_acc or last."
        )
    return found
