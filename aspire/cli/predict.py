"""``aspire predict``: what a finished run says of pictures, labelled or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from aspire.cli._app import build
from aspire.console import console
from aspire.data.images import Pixels, read_image
from aspire.data.tables import image_files, subfolders
from aspire.errors import ConfigError, DataError
from aspire.identity import digest_of
from aspire.reporting.predictions import KINDS, predictions, write_predictions
from aspire.runs.trained import load_run
from aspire.stored.config import read_network

CHUNK = 256  # images in memory at once
SHOWN = 5  # pictures that are listed by name


def job(cfg: DictConfig) -> None:
    """Classify every picture and write a row for each."""
    from aspire.classification.predictor import RunPredictor
    from aspire.progress import Bars

    run = load_run(Path(cfg.run))
    names = run.result["class_names"]
    model = read_network(run.folder)
    files = pictures(cfg.images)
    to = Path(cfg.to) if cfg.to else None
    if to is not None and to.suffix not in KINDS:
        raise ConfigError(f"to={to}: expected a file that ends in {' or '.join(KINDS)}.")
    predictor = RunPredictor(
        run,
        lambda: build(model),
        lambda: build(cfg.trainer).torch_device(),
        weights=run.check(run.weights_by(cfg.selection) if cfg.selection else run.weights),
    )
    parts: list[np.ndarray] = []
    read: list[Path] = []
    bad: list[str] = []
    with Bars(console).task("predict", total=len(files)) as advance:
        for start in range(0, len(files), CHUNK):
            chunk = files[start : start + CHUNK]
            images: list[Pixels] = []
            for path in chunk:
                try:
                    images.append(read_image(path))
                    read.append(path)
                except DataError as error:
                    bad.append(str(error))
            parts.append(predictor(images))
            advance(len(chunk))
    for text in bad[:SHOWN]:
        console.show("[yellow]left out[/yellow]  {}", text)
    if len(bad) > SHOWN:
        console.show("[yellow]left out[/yellow]  {} more", len(bad) - SHOWN)
    if not read:
        raise DataError(f"images={cfg.images}: none of {len(files)} files is a picture.")
    frame = predictions(read, np.concatenate(parts), names)
    if to is None:
        key = digest_of([run.digest, cfg.selection, [str(p.absolute()) for p in read]])[:8]
        to = Path(cfg.paths.outputs) / "predict" / f"{run.folder.name}-{key}.csv"
    write_predictions(frame, to)
    for name in names:
        console.show("  {:<20} {:>6}", name, int((frame["predicted"] == name).sum()))
    left = f", {len(bad)} left out" if bad else ""
    console.show("\n[bold]predictions[/bold]  {} ({} pictures{})", to, len(read), left)


def pictures(given: str | list[str]) -> list[Path]:
    """The picture files of files and folders, folders with everything below them.

    Raises:
        DataError: for what is not there, or a folder without a picture.
    """
    found: list[Path] = []
    for place in [Path(p) for p in ([given] if isinstance(given, str) else given)]:
        if place.is_dir():
            below = [place]
            here: list[Path] = []
            while below:
                folder = below.pop(0)
                here += [folder / name for name in image_files(folder, [])]
                below += [folder / name for name in subfolders(folder)]
            if not here:
                raise DataError(f"images={place}: no picture in this folder or below it.")
            found += here
        elif place.exists():
            found.append(place)
        else:
            raise DataError(f"images={place}: no such file or folder.")
    return found
