from __future__ import annotations

import pytest

from aspire.language.phrases import head, head_matches, normalise, singular


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("a wooden fence", "wooden fence"),
        ("The  Grassy   Field.", "grassy field"),
        ("two hay bales", "hay bales"),
        ("3 boats", "boats"),
        ("its three old friends", "old friends"),
        ("some trees", "trees"),
        ("a lot of people", "people"),
        ("a couple of boats", "boats"),
        ("the other bird", "bird"),
        ("a girl's hat", "hat"),
        ("a couple", "couple"),
        ("lots of birds", "birds"),
        ("an", ""),
        ("", ""),
        ("woods", "woods"),
        ("glasses", "glasses"),
        ("two-story house", "two-story house"),
        ("another one-eyed cat", "one-eyed cat"),
    ],
)
def test_normalise(phrase: str, expected: str) -> None:
    assert normalise(phrase) == expected
    assert normalise(normalise(phrase)) == normalise(phrase)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("dogs", "dog"), ("bushes", "bush"), ("branches", "branch"), ("leaves", "leaf"),
        ("people", "person"), ("ponies", "pony"), ("boxes", "box"), ("houses", "house"),
        ("trees", "tree"), ("grass", "grass"), ("bus", "bus"), ("woods", "woods"),
        ("species", "species"), ("sky", "sky"), ("gas", "gas"), ("horses", "horse"),
    ],
)  # fmt: skip
def test_singular(word: str, expected: str) -> None:
    assert singular(word) == expected


@pytest.mark.parametrize(
    ("noun", "words", "expected"),
    [
        ("dog", ["dog"], True),
        ("dogs", ["dog"], True),
        ("bulldog", ["dog"], True),
        ("bulldogs", ["dog"], True),
        ("bird", ["waterbird"], True),
        ("birds", ["waterbird", "duck"], True),
        ("duck", ["waterbird", "duck"], True),
        ("seagull", ["gull"], True),
        ("birdhouse", ["bird"], False),
        ("catamaran", ["cat"], False),
        ("tree", ["cat"], False),
        ("retriever", ["golden retriever"], True),
        ("ox", ["fox"], False),  # too short to be more than chance
        ("cat", [], False),
        ("", ["cat"], False),
        ("cat", [""], False),
    ],
)
def test_head_matches(noun: str, words: list[str], expected: bool) -> None:
    assert head_matches(noun, words) is expected


def test_head_is_the_last_word() -> None:
    assert head("dry stone wall") == "wall"
    assert head("") == ""
