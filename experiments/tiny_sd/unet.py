"""Text encoder and UNet: from captions and noise to latents."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aspire.generation.pictures import TEMPLATES
from experiments.tiny_sd import models
from experiments.tiny_sd.common import Scenes, Settings, write_sheet
from experiments.tiny_sd.grounding import Listener, emphasis, shares, spans, speak_up, visible
from experiments.tiny_sd.loop import Loop, generator, rows
from experiments.tiny_sd.reader import dimmed, kept_reader, misread
from experiments.tiny_sd.vae import decoder_loop, kept_vae

EMPTY, SHORT = 0.1, 0.12  # of the captions: left out for guidance; only a part of what is there
GAMMA = 5.0  # of min-SNR
MIDDLE = 0.5  # levels in the middle, where it is decided what is drawn, are so much denser
TEXT = 0.1  # share of the learning rate for the text encoder
HEARD = 0.1  # weight of the loss that teaches attention where a word's thing is
READ = 0.1  # weight of the loss that has the reader see what was said


def train_unet(settings: Settings, scenes: Scenes, stop_at: int | None = None) -> None:
    """Text encoder and UNet together, on v, with weights for noise levels and for things.

    The weight of a noise level is min(SNR + 1, gamma + 1) / (SNR + 1): that of min-SNR (Hang et
    al. 2023, arXiv 2303.09556) where there is light, but 1 and not 0 where there is none, since
    sampling starts there. Things count more than what is behind them, and attention is taught
    where they are (``grounding.py``).
    """
    torch.manual_seed(settings.seed)
    pipe = load_parts(settings, scenes)
    unet, encoder = pipe.unet, pipe.text_encoder
    unet.to(memory_format=torch.channels_last)
    speak_up(encoder, pipe.tokenizer, scenes.facts)  # a checkpoint overrides it
    listener = Listener(unet)
    reader = kept_reader(settings, settings.sizes.latents)
    loop = Loop(
        settings.folder / "unet", {"unet": unet, "text_encoder": encoder}, settings.steps,
        settings.rate, warmup=200, cooldown=settings.cooldown, slower={"text_encoder": TEXT},
    )  # fmt: skip
    kept = np.load(settings.folder / "latents.npy", mmap_mode="r")
    light = pipe.scheduler.alphas_cumprod.to(settings.device)
    levels = len(light)

    def loss_of(step: int) -> Tensor:
        draw = generator(settings.seed, "unet", step)
        chosen = rows(settings.seed, len(scenes), step, settings.batch)
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=draw)))
        facts, labels = [scenes.facts[i] for i in chosen], scenes.labels(chosen)
        mean, deviation = torch.from_numpy(kept[chosen]).float().unbind(1)
        clean = mean + deviation * torch.randn(mean.shape, generator=draw)
        noise = torch.randn(mean.shape, generator=draw)
        # One level from each of as many equal parts: fewer steps see only light or only dark.
        spread = (torch.rand(len(clean), generator=draw) + torch.arange(len(clean))) / len(clean)
        spread = spread + MIDDLE * torch.sin(2 * torch.pi * spread) / (2 * torch.pi)
        times = (spread * levels).long().clamp(max=levels - 1).to(settings.device)
        clean, noise = clean.to(settings.device), noise.to(settings.device)
        a = light[times][:, None, None, None]
        noisy = a.sqrt() * clean + (1 - a).sqrt() * noise
        velocity = a.sqrt() * noise - (1 - a).sqrt() * clean
        ids = tokens(pipe.tokenizer, [said(rng, fact) for fact in facts])
        with settings.autocast():
            told = encoder(ids.to(settings.device)).last_hidden_state
            noisy = noisy.contiguous(memory_format=torch.channels_last)
            predicted = unet(noisy, times, told).sample.float()
            guessed = dimmed(a.sqrt() * noisy - (1 - a).sqrt() * predicted, draw)
        ratio = (light / (1 - light).clamp(min=1e-6))[times]
        where = shares(labels, clean.shape[-1]).to(ratio)
        weight = emphasis(where, ratio) * level_weight(ratio)[:, None, None, None]
        error = (weight * (predicted - velocity) ** 2).mean() / weight.mean()
        said_where = spans(pipe.tokenizer, ids, facts, where.shape[1])
        with settings.autocast():
            unread = misread(reader, guessed, facts, said_where.any(2)) * visible(ratio)
        heard = listener.loss(labels, said_where.to(ratio), visible(ratio))
        return error + HEARD * heard + READ * unread.mean()

    def sheet(path: Path) -> None:
        with settings.autocast():
            made = sample(pipe, PROMPTS, settings.seed)
        write_sheet(path, made, 6)

    loop.run(loss_of, sheet, sheet_every=settings.sheet_every, stop_at=stop_at)


def export(settings: Settings, scenes: Scenes) -> None:
    """The averaged weights as FOLDER/tiny-sd, in diffusers' format and float16, with a card."""
    pipe = load_parts(settings, scenes)
    parts = {"unet": pipe.unet, "text_encoder": pipe.text_encoder}
    trained = Loop(settings.folder / "unet", parts, settings.steps, settings.rate)
    if trained.step == 0:
        raise SystemExit(f"{settings.folder} holds no trained UNet; run train unet first.")
    with trained.averaged(), decoder_loop(settings, pipe.vae).averaged():
        models.save(pipe, settings.folder / "tiny-sd")
    shutil.copyfile(Path(__file__).with_name("card.md"), settings.folder / "tiny-sd" / "README.md")
    print(f"step {trained.step} -> {settings.folder / 'tiny-sd'}")


