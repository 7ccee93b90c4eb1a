"""The independent judge: a small CNN that says what a scene shows.

It is trained on rendered scenes of its own seeds, of all combinations, and never on images of
tiny-sd. Where things are it is told in training: from "somewhere" alone it learns them slowly.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aspire.miniatures import mini_celeba, mini_hard_imagenet, mini_spuco_dogs
from aspire.miniatures.drawing.faces import WEARABLE
from experiments.tiny_sd import scenes as world
from experiments.tiny_sd.common import Scenes, Settings
from experiments.tiny_sd.grounding import shares
from experiments.tiny_sd.loop import Loop, generator, rows

LABELS = {  # of each subject, the class
    **{species: label for species, (label, _) in world.BIRDS.items()},
    **{name: mini_spuco_dogs.CLASSES[y] for name, (y, _) in world.DOGS.items()},
    **{f"{c} {p}": c for c in mini_celeba.CLASSES for p in mini_celeba.PEOPLE},
    **{name: name for name in world.EQUIPMENT},
}
SUBJECTS = tuple(sorted(LABELS))
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
    """(B, 3, 64, 64) in [-1, 1] -> logits of subject, background, objects (B, O, 8, 8).

    Objects are small: they are looked for at each of 8 x 8 places, and one place is enough.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, width, 2)]
        for _ in range(2):
            layers += [Residual(width), _conv(width, 2 * width, 2)]
            width *= 2
        self.body = nn.Sequential(*layers, Residual(width), Residual(width))
        self.subject = nn.Linear(2 * width, len(SUBJECTS))
        self.background = nn.Linear(2 * width, len(BACKGROUNDS))
        self.objects = nn.Conv2d(width, len(OBJECTS), 1)
        nn.init.constant_(self.objects.bias, -6.0)  # few things are at a place

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = self.body(images)
        pooled = torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], 1)
        return self.subject(pooled), self.background(pooled), self.objects(seen)


def _conv(inward: int, outward: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inward, outward, 3, stride, 1, bias=False),
        nn.GroupNorm(8, outward),
        nn.ReLU(True),
    )


class Residual(nn.Module):
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


def whereabouts(facts: Sequence[dict[str, Any]], where: Tensor) -> Tensor:
    """(B, O, 8, 8): 1 where much of an object is, 0 where nothing of it is, between them -1.

    Args:
        facts: of B scenes.
        where: (B, K, 8, 8) of ``shares``.
    """
    there = torch.zeros(len(facts), len(OBJECTS), *where.shape[2:])
    for row, fact in enumerate(facts):
        for k, thing in enumerate(fact["objects"], 1):
            share = where[row, k]
            much = share >= min(0.2, float(share.max()))
            there[row, OBJECTS.index(thing)] = torch.where(much, 1.0, -(share > 0).float())
    return there


def train_judge(settings: Settings, scenes: Scenes, stop_at: int | None = None) -> None:
    """A judge; sees the scenes with noise of several strengths, and a little blurred."""
    torch.manual_seed(1)
    judge = Judge().to(settings.device)
    loop = Loop(
        settings.folder / "judge", {"judge": judge}, settings.steps, settings.rate,
        cooldown=settings.cooldown, decay=0.99,
    )  # fmt: skip

    def loss_of(step: int) -> Tensor:
        draw = generator(1, "judge", step)
        chosen = rows(1, len(scenes), step, settings.batch)
        images, facts = scenes.images(chosen), [scenes.facts[i] for i in chosen]
        soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
        blurred, noisy = torch.rand(2, len(images), 1, 1, 1, generator=draw)
        images = torch.lerp(images, soft, 0.8 * blurred)
        images = images + 0.1 * noisy * torch.randn(images.shape, generator=draw)
        told = (*targets(facts), whereabouts(facts, shares(scenes.labels(chosen), 8)))
        subjects, places, shown, there = (t.to(settings.device) for t in told)
        with settings.autocast():
            a, b, c = (t.float() for t in judge(images.to(settings.device)))
        anywhere = F.binary_cross_entropy_with_logits(c.flatten(2).logsumexp(2), shown)
        known = (there >= 0).float()
        here = F.binary_cross_entropy_with_logits(c, there.clamp(min=0), known, reduction="sum")
        objects = anywhere * len(OBJECTS) + here / len(images)
        return F.cross_entropy(a, subjects) + F.cross_entropy(b, places) + objects

    loop.run(loss_of, lambda _: None, sheet_every=0, stop_at=stop_at)


def load_judge(folder: Path) -> Judge:
    """The trained judge of a folder."""
    file = folder / "judge" / "state.pt"
    if not file.is_file():
        raise SystemExit(f"{folder} holds no judge; run train judge first (see README.md).")
    judge = Judge()
    kept = torch.load(file, weights_only=True)["averages"]
    for weight, average in zip(judge.parameters(), kept, strict=True):
        weight.data.copy_(average)
    return judge.eval()


@torch.no_grad()
def judged(judge: Judge, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Subject and background (N,) as indices, objects (N, O) as truth values."""
    parts = [judge(batch) for batch in images.split(128)]
    a, b, c = (torch.cat(p) for p in zip(*parts, strict=True))
    return a.argmax(1), b.argmax(1), c.flatten(2).logsumexp(2) > 0
