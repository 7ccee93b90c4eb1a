"""Filters that ask CLIP, the classifier, the test split and the safety checker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aspire.clip import Clip
from aspire.data.image_table import ImageTable
from aspire.data.images import png_bytes
from aspire.errors import ConfigError
from aspire.generation.alia_confidence import AliaConfidence
from aspire.generation.base import GeneratedImage, Reference
from aspire.generation.classifier_feature import ClassifierFeature
from aspire.generation.clip_filters import AliaSemantic, ClipClass, ClipFeature
from aspire.generation.filters import Duplicate, NearUniform
from aspire.generation.in_test import InTest
from aspire.generation.real_distance import RealDistance
from aspire.generation.safety import Safety
from aspire.pipeline.stage import LocalEngine
from aspire.pipeline.stages.filter import FilterStage, MeasuredSet, MeasureStage
from aspire.pipeline.store import ArtifactStore
from aspire.records import SyntheticImage

NAMES = ("cat", "dog")
COLOURS = {"cat": 0, "dog": 1, "forest": 2}  # red, green and blue


class Colours:
    """Red is a cat, green a dog, blue the forest: vectors whose similarity can be worked out."""

    def identity(self) -> Any:
        return {"clip": "colours"}

    def images(self, images: Sequence[Any]) -> Any:
        means = np.array([i.reshape(-1, 3).mean(0) for i in images], np.float32)
        return means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-9)

    def texts(self, texts: Sequence[str]) -> Any:
        rows = np.array([[float(w in t) for w in COLOURS] for t in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-9)


class Half:
    """Every image is a cat with the probability of its red value."""

    digest = "half"

    def __call__(self, images: Sequence[Any]) -> Any:
        red = np.array([i[..., 0].mean() / 255 for i in images], np.float32)
        return np.stack([red, 1 - red], axis=1)


def picture(seed: int, *scale: float) -> Any:
    """Blocks of random brightness in one colour."""
    blocks = np.random.default_rng(seed).integers(60, 256, (8, 8))
    grey = np.kron(blocks, np.ones((4, 4)))[..., None]
    return (grey * np.array(scale)).astype(np.uint8)


RED, GREEN, BLUISH = (1.0, 0.1, 0.1), (0.1, 1.0, 0.0), (0.7, 0.1, 1.0)


def image(pixels: Any, y: int = 0) -> GeneratedImage:
    return GeneratedImage("i", y, pixels, None)


def reference(**changes: Any) -> Reference:
    return Reference(Half(), NAMES, {0: ("forest",)}, **changes)


def table(folder: Path, pictures: Sequence[Any], y: Sequence[int]) -> ImageTable:
    folder.mkdir(exist_ok=True)
    for index, pixels in enumerate(pictures):
        (folder / f"{index}.png").write_bytes(png_bytes(pixels))
    paths = tuple(folder / f"{i}.png" for i in range(len(pictures)))
    return ImageTable(paths, np.array(y), np.zeros(len(y), np.int64))


def test_clip_class_is_the_margin_over_the_likeliest_other_class() -> None:
    images = [image(picture(1, *RED)), image(picture(1, *GREEN)), image(picture(1, *GREEN), y=1)]
    right, wrong, right_too = ClipClass(clip=Colours()).measure(images, reference())
    assert right == pytest.approx(1.0, abs=1e-3)
    assert wrong == pytest.approx(-1.0, abs=1e-3)
    assert right_too == pytest.approx(1.0, abs=1e-3)
    # cosines 0.6 and 0.59 are 60 and 59 on CLIP's scale: 1 / (1 + e^-1) minus its complement
    vector = np.array([0.6, 0.59, 0.0], np.float32)
    margin = ClipClass(clip=Colours()).judge(vector, 0, reference())
    assert margin == pytest.approx(np.tanh(0.5), abs=1e-3)
    assert ClipClass(min_margin=0.1, clip=Colours()).reject({"a": 0.09, "b": 0.1}) == {"a"}


def test_clip_feature_is_asked_for_each_feature_of_the_class() -> None:
    images = [image(picture(1, *RED)), image(picture(1, *BLUISH)), image(picture(1, *BLUISH), y=1)]
    without, with_it, none_known = ClipFeature(clip=Colours()).measure(images, reference())
    assert without < 0.01
    assert with_it > 0.99
    assert none_known == 0.0
    assert ClipFeature(max_probability=0.8, clip=Colours()).reject({"a": 0.8, "b": 0.81}) == {"b"}
    usual = replace(images[1], usual=True)  # made in a usual scene, it may show the feature
    assert ClipFeature(clip=Colours()).measure([usual], reference()) == [0.0]


def test_alia_semantic_keeps_what_a_positive_prompt_fits_best() -> None:
    semantic = AliaSemantic(["a {class}"], ["a forest", "noise"], clip=Colours())
    values = semantic.measure([image(picture(1, *RED)), image(picture(1, *BLUISH))], reference())
    assert semantic.reject(dict(zip("ab", values, strict=True))) == {"b"}
    with pytest.raises(ConfigError, match="at least one positive and one negative"):
        AliaSemantic([], ["x"])


def test_alia_confidence_is_the_excess_over_the_mean_on_real_images(tmp_path: Path) -> None:
    full = [np.full((8, 8, 3), v, np.uint8) for v in (204, 153, 51)]  # p(cat) 0.8, 0.6, 0.2
    train = table(tmp_path, full, [0, 0, 1])  # t = (0.7, 0.8)
    images = [image(np.full((8, 8, 3), v, np.uint8), y) for v, y in ((204, 0), (153, 0), (51, 1))]
    values = AliaConfidence(batch_size=2).measure(images, reference(train=train))
    assert values == pytest.approx([0.1, -0.1, 0.0], abs=1e-4)
    wrong = [image(np.full((8, 8, 3), 230, np.uint8), y=1)]  # sure of the other class
    (excess,) = AliaConfidence().measure(wrong, reference(train=train))
    assert excess == pytest.approx(230 / 255 - 0.8, abs=1e-4)
    assert AliaConfidence().reject({"a": 0.01, "b": 0.0, "c": -0.3}) == {"a"}


def test_in_test_counts_bits_to_the_nearest_test_image(tmp_path: Path) -> None:
    test = table(tmp_path, [picture(i, 1, 1, 1) for i in range(3)], [0, 0, 1])
    same, other = InTest().measure(
        [image(picture(2, 1, 1, 1)), image(picture(9, 1, 1, 1))], reference(test=test)
    )
    assert same == 0.0
    assert float(other) > 8
    assert InTest(max_distance=3).reject({"a": 3.0, "b": 4.0}) == {"a"}


def test_real_distance_has_a_limit_either_way(tmp_path: Path) -> None:
    def flat(value: int) -> Any:
        return np.full((16, 16, 3), value, np.uint8)

    train = table(tmp_path, [flat(0), flat(102)], [0, 1])
    images = [image(flat(v)) for v in (102, 51, 255)]
    values = RealDistance().measure(images, reference(train=train))
    assert values == pytest.approx([0.0, 0.2, 0.6], abs=1e-5)  # 51 and 153 of 255
    limits = RealDistance(min_distance=0.1, max_distance=0.5)
    assert limits.reject(dict(zip("abc", values, strict=True))) == {"a", "c"}
    assert RealDistance(0.2, 0.2).reject({"at": 0.2}) == set()
    with pytest.raises(ConfigError, match="expected 0 <= min_distance <= max_distance"):
        RealDistance(0.5, 0.1)


def test_classifier_feature_asks_about_all_but_the_object() -> None:
    mask = np.zeros((4, 4), dtype=bool)
    mask[:2, :2] = True
    seen = []
    for thing in (0, 255):  # the object must not make a difference
        pixels = np.full((4, 4, 3), 204, np.uint8)
        pixels[mask] = thing
        one = GeneratedImage("i", 0, pixels, mask)
        seen += ClassifierFeature().measure([one], reference())
    # 12 pixels of 204 and 4 of the grey 127: (2448 + 508) / 16 = 184.75
    assert seen == pytest.approx([184.75 / 255] * 2, abs=1e-5)
    assert ClassifierFeature(max_probability=0.8).reject({"a": 0.8, "b": 0.81}) == {"b"}
    with pytest.raises(ConfigError, match=r"where the class object is.*clip_feature or alia"):
        ClassifierFeature().measure([image(np.zeros((4, 4, 3), np.uint8))], reference())


def test_filters_that_lack_something_say_what() -> None:
    one = [image(picture(1, *RED))]
    bare = Reference(Half())
    with pytest.raises(ConfigError, match="filter=in_test needs the test images"):
        InTest().measure(one, bare)
    with pytest.raises(ConfigError, match="filter=real_distance needs the training images"):
        RealDistance().measure(one, bare)
    with pytest.raises(ConfigError, match="filter=alia_confidence needs the training images"):
        AliaConfidence().measure(one, bare)
    with pytest.raises(ConfigError, match="filter=clip_class needs the names of the classes"):
        ClipClass(clip=Colours()).measure(one, bare)


def test_a_seeded_folder_loses_exactly_its_bad_images(tmp_path: Path) -> None:
    good = {f"good-{i}": picture(i, *RED) for i in range(8)}
    bad = {
        "black": np.zeros((32, 32, 3), np.uint8),
        "twice": picture(3, *RED),
        "leaked": picture(77, *RED),
        "off-class": picture(11, *GREEN),
        "feature": picture(12, *BLUISH),
    }
    folder = tmp_path / "images"
    folder.mkdir()
    records = []
    for img_id, pixels in {**good, **bad}.items():
        (folder / f"{img_id}.png").write_bytes(png_bytes(pixels))
        records.append(
            SyntheticImage(
                img_id=img_id, y=0, seed=0, prompt="", parents=("", ""),
                file=f"{img_id}.png", mask=None,
            )
        )  # fmt: skip
    test = table(tmp_path / "test", [picture(77, *RED)], [0])
    clip = Colours()

    def decisions(min_margin: float) -> tuple[dict[str, str | None], list[str]]:
        filters = (
            NearUniform(), Duplicate(), InTest(), ClipClass(min_margin, clip=clip),
            ClipFeature(clip=clip),
        )  # fmt: skip
        store, engine = ArtifactStore(tmp_path / "store"), LocalEngine(5)
        stage = MeasureStage(filters, Half(), folder, NAMES, {0: ("forest",)}, test=test)
        measured = store.run(stage, records, {}, engine)
        upstream = {"m": measured.digest}
        decided = store.run(FilterStage(filters), [MeasuredSet(measured.records)], upstream, engine)
        return {d.img_id: d.reason for d in decided.records}, [measured.state, decided.state]

    reasons, states = decisions(0.0)
    assert {i: r for i, r in reasons.items() if r is not None} == {
        "black": "near_uniform",
        "twice": "duplicate",
        "leaked": "in_test",
        "off-class": "clip_class",
        "feature": "clip_feature",
    }
    assert states == ["run", "run"]
    reasons, states = decisions(-1.0)  # another threshold: nothing is measured or made again
    assert reasons["off-class"] is None
    assert states == ["hit", "run"]


def test_clip_scores_are_those_of_the_model(tiny_clip: Path) -> None:
    import torch
    from transformers import CLIPModel, CLIPProcessor

    clip = Clip(str(tiny_clip), device="cpu", batch_size=2)
    images = [picture(i, *RED) for i in range(3)]
    texts = ["a cat", "a dog", "a cat"]
    cosines = clip.images(images) @ clip.texts(texts).T
    model, processor = (
        CLIPModel.from_pretrained(tiny_clip),
        CLIPProcessor.from_pretrained(tiny_clip),
    )
    with torch.no_grad():
        out = model(**processor(images=images, text=texts, return_tensors="pt", padding=True))
    scale = float(model.logit_scale.exp())
    assert cosines * scale == pytest.approx(out.logits_per_image.numpy(), abs=1e-3)
    (value,) = ClipClass(model=str(tiny_clip), device="cpu").measure(
        [image(images[0])], reference()
    )
    assert -1 <= value <= 1


def test_the_safety_checker_flags_and_does_not_blacken(tiny_checker: Path) -> None:
    images = [image(picture(i, *RED)) for i in range(3)]
    before = [i.pixels.copy() for i in images]
    safety = Safety(str(tiny_checker), device="cpu", batch_size=2)
    model = safety._loaded[0].requires_grad_(False)
    model.concept_embeds_weights.fill_(1.0)  # nothing is ever as similar as that
    assert safety.measure(images, reference()) == [0.0, 0.0, 0.0]
    model.concept_embeds_weights.fill_(-1.0)  # everything is more similar than that
    assert safety.measure(images, reference()) == [1.0, 1.0, 1.0]
    assert all((i.pixels == b).all() for i, b in zip(images, before, strict=True))
    assert safety.reject({"a": 1.0, "b": 0.0}) == {"a"}
