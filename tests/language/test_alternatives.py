from __future__ import annotations

import pytest

from aspire.language.alternatives import choose_alternatives
from aspire.language.scenes import lexicon, scene_kind

CORPUS: dict[str, str | None] = {
    **{f"land/{i}": "grassy field" for i in range(20)},
    **{f"wood/{i}": "woods" for i in range(20)},
    **{f"sea/{i}": "sea" for i in range(20)},
    **{f"lake/{i}": "lake" for i in range(20)},
    **{f"odd/{i}": "blue teapot" for i in range(20)},
    "nothing": None,
}


def test_alternatives_are_of_another_kind_and_occur_in_the_corpus() -> None:
    chosen = choose_alternatives(CORPUS, seed=0)

    assert chosen.keys() == CORPUS.keys()
    assert {chosen[f"sea/{i}"] for i in range(20)} == {"grassy field", "woods"}
    assert {chosen[f"land/{i}"] for i in range(20)} == {"woods", "sea", "lake"}


def test_unknown_kinds_take_any_other_phrase() -> None:
    chosen = choose_alternatives(CORPUS, seed=0)
    assert {chosen[f"odd/{i}"] for i in range(20)} <= {"grassy field", "woods", "sea", "lake"}


def test_one_kind_only_falls_back_to_another_head() -> None:
    corpus: dict[str, str | None] = {"1": "sea", "2": "shallow sea", "3": "lake"}
    assert choose_alternatives(corpus, 0) == {"1": "lake", "2": "lake", "3": choose(corpus, "3")}


def test_scenes_of_the_own_class_come_first() -> None:
    classes = {img_id: int(img_id.startswith("lake")) for img_id in CORPUS}
    classes["wood/0"] = 1  # the lakes' class shows woods, never a field
    chosen = choose_alternatives(CORPUS, 0, classes=classes)
    assert {chosen[f"lake/{i}"] for i in range(20)} == {"woods"}
    assert {chosen[f"sea/{i}"] for i in range(20)} == {"woods", "grassy field"}
    alone = {**classes, "wood/0": 0}  # without one of its own, any
    found = choose_alternatives(CORPUS, 0, classes=alone)
    assert {found[f"lake/{i}"] for i in range(20)} == {"woods", "grassy field"}


def test_one_noun_only_falls_back_to_other_words_before_it() -> None:
    corpus: dict[str, str | None] = {"1": "red backdrop", "2": "blue backdrop", "3": "backdrop"}
    expected = {"1": "blue backdrop", "2": "red backdrop", "3": None}
    assert choose_alternatives(corpus, 0) == expected


def choose(corpus: dict[str, str | None], img_id: str) -> str | None:
    """What an image gets when the rest of the corpus comes in another order."""
    return choose_alternatives(dict(reversed(corpus.items())), 0)[img_id]


@pytest.mark.parametrize(
    "corpus",
    [{}, {"1": None}, {"1": "sea"}, {"1": "sea", "2": "blue sea"}, {"1": "field", "2": "fields"}],
)
def test_no_other_scene_means_no_alternative(corpus: dict[str, str | None]) -> None:
    assert choose_alternatives(corpus, 0) == dict.fromkeys(corpus)


def test_choice_belongs_to_the_image_and_the_seed() -> None:
    chosen = choose_alternatives(CORPUS, seed=3)

    assert choose_alternatives(dict(reversed(CORPUS.items())), seed=3) == chosen
    fewer = {img_id: phrase for img_id, phrase in CORPUS.items() if not img_id.endswith("7")}
    assert choose_alternatives(fewer, seed=3).items() <= chosen.items()
    assert choose_alternatives(CORPUS, seed=4) != chosen


@pytest.mark.parametrize(
    ("wish", "chosen"),
    [
        ("lake", {"lake"}),  # the corpus shows it
        ("deep blue lake", {"lake"}),  # its head noun
        ("river", {"sea", "lake"}),  # its kind
        ("grassy field", {"woods", "sea", "lake"}),  # where it is already is no other scene
        ("moon", {"woods", "sea", "lake"}),  # nothing like it, so as without
        (None, {"woods", "sea", "lake"}),
    ],
)
def test_scene_of_a_language_model_becomes_the_nearest_that_the_corpus_shows(
    wish: str | None, chosen: set[str]
) -> None:
    land = [f"land/{i}" for i in range(20)]
    found = choose_alternatives(CORPUS, 0, dict.fromkeys(land, wish))
    assert {found[img_id] for img_id in land} == chosen
    assert (
        choose_alternatives(CORPUS, 0).items()
        >= {img_id: phrase for img_id, phrase in found.items() if img_id not in land}.items()
    )


@pytest.mark.parametrize(
    ("phrase", "kind"),
    [
        ("shallow water", "water"), ("sea", "water"), ("sandy beach", "coast"),
        ("grassy fields", "vegetation"), ("green mountains", "mountain"), ("woods", "forest"),
        ("desert valley", "mountain"), ("Desert", "desert"), ("snow", "snow"),
        ("city street", "urban"), ("kitchen", "indoor"), ("blue sky", "sky"), ("teapot", None),
        ("wooded area", "forest"), ("dense bamboo forest area", "forest"),
        ("grassy areas", "vegetation"), ("scenic landscape", None), ("area", None),
        ("", None),
    ],
)  # fmt: skip
def test_scene_kind(phrase: str, kind: str | None) -> None:
    assert scene_kind(phrase) == kind


def test_lexicon_is_in_lower_case_and_singular_entries_do_not_contradict() -> None:
    words = lexicon()
    assert all(noun == noun.lower() for noun in words.kinds)
    assert not words.scenes & (words.movables | words.parts | words.backdrops | words.scattered)
