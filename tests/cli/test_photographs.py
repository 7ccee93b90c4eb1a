"""Plain folders of photographs: what is chosen where nothing came with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aspire.cli import _photographs
from aspire.cli.jobs import Job
from aspire.data.table import Split
from aspire.editing.activation import ActivationSegmenter
from aspire.editing.annotations import AnnotationSegmenter
from aspire.language.dataset_captioner import DatasetCaptioner
from aspire.language.imagenet_captioner import ImagenetCaptioner
from aspire.yardstick import Yardstick

LINE = (
    "photos has no captions and no masks: taken is captioner=imagenet segmenter=activation, a "
    "small network of 1,000 words that comes with the installation. More words and finer masks: "
    "captioner=blip segmenter=grounded_sam, 5.2 GB once from the Hub and about 32 s for each image "
    "on this machine's processor."
)


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(10):
            pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    measured = Yardstick(2, 100, 200, 100, 200, 1.0)
    monkeypatch.setattr(_photographs, "yardstick", lambda cache: measured)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    outputs = f"paths.outputs={tmp_path / 'outputs'}"
    return ["dataset=folder", f"dataset.root={tmp_path / 'photos'}", "logger=none", outputs]


def test_the_small_eye_takes_the_place_of_missing_captions_and_masks(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job.of("discover", words)
    pipeline = job.experiment.pipeline_of([Split.TRAIN])
    backends = pipeline.backends
    assert isinstance(backends.captioner, ImagenetCaptioner)
    assert isinstance(backends.segmenter, ActivationSegmenter)
    # what is stored and hashed, and what pastes objects later
    assert job.cfg.captioner._target_.endswith(".ImagenetCaptioner")
    assert job.cfg.generator.segmenter._target_.endswith(".ActivationSegmenter")
    assert pipeline.sampler().objects.class_words == [("cat",), ("dog",)]  # type: ignore[attr-defined]  # of this sampler
    job.experiment.pipeline_of([Split.VAL])
    said = " ".join(capsys.readouterr().out.split())
    assert said.count(LINE) == 1


def test_an_arm_of_the_same_parts_exchanges_nothing(words: list[str]) -> None:
    job = Job.of("run", words)
    assert job.recipe(0, augmentation="aspire").exchange is None
    assert job.recipe(0, augmentation="undiscovered").exchange is not None


def test_typing_a_default_changes_nothing(words: list[str]) -> None:
    job = Job.of("discover", words)
    typed = Job.of("discover", [*words, "captioner=dataset", "segmenter=annotations"])
    assert job.experiment.dataset.name == typed.experiment.dataset.name
    assert job.cfg.captioner == typed.cfg.captioner
    assert job.cfg.segmenter == typed.cfg.segmenter


def test_only_what_is_missing_is_replaced(words: list[str], tmp_path: Path) -> None:
    rows = [f"{c}/{i}.png,a {c} on a lawn" for c in ("cat", "dog") for i in range(10)]
    table = "\n".join(["img_filename,caption,y", *(f"{r},{r[:3]}" for r in rows)])
    (tmp_path / "photos" / "table.csv").write_text(table)
    words = ["dataset=csv", f"dataset.metadata={tmp_path / 'photos' / 'table.csv'}", *words[2:]]
    backends = Job.of("discover", words).experiment.pipeline.backends
    assert isinstance(backends.captioner, DatasetCaptioner)
    assert isinstance(backends.segmenter, ActivationSegmenter)


def test_a_choice_of_the_users_is_never_replaced(words: list[str]) -> None:
    chosen = Job.of("discover", [*words, "segmenter=grabcut_centre"])
    assert chosen.experiment.dataset.name == "photos"
    assert chosen.cfg.segmenter.detector._target_.endswith(".CentredBox")
    own = Job.of("discover", words, own={"segmenter": AnnotationSegmenter()})
    assert isinstance(own.experiment.pipeline.backends.segmenter, AnnotationSegmenter)
