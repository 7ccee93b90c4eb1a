"""Found objects change places between images of two classes: which, and what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evidence import feature, ref

from aspire.data.images import png_bytes
from aspire.editing.base import Segmentation
from aspire.generation.base import ClassEvidence, GenerationRequest, Sampled
from aspire.generation.swaps import FoundRegions, RegionSampler
from aspire.records import Concept, Effect, Patch, Rejected, Swap


def removal(phrase: str, img_id: str, y: int = 0) -> Effect:
    return Effect(
        edit_id=f"{img_id}-{phrase}", img_id=img_id, y=y, kind="remove_object", phrase=phrase,
        replacement=None, p_before=0.9, p_after=0.1, predicted_after=1 - y,
    )  # fmt: skip


# Birds of class 0 are photographed with a ring and a tag, those of class 1 with neither.
SHOWN = {
    "a": frozenset({"ring"}),
    "b": frozenset({"ring", "tag"}),
    "c": frozenset({"ring", "tag"}),  # of which the tag could not be taken out
    "d": frozenset({"stone"}),
    "p": frozenset({"stone"}),
    "q": frozenset[str](),
}
EFFECTS = (removal("ring", "a"), removal("ring", "b"), removal("tag", "b"), removal("ring", "c"))


def evidence(root: Path, y: int, **changes: Any) -> ClassEvidence:
    """What is known of a class; masks lie at ``edit/EDIT.png`` below the root."""
    found = tuple(feature(p, kind="remove_object") for p in ("ring", "tag"))
    values: dict[str, Any] = {
        "y": y,
        "name": ("ringed", "wild")[y],
        "features": () if y else found,
        "effects": () if y else EFFECTS,
        "objects": (ref("p", 1), ref("q", 1)) if y else tuple(ref(i) for i in "abcd"),
        "scenes": {},
        "phrases": SHOWN,
        "foreign": EFFECTS[:1] if y else (),
        "masks": {e.edit_id: root / "edit" / f"{e.edit_id}.png" for e in EFFECTS},
    }
    return ClassEvidence(**(values | changes))


def swaps_of(outcome: Concept | Rejected) -> list[Swap]:
    assert isinstance(outcome, Concept)
    return list(outcome.swaps)


def test_an_image_of_the_class_loses_all_found_objects_or_is_not_used(tmp_path: Path) -> None:
    swaps = swaps_of(FoundRegions(tmp_path, copies=2).personalise(evidence(tmp_path, 0)))
    # each in turn; c would keep its tag, d has nothing to lose
    assert [s.img_id for s in swaps] == ["a", "b", "a", "b"]
    masks = {"a": ("edit/a-ring.png",), "b": ("edit/b-ring.png", "edit/b-tag.png")}
    for swap in swaps:
        (patch,) = swap.patches
        assert patch.masks == masks[swap.img_id]
        assert patch.donor in ("d", "p", "q")  # neither ring nor tag


def test_images_of_other_classes_get_the_object_where_it_was(tmp_path: Path) -> None:
    outcome = FoundRegions(tmp_path, copies=1).personalise(evidence(tmp_path, 1))
    given = Patch(donor="a", masks=("edit/a-ring.png",))
    assert swaps_of(outcome) == [Swap(img_id=i, patches=(given,)) for i in ("p", "q")]
    assert isinstance(outcome, Concept)
    assert outcome.avoided == ()


def test_a_found_scene_stays_where_it_is(tmp_path: Path) -> None:
    """It neither keeps a class from getting an object, nor an image from losing one."""
    snow = (feature("snow"),)
    outcome = FoundRegions(tmp_path, copies=1).personalise(evidence(tmp_path, 1, features=snow))
    assert [s.img_id for s in swaps_of(outcome)] == ["p", "q"]
    ring = (feature("ring", kind="remove_object"), *snow)
    snowy = SHOWN | {"a": frozenset({"ring", "snow"})}
    told = evidence(tmp_path, 0, features=ring, phrases=snowy)
    outcome = FoundRegions(tmp_path, copies=1).personalise(told)
    assert [s.img_id for s in swaps_of(outcome)] == ["a", "b", "c"]
    assert isinstance(outcome, Concept)
    assert outcome.avoided == ("ring",)


def test_a_class_with_features_gets_those_of_others_every_second_time(tmp_path: Path) -> None:
    leash = removal("leash", "q", 1)
    more = evidence(tmp_path, 0).masks | {leash.edit_id: tmp_path / "edit" / "leash.png"}
    told = evidence(tmp_path, 0, foreign=(leash,), masks=more)
    swaps = swaps_of(FoundRegions(tmp_path, copies=2).personalise(told))
    given = Patch(donor="q", masks=("edit/leash.png",))
    assert [given in s.patches for s in swaps] == [False, True, True, False]
    assert all(len(s.patches) == 1 + (given in s.patches) for s in swaps)


def test_equal_images_are_asked_for_again(tmp_path: Path) -> None:
    once, again = (FoundRegions(tmp_path).personalise(evidence(tmp_path, 0)) for _ in range(2))
    assert once == again


@pytest.mark.parametrize(
    ("y", "changes", "reason"),
    [
        (1, {"foreign": ()}, "no_spurious_feature"),
        (0, {"effects": ()}, "no_edit"),
        (0, {"phrases": {i: SHOWN[i] for i in "abc"}}, "no_donor"),  # nobody without it
        (1, {"foreign": (), "features": (feature("snow"),)}, "only_scenes"),
    ],
)
def test_a_class_that_nothing_can_be_done_for(
    y: int, changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    outcome = FoundRegions(tmp_path).personalise(evidence(tmp_path, y, **changes))
    assert isinstance(outcome, Rejected)
    assert outcome.reason == reason


class Rows:
    """A segmenter that finds every class object in some rows."""

    def __init__(self, *rows: int) -> None:
        self.rows = rows

    def identity(self) -> dict[str, Any]:
        return {"rows": list(self.rows)}

    def segment_class_object(self, images: Any, class_words: Any) -> list[Segmentation]:
        mask = np.zeros((4, 4), bool)
        mask[list(self.rows)] = True
        return [Segmentation(mask=mask, score=1.0) for _ in images]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Image p is 10 all over; a is 200, twice as large; the ring's mask is the right half of a."""
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 255
    (tmp_path / "edit").mkdir()
    pixels = {
        "p.png": np.full((4, 4, 3), 10, np.uint8),
        "a.png": np.full((8, 8, 3), 200, np.uint8),
        "edit/a-ring.png": mask,
    }
    for name, values in pixels.items():
        (tmp_path / name).write_bytes(png_bytes(values))
    return tmp_path


