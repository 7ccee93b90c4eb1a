"""Mini-Hard-ImageNet: fifteen classes, each with the cue it is usually seen with, drawn offline.

The classes are those of Hard ImageNet (Moayeri et al., 2022), which were chosen because networks
know them by what surrounds them: skis by snow, sunglasses by a face. Groups follow definition B: a
class, and whether its typical cue is in the picture. 95 % of the training images show it, half of
val and test. The class object is small, the cue is large.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from aspire.data.table import Split
from aspire.miniatures.drawing import equipment, places
from aspire.miniatures.drawing.background import Background
from aspire.miniatures.drawing.captions import describe
from aspire.miniatures.drawing.compose import Carrier, compose
from aspire.miniatures.drawing.looks import LookName
from aspire.miniatures.drawing.nature import LAND, WATER
from aspire.miniatures.drawing.pen import Style
from aspire.miniatures.drawing.sprites import Thing
from aspire.miniatures.mini_base import Miniature, Picture, half_up, majority
from aspire.values import Correlation, DrawnSide, Fraction, Natural, PositiveFraction

CUES = ("cue", "no_cue")
# Images per class; train's are an average, for the classes of ImageNet are of about one size.
COUNTS: dict[Split, int] = {Split.TRAIN: 1273, Split.VAL: 50, Split.TEST: 50}
TRAIN_SHARE = 0.95  # of the training images of a class show the cue
EVAL_FACTOR = 8  # val and test are small in the benchmark; scaled alike a group would be empty


@dataclass(frozen=True)
class Kind:
    """A class of Hard ImageNet.

    Args:
        name: of the class.
        noun: what a caption calls it, without article.
        thing: how it is drawn.
        scenes: where it is with its cue; empty for any neutral scene.
        carriers: the cue as a thing that carries it, one is drawn at random.
        company: things that are often there together with the cue.
    """

    name: str
    noun: str
    thing: Thing
    scenes: tuple[Background, ...] = ()
    carriers: tuple[Carrier, ...] = ()
    company: tuple[Thing, ...] = ()


def _face(phrase: str, code: str) -> Carrier:
    thing = Thing(phrase, (code,), (0.7, 0.85), "middle", upright=True)
    return Carrier(thing, (0.5, 0.58), 0.62, openmoji=((0.5, 0.36), 0.46))


GYMNAST = Thing("gymnast", ("1f938",), (0.3, 0.42), upright=True)
HUSKY = Thing("husky", size=(0.34, 0.46), draw=equipment.husky)
SLED_DOG = replace(HUSKY, phrase="dog")
WOMAN = Thing("woman", size=(0.86, 0.95), where="middle", upright=True, draw=equipment.woman)
KEYBOARD = Thing("keyboard", size=(0.85, 0.98), where="middle", draw=equipment.keyboard)

KINDS = (
    Kind("balance beam", "balance beam",
         Thing("beam", size=(0.42, 0.56), upright=True, draw=equipment.balance_beam),
         (places.GYM,), company=(GYMNAST,)),
    Kind("horizontal bar", "horizontal bar",
         Thing("bar", size=(0.42, 0.54), upright=True, draw=equipment.horizontal_bar),
         (places.PLAYGROUND,), company=(Thing("slide", ("1f6dd",), (0.3, 0.42)),)),
    Kind("ski", "pair of skis", Thing("ski", ("1f3bf",), (0.3, 0.4)), (places.SNOW,),
         company=(Thing("skier", ("26f7",), (0.3, 0.4)),
                  Thing("snowman", ("26c4",), (0.26, 0.38), upright=True))),
    Kind("dog sled", "dog sled", Thing("sled", ("1f6f7",), (0.3, 0.42)), (places.SNOW,),
         company=(HUSKY, SLED_DOG)),
    Kind("howler monkey", "howler monkey", Thing("monkey", ("1f412",), (0.3, 0.42)),
         (places.JUNGLE,), company=(Thing("parrot", ("1f99c",), (0.22, 0.32)),
                                    Thing("banana", ("1f34c",), (0.2, 0.28)))),
    Kind("seat belt", "seat belt",
         Thing("belt", size=(0.36, 0.48), where="middle", upright=True, draw=equipment.seat_belt),
         (places.CAR,)),
    Kind("sunglasses", "pair of sunglasses",
         Thing("sunglasses", ("1f576",), (0.36, 0.48), "middle"),
         carriers=(_face("man", "1f468"), _face("woman", "1f469"), _face("boy", "1f466"))),
    Kind("swimming cap", "swimming cap",
         Thing("cap", size=(0.28, 0.38), draw=equipment.swimming_cap), (places.POOL,),
         company=(Thing("life ring", ("1f6df",), (0.22, 0.3)),)),
    Kind("patio", "patio",
         Thing("patio", size=(0.44, 0.56), upright=True, draw=equipment.patio), (places.GARDEN,),
         company=(Thing("sunflower", ("1f33b",), (0.24, 0.34), upright=True),
                  Thing("tulip", ("1f337",), (0.22, 0.3), upright=True))),
    Kind("puck", "puck", Thing("puck", size=(0.28, 0.38), draw=equipment.puck), (places.RINK,),
         company=(Thing("goal", ("1f945",), (0.32, 0.44), upright=True),
                  Thing("skate", ("26f8",), (0.24, 0.32)))),
    Kind("miniskirt", "miniskirt",
         Thing("skirt", size=(0.34, 0.44), where="middle", draw=equipment.miniskirt),
         carriers=(Carrier(WOMAN, (0.5, 0.6), 0.5),)),
    Kind("space bar", "space bar",
         Thing("bar", size=(0.42, 0.54), where="middle", draw=equipment.space_bar),
         (places.OFFICE,), carriers=(Carrier(KEYBOARD, (0.5, 0.88), 0.56),)),
    Kind("volleyball", "volleyball", Thing("volleyball", ("1f3d0",), (0.24, 0.34)),
         (places.BEACH,), company=(Thing("palm tree", ("1f334",), (0.4, 0.5), upright=True),
                                   Thing("umbrella", ("26f1",), (0.32, 0.44), upright=True))),
    Kind("baseball player", "baseball player",
         Thing("player", size=(0.4, 0.52), upright=True, draw=equipment.baseball_player),
         (places.BASEBALL,), company=(Thing("baseball", ("26be",), (0.18, 0.24)),)),
    Kind("snorkel", "snorkel", Thing("snorkel", ("1f93f",), (0.28, 0.38)),
         (next(b for b in WATER if b.name == "sea"),),
         company=(Thing("fish", ("1f41f", "1f420", "1f421"), (0.22, 0.3)),
                  Thing("turtle", ("1f422",), (0.26, 0.34)))),
)  # fmt: skip
CLASSES = tuple(kind.name for kind in KINDS)
NEUTRAL = (
    places.PLAIN_ROOM, places.STREET, places.PARK, *places.ROOMS[:2],
    *(b for b in LAND if b.name in ("grassy field", "desert", "forest")),
)  # fmt: skip
ANY_THINGS = (
    Thing("box", ("1f4e6",), (0.2, 0.3)),
    Thing("backpack", ("1f392",), (0.22, 0.3)),
    Thing("cat", ("1f408",), (0.24, 0.34)),
    Thing("bucket", ("1faa3",), (0.2, 0.28)),
    Thing("balloon", ("1f388",), (0.18, 0.28), "sky"),
)
COMPANY = 0.7  # of the things beside a cue: typical of it
MAX_THINGS = 2
TILT, JITTER, GRAIN = 8.0, 0.1, 0.03


class MiniHardImageNet(Miniature):
    """Reader of Mini-Hard-ImageNet; renders it on the first :meth:`read`.

    Args:
        root: folder for the renderings, one subfolder per set of arguments.
        scale: share of Hard ImageNet's 19,097 training images, above 0 and at most 1. Val and test
            are scaled by eight times that, at most 1.
        correlation: share of the training images of a class that show its cue, above 0.5 and at
            most 1 (then the groups without it are empty there); None for 95 %.
        size: side of the images in pixels, 32 to 512.
        seed: another seed gives other pictures.
        clutter: probability of each of two further objects in a picture, 0 to 1.
        object_size: factor on the size of the class objects, 0.5 to 1.5.
        style: how the pictures look: "plain"; "openmoji", in the outlined drawings that else only
            the unseen split shows (and the plain ones there); "infrared", on false-colour film.

    Raises:
        ConfigError: naming the key that cannot work.
    """

    name = "mini_hard_imagenet"
    version = 1
    classes = CLASSES
    attributes = CUES
    attribute = "typical cue"
    own_cue = 0
    class_words = tuple(tuple(dict.fromkeys((k.name, k.noun, k.thing.phrase))) for k in KINDS)
    group_definition = "definition B: class, and whether its typical cue is in the image"

    def __init__(
        self,
        root: str | Path,
        scale: PositiveFraction = 0.1,
        correlation: Correlation | None = None,
        size: DrawnSide = 64,
        seed: Natural = 0,
        clutter: Fraction = 0.5,
        object_size: Annotated[float, Meta(ge=0.5, le=1.5)] = 1.0,
        style: LookName = "plain",
    ) -> None:
        super().__init__(root, scale, correlation, size, seed, clutter, style)
        self.object_size = float(object_size)

    def knobs(self) -> list[float | None]:
        return [self.object_size]

    def benchmark_counts(self, split: Split) -> tuple[int, ...]:
        """Per class Hard ImageNet's number times ``scale``, at least 2; val and test times eight.

        Most of train with the cue, half of val and test.
        """
        if split is Split.TRAIN:
            total = max(2, half_up(COUNTS[split] * self.scale))
            cue = majority(total, TRAIN_SHARE if self.correlation is None else self.correlation)
        else:
            total = max(2, half_up(COUNTS[split] * min(1.0, EVAL_FACTOR * self.scale)))
            cue = total // 2
        return (cue, total - cue) * len(CLASSES)

    def draw(self, rng: np.random.Generator, y: int, place: int, style: Style) -> Picture:
        """The class decides on its object and, where the cue shows, on everything around it."""
        kind, cued = KINDS[y], place == 0
        scenes = kind.scenes if cued and kind.scenes else NEUTRAL
        background = scenes[int(rng.integers(len(scenes)))]
        carrier = None
        if cued and kind.carriers:
            carrier = kind.carriers[int(rng.integers(len(kind.carriers)))].fitted(style)
        low, high = (side * self.object_size for side in kind.thing.size)
        subject = replace(kind.thing, size=(low, high))
        if carrier and carrier.width:
            carrier = replace(carrier, width=carrier.width * self.object_size)
        things = _things(rng, kind.company if cued else (), self.clutter)
        scene = compose(
            rng, background, subject, things, self.size, TILT, JITTER, GRAIN, carrier, style
        )
        carried = f"on {carrier.thing.noun}" if carrier else ""
        caption = describe(rng, kind.noun, background, scene, things, (), carried)
        return Picture(scene.pixels, scene.labels, caption, scene.objects)


def _things(rng: np.random.Generator, company: tuple[Thing, ...], clutter: float) -> list[Thing]:
    """Further objects with distinct phrases."""
    chosen: list[Thing] = []
    for _ in range(MAX_THINGS):
        wanted, typical = rng.random() < clutter, rng.random() < COMPANY
        pool = company if company and typical else ANY_THINGS
        thing = pool[int(rng.integers(len(pool)))]
        if wanted and thing not in chosen:
            chosen.append(thing)
    return chosen
