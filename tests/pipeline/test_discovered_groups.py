"""Groups from discovered features: what is with, without and unknown, and who gets to see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aspire.baselines.base import Needs
from aspire.data.image_table import ImageTable
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError
from aspire.generation.base import GeneratedSet
from aspire.pipeline.discovered_groups import (
    UNKNOWN,
    WITH,
    WITHOUT,
    Annotated,
    Discovered,
    PseudoGroups,
    known_rows,
)
from aspire.records import Extraction, PhraseGroup, Rejected, SpuriousFeature
from aspire.training.regrouped import OnDiscoveredGroups


def feature(
    y: int, phrase: str, spurious: bool, scene: bool = True, support: int = 9, drop: float = 0.0
) -> Any:
    return SpuriousFeature(
        feature_id=f"{y}/{phrase}", y=y, rank=1, phrase=phrase, support=support, flips=0,
        kind="change_background" if scene else "remove_object", flip_rate=0.0, score=0.0,
        mean_drop=drop, spurious=spurious, examples=(),
    )  # fmt: skip


# class 0 leans on the forest, class 1 on the lake and class 2 on the ball
FEATURES = (
    feature(0, "forest", True), feature(0, "street", False), feature(0, "cave", False, support=2),
    feature(0, "desert", False, drop=0.04),
    feature(1, "lake", True), feature(2, "ball", True, scene=False), feature(2, "cave", False),
)  # fmt: skip
NAMES = {
    p: p for p in ("forest", "street", "cave", "lake", "ball", "sky", "desert", "jungle", "sea")
} | {"woods": "forest"}


@pytest.mark.parametrize(
    ("y", "foreground", "background", "attribute"),
    [
        (0, (), "forest", WITH),
        (0, (), "woods", WITH),  # counted under forest
        (0, ("forest",), "street", WITH),
        (0, (), "street", WITHOUT),  # judged, and does not help
        (0, (), "lake", WITHOUT),  # the shortcut of another class
        (0, (), "desert", UNKNOWN),  # judged, and perhaps a weak shortcut
        (0, (), "jungle", WITH),  # never seen, of the kind of the forest
        (0, (), "sea", WITHOUT),  # never seen, of the kind of the lake
        (0, (), "cave", UNKNOWN),  # edited twice
        (0, (), "sky", UNKNOWN),  # never
        (0, ("ball",), None, UNKNOWN),  # the caption does not say where
        (2, ("ball",), None, WITH),
        (2, (), None, WITHOUT),  # an object is there or it is not
        (2, (), "sky", WITHOUT),
    ],
)
def test_what_a_caption_tells(
    y: int, foreground: tuple[str, ...], background: str | None, attribute: int
) -> None:
    extraction = Extraction(
        img_id="a", foreground=foreground, background=background, alternative=None
    )
    assert Discovered().attribute(y, extraction, NAMES, FEATURES) == attribute


def test_no_caption_no_group() -> None:
    assert Discovered().attribute(2, None, NAMES, FEATURES) == UNKNOWN


@dataclass
class FakePipeline:
    """What Discovered asks of a pipeline: scenes by hand, for one split."""

    dataset: Dataset
    features: tuple[Any, ...]
    scene: dict[str, str]
    splits: tuple[Split, ...] = (Split.TRAIN,)
    num_classes: int = 2
    phrase_groups: Any = field(init=False)

    def __post_init__(self) -> None:
        groups = (PhraseGroup(phrase=p, members=(p,)) for p in ("forest", "lake", "cave"))
        self.phrase_groups = SimpleNamespace(records=tuple(groups))

    @property
    def refs(self) -> dict[str, Any]:
        rows = self.dataset.split(self.splits[0])
        return {
            i: SimpleNamespace(y=int(y)) for i, y in zip(rows["img_id"], rows["y"], strict=True)
        }

    @property
    def extractions(self) -> Any:
        records = [
            Extraction(img_id=i, foreground=(), background=self.scene[i], alternative=None)
            for i in self.refs
            if i in self.scene
        ]
        return SimpleNamespace(records=records)

    def on(self, split: Split) -> FakePipeline:
        return FakePipeline(self.dataset, self.features, self.scene, (split,))

    def phrase_groups_with(self, known: Any) -> Any:
        return known

    def discover(self, classifier: Any) -> Any:
        none = Rejected(item_id="000", reason="no_spurious_feature", detail="nothing flips")
        features = SimpleNamespace(records=self.features, rejected=(none,), digest="d")
        return SimpleNamespace(features=features)


def scenes_of(dataset: Dataset) -> dict[str, str]:
    """Captions that name the place as it is annotated."""
    rows = dataset.table
    return {i: ("forest", "lake")[p] for i, p in zip(rows["img_id"], rows["place"], strict=True)}


LEANS = (feature(0, "forest", True), feature(1, "lake", True))


def discovered(pipeline: Any) -> PseudoGroups:
    """The groups that this stand-in leads to; it asks no classifier."""
    classifier: Any = None
    return Discovered().find(lambda: pipeline, lambda: classifier)


def test_a_perfect_discovery_gives_the_annotated_groups(waterbirds: Dataset) -> None:
    pipeline = FakePipeline(waterbirds, LEANS, scenes_of(waterbirds))
    found = discovered(pipeline)
    for split in (Split.TRAIN, Split.VAL):
        table = ImageTable.of(waterbirds, split)
        own = found.label(waterbirds, table)
        # the place that goes with the class is the shortcut
        place = table.group % 2
        assert (own.group == table.y * 2 + (place == table.y)).all()
    test = found.label(waterbirds, ImageTable.of(waterbirds, Split.TEST))
    assert (test.group == -1).all()  # nothing was captioned there
    assert found.grouper(waterbirds).names == (
        "landbird/without shortcut", "landbird/with shortcut",
        "waterbird/without shortcut", "waterbird/with shortcut",
    )  # fmt: skip


def test_generated_images_are_judged_by_their_scene(waterbirds: Dataset) -> None:
    scene = scenes_of(waterbirds)
    pipeline = FakePipeline(waterbirds, LEANS, scene)
    found = discovered(pipeline)
    train = waterbirds.split(Split.TRAIN)
    forest = next(i for i in train["img_id"] if scene[i] == "forest")
    made = GeneratedSet(
        Path("/made"), ("a.png", "b.png", "c.png"), (0, 1, 1), (forest, forest, "?"), "d"
    )
    table = ImageTable(
        tuple(made.root / f for f in made.files), np.array(made.y), np.array([9, 9, 9])
    )
    assert found.label(waterbirds, table, made).group.tolist() == [1, 2, -1]


def test_too_many_unknown_images_are_refused(waterbirds: Dataset) -> None:
    scene = dict.fromkeys(scenes_of(waterbirds), "cave")
    pipeline = FakePipeline(waterbirds, LEANS, scene)
    with pytest.raises(
        ConfigError, match=r"40 of 40 train images \(100%; groups\.max_unknown=0\.5"
    ):
        discovered(pipeline)


def test_nothing_found_no_groups(waterbirds: Dataset) -> None:
    pipeline = FakePipeline(waterbirds, (feature(0, "forest", False),), scenes_of(waterbirds))
    with pytest.raises(
        ConfigError, match=r"no class has a spurious feature.*landbird: nothing flip"
    ):
        discovered(pipeline)


def test_annotated_groups_ask_nobody() -> None:
    def never() -> Any:
        raise AssertionError

    assert Annotated().find(never, never) is None


def test_context_is_as_before_when_the_result_is_measured() -> None:
    seen = []

    class Baseline:
        needs = Needs(train_groups=True, val_groups=True)

        def run(self, ctx: Any) -> str:
            seen.append(ctx.tables)
            return "net"

    recorded: dict[str, Any] = {}
    ctx = SimpleNamespace(tables="discovered", record=lambda **v: recorded.update(v))
    wrapped = OnDiscoveredGroups(Baseline(), {"tables": "annotated"}, {"unknown_train": 3})
    assert wrapped.run(ctx) == "net"
    assert (seen, ctx.tables) == (["discovered"], "annotated")
    assert recorded == {"groups": "discovered", "unknown_train": 3}
    assert wrapped.needs.describe() == "train+val groups (discovered)"


def test_known_rows(waterbirds: Dataset) -> None:
    empty = PseudoGroups({}, {}, {}, "d")
    assert len(known_rows(empty.label(waterbirds, ImageTable.of(waterbirds, Split.VAL)))) == 0