def level_weight(ratio: Tensor) -> Tensor:
    """(B,) of min-SNR, but 1 where there is no light."""
    return (1 + GAMMA) / (1 + ratio.clamp(min=GAMMA))


def load_parts(settings: Settings, scenes: Scenes) -> Any:
    """The pipeline with the trained VAE; text encoder and UNet as they start."""
    tokenizer = kept_tokenizer(settings, scenes)
    vae = kept_vae(settings)
    encoder = models.make_text_encoder(settings.sizes, tokenizer)
    pipe = models.make_pipeline(tokenizer, encoder, vae, models.make_unet(settings.sizes))
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(settings.device)


def kept_tokenizer(settings: Settings, scenes: Scenes) -> Any:
    """The tokenizer of the folder, made once: words of equal counts take any order, each time."""
    from transformers import CLIPTokenizer

    folder = settings.folder / "tokenizer"
    if not folder.is_dir():
        models.make_tokenizer(f["caption"] for f in scenes.facts).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def tokens(tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """(B, MAX_TOKENS) ids."""
    encoded = tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt")
    ids: Tensor = encoded.input_ids
    return ids


def said(rng: np.random.Generator, facts: dict[str, Any]) -> str:
    """The caption, or nothing, or only what the subject, the place or the objects are."""
    kind = rng.random()
    if kind < EMPTY:
        return ""
    if kind >= EMPTY + SHORT:
        return str(facts["caption"])
    hair, _, person = facts["subject"].partition(" ")
    noun = f"{person} with {hair} hair" if facts["world"] == "faces" else facts["subject"]
    parts = [TEMPLATES[int(rng.integers(len(TEMPLATES)))].format(noun), noun, facts["background"]]
    parts += [", ".join(facts["objects"])] * bool(facts["objects"])
    return str(parts[int(rng.integers(len(parts)))])


@torch.no_grad()
def sample(pipe: Any, prompts: Sequence[str], seed: int, steps: int = 20, guidance: float = 4.0,
           negative: str = "") -> Tensor:  # fmt: skip
    """(N, 3, S, S) images in [-1, 1]."""
    made = pipe(
        list(prompts),
        negative_prompt=[negative] * len(prompts),
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=[torch.Generator().manual_seed(seed + i) for i in range(len(prompts))],
        output_type="pt",
    ).images
    images: Tensor = made.float().cpu() * 2 - 1
    return images


PROMPTS = (
    "an owl in a forest", "a duck on a lake", "a flamingo in a desert",
    "a penguin in a grassy field next to a tent", "a parrot on the sea", "an eagle on a pond",
    "a dalmatian in a kitchen", "a pug on a beach with a ball", "a corgi in a park",
    "a great dane in a bedroom next to a lamp", "a husky on a street", "a dachshund in a garden",
    "a man with blond hair wearing a suit and glasses in front of a green backdrop",
    "a woman with black hair wearing a dress and a hat in front of a blue backdrop",
    "a man with brown hair wearing a suit in front of a red backdrop",
    "a woman with blond hair wearing a dress and earrings in front of a purple backdrop",
    "a volleyball on a beach", "a pair of skis in a forest", "a dog sled in the snow",
    "a puck on an ice rink", "a pair of sunglasses on a man in a park",
    "a howler monkey on a street", "a baseball player in a gym", "a balance beam in a desert",
)  # fmt: skip
