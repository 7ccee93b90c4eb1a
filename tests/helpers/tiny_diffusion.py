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


def tiny_vae(channels: int = 4) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
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
    latents: int = 4,
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
        vae=tiny_vae(latents),
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=tiny_unet(**(unet or {"in_channels": latents, "out_channels": latents})),
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


def lora_of(model: Path, folder: Path, kind: str = "StableDiffusionPipeline") -> Path:
    """A LoRA of random weights as LCM-LoRA is published: one file in diffusers' format."""
    import diffusers
    import torch
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipe = getattr(diffusers, kind).from_pretrained(model)
    torch.manual_seed(3)
    pipe.unet.add_adapter(
        LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "conv1"])
    )
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(pipe.unet))
    type(pipe).save_lora_weights(folder, unet_lora_layers=layers)
    return folder


def light_vae() -> Any:
    """An autoencoder as TAESD is."""
    import torch
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    return AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), scaling_factor=1.5,
    ).eval()  # fmt: skip


# --- as it was first released -------------------------------------------------------------------

_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
_UNET = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}  # fmt: skip
_VAE_ATTENTION = {
    "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
}  # fmt: skip


def single_file(folder: Path, file: Path) -> Path:
    """A pipeline's weights in one file, under the names of CompVis' latent-diffusion."""
    from diffusers import StableDiffusionPipeline
    from safetensors.torch import save_file

    pipe = StableDiffusionPipeline.from_pretrained(folder)
    levels, layers = len(pipe.unet.config.block_out_channels), pipe.unet.config.layers_per_block
    state = {f"cond_stage_model.transformer.{k}": v for k, v in _text(pipe).items()}
    for key, value in pipe.unet.state_dict().items():
        state[f"model.diffusion_model.{_unet_name(key, layers, levels)}"] = value
    for key, value in pipe.vae.state_dict().items():
        name, attention = _vae_name(key, len(pipe.vae.config.block_out_channels))
        # these attentions were convolutions of one pixel
        value = value[:, :, None, None] if attention and value.ndim == 2 else value
        state[f"first_stage_model.{name}"] = value
    save_file({k: v.contiguous() for k, v in state.items()}, file)
    return file


def _text(pipe: Any) -> dict[str, Any]:
    """Versions of transformers differ in whether the part has a name of its own."""
    state = pipe.text_encoder.state_dict()
    own = all(k.startswith("text_model.") for k in state)
    return {k if own else f"text_model.{k}": v for k, v in state.items()}


def _unet_name(key: str, layers: int, levels: int) -> str:
    parts = key.split(".")
    if parts[0] in ("down_blocks", "up_blocks"):
        level, kind, number, rest = int(parts[1]), parts[2], int(parts[3]), parts[4:]
        down = parts[0] == "down_blocks"
        block = level * (layers + 1) + number + int(down)
        place = {"resnets": 0, "attentions": 1, "downsamplers": 0}
        # after whatever the last block of a level holds: a ResNet, and an attention where there is
        place["upsamplers"] = 2 if _attends(level) else 1
        if kind == "downsamplers":
            block, rest = (level + 1) * (layers + 1), ["op", *rest[1:]]
        if kind == "upsamplers":
            block = level * (layers + 1) + layers
        begin = f"{'input' if down else 'output'}_blocks.{block}.{place[kind]}"
    else:
        old = next(o for o in _UNET if key.startswith(f"{o}."))
        begin, rest = _UNET[old], key[len(old) + 1 :].split(".")
    if rest[0] in _RESNET:
        rest = [_RESNET[rest[0]], *rest[1:]]
    return ".".join([begin, *rest])


def _attends(level: int) -> bool:
    """Levels of ``tiny_unet``, from the lowest resolution up."""
    return level > 0


def _vae_name(key: str, levels: int) -> tuple[str, bool]:
    parts = key.split(".")
    if parts[0].startswith(("quant", "post_quant")):
        return key, False
    half, rest = parts[0], parts[1:]
    attention = "attentions" in rest
    if rest[0] == "mid_block":
        place = "attn_1" if attention else f"block_{int(rest[2]) + 1}"
        rest = ["mid", place, *rest[3:]]
        inner = ".".join(rest[2:])
        old = next((o for o in _VAE_ATTENTION if attention and inner.startswith(f"{o}.")), "")
        if old:
            rest = [*rest[:2], _VAE_ATTENTION[old], inner[len(old) + 1 :]]
    elif rest[0] in ("down_blocks", "up_blocks"):
        down = rest[0] == "down_blocks"
        level = int(rest[1]) if down else levels - 1 - int(rest[1])
        kind = {"resnets": f"block.{rest[3]}"}.get(rest[2], "downsample" if down else "upsample")
        rest = ["down" if down else "up", str(level), kind, *rest[4:]]
    names = {"conv_norm_out": "norm_out", "conv_shortcut": "nin_shortcut"}
    return ".".join([half, *(names.get(p, p) for p in rest)]), attention
