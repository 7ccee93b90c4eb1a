"""Mini-Waterbirds: Waterbirds as a miniature that draws itself in seconds, without a network.

Classes, attributes, split sizes and group proportions are those of Waterbirds (Sagawa et al.,
2020): 95 % of the landbirds in train stand on land and 95 % of the waterbirds on water, val and
test are balanced within each class. The pictures are emoji birds over procedural scenes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aspire.data.table import Split
from aspire.miniatures.drawing.captions import describe
from aspire.miniatures.drawing.compose import compose
from aspire.miniatures.drawing.looks import LookName
from aspire.miniatures.drawing.nature import LAND, WATER
from aspire.miniatures.drawing.pen import Style
from aspire.miniatures.drawing.sprites import Thing
from aspire.miniatures.mini_base import Miniature, Picture, half_up, majority
from aspire.values import Correlation, DrawnSide, Fraction, Natural, PositiveFraction

CLASSES = ("landbird", "waterbird")
PLACES = ("land", "water")
# (class, place) in group order: 0/land, 0/water, 1/land, 1/water.
COUNTS: dict[Split, tuple[int, int, int, int]] = {
    Split.TRAIN: (3498, 184, 56, 1057),
    Split.VAL: (467, 466, 133, 133),
    Split.TEST: (2255, 2255, 642, 642),
}
BIRD_SIZE = (0.42, 0.56)
BIRDS: dict[str, tuple[tuple[str, str], ...]] = {
    "landbird": (
        ("owl", "1f989"),
        ("eagle", "1f985"),
        ("rooster", "1f413"),
        ("peacock", "1f99a"),
        ("parrot", "1f99c"),
        ("turkey", "1f983"),
        ("cardinal", "1f426"),
        ("crow", "1f426-200d-2b1b"),
    ),
    "waterbird": (
        ("duck", "1f986"),
        ("swan", "1f9a2"),
        ("flamingo", "1f9a9"),
        ("penguin", "1f427"),
        ("goose", "1fabf"),
    ),
}
# What a captioner says that does not know the species, and how often it does not.
NOUNS = {"landbird": ("bird",), "waterbird": ("bird", "waterbird")}
GENERIC = 0.35
VERBS = (("standing", "sitting"), ("floating", "sitting"))  # per place
CLASS_WORDS = {
    "landbird": ("bird", "land bird"),
    "waterbird": ("bird", "water bird"),
}  # besides the species

LAND_THINGS = (
    Thing("tree", ("1f333",), (0.34, 0.5), upright=True),
    Thing("pine tree", ("1f332",), (0.34, 0.5), upright=True),
    Thing("flower", ("1f337", "1f339", "1f33c"), (0.2, 0.3)),
    Thing("sunflower", ("1f33b",), (0.22, 0.32)),
    Thing("mushroom", ("1f344",), (0.2, 0.3)),
    Thing("tent", ("26fa",), (0.28, 0.42), upright=True),
    Thing("hut", ("1f6d6",), (0.3, 0.44), upright=True),
    Thing("log", ("1fab5",), (0.2, 0.32)),
    Thing("rabbit", ("1f407",), (0.2, 0.3)),
    Thing("squirrel", ("1f43f",), (0.2, 0.3)),
)
WATER_THINGS = (
    Thing("sailboat", ("26f5",), (0.32, 0.46), keep=0.82),
    Thing("canoe", ("1f6f6",), (0.3, 0.44), keep=0.66),
    Thing("ship", ("1f6a2",), (0.32, 0.46), keep=0.82, upright=True),
    Thing("anchor", ("2693",), (0.22, 0.32)),
    Thing("fish", ("1f41f", "1f420", "1f421"), (0.2, 0.3)),
    Thing("dolphin", ("1f42c",), (0.24, 0.36)),
    Thing("crab", ("1f980",), (0.2, 0.3)),
    Thing("life ring", ("1f6df",), (0.2, 0.28)),
    Thing("water lily", ("1fab7",), (0.2, 0.3)),
)
ANY_THINGS = (
    Thing("ball", ("26bd", "1f3c0", "1f3d0"), (0.18, 0.26)),
    Thing("umbrella", ("2602",), (0.24, 0.36)),
    Thing("sun", ("2600",), (0.18, 0.28), "sky", article="the"),
    Thing("kite", ("1fa81",), (0.2, 0.3), "sky"),
    Thing("balloon", ("1f388",), (0.18, 0.28), "sky"),
)
MAX_THINGS = 2
OWN, ANY = 0.68, 0.25  # of the things: typical of the place, of no place; the rest of the other one
TILT, JITTER, GRAIN = 8.0, 0.1, 0.03


class MiniWaterbirds(Miniature):
    """Reader of Mini-Waterbirds; renders it on the first :meth:`read`.

    Args:
        root: folder for the renderings, one subfolder per set of arguments.
        scale: share of Waterbirds' 11,788 images, above 0 and at most 1.
        correlation: share of the majority place within each class in train, above 0.5 and at most
            1 (then the minority groups are empty there); None keeps the benchmark's 95 %.
        size: side of the images in pixels, 32 to 512.
        seed: another seed gives other pictures.
        clutter: probability of each of two further objects in a picture, 0 to 1.
        style: how the pictures look: "plain"; "openmoji", in the outlined drawings that else only
            the unseen split shows (and the plain ones there); "infrared", on false-colour film.

    Raises:
        ConfigError: naming the key that cannot work.
    """

    name = "mini_waterbirds"
    version = 2
    classes = CLASSES
    attributes = PLACES
    attribute = "background"
    class_words = tuple((*(s for s, _ in BIRDS[c]), *CLASS_WORDS[c]) for c in CLASSES)

    def __init__(
        self,
        root: str | Path,
        scale: PositiveFraction = 0.25,
        correlation: Correlation | None = None,
        size: DrawnSide = 64,
        seed: Natural = 0,
        clutter: Fraction = 0.5,
        style: LookName = "plain",
    ) -> None:
        super().__init__(root, scale, correlation, size, seed, clutter, style)

    def benchmark_counts(self, split: Split) -> tuple[int, ...]:
        """Waterbirds' counts times ``scale``, at least 1."""
        a, b, c, d = (max(1, half_up(n * self.scale)) for n in COUNTS[split])
        if split is not Split.TRAIN or self.correlation is None:
            return a, b, c, d
        land, water = majority(a + b, self.correlation), majority(c + d, self.correlation)
        return land, a + b - land, c + d - water, water

    def draw(self, rng: np.random.Generator, y: int, place: int, style: Style) -> Picture:
        """The class decides on the sprite of the bird and on nothing else."""
        background = (LAND, WATER)[place][int(rng.integers(len(LAND)))]
        things = _things(rng, place, self.clutter)
        birds = BIRDS[CLASSES[y]]
        species, sprite = birds[int(rng.integers(len(birds)))]
        bird = Thing(species, (sprite,), BIRD_SIZE)
        scene = compose(rng, background, bird, things, self.size, TILT, JITTER, GRAIN, style=style)
        noun = str(rng.choice(NOUNS[CLASSES[y]])) if rng.random() < GENERIC else species
        caption = describe(rng, noun, background, scene, things, VERBS[place])
        return Picture(scene.pixels, scene.labels, caption, scene.objects)


def _things(rng: np.random.Generator, place: int, clutter: float) -> list[Thing]:
    """Further objects, most of them typical of the place; distinct."""
    own, other = (LAND_THINGS, WATER_THINGS) if place == 0 else (WATER_THINGS, LAND_THINGS)
    chosen: list[Thing] = []
    for _ in range(MAX_THINGS):
        wanted, kind = rng.random() < clutter, rng.random()
        pool = own if kind < OWN else ANY_THINGS if kind < OWN + ANY else other
        thing = pool[int(rng.integers(len(pool)))]
        if wanted and thing not in chosen:
            chosen.append(thing)
    return chosen
