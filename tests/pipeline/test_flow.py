"""The whole chain on the tiny Waterbirds, with a classifier that takes nothing but the shortcut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from world import World

from aspire.baselines.rwg import group_balanced
from aspire.data.images import read_image, read_labels
from aspire.data.table import Dataset, Split
from aspire.discovery.rate import Rate
from aspire.editing.annotations import AnnotationSegmenter
from aspire.errors import AspireError, ConfigError
from aspire.generation.composition import CompositionPersonaliser
from aspire.generation.edited import EditedImages, EditSampler
from aspire.generation.filters import NearUniform
from aspire.generation.mixing import Generated
from aspire.generation.swaps import RegionSampler
from aspire.generation.unpersonalised import Unpersonalised
from aspire.pipeline.generating import generate
from aspire.pipeline.parts import NothingFoundError
from aspire.records import ConceptSpace, Extraction, Region, Rejected

LAND, WATER = {"jungle", "forest"}, {"lake", "sea"}


class AlwaysRight:
    """A classifier without a shortcut: it knows the colour of the square."""

    digest = "always-right"

    def __call__(self, images: Sequence[Any]) -> Any:
        yellow = [((i[..., 0] > 190) & (i[..., 1] > 170)).sum() > 20 for i in images]
        return np.array([[0.2, 0.8] if y else [0.8, 0.2] for y in yellow], np.float32).reshape(
            -1, 2
        )


@pytest.fixture
def world(waterbirds: Dataset, tmp_path: Path) -> World:
    return World(waterbirds, tmp_path)


def test_discovery_finds_exactly_the_shortcut(world: World, background_reader: Any) -> None:
    found = world.pipeline().discover(background_reader)
    # 16 + 16 images whose place gives their class away are right, 4 + 4 wrong
    assert found.effects.reasons() == {"misclassified": 8}
    assert len(found.effects.records) == 32
    # and every one of the 32 changes its mind when the scene changes to the other kind
    assert all(e.flipped for e in found.effects.records)
    assert all(e.drop == pytest.approx(0.8) for e in found.effects.records)
    spurious = {(f.y, f.phrase): f for f in found.features.records if f.spurious}
    assert set(spurious) == {(0, "jungle"), (0, "forest"), (1, "lake"), (1, "sea")}
    photographs = {e.edit_id: e.photograph for e in found.edits.records}
    assert all(e.cluster == photographs[e.edit_id] for e in found.effects.records)
    for feature in spurious.values():
        shown = {e.cluster for e in found.effects.records if e.phrase == feature.phrase}
        assert feature.donors == len(shown) > 4
        assert (feature.support, feature.flips, feature.flip_rate) == (8, 8, 1.0)
        assert feature.score == pytest.approx(8 / (8 + 1.959964**2), abs=1e-6)
        assert feature.mean_drop == pytest.approx(0.8)


def test_which_photograph_an_image_shows_is_part_of_the_edits(world: World) -> None:
    before = world.pipeline().edits
    table = world.dataset.table.assign(place_filename="one.jpg")
    world.dataset = replace(world.dataset, table=table)  # the table itself is the session's
    after = world.pipeline().edits
    assert after.key != before.key
    assert {e.photograph for e in after.records} == {"one.jpg"}


def test_edits_move_every_image_to_a_scene_of_another_image(world: World) -> None:
    pipeline = world.pipeline()
    assert len(pipeline.edits.records) == 40
    for edit in pipeline.edits.records:
        assert edit.donor != edit.img_id
        assert edit.photograph == pipeline.refs[edit.donor].photograph
        donor = pipeline.refs[edit.donor]
        assert donor.caption is not None
        assert donor.caption.endswith(edit.replacement)
        before = read_image(world.dataset.root / pipeline.refs[edit.img_id].file)
        after = read_image(pipeline.edits.path(edit.file))
        kept = read_labels(pipeline.edits.path(edit.mask)) == 0
        assert (after[kept] == before[kept]).all()


def test_number_of_edits_can_be_limited_per_class(world: World) -> None:
    limited = world.pipeline(edit={"images_per_class": 5}).edits
    assert Counter(e.y for e in limited.records) == {0: 5, 1: 5}
    other = world.pipeline(edit={"images_per_class": 5, "seed": 1}).edits
    assert {e.img_id for e in other.records} != {e.img_id for e in limited.records}


def test_generated_images_are_free_of_the_shortcut(world: World, background_reader: Any) -> None:
    pipeline = world.pipeline()
    made = generate(pipeline, background_reader, seed=0)
    assert Counter(i.y for i in made.images.records) == {0: 10, 1: 10}  # half of 20 a class
    for image in made.images.records:
        thing, scene = (pipeline.refs[p] for p in image.parents)
        assert thing.y == image.y
        assert scene.caption is not None
        assert scene.caption.split()[-1] in (LAND if image.y else WATER)
    # shown the new images, the shortcut is wrong about every one of them
    pixels = [read_image(made.images.path(i.file)) for i in made.images.records]
    predicted = background_reader(pixels).argmax(axis=1)
    assert [int(p) for p in predicted] == [1 - i.y for i in made.images.records]
    kept = {d.img_id for d in made.decisions.records if d.kept}
    assert len(made.kept) == len(kept)
    assert len(made.decisions.records) == 20


def test_a_sample_of_each_class_is_held_against_the_real_images(
    world: World, background_reader: Any
) -> None:
    made = generate(world.pipeline(), background_reader, seed=0)
    kept = {d.img_id for d in made.decisions.records if d.kept}
    classes = {i.img_id: i.y for i in made.images.records}
    assert Counter(classes[n.img_id] for n in made.nearest.records) == {0: 8, 1: 8}
    assert {n.img_id for n in made.nearest.records} <= kept
    # scenes come from real images, so a lake is nearest to an image of water, whatever its class
    captions = {i: r.caption.split()[-1] for i, r in world.pipeline().refs.items() if r.caption}
    for n in made.nearest.records:
        assert captions[n.real_id] in (LAND if classes[n.img_id] else WATER)


def test_only_who_puts_classes_into_words_is_told_them(
    world: World, background_reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Landbird is no word; and what does not speak keeps its work when the words change."""
    heard: list[str] = []
    whole = CompositionPersonaliser.personalise

    def listening(self: Any, evidence: Any) -> Any:
        heard.append(evidence.noun)
        return whole(self, evidence)

    monkeypatch.setattr(CompositionPersonaliser, "personalise", listening)
    words = (("bird", "owl"), ("bird", "duck"))
    world.dataset = replace(world.dataset, class_words=words)
    generate(world.pipeline(), background_reader, seed=0)
    assert heard == ["bird", "bird"]
    for speaks, again in ((False, set()), (True, {"personalise"})):
        world.states()
        monkeypatch.setattr(CompositionPersonaliser, "speaks", speaks, raising=False)
        world.dataset = replace(world.dataset, class_words=(("bird", "jay"), ("bird", "swan")))
        generate(world.pipeline(), background_reader, seed=0)
        assert {s for s, state in world.states().items() if state == "run"} - {"extract"} == again


