"""Masks from annotations: which phrase finds which object."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aspire.data.loaded import LoadedImage
from aspire.editing.annotations import AnnotationSegmenter
from aspire.records import ImageRef

LABELS = np.array([[0, 1, 1, 0], [2, 1, 1, 3], [2, 0, 0, 3]], np.uint8)
OBJECTS = {"sailing ship": 2, "dog": 3, "kite": 4}  # the kite is hidden: in no pixel


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., LoadedImage]:
    def make(labels: Any = LABELS, objects: dict[str, int] = OBJECTS) -> LoadedImage:
        Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
        Image.fromarray(labels).save(tmp_path / "m.png")
        ref = ImageRef(img_id="a", file="a.png", y=0, mask="m.png", objects=objects)
        return LoadedImage(ref, tmp_path)

    return make


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("sailing ship", 2),
        ("old sailing ship", 2),  # the annotation is the phrase's end
        ("ship", 2),  # the phrase is the annotation's end
        ("Dog", 3),
        ("big dog", 3),
        ("hotdog", "no_box"),  # an end of the text, but not of the words
        ("dog house", "no_box"),
        ("sailing", "no_box"),
        ("tree", "no_box"),
        ("kite", "empty_mask"),
    ],
)
def test_phrase_finds_its_annotation(
    image: Callable[..., LoadedImage], phrase: str, expected: int | str
) -> None:
    (found,) = AnnotationSegmenter().segment([image()], [phrase])
    if isinstance(expected, str):
        assert (found.mask, found.reason) == (None, expected)
    else:
        assert found.mask is not None
        assert found.mask.dtype == np.bool_
        assert (found.mask == (expected == LABELS)).all()
        assert (found.score, found.reason) == (None, None)


def test_answers_come_in_order(image: Callable[..., LoadedImage]) -> None:
    one = image()
    found = AnnotationSegmenter().segment([one, one, one], ["dog", "tree", "ship"])
    assert [None if f.mask is None else int(f.mask.sum()) for f in found] == [2, None, 2]


def class_object(image: LoadedImage) -> Any:
    (found,) = AnnotationSegmenter().segment_class_object([image], [()])
    return found.mask


def test_class_object_is_one_where_objects_are_named(image: Callable[..., LoadedImage]) -> None:
    mask = class_object(image())
    assert mask is not None
    assert (mask == (LABELS == 1)).all()


@pytest.mark.parametrize("value", [1, 255])
def test_mask_without_named_objects_may_use_any_value(
    image: Callable[..., LoadedImage], value: int
) -> None:
    labels = (LABELS == 1).astype(np.uint8) * value
    mask = class_object(image(labels, {}))
    assert mask is not None
    assert (mask == (LABELS == 1)).all()


def test_one_bit_masks_as_cub_ships_them(image: Callable[..., LoadedImage]) -> None:
    mask = class_object(image(LABELS == 1, {}))
    assert mask is not None
    assert (mask == (LABELS == 1)).all()


def test_empty_and_absent_masks_find_nothing(
    image: Callable[..., LoadedImage], tmp_path: Path
) -> None:
    assert class_object(image(np.zeros_like(LABELS))) is None
    bare = LoadedImage(ImageRef(img_id="a", file="a.png", y=0, objects=OBJECTS), tmp_path)
    assert class_object(bare) is None
    (found,) = AnnotationSegmenter().segment([bare], ["dog"])
    assert (found.mask, found.reason) == (None, "no_box")
