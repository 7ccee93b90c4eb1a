"""Textual inversion and sampling with Stable Diffusion 1.5 in full size, beside plain loops.

Weights are random, in the sizes of the published configuration; how long a step takes and what
memory it needs do not depend on their values. The peers are written from the documentation of
diffusers: textual inversion as its guide trains it (every step encodes the images again; the whole
embedding table is trained in float32 under autocast, and all rows but the new ones are put back),
and the pipeline called with a list of prompts. Both arms of a comparison have the same weights,
precision of the frozen parts, batch, size, steps and checkpointing, and take turns at going first.

    python experiments/benchmarks/generation.py --device cuda    # 512 px, batches of 4
    python experiments/benchmarks/generation.py --fits           # does it run, and in what memory?
    python experiments/benchmarks/generation.py --tiny           # 64 px: the script itself
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from diffusion_models import FULL, TINY, save_stable_diffusion
from PIL import Image
from torch.nn import functional as F

from aspire.generation.base import ClassEvidence, GenerationRequest
from aspire.generation.denoising import Denoising
from aspire.generation.pictures import TEMPLATES
from aspire.generation.text_to_image import TextToImage
from aspire.generation.textual_inversion import TextualInversion
from aspire.records import Concept, Effect, SpuriousFeature

WARM_UP = 3  # steps at the beginning that do not count
GIB = 2**30
PROMPT = "a photo of a bird, lake"


now = time.perf_counter


def main():
    global now
    args = arguments()
    if args.processor_time:
        now = time.process_time
    torch.set_num_threads(args.threads)
    if args.limit and args.device == "cuda":  # a larger card behaves like one of this size
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, args.limit * GIB / total))
    folder = args.folder or Path(tempfile.mkdtemp(prefix="aspire-generation-"))
    try:
        model = folder / "model"
        if not (model / "model_index.json").is_file():
            # in a process of its own, whose memory is none of this one's
            build = [sys.executable, __file__, "--build", str(model), "--precision", args.precision]
            subprocess.run([*build, *(["--tiny"] if args.tiny else [])], check=True)
        evidence = photos(folder / "photos", args.size, 3 if args.fits else 8)
        print(f"device {device_name(args.device)}, {args.precision}, {args.size} px, torch "
              f"{torch.__version__}, {args.threads} threads", flush=True)  # fmt: skip
        (fits if args.fits else compare)(args, folder, evidence)
    finally:
        if args.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--tiny", action="store_true", help="small model, 64 px")
    parser.add_argument("--fits", action="store_true", help="only ours, once, with its memory")
    parser.add_argument("--folder", type=Path, help="keep the checkpoint here (2 GB)")
    parser.add_argument("--precision", default="bfloat16", help="of the frozen parts")
    parser.add_argument("--batch", type=int, help="4; 1 with --fits")
    parser.add_argument("--steps", type=int, help="of training, 30; 2 with --fits")
    parser.add_argument("--images", type=int, help="to sample, 8; 1 with --fits")
    parser.add_argument("--sample-steps", type=int, help="denoising steps, 25; 2 with --fits")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--no-checkpointing", action="store_true", help="in either arm")
    parser.add_argument("--limit", type=float, default=24.0, help="GiB of the GPU; 0 for all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--processor-time", action="store_true", help="for a busy machine")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    few, many = (1, 2, 1, 2), (4, 30, 8, 25)
    names = ("batch", "steps", "images", "sample_steps")
    for name, value in zip(names, few if args.fits else many, strict=True):
        if getattr(args, name) is None:
            setattr(args, name, value)
    args.size = 64 if args.tiny else 512
    if args.build:
        save_stable_diffusion(
            args.build, TINY if args.tiny else FULL, getattr(torch, args.precision)
        )
        raise SystemExit
    return args


def fits(args, folder, evidence):
    """Ours alone: the memory that loading, personalising and sampling take."""
    memory = Memory(args.device)
    start = now()
    with Clock(args.device) as clock:
        concept, kept = personalise(args, folder, evidence, "fits")
    took = np.diff(clock.times)
    print(f"personalised  {args.steps} steps of {args.batch}: peak {memory.peak():.1f} GiB, "
          f"{took.mean():.1f} s a step, {now() - start:.0f} s in all, "
          f"effect {concept.effect:.2g}", flush=True)  # fmt: skip
    memory = Memory(args.device)
    start = now()
    made = sampler(args, folder, kept).sample(requests(concept, args.images))
    seen = [f"{m.pixels.shape} std {m.pixels.std():.0f}" for m in made]
    took = now() - start
    print(f"sampled {args.images} in {args.sample_steps} steps: peak {memory.peak():.1f} GiB, "
          f"{took:.0f} s; {seen[0]}", flush=True)  # fmt: skip


def compare(args, folder, evidence):
    """Ours and the plain loops in turns."""
    concept, kept = personalise(args, folder, evidence, "warm-up", steps=1)
    ours = sampler(args, folder, kept)
    ours.sample(requests(concept, 1))  # loads it
    plain = plain_pipeline(args, folder)
    plain(PROMPT, num_inference_steps=1, height=args.size, width=args.size)
    arms = {
        "training": (
            lambda n: train_ours(args, folder, evidence, n),
            lambda n: train_plain(args, folder, list(evidence.edited.values())),
        ),
        "sampling": (
            lambda n: sample_ours(args, ours, concept),
            lambda n: sample_plain(args, plain),
        ),
    }
    for name, pair in arms.items():
        unit = "steps/s" if name == "training" else "images/s"
        rates, peaks = ([], []), [0.0, 0.0]
        for n in range(args.rounds):
            for arm in (0, 1) if n % 2 == 0 else (1, 0):
                memory = Memory(args.device)
                rates[arm].append(pair[arm](n))
                peaks[arm] = max(peaks[arm], memory.peak())
        ratios = [a / b for a, b in zip(*rates, strict=True)]
        print(f"{name:<10} ours {np.mean(rates[0]):.3f} {unit}, peak {peaks[0]:.1f} GiB; "
              f"plain {np.mean(rates[1]):.3f} {unit}, peak {peaks[1]:.1f} GiB; "
              f"ratio {np.mean(ratios):.2f} ({', '.join(f'{r:.2f}' for r in ratios)})",
              flush=True)  # fmt: skip


# --- ours -----------------------------------------------------------------------------------


def personalise(args, folder, evidence, name, steps=None):
    kept = folder / "personalised" / name
    shutil.rmtree(kept, ignore_errors=True)
    concept = TextualInversion(
        str(folder / "model"), folder=kept, steps=steps or args.steps, batch_size=args.batch,
        size=args.size, checkpointing=not args.no_checkpointing, strip_every=0,
        checkpoint_every=10**6, precision=args.precision, device=args.device,
    ).personalise(evidence)  # fmt: skip
    assert isinstance(concept, Concept), concept
    return concept, kept


def sampler(args, folder, kept):
    return TextToImage(
        folder, {}, str(folder / "model"), folder=kept, steps=args.sample_steps, size=args.size,
        precision=args.precision, device=args.device, batch_size=args.batch,
    )  # fmt: skip


def requests(concept, number):
    return [GenerationRequest(f"g{i}", concept, "bird", i) for i in range(number)]


def train_ours(args, folder, evidence, name):
    with Clock(args.device) as clock:
        personalise(args, folder, evidence, f"round-{name}")
    return clock.rate()


def sample_ours(args, ours, concept):
    synchronise(args.device)
    start = now()
    ours.sample(requests(concept, args.images))
    return args.images / (now() - start)


class Clock:
    """Notes when each training step of ours begins, and when the last one is over."""

    def __init__(self, device):
        self.device = device
        self.times = []

    def note(self):
        synchronise(self.device)
        self.times.append(now())

    def __enter__(self):
        self.whole = Denoising.training_step, Denoising.on_train_end
        step, end = self.whole

        def noted(module, batch, index):
            # the GPU is not waited for within: a step's time is that until the last one's end
            if not self.times or len(self.times) == WARM_UP:
                self.note()
            else:
                self.times.append(now())
            return step(module, batch, index)

        def ended(module):
            self.note()
            return end(module)

        Denoising.training_step, Denoising.on_train_end = noted, ended
        return self

    def __exit__(self, *error):
        Denoising.training_step, Denoising.on_train_end = self.whole

    def rate(self):
        """Steps a second, without the first few."""
        return (len(self.times) - 1 - WARM_UP) / (self.times[-1] - self.times[WARM_UP])


# --- the peers ------------------------------------------------------------------------------


def train_plain(args, folder, files):
    """Textual inversion as diffusers' guide describes it, on images that are in memory."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    model, dtype = folder / "model", getattr(torch, args.precision)
    tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
    text = CLIPTextModel.from_pretrained(model / "text_encoder", dtype=torch.float32)
    vae = AutoencoderKL.from_pretrained(model / "vae", dtype=dtype)
    unet = UNet2DConditionModel.from_pretrained(model / "unet", dtype=dtype)
    schedule = DDPMScheduler.from_pretrained(model / "scheduler")

    tokenizer.add_tokens("<bird>")
    new = tokenizer.convert_tokens_to_ids("<bird>")
    start = tokenizer("the", add_special_tokens=False).input_ids[0]
    text.resize_token_embeddings(len(tokenizer))
    table = text.get_input_embeddings().weight
    with torch.no_grad():
        table[new] = table[start]
    for part in (text, vae, unet):
        part.requires_grad_(False).to(args.device)
    table = text.get_input_embeddings().weight.requires_grad_(True)
    unet.train()
    text.train()
    if not args.no_checkpointing:
        unet.enable_gradient_checkpointing()
        text.activation_checkpointing_enable()
    before = table.detach().clone()
    others = torch.ones(len(table), dtype=torch.bool, device=args.device)
    others[new] = False
    optimizer = torch.optim.AdamW([table], lr=2e-3, weight_decay=1e-2)

    pixels = torch.stack([
        torch.from_numpy(np.array(Image.open(f))).permute(2, 0, 1).float() / 127.5 - 1
        for f in files
    ])  # fmt: skip
    rng, start = np.random.default_rng(0), 0.0
    for step in range(args.steps):
        if step == WARM_UP:
            synchronise(args.device)
            start = now()
        rows = rng.integers(len(files), size=args.batch)
        words = [
            TEMPLATES[i].format("<bird>") for i in rng.integers(len(TEMPLATES), size=args.batch)
        ]
        ids = tokenizer(words, padding="max_length", truncation=True, return_tensors="pt").input_ids
        with torch.no_grad():
            latents = vae.encode(pixels[rows].to(args.device, dtype)).latent_dist.sample()
        latents = latents * vae.config.scaling_factor
        noise = torch.randn_like(latents)
        levels = torch.randint(
            schedule.config.num_train_timesteps, (args.batch,), device=args.device
        )
        noisy = schedule.add_noise(latents, noise, levels)
        with torch.autocast(args.device, dtype, enabled=dtype != torch.float32):
            told = text(ids.to(args.device))[0].to(dtype)
            predicted = unet(noisy, levels, told).sample
        F.mse_loss(predicted.float(), noise.float()).backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            table[others] = before[others]
    synchronise(args.device)
    return (args.steps - WARM_UP) / (now() - start)


