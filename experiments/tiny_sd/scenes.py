"""Captioned scenes of all combinations of the four miniature worlds.

    python -m experiments.tiny_sd.scenes folder=outputs/tiny_sd/scenes/0 count=30000 seed=0

The miniatures draw what is usual together; here every class stands in every place of its world,
with any of the world's objects, all about equally often. Sprites, painters and wordings are the
miniatures' own, in the style of their train, val and test splits (never the unseen one). One in
nine combinations of subject and background is held out: training never sees it, and
``evaluate.py`` asks for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from aspire.data.images import Pixels
from aspire.generation.pictures import TEMPLATES
from aspire.miniatures import mini_celeba, mini_hard_imagenet, mini_spuco_dogs, mini_waterbirds
from aspire.miniatures.drawing import places
from aspire.miniatures.drawing.captions import describe
from aspire.miniatures.drawing.compose import Carrier, compose
from aspire.miniatures.drawing.dogs import Breed, draw_dog
from aspire.miniatures.drawing.faces import CLOTHES, backdrop, draw_portrait
from aspire.miniatures.drawing.nature import LAND, WATER
from aspire.miniatures.drawing.sprites import Thing
from aspire.rng import seed_for

SIZE = 64
SHARES = {"birds": 0.3, "dogs": 0.25, "faces": 0.15, "equipment": 0.3}
HELD_OUT = 9  # one combination of subject and background in so many
TEMPLATED = 0.25  # captions that begin as the prompts of the personalisers do
COMMA = 0.15  # captions with a comma before the place, as the samplers' prompts have it
NUMBER = (0.25, 0.5, 0.25)  # of scenes with no, one, two further things


@dataclass(frozen=True)
class Facts:
    """What a scene shows, for the classifier that judges.

    Args:
        world: which miniature it is like.
        subject: species, breed, kind, or colour of hair and sex ("blond man").
        label: class of the miniature.
        background: name of the place.
        objects: phrases of the things that show.
        named: the caption says what the subject is, not only "bird" or "dog".
    """

    world: str
    subject: str
    label: str
    background: str
    objects: tuple[str, ...]
    named: bool


@dataclass(frozen=True)
class Captioned:
    """A scene: what it looks like, its caption, and what is in it.

    Args:
        pixels: (S, S, 3) uint8.
        labels: (S, S) uint8: 0 background, 1 the subject, 2 + i where ``facts.objects[i]`` shows.
        caption: one sentence.
        facts: what the judge is to see.
    """

    pixels: Pixels
    labels: Pixels
    caption: str
    facts: Facts


def held_out(world: str, subject: str, background: str) -> bool:
    """Whether training never sees this subject before this background."""
    if world == "equipment" and background in [b.name for b in EQUIPMENT[subject].scenes]:
        return False  # a class is to be known with its own cue
    background = background.removesuffix(" backdrop")
    return seed_for(23, "tiny-sd", "held out", world, subject, background) % HELD_OUT == 0


T = TypeVar("T")
Maker = Callable[[np.random.Generator, bool, float], Captioned]


def draw(rng: np.random.Generator, held: bool = False, grain: float = 0.03) -> Captioned:
    """One scene of any world.

    Args:
        rng: where all that is random comes from.
        held: of a held-out combination; never of one otherwise.
        grain: standard deviation of the pixel noise.
    """
    world = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    scene = MAKERS[world](rng, held, grain)
    return replace(scene, caption=_worded(rng, scene.caption, scene.facts.background))


def _worded(rng: np.random.Generator, caption: str, background: str) -> str:
    """Some captions in the wording of prompts."""
    article, rest = caption.split(" ", 1)
    if rng.random() < COMMA:
        cut = rest.rfind(f" {_phrase(background)}")
        rest = f"{rest[:cut]},{rest[cut:]}" if cut > 0 else rest
    if rng.random() >= TEMPLATED:
        return f"{article} {rest}"
    if rng.random() < 0.5:
        return f"a photo of {article} {rest}"
    return TEMPLATES[int(rng.integers(len(TEMPLATES)))].format(rest)


def _phrase(background: str) -> str:
    """The background as captions have it: "on a lake"."""
    if background.endswith("backdrop"):
        return f"in front of a {background}"
    return {**NATURE, **DOG_PLACES, **EQUIPMENT_PLACES}[background].phrase


def _pick(rng: np.random.Generator, things: Sequence[Thing]) -> list[Thing]:
    """None, one or two things with distinct phrases."""
    chosen: list[Thing] = []
    for _ in range(int(rng.choice(len(NUMBER), p=NUMBER))):
        thing = things[int(rng.integers(len(things)))]
        if thing.phrase not in [t.phrase for t in chosen]:
            chosen.append(thing)
    return chosen


def _pair(held: bool, world: str, draw_pair: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    """A subject and a background, of a held-out combination or not."""
    while True:
        subject, background = draw_pair()
        if held_out(world, subject, background) == held:
            return subject, background


def _one(rng: np.random.Generator, items: Sequence[T]) -> T:
    return items[int(rng.integers(len(items)))]


NATURE = {b.name: b for b in (*LAND, *WATER)}
BIRDS = {
    species: (label, Thing(species, (sprite,), mini_waterbirds.BIRD_SIZE))
    for label, birds in mini_waterbirds.BIRDS.items()
    for species, sprite in birds
}
BIRD_POOLS = [[s for s, (own, _) in BIRDS.items() if own == c] for c in mini_waterbirds.CLASSES]
BIRD_THINGS = (
    *mini_waterbirds.LAND_THINGS, *mini_waterbirds.WATER_THINGS, *mini_waterbirds.ANY_THINGS,
)  # fmt: skip
BIRD_NOUNS = {
    "landbird": ("landbird", "land bird", "bird"),
    "waterbird": ("waterbird", "water bird", "bird"),
}


def bird(rng: np.random.Generator, held: bool, grain: float) -> Captioned:
    """A bird on land or water."""
    subject, name = _pair(
        held, "birds", lambda: (_one(rng, _one(rng, BIRD_POOLS)), _one(rng, (*LAND, *WATER)).name)
    )
    label = BIRDS[subject][0]
    place = NATURE[name]
    things = _pick(rng, BIRD_THINGS)
    m = mini_waterbirds
    scene = compose(rng, place, BIRDS[subject][1], things, SIZE, m.TILT, m.JITTER, grain)
    named = bool(rng.random() < 0.7)
    noun = subject if named else _one(rng, BIRD_NOUNS[label])
    verbs = m.VERBS[int(place in WATER)]
    caption = describe(rng, noun, place, scene, things, verbs)
    facts = Facts("birds", subject, label, name, tuple(scene.objects), named)
    return Captioned(scene.pixels, scene.labels, caption, facts)


DOGS: dict[str, tuple[int, Breed]] = {
    breed.name: (y, breed) for y, breeds in enumerate(mini_spuco_dogs.BREEDS) for breed in breeds
}
DOG_PLACES = {b.name: b for b in (*places.ROOMS, *places.OUTDOORS)}
DOG_THINGS = (
    *mini_spuco_dogs.INDOOR_THINGS, *mini_spuco_dogs.OUTDOOR_THINGS, *mini_spuco_dogs.ANY_THINGS,
)  # fmt: skip


def dog(rng: np.random.Generator, held: bool, grain: float) -> Captioned:
    """A dog indoors or outdoors."""
    m = mini_spuco_dogs
    subject, name = _pair(
        held,
        "dogs",
        lambda: (
            _one(rng, _one(rng, m.BREEDS)).name,
            _one(rng, _one(rng, (places.ROOMS, places.OUTDOORS))).name,
        ),
    )
    y = DOGS[subject][0]
    thing = Thing(subject, size=m.DOG_SIZE, draw=partial(_draw_dog, DOGS[subject][1]))
    things = _pick(rng, DOG_THINGS)
    place = DOG_PLACES[name]
    scene = compose(rng, place, thing, things, SIZE, m.TILT, m.JITTER, grain)
    kind = rng.random()
    noun = subject if kind < 0.5 else _one(rng, m.NOUNS[y][:2]) if kind < 0.9 else "dog"
    caption = describe(rng, noun, place, scene, things, m.VERBS[0])
    facts = Facts("dogs", subject, m.CLASSES[y], name, tuple(scene.objects), kind < 0.9)
    return Captioned(scene.pixels, scene.labels, caption, facts)


def _draw_dog(breed: Breed, rng: np.random.Generator, style: str) -> object:
    return draw_dog(rng, breed, style)


def face(rng: np.random.Generator, held: bool, grain: float) -> Captioned:
    """A portrait; every hair, sex and backdrop, anything worn by anybody."""
    m = mini_celeba
    subject, hue = _pair(
        held,
        "faces",
        lambda: (f"{_one(rng, m.CLASSES)} {_one(rng, m.PEOPLE)}", _one(rng, list(m.HUES))),
    )
    hair, person = subject.split()
    y, male = m.CLASSES.index(hair), m.PEOPLE.index(person)
    worn = [CLOTHES[male]]
    worn += [t for t, often in m.WORN.items() if rng.random() < max(0.12, 1.2 * often[male])]
    behind = backdrop(rng, SIZE, *m.HUES[hue])
    portrait = draw_portrait(
        rng, behind, y == 1, male == 1, tuple(worn), "twemoji", grain and m.GRAIN, m.UNEVEN
    )
    noun = portrait.hair if y == 1 or rng.random() < 0.75 else "dark"
    caption = m._caption(rng, person, noun, list(portrait.worn))
    caption += f" in front of a {hue} backdrop"
    facts = Facts("faces", subject, hair, f"{hue} backdrop", tuple(portrait.worn), True)
    labels = portrait.labels.copy()
    for index, label in enumerate(portrait.worn.values()):  # some may hide behind others
        labels[portrait.labels == label] = 2 + index
    return Captioned(portrait.pixels, labels, caption, facts)


EQUIPMENT = {kind.name: kind for kind in mini_hard_imagenet.KINDS}
CUE_PLACES = tuple({b.name: b for k in mini_hard_imagenet.KINDS for b in k.scenes}.values())
EQUIPMENT_PLACES = {b.name: b for b in (*mini_hard_imagenet.NEUTRAL, *CUE_PLACES)}
EQUIPMENT_THINGS = (
    *{t.phrase: t for k in mini_hard_imagenet.KINDS for t in k.company}.values(),
    *mini_hard_imagenet.ANY_THINGS,
)


def equipment(rng: np.random.Generator, held: bool, grain: float) -> Captioned:
    """A class of Hard ImageNet, with its own cue or where others have theirs, or neither."""
    m = mini_hard_imagenet
    kind, own = _one(rng, m.KINDS), not held and rng.random() < 0.35
    carrier: Carrier | None = _one(rng, kind.carriers) if own and kind.carriers else None
    if own and kind.scenes:
        place = _one(rng, kind.scenes)
    else:
        elsewhere = m.NEUTRAL if rng.random() < 0.6 else CUE_PLACES
        subject, name = _pair(
            held,
            "equipment",
            lambda: (kind.name if not held else _one(rng, m.KINDS).name, _one(rng, elsewhere).name),
        )
        kind, place = EQUIPMENT[subject], EQUIPMENT_PLACES[name]
    things = _pick(rng, EQUIPMENT_THINGS)
    things = [t for t in things if carrier is None or t.phrase != carrier.thing.phrase]
    scene = compose(
        rng, place, kind.thing, things, SIZE, m.TILT, m.JITTER, grain, carrier, "twemoji"
    )
    carried = f"on {carrier.thing.noun}" if carrier else ""
    caption = describe(rng, kind.noun, place, scene, things, (), carried)
    facts = Facts("equipment", kind.name, kind.name, place.name, tuple(scene.objects), True)
    return Captioned(scene.pixels, scene.labels, caption, facts)


MAKERS: dict[str, Maker] = {"birds": bird, "dogs": dog, "faces": face, "equipment": equipment}


def render(folder: Path, count: int, seed: int, held: bool, grain: float, purpose: str) -> None:
    """``pixels.npy`` (N, S, S, 3) and ``labels.npy`` (N, S, S), uint8, and ``scenes.jsonl``."""
    folder.mkdir(parents=True, exist_ok=True)
    square = (count, SIZE, SIZE)
    create = partial(np.lib.format.open_memmap, mode="w+", dtype=np.uint8)
    pixels = create(folder / "pixels.npy.partial", shape=(*square, 3))
    labels = create(folder / "labels.npy", shape=square)
    with (folder / "scenes.jsonl").open("w") as lines:
        for index in range(count):
            rng = np.random.default_rng(seed_for(seed, "tiny-sd", purpose, index))
            scene = draw(rng, held, grain)
            pixels[index], labels[index] = scene.pixels, scene.labels
            lines.write(json.dumps({"caption": scene.caption, **asdict(scene.facts)}) + "\n")
    pixels.flush()
    labels.flush()
    (folder / "pixels.npy.partial").replace(folder / "pixels.npy")


if __name__ == "__main__":
    given = {"held": "0", "purpose": "train", **dict(word.split("=", 1) for word in sys.argv[1:])}
    render(
        Path(given["folder"]), int(given["count"]), int(given["seed"]), given["held"] == "1", 0.0,
        given["purpose"],
    )  # fmt: skip
