"""Blank: what it has learnt from a class."""

from __future__ import annotations

import msgspec

from aspire.cli.templates.personaliser import Blank
from aspire.generation.base import ClassEvidence
from aspire.records import Concept, ImageRef, Rejected, SpuriousFeature

LAKE = SpuriousFeature(
    feature_id="0/1", y=0, rank=1, kind="change_background", phrase="lake", support=9, flips=9,
    flip_rate=1.0, score=1.0, mean_drop=0.5, spurious=True, examples=(),
)  # fmt: skip


def evidence(feature: SpuriousFeature) -> ClassEvidence:
    image = ImageRef(img_id="1", file="1.png", y=0)
    scenes = {"lake": (image,), "wood": (image,), "field": (image,)}
    return ClassEvidence(0, "bird", (feature,), (), (image,), scenes, {})


def test_scenes_without_the_feature() -> None:
    concept = Blank().personalise(evidence(LAKE))
    assert isinstance(concept, Concept)
    assert [(c.phrase, c.weight) for c in concept.contexts] == [("field", 0.5), ("wood", 0.5)]
    assert concept.avoided == ("lake",)


def test_without_a_feature_there_is_nothing_to_avoid() -> None:
    learnt = Blank().personalise(evidence(msgspec.structs.replace(LAKE, spurious=False)))
    assert isinstance(learnt, Rejected)
    assert learnt.reason == "no_spurious_feature"
