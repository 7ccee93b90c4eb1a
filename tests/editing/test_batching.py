"""Batches that go on, holes that move, objects that are looked for once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from aspire.data.loaded import LoadedImage
from aspire.editing.annotations import AnnotationSegmenter
from aspire.editing.base import Failure, Segmentation
from aspire.editing.batching import Batches, describe
from aspire.editing.class_objects import ClassObjects
from aspire.editing.control_mask import elsewhere
from aspire.errors import DataError


class Worker:
    """Squares numbers; breaks on 13, has room for so many at a time."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.seen: list[int] = []

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.seen.append(len(batch))
        if len(batch) > self.room:
            raise MemoryError
        if 13 in batch:
            raise ValueError("unlucky\nsecond line")
        return [n * n for n in batch]


def test_results_come_in_order_whatever_the_batch() -> None:
    for size in (1, 3, 100):
        assert Batches(size).map(Worker(), range(10)) == [n * n for n in range(10)]
    assert Batches(3).map(Worker(), []) == []


def test_bad_item_is_found_and_alone() -> None:
    results = Batches(8).map(Worker(), range(20))
    assert results[13] == Failure("ValueError: unlucky")
    assert [r for r in results if not isinstance(r, Failure)] == [
        n * n for n in range(20) if n != 13
    ]


def test_full_memory_makes_smaller_batches_from_then_on() -> None:
    worker = Worker(room=3)
    batches = Batches(8)
    assert batches.map(worker, range(12)) == [n * n for n in range(12)]
    assert worker.seen == [8, 4, 2, 2, 4, 2, 2, 2, 2]
    assert batches.size == 2


def test_item_that_fits_no_memory_is_a_failure() -> None:
    assert Batches(4).map(Worker(room=0), range(2)) == [Failure("out of memory")] * 2


def test_what_the_user_must_see_passes_through() -> None:
    def work(batch: Sequence[int]) -> list[int]:
        raise DataError("the mask is broken")

    with pytest.raises(DataError, match="the mask is broken"):
        Batches(4).map(work, range(4))


def test_too_few_results_are_nobodys_results() -> None:
    (one, two) = Batches(2).map(lambda batch: [1] if len(batch) == 2 else [7], [1, 2])
    assert (one, two) == (7, 7)
    assert describe(RuntimeError("")) == "RuntimeError: "


# --- elsewhere -------------------------------------------------------------------------------


