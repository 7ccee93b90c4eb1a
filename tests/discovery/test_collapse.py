"""Which phrases are one, and which are not."""

from __future__ import annotations

import pytest

from aspire.discovery.collapse import Collapser


@pytest.fixture(scope="module")
def collapser() -> Collapser:
    return Collapser()


@pytest.mark.parametrize(
    "phrases",
    [
        ("dog", "dogs", "a small dog"),
        ("lake", "in the lake", "the lakes", "a calm lake"),
        ("leaf", "leaves", "green leaves"),
        ("sea shore", "seashore", "seashores"),
        ("harbor", "harbour"),
        ("water", "a body of water", "shallow water"),
        ("rocky beach", "sandy beaches", "on a beach"),
        ("person", "people"),
    ],
)
def test_these_are_one_named_by_the_most_common(
    collapser: Collapser, phrases: tuple[str, ...]
) -> None:
    counts = dict.fromkeys(phrases, 2) | {phrases[-1]: 3}
    assert collapser.collapse(counts) == dict.fromkeys(phrases, phrases[-1])


@pytest.mark.parametrize(
    "phrases",
    [
        ("water", "waterfall"),
        ("tree", "pine tree"),
        ("skateboard", "skateboarder"),
        ("mountain", "fountain"),
        ("ship", "sheep"),
        ("lake", "pond"),
        ("glass", "glasses"),
        ("wood", "woods"),
        ("bus", "bush"),
    ],
)
def test_these_stay_apart(collapser: Collapser, phrases: tuple[str, ...]) -> None:
    assert collapser.collapse(dict.fromkeys(phrases, 1)) == {p: p for p in phrases}


def test_order_does_not_matter_and_ties_go_to_the_alphabet(collapser: Collapser) -> None:
    counts = {"dogs": 1, "dog": 1, "lakes": 4, "lake": 2, "forest": 1}
    found = collapser.collapse(counts)
    assert found == {
        "dog": "dog", "dogs": "dog", "lake": "lakes", "lakes": "lakes", "forest": "forest",
    }  # fmt: skip
    assert collapser.collapse(dict(reversed(counts.items()))) == found


def test_similar_spelling_is_no_chain(collapser: Collapser) -> None:
    # each next is similar to the one before, the last not to the first
    chain = ["abcdefghijklmn", "abcdefghijklmx", "abcdefghijklyx", "abcdefghijkzyx"]
    found = collapser.collapse({word: 9 - i for i, word in enumerate(chain)})
    assert found[chain[1]] == chain[0]
    assert found[chain[2]] == chain[2]


def test_new_phrases_join_groups_that_exist(collapser: Collapser) -> None:
    known = {"lakes": "lakes", "lake": "lakes", "forest": "forest"}
    found = collapser.collapse({"a lake": 50, "forest": 1, "desert": 3}, known)
    assert found == {"a lake": "lakes", "forest": "forest", "desert": "desert"}


def test_nothing_to_collapse(collapser: Collapser) -> None:
    assert collapser.collapse({}) == {}


def test_identity_names_what_the_groups_depend_on(collapser: Collapser) -> None:
    assert {"similarity", "spacy", "rapidfuzz", "lexicon"} <= set(collapser.identity())
    assert Collapser(similarity=80).identity() != collapser.identity()
