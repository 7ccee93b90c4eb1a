"""Few-step tiny-sd: a LoRA that needs 4 evaluations without guidance, and a light decoder.

Progressive distillation (Salimans and Ho 2022, arXiv 2202.00512), all halvings at once: the
teacher, guided, goes from noise to an image in many steps and is asked where it was at four noise
levels. The student learns to jump from each of them to the next in one DDIM step without guidance,
on the error in v. Its changes of the UNet are low-rank, so that they are kept in diffusers' format
of LoRA weights and loaded with ``load_lora_weights``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aspire.pretrained import Checkpoint
from experiments.tiny_sd.common import Scenes, Settings, write_sheet
from experiments.tiny_sd.loop import Loop, generator, rows
from experiments.tiny_sd.unet import PROMPTS, said, sample, tokens

LEVELS = (999, 749, 499, 249)  # where the student jumps from; four trailing steps of a thousand
SOLVER_STEPS = 12  # of the teacher, a multiple of the student's
GUIDANCE = 2.5  # of the teacher; the best of those that were tried for it
RANK = 32
BOLDER = 1.45  # the learnt change is kept so many times over: words are followed more strictly
LAYERS = (
    "to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv",
    "conv1", "conv2", "conv_shortcut", "time_emb_proj", "conv_in", "conv_out",
)  # fmt: skip
WIDTH, BLOCKS = 32, (6, 4, 2, 0)  # of the light decoder, coarse to fine
RANGE = 2.0  # AutoencoderTiny is made for latents within 3; ours reach twice as far
WEIGHTS = (1.0, 3.0, 9.0)  # of the light decoder's error on background, subject and objects
UNSURE = 0.1  # noise by which latents may be wrong for a decoder


def teacher(settings: Settings) -> Any:
    """The packaged pipeline, frozen, in float32."""
    from diffusers import StableDiffusionPipeline

    folder = Checkpoint("tiny-sd").folder
    pipe = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    for part in (pipe.unet, pipe.text_encoder, pipe.vae):
        part.requires_grad_(False).eval()
    pipe.unet.to(memory_format=torch.channels_last)
    return pipe.to(settings.device)


def prompt_of(rng: np.random.Generator, facts: dict[str, Any]) -> str:
    """A caption, a part of it, or a prompt as the pipeline's samplers write it."""
    if rng.random() < 0.25:
        noun = {"birds": "bird ", "dogs": "dog "}.get(facts["world"], "")
        return f"a photo of a {noun}{facts['subject']}, {facts['background']}"
    return said(rng, facts) or str(facts["caption"])


@torch.no_grad()
def keep_trajectories(settings: Settings, scenes: Scenes) -> None:
    """What the teacher makes of noise: latents at each of ``LEVELS`` and at the end.

    FOLDER/trajectories/0000.npz and so on, ``settings.batch`` each, ``settings.steps`` files;
    files that are there stay.
    """
    from diffusers import DPMSolverMultistepScheduler

    pipe = teacher(settings)
    folder = settings.folder / "trajectories"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(settings.seed, settings.steps):
        path = folder / f"{number:04d}.npz"
        if path.is_file():
            continue
        chosen = rows(3, len(scenes), number, settings.batch)
        draw = generator(3, "trajectories", number)
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=draw)))
        ids = tokens(pipe.tokenizer, [prompt_of(rng, scenes.facts[i]) for i in chosen])
        nothing = tokens(pipe.tokenizer, [""] * len(ids))
        told = pipe.text_encoder(torch.cat([nothing, ids])).last_hidden_state
        scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
        scheduler.set_timesteps(SOLVER_STEPS)
        latents = torch.randn((len(ids), *shape(pipe)), generator=draw)
        nodes = []
        for t in scheduler.timesteps:
            if int(t) in LEVELS:
                nodes.append(latents)
            twice = torch.cat([latents, latents]).contiguous(memory_format=torch.channels_last)
            with settings.autocast():
                free, bound = pipe.unet(twice, t, told).sample.float().chunk(2)
            guided = free + GUIDANCE * (bound - free)
            latents = scheduler.step(guided, t, latents).prev_sample
        nodes.append(latents)
        assert len(nodes) == len(LEVELS) + 1
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, ids=ids.numpy(), nodes=torch.stack(nodes, 1).half().numpy())
        partial.replace(path)
        print(f"{number + 1}/{settings.steps}", flush=True)


