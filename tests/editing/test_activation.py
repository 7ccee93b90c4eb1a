"""Masks from activation maps, of an eye that sees what it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from aspire.data.loaded import LoadedImage
from aspire.editing import activation
from aspire.editing.activation import ActivationSegmenter
from aspire.eye import Eye, Sight

TABBY, BEACON = 281, 437
SQUARE = np.zeros((64, 64), bool)
SQUARE[16:48, 16:48] = True


class Painted(Eye):
    """Sees a cat in the middle, surest in its centre, and is not quite sure of a lighthouse."""

    def look(self, images: Any) -> list[Sight]:
        return [Sight(())]

    def answers(self, sight: Sight) -> tuple[Any, ...]:
        grid = np.zeros((8, 8, 1000), np.float32)
        grid[2:6, 2:6, TABBY] = 12
        grid[3:5, 3:5, TABBY] = 20
        grid[0, 0, BEACON] = np.log(999 * 0.4 / 0.6)  # probability 0.4 among a thousand
        return (grid,) * 3


@pytest.fixture
def picture(loaded: Callable[..., LoadedImage], monkeypatch: pytest.MonkeyPatch) -> LoadedImage:
    monkeypatch.setattr(activation, "shared_eye", lambda device: Painted(device="cpu"))
    pixels = np.random.default_rng(0).integers(0, 60, (64, 64, 3))
    return loaded("cat", (pixels + 180 * SQUARE[..., None]).astype(np.uint8))


def overlap(mask: Any, true: Any = SQUARE) -> float:
    return float((mask & true).sum() / (mask | true).sum())


def test_the_class_object_is_cut_out_along_its_colours(picture: LoadedImage) -> None:
    (answer,) = ActivationSegmenter().segment_class_object([picture], [("cat",)])
    assert answer.mask is not None
    assert answer.reason is None
    assert overlap(answer.mask) > 0.95
    assert answer.score == pytest.approx(1, abs=1e-4)


def test_where_no_word_is_known_the_strongest_is_cut_out(picture: LoadedImage) -> None:
    (answer,) = ActivationSegmenter().segment_class_object([picture], [("okapi",)])
    assert answer.mask is not None
    assert overlap(answer.mask) > 0.95


def test_phrases_have_the_outcomes_of_every_segmenter(picture: LoadedImage) -> None:
    phrases = ["two cats", "lighthouse", "barn", "gizmo"]
    cats, lighthouse, barn, gizmo = ActivationSegmenter().segment([picture] * 4, phrases)
    assert cats.mask is not None
    assert overlap(cats.mask) > 0.95
    assert lighthouse.mask is None
    assert lighthouse.reason == "low_score"
    assert lighthouse.score == pytest.approx(0.4, abs=1e-3)
    assert barn.reason == "no_box"
    assert (gizmo.reason, gizmo.detail) == ("no_box", "ImageNet has no such word")


def test_large_images_are_cut_small_and_masked_whole(
    picture: LoadedImage, loaded: Callable[..., LoadedImage]
) -> None:
    large = loaded("large", np.kron(picture.pixels, np.ones((10, 10, 1), np.uint8)))
    (answer,) = ActivationSegmenter().segment_class_object([large], [("cat",)])
    assert answer.mask is not None
    assert answer.mask.shape == (640, 640)
    assert overlap(answer.mask, np.kron(SQUARE, np.ones((10, 10), bool))) > 0.9


def test_a_picture_of_one_cell_is_no_failure(
    picture: LoadedImage, loaded: Callable[..., LoadedImage]
) -> None:
    dot = loaded("dot", np.zeros((1, 1, 3), np.uint8))
    (answer,) = ActivationSegmenter().segment_class_object([dot], [("cat",)])
    assert answer.reason != "failed"


def test_identity_follows_the_settings_not_the_device() -> None:
    one = ActivationSegmenter().identity()
    assert ActivationSegmenter(device="cpu").identity() == one
    assert ActivationSegmenter(threshold=0.6).identity() != one
    assert ActivationSegmenter(iterations=1).identity() != one
