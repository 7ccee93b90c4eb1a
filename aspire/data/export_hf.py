"""A Hugging Face dataset on disk. The package ``datasets`` is optional."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aspire.data.export_entry import Entry
from aspire.data.files import read_regular
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError
from aspire.progress import Advance

NUMBERS = ("y", "place", "split")


def check_installed() -> None:
    """Refuse before any work is done.

    Raises:
        ConfigError: when the package is missing.
    """
    if find_spec("datasets") is None:
        raise ConfigError("to=hf needs the package datasets, which is not installed: "
                          "pip install datasets")  # fmt: skip


def write_hf(
    dataset: Dataset,
    entries: Sequence[Entry],
    columns: Sequence[str],
    folder: Path,
    advance: Advance,
) -> None:
    """One split a split; images and masks as the bytes of their files."""
    datasets: Any = import_module("datasets")  # untyped, and optional
    features: dict[str, Any] = {"image": datasets.Image(), "mask": datasets.Image()}
    features |= {c: datasets.Value("string") for c in columns if c != "mask_filename"}
    features["y"] = datasets.ClassLabel(names=list(dataset.class_names))
    features["place"] = datasets.ClassLabel(names=list(dataset.attribute_names))
    features["split"] = datasets.Value("int64")

    def rows(split: int) -> Iterator[dict[str, Any]]:
        for entry in entries:
            if int(entry.values["split"]) != split:
                continue
            name = str(entry.values["img_filename"])
            row: dict[str, Any] = {
                c: int(entry.values[c]) if c in NUMBERS else str(entry.values[c])
                for c in features
                if c not in ("image", "mask")
            }
            row["image"] = {"bytes": read_regular(entry.image), "path": Path(name).name}
            row["mask"] = (
                {"bytes": entry.mask_bytes(), "path": f"{Path(name).stem}.png"}
                if entry.mask is not None
                else None
            )
            yield row
            advance(1)

    cache = folder.with_name(f"{folder.name}.cache")
    barred = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()  # ours is shown
    try:
        present = sorted({int(e.values["split"]) for e in entries})
        made = {
            Split(split).name.lower(): datasets.Dataset.from_generator(
                rows,
                features=datasets.Features(features),
                cache_dir=str(cache),
                gen_kwargs={"split": split},
                writer_batch_size=100,  # images that are in memory at a time
                fingerprint=f"aspire-{split}",
            )
            for split in present
        }
        datasets.DatasetDict(made).save_to_disk(str(folder))
    finally:
        if not barred:
            datasets.enable_progress_bars()
        shutil.rmtree(cache, ignore_errors=True)