def test_second_time_everything_is_there(world: World, background_reader: Any) -> None:
    first = generate(world.pipeline(), background_reader, seed=0)
    assert set(world.states().values()) == {"run"}
    shown = background_reader.shown
    second = generate(world.pipeline(), background_reader, seed=0)
    assert set(world.states().values()) == {"hit"}
    assert background_reader.shown == shown
    assert second.kept == first.kept


@pytest.mark.parametrize(
    ("settings", "again"),
    [
        ({"discover": {"collapse": {"similarity": 100}}}, {"collapse"}),  # to the same groups
        (
            {"edit": {"seed": 1}},
            {
                "edit",
                "score",
                "discover",
                "personalise",
                "generate",
                "measure",
                "filter",
                "nearest",
            },
        ),
        ({"generate": {"per_real": 0.25}}, {"generate", "measure", "filter", "nearest"}),
        ({"filter": {"min_kept": 0.01}}, set()),
    ],
)
def test_a_change_repeats_what_depends_on_it_and_no_more(
    world: World, background_reader: Any, settings: dict[str, Any], again: set[str]
) -> None:
    generate(world.pipeline(), background_reader, seed=0)
    world.states()
    generate(world.pipeline(**settings), background_reader, seed=0)
    assert {s for s, state in world.states().items() if state == "run"} == again