def shape(pipe: Any) -> tuple[int, int, int]:
    """Of one latent."""
    side = int(pipe.unet.config.sample_size)
    return int(pipe.unet.config.in_channels), side, side


class Trajectories:
    """All that ``keep_trajectories`` has kept: token ids (N, L) and latents (N, 5, C, h, w)."""

    def __init__(self, folder: Path) -> None:
        files = sorted((folder / "trajectories").glob("[0-9]*[0-9].npz"))
        if not files:
            raise SystemExit(f"{folder} holds no trajectories; run train trajectories first.")
        parts = [np.load(f) for f in files]
        self.ids = torch.from_numpy(np.concatenate([p["ids"] for p in parts]))
        self.nodes = np.concatenate([p["nodes"] for p in parts])


def train_student(settings: Settings, scenes: Scenes, stop_at: int | None = None) -> None:
    """The LoRA: from each level to the next in one jump."""
    torch.manual_seed(4)
    pipe = teacher(settings)
    unet = with_lora(pipe)
    kept = Trajectories(settings.folder)
    loop = student_loop(settings, unet)
    light = pipe.scheduler.alphas_cumprod

    def loss_of(step: int) -> Tensor:
        chosen = rows(4, len(kept.ids), step, settings.batch)
        level = torch.arange(len(chosen)) * len(LEVELS) // len(chosen)
        nodes = torch.from_numpy(kept.nodes[chosen]).float()
        every = torch.arange(len(chosen))
        start, end = nodes[every, level], nodes[every, level + 1]
        wanted = velocity(start, end, level, light)
        with torch.no_grad():
            told = pipe.text_encoder(kept.ids[chosen]).last_hidden_state
        with settings.autocast():
            times = torch.tensor(LEVELS)[level]
            predicted = unet(start.contiguous(memory_format=torch.channels_last), times, told)
        return F.mse_loss(predicted.sample.float(), wanted)

    def sheet(path: Path) -> None:
        with settings.autocast():
            write_sheet(path, sample(pipe, PROMPTS, settings.seed, steps=4, guidance=0.0), 6)

    loop.run(loss_of, sheet, sheet_every=settings.sheet_every, stop_at=stop_at)


def velocity(start: Tensor, end: Tensor, level: Tensor, light: Tensor) -> Tensor:
    """The prediction of v that one DDIM step turns into the wanted latents.

    With signal a and noise s at the start, b and r at the end, such a step leads to
    (b a + r s) start + (r a - b s) v.

    Args:
        start, end: (B, C, h, w) latents at a level and at the next.
        level: (B,) indices into ``LEVELS``; behind the last one there is no noise.
        light: (1000,) share of the signal's variance at each step of training.
    """
    signal = torch.tensor([*(float(light[t]) for t in LEVELS), 1.0], dtype=torch.float64)
    a, b = (signal[k].sqrt()[:, None, None, None] for k in (level, level + 1))
    s, r = (1 - a**2).sqrt(), (1 - b**2).sqrt()
    return ((end - (b * a + r * s) * start) / (r * a - b * s)).to(start.dtype)


def with_lora(pipe: Any) -> Any:
    """The UNet with low-rank changes to be learnt; everything else of it is frozen."""
    from peft import LoraConfig

    config = LoraConfig(
        r=RANK, lora_alpha=RANK, init_lora_weights=True, target_modules=list(LAYERS)
    )
    pipe.unet.add_adapter(config)
    pipe.unet.train()
    return pipe.unet


def student_loop(settings: Settings, unet: Any) -> Loop:
    """The training of the LoRA."""
    return Loop(
        settings.folder / "student", {"unet": unet}, settings.steps, settings.rate, warmup=50,
        cooldown=settings.cooldown, decay=0.995,
    )  # fmt: skip


def export_student(settings: Settings, scenes: Scenes) -> None:
    """The averaged LoRA as FOLDER/tiny-sd-fast, in diffusers' format and float16.

    With the scheduler that it was distilled for, as ``few_steps.make_fast`` looks for it.
    """
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    pipe = teacher(settings)
    unet = with_lora(pipe)
    loop = student_loop(settings, unet)
    if loop.step == 0:
        raise SystemExit(f"{settings.folder} holds no student; run train student first.")
    target = settings.folder / "tiny-sd-fast"
    with loop.averaged():
        state = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
        bolder = {
            k: v * (BOLDER if "lora_B" in k or "lora.up" in k else 1.0) for k, v in state.items()
        }
        half = {k: v.detach().half().contiguous() for k, v in bolder.items()}
        StableDiffusionPipeline.save_lora_weights(target, unet_lora_layers=half)
    pipe.scheduler.save_pretrained(target / "scheduler")
    shutil.copyfile(Path(__file__).with_name("card_fast.md"), target / "README.md")
    print(f"step {loop.step} -> {target}")


