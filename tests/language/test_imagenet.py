"""ImageNet's words: the table, and captions of what an eye sees; no network is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from aspire.data.loaded import LoadedImage
from aspire.eye import Eye, Sight
from aspire.language import imagenet_captioner
from aspire.language.activation import heat, object_classes, sureness
from aspire.language.imagenet import thousand
from aspire.language.imagenet_captioner import ImagenetCaptioner, nameable
from aspire.language.spacy_extractor import SpacyExtractor
from aspire.records import ImageRef

TABBY, COLLIE, LAKESIDE, HARVESTER, SORREL, GAZELLE, BEACON = 281, 231, 975, 595, 339, 353, 437


class Painted(Eye):
    """An eye that sees what it is told: class -> (rows, columns, strength) of a grid of 8 x 8."""

    def __init__(self, *seen: tuple[int, slice, slice, float]) -> None:
        super().__init__(device="cpu")
        self.grid = np.zeros((8, 8, 1000), np.float32)
        for number, rows, columns, strength in seen:
            self.grid[rows, columns, number] = strength

    def look(self, images: object) -> list[Sight]:  # type: ignore[override]
        return [Sight(())]

    def answers(self, sight: Sight) -> tuple[np.ndarray, ...]:
        return (self.grid,) * 3


MIDDLE, ALL, TOP = slice(2, 6), slice(0, 8), slice(0, 1)
CAT = (TABBY, MIDDLE, MIDDLE, 20.0)


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Callable[..., str | None]:
    """The caption of what is painted, for a class of these words."""

    def caption(words: tuple[str, ...], *seen: tuple[int, slice, slice, float]) -> str | None:
        monkeypatch.setattr(imagenet_captioner, "shared_eye", lambda device: Painted(*seen))
        image = LoadedImage(ImageRef(img_id="a", file="a.png", y=0), tmp_path)  # type: ignore[arg-type]
        vars(image)["pixels"] = np.zeros((8, 8, 3), np.uint8)
        return ImagenetCaptioner().caption_classes([image], [words])[0]

    return caption


def test_every_class_has_a_word_and_kinds() -> None:
    table = thousand()
    assert len(table.words) == 1000
    assert all(table.words)
    assert len(table.animals) == 398  # the first 398 of ImageNet's classes
    assert table.animals == frozenset(range(398))
    assert table.words[COLLIE] == "dog"
    assert table.words[BEACON] == "lighthouse"
    assert len(table.called("dog")) == 118  # ImageNet's breeds


@pytest.mark.parametrize(
    ("words", "inside", "outside"),
    [
        (["bulldog"], COLLIE, TABBY),
        (["American_bulldogs"], COLLIE, TABBY),
        (["horse"], SORREL, GAZELLE),
        (["house"], 698, 975),  # palace, lakeside
        (["waterbird"], 144, TABBY),  # pelican
    ],
)
def test_relatives_are_the_class_its_kinds_and_what_is_called_the_same(
    words: list[str], inside: int, outside: int
) -> None:
    related = thousand().relatives(words)
    assert inside in related
    assert outside not in related


def test_unknown_words_have_no_relatives() -> None:
    assert thousand().relatives(["giraffe", "", "blond"]) == frozenset()


def test_every_place_is_read_back_as_the_background() -> None:
    places = dict(imagenet_captioner._WHERE)
    assert set(thousand().places) <= set(places)
    captions = [f"a photo of a cat with a barn {where}" for where in places.values()]
    found = SpacyExtractor().extract(captions, [("cat",)] * len(captions))
    assert {p: f.background for p, f in zip(places, found, strict=True)} == {p: p for p in places}
    assert {f.foreground for f in found} == {("barn",)}


def test_a_caption_names_object_thing_and_place(says: Callable[..., str | None]) -> None:
    # Beside the cat every cell is sure of the lake but those at the top, of a harvester.
    lake, harvester = (LAKESIDE, ALL, ALL, 12.0), (HARVESTER, TOP, ALL, 22.0)
    assert says(("cat",), CAT) == "a photo of a cat"
    assert says(("cat",), CAT, lake) == "a photo of a cat by a lake"
    assert says(("cat",), CAT, harvester) == "a photo of a cat with a harvester in a field"


def test_relatives_and_other_animals_are_no_things(says: Callable[..., str | None]) -> None:
    dogs = (COLLIE, TOP, ALL, 30.0)
    assert says(("cat",), CAT, dogs) == "a photo of a cat"
    assert says(("bulldog",), dogs, (HARVESTER, slice(7, 8), ALL, 30.0)) == (
        "a photo of a bulldog with a harvester in a field"
    )
    assert not {"dog", "bird", "valley", "wooden fence", "shop"} & set(nameable(True))
    assert {"dog", "barn", "lighthouse"} <= set(nameable(False))


def test_where_imagenet_lacks_the_word_the_strongest_thing_is_the_object() -> None:
    giraffe = Painted((GAZELLE, MIDDLE, MIDDLE, 9.0), (BEACON, TOP, TOP, 9.0)).answers(Sight(()))
    assert object_classes(giraffe, ["giraffe"]) == thousand().animals
    tower = Painted((HARVESTER, MIDDLE, MIDDLE, 9.0)).answers(Sight(()))
    # it stands for a place, and what stands for a place is nobody's object
    assert HARVESTER not in object_classes(tower, ["pylon"])
    guitar = Painted((402, MIDDLE, MIDDLE, 9.0)).answers(Sight(()))
    assert object_classes(guitar, ["lyre"]) == {402, 546}


def test_heat_is_one_on_the_object_and_sureness_a_probability() -> None:
    answers = Painted(CAT).answers(Sight(()))
    hot = heat(answers, [TABBY], (8, 8))
    assert hot[3, 3] == 1
    assert hot[0, 0] == 0
    assert sureness(answers, [TABBY]) == pytest.approx(1 / (1 + 999 * np.exp(-20)), abs=1e-6)
    assert sureness(answers, [COLLIE]) == pytest.approx(0.001)


def test_identity_follows_the_settings_and_the_table() -> None:
    def identity(**settings: float) -> Mapping[str, object]:
        return ImagenetCaptioner(**settings).identity()  # type: ignore[arg-type]

    assert identity(device="cpu") == identity()  # type: ignore[arg-type]
    assert identity(place=0.02) != identity() != identity(thing=0.5)
    assert identity()["words"] == thousand().digest
