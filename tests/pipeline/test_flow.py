"""The whole chain on the tiny Waterbirds, with a classifier that takes nothing but the shortcut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aspire.data.images import read_image, read_labels
from aspire.data.table import Dataset
from aspire.discovery.base import Score
from aspire.discovery.rate import Rate
from aspire.discovery.wilson import Wilson
from aspire.editing.annotations import AnnotationSegmenter
from aspire.editing.composition import CompositionRestyler
from aspire.editing.opencv_inpainter import OpenCVInpainter
from aspire.errors import AspireError
from aspire.generation.composition import CompositionPersonaliser, CompositionSampler
from aspire.generation.filters import Duplicate, NearUniform
from aspire.language.base import Phrases
from aspire.language.dataset_captioner import DatasetCaptioner
from aspire.pipeline.flow import Pipeline
from aspire.pipeline.parts import Backends, NothingFoundError, StageSettings
from aspire.pipeline.records import Rejected
from aspire.pipeline.stage import LocalEngine
from aspire.pipeline.store import Artifact, ArtifactStore

LAND, WATER = {"jungle", "forest"}, {"lake", "sea"}


class SplitExtractor:
    """ "a landbird on the lake": the scene is what follows "on the"."""

    def identity(self) -> Mapping[str, Any]:
        return {"extractor": "split"}

    def extract(self, captions: Sequence[str], words: Sequence[Sequence[str]]) -> list[Phrases]:
        return [Phrases((), c.split(" on the ")[1] if " on the " in c else None) for c in captions]


class AlwaysRight:
    """A classifier without a shortcut: it knows the colour of the square."""

    digest = "always-right"

    def __call__(self, images: Sequence[Any]) -> Any:
        yellow = [((i[..., 0] > 190) & (i[..., 1] > 170)).sum() > 20 for i in images]
        return np.array([[0.2, 0.8] if y else [0.8, 0.2] for y in yellow], np.float32).reshape(
            -1, 2
        )


SETTINGS = StageSettings(
    caption={"max_rejected": 0.5},
    extract={"max_rejected": 0.5},
    edit={"images_per_class": None, "dilate": 3, "max_mask": 0.5, "seed": 0},
    discover={"collapse": {}},
    generate={"per_real": 0.5, "max_per_class": 1000},
    filter={"min_kept": 0.0},
)


class World:
    """One store and the pipelines over it."""

    def __init__(self, dataset: Dataset, root: Path) -> None:
        self.dataset = dataset
        self.root = root
        self.log: list[Artifact[Any]] = []
        self.score: Score = Wilson(min_support=5)

    def pipeline(self, **settings: Mapping[str, Any]) -> Pipeline:
        segmenter, inpainter = AnnotationSegmenter(), OpenCVInpainter()
        restyler = CompositionRestyler(inpainter)

        def sampler(root: Path, refs: Any) -> CompositionSampler:
            return CompositionSampler(root, refs, segmenter, restyler)

        return Pipeline(
            self.dataset,
            "digest-of-the-dataset",
            Backends(
                captioner=DatasetCaptioner(),
                extractor=SplitExtractor(),
                segmenter=segmenter,
                inpainter=inpainter,
                restyler=restyler,
                score=self.score,
                personaliser=CompositionPersonaliser(),
                sampler=sampler,
                filters=(NearUniform(), Duplicate()),
            ),
            replace(SETTINGS, **{k: {**getattr(SETTINGS, k), **v} for k, v in settings.items()}),
            ArtifactStore(self.root, on_done=self.log.append),
            LocalEngine(batch_size=16),
        )

    def states(self) -> dict[str, str]:
        states = {a.stage: a.state for a in self.log}
        self.log.clear()
        return states


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
    for feature in spurious.values():
        assert (feature.support, feature.flips, feature.flip_rate) == (8, 8, 1.0)
        assert feature.score == pytest.approx(8 / (8 + 1.959964**2), abs=1e-6)
        assert feature.mean_drop == pytest.approx(0.8)


def test_edits_move_every_image_to_a_scene_of_another_image(world: World) -> None:
    pipeline = world.pipeline()
    assert len(pipeline.edits.records) == 40
    for edit in pipeline.edits.records:
        assert edit.donor != edit.img_id
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
    made = pipeline.generate(background_reader, seed=0)
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


def test_second_time_everything_is_there(world: World, background_reader: Any) -> None:
    first = world.pipeline().generate(background_reader, seed=0)
    assert set(world.states().values()) == {"run"}
    shown = background_reader.shown
    second = world.pipeline().generate(background_reader, seed=0)
    assert set(world.states().values()) == {"hit"}
    assert background_reader.shown == shown
    assert second.kept == first.kept


@pytest.mark.parametrize(
    ("settings", "again"),
    [
        ({"discover": {"collapse": {"similarity": 100}}}, {"collapse"}),  # to the same groups
        (
            {"edit": {"seed": 1}},
            {"edit", "score", "discover", "personalise", "generate", "measure", "filter"},
        ),
        ({"generate": {"per_real": 0.25}}, {"generate", "measure", "filter"}),
        ({"filter": {"min_kept": 0.01}}, set()),
    ],
)
def test_a_change_repeats_what_depends_on_it_and_no_more(
    world: World, background_reader: Any, settings: dict[str, Any], again: set[str]
) -> None:
    world.pipeline().generate(background_reader, seed=0)
    world.states()
    world.pipeline(**settings).generate(background_reader, seed=0)
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
    first = world.pipeline().generate(background_reader, seed=0)
    world.states()
    second = world.pipeline().generate(background_reader, seed=1)
    states = world.states()
    assert {s for s, state in states.items() if state == "run"} <= {"generate", "measure", "filter"}
    assert states["generate"] == "run"
    assert first.images.digest != second.images.digest


def test_two_stores_agree_to_the_byte(
    waterbirds: Dataset, tmp_path: Path, background_reader: Any
) -> None:
    digests = [
        World(waterbirds, tmp_path / name).pipeline().generate(background_reader, 0).kept.digest
        for name in "ab"
    ]
    assert digests[0] == digests[1]


def test_without_a_shortcut_there_is_nothing_to_generate(world: World) -> None:
    with pytest.raises(NothingFoundError) as caught:
        world.pipeline().generate(AlwaysRight(), seed=0)
    text = str(caught.value)
    assert "no class can be personalised" in text
    assert "no_spurious_feature: landbird" in text
    assert "no_spurious_feature: waterbird" in text
    assert "try score.min_support=3" in text


def test_too_strict_filters_name_the_reasons_and_what_to_change(
    world: World, background_reader: Any
) -> None:
    pipeline = world.pipeline(filter={"min_kept": 0.9})
    pipeline.backends = replace(pipeline.backends, filters=(NearUniform(min_std=200.0),))
    with pytest.raises(AspireError) as caught:
        pipeline.generate(background_reader, seed=0)
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
    both = NothingFoundError([none, scene])
    assert both.reason == "no_context, no spurious feature found"
    assert "no_context: dog: no scene without ['sea']" in str(both)
