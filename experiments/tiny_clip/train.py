"""Train tiny-clip: which words fit which picture, in the worlds of the miniatures.

    python -m experiments.tiny_clip.train scenes=outputs/tiny_sd/scenes folder=outputs/tiny_clip
    python -m experiments.tiny_clip.train ... out=DIR   # and keep what was learnt, as a CLIPModel

The scenes are tiny-sd's (``experiments/tiny_sd/scenes.py``): every subject in every place, so that
the model has no shortcut of the miniatures to learn. Symmetric cross-entropy over a batch (Radford
et al. 2021), where texts that say the same are all right. Goes on where it was stopped.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aspire.rng import seed_for
from experiments.tiny_sd import models
from experiments.tiny_sd.common import Scenes
from experiments.tiny_sd.loop import Loop, generator, rows
from experiments.tiny_sd.unet import tokens

SIZE, PATCH = 64, 8
MEAN, STD = 0.5, 0.5  # of pixels in [0, 1], as the scenes are handed out
WHOLE = 0.4  # of the texts are captions, the others name one thing that is there


@dataclass
class Settings:
    """What the command line says as ``key=value``.

    Args:
        scenes: folder of the drawn scenes.
        folder: where training keeps its state.
        out: where the model goes once it is trained; "" for nowhere.
        steps, batch, rate: of the optimiser.
        width, layers: of both towers.
        seed: of everything drawn.
    """

    scenes: Path = Path("outputs/tiny_sd/scenes")
    folder: Path = Path("outputs/tiny_clip")
    out: str = ""
    steps: int = 1500
    batch: int = 128
    rate: float = 1e-3
    width: int = 128
    layers: int = 3
    seed: int = 0


def make_model(settings: Settings, tokenizer: Any) -> Any:
    """A ``CLIPModel`` of (B, 3, 64, 64) images and texts of the tokenizer."""
    from transformers import CLIPConfig, CLIPModel

    tower = {
        "hidden_size": settings.width,
        "intermediate_size": 4 * settings.width,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.width // 32,
    }
    ends = {k: getattr(tokenizer, k) for k in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = CLIPConfig(
        text_config={
            **tower, **ends,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": models.MAX_TOKENS,
        },
        vision_config={**tower, "image_size": SIZE, "patch_size": PATCH},
        projection_dim=settings.width,
    )  # fmt: skip
    return CLIPModel(config)


def text_of(rng: np.random.Generator, facts: dict[str, Any]) -> str:
    """The caption, or one thing of it in the wording that keywords are asked in."""
    if rng.random() < WHOLE:
        return str(facts["caption"])
    things = [facts["background"], facts["subject"], *facts["objects"]]
    return f"a photo of a {things[int(rng.integers(len(things)))]}"


def matched(images: Tensor, texts: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Symmetric cross-entropy.

    Args:
        images, texts: (B, D).
        scale: of the cosines.
        same: (B, B) whether two texts say the same; their pictures count alike.
    """
    logits = scale * F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    wanted = same.float() / same.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted)) / 2


def main(words: list[str]) -> None:
    """``key=value ...``."""
    kinds = {f.name: type(f.default) for f in fields(Settings)}
    kinds.update(scenes=Path, folder=Path)
    given = dict(word.split("=", 1) for word in words)
    settings = Settings(**{k: kinds[k](v) for k, v in given.items()})
    scenes = Scenes(settings.scenes)
    tokenizer = models.make_tokenizer(f["caption"] for f in scenes.facts)
    torch.manual_seed(settings.seed)
    model = make_model(settings, tokenizer)
    loop = Loop(settings.folder, {"clip": model}, settings.steps, settings.rate, cooldown=500)

    def loss_of(step: int) -> Tensor:
        chosen = rows(settings.seed, len(scenes), step, settings.batch)
        rng = np.random.default_rng(seed_for(settings.seed, "text", step))
        texts = [text_of(rng, scenes.facts[i]) for i in chosen]
        ids = tokens(tokenizer, texts)
        noise = 0.06 * torch.randn((len(chosen), 3, SIZE, SIZE),
                                   generator=generator(settings.seed, "noise", step))  # fmt: skip
        made = model(
            input_ids=ids,
            pixel_values=scenes.images(chosen) + noise,
        )
        same = torch.tensor([[a == b for b in texts] for a in texts])
        scale = model.logit_scale.exp().clamp(max=100)
        return matched(made.image_embeds, made.text_embeds, scale, same)

    loop.run(loss_of, lambda path: None, sheet_every=0)
    if settings.out:
        with loop.averaged():
            save(model, tokenizer, Path(settings.out))


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """In half precision, as ``CLIPModel`` and ``CLIPProcessor`` load it."""
    import copy

    from transformers import CLIPImageProcessor, CLIPProcessor

    copy.deepcopy(model).half().save_pretrained(folder)
    size = {"height": SIZE, "width": SIZE}
    pictures = CLIPImageProcessor(
        size=size, crop_size=size, do_center_crop=False, image_mean=[MEAN] * 3, image_std=[STD] * 3
    )
    CLIPProcessor(pictures, tokenizer).save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
