"""Stable Diffusion inpainting and InstructPix2Pix: the real classes, and what must not change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aspire.data.loaded import LoadedImage
from aspire.editing.base import Failure, Restyled, RestyleRequest
from aspire.editing.diffusion import Canvas, DiffusionEditor
from aspire.editing.diffusion_inpainter import DiffusionInpainter
from aspire.editing.diffusion_restyler import DiffusionRestyler
from aspire.editing.instruct_pix2pix import InstructPix2Pix
from aspire.editing.pixels import from_square, mask_to_square, to_square
from aspire.errors import AspireError
from aspire.pretrained import Checkpoint


def noise(height: int, width: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box(height: int, width: int, top: int, left: int, side: int) -> Any:
    mask = np.zeros((height, width), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


IMAGES = [noise(40, 60, 1), noise(30, 24, 2), noise(50, 50, 3)]
MASKS = [box(40, 60, 5, 10, 20), box(30, 24, 4, 3, 12), box(50, 50, 20, 20, 25)]


@pytest.mark.parametrize("feather", [0, 2])
def test_inpainting_is_bit_equal_outside_and_the_same_in_any_batch(
    tiny_sd_inpaint: Path, feather: int
) -> None:
    inpainter = DiffusionInpainter(str(tiny_sd_inpaint), steps=2, feather=feather)
    filled = inpainter.inpaint(IMAGES, MASKS, [7, 8, 9])
    for image, mask, seed, made in zip(IMAGES, MASKS, [7, 8, 9], filled, strict=True):
        assert isinstance(made, np.ndarray)
        assert made.dtype == np.uint8
        assert made.shape == image.shape
        assert (made[~mask] == image[~mask]).all()
        assert (made[mask] != image[mask]).mean() > 0.5
        (alone,) = inpainter.inpaint([image], [mask], [seed])
        assert np.abs(made.astype(int) - np.asarray(alone)).max() <= 2  # arithmetic's order
    (other,) = inpainter.inpaint(IMAGES[:1], MASKS[:1], [70])
    assert np.abs(np.asarray(other).astype(int) - np.asarray(filled[0])).max() > 10


def requests(loaded: Callable[..., LoadedImage], **changes: Any) -> list[RestyleRequest]:
    def unasked(images: Sequence[LoadedImage]) -> list[Any]:
        raise AssertionError("no donors are needed")

    return [
        RestyleRequest(
            image=loaded(f"i{i}", pixels),
            keep=keep,
            source="lake",
            target=changes.get("target", "forest"),
            donors=[],
            find_objects=unasked,
            seed=changes.get("seed", 0) + i,
        )
        for i, (pixels, keep) in enumerate(zip(IMAGES, MASKS, strict=True))
    ]


RESTYLERS = [(DiffusionRestyler, "tiny_sd_inpaint"), (InstructPix2Pix, "tiny_pix2pix")]


@pytest.mark.parametrize("feather", [0, 2])
@pytest.mark.parametrize(("kind", "fixture"), RESTYLERS)
def test_restyling_keeps_the_object_and_is_the_same_in_any_batch(
    kind: Any, fixture: str, feather: int, request: Any, loaded: Callable[..., LoadedImage]
) -> None:
    restyler = kind(str(request.getfixturevalue(fixture)), steps=2, feather=feather)
    asked = requests(loaded)
    made = restyler.restyle(asked)
    for one, wish in zip(made, asked, strict=True):
        assert isinstance(one, Restyled)
        assert one.donor is None
        assert one.pixels.dtype == np.uint8
        assert one.pixels.shape == wish.image.pixels.shape
        assert (one.pixels[wish.keep] == wish.image.pixels[wish.keep]).all()
        assert (one.pixels[~wish.keep] != wish.image.pixels[~wish.keep]).mean() > 0.5
        (alone,) = restyler.restyle([wish])
        assert np.abs(one.pixels.astype(int) - alone.pixels).max() <= 2
    for change in ({"target": "lake"}, {"seed": 100}):  # a control asks for the scene it shows
        (other, *_) = restyler.restyle(requests(loaded, **change))
        assert (other.pixels != made[0].pixels).any()


def test_the_authors_instruction_is_what_is_asked(
    tiny_pix2pix: Path, loaded: Callable[..., LoadedImage]
) -> None:
    restyler = InstructPix2Pix(str(tiny_pix2pix))
    asked: list[Canvas] = []
    restyler.editor.edit = lambda canvases: (asked.extend(canvases), [Failure("x")] * 3)[1]
    assert restyler.restyle(requests(loaded)) == [Failure("x")] * 3
    assert {c.prompt for c in asked} == {"turn the background of lake into forest."}
    assert (restyler.editor.steps, restyler.editor.guidance) == (100, 7.5)
    assert restyler.editor.options == {"image_guidance_scale": 1.5}
    assert restyler.editor.scheduler == "EulerAncestralDiscreteScheduler"


# --- failures of single images ---------------------------------------------------------------


class FakePipe:
    """A pipeline that flags the image asked for with "flag", blackens "black" and breaks "nan"."""

    unet = SimpleNamespace(config=SimpleNamespace(sample_size=4))
    vae_scale_factor = 8

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.batches: list[int] = []

    def __call__(self, prompt: list[str], **inputs: Any) -> Any:
        import torch

        self.batches.append(len(prompt))
        if len(prompt) > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        if "broken" in prompt:
            raise ValueError("broken weights\nand more")
        images = np.full((len(prompt), 32, 32, 3), 0.5, np.float32)
        for i, text in enumerate(prompt):
            if text in ("black", "flag"):
                images[i] = 0
            if text == "nan":
                images[i, 3] = np.nan
        flagged = [text == "flag" for text in prompt]
        return SimpleNamespace(images=images, nsfw_content_detected=flagged)


def editor_with(pipe: FakePipe) -> DiffusionEditor:
    editor = DiffusionEditor("Any", Checkpoint("nowhere"), steps=1, guidance=1.0)
    editor._pipe = pipe
    return editor


def test_every_way_an_image_can_fail_is_its_own_and_nobody_elses() -> None:
    prompts = ["fine", "flag", "black", "nan", "broken", "fine"]
    canvases = [Canvas(noise(20, 30), prompt, 0) for prompt in prompts]
    made = editor_with(FakePipe()).edit(canvases)
    details = [m.detail if isinstance(m, Failure) else m.shape for m in made]
    assert details == [
        (20, 30, 3),
        "the model's safety checker blacked the image out",
        "the model gave a black image",
        "the model gave values that are not numbers",
        "ValueError: broken weights",
        (20, 30, 3),
    ]


def test_full_memory_halves_the_batch_and_goes_on() -> None:
    pipe = FakePipe(room=2)
    made = editor_with(pipe).edit([Canvas(noise(20, 30), "fine", i) for i in range(12)])
    assert all(isinstance(m, np.ndarray) for m in made)
    assert pipe.batches == [8, 4, 2, 2, 4, 2, 2, 2, 2]  # the rest starts at what went well
    (lost,) = editor_with(FakePipe(room=0)).edit([Canvas(noise(20, 30), "fine", 0)])
    assert lost == Failure("out of memory")


def test_a_black_image_of_a_black_image_is_no_failure() -> None:
    black = np.zeros((20, 30, 3), np.uint8)
    (made,) = editor_with(FakePipe()).edit([Canvas(black, "black", 0)])
    assert isinstance(made, np.ndarray)


# --- sizes, settings, weights ----------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (7, 300), (32, 32), (512, 200)])
def test_an_image_comes_back_from_the_square_as_large_as_it_was(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), (10, 120, 240), np.uint8)
    square = to_square(image, 32)
    assert square.shape == (32, 32, 3)
    assert (from_square(square, *shape) == image).all()
    mask = np.zeros(shape, dtype=bool)
    mask[0, 0] = True
    assert mask_to_square(mask, 32).any()  # a hole is not lost when it shrinks
    assert mask_to_square(np.ones(shape, dtype=bool), 32).sum() == pytest.approx(
        32 * max(1, round(32 * min(shape) / max(shape)))
    )


def test_folder_without_a_pipeline_says_so(tmp_path: Path) -> None:
    inpainter = DiffusionInpainter(str(tmp_path))
    with pytest.raises(AspireError, match="holds no model that StableDiffusionInpaintPipeline"):
        inpainter.inpaint(IMAGES[:1], MASKS[:1], [0])


def test_identity_follows_the_weights_and_every_setting(tiny_sd_inpaint: Path) -> None:
    folder = str(tiny_sd_inpaint)
    one = DiffusionInpainter(folder).identity()
    assert (
        DiffusionInpainter(folder, device="cpu", batch_size=1, precision="float32").identity()
        == one
    )
    changes: list[dict[str, Any]] = [
        {"prompt": "x"}, {"negative_prompt": "x"}, {"steps": 1}, {"guidance": 1.0},
        {"size": 64}, {"scheduler": "DDIMScheduler"}, {"feather": 0},
    ]  # fmt: skip
    for change in changes:
        assert DiffusionInpainter(folder, **change).identity() != one
    weights = next(tiny_sd_inpaint.glob("unet/*.safetensors"))
    before = weights.read_bytes()
    try:
        weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        assert DiffusionInpainter(folder).identity() != one  # deep in the folder, a bit differs
    finally:
        weights.write_bytes(before)
