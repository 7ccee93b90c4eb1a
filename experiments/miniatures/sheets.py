"""Contact sheets of the four miniatures: a row per group (per class where there are fifteen).

    python experiments/miniatures/sheets.py

draws what is missing below $ASPIRE_DATA (default outputs/data) and writes one PNG each beside this
file.
"""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from aspire.data.table import Dataset, Split
from aspire.miniatures.drawing.looks import LOOKS
from aspire.miniatures.mini_celeba import MiniCelebA
from aspire.miniatures.mini_hard_imagenet import MiniHardImageNet
from aspire.miniatures.mini_spuco_dogs import MiniSpucoDogs
from aspire.miniatures.mini_waterbirds import MiniWaterbirds

READERS = (MiniWaterbirds, MiniCelebA, MiniSpucoDogs, MiniHardImageNet,
)  # fmt: skip
SIDE, GAP, COLOURS = 56, 3, 40  # pixels; few colours keep the files small


def first(dataset: Dataset, split: Split, group: int, number: int) -> list[Path]:
    rows = dataset.split(split)
    chosen = rows[dataset.grouper.ids(rows["y"].to_numpy(), rows["place"].to_numpy()) == group]
    return [dataset.path(name) for name in chosen["img_filename"][:number]]


def sheet(dataset: Dataset) -> Image.Image:
    """A row per group, or per class where there are fifteen."""
    places = len(dataset.attribute_names)
    groups = range(len(dataset.class_names) * places)
    if len(groups) > 4:  # both groups of a class in one row
        rows = [
            [*first(dataset, Split.TRAIN, g, 3), *first(dataset, Split.TEST, g + 1, 3),
             *first(dataset, Split.UNSEEN, g, 1), *first(dataset, Split.UNSEEN, g + 1, 1)]
            for g in groups[::places]
        ]  # fmt: skip
    else:
        rows = [
            [*first(dataset, Split.TEST, g, 6), *first(dataset, Split.UNSEEN, g, 3)] for g in groups
        ]
    return table(rows)


def looks(data: Path) -> Image.Image:
    """A row per look, three images of each miniature."""
    return table(
        [
            [
                path
                for reader in READERS
                for group in range(3)
                for path in first(
                    reader(data / reader.name, scale=0.001, style=look).read(), Split.TEST, group, 1
                )
            ]
            for look in LOOKS
        ],
        colours=192,
    )


def table(rows: list[list[Path]], colours: int = COLOURS) -> Image.Image:
    """Rows of small pictures, in few colours."""
    step = SIDE + GAP
    image = Image.new("RGB", (max(map(len, rows)) * step - GAP, len(rows) * step - GAP), "white")
    for i, row in enumerate(rows):
        for j, path in enumerate(row):
            with Image.open(path) as tile:
                small = tile.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            image.paste(small, (j * step, i * step))
    return image.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def main() -> None:
    data = Path(os.environ.get("ASPIRE_DATA", "outputs/data"))
    for reader in READERS:
        dataset = reader(data / reader.name).read()
        target = Path(__file__).parent / f"{reader.name}.png"
        sheet(dataset).save(target, optimize=True)
        print(f"{target.name}: {target.stat().st_size / 1000:.0f} kB")
    looks(data).save(Path(__file__).parent / "looks.png", optimize=True)


if __name__ == "__main__":
    main()
