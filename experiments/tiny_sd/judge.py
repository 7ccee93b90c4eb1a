"""The independent judge: a small CNN that says what a scene shows.

It is trained on rendered scenes of its own seeds, of all combinations, and never on images of
tiny-sd.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aspire.data import mini_celeba, mini_hard_imagenet
from aspire.data.drawing.faces import WEARABLE
from aspire.rng import seed_for
from experiments.tiny_sd import scenes as world
from experiments.tiny_sd.common import Scenes

PEOPLE = [f"{c} {p}" for c in mini_celeba.CLASSES for p in mini_celeba.PEOPLE]
SUBJECTS = tuple(sorted({*world.BIRDS, *world.DOGS, *PEOPLE, *world.EQUIPMENT}))
BACKGROUNDS = tuple(
    sorted(
        {*world.NATURE, *world.DOG_PLACES, *world.EQUIPMENT_PLACES}
        | {f"{hue} backdrop" for hue in mini_celeba.HUES}
    )
)
CARRIERS = {c.thing.phrase for k in mini_hard_imagenet.KINDS for c in k.carriers}
OBJECTS = tuple(
    sorted(
        {t.phrase for t in (*world.BIRD_THINGS, *world.DOG_THINGS, *world.EQUIPMENT_THINGS)}
        | CARRIERS
        | set(WEARABLE)
    )
)


class Judge(nn.Module):
    """(B, 3, 64, 64) in [-1, 1] -> logits of subject, background and each object.

    Objects are small: they are looked for at each of 8 x 8 places, and one place is enough.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, width, 2)]
        for _ in range(2):
            layers += [_Residual(width), _conv(width, 2 * width, 2)]
            width *= 2
        self.body = nn.Sequential(*layers, _Residual(width), _Residual(width))
        self.subject = nn.Linear(2 * width, len(SUBJECTS))
        self.background = nn.Linear(2 * width, len(BACKGROUNDS))
        self.objects = nn.Conv2d(width, len(OBJECTS), 1)
        nn.init.constant_(self.objects.bias, -6.0)  # few things are at a place

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = self.body(images)
        pooled = torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], 1)
        objects = self.objects(seen).flatten(2).logsumexp(2)
        return self.subject(pooled), self.background(pooled), objects


def _conv(inward: int, outward: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inward, outward, 3, stride, 1, bias=False), nn.BatchNorm2d(outward), nn.ReLU(True)
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(_conv(width, width, 1), _conv(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def targets(facts: Sequence[dict[str, Any]]) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of subject and background (B,), and which objects show (B, O)."""
    shown = torch.zeros(len(facts), len(OBJECTS))
    for row, fact in enumerate(facts):
        shown[row, [OBJECTS.index(o) for o in fact["objects"]]] = 1
    subjects = torch.tensor([SUBJECTS.index(f["subject"]) for f in facts])
    places = torch.tensor([BACKGROUNDS.index(f["background"]) for f in facts])
    return subjects, places, shown


def train(
    drawn: Scenes, steps: int, device: str = "cpu", batch: int = 64, rate: float = 3e-3
) -> Judge:
    """A judge; sees the scenes with noise of several strengths, and a little blurred."""
    torch.manual_seed(1)
    judge = Judge().to(device)
    optimizer = torch.optim.AdamW(judge.parameters(), rate, weight_decay=0.05, fused=True)
    falling = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.15)
    rng = np.random.default_rng(seed_for(0, "tiny-sd", "judge order"))
    for step in range(steps):
        chosen = rng.integers(len(drawn), size=batch)
        images = drawn.images(chosen)
        soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
        images = torch.lerp(images, soft, torch.rand(batch, 1, 1, 1) * 0.8)
        images = images + 0.1 * torch.rand(batch, 1, 1, 1) * torch.randn_like(images)
        subjects, places, shown = (t.to(device) for t in targets([drawn.facts[i] for i in chosen]))
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            a, b, c = judge(images.to(device))
        loss = F.cross_entropy(a.float(), subjects) + F.cross_entropy(b.float(), places)
        loss = loss + 20 * F.binary_cross_entropy_with_logits(c.float(), shown)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        falling.step()
        if step % 100 == 0:
            print(f"judge {step}/{steps}  loss {float(loss.detach()):.3f}", flush=True)
    return judge.cpu().eval()


@torch.no_grad()
def judged(judge: Judge, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Subject and background (N,) as indices, objects (N, O) as truth values."""
    parts = [judge(batch) for batch in images.split(128)]
    a, b, c = (torch.cat(p) for p in zip(*parts, strict=True))
    return a.argmax(1), b.argmax(1), c > 0