# --- the light decoder -----------------------------------------------------------------------


def make_small_vae(channels: int) -> Any:
    """An ``AutoencoderTiny`` of the teacher's latents."""
    from diffusers import AutoencoderTiny

    n = len(BLOCKS)
    return AutoencoderTiny(
        latent_channels=channels,
        encoder_block_out_channels=(WIDTH,) * n,
        decoder_block_out_channels=(WIDTH,) * n,
        num_encoder_blocks=(0, 1, 2, 3),
        num_decoder_blocks=BLOCKS,
        scaling_factor=RANGE,
    )


def train_small_vae(settings: Settings, scenes: Scenes, stop_at: int | None = None) -> None:
    """Decoder: what the scene looks like, from the latents of the VAE; encoder: these latents.

    Half of a batch are scenes; half are latents that the teacher made, for which the VAE's own
    decoder says what they look like.
    """
    torch.manual_seed(5)
    vae = teacher(settings).vae
    small = make_small_vae(int(vae.config.latent_channels)).to(memory_format=torch.channels_last)
    kept = Trajectories(settings.folder)
    loop = small_vae_loop(settings, small)

    def loss_of(step: int) -> Tensor:
        draw = generator(5, "small vae", step)
        half = settings.batch // 2
        chosen = rows(5, len(scenes), step, half)
        clean = scenes.images(chosen)
        made = torch.from_numpy(kept.nodes[rows(5, len(kept.ids), step, half), -1]).float()
        with torch.no_grad(), settings.autocast():
            latent = vae.encode(clean).latent_dist
            drawn = vae.decode(made).sample.float()
        mean, deviation = latent.mean.float(), latent.std.float()
        code = mean + (deviation + UNSURE) * torch.randn(mean.shape, generator=draw)
        target = torch.cat([clean, drawn.clamp(-1, 1)])
        with settings.autocast():
            code = torch.cat([code, made]) / RANGE
            shown = small.decode(code.contiguous(memory_format=torch.channels_last)).sample.float()
            back = small.encode(target.contiguous(memory_format=torch.channels_last)).latents
        wanted = torch.cat([mean, made]) / RANGE
        labels = torch.from_numpy(scenes.labels(chosen)).long().clamp(max=2)
        weight = torch.ones_like(target[:, :1])
        weight[:half] = torch.tensor(WEIGHTS)[labels][:, None]
        weight = weight / weight.mean()
        off = weight * (shown - target).abs()
        edges = sum(
            (weight.narrow(d, 1, 63) * (shown.diff(dim=d) - target.diff(dim=d)).abs()).mean()
            for d in (2, 3)
        )
        error = off.mean() + (off * (shown - target).abs()).mean() + edges
        return error + 0.3 * F.mse_loss(back.float(), wanted)

    def sheet(path: Path) -> None:
        with torch.no_grad():
            clean = scenes.images(range(24))
            latents = vae.encode(clean).latent_dist.mean
            shown = small.decode(latents / RANGE).sample
            large = vae.decode(latents).sample
            write_sheet(path, torch.stack([clean, large, shown], 1).flatten(0, 1), 9)

    loop.run(loss_of, sheet, sheet_every=settings.sheet_every, stop_at=stop_at)


def small_vae_loop(settings: Settings, small: Any) -> Loop:
    """The training of the light VAE."""
    return Loop(
        settings.folder / "small_vae", {"vae": small}, settings.steps, settings.rate,
        cooldown=settings.cooldown, decay=0.995,
    )  # fmt: skip


def export_small_vae(settings: Settings, scenes: Scenes) -> None:
    """The averaged light VAE as FOLDER/tiny-sd-vae, in float16."""
    small = make_small_vae(int(teacher(settings).vae.config.latent_channels))
    loop = small_vae_loop(settings, small)
    if loop.step == 0:
        raise SystemExit(f"{settings.folder} holds no light VAE; run train small_vae first.")
    with loop.averaged():
        target = settings.folder / "tiny-sd-vae"
        shutil.rmtree(target, ignore_errors=True)
        small.half().save_pretrained(target)
    shutil.copyfile(Path(__file__).with_name("card_vae.md"), target / "README.md")
    print(f"step {loop.step} -> {target}")
