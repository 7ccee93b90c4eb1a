"""A contact sheet: a few images of every group, with names and counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from aspire.data.images import read_image
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError, DataError, did_you_mean
from aspire.rng import seed_for
from aspire.text import shortened

TILE, GAP, MARGIN, LABEL, HEAD = 128, 6, 24, 220, 84
MAX_GROUPS, MAX_EXAMPLES = 64, 32  # at most 8,800 x 4,600 pixels, 120 MB while it is drawn
PAPER, PALE, INK, FAINT, ACCENT = "#ffffff", "#eef0f3", "#1c2733", "#6b7785", "#b3402a"


@dataclass(frozen=True)
class Row:
    """One group of the sheet.

    Args:
        name: class, and attribute where there is one.
        files: all its images.
    """

    name: tuple[str, str]
    files: tuple[str, ...]


def contact_sheet(dataset: Dataset, split: str = "train", examples: int = 8) -> Image.Image:
    """Groups down, examples across. The same dataset gives the same picture.

    Args:
        split: train, val, test or unseen.
        examples: images per group; the same ones again when more are asked for elsewhere.

    Raises:
        ConfigError: when the split or the number makes no sense.
    """
    chosen = parse_split(dataset, split)
    if not 1 <= examples <= MAX_EXAMPLES:
        raise ConfigError(f"examples={examples}: expected 1 to {MAX_EXAMPLES}.")
    rows = _rows(dataset, chosen)
    shown = rows[:MAX_GROUPS]
    total = sum(len(row.files) for row in rows)
    width = 2 * MARGIN + LABEL + examples * (TILE + GAP) - GAP
    sheet = Image.new("RGB", (width, MARGIN + HEAD + len(shown) * (TILE + GAP) + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    name, attribute = (shortened(t, 80) for t in (dataset.name, dataset.spurious_attribute))
    draw.text((MARGIN, MARGIN), f"{name} · {split}", fill=INK, font=_font(30))
    below = f"{total:,} images, {len(rows)} groups: class and {attribute}"
    if len(shown) < len(rows):
        below += f"; the first {len(shown)} are shown"
    draw.text((MARGIN, MARGIN + 42), below, fill=FAINT, font=_font(17))
    sizes = [len(row.files) for row in rows if row.files]
    ties = sizes.count(min(sizes)) if sizes else 0
    smallest = "" if ties == len(sizes) else "smallest group" if ties == 1 else "among the smallest"
    for index, row in enumerate(shown):
        top = MARGIN + HEAD + index * (TILE + GAP)
        note = smallest if sizes and len(row.files) == min(sizes) else ""
        _label(draw, row, top, total, note if row.files else "no image")
        for column, file in enumerate(_choose(row, examples)):
            left = MARGIN + LABEL + column * (TILE + GAP)
            sheet.paste(_tile(dataset, file), (left, top))
    return sheet


def parse_split(dataset: Dataset, name: str) -> Split:
    """The split of that name.

    Raises:
        ConfigError: when the dataset has none.
    """
    names = {s.name.lower(): s for s in dataset.splits}
    if name not in names:
        raise ConfigError(
            f"split={name}: {dataset.name} has no such split.{did_you_mean(name, names)} "
            f"Splits: {', '.join(names)}."
        )
    return names[name]


def _rows(dataset: Dataset, split: Split) -> list[Row]:
    """The groups in order, empty ones too; at the end images of unknown attribute, by class."""
    table = dataset.split(split)
    y, place = table["y"].to_numpy(), table["place"].to_numpy()
    files = table["img_filename"].to_numpy(dtype=object)
    ids = dataset.grouper.ids(y, place)
    pairs = [(c, a) for c in dataset.class_names for a in dataset.attribute_names]
    rows = [Row(pair, tuple(files[ids == g].tolist())) for g, pair in enumerate(pairs)]
    if (ids >= 0).any() and len(rows) > MAX_GROUPS:  # many classes: leave out what has no image
        rows = [row for row in rows if row.files]
    elif (ids < 0).all():
        rows = []
    for number, name in enumerate(dataset.class_names):
        unknown = files[(ids < 0) & (y == number)].tolist()
        if unknown:
            rows.append(Row((name, "unknown"), tuple(unknown)))
    return rows


def _choose(row: Row, examples: int) -> list[str]:
    rng = np.random.default_rng(seed_for(0, "preview", *row.name))
    order = rng.permutation(len(row.files))[:examples]
    return [row.files[i] for i in order]


def _tile(dataset: Dataset, file: str) -> Image.Image:
    """One image on a square; what cannot be read is said in it."""
    tile = Image.new("RGB", (TILE, TILE), PALE)
    try:
        image = Image.fromarray(read_image(dataset.path(file)))
    except DataError:
        draw = ImageDraw.Draw(tile)
        draw.text((TILE / 2, TILE / 2), "cannot be read", fill=ACCENT, font=_font(15), anchor="mm")
        return tile
    # small pictures are enlarged by whole pixels, so that one sees what a classifier gets
    smooth = max(image.size) > TILE // 2
    how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    image = ImageOps.contain(image, (TILE, TILE), how)
    tile.paste(image, ((TILE - image.width) // 2, (TILE - image.height) // 2))
    return tile


def _label(draw: ImageDraw.ImageDraw, row: Row, top: int, total: int, note: str) -> None:
    name, attribute = row.name
    number = len(row.files)
    share = f"{100 * number / total:.1f} %" if total else ""
    draw.line([(MARGIN, top - GAP / 2), (MARGIN + LABEL - 14, top - GAP / 2)], fill=PALE, width=1)
    for text, at, size, ink in (
        (name, 16, 20, INK),
        (attribute, 42, 17, FAINT),
        (f"{number:,}   {share}", 74, 19, ACCENT if note else INK),
        (note, 98, 14, ACCENT),
    ):
        font, text = _font(size), shortened(text, 80)
        while text and draw.textlength(text, font=font) > LABEL - 14:
            text = f"{text.rstrip('…')[:-1]}…"
        draw.text((MARGIN, top + at), text, fill=ink, font=font)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
