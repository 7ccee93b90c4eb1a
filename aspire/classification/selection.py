"""Which evaluation of a training run counts: rules by name, stored beside every number."""

from __future__ import annotations

from collections.abc import Callable

from aspire.classification.metrics import GroupMetrics
from aspire.errors import ConfigError, did_you_mean

Score = tuple[float, ...]  # compared from the left, so later entries break ties


def _val_worst_group(metrics: GroupMetrics, step: int) -> Score:
    if metrics.worst_group_acc is None or metrics.acc_balanced is None:
        raise ConfigError(
            "selection=val_worst_group needs group labels on the val split and it has none. Use "
            "selection=val_worst_class, val_acc or last."
        )
    return (metrics.worst_group_acc, metrics.acc_balanced)


def _val_balanced(metrics: GroupMetrics, step: int) -> Score:
    if metrics.acc_balanced is None:
        raise ConfigError(
            "selection=val_balanced needs group labels on the val split and it has none. Use "
            "selection=val_worst_class, val_acc or last."
        )
    return (metrics.acc_balanced,)


RULES: dict[str, Callable[[GroupMetrics, int], Score]] = {
    "val_worst_group": _val_worst_group,
    "val_worst_class": lambda metrics, step: (metrics.worst_class_acc, metrics.acc),
    "val_acc": lambda metrics, step: (metrics.acc,),
    "val_balanced": _val_balanced,
    "last": lambda metrics, step: (float(step),),
}


def selection_rule(name: str) -> Callable[[GroupMetrics, int], Score]:
    """The rule of that name: (metrics on val, step) -> score; higher wins, ties keep the first.

    Raises:
        ConfigError: with the names there are.
    """
    if name not in RULES:
        raise ConfigError(
            f"selection={name}: no such rule.{did_you_mean(name, RULES)} Rules: {', '.join(RULES)}."
        )
    return RULES[name]
