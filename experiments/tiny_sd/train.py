"""Train tiny-sd: first the VAE, then text encoder and UNet on its latents.

    python -m experiments.tiny_sd.train vae     folder=outputs/tiny_sd
    python -m experiments.tiny_sd.train latents
    python -m experiments.tiny_sd.train unet    steps=20000 batch=64 device=cuda
    python -m experiments.tiny_sd.train export

Each command goes on where it was stopped, bit for bit on a CPU. Scenes are those of ``scenes.py``
in FOLDER/scenes; what is learnt goes to FOLDER/vae, FOLDER/unet and FOLDER/tiny-sd.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import torch

from experiments.tiny_sd.common import Scenes, Settings
from experiments.tiny_sd.distil import (
    export_small_vae,
    export_student,
    keep_trajectories,
    train_small_vae,
    train_student,
)
from experiments.tiny_sd.judge import train_judge
from experiments.tiny_sd.reader import train_reader
from experiments.tiny_sd.unet import export, train_unet
from experiments.tiny_sd.vae import keep_latents, train_decoder, train_vae

PHASES: dict[str, tuple[Callable[[Settings, Scenes], None], str]] = {  # what, on which scenes
    "vae": (train_vae, "scenes"),
    "latents": (keep_latents, "scenes"),
    "decoder": (train_decoder, "scenes"),
    "reader": (train_reader, "scenes"),
    "unet": (train_unet, "scenes"),
    "export": (export, "scenes"),
    "trajectories": (keep_trajectories, "scenes"),
    "student": (train_student, "scenes"),
    "export_student": (export_student, "scenes"),
    "small_vae": (train_small_vae, "scenes"),
    "export_small_vae": (export_small_vae, "scenes"),
    "judge": (train_judge, "judge_scenes"),
}


def main(words: Sequence[str]) -> None:
    """``PHASE key=value ...``."""
    phase, *given = words
    kinds = {f.name: f.default.__class__ for f in fields(Settings) if f.name != "sizes"}
    kinds["folder"] = Path
    pairs = (word.split("=", 1) for word in given)
    settings = Settings(**{key: kinds[key](value) for key, value in pairs})
    torch.set_num_threads(torch.get_num_threads() if settings.device == "cpu" else 4)
    train, drawn = PHASES[phase]
    train(settings, Scenes(settings.folder / drawn))


if __name__ == "__main__":
    main(sys.argv[1:])
