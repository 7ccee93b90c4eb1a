"""A reader of latents: says what they show, and so whether the UNet draws what it is told.

A word changes the denoising loss by less than a hundredth, even where it decides what is drawn:
most of the error is noise that no caption explains. The reader makes the same fact loud: what the
UNet takes the clean latents to be, with some noise again, is to be read as what the caption says.
The reader is trained on latents of real scenes, with noise, and stays as it is while the UNet
trains. The judge of ``evaluate.py`` is another net, sees pixels, and learnt from other scenes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experiments.tiny_sd.common import Scenes, Settings
from experiments.tiny_sd.grounding import shares
from experiments.tiny_sd.judge import OBJECTS, SUBJECTS, Residual, targets, whereabouts
from experiments.tiny_sd.loop import Loop, generator, rows
from experiments.tiny_sd.scenes import BIRDS, DOGS

LIGHTEST = 0.4  # share of the signal's variance in what the reader sees, at least


class Reader(nn.Module):
    """(B, C, H, W) noisy latents -> logits of subject (B, S) and of objects (B, O, H, W)."""

    def __init__(self, channels: int, width: int = 96) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, 1, 1), *(Residual(width) for _ in range(3))
        )
        self.subject = nn.Linear(2 * width, len(SUBJECTS))
        self.objects = nn.Conv2d(width, len(OBJECTS), 1)
        nn.init.constant_(self.objects.bias, -6.0)  # few things are at a place

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.body(latents)
        pooled = torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], 1)
        return self.subject(pooled), self.objects(seen)


def dimmed(latents: Tensor, draw: torch.Generator) -> Tensor:
    """Latents with noise of a strength of their own, as the reader sees them.

    Args:
        latents: (B, C, H, W).
        draw: of the CPU.
    """
    share = 1 - (1 - LIGHTEST) * torch.rand(len(latents), 1, 1, 1, generator=draw)
    noise = torch.randn(latents.shape, generator=draw)
    share, noise = share.to(latents), noise.to(latents)
    return share.sqrt() * latents + (1 - share).sqrt() * noise


def train_reader(settings: Settings, scenes: Scenes, stop_at: int | None = None) -> None:
    """The reader, on the kept latents of the scenes that the UNet trains on."""
    torch.manual_seed(2)
    kept = np.load(settings.folder / "latents.npy", mmap_mode="r")
    reader = Reader(kept.shape[2]).to(settings.device)
    loop = _loop(settings, reader)

    def loss_of(step: int) -> Tensor:
        draw = generator(2, "reader", step)
        chosen = rows(2, len(scenes), step, settings.batch)
        facts = [scenes.facts[i] for i in chosen]
        mean, deviation = torch.from_numpy(kept[chosen]).float().unbind(1)
        latents = dimmed(mean + deviation * torch.randn(mean.shape, generator=draw), draw)
        subjects, _, shown = targets(facts)
        where = shares(scenes.labels(chosen), latents.shape[-1])
        there = whereabouts(facts, where).to(settings.device)
        with settings.autocast():
            said, found = (t.float() for t in reader(latents.to(settings.device)))
        known = (there >= 0).float()
        here = F.binary_cross_entropy_with_logits(found, there.clamp(min=0), known, reduction="sum")
        anywhere = _anywhere(found, shown.to(found)).sum(1).mean()
        return F.cross_entropy(said, subjects.to(said.device)) + anywhere + here / len(facts)

    loop.run(loss_of, lambda _: None, sheet_every=0, stop_at=stop_at)


def kept_reader(settings: Settings, channels: int) -> Reader:
    """The trained reader of the folder, which learns no more."""
    reader = Reader(channels).to(settings.device)
    loop = _loop(settings, reader)
    if loop.step == 0:
        raise SystemExit(f"{settings.folder} holds no reader; run train reader first.")
    loop.averaged().__enter__()  # for good
    return reader.requires_grad_(False)


def _loop(settings: Settings, reader: Reader) -> Loop:
    return Loop(
        settings.folder / "reader", {"reader": reader}, settings.steps, settings.rate,
        cooldown=settings.cooldown, decay=0.99,
    )  # fmt: skip


def misread(
    reader: Reader, latents: Tensor, facts: Sequence[dict[str, Any]], heard: Tensor
) -> Tensor:
    """How far what latents show is from what was said of them, in nats.

    Args:
        reader: of ``kept_reader``.
        latents: (B, C, H, W), noisy.
        facts: of the scenes.
        heard: (B, K) bool: whether the caption names the subject, and each of the objects.

    Returns:
        (B,) for the subject, any of its world where the caption says "bird" or "dog", plus for the
        objects: those named show, those that are not in the scene do not.
    """
    said, found = (t.float() for t in reader(latents))
    _, _, shown = targets(facts)
    admitted = torch.stack([_admitted(f["world"], f["subject"], f["named"]) for f in facts])
    missed = said.logsumexp(1) - said.masked_fill(~admitted.to(said.device), -1e4).logsumexp(1)
    unheard = torch.zeros(shown.shape, dtype=torch.bool)
    for row, fact in enumerate(facts):
        for k, thing in enumerate(fact["objects"], 1):
            unheard[row, OBJECTS.index(thing)] = not heard[row, k]
    objects = _anywhere(found, shown.to(found)).masked_fill(unheard.to(found.device), 0)
    return missed * heard[:, 0].to(missed) + objects.sum(1)


def _anywhere(found: Tensor, shown: Tensor) -> Tensor:
    """(B, O): one place is enough."""
    logits = found.flatten(2).logsumexp(2)
    return F.binary_cross_entropy_with_logits(logits, shown, reduction="none")


@cache
def _admitted(world: str, subject: str, named: bool) -> Tensor:
    """(S,) bool: the subjects that a caption admits."""
    alike = {"birds": BIRDS, "dogs": DOGS}.get(world, {}) if not named else {}
    return torch.tensor([s == subject or s in alike for s in SUBJECTS])
