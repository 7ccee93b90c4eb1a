"""A Stable Diffusion of random weights in seconds, saved as a user would have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aspire.data.images import png_bytes
from aspire.generation.base import ClassEvidence
from aspire.pipeline.records import Effect, ImageRef, SpuriousFeature

SIZE = 32


def clip_tokenizer() -> Any:
    """Every byte, and every byte that ends a word, is a token of its own."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    characters = list(bytes_to_unicode().values())
    tokens = [*characters, *(c + "</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=77
    )


def text_config(tokenizer: Any, **further: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **further,
    )


def tiny_vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIZE,
    ).eval()


def tiny_unet(**further: Any) -> Any:
    from diffusers import UNet2DConditionModel

    options = {
        "sample_size": SIZE // 2,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (16, 32),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "cross_attention_dim": 32,
        "attention_head_dim": 8,
        "norm_num_groups": 8,
        **further,
    }
    return UNet2DConditionModel(**options).eval()


def tiny_stable_diffusion(folder: Path, **scheduler: Any) -> Path:
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    StableDiffusionPipeline(
        vae=tiny_vae(),
        text_encoder=CLIPTextModel(text_config(tokenizer)).eval(),
        tokenizer=tokenizer,
        unet=tiny_unet(),
        scheduler=DDIMScheduler(
            clip_sample=False, set_alpha_to_one=False, steps_offset=1, **scheduler
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def tiny_stable_diffusion_xl(folder: Path) -> Path:
    import torch
    from diffusers import DDIMScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    StableDiffusionXLPipeline(
        vae=tiny_vae(),
        text_encoder=CLIPTextModel(text_config(tokenizer)).eval(),
        text_encoder_2=CLIPTextModelWithProjection(
            text_config(tokenizer, projection_dim=32)
        ).eval(),
        tokenizer=tokenizer,
        tokenizer_2=clip_tokenizer(),
        unet=tiny_unet(
            cross_attention_dim=64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 32,
        ),
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_stable_diffusion(tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="session")
def tiny_sd_v(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, predicting velocities."""
    return tiny_stable_diffusion(
        tmp_path_factory.mktemp("sd-v"),
        prediction_type="v_prediction",
        beta_schedule="scaled_linear",
    )


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_stable_diffusion_xl(tmp_path_factory.mktemp("sdxl"))


VISION = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    text = text_config(tokenizer).to_dict()
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
