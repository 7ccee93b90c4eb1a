"""Classes whose names are no words are called by their words in every prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from aspire.generation.base import (
    ClassEvidence,
    GeneratedImage,
    GenerationRequest,
    Reference,
)
from aspire.generation.class_nouns import Wording, wordings
from aspire.generation.clip_filters import AliaSemantic, ClipClass, ClipFeature
from aspire.generation.dreambooth import DreamBooth
from aspire.generation.lora import LoRA
from aspire.generation.pictures import subjects_of
from aspire.generation.text_to_image import TextToImage
from aspire.generation.textual_inversion import TextualInversion
from aspire.pipeline.stages.filter import MeasureStage
from aspire.records import Concept, Context
from aspire.rng import seed_for

BIRDS = (("Bird", "owl", "jay"), ("duck", "bird"))
LAND = Wording("bird", ("owl", "jay"))
CONCEPT = Concept(
    concept_id="000", y=0, objects=(), avoided=("forest",),
    contexts=(Context(phrase="lake", weight=1.0, donors=()),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("names", "words", "expected"),
    [
        (["landbird", "waterbird"], BIRDS, [LAND, Wording("bird", ("duck",))]),
        # a name that is among the words, or has none, is said as it is
        (["dog_sled", "ski"], [["dog sled", "sled"], ["ski"]],
         [Wording("dog sled", ("dog sled",)), Wording("ski", ("ski",))]),
        (["Not_blond"], None, [Wording("not blond", ("not blond",))]),
        # nothing shared: the first; nothing of its own: all
        (["a1", "a2"], [["cat", "tom"], ["dog"]], [Wording("cat", ("cat", "tom")),
                                                  Wording("dog", ("dog",))]),
        (["small", "big"], [["dog", "puppy"], ["dog"]], [Wording("dog", ("puppy",)),
                                                         Wording("dog", ("dog",))]),
    ],
)  # fmt: skip
def test_what_is_said_for_a_class(names: Any, words: Any, expected: Any) -> None:
    assert list(wordings(names, words)) == expected


def test_a_model_that_learnt_nothing_is_asked_for_the_class_s_own_words() -> None:
    sampler = TextToImage(Path(), {}, "nowhere", prompt="a {word}, a {class}, {scene}")
    asked = [GenerationRequest("g", CONCEPT, "landbird", seed_for(0, i), LAND) for i in range(60)]
    assert {sampler.plan(r).prompt for r in asked} == {
        "a owl, a bird, lake", "a jay, a bird, lake",
    }  # fmt: skip
    plain = GenerationRequest("g", CONCEPT, "dog_sled", 0)
    assert sampler.plan(plain).prompt == "a dog sled, a dog sled, lake"


@pytest.mark.parametrize(("tokens", "word"), [(("<landbird>",), "<landbird>"), ((), "bird")])
def test_a_learnt_word_or_the_noun_may_stand_before_a_kind_of_the_class(
    tokens: tuple[str, ...], word: str
) -> None:
    concept = msgspec.structs.replace(CONCEPT, tokens=tokens)
    sampler = TextToImage(Path(), {}, "nowhere", prompt="a {word} {kind}, {scene}")
    asked = [GenerationRequest("g", concept, "landbird", seed_for(0, i), LAND) for i in range(60)]
    assert {sampler.plan(r).prompt for r in asked} == {
        f"a {word} owl, lake", f"a {word} jay, lake",
    }  # fmt: skip


def test_personalisers_name_the_noun(landbirds: ClassEvidence) -> None:
    evidence = replace(landbirds, wording=LAND)
    chosen = {"boat": evidence.effects[6:]}
    (whole,), (part,) = (subjects_of(evidence, chosen, per_feature=p) for p in (False, True))
    assert [LoRA("x").word(s) for s in (whole, part)] == ["bird", "bird without boat"]
    assert DreamBooth("x").word(whole) == "sks bird"
    # a token stays apart from that of the other class of birds
    assert TextualInversion("x").word(whole) == "<landbird>"


def test_the_prior_and_the_first_vectors_are_those_of_the_noun(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path
) -> None:
    evidence = replace(landbirds, wording=LAND)
    pipe = TextualInversion(str(tiny_sd), device="cpu")._pipeline()
    start = TextualInversion(str(tiny_sd), initial="{class}", vectors=4)._start(
        pipe, "", evidence.noun
    )
    ids = pipe.tokenizer("bird", add_special_tokens=False).input_ids
    assert (start == pipe.text_encoder.get_input_embeddings().weight[ids]).all()
    booth = DreamBooth(str(tiny_sd), prior_images=1, prior_steps=1, device="cpu")
    (source,) = booth.further_sources(pipe, evidence.noun, tmp_path)
    assert list(source.captions[0]) == ["a photo of a bird"]


class Heard:
    """CLIP that notes what it is asked; every text is as likely as the other."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def identity(self) -> Any:
        return {"clip": "heard"}

    def images(self, images: Sequence[Any]) -> Any:
        return np.ones((len(images), 1), np.float32)

    def texts(self, texts: Sequence[str]) -> Any:
        self.asked += texts
        # the closer to the front of the alphabet, the likelier
        return np.array([[1 - sorted(texts).index(t) / 100] for t in texts], np.float32)


def test_clip_is_asked_in_the_same_words() -> None:
    class_names = ("landbird", "waterbird")
    reference = Reference(
        lambda images: np.zeros((len(images), 2)),
        class_names, {0: ("forest",)}, wordings=wordings(class_names, BIRDS),
    )  # fmt: skip
    image = [GeneratedImage("g", 0, np.zeros((8, 8, 3), np.uint8), None)]
    clip = Heard()
    (margin,) = ClipClass(clip=clip).measure(image, reference)
    assert clip.asked == ["a photo of a owl", "a photo of a jay", "a photo of a duck"]
    # duck, jay, owl: cosines 1, .99 and .98 are 100, 99 and 98; the best of landbird is jay
    p = np.exp([100, 99, 98]) / np.exp([100, 99, 98]).sum()
    assert margin == pytest.approx(p[1] - p[0], abs=1e-3)
    clip.asked.clear()
    ClipFeature(clip=clip).measure(image, reference)
    assert clip.asked == ["a photo of a bird, forest", "a photo of a bird"]
    clip.asked.clear()
    AliaSemantic(["a photo of a {class}"], ["noise"], clip=clip).measure(image, reference)
    assert clip.asked == ["a photo of a bird", "noise"]


def test_only_who_speaks_depends_on_the_words() -> None:
    from aspire.generation.filters import NearUniform

    def identity(*filters: Any, words: Any) -> Any:
        said = wordings(["landbird", "waterbird"], words)
        reader: Any = Heard()
        reader.digest = "x"
        return MeasureStage(filters, reader, Path(), wordings=said).identity()

    assert identity(NearUniform(), words=BIRDS) == identity(NearUniform(), words=None)
    clip = ClipClass(clip=Heard())
    assert identity(clip, words=BIRDS) != identity(clip, words=None)