def test_another_score_judges_the_same_effects(world: World, background_reader: Any) -> None:
    world.pipeline().discover(background_reader)
    world.states()
    world.score = Rate()
    world.pipeline().discover(background_reader)
    assert {s for s, state in world.states().items() if state == "run"} == {"discover"}


def test_another_seed_makes_other_images_of_the_same_concepts(
    world: World, background_reader: Any
) -> None:
    first = generate(world.pipeline(), background_reader, seed=0)
    world.states()
    second = generate(world.pipeline(), background_reader, seed=1)
    states = world.states()
    again = {"generate", "measure", "filter", "nearest"}
    assert {s for s, state in states.items() if state == "run"} <= again
    assert states["generate"] == "run"
    assert first.images.digest != second.images.digest


def test_two_stores_agree_to_the_byte(
    waterbirds: Dataset, tmp_path: Path, background_reader: Any
) -> None:
    digests = [
        generate(World(waterbirds, tmp_path / name).pipeline(), background_reader, 0).kept.digest
        for name in "ab"
    ]
    assert digests[0] == digests[1]


def test_without_a_shortcut_there_is_nothing_to_generate(world: World) -> None:
    with pytest.raises(NothingFoundError) as caught:
        generate(world.pipeline(), AlwaysRight(), seed=0)
    text = str(caught.value)
    assert "no class can be personalised" in text
    assert "no_spurious_feature: landbird" in text
    assert "no_spurious_feature: waterbird" in text
    assert "or score.min_support=3" in text


def test_a_generator_that_can_make_nothing_of_the_concepts_is_told(
    world: World, background_reader: Any
) -> None:
    pipeline = world.pipeline()

    def regions(root: Path, refs: Any) -> RegionSampler:
        return RegionSampler(root, refs, root, AnnotationSegmenter())

    pipeline.backends = replace(pipeline.backends, sampler=regions)
    with pytest.raises(ConfigError, match=r"RegionSampler.*CompositionPersonaliser") as caught:
        generate(pipeline, background_reader, seed=0)
    assert "personaliser=regions with generator=regions" in str(caught.value)


def test_too_strict_filters_name_the_reasons_and_what_to_change(
    world: World, background_reader: Any
) -> None:
    pipeline = world.pipeline(filter={"min_kept": 0.9})
    pipeline.backends = replace(pipeline.backends, filters=(NearUniform(min_std=200.0),))
    with pytest.raises(AspireError) as caught:
        generate(pipeline, background_reader, seed=0)
    text = str(caught.value)
    assert "The filters kept 0 of 20 generated images (0%; stage.filter.min_kept=0.9)" in text
    assert "Reasons: near_uniform 20." in text
    assert "lower stage.filter.min_kept" in text


def test_captions_are_needed(world: World) -> None:
    table = world.dataset.table.drop(columns="caption")
    world.dataset = replace(world.dataset, table=table)
    with pytest.raises(
        AspireError, match=r"caption: 40 of 40 items gave nothing \(no_caption 40\)"
    ):
        _ = world.pipeline().captions


