"""The offline generator: which scenes and donors a class gets, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evidence import effect, feature, landbirds, ref

from aspire.data.images import read_image
from aspire.data.loaded import LoadedImage
from aspire.data.table import Dataset
from aspire.editing.annotations import AnnotationSegmenter
from aspire.editing.composition import CompositionRestyler
from aspire.editing.opencv_inpainter import OpenCVInpainter
from aspire.generation.base import ClassEvidence, GenerationRequest, Sampled
from aspire.generation.composition import CompositionPersonaliser, CompositionSampler
from aspire.records import (
    Concept,
    Context,
    ImageRef,
    Rejected,
)


def evidence(**changes: Any) -> ClassEvidence:
    """Landbirds lean on the forest; lakes moved them by 0.6 and seas by 0.2 in all."""
    values: dict[str, Any] = {
        "effects": (
            effect("forest", "lake", 0.9, 0.4),
            effect("forest", "lake", 0.9, 0.8),
            effect("forest", "sea", 0.8, 0.6),
            effect("forest", "river", 0.5, 0.9),  # moved it the other way
            effect("desert", "lake", 1.0, 0.0),  # not spurious, so it does not count
        ),
        "scenes": {
            "lake": (ref("l2", 1), ref("l1", 1), ref("l3", 1), ref("bare", 1, None)),
            "sea": (ref("s1", 1),),
            "river": (ref("r1", 1),),
            "forest": (ref("a"), ref("b")),
        },
        "phrases": {
            "l1": frozenset({"lake"}),
            "l2": frozenset({"lake", "boat"}),
            "l3": frozenset({"lake", "forest"}),  # shows the spurious feature too
            "bare": frozenset({"lake"}),
            "s1": frozenset({"sea"}),
            "r1": frozenset({"river"}),
            "a": frozenset({"forest"}),
            "b": frozenset({"forest"}),
        },
    }
    return landbirds(**(values | changes))


def learn(**changes: Any) -> Concept | Rejected:
    return CompositionPersonaliser().personalise(evidence(**changes))


def test_scenes_are_weighted_by_how_much_they_moved_the_classifier() -> None:
    concept = learn()
    assert isinstance(concept, Concept)
    assert concept.contexts == (
        Context(phrase="lake", weight=0.75, donors=("l1", "l2")),  # 0.5 + 0.1 of 0.8
        Context(phrase="sea", weight=0.25, donors=("s1",)),  # 0.2 of 0.8
    )
    assert concept.objects == ("a", "b")
    assert concept.avoided == ("forest",)
    assert (concept.concept_id, concept.y) == ("000", 0)


def test_strongest_scenes_and_first_donors_are_kept() -> None:
    concept = CompositionPersonaliser(max_contexts=1, max_donors=1).personalise(evidence())
    assert isinstance(concept, Concept)
    assert concept.contexts == (Context(phrase="lake", weight=1.0, donors=("l1",)),)
    assert concept.objects == ("a",)


def test_without_any_annotated_mask_every_image_may_give_object_and_scene() -> None:
    concept = learn(objects=(ref("a", 0, None), ref("b", 0, None)))
    assert isinstance(concept, Concept)
    assert concept.objects == ("a", "b")
    assert concept.contexts[0] == Context(phrase="lake", weight=0.75, donors=("bare", "l1", "l2"))


def test_spurious_object_leaves_every_scene_without_it() -> None:
    concept = learn(features=(feature("boat", kind="remove_object"),), effects=())
    assert isinstance(concept, Concept)
    assert [c.phrase for c in concept.contexts] == ["forest", "lake", "river", "sea"]
    assert {c.weight for c in concept.contexts} == {0.25}
    assert concept.contexts[1].donors == ("l1", "l3")  # l2 shows the boat


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"features": ()}, "no_spurious_feature"),
        ({"features": (feature("forest", spurious=False),)}, "no_spurious_feature"),
        ({"objects": ()}, "no_object_mask"),
        ({"scenes": {"forest": (ref("a"),)}}, "no_context"),
        ({"scenes": {"lake": (ref("l3"),)}}, "no_context"),  # its only donor shows a forest
    ],
)
def test_reasons_for_no_concept(changes: dict[str, Any], reason: str) -> None:
    outcome = learn(**changes)
    assert isinstance(outcome, Rejected)
    assert outcome.reason == reason
    assert "landbird" in outcome.detail


def test_a_spurious_scene_is_never_a_context() -> None:
    concept = learn(
        features=(feature("forest"), feature("lake")),
        effects=(effect("forest", "lake", 0.9, 0.1), effect("forest", "sea", 0.9, 0.8)),
    )
    assert isinstance(concept, Concept)
    assert [c.phrase for c in concept.contexts] == ["sea"]


@pytest.fixture
def refs(waterbirds: Dataset) -> dict[str, ImageRef]:
    return {
        row.img_id: ImageRef(
            img_id=row.img_id, file=row.img_filename, y=row.y, mask=row.mask_filename
        )
        for row in waterbirds.table.itertuples()
    }


@pytest.fixture
def concept(waterbirds: Dataset) -> Concept:
    """Landbirds on lakes (three of four) and seas."""
    table = waterbirds.table

    def ids(y: int, word: str) -> tuple[str, ...]:
        return tuple(table["img_id"][(table["y"] == y) & table["caption"].str.endswith(word)])

    return Concept(
        concept_id="000",
        y=0,
        objects=ids(0, "jungle"),
        contexts=(
            Context(phrase="lake", weight=0.75, donors=ids(1, "lake")),
            Context(phrase="sea", weight=0.25, donors=ids(1, "sea")),
        ),
        avoided=("jungle", "forest"),
    )


def one(make: CompositionSampler, concept: Concept, seed: int) -> Sampled | Rejected:
    (made,) = make.sample([GenerationRequest("g", concept, "landbird", seed)])
    return made


def sampler(dataset: Dataset, refs: dict[str, ImageRef], **options: Any) -> CompositionSampler:
    restyler = CompositionRestyler(OpenCVInpainter())
    return CompositionSampler(dataset.root, refs, AnnotationSegmenter(), restyler, **options)


def test_sample_is_an_object_of_the_class_in_a_scene_of_the_concept(
    waterbirds: Dataset, refs: dict[str, ImageRef], concept: Concept
) -> None:
    made = one(sampler(waterbirds, refs), concept, 3)
    assert isinstance(made, Sampled)
    parent, scene = made.parents
    assert parent in concept.objects
    phrase = made.prompt.removeprefix("a photo of a landbird, ")
    assert scene in next(c.donors for c in concept.contexts if c.phrase == phrase)
    original = LoadedImage(refs[parent], waterbirds.root)
    assert made.mask is not None
    assert (made.mask == (original.labels == 1)).all()
    assert (made.pixels[made.mask] == original.pixels[made.mask]).all()
    assert made.pixels.shape == original.pixels.shape
    assert made.pixels.dtype == np.uint8
    # the corners are water: blue above green
    corners = made.pixels[[0, 0, -1, -1], [0, -1, 0, -1]].astype(int)
    assert (corners[:, 2] > corners[:, 1]).all()


def test_sample_follows_from_its_seed(
    waterbirds: Dataset, refs: dict[str, ImageRef], concept: Concept
) -> None:
    make = sampler(waterbirds, refs)
    images = [one(make, concept, seed).pixels for seed in (5, 5, 6)]
    assert (images[0] == images[1]).all()
    assert (images[0] != images[2]).any()


def test_scenes_come_as_often_as_their_weights_say(
    waterbirds: Dataset, refs: dict[str, ImageRef], concept: Concept
) -> None:
    make = sampler(waterbirds, refs)
    prompts = [one(make, concept, s).prompt for s in range(200)]
    lakes = sum(p.endswith("lake") for p in prompts)
    assert 120 < lakes < 180  # 150 expected, standard deviation 6


@pytest.mark.parametrize("bounds", [{"min_object": 0.9}, {"max_object": 0.001}])
def test_no_usable_object_is_a_rejection(
    waterbirds: Dataset, refs: dict[str, ImageRef], concept: Concept, bounds: dict[str, float]
) -> None:
    made = one(sampler(waterbirds, refs, attempts=3, **bounds), concept, 0)
    assert isinstance(made, Rejected)
    assert made.reason == "no_composition"
    assert "3 attempts found no usable object or donor" in made.detail


def test_files_of_the_dataset_stay_as_they_are(
    waterbirds: Dataset, refs: dict[str, ImageRef], concept: Concept
) -> None:
    files: list[Path] = [waterbirds.path(refs[i].file) for i in concept.objects]
    before = [read_image(f).tobytes() for f in files]
    one(sampler(waterbirds, refs), concept, 1)
    assert [read_image(f).tobytes() for f in files] == before
