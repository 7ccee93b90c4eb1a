"""From a node of conf/dataset/ to a checked dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from aspire.cli._app import build, plain
from aspire.data.checks import CheckReport, check_dataset
from aspire.data.table import Dataset, name_of

# Keys of conf/dataset/*.yaml that describe the dataset and are not for its reader.
CHECKS = ("on_bad", "duplicates", "thorough")
ABOUT = ("sources", "published", "licence", "homepage", *CHECKS)


def called(choice: str, node: Mapping[str, Any]) -> str:
    """How tables call a dataset before it is read: the choice, or the name of one's own data."""
    where = node.get("metadata") or node.get("root") or node.get("repo")
    return name_of(node.get("name"), where) if "name" in node and where else choice


def read_dataset(node: DictConfig | dict[str, Any]) -> Dataset:
    """The dataset that a node of conf/dataset/ describes."""
    reader = build({k: v for k, v in plain(node).items() if k not in ABOUT})
    dataset: Dataset = reader.read()
    return dataset


def checked_dataset(
    node: DictConfig | dict[str, Any], cache: Path | None = None
) -> tuple[Dataset, CheckReport]:
    """The same, its files and rows checked as the node says.

    Args:
        node: of conf/dataset/.
        cache: see :func:`check_dataset`.
    """
    settings = {k: node[k] for k in CHECKS if k in node}
    return check_dataset(read_dataset(node), **settings, cache=cache)
