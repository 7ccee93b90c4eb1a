"""Photographs without captions or masks: who makes out what they show, and what more would cost."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from aspire.cli._app import class_of
from aspire.confdir import conf_dir
from aspire.console import console
from aspire.data.table import Dataset
from aspire.progress import duration
from aspire.yardstick import yardstick


@dataclass(frozen=True)
class Stand:
    """What stands in where a backend has nothing of the dataset's to pass on.

    Args:
        target: the backend that only passes on.
        column: of the table, that it passes on.
        what: that is, in words.
        choice: what is taken instead.
        larger: what a machine with a network and time would take.
        gigabytes: to download for it.
        teraflop: of it for one image; BLIP-large at 384 pixels with a caption of 15 tokens,
            Grounding DINO (Swin-T) at 800 pixels and SAM (ViT-H) at 1024, by their layers.
    """

    target: str
    column: str
    what: str
    choice: str
    larger: str
    gigabytes: float
    teraflop: float


STANDS = {
    "captioner": Stand("DatasetCaptioner", "caption", "captions", "imagenet", "blip", 1.9, 0.4),
    "segmenter": Stand(
        "AnnotationSegmenter", "mask_filename", "masks", "activation", "grounded_sam", 3.3, 6.0
    ),
}


def choose_for_photographs(
    cfg: DictConfig, dataset: Dataset, given: Container[str] = ()
) -> dict[str, Stand]:
    """Put the small eye in place of backends that have nothing to pass on.

    Args:
        cfg: of a job, changed in place: what is chosen is what is stored and hashed.
        dataset: what is looked at.
        given: groups of which an object takes the place, whatever the configuration says.

    Returns:
        What stands in, by group.
    """
    table = dataset.table
    missing = {
        group: stand
        for group, stand in STANDS.items()
        if group not in given
        and not (group == "captioner" and _looks(cfg))
        and str(cfg[group].get("_target_")).endswith(f".{stand.target}")
        and not (stand.column in table and (table[stand.column] != "").any())
    }
    with open_dict(cfg):
        for group, stand in missing.items():
            cfg[group] = OmegaConf.load(conf_dir() / group / f"{stand.choice}.yaml")
    return missing


def _looks(cfg: DictConfig) -> bool:
    """Whether the extractor looks at the images itself, so that no caption is asked for."""
    return not getattr(class_of(str(cfg.extractor._target_)), "needs_captions", True)


def say_chosen(name: str, missing: Mapping[str, Stand], cache: Path) -> None:
    """One line: what is taken, and what more would give and cost.

    Args:
        name: of the dataset.
        missing: see :func:`choose_for_photographs`.
        cache: where the yardstick of this machine is kept.
    """
    if not missing:
        return
    what = " and no ".join(s.what for s in missing.values())
    taken = " ".join(f"{group}={s.choice}" for group, s in missing.items())
    larger = " ".join(f"{group}={s.larger}" for group, s in missing.items())
    gigabytes = sum(s.gigabytes for s in missing.values())
    time = _time_of(sum(s.teraflop for s in missing.values()), cache)
    console.print(
        f"{name} has no {what}: taken is {taken}, a small network of 1,000 words that comes with "
        f"the installation. More words and finer masks: {larger}, {gigabytes:.1f} GB once from "
        f"the Hub and {time}.",
        markup=False,
        style="yellow",
    )


def _time_of(teraflop: float, cache: Path) -> str:
    """Time for an image on this machine, in words."""
    import torch

    if torch.accelerator.is_available():
        return "little time on this machine's accelerator"
    seconds = 1000 * teraflop / yardstick(cache).product
    return f"about {duration(max(1, round(seconds)))} for each image on this machine's processor"
