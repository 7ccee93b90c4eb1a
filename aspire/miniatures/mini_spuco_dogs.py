"""Mini-SpuCoDogs: small and big dogs, indoors and outdoors, drawn in seconds without a network.

Classes, attributes and group proportions are those of SpuCoDogs (Joshi et al., 2023): 95 % of the
small dogs in train are indoors and 95 % of the big ones outdoors; val keeps that share and test is
balanced. The class shows in the breed (build, ears, tail, coat); all dogs fill about the same part
of the picture, as they do when a photographer steps closer.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta
from PIL import Image

from aspire.data.table import Split
from aspire.miniatures.drawing.captions import describe
from aspire.miniatures.drawing.compose import compose
from aspire.miniatures.drawing.dogs import BIG, SMALL, Breed, draw_dog
from aspire.miniatures.drawing.looks import LookName
from aspire.miniatures.drawing.pen import Style
from aspire.miniatures.drawing.places import OUTDOORS, ROOMS
from aspire.miniatures.drawing.sprites import Thing
from aspire.miniatures.mini_base import Miniature, Picture, half_up, majority
from aspire.values import Correlation, DrawnSide, Fraction, Natural, PositiveFraction

CLASSES = ("small_dogs", "big_dogs")
PLACES = ("indoor", "outdoor")
# In group order: small/indoor, small/outdoor, big/indoor, big/outdoor.
COUNTS: dict[Split, tuple[int, int, int, int]] = {
    Split.TRAIN: (10000, 500, 500, 10000),
    Split.VAL: (500, 25, 25, 500),
    Split.TEST: (500, 500, 500, 500),
}
EVAL_FACTOR = 6  # val and test are small in the benchmark; scaled alike a group would have 2 images

BREEDS = (SMALL, BIG)
DOG_SIZE = (0.58, 0.74)
NOUNS = (("small dog", "little dog", "dog"), ("big dog", "large dog", "dog"))
GENERIC = 0.5  # how often a captioner does not know the breed
VERBS = (("standing",), ("standing",))

INDOOR_THINGS = (
    Thing("lamp", ("1f4a1",), (0.2, 0.3), upright=True),
    Thing("television", ("1f4fa",), (0.28, 0.4), upright=True),
    Thing("teddy bear", ("1f9f8",), (0.24, 0.36), upright=True),
    Thing("chair", ("1fa91",), (0.3, 0.44), upright=True),
    Thing("potted plant", ("1fab4",), (0.26, 0.4), upright=True),
    Thing("basket", ("1f9fa",), (0.24, 0.34), upright=True),
    Thing("toilet", ("1f6bd",), (0.3, 0.4), upright=True),
    Thing("guitar", ("1f3b8",), (0.28, 0.4)),
)
OUTDOOR_THINGS = (
    Thing("tree", ("1f333",), (0.34, 0.5), upright=True),
    Thing("bicycle", ("1f6b2",), (0.32, 0.44), upright=True),
    Thing("car", ("1f697", "1f699", "1f695"), (0.34, 0.46), upright=True),
    Thing("tent", ("26fa",), (0.3, 0.42), upright=True),
    Thing("fountain", ("26f2",), (0.3, 0.42), upright=True),
    Thing("tulip", ("1f337",), (0.22, 0.3)),
    Thing("squirrel", ("1f43f",), (0.22, 0.3)),
    Thing("sun", ("2600",), (0.18, 0.26), "sky", article="the"),
)
ANY_THINGS = (
    Thing("ball", ("26bd", "1f3c0", "1f3be"), (0.16, 0.24)),
    Thing("bone", ("1f9b4",), (0.18, 0.26)),
    Thing("umbrella", ("2602",), (0.24, 0.36)),
    Thing("balloon", ("1f388",), (0.18, 0.28), "sky"),
)
MAX_THINGS = 2
OWN, ANY = 0.7, 0.25  # of the things: typical of the place, of no place; the rest of the other one
TILT, JITTER, GRAIN = 6.0, 0.1, 0.03


class MiniSpucoDogs(Miniature):
    """Reader of Mini-SpuCoDogs; renders it on the first :meth:`read`.

    Args:
        root: folder for the renderings, one subfolder per set of arguments.
        scale: share of SpuCoDogs' 21,000 training images, above 0 and at most 1. Val and test are
            scaled by six times that, at most 1.
        correlation: share of the majority place within each class in train, above 0.5 and at most
            1 (then the minority groups are empty there); None keeps the benchmark's 95 %.
        size: side of the images in pixels, 32 to 512.
        seed: another seed gives other pictures.
        clutter: probability of each of two further objects in a picture, 0 to 1.
        object_size: factor on the size of the dogs, 0.5 to 1.3.
        style: how the pictures look: "plain"; "openmoji", in the outlined drawings that else only
            the unseen split shows (and the plain ones there); "infrared", on false-colour film.

    Raises:
        ConfigError: naming the key that cannot work.
    """

    name = "mini_spuco_dogs"
    version = 1
    classes = CLASSES
    attributes = PLACES
    attribute = "background"
    class_words = tuple(("dog", *(b.name for b in breeds)) for breeds in BREEDS)

    def __init__(
        self,
        root: str | Path,
        scale: PositiveFraction = 0.07,
        correlation: Correlation | None = None,
        size: DrawnSide = 64,
        seed: Natural = 0,
        clutter: Fraction = 0.5,
        object_size: Annotated[float, Meta(ge=0.5, le=1.3)] = 1.0,
        style: LookName = "plain",
    ) -> None:
        super().__init__(root, scale, correlation, size, seed, clutter, style)
        self.object_size = float(object_size)

    def knobs(self) -> list[float | None]:
        return [self.object_size]

    def benchmark_counts(self, split: Split) -> tuple[int, ...]:
        """SpuCoDogs' counts times ``scale``, at least 1; val and test times six more."""
        scale = self.scale if split is Split.TRAIN else min(1.0, EVAL_FACTOR * self.scale)
        counts = tuple(max(1, half_up(n * scale)) for n in COUNTS[split])
        if split is not Split.TRAIN or self.correlation is None:
            return counts
        total = counts[0] + counts[1]
        many = majority(total, self.correlation)
        return many, total - many, total - many, many

    def draw(self, rng: np.random.Generator, y: int, place: int, style: Style) -> Picture:
        """The class decides on the breed and on nothing else."""
        scenes = (ROOMS, OUTDOORS)[place]
        background = scenes[int(rng.integers(len(scenes)))]
        things = _things(rng, place, self.clutter)
        breed = BREEDS[y][int(rng.integers(len(BREEDS[y])))]
        low, high = (side * self.object_size for side in DOG_SIZE)
        dog = Thing(breed.name, size=(low, high), draw=partial(_draw, breed))
        scene = compose(rng, background, dog, things, self.size, TILT, JITTER, GRAIN, style=style)
        noun = str(rng.choice(NOUNS[y])) if rng.random() < GENERIC else breed.name
        caption = describe(rng, noun, background, scene, things, VERBS[place])
        return Picture(scene.pixels, scene.labels, caption, scene.objects)


def _things(rng: np.random.Generator, place: int, clutter: float) -> list[Thing]:
    """Further objects, most of them typical of the place; distinct."""
    own, other = (INDOOR_THINGS, OUTDOOR_THINGS)[:: 1 - 2 * place]
    chosen: list[Thing] = []
    for _ in range(MAX_THINGS):
        wanted, kind = rng.random() < clutter, rng.random()
        pool = own if kind < OWN else ANY_THINGS if kind < OWN + ANY else other
        thing = pool[int(rng.integers(len(pool)))]
        if wanted and thing not in chosen:
            chosen.append(thing)
    return chosen


def _draw(breed: Breed, rng: np.random.Generator, style: Style) -> Image.Image:
    return draw_dog(rng, breed, style)
