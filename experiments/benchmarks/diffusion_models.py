"""Stable Diffusion 1.5 with random weights, saved as a user has it, in full size or tiny.

The full size is that of the published configuration: 860 M parameters in the UNet, 123 M in the
text encoder (CLIP ViT-L/14), 84 M in the VAE; 2.1 GB in bfloat16.
"""

from __future__ import annotations

import json

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

VOCABULARY = 49408
FULL = {
    "unet": {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8,
             "block_out_channels": (320, 640, 1280, 1280)},
    "vae": {"sample_size": 512, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2,
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4},
    "text_encoder": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
                     "num_attention_heads": 12, "projection_dim": 768},
}  # fmt: skip
TINY = {
    "unet": {"sample_size": 8, "cross_attention_dim": 64, "attention_head_dim": 4,
             "block_out_channels": (32, 64, 64, 64)},
    "vae": {**FULL["vae"], "sample_size": 64, "block_out_channels": (32, 32, 64, 64)},
    "text_encoder": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
                     "num_attention_heads": 4, "projection_dim": 64},
}  # fmt: skip


def save_stable_diffusion(folder, sizes, dtype):
    """A folder for ``from_pretrained``; one part in memory at a time, each made in its dtype."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        for name, make in (("unet", _unet), ("vae", _vae), ("text_encoder", _text_encoder)):
            make(sizes[name]).save_pretrained(folder / name)
    finally:
        torch.set_default_dtype(before)
    _tokenizer().save_pretrained(folder / "tokenizer")
    PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True,
        set_alpha_to_one=False, steps_offset=1,
    ).save_pretrained(folder / "scheduler")  # fmt: skip
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=1))


def _unet(sizes):
    return UNet2DConditionModel(in_channels=4, out_channels=4, **sizes)


def _vae(sizes):
    return AutoencoderKL(latent_channels=4, scaling_factor=0.18215, **sizes)


def _text_encoder(sizes):
    ends = {"bos_token_id": VOCABULARY - 2, "eos_token_id": VOCABULARY - 1}
    config = CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_act="quick_gelu", pad_token_id=1, **ends, **sizes
    )
    return CLIPTextModel(config)


def _tokenizer():
    """As many tokens as CLIP has; only those of single bytes ever occur."""
    characters = list(bytes_to_unicode().values())
    tokens = [*characters, *(c + "</w>" for c in characters)]
    tokens += [f"<|{i}|>" for i in range(VOCABULARY - 2 - len(tokens))]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={t: i for i, t in enumerate(tokens)}, merges=[], model_max_length=77)
