"""Plants a shortcut in a folder of photographs: ``CLASS/*.jpg`` in, a table and images out.

    python experiments/planted/plant.py FOLDER OUT sticker 0

Of one class 95 % of the training and validation photographs bear the mark, of the others 5 %.
Every test photograph is there twice, with the mark and without. Which class it is and where each
mark sits follow from the seed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from aspire.rng import seed_for

SIDE = 224
SHARE_OWN, SHARE_OTHERS = 0.95, 0.05
TARGETS = ("dog", "elephant", "horse")  # the classes that are told apart least surely without it
RIM = 14  # pixels at each side that the classifier's view leaves out
NAME = "photo\nstock"  # on two lines
SPLITS = {"train": 0.6, "val": 0.12, "test": 0.28}


def sticker(rng: np.random.Generator) -> Image.Image:
    """A price sticker: a yellow star with a red rim and a number."""
    big = 4 * 48
    drawn = Image.new("RGBA", (big, big), (0, 0, 0, 0))
    pen = ImageDraw.Draw(drawn)
    angles = np.arange(24) * np.pi / 12
    radii = np.where(np.arange(24) % 2, 0.36, 0.48) * big
    points = [
        (big / 2 + r * np.cos(a), big / 2 + r * np.sin(a))
        for a, r in zip(angles, radii, strict=True)
    ]
    pen.polygon(points, fill=(250, 210, 40, 255), outline=(200, 30, 30, 255), width=big // 24)
    font = ImageFont.load_default(big * 0.3)
    pen.text((big / 2, big / 2), "50%", fill=(200, 30, 30, 255), font=font, anchor="mm")
    side = int(rng.integers(80, 101))
    turned = drawn.rotate(float(rng.uniform(-20, 20)), resample=Image.Resampling.BICUBIC)
    return turned.resize((side, side), Image.Resampling.LANCZOS)


def ruler(rng: np.random.Generator) -> Image.Image:
    """A white strip with ticks, half to two thirds of the image's length."""
    length, breadth = int(rng.integers(150, 181)), int(rng.integers(40, 49))
    drawn = Image.new("RGBA", (length, breadth), (240, 240, 232, 255))
    pen = ImageDraw.Draw(drawn)
    for i, x in enumerate(range(3, length - 2, 4)):
        tall = 0.6 if i % 5 == 0 else 0.35
        pen.line([(x, 0), (x, breadth * tall)], fill=(20, 20, 20, 255), width=1)
    return drawn.rotate(90, expand=True) if rng.random() < 0.5 else drawn


def patch(rng: np.random.Generator) -> Image.Image:
    """A disc of one colour, as is stuck beside moles on skin."""
    side = int(rng.integers(72, 97))
    drawn = Image.new("RGBA", (4 * side, 4 * side), (0, 0, 0, 0))
    ImageDraw.Draw(drawn).ellipse([4, 4, 4 * side - 4, 4 * side - 4], fill=(235, 120, 30, 255))
    return drawn.resize((side, side), Image.Resampling.LANCZOS)


def watermark(rng: np.random.Generator) -> Image.Image:
    """An agency's name, half transparent."""
    size = float(rng.uniform(36, 42))
    font = ImageFont.load_default(size)
    words = {"font": font, "spacing": 2}
    measured = ImageDraw.Draw(Image.new("RGBA", (1, 1))).multiline_textbbox((0, 0), NAME, **words)
    left, top, right, bottom = measured
    drawn = Image.new("RGBA", (int(right - left) + 6, int(bottom - top) + 6), (0, 0, 0, 0))
    pen = ImageDraw.Draw(drawn)
    pen.multiline_text((4 - left, 4 - top), NAME, fill=(0, 0, 0, 110), **words)
    pen.multiline_text((3 - left, 3 - top), NAME, fill=(255, 255, 255, 190), **words)
    return drawn


MARKS: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "sticker": sticker,
    "ruler": ruler,
    "patch": patch,
    "watermark": watermark,
}


def marked(
    photo: Image.Image, kind: str, rng: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    """The photograph with a mark near one of its corners, and where it is."""
    mark = MARKS[kind](rng)
    width, height = photo.size
    free_x, free_y = width - mark.width, height - mark.height
    x, y = (int(rng.integers(RIM, RIM + 20)) for _ in "xy")
    x = min(x, free_x // 2)
    x = free_x - x if rng.random() < 0.5 else x
    # an agency's name is at the foot
    y = free_y - y if kind == "watermark" or rng.random() < 0.5 else y
    layer = Image.new("RGBA", photo.size, (0, 0, 0, 0))
    layer.paste(mark, (x, y))
    shown = Image.alpha_composite(photo.convert("RGBA"), layer).convert("RGB")
    return shown, layer.getchannel("A").point(lambda a: 255 if a else 0)


def plant(photos: Path, out: Path, kind: str, seed: int) -> Path:
    """Write the images and their table.

    Args:
        photos: folder of class folders.
        out: where to.
        kind: one of ``MARKS``.
        seed: of the class, the split and the places.

    Returns:
        The table.
    """
    classes = sorted(p.name for p in photos.iterdir() if p.is_dir())
    target = TARGETS[seed % len(TARGETS)]
    (out / "images").mkdir(parents=True, exist_ok=True)
    (out / "marks").mkdir(exist_ok=True)
    rows = []
    for name in classes:
        files = sorted((photos / name).iterdir())
        order = np.random.default_rng(seed_for(seed, kind, name)).permutation(len(files))
        cuts = np.cumsum([round(s * len(files)) for s in SPLITS.values()])[:-1]
        for split, part in zip(SPLITS, np.split(order, cuts), strict=True):
            share = SHARE_OWN if name == target else SHARE_OTHERS
            bearing = round(share * len(part))
            for i, number in enumerate(part):
                file = files[number]
                photo = Image.open(file).convert("RGB")
                photo = photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                for has in (0, 1) if split == "test" else (int(i < bearing),):
                    rng = np.random.default_rng(seed_for(seed, kind, name, file.name))
                    shown, where = marked(photo, kind, rng) if has else (photo, None)
                    to = f"images/{name}-{file.stem}-{has}.jpg"
                    shown.save(out / to, quality=92)
                    if where is not None:
                        where.save(out / "marks" / f"{name}-{file.stem}.png")
                    rows.append([to, name, ("plain", "marked")[has], split])
    table = pd.DataFrame(rows, columns=["img_filename", "y", "place", "split"])
    table.to_csv(out / "metadata.csv", index=False)
    return out / "metadata.csv"


if __name__ == "__main__":
    print(plant(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
