"""The VAE: sharp small pictures from 8 x 8 latents, within minutes on one core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.tiny_sd import models
from experiments.tiny_sd.common import Scenes, Settings, write_sheet
from experiments.tiny_sd.loop import Loop, generator, rows

TAUGHT = 300  # steps in which latents are to be principal components, so that colours come early
SHARPER = 1500  # steps after which edges count fully; from the start they would blur everything
UNSURE = 0.1  # noise by which latents may be wrong for the decoder trained alone
GRAIN = 0.05  # the VAE sees noise up to this and is to leave it out


def train_vae(settings: Settings, scenes: Scenes, stop_at: int | None = None) -> None:
    """L1 and L2 on pixels, later L1 on their differences (sharp edges); a little divergence."""
    torch.manual_seed(settings.seed)
    vae = models.make_vae(settings.sizes).to(settings.device)
    loop = Loop(
        settings.folder / "vae", {"vae": vae}, settings.steps, settings.rate,
        cooldown=settings.cooldown,
    )  # fmt: skip

    first = scenes.images(range(min(4000, len(scenes))))
    filters, offsets = (
        part.to(settings.device) for part in models.principal(first, settings.sizes.latents)
    )

    def loss_of(step: int) -> Tensor:
        draw = generator(settings.seed, "vae", step)
        clean = scenes.images(rows(settings.seed, len(scenes), step, settings.batch))
        grain = 2 * GRAIN * torch.rand(len(clean), 1, 1, 1, generator=draw)
        noisy = clean + grain * torch.randn(clean.shape, generator=draw)
        target = clean.to(settings.device)
        taught = F.conv2d(target, filters, stride=8) - offsets[:, None, None]
        with settings.autocast():
            latent = vae.encode(noisy.to(settings.device)).latent_dist
            mean, deviation = latent.mean.float(), latent.std.float()
            spread = torch.randn(mean.shape, generator=draw).to(mean)
            code = taught if step < TAUGHT else mean
            made = vae.decode(code + deviation * spread).sample.float()
        if step < TAUGHT:
            return F.l1_loss(made, target) + F.mse_loss(made, target) + F.mse_loss(mean, taught)
        divergence = 0.5 * (mean**2 + deviation**2 - 1) - deviation.log()
        sharper = min(1.0, step / SHARPER)
        edges = sum(F.l1_loss(made.diff(dim=d), target.diff(dim=d)) for d in (2, 3))
        error = F.l1_loss(made, target) + F.mse_loss(made, target)
        return error + sharper * edges + settings.kl * divergence.mean()

    loop.run(
        loss_of, lambda path: _show_vae(settings, vae, scenes, path),
        sheet_every=settings.sheet_every, stop_at=stop_at,
    )  # fmt: skip


def train_decoder(settings: Settings, scenes: Scenes, stop_at: int | None = None) -> None:
    """The decoder alone, on and on; latents stay what they are, so it may go beside the UNet."""
    vae = kept_vae(settings)
    vae.encoder.requires_grad_(False)
    loop = decoder_loop(settings, vae)

    def loss_of(step: int) -> Tensor:
        draw = generator(settings.seed, "decoder", step)
        clean = scenes.images(rows(settings.seed + 1, len(scenes), step, settings.batch))
        noise = torch.randn((len(clean), settings.sizes.latents, 8, 8), generator=draw)
        target = clean.to(settings.device)
        with settings.autocast():
            with torch.no_grad():
                latent = vae.encode(target).latent_dist
            code = latent.mean + (latent.std + UNSURE) * noise.to(settings.device)
            made = vae.decode(code).sample.float()
        edges = sum(F.l1_loss(made.diff(dim=d), target.diff(dim=d)) for d in (2, 3))
        return F.l1_loss(made, target) + F.mse_loss(made, target) + edges

    loop.run(
        loss_of, lambda path: _show_vae(settings, vae, scenes, path),
        sheet_every=settings.sheet_every, stop_at=stop_at,
    )  # fmt: skip


def kept_vae(settings: Settings) -> Any:
    """The trained VAE of the folder."""
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(settings.folder / "vae_final").to(settings.device)


def decoder_loop(settings: Settings, vae: Any) -> Loop:
    """The training of the decoder alone; as the VAE left it when there was none."""
    parts = {"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv}
    return Loop(
        settings.folder / "decoder", parts, settings.steps, settings.rate,
        cooldown=settings.cooldown,
    )  # fmt: skip


@torch.no_grad()
def _show_vae(settings: Settings, vae: Any, scenes: Scenes, path: Path) -> None:
    shown = scenes.images(range(24)).to(settings.device)
    with settings.autocast():
        made = vae.decode(vae.encode(shown).latent_dist.mean).sample.float()
    write_sheet(path, torch.stack([shown, made], 1).flatten(0, 1).cpu(), 8)


@torch.no_grad()
def keep_latents(settings: Settings, scenes: Scenes) -> None:
    """Every scene as latents; the VAE is kept with latents of mean 0 and deviation about 1."""
    vae = models.make_vae(settings.sizes).to(settings.device)
    loop = Loop(settings.folder / "vae", {"vae": vae}, settings.steps, settings.rate)
    if loop.step == 0:
        raise SystemExit(f"{settings.folder} holds no trained VAE; run train vae first.")
    with loop.averaged():
        some = list(_latents(settings, vae, scenes, range(0, 4096)))
        mean, deviation = (torch.cat(part) for part in zip(*some, strict=True))
        signal = mean.std((0, 2, 3))
        # What the decoder needs exactly, the encoder gives with little noise. It shall be loud, so
        # that noise hides it last and an image comes into being from the coarse to the fine.
        weight = (deviation.mean((0, 2, 3)) / signal + 0.01).rsqrt()
        weight /= weight.square().mean().sqrt()
        models.standardise(vae, mean.mean((0, 2, 3)), signal / weight)
        vae.save_pretrained(settings.folder / "vae_final")
        shape = (len(scenes), 2, settings.sizes.latents, 8, 8)
        partial = settings.folder / "latents.npy.partial"
        kept = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
        start = 0
        for mean, deviation in _latents(settings, vae, scenes, range(len(scenes))):
            kept[start : start + len(mean)] = torch.stack([mean, deviation], 1).cpu().numpy()
            start += len(mean)
        kept.flush()
    partial.replace(settings.folder / "latents.npy")


def _latents(settings: Settings, vae: Any, scenes: Scenes, chosen: range) -> Any:
    """(mean, deviation) of batches of scenes."""
    for start in range(chosen.start, min(chosen.stop, len(scenes)), 64):
        images = scenes.images(range(start, min(start + 64, len(scenes)))).to(settings.device)
        with settings.autocast():
            latent = vae.encode(images).latent_dist
        yield latent.mean.float(), latent.std.float()
