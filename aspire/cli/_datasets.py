"""From a node of conf/dataset/ to a checked dataset."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from aspire.cli._app import build, plain
from aspire.confdir import conf_dir
from aspire.data.checks import CheckReport, check_dataset
from aspire.data.table import Dataset, Split, name_of
from aspire.errors import ConfigError

# Keys of conf/dataset/*.yaml that describe the dataset and are not for its reader.
CHECKS = ("on_bad", "duplicates", "thorough")
ABOUT = ("sources", "published", "licence", "homepage", *CHECKS)


def called(choice: str, node: Mapping[str, Any]) -> str:
    """How tables call a dataset before it is read: the choice, or the name of one's own data."""
    where = node.get("metadata") or node.get("root")
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


def check_annotations(
    cfg: DictConfig, dataset: Dataset, splits: Sequence[Split], given: Container[str] = ()
) -> None:
    """Refuse backends that pass on what came with a dataset, where nothing came with it.

    Args:
        cfg: names them.
        dataset, splits: whose images are looked at.
        given: groups of which an object takes the place, whatever the configuration says.

    Raises:
        ConfigError: with the choices there are.
    """
    rows = dataset.table[dataset.table["split"].isin([int(s) for s in splits])]
    for key, column, target, what, file in (
        (
            "captioner",
            "caption",
            "DatasetCaptioner",
            "captions",
            "captions.csv (img_filename,caption)",
        ),
        ("segmenter", "mask_filename", "AnnotationSegmenter", "masks", "segmentations/<image>.png"),
    ):
        if key in given or not str(cfg[key].get("_target_")).endswith(f".{target}"):
            continue
        if column in rows and (rows[column] != "").any():
            continue
        choices = [
            f"  {f'{key}={p.stem}':<31}{p.read_text('utf-8').splitlines()[0]}"
            for p in sorted((conf_dir() / key).glob("*.yaml"))
            if OmegaConf.select(OmegaConf.load(p), "_target_") != cfg[key]._target_
        ]
        raise ConfigError(
            f"{dataset.name} has no {what}, and this {key} only passes on those of the dataset. "
            f"Put {file} into {dataset.root}, or take another {key}:\n" + "\n".join(choices)
        )
