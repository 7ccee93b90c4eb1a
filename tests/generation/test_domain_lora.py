"""What all classes learn together, on a tiny Stable Diffusion of random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aspire.data.images import png_bytes
from aspire.generation.base import Captioned, ClassEvidence
from aspire.generation.denoising import Denoising
from aspire.generation.domain_lora import DomainLoRA, evenly
from aspire.records import Concept, Rejected

QUICK: dict[str, Any] = {
    "steps": 2, "batch_size": 2, "strip_every": 0, "checkpointing": False, "device": "cpu",
    "rank": 2, "captioned": 3, "learning_rate": 0.05,
}  # fmt: skip


def images(root: Path, *cells: tuple[int, str, int]) -> tuple[Captioned, ...]:
    """So many images of each class and scene, with captions that number them."""
    return tuple(
        Captioned(root / f"{y}{scene}{i}.png", y, f"{y} {scene} {i}", scene)
        for y, scene, number in cells
        for i in range(number)
    )


def test_scenes_of_a_class_are_drawn_evenly() -> None:
    cells = ((0, "forest", 50), (0, "lake", 2), (1, "lake", 50), (1, "", 1))
    given = images(Path(), *cells)
    chosen = evenly(given, 13, seed=0)
    # one of each, then two of the three that have two, then the two that have more: 4 + 3 + 2 x 3
    counts = {cell: sum((c.y, c.scene) == cell for c in chosen) for cell in {x[:2] for x in cells}}
    assert counts == {(0, "forest"): 5, (0, "lake"): 2, (1, "lake"): 5, (1, ""): 1}
    assert len({c.file for c in chosen}) == 13
    assert chosen == evenly(given, 13, seed=0)
    assert chosen != evenly(given, 13, seed=1)
    assert len(evenly(given, 1000, seed=0)) == 103


@pytest.fixture
def captioned(landbirds: ClassEvidence, tmp_path: Path) -> ClassEvidence:
    found = images(tmp_path, (0, "forest", 3), (1, "lake", 3))
    rng = np.random.default_rng(0)
    for image in found:
        image.file.write_bytes(png_bytes(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)))
    return replace(landbirds, captioned=found)


def test_classes_share_what_is_learnt_and_keep_their_own_edits(
    captioned: ClassEvidence, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    predict = Denoising.predict_noise

    def listening(self: Denoising, draw: Any) -> Any:
        said.extend(draw.captions)
        return predict(self, draw)

    monkeypatch.setattr(Denoising, "predict_noise", listening)
    personaliser = DomainLoRA(str(tiny_sd), folder=tmp_path / "learnt", **QUICK)
    first = personaliser.personalise(captioned)
    assert isinstance(first, Concept)
    chosen = {c.caption for c in evenly(captioned.captioned, 3, seed=0)}
    assert set(said) == chosen
    assert first.tokens == ()  # classes go by their own names
    assert first.effect is not None
    assert first.effect > 1e-3
    edits = [e.edit_id for e in captioned.effects]
    assert {p.edit_id for p in first.pictures} <= set(edits)
    assert len(first.pictures) == 8  # six edits of the forest, two of the boat: all flipped
    for picture in first.pictures:
        original = captioned.edited[picture.edit_id].read_bytes()
        assert (tmp_path / "learnt" / picture.file).read_bytes() == original

    monkeypatch.setattr(personaliser, "_pipeline", lambda: pytest.fail("learnt again"))
    other = personaliser.personalise(replace(captioned, y=1, name="seabird"))
    assert isinstance(other, Concept)
    assert (other.weights, other.weights_sha256) == (first.weights, first.weights_sha256)


def test_without_captions_there_is_nothing_to_learn_from(
    landbirds: ClassEvidence, tmp_path: Path
) -> None:
    refused = DomainLoRA("nowhere", folder=tmp_path).personalise(landbirds)
    assert isinstance(refused, Rejected)
    assert refused.detail == (
        "landbird: 0 captioned training images to learn from, at least 3 are needed"
    )
