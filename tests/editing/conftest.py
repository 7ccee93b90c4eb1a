"""Tiny random-weight models of the real classes, saved to disk as a user would have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_diffusion as tiny
import tiny_models as models
from PIL import Image

from aspire.data.loaded import LoadedImage
from aspire.records import ImageRef


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., LoadedImage]:
    """An image on disk: its pixels, and its label map and objects if it has any."""

    def make(name: str, pixels: Any, labels: Any = None, y: int = 0, **objects: int) -> LoadedImage:
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        mask = None
        if labels is not None:
            mask = f"{name}-mask.png"
            Image.fromarray(labels).save(tmp_path / mask)
        ref = ImageRef(img_id=name, file=f"{name}.png", y=y, mask=mask, objects=objects)
        return LoadedImage(ref, tmp_path)

    return make


def noise(height: int, width: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def tiny_grounding_dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.grounding_dino(tmp_path_factory.mktemp("grounding-dino"))


@pytest.fixture(scope="session")
def tiny_sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.sam(tmp_path_factory.mktemp("sam"))


@pytest.fixture(scope="session")
def tiny_sam2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2ImageProcessor,
        Sam2MaskDecoderConfig,
        Sam2Model,
        Sam2Processor,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    torch.manual_seed(0)
    backbone = Sam2HieraDetConfig(
        image_size=[64, 64],
        hidden_size=8,
        num_attention_heads=1,
        blocks_per_stage=[1, 2, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[4, 4, 4, 4],
        global_attention_blocks=[2],
        window_positional_embedding_background_size=[4, 4],
    )
    config = Sam2Config(
        vision_config=Sam2VisionConfig(
            backbone_config=backbone,
            backbone_channel_list=[64, 32, 16, 8],
            backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
            fpn_hidden_size=32,
        ),
        prompt_encoder_config=Sam2PromptEncoderConfig(
            hidden_size=32, image_size=64, patch_size=16, mask_input_channels=4
        ),
        mask_decoder_config=Sam2MaskDecoderConfig(
            hidden_size=32,
            mlp_dim=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            iou_head_hidden_dim=16,
        ),
    )
    folder = tmp_path_factory.mktemp("sam2")
    Sam2Model(config).eval().save_pretrained(folder)
    processor = Sam2ImageProcessor(
        size={"height": 64, "width": 64}, mask_size={"height": 16, "width": 16}
    )
    Sam2Processor(processor).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_clipseg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import (
        CLIPSegConfig,
        CLIPSegForImageSegmentation,
        CLIPSegProcessor,
        ViTImageProcessor,
    )

    torch.manual_seed(0)
    tokenizer = tiny.clip_tokenizer()
    layers = {"num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    config = CLIPSegConfig(
        text_config=tiny.text_settings(tokenizer, **layers),
        vision_config={**layers, "hidden_size": 32, "image_size": 32, "patch_size": 8},
        projection_dim=32,
        extract_layers=[0, 1, 2],
        reduce_dim=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
        conditional_layer=0,
    )
    folder = tmp_path_factory.mktemp("clipseg")
    CLIPSegForImageSegmentation(config).eval().save_pretrained(folder)
    images = ViTImageProcessor(size={"height": 32, "width": 32})
    CLIPSegProcessor(images, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sd_inpaint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, kind = tmp_path_factory.mktemp("sd-inpaint"), "StableDiffusionInpaintPipeline"
    return Path(tiny.stable_diffusion(folder, kind, {"in_channels": 9}))


@pytest.fixture(scope="session")
def tiny_pix2pix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, kind = tmp_path_factory.mktemp("pix2pix"), "StableDiffusionInstructPix2PixPipeline"
    return Path(tiny.stable_diffusion(folder, kind, {"in_channels": 8}))
