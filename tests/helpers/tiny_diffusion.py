"""Tiny Stable Diffusions of the real classes, random weights, saved as a user would have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIZE = 32  # side of the images that the models are for


def clip_tokenizer() -> Any:
    """Every byte, and every byte that ends a word, is a token of its own."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    characters = list(bytes_to_unicode().values())
    tokens = [*characters, *(c + "</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=77
    )


def text_settings(tokenizer: Any, **further: Any) -> dict[str, Any]:
    """Of a CLIP text encoder."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **further,
    }


def text_config(tokenizer: Any, **further: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(**text_settings(tokenizer, **further))


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
        "sample_size": SIZE // 2,  # the VAE halves the side once
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


def ddim(**further: Any) -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1, **further)


def stable_diffusion(
    folder: Path,
    pipeline: str = "StableDiffusionPipeline",
    unet: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
    **scheduler: Any,
) -> Path:
    """1.x; another pipeline, parts or scheduler make a 2.x or one that inpaints of it."""
    import diffusers
    import torch
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    encoder = CLIPTextModel(text_config(tokenizer, **(text or {}))).eval()
    getattr(diffusers, pipeline)(
        vae=tiny_vae(),
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=tiny_unet(**(unet or {})),
        scheduler=ddim(**scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def stable_diffusion_2(folder: Path) -> Path:
    """As 2.1: velocities, linear projections, heads by level, a text encoder of OpenCLIP's kind."""
    return stable_diffusion(
        folder,
        unet={"use_linear_projection": True, "attention_head_dim": [2, 4]},
        text={"hidden_act": "gelu", "num_hidden_layers": 2},
        prediction_type="v_prediction",
        beta_schedule="scaled_linear",
    )


def stable_diffusion_xl(folder: Path) -> Path:
    import torch
    from diffusers import StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    second = text_config(tokenizer, projection_dim=32)
    StableDiffusionXLPipeline(
        vae=tiny_vae(),
        text_encoder=CLIPTextModel(text_config(tokenizer)).eval(),
        text_encoder_2=CLIPTextModelWithProjection(second).eval(),
        tokenizer=tokenizer,
        tokenizer_2=clip_tokenizer(),
        unet=tiny_unet(
            cross_attention_dim=64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 32,
        ),
        scheduler=ddim(),
    ).save_pretrained(folder)
    return folder
