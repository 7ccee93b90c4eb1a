"""What a person decided is obeyed by discovering, generating and training; nothing else moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from world import World

from aspire.data.images import read_image
from aspire.data.table import Dataset
from aspire.discovery.rate import Rate
from aspire.discovery.wilson import Wilson
from aspire.editing.annotations import AnnotationSegmenter
from aspire.errors import ConfigError
from aspire.generation.edited import EditedImages, EditSampler
from aspire.generation.mixing import Generated
from aspire.pipeline.generating import generate
from aspire.pipeline.parts import Discovery, Generation, NothingFoundError
from aspire.stored.decisions import Decisions, History, Judge, Merge, On, Rename, Sort, decided

SCENE = "change_background"


class First:
    """A filter that rejects the first image."""

    name = "first"

    def measured(self) -> dict[str, Any]:
        return {}

    thresholds = measured

    def measure(self, images: Sequence[Any], reference: Any) -> list[float]:
        return [0.0 for _ in images]

    def reject(self, values: Mapping[str, float]) -> set[str]:
        return {min(values)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all tests here: what one has made the others find."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def world(waterbirds: Dataset, store: Path) -> World:
    return World(waterbirds, store)


def on(found: Discovery, given: int = 0, seed: int = 0) -> On:
    features = found.found or found.features
    return On(
        dataset="digest-of-the-dataset",
        class_names=("landbird", "waterbird"),
        found={str(seed): features.digest},
        given=given,
    )


def steps(found: Discovery, *taken: Any, given: int = 0) -> Decisions:
    return decided(History(on=on(found, given), steps=taken), "d.json")


def reject(y: int, phrase: str) -> Judge:
    return Judge(y=y, kind=SCENE, phrase=phrase, found=True, verdict="reject")


def shas(made: Generation) -> dict[str, str]:
    return {i.img_id: PurePosixPath(i.file).stem for i in made.images.records}


def avoided(made: Generation) -> dict[int, tuple[str, ...]]:
    return {c.y: c.avoided for c in made.concepts.records}


def test_a_rejected_feature_is_absent_from_the_next_generation(
    world: World, background_reader: Any
) -> None:
    first = generate(world.pipeline(), background_reader, 0)
    assert avoided(first) == {0: ("forest", "jungle"), 1: ("lake", "sea")}
    found = world.pipeline().discover(background_reader)
    world.decisions = steps(found, reject(0, "jungle"))
    pipeline = world.pipeline()
    second = generate(pipeline, background_reader, 0)
    assert avoided(second) == {0: ("forest",), 1: ("lake", "sea")}
    scenes = {c.y: {s.phrase for s in c.contexts} for c in first.concepts.records}
    assert scenes[0] == {"lake", "sea"}  # away from the forest, whose edits went to water alone
    # of the other class every image is the one that it was
    one, two = ({i: s for i, s in shas(m).items() if "-001-" in i} for m in (first, second))
    assert one == two
    # the evidence is as it was, the word of the score too, and the shortcut comes first
    features = pipeline.discover(background_reader)
    assert features.found is not None
    assert features.found.digest == found.features.digest
    mine = [f for f in features.features.records if f.y == 0]
    assert [(f.phrase, f.rank, f.spurious, f.flips) for f in mine] == [
        ("forest", 1, True, 8), ("jungle", 2, False, 8),
    ]  # fmt: skip


def test_with_all_rejected_a_class_has_none_and_a_person_is_the_reason(
    world: World, background_reader: Any
) -> None:
    found = world.pipeline().discover(background_reader)
    world.decisions = steps(found, *(reject(y, p) for y, p in enumerate(("forest", "lake"))),
                            reject(0, "jungle"))  # fmt: skip
    assert set(avoided(generate(world.pipeline(), background_reader, 0))) == {1}
    (told,) = world.pipeline().discover(background_reader).features.rejected
    assert told.item_id == "000"
    assert told.detail == "a person rejected what was found: 'forest', 'jungle'"
    world.decisions = steps(found, *(reject(0, p) for p in ("forest", "jungle")),
                            *(reject(1, p) for p in ("lake", "sea")))  # fmt: skip
    with pytest.raises(NothingFoundError):
        generate(world.pipeline(), background_reader, 0)


def test_what_is_accepted_is_generated_against(world: World, background_reader: Any) -> None:
    world.score = Wilson(min_support=99)  # nothing is a shortcut to it
    found = world.pipeline().discover(background_reader)
    assert not any(f.spurious for f in found.features.records)
    yes = Judge(y=1, kind=SCENE, phrase="sea", found=False, verdict="accept")
    world.decisions = steps(found, yes)
    assert avoided(generate(world.pipeline(), background_reader, 0)) == {1: ("sea",)}


def test_merged_phrases_are_counted_together_and_avoided_as_one(
    world: World, background_reader: Any
) -> None:
    found = world.pipeline().discover(background_reader)
    world.decisions = steps(found, Merge(phrase="jungle", into="forest"))
    pipeline = world.pipeline()
    features = pipeline.discover(background_reader).features.records
    (both,) = [f for f in features if f.y == 0]
    parts = [f for f in found.features.records if f.y == 0]
    # 8 + 8 edits, all of which flip; donors are counted once each
    assert (both.phrase, both.members) == ("forest", ("forest", "jungle"))
    assert (both.support, both.flips) == (16, 16)
    effects = [e for e in found.effects.records if e.y == 0]
    assert both.donors == len({e.photograph for e in effects}) <= sum(f.donors or 0 for f in parts)
    assert avoided(generate(pipeline, background_reader, 0)) == {0: ("forest",), 1: ("lake", "sea")}
    # each image that shows either shows the feature
    shown = [p for i, p in pipeline.phrases.items() if pipeline.refs[i].caption.endswith("jungle")]
    assert set(shown) == {frozenset({"forest"})}


def test_a_name_is_only_a_name(world: World, background_reader: Any) -> None:
    first = generate(world.pipeline(), background_reader, 0)
    found = world.pipeline().discover(background_reader)
    yes = Judge(y=0, kind=SCENE, phrase="forest", found=True, verdict="accept")
    world.decisions = steps(found, Rename(phrase="forest", name="trees"), yes)
    world.states()
    assert generate(world.pipeline(), background_reader, 0).kept == first.kept
    # an accepted finding is what it was, and so is all that follows
    assert world.decisions.called("forest") == "trees"
    assert {a for a, state in world.states().items() if state == "run"} <= {"discover"}


def test_images_are_trained_on_as_a_person_sorted_them(
    world: World, background_reader: Any
) -> None:
    def made() -> Generation:
        pipeline = world.pipeline()
        pipeline.backends = replace(pipeline.backends, filters=(First(),))
        return generate(pipeline, background_reader, 0)

    first = made()
    verdicts = {d.img_id: d.kept for d in first.decisions.records}
    out, kept = sorted(verdicts)[:2]
    assert (verdicts[out], verdicts[kept]) == (False, True)
    name = shas(first)
    found = world.pipeline().discover(background_reader)
    world.decisions = steps(
        found,
        Sort(seed=0, images=(name[kept],), verdict="drop"),
        Sort(seed=0, images=(name[out],), verdict="keep"),
        Sort(seed=1, images=("0" * 64,), verdict="drop"),  # of another seed
    )
    world.states()
    second = made()
    assert {s for s, state in world.states().items() if state == "run"} == {"filter", "nearest"}
    trained = Generated().table(world.dataset, second.kept, seed=0)
    names = Counter(p.stem for p in trained.paths)
    assert names[name[kept]] == 0
    assert names[name[out]] >= 1
    told = {d.img_id: d for d in second.decisions.records}
    assert (told[kept].kept, told[kept].reason) == (False, "person")
    assert (told[out].kept, told[out].reason) == (True, None)
    assert second.filtered is not None
    assert second.filtered.digest == first.decisions.digest
    assert second.kept.digest != first.kept.digest


def test_what_is_not_there_any_more_is_refused(
    world: World, background_reader: Any, caplog: Any
) -> None:
    found = world.pipeline().discover(background_reader)
    drop = Sort(seed=0, images=("0" * 64,), verdict="drop")
    world.decisions = steps(found, drop)
    with pytest.raises(ConfigError, match=r"1 of 1 images that it sorts are not among the 20 that"):
        generate(world.pipeline(), background_reader, 0)
    world.decisions = steps(found, drop, reject(0, "jungle"))  # which has others made
    generate(world.pipeline(), background_reader, 0)
    assert "1 images that it sorts are not made any more" in caplog.text
    world.decisions = steps(found, reject(0, "beach"))
    with pytest.raises(ConfigError, match=r"no such phrase was found: “beach”\. Type the words"):
        world.pipeline().discover(background_reader)
    world.decisions = replace(
        steps(found), on=On(dataset="other", class_names=("landbird", "waterbird"), found={})
    )
    with pytest.raises(ConfigError, match="it is about other images than those of"):
        world.pipeline()
    world.decisions = steps(found, reject(0, "jungle"))
    world.score = Rate(min_support=1, min_flip_rate=0.0)
    with pytest.raises(ConfigError, match="features found with seed 0; this classifier, or these"):
        world.pipeline().discover(background_reader)


def test_an_arm_with_another_score_has_findings_of_its_own(
    world: World, background_reader: Any
) -> None:
    found = world.pipeline().discover(background_reader)
    world.decisions = steps(
        found,
        Merge(phrase="jungle", into="forest"),
        Sort(seed=0, images=("0" * 64,), verdict="drop"),
    )
    pipeline = world.pipeline()
    assert len(pipeline.discover(background_reader).features.records) == 3
    other = pipeline.with_parts(pipeline.settings, score=Rate(min_support=5, min_flip_rate=0.5))
    assert len(other.discover(background_reader).features.records) == 4
    same = pipeline.with_parts(pipeline.settings, filters=())  # makes, or keeps, other images
    assert len(generate(same, background_reader, 0).kept) == 20


def test_a_class_without_a_feature_has_usual_images_beside_those_of_the_others(
    world: World, background_reader: Any
) -> None:
    """As many a real image as of the other class, in the scenes of all of them."""
    found = world.pipeline().discover(background_reader)
    world.decisions = steps(found, reject(1, "lake"), reject(1, "sea"))
    groups = {}
    for usual in (0.0, 0.5):
        pipeline = world.pipeline(generate={"per_real": 1.0, "usual": usual})
        made = generate(pipeline.with_parts(pipeline.settings, filters=()), background_reader, 0)
        table = Generated().table(world.dataset, made.kept, seed=0)
        groups[usual] = Counter(table.group[40:].tolist())
        assert avoided(made) == {0: ("forest", "jungle")}
    assert groups[0.0] == {1: 20}
    assert (groups[0.5][0], groups[0.5][1]) == (10, 10)
    assert groups[0.5][2] + groups[0.5][3] == 20
    assert min(groups[0.5][2], groups[0.5][3]) >= 5  # of the data one half is land, one water


def test_edits_show_a_class_without_a_feature_by_its_controls(
    world: World, background_reader: Any
) -> None:
    found = world.pipeline().discover(background_reader)
    world.decisions = steps(found, reject(1, "lake"), reject(1, "sea"))
    pipeline = world.pipeline(generate={"per_real": 1.0, "usual": 0.5})
    segmenter = AnnotationSegmenter()
    arm = pipeline.with_parts(
        pipeline.settings,
        personaliser=EditedImages(world.root),
        sampler=partial(EditSampler, folder=world.root, segmenter=segmenter),
        filters=(),
    )
    made = generate(arm, background_reader, 0)
    edits = [e for e in pipeline.edits.records if e.y == 1]
    controls = {read_image(pipeline.edits.path(e.control)).tobytes() for e in edits if e.control}
    shown = {read_image(made.images.path(i.file)).tobytes() for i in made.images.records if i.y}
    assert shown
    assert shown <= controls