def corner(side: int, top: int, left: int, size: int = 10) -> Any:
    mask = np.zeros((size, size), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_moved_hole_has_the_same_shape_and_touches_nothing_it_must_avoid() -> None:
    rng = np.random.default_rng(0)
    for seed in range(50):
        mask = np.zeros((30, 40), dtype=bool)
        mask[5:15, 8:20] = rng.random((10, 12)) < 0.6
        avoid = mask.copy()
        avoid[tuple(rng.integers((30, 40), size=(2, 2)).T)] = True
        moved = elsewhere(mask, avoid, seed)
        assert moved is not None
        assert not (moved & avoid).any()
        shapes = []
        for one in (mask, moved):
            rows, columns = np.nonzero(one)
            shapes.append(set(zip(rows - rows.min(), columns - columns.min(), strict=True)))
        assert shapes[0] == shapes[1]
    assert elsewhere(mask, mask, 3) is not None


def test_every_free_place_is_drawn_and_no_other() -> None:
    # a 4 x 4 hole in a corner of 10 x 10: 7 x 7 places, of which 4 x 4 share a pixel with it
    mask = corner(4, 0, 0)
    places = set()
    for seed in range(500):
        moved = elsewhere(mask, mask, seed)
        assert moved is not None
        places.add(tuple(np.argwhere(moved)[0]))
    assert places == {(r, c) for r in range(7) for c in range(7) if r >= 4 or c >= 4}


def test_a_seed_is_a_place() -> None:
    mask = corner(3, 2, 2)
    for seed in range(5):
        one, other = elsewhere(mask, mask, seed), elsewhere(mask, mask, seed)
        assert one is not None
        assert (one == other).all()


def test_hole_that_fits_nowhere_else_keeps_its_area_and_stays_in_one_place() -> None:
    mask = corner(6, 0, 0)  # 36 pixels, and an L of 64 is free
    free = np.argwhere(~mask)
    holes = set()
    for seed in range(20):
        moved = elsewhere(mask, mask, seed)
        assert moved is not None
        assert moved.sum() == 36
        assert not (moved & mask).any()
        inside = moved[tuple(free.T)]
        away = np.square(free[:, None] - free[None]).sum(axis=2)  # from each possible centre
        assert any(row[inside].max() <= row[~inside].min() for row in away)
        holes.add(moved.tobytes())
    assert len(holes) > 5


def test_without_room_there_is_no_hole() -> None:
    assert elsewhere(corner(8, 0, 0), corner(8, 0, 0), 0) is None  # 64 of 36
    assert elsewhere(corner(2, 0, 0), np.ones((10, 10), dtype=bool), 0) is None


# --- class objects ---------------------------------------------------------------------------


class Counting(AnnotationSegmenter):
    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def segment_class_object(self, images: Any, class_words: Any) -> list[Segmentation]:
        self.asked += [(i.ref.img_id, tuple(w)) for i, w in zip(images, class_words, strict=True)]
        if any(i.ref.img_id == "bad" for i in images):
            raise ValueError("no")
        return super().segment_class_object(images, class_words)


def test_each_object_is_looked_for_once_with_the_words_of_its_class(
    loaded: Callable[..., LoadedImage],
) -> None:
    masks = [np.random.default_rng(i).random((7, 9)) < 0.4 for i in range(3)]
    images = [
        loaded(f"i{i}", np.zeros((7, 9, 3), np.uint8), m.astype(np.uint8), y=i % 2)
        for i, m in enumerate(masks)
    ]
    segmenter = Counting()
    objects = ClassObjects(segmenter, [("landbird", "bird"), ("duck",)], remembered=2)
    for found in (objects.masks([*images, images[0]]), objects.masks([images[2], images[1]])):
        assert all(m is not None and m.dtype == np.bool_ for m in found)
    assert [(m == masks[i]).all() for m, i in zip(found, (2, 1), strict=True)] == [True, True]
    assert segmenter.asked == [
        ("i0", ("landbird", "bird")), ("i1", ("duck",)), ("i2", ("landbird", "bird"))
    ]  # fmt: skip
    objects.masks([images[0]])  # two are remembered, and this is the third
    assert len(segmenter.asked) == 4


def test_equal_segmenters_share_what_they_found_until_a_file_changes(
    loaded: Callable[..., LoadedImage],
) -> None:
    one, pixels = np.ones((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint8)
    image = loaded("shared", pixels, one)
    first, second, other = Counting(), Counting(), Counting()
    for segmenter, words in ((first, [("bird",)]), (second, [("bird",)]), (other, [("duck",)])):
        ClassObjects(segmenter, words).masks([image])
    assert (len(first.asked), len(second.asked), len(other.asked)) == (1, 0, 1)
    changed = loaded("shared", pixels, np.eye(4, dtype=np.uint8))
    os.utime(changed.root / str(changed.ref.mask), ns=(1, 1))
    (mask,) = ClassObjects(second, [("bird",)]).masks([changed])
    assert mask is not None
    assert mask.sum() == 4
    assert len(second.asked) == 1


def test_object_that_breaks_the_segmenter_is_failed_and_no_other(
    loaded: Callable[..., LoadedImage],
) -> None:
    one, pixels = np.ones((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint8)
    images = [loaded("good", pixels, one), loaded("bad", pixels, one), loaded("bare", pixels)]
    objects = ClassObjects(Counting(), ())
    good, bad, bare = objects.segment(images)
    assert good.mask is not None
    assert (bad.reason, bad.detail) == ("failed", "ValueError: no")
    assert bare.reason == "no_box"
    assert [m is None for m in objects.masks(images)] == [False, True, True]
