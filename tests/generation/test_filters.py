"""Filters of generated images, alone and as the stages run them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aspire.data.images import png_bytes
from aspire.generation.base import GeneratedImage, Reference
from aspire.generation.filters import Duplicate, LowConfidence, NearUniform
from aspire.pipeline.stage import LocalEngine
from aspire.pipeline.stages.filter import FilterStage, MeasuredSet, MeasureStage
from aspire.pipeline.store import ArtifactStore
from aspire.records import Measurement, SyntheticImage


class RedReader:
    """Class 0 is as probable as the mean red value of the image is high."""

    digest = "red-reader"

    def __call__(self, images: Sequence[Any]) -> Any:
        red = np.array([i[..., 0].mean() / 255 for i in images], np.float32)
        return np.stack([red, 1 - red], axis=1)


READER = Reference(RedReader())


def picture(seed: int, size: int = 32, low: int = 0, high: int = 256) -> Any:
    """Blocks of random grey: no two of them look alike."""
    blocks = np.random.default_rng(seed).integers(low, high, (8, 8), dtype=np.uint8)
    return np.repeat(np.kron(blocks, np.ones((size // 8,) * 2, np.uint8))[..., None], 3, axis=2)


def image(img_id: str, pixels: Any, y: int = 0, mask: Any = None) -> GeneratedImage:
    return GeneratedImage(img_id, y, pixels, mask)


def test_near_uniform_measures_the_standard_deviation_of_grey() -> None:
    half = np.zeros((4, 4, 3), np.uint8)
    half[:2] = 40  # values 0 and 40, half each: standard deviation 20
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[:2, :, 0], colours[2:, :, 1] = 90, 90  # red and green of one brightness
    images = [image("a", half), image("b", colours), image("c", np.full((4, 4, 3), 7, np.uint8))]
    assert NearUniform().measure(images, READER) == [20.0, 0.0, 0.0]


def test_near_uniform_rejects_below_the_threshold_only() -> None:
    values = {"black": 0.0, "below": 7.99, "at": 8.0, "above": 60.0}
    assert NearUniform(min_std=8.0).reject(values) == {"black", "below"}


def test_duplicate_keeps_the_first() -> None:
    a, b = picture(1), picture(2)
    images = [image("1", a), image("2", b), image("3", a.copy()), image("4", b), image("5", a)]
    hashes = Duplicate().measure(images, READER)
    assert hashes[0] == hashes[2] == hashes[4] != hashes[1]
    assert Duplicate().reject(dict(zip("12345", hashes, strict=True))) == {"3", "4", "5"}


def test_duplicate_counts_differing_bits() -> None:
    values = {"a": "0000000000000000", "b": "0000000000000007", "c": "ff00000000000000"}
    assert Duplicate(max_distance=2).reject(values) == set()
    assert Duplicate(max_distance=3).reject(values) == {"b"}
    assert Duplicate(max_distance=8).reject(values) == {"b", "c"}


def test_duplicate_compares_with_kept_images_only() -> None:
    # b is within 3 bits of a and c within 3 bits of b, but c is 6 bits from a
    values = {"a": "0000000000000000", "b": "0000000000000007", "c": "000000000000003f"}
    assert Duplicate(max_distance=3).reject(values) == {"b"}


def test_duplicate_sees_through_a_change_of_size() -> None:
    hashes = Duplicate().measure(
        [image("a", picture(3, size=32)), image("b", picture(3, size=64))], RedReader()
    )
    assert hashes[0] == hashes[1]


def test_low_confidence_asks_for_the_image_s_own_class() -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 51  # 0.2 of 255
    whole = np.ones((4, 4), dtype=bool)
    images = [image("a", red, y=0, mask=whole), image("b", red, y=1, mask=whole)]
    assert LowConfidence().measure(images, READER) == pytest.approx([0.2, 0.8])


def test_low_confidence_sees_the_object_on_grey() -> None:
    mask = np.zeros((4, 4), dtype=bool)
    mask[:2, :2] = True
    seen = []
    for around in ((0, 250, 0), (255, 0, 0)):  # two scenes must not make a difference
        pixels = np.full((4, 4, 3), around, np.uint8)
        pixels[mask] = (200, 0, 0)
        seen += LowConfidence().measure([image("a", pixels, mask=mask)], READER)
    # 4 pixels of 200 and 12 of the grey 127: (800 + 1524) / 16 = 145.25
    assert seen == pytest.approx([145.25 / 255] * 2, abs=1e-5)


def test_low_confidence_does_not_judge_an_object_it_cannot_tell_from_its_scene() -> None:
    mask = np.ones((4, 4), dtype=bool)
    black = np.zeros((4, 4, 3), np.uint8)  # READER gives class 0 nothing
    images = [image("a", black), image("b", black, mask=mask), image("c", black)]
    values = dict(zip("abc", LowConfidence().measure(images, READER), strict=True))
    assert values["b"] == 0.0
    assert LowConfidence().reject(values) == {"b"}
    assert LowConfidence().measure(images[:1], READER) == [values["a"]]


def test_low_confidence_rejects_below_the_threshold_only() -> None:
    values = {"a": 0.0, "b": 0.0199, "c": 0.02, "d": 1.0}
    assert LowConfidence(min_probability=0.02).reject(values) == {"a", "b"}


def write(folder: Path, pictures: dict[str, Any]) -> list[SyntheticImage]:
    made = []
    for img_id, pixels in pictures.items():
        (folder / f"{img_id}.png").write_bytes(png_bytes(pixels))
        (folder / f"{img_id}-mask.png").write_bytes(png_bytes(np.full_like(pixels[..., 0], 255)))
        made.append(
            SyntheticImage(
                img_id=img_id, y=0, seed=0, prompt="", parents=("a", "b"),
                file=f"{img_id}.png", mask=f"{img_id}-mask.png",
            )
        )  # fmt: skip
    return made


def decide(folder: Path, pictures: dict[str, Any], filters: tuple[Any, ...]) -> dict[str, Any]:
    store, engine = ArtifactStore(folder / "store"), LocalEngine(3)
    stage = MeasureStage(filters, RedReader(), folder)
    measured = store.run(stage, write(folder, pictures), {}, engine)
    decisions = store.run(
        FilterStage(filters), [MeasuredSet(measured.records)], {"m": measured.digest}, engine
    )
    return {d.img_id: d.reason for d in decisions.records}


FILTERS = (NearUniform(), Duplicate(), LowConfidence(0.3))


def test_a_seeded_set_loses_exactly_its_bad_images(tmp_path: Path) -> None:
    good = {f"good-{i}": picture(i, low=100) for i in range(8)}
    dark = {f"off-{i}": picture(20 + i, high=90) for i in range(2)}  # red below 0.3: another class
    bad = {"black": np.zeros((32, 32, 3), np.uint8), "again": picture(3, low=100)}
    reasons = decide(tmp_path, {**good, **dark, **bad}, FILTERS)
    assert {i: r for i, r in reasons.items() if r is not None} == {
        "black": "near_uniform",
        "good-3": "duplicate",  # "again" comes first in the order of ids
        "off-0": "low_confidence",
        "off-1": "low_confidence",
    }
    assert len(reasons) == 12


def test_first_filter_to_object_is_the_reason(tmp_path: Path) -> None:
    black = {"a": np.zeros((32, 32, 3), np.uint8), "b": np.zeros((32, 32, 3), np.uint8)}
    uniform, duplicate, confidence = FILTERS
    for name in "xyz":
        (tmp_path / name).mkdir()
    assert decide(tmp_path / "x", black, (uniform, duplicate, confidence)) == {
        "a": "near_uniform",
        "b": "near_uniform",
    }
    assert decide(tmp_path / "y", black, (duplicate, confidence, uniform)) == {
        "a": "low_confidence",
        "b": "duplicate",
    }
    assert decide(tmp_path / "z", black, (confidence, uniform, duplicate)) == {
        "a": "low_confidence",
        "b": "low_confidence",
    }


def test_an_image_that_is_out_does_not_make_another_one_a_duplicate() -> None:
    values = [
        Measurement(img_id="1", values={"low_confidence": 0.0, "duplicate": "00"}),
        Measurement(img_id="2", values={"low_confidence": 0.9, "duplicate": "00"}),
    ]
    stage = FilterStage((LowConfidence(0.3), Duplicate()))
    (result,) = stage.run([MeasuredSet(tuple(values))], lambda pixels: "")
    assert [(d.img_id, d.reason) for d in result.records] == [("1", "low_confidence"), ("2", None)]
    assert result.records[1].scores == {"low_confidence": 0.9}


def test_threshold_changes_the_decision_and_not_the_measurement() -> None:
    strict = (NearUniform(20.0), Duplicate(9), LowConfidence(0.9))
    measure = [MeasureStage(f, RedReader(), Path()).identity() for f in (FILTERS, strict)]
    assert measure[0] == measure[1]
    for index in range(3):
        changed = tuple(strict[i] if i == index else f for i, f in enumerate(FILTERS))
        assert FilterStage(changed).identity() != FilterStage(FILTERS).identity()


def test_order_of_the_filters_is_part_of_the_decision() -> None:
    assert FilterStage(FILTERS).identity() != FilterStage(FILTERS[::-1]).identity()
