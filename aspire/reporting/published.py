"""Published numbers to show beside ours, each with its source; see ``published.yaml``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

# Which of ours a published number is compared with.
METRICS = {"worst_group_acc": "worst", "acc_adjusted": "average"}


@dataclass(frozen=True)
class Published:
    """One accuracy, a fraction in [0, 1].

    Args:
        std: standard deviation as published, or None.
        source: short name of the source; ``about`` is the long one.
        read: "verified", "second-hand" or "recalled".
    """

    baseline: str
    augmentation: str
    dataset: str
    mean: float
    std: float | None
    source: str
    about: str
    read: str

    def text(self) -> str:
        """In percent, as in the source."""
        spread = "" if self.std is None else f" ± {100 * self.std:.1f}"
        return f"{100 * self.mean:.1f}{spread}"


def published(metric: str, datasets: Collection[str]) -> list[Published]:
    """What was published of these datasets; empty for a metric that nobody publishes."""
    content: dict[str, Any] = yaml.safe_load(
        resources.files("aspire.reporting").joinpath("published.yaml").read_bytes()
    )
    kind = METRICS.get(metric, "")
    found = []
    for number in content["numbers"]:
        if kind not in number or number["dataset"] not in datasets:
            continue
        mean, std = number[kind]
        found.append(
            Published(
                baseline=number["baseline"],
                augmentation=number.get("augmentation", "none"),
                dataset=number["dataset"],
                mean=mean / 100,
                std=None if std is None else std / 100,
                source=number["source"],
                about=content["sources"][number["source"]],
                read=number["read"],
            )
        )
    return found
