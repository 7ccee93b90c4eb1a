"""Does tiny-sd draw what the caption says?

    python -m experiments.tiny_sd.evaluate folder=outputs/tiny_sd captions=1000

Captions are of held-out combinations, which training has never seen. The judge (``judge.py``,
trained before) says what it sees on the samples; first, what it sees on
rendered scenes of the same captions and on what the VAE makes of them: no model can do better.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aspire.data.drawing.faces import CLOTHES
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

BARS = {"class": 0.90, "place": 0.95, "object": 0.70}


@dataclass
class Settings:
    """What the command line says as ``key=value``."""

    folder: Path = Path("outputs/tiny_sd")
    model: str = ""  # a folder in diffusers' format; FOLDER/tiny-sd if empty
    captions: int = 1000
    steps: int = 20
    guidance: float = 2.5
    batch: int = 64
    device: str = "cpu"
    seed: int = 0
    sheet: str = "samples.png"


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


@torch.no_grad()
def main(words: Sequence[str]) -> None:
    """``key=value ...``."""
    from diffusers import StableDiffusionPipeline

    kinds = {k: type(v) for k, v in asdict(Settings()).items()} | {"folder": Path}
    pairs = (word.split("=", 1) for word in words)
    settings = Settings(**{key: kinds[key](value) for key, value in pairs})
    judge = load_judge(settings.folder)
    scenes = held_out_scenes(settings.captions, settings.seed)
    facts = [asdict(s.facts) for s in scenes]
    real = torch.from_numpy(np.stack([s.pixels for s in scenes]))
    real = real.permute(0, 3, 1, 2).float() / 127.5 - 1
    model = settings.model or settings.folder / "tiny-sd"
    pipe = StableDiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32)
    pipe.to(settings.device).set_progress_bar_config(disable=True)
    decoded = torch.cat(
        [pipe.vae(part.to(settings.device)).sample.cpu() for part in real[:1000].split(50)]
    )
    result: dict[str, Any] = {
        "captions": settings.captions,
        "steps": settings.steps,
        "guidance": settings.guidance,
        "rendered": agreement(judge, real, facts),
        "through the VAE": agreement(judge, decoded, facts[:1000]),
    }
    made = []
    for start in range(0, len(scenes), settings.batch):
        prompts = [s.caption for s in scenes[start : start + settings.batch]]
        made.append(sample(pipe, prompts, settings.seed + start, settings.steps, settings.guidance))
        print(f"{start + len(prompts)}/{len(scenes)}", flush=True)
    images = torch.cat(made)
    result["tiny-sd"] = agreement(judge, images, facts)
    result["met"] = {k: result["tiny-sd"][k] >= bar for k, bar in BARS.items()}
    print(json.dumps(result, indent=1))
    (settings.folder / "agreement.json").write_text(json.dumps(result, indent=1) + "\n")
    write_sheet(settings.folder / settings.sheet, images[:100], 10)
    captions = [s.caption for s in scenes[:100]]
    (settings.folder / "samples.txt").write_text("\n".join(captions) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
