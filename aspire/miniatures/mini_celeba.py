"""Mini-CelebA: Blond Hair against Male as a miniature, drawn in seconds without a network.

Classes, attributes and group proportions are those of CelebA (Liu et al., 2015) as Sagawa et al.
(2020) use it: hardly any of the blond people are men. The faces are drawn and aligned, in front of
a studio's backdrop. The class object (label 1) is the head, whose hair has the colour that is the
class; what a person wears, down to suit and dress, are objects with masks of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from aspire.data.table import Split
from aspire.miniatures.drawing.captions import join_nouns
from aspire.miniatures.drawing.faces import CLOTHES, backdrop, draw_portrait
from aspire.miniatures.drawing.looks import LookName
from aspire.miniatures.drawing.pen import Style
from aspire.miniatures.drawing.sprites import with_article
from aspire.miniatures.mini_base import Miniature, Picture, half_up, majority
from aspire.values import Correlation, DrawnSide, Fraction, Natural, PositiveFraction

CLASSES = ("dark", "blond")
SEXES = ("female", "male")
# In group order: dark/female, dark/male, blond/female, blond/male.
COUNTS: dict[Split, tuple[int, int, int, int]] = {
    Split.TRAIN: (71629, 66874, 22880, 1387),
    Split.VAL: (8535, 8276, 2874, 182),
    Split.TEST: (9767, 7535, 2480, 180),
}
EVAL_FACTOR = 4  # val and test are an eighth of train in the benchmark
# A worst group of two images measures nothing: so many are kept of the rarest one.
FLOOR = {Split.TRAIN: 8, Split.VAL: 16, Split.TEST: 48}

PEOPLE = ("woman", "man")
HUES = {
    "blue": (0.6, 0.5), "green": (0.36, 0.4), "red": (0.99, 0.5), "grey": (0.6, 0.04),
    "purple": (0.76, 0.4), "brown": (0.07, 0.45), "pink": (0.93, 0.3),
}  # fmt: skip
# How often each thing is worn by a woman and by a man, at a clutter of 0.5; women wear a dress too,
# men a suit.
WORN = {
    "hat": (0.15, 0.15), "glasses": (0.2, 0.25), "earrings": (0.4, 0.0), "necklace": (0.3, 0.0),
    "tie": (0.0, 0.5),
}  # fmt: skip
PLURAL = ("glasses", "earrings")
GRAIN, UNEVEN = 0.04, 0.55


class MiniCelebA(Miniature):
    """Reader of Mini-CelebA; renders it on the first :meth:`read`.

    Args:
        root: folder for the renderings, one subfolder per set of arguments.
        scale: share of CelebA's 162,770 training images, above 0 and at most 1. Val and test are
            scaled by four times that, at most 1.
        correlation: share in train of women among the blond and of men among the others, above
            0.5 and at most 1; None keeps the benchmark's 94 % and 48 %.
        size: side of the images in pixels, 32 to 512.
        seed: another seed gives other pictures.
        clutter: how much people wear besides suit or dress; 0 nothing, 1 twice the usual.
        minority_share: share of blond men among all of train, from 0 to as many as there are blond
            people; None keeps the benchmark's 0.85 % (or what ``correlation`` makes it).
        style: how the pictures look: "plain"; "openmoji", in the outlined drawings that else only
            the unseen split shows (and the plain ones there); "infrared", on false-colour film.

    Raises:
        ConfigError: naming the key that cannot work.
    """

    name = "mini_celeba"
    version = 1
    classes = CLASSES
    attributes = SEXES
    attribute = "sex"
    class_words = (("hair", "dark hair", "black hair", "brown hair"), ("hair", "blond hair"))

    def __init__(
        self,
        root: str | Path,
        scale: PositiveFraction = 0.0092,
        correlation: Correlation | None = None,
        size: DrawnSide = 64,
        seed: Natural = 0,
        clutter: Fraction = 0.5,
        minority_share: Annotated[float, Meta(ge=0, le=0.14)] | None = None,
        style: LookName = "plain",
    ) -> None:
        super().__init__(root, scale, correlation, size, seed, clutter, style)
        self.minority_share = None if minority_share is None else float(minority_share)

    def knobs(self) -> list[float | None]:
        return [self.minority_share]

    def benchmark_counts(self, split: Split) -> tuple[int, ...]:
        """CelebA's counts times ``scale``; val and test times four more; see ``FLOOR``."""
        scale = self.scale if split is Split.TRAIN else min(1.0, EVAL_FACTOR * self.scale)
        a, b, c, d = (max(1, half_up(n * scale)) for n in COUNTS[split])
        d = max(d, FLOOR[split])
        if split is not Split.TRAIN:
            return a, b, c, d
        if self.correlation is not None:
            men, women = majority(a + b, self.correlation), majority(c + d, self.correlation)
            a, b, c, d = a + b - men, men, women, c + d - women
        if self.minority_share is not None:
            blond = c + d
            d = min(half_up(self.minority_share * (a + b + blond)), blond)
            c = blond - d
        return a, b, c, d

    def draw(self, rng: np.random.Generator, y: int, place: int, style: Style) -> Picture:
        """The class decides on the colour of the hair and on nothing else."""
        hue = list(HUES)[int(rng.integers(len(HUES)))]
        behind = backdrop(rng, self.size, *HUES[hue])
        worn = [CLOTHES[place]]
        worn += [t for t, often in WORN.items() if rng.random() < 2 * self.clutter * often[place]]
        portrait = draw_portrait(rng, behind, y == 1, place == 1, tuple(worn), style, GRAIN, UNEVEN)
        caption = _caption(rng, PEOPLE[place], portrait.hair, list(portrait.worn))
        return Picture(
            portrait.pixels,
            portrait.labels,
            f"{caption} in front of a {hue} backdrop",
            portrait.worn,
        )


def _caption(rng: np.random.Generator, person: str, hair: str, worn: list[str]) -> str:
    """For example "a man with blond hair wearing glasses and a tie"."""
    nouns = [thing if thing in PLURAL else with_article(thing) for thing in worn]
    start = f"a {person} with {hair} hair"
    if not nouns:
        return start
    if rng.random() < 0.5:
        return f"{start} wearing {join_nouns(nouns)}"
    return f"{start} and {join_nouns(nouns)}"
