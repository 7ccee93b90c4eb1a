"""Blank: an image that it makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from aspire.cli.templates.generator import Blank
from aspire.generation.base import GenerationRequest, Sampled
from aspire.records import Concept, ImageRef, Rejected


def test_an_image_is_turned_around(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[9, 0, 0], [0, 9, 0]]], np.uint8)).save(tmp_path / "1.png")
    refs = {"1": ImageRef(img_id="1", file="1.png", y=0)}
    concept = Concept(concept_id="000", y=0, objects=("1",), contexts=(), avoided=())
    (made,) = Blank(tmp_path, refs).sample([GenerationRequest("g", concept, "bird", seed=0)])
    assert isinstance(made, Sampled)
    assert made.pixels[0].tolist() == [[0, 9, 0], [9, 0, 0]]
    assert made.parents == ("1", "")
    nothing = Concept(concept_id="000", y=0, objects=(), contexts=(), avoided=())
    (no,) = Blank(tmp_path, refs).sample([GenerationRequest("g", nothing, "bird", seed=0)])
    assert isinstance(no, Rejected)
