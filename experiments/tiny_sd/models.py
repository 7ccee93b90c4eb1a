"""The parts of tiny-sd: classes of diffusers and transformers, at a size that two cores can train.

Images of 64 x 64 become 8 x 8 latents of 32 channels, on which a UNet costs a quarter of what it
would on 16 x 16. Every word of our captions is one token; other words are spelt in pieces.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aspire.generation.pictures import TEMPLATES

MAX_TOKENS = 32
FURTHER_WORDS = (  # of prompts and learnt words' initial values, not of our captions
    "the an a of with without no not and or in on at by to from for is are it its this that near "
    "background foreground scene picture image drawing sks person people animal object thing male "
    "female hair face wearing dark light sunny indoor outdoor indoors outdoors land water small "
    "big large little dogs birds landbird waterbird outside inside standing sitting floating"
)


@dataclass(frozen=True)
class Sizes:
    """How large the parts are.

    Args:
        vae: channels of the VAE at each resolution.
        latents: channels of a latent.
        text: width of the text encoder.
        layers: of the text encoder.
        unet: channels of the UNet at each resolution.
        groups: of the group norms.
    """

    vae: tuple[int, ...] = (16, 32, 96, 128)
    latents: int = 32
    text: int = 128
    layers: int = 2
    unet: tuple[int, ...] = (128, 192)
    groups: int = 8


SMALLEST = Sizes((8, 8, 8, 8), 4, 16, 1, (8, 8), 4)  # for tests


def make_tokenizer(captions: Iterable[str]) -> Any:
    """A CLIP tokenizer that knows every word of the captions as one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    plain = CLIPTokenizer()
    words: Counter[str] = Counter()
    split = plain.backend_tokenizer.pre_tokenizer
    for text in (*captions, *TEMPLATES, *FURTHER_WORDS.split()):
        words.update(w for w, _ in split.pre_tokenize_str(text.lower().replace("{}", "")))
    learner = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=100_000,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
    )
    learner.train_from_iterator((w for w in sorted(words) for _ in range(words[w])), trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = [*letters, *(c + "</w>" for c in letters), *(a + b for a, b in merges)]
    vocab = [*dict.fromkeys(vocab), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(vocab)},
        merges=merges,
        model_max_length=MAX_TOKENS,
    )


def make_vae(sizes: Sizes) -> Any:
    """An ``AutoencoderKL`` of (B, 3, 64, 64) images in [-1, 1] and 8 x 8 latents."""
    from diffusers import AutoencoderKL

    n = len(sizes.vae)
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=sizes.latents,
        block_out_channels=sizes.vae,
        down_block_types=("DownEncoderBlock2D",) * n,
        up_block_types=("UpDecoderBlock2D",) * n,
        layers_per_block=1,
        norm_num_groups=sizes.groups,
        sample_size=64,
        scaling_factor=1.0,
    )
    start_straight(vae)
    # Latents begin with little noise; with the usual deviation of 1 it takes long to be heard.
    vae.quant_conv.weight.data[sizes.latents :] = 0
    vae.quant_conv.bias.data[sizes.latents :] = -5
    return vae


@torch.no_grad()
def start_straight(module: Any) -> None:
    """Residual branches begin as nothing, so that a deep net first learns what a shallow one can.

    Args:
        module: changed in place: the last layer of every residual and attention block.
    """
    from diffusers.models.attention import BasicTransformerBlock
    from diffusers.models.attention_processor import Attention
    from diffusers.models.resnet import ResnetBlock2D

    for part in module.modules():
        last = []
        if isinstance(part, ResnetBlock2D):
            last = [part.conv2]
        elif isinstance(part, Attention):
            last = [part.to_out[0]]
        elif isinstance(part, BasicTransformerBlock):
            last = [part.ff.net[-1]]
        for layer in last:
            layer.weight.zero_()
            layer.bias.zero_()


def principal(images: Tensor, count: int, side: int = 8) -> tuple[Tensor, Tensor]:
    """Principal components of image patches: a code to begin with.

    Args:
        images: (B, 3, S, S).
        count: of components.
        side: of a patch.

    Returns:
        (count, 3, side, side) filters whose outputs have deviation 1, and (count,) their offsets.
    """
    patches = torch.nn.functional.unfold(images, side, stride=side).transpose(1, 2).flatten(0, 1)
    mean = patches.mean(0)
    _, scales, axes = torch.linalg.svd(torch.cov((patches - mean).T))
    filters = axes[:count] / (scales[:count, None] + 1e-6).sqrt()
    return filters.reshape(count, -1, side, side), filters @ mean


@torch.no_grad()
def standardise(vae: Any, mean: Tensor, std: Tensor) -> None:
    """Give every latent channel mean 0 and deviation 1, by its 1 x 1 convolutions.

    Args:
        vae: changed in place; decodes as before.
        mean, std: (C,) of the channels' latents.
    """
    inward, outward, c = vae.quant_conv, vae.post_quant_conv, len(mean)
    inward.weight[:c] /= std[:, None, None, None]
    inward.bias[:c] = (inward.bias[:c] - mean) / std
    inward.bias[c:] -= 2 * std.log()  # the second half is the log of the variance
    outward.bias += (outward.weight[:, :, 0, 0] * mean).sum(1)
    outward.weight *= std[None, :, None, None]


def make_text_encoder(sizes: Sizes, tokenizer: Any) -> Any:
    """A ``CLIPTextModel``; positions start small beside the words."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=sizes.text,
        intermediate_size=4 * sizes.text,
        num_hidden_layers=sizes.layers,
        num_attention_heads=max(1, sizes.text // 32),
        max_position_embeddings=MAX_TOKENS,
        projection_dim=sizes.text,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config._attn_implementation = "eager"  # fused attention is slower on a CPU, so small
    encoder = CLIPTextModel(config)
    for name, parameter in encoder.named_parameters():
        if "position_embedding" in name:
            parameter.data *= 0.3
    return encoder


def make_unet(sizes: Sizes) -> Any:
    """A ``UNet2DConditionModel`` with cross-attention at 8 x 8 and at 4 x 4."""
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import AttnProcessor

    n = len(sizes.unet)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=sizes.latents,
        out_channels=sizes.latents,
        block_out_channels=sizes.unet,
        down_block_types=("CrossAttnDownBlock2D",) * n,
        up_block_types=("CrossAttnUpBlock2D",) * n,
        layers_per_block=1,
        cross_attention_dim=sizes.text,
        attention_head_dim=2,  # diffusers' old name of the number of heads
        norm_num_groups=sizes.groups,
    )
    start_straight(unet)
    unet.set_attn_processor(AttnProcessor())  # on a CPU fused attention is slower so small
    return unet


def make_scheduler() -> Any:
    """Cosine noise levels, which leave small latents more of their light than SD's do."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,
        set_alpha_to_one=True,
    )


def make_pipeline(tokenizer: Any, text_encoder: Any, vae: Any, unet: Any) -> Any:
    """The ``StableDiffusionPipeline`` of the parts."""
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save(pipe: Any, folder: Path) -> None:
    """In diffusers' format, in float16; the parts given stay as they are."""
    import copy

    half = copy.deepcopy(pipe).to(torch.float16)
    half.save_pretrained(folder, safe_serialization=True)