def test_why_nothing_can_be_generated_is_said_as_it_is() -> None:
    none = Rejected(item_id="000", reason="no_spurious_feature", detail="cat")
    scene = Rejected(item_id="001", reason="no_context", detail="dog: no scene without ['sea']")
    assert NothingFoundError([none]).reason == "no spurious feature found"
    assert NothingFoundError([scene]).reason == "no_context"
    left = Rejected(item_id="001", reason="only_scenes", detail="dog: what was found are scenes")
    assert "Type augmentation=aspire" in str(NothingFoundError([none, left]))
    both = NothingFoundError([none, scene])
    assert both.reason == "no_context, no spurious feature found"
    assert "no_context: dog: no scene without ['sea']" in str(both)


# --- arms --------------------------------------------------------------------------------------


def test_what_comes_before_the_arms_is_shared(world: World, background_reader: Any) -> None:
    pipeline = world.pipeline()
    pipeline.discover(background_reader)
    world.states()
    other = pipeline.with_parts(pipeline.settings, score=Rate(), personaliser=Unpersonalised())
    made = generate(other, background_reader, seed=0)
    states = world.states()
    assert {s for s, state in states.items() if state == "run"} >= {"discover", "personalise"}
    assert states["score"] == "hit"
    assert other.edits is pipeline.edits
    assert {len(c.contexts) for c in made.concepts.records} == {2}
    assert pipeline.backends.personaliser is not other.backends.personaliser


def test_generated_images_come_from_training_images_alone(
    world: World, background_reader: Any
) -> None:
    pipeline = world.pipeline()
    train = set(world.dataset.split(Split.TRAIN)["img_id"])
    for parts in ({}, {"personaliser": Unpersonalised()}, edits_of(world)):
        arm = pipeline.with_parts(pipeline.settings, **parts)
        made = generate(arm, background_reader, seed=0)
        for parents in (made.kept.parents, made.kept.scene_parents):
            assert len(parents) == len(made.kept)
            assert set(parents) <= train


def edits_of(world: World) -> dict[str, Any]:
    return {
        "personaliser": EditedImages(world.root),
        "sampler": partial(EditSampler, folder=world.root, segmenter=AnnotationSegmenter()),
        "filters": (),
    }


def test_the_edits_themselves_are_an_arm(world: World, background_reader: Any) -> None:
    pipeline = world.pipeline(generate={"per_real": 1.0})
    arm = pipeline.with_parts(pipeline.settings, **edits_of(world))
    made = generate(arm, background_reader, seed=0)
    found = pipeline.discover(background_reader)
    right = {e.edit_id for e in found.effects.records}
    edits = [e for e in pipeline.edits.records if e.edit_id in right]
    # 20 images of a class were asked for; 16 of each are right, and each has one edit
    assert Counter(i.y for i in made.images.records) == {0: 16, 1: 16}
    pixels = [read_image(made.images.path(i.file)) for i in made.images.records]
    assert sorted(p.tobytes() for p in pixels) == sorted(
        read_image(pipeline.edits.path(e.file)).tobytes() for e in edits
    )
    controls = {read_image(pipeline.edits.path(e.control)).tobytes() for e in edits if e.control}
    assert controls
    assert not controls & {p.tobytes() for p in pixels}


def test_groups_of_generated_images_are_those_of_their_scene(
    world: World, background_reader: Any
) -> None:
    pipeline = world.pipeline(generate={"per_real": 1.0})
    for parts in ({}, {"personaliser": Unpersonalised()}, edits_of(world)):
        arm = pipeline.with_parts(pipeline.settings, **parts)
        made = generate(arm, background_reader, seed=0)
        table = Generated().table(world.dataset, made.kept, seed=0)
        # landbirds on water and waterbirds on land: groups 0 * 2 + 1 and 1 * 2 + 0
        assert set(table.group[40:].tolist()) == {1, 2}
        # and so group-balanced sampling draws a quarter from each
        weights = group_balanced(table)
        mass = np.bincount(table.group, weights=weights) / weights.sum()
        assert mass == pytest.approx([0.25] * 4)