def plain_pipeline(args, folder):
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(
        folder / "model", dtype=getattr(torch, args.precision), safety_checker=None
    ).to(args.device)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sample_plain(args, pipe):
    """The pipeline itself, called as its documentation does."""
    synchronise(args.device)
    start = now()
    for first in range(0, args.images, args.batch):
        number = min(args.batch, args.images - first)
        pipe(
            [PROMPT] * number, negative_prompt=["forest"] * number, height=args.size,
            width=args.size, num_inference_steps=args.sample_steps, guidance_scale=7.5,
            generator=[torch.Generator(args.device).manual_seed(first + i) for i in range(number)],
            output_type="np",
        )  # fmt: skip
    return args.images / (now() - start)


# --- what both share ------------------------------------------------------------------------


def photos(folder, size, number):
    """Edited images of a class that flipped its prediction: smooth noise."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, effects, edited = np.random.default_rng(0), [], {}
    for index in range(number):
        name = f"e{index}"
        effects.append(
            Effect(edit_id=name, img_id=f"i{index}", y=0, kind="change_background", phrase="forest",
                   replacement="lake", p_before=0.9, p_after=0.1, predicted_after=1)
        )  # fmt: skip
        small = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        edited[name] = folder / f"{index}.png"
        small.resize((size, size), Image.Resampling.BICUBIC).save(edited[name])
    feature = SpuriousFeature(
        feature_id="000/0001", y=0, rank=1, kind="change_background", phrase="forest", support=8,
        flips=8, flip_rate=1.0, score=1.0, mean_drop=0.8, spurious=True, examples=(),
    )  # fmt: skip
    return ClassEvidence(0, "bird", (feature,), tuple(effects), (), {}, {}, edited)


class Memory:
    """The largest amount of memory since it was made, in GiB: of the GPU, or of this process."""

    def __init__(self, device):
        self.device = device
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")  # Linux: start VmHWM again

    def peak(self):
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated() / GIB
        lines = Path("/proc/self/status").read_text().splitlines()
        (high,) = [line.split()[1] for line in lines if line.startswith("VmHWM")]
        return int(high) * 1024 / GIB


def synchronise(device):
    if device == "cuda":
        torch.cuda.synchronize()


def device_name(device):
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


if __name__ == "__main__":
    main()