def asked(index: int = 0) -> GenerationRequest:
    given = Patch(donor="a", masks=("edit/a-ring.png",))
    concept = Concept(
        concept_id="001", y=1, objects=(), contexts=(), avoided=(),
        swaps=(Swap(img_id="p", patches=(given,)),),
    )  # fmt: skip
    return GenerationRequest(f"generated-001-{index:05d}", concept, "wild", seed=index)


def sampler(files: Path, *rows: int, feather: int = 0) -> RegionSampler:
    refs = {"p": ref("p", 1, mask=None), "a": ref("a", mask=None)}
    segmenter: Any = Rows(*rows)
    return RegionSampler(files, refs, files, segmenter, feather=feather)


def test_the_region_is_the_donors_and_the_rest_is_left(files: Path) -> None:
    (made,) = sampler(files, 0).sample([asked()])
    assert isinstance(made, Sampled)
    assert made.pixels[..., 0].tolist() == [[10, 10, 200, 200]] * 4
    assert made.parents == ("p", "a")  # the last one shows the ring, as this image now does
    assert made.mask is not None
    assert made.mask.tolist() == [[True, True, False, False]] + [[False] * 4] * 3


def test_the_rim_is_soft_inside_the_region(files: Path) -> None:
    (made,) = sampler(files, 0, feather=1).sample([asked()])
    assert isinstance(made, Sampled)
    row = made.pixels[0, :, 0].tolist()
    assert row[:2] == [10, 10]
    assert 10 < row[2] < row[3] <= 200


def test_an_object_that_would_be_covered_is_left_alone(files: Path) -> None:
    tight = sampler(files, 0, 1)
    tight.max_covered = 0.4
    (outcome,) = tight.sample([asked()])
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.detail) == ("object_covered", "50% of p's object")


def test_no_more_than_there_are(files: Path) -> None:
    made = sampler(files)
    assert made.available(asked().concept) == 1
    (outcome,) = made.sample([asked(1)])
    assert isinstance(outcome, Rejected)
    assert outcome.reason == "no_more_swaps"
