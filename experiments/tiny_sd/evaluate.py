"""Does tiny-sd draw what the caption says, and how fast?

    python -m experiments.tiny_sd.evaluate folder=outputs/tiny_sd captions=1000

Captions are of held-out combinations, which training has never seen. The judge (``judge.py``,
trained before) says what it sees on the samples; first, what it sees on
rendered scenes of the same captions and on what the VAE makes of them: no model can do better.
The arms of ``ARMS`` draw the same captions batch by batch in turn, so that their speeds compare.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aspire.generation.diffusion_model import load_pipeline
from aspire.generation.few_steps import make_fast, replace_vae, set_scheduler
from aspire.miniatures.drawing.faces import CLOTHES
from aspire.pretrained import Checkpoint
from aspire.rng import seed_for
from experiments.tiny_sd import scenes as world
from experiments.tiny_sd.common import write_sheet
from experiments.tiny_sd.judge import (
    BACKGROUNDS,
    LABELS,
    OBJECTS,
    SUBJECTS,
    Judge,
    judged,
    load_judge,
)
from experiments.tiny_sd.unet import sample

BARS = {"class": 0.94, "place": 0.94, "object": 0.85}  # of the few-step arm


@dataclass(frozen=True)
class Arm:
    """A way to sample: as the keys of ``generator``."""

    steps: int
    guidance: float
    scheduler: str | None = None
    few: bool = False  # with the distilled weights and the light decoder

    @property
    def evaluations(self) -> int:
        """Of the UNet, an image."""
        return self.steps * (2 if self.guidance > 1 else 1)


ARMS = {
    "guided, DDIM": Arm(20, 2.5),
    "guided": Arm(10, 2.5, "DPMSolverMultistepScheduler"),
    "few steps": Arm(4, 0.0, few=True),
}


@dataclass
class Settings:
    """What the command line says as ``key=value``."""

    folder: Path = Path("outputs/tiny_sd")  # of the judge
    model: str = "tiny-sd"  # packaged, or a folder in diffusers' format
    fast: str = "tiny-sd-fast"  # the distilled LoRA
    vae: str = "tiny-sd-vae"  # the light autoencoder
    arms: str = "guided,few steps"
    captions: int = 1000
    batch: int = 32
    seed: int = 0


def agreement(judge: Judge, images: Tensor, facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares in which what the judge sees is what the facts say.

    Returns:
        ``class`` (of the miniature), ``subject`` (species, breed, kind, or hair and sex),
        ``place`` (which of the backgrounds), ``object`` (of those that the captions name beside
        dress and suit, how many show), ``invented`` (objects seen an image that nobody named),
        and class, place and object by world.
    """
    subjects, places, shown = judged(judge, images)
    right: dict[str, list[tuple[str, bool]]] = {k: [] for k in ("class", "subject", "place")}
    right["object"] = []
    invented = 0
    for row, fact in enumerate(facts):
        seen = SUBJECTS[int(subjects[row])]
        kind = fact["world"]
        right["class"].append((kind, LABELS[seen] == fact["label"]))
        right["subject"].append((kind, seen == fact["subject"]))
        right["place"].append((kind, BACKGROUNDS[int(places[row])] == fact["background"]))
        present = {OBJECTS[i] for i in shown[row].nonzero().flatten().tolist()}
        named = [o for o in fact["objects"] if o not in CLOTHES]
        right["object"] += [(kind, o in present) for o in named]
        invented += len(present - set(fact["objects"]))
    result: dict[str, Any] = {k: _share(v) for k, v in right.items()}
    result["invented"] = round(invented / len(facts), 3)
    result["by world"] = {
        w: {k: _share([v for v in right[k] if v[0] == w]) for k in BARS} for w in world.SHARES
    }
    return result


def _share(values: Sequence[tuple[str, bool]]) -> float:
    return round(float(np.mean([v for _, v in values])), 4) if values else float("nan")


def held_out_scenes(count: int, seed: int) -> list[world.Captioned]:
    """Scenes of held-out combinations whose captions say what the subject is."""
    found: list[world.Captioned] = []
    index = 0
    while len(found) < count:
        rng = np.random.default_rng(seed_for(seed, "tiny-sd", "evaluate", index))
        scene = world.draw(rng, held=True)
        index += 1
        if scene.facts.named:
            found.append(scene)
    return found


def load(settings: Settings, arm: Arm) -> Any:
    """The pipeline of an arm, as the samplers make it."""
    pipe = load_pipeline("StableDiffusionPipeline", Checkpoint(settings.model), "cpu", "float32")
    if arm.few:
        make_fast(pipe, Checkpoint(settings.fast))
        replace_vae(pipe, Checkpoint(settings.vae))
    if arm.scheduler:
        set_scheduler(pipe, arm.scheduler)
    return pipe


@torch.no_grad()
def main(words: Sequence[str]) -> None:
    """``key=value ...``."""
    kinds = {k: type(v) for k, v in asdict(Settings()).items()} | {"folder": Path}
    pairs = (word.split("=", 1) for word in words)
    settings = Settings(**{key: kinds[key](value) for key, value in pairs})
    judge = load_judge(settings.folder)
    scenes = held_out_scenes(settings.captions, settings.seed)
    facts = [asdict(s.facts) for s in scenes]
    real = torch.from_numpy(np.stack([s.pixels for s in scenes]))
    real = real.permute(0, 3, 1, 2).float() / 127.5 - 1
    arms = {name: ARMS[name] for name in settings.arms.split(",")}
    pipes = {name: load(settings, arm) for name, arm in arms.items()}
    result: dict[str, Any] = {
        "captions": settings.captions,
        "threads": torch.get_num_threads(),
        "rendered": agreement(judge, real, facts),
    }
    teacher = load(settings, ARMS["guided"]).vae
    for name, pipe in pipes.items():
        decoded = [
            pipe.vae.decode(teacher.encode(part).latent_dist.mean / pipe.vae.config.scaling_factor)
            for part in real.split(50)
        ]
        shown = torch.cat([d.sample.clamp(-1, 1) for d in decoded])
        result[f"through the VAE, {name}"] = agreement(judge, shown, facts)
    made: dict[str, list[Tensor]] = {name: [] for name in arms}
    seconds = dict.fromkeys(arms, 0.0)
    for start in range(0, len(scenes), settings.batch):
        prompts = [s.caption for s in scenes[start : start + settings.batch]]
        for name, arm in arms.items():
            began = time.process_time()
            images = sample(pipes[name], prompts, settings.seed + start, arm.steps, arm.guidance)
            seconds[name] += time.process_time() - began
            made[name].append(images)
        print(f"{start + len(prompts)}/{len(scenes)}", flush=True)
    for name, arm in arms.items():
        images = torch.cat(made[name])
        result[name] = {
            "evaluations": arm.evaluations,
            "images a second of processor time": round(len(images) / seconds[name], 2),
            **agreement(judge, images, facts),
        }
        sheet = f"samples-{name.replace(', ', '-').replace(' ', '-')}.png"
        write_sheet(settings.folder / sheet, images[:100], 10)
        if arm.few:
            result["met"] = {k: result[name][k] >= bar for k, bar in BARS.items()}
    print(json.dumps(result, indent=1))
    (settings.folder / "agreement.json").write_text(json.dumps(result, indent=1) + "\n")
    captions = [s.caption for s in scenes[:100]]
    (settings.folder / "samples.txt").write_text("\n".join(captions) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
