"""A Stable Diffusion of random weights in seconds, saved as a user would have it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_diffusion as tiny

from aspire.data.images import png_bytes
from aspire.generation.base import ClassEvidence
from aspire.records import Effect, ImageRef, SpuriousFeature

SIZE = tiny.SIZE


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny.stable_diffusion(tmp_path_factory.mktemp("sd")))


@pytest.fixture(scope="session")
def tiny_sd_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny.stable_diffusion_2(tmp_path_factory.mktemp("sd-2")))


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny.stable_diffusion_xl(tmp_path_factory.mktemp("sdxl")))


@pytest.fixture(scope="session")
def tiny_sd_inpaint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A UNet with 9 channels."""
    folder, kind = tmp_path_factory.mktemp("sd-inpaint"), "StableDiffusionInpaintPipeline"
    return Path(tiny.stable_diffusion(folder, kind, {"in_channels": 9}))


VISION = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    torch.manual_seed(0)
    tokenizer = tiny.clip_tokenizer()
    text = tiny.text_config(tokenizer).to_dict()
    config = CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
    folder = tmp_path_factory.mktemp("clip")
    CLIPModel(config).eval().save_pretrained(folder)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    CLIPProcessor(processor, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("checker")
    config = CLIPConfig(vision_config=VISION, projection_dim=16)
    StableDiffusionSafetyChecker(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def landbirds(tmp_path_factory: pytest.TempPathFactory) -> ClassEvidence:
    """Landbirds lean on forests and on boats; 6 edits moved them to lakes, 2 removed a boat."""
    folder = tmp_path_factory.mktemp("edits")
    rng = np.random.default_rng(0)
    effects, edited = [], {}
    for index in range(8):
        scene = index < 6
        edit = Effect(
            edit_id=f"e{index}",
            img_id=f"i{index}",
            y=0,
            kind="change_background" if scene else "remove_object",
            phrase="forest" if scene else "boat",
            replacement=("lake", "sea")[index % 2] if scene else None,
            p_before=0.9,
            p_after=0.1 + 0.05 * index,
            predicted_after=1,
        )
        effects.append(edit)
        pixels = rng.integers(0, 256, (SIZE, SIZE + 8, 3), dtype=np.uint8)
        edited[edit.edit_id] = folder / f"{index}.png"
        edited[edit.edit_id].write_bytes(png_bytes(pixels))
    features = tuple(
        SpuriousFeature(
            feature_id=f"000/{rank:04d}", y=0, rank=rank, kind=kind, phrase=phrase, support=9,
            flips=9, flip_rate=1.0, score=0.7, mean_drop=0.5, spurious=True, examples=(),
        )
        for rank, kind, phrase in (
            (1, "change_background", "forest"),
            (2, "remove_object", "boat"),
        )
    )  # fmt: skip
    return ClassEvidence(
        y=0,
        name="landbird",
        features=features,
        effects=tuple(effects),
        objects=(ImageRef(img_id="i0", file="i0.png", y=0, mask="m.png"),),
        scenes={},
        phrases={},
        edited=edited,
    )