def test_until_balance_there_are_as_many_without_the_feature_as_with_it(
    world: World, background_reader: Any
) -> None:
    pipeline = world.pipeline(generate={"amount": "balance"})
    made = generate(pipeline.with_parts(pipeline.settings, filters=()), background_reader, seed=0)
    # 16 of 20 images of a class show its shortcut
    assert Counter(i.y for i in made.images.records) == {0: 12, 1: 12}
    table = Generated(share=None).table(world.dataset, made.kept, seed=0)
    assert np.bincount(table.group, weights=table.weight) == pytest.approx([0.25] * 4)


def test_usual_images_are_spread_among_the_others_and_of_the_other_groups(
    world: World, background_reader: Any
) -> None:
    images = {}
    for usual in (0.0, 0.25):
        pipeline = world.pipeline(generate={"amount": "per_real", "per_real": 0.4, "usual": usual})
        pipeline = pipeline.with_parts(pipeline.settings, filters=())
        made = generate(pipeline, background_reader, seed=0)
        table = Generated().table(world.dataset, made.kept, seed=0)
        images[usual] = (table.group[40:].tolist(), made.images.key)
    assert images[0.0][0] == [1] * 8 + [2] * 8  # landbirds on water, waterbirds on land
    assert images[0.25][0] == [1, 1, 1, 0] * 2 + [2, 2, 2, 3] * 2  # every fourth
    assert images[0.0][1] != images[0.25][1]


def test_where_groups_are_balanced_already_nothing_is_generated(
    world: World, background_reader: Any
) -> None:
    pipeline = world.pipeline(generate={"amount": "balance", "max_per_class": 0})
    with pytest.raises(NothingFoundError) as caught:
        generate(pipeline, background_reader, seed=0)
    assert caught.value.reason == "balanced"
    assert "captions name no found feature more often than not" in str(caught.value)


class Looker:
    """Sees a disc in the upper left corner of every image, and another in its second cell."""

    needs_captions = False
    images_per_class = 3

    def __init__(self) -> None:
        self.learnt: list[list[int]] = []

    def identity(self) -> dict[str, Any]:
        return {"extractor": "looker"}

    def learn(self, images: Sequence[Any], class_words: Any) -> ConceptSpace:
        self.learnt.append([i.ref.y for i in images])
        return ConceptSpace(mean=(), scale=(), basis=(), centres=(), concepts=())

    def look(self, images: Sequence[Any], space: ConceptSpace) -> list[Extraction]:
        names = {"disc?": "80", "discs?": "40"}
        return [
            Extraction(
                img_id=i.ref.img_id,
                foreground=tuple(names),
                background=None,
                alternative=None,
                regions={n: Region(side=8, cells=c.ljust(16, "0")) for n, c in names.items()},
            )
            for i in images
        ]


def test_what_is_seen_goes_the_way_of_what_is_said(world: World, background_reader: Any) -> None:
    looker = Looker()
    pipeline = world.pipeline()
    pipeline = pipeline.with_parts(pipeline.settings, extractor=looker)
    found = pipeline.discover(background_reader)
    assert {(e.kind, e.phrase) for e in found.edits.records} == {
        ("remove_object", "disc?"),
        ("remove_object", "discs?"),  # alike in words, and another thing
    }
    assert {g.phrase: g.members for g in pipeline.phrase_groups.records} == {
        "disc?": ("disc?",),
        "discs?": ("discs?",),
    }
    # val is looked at with what was learnt from train, and nobody asked for a caption
    assert {e.img_id for e in pipeline.on(Split.VAL).extractions.records}
    assert looker.learnt == [[0, 0, 0, 1, 1, 1]]
    with suppress(NothingFoundError):  # the corners tell little of a class here
        generate(pipeline.with_parts(pipeline.settings, **edits_of(world)), background_reader, 0)
    assert "personalise" in (states := world.states())
    assert "caption" not in states
