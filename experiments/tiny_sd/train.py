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
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch

from experiments.tiny_sd.common import Scenes, Settings
from experiments.tiny_sd.unet import export, train_unet
from experiments.tiny_sd.vae import keep_latents, train_decoder, train_vae

PHASES = {
    "vae": train_vae, "latents": keep_latents, "decoder": train_decoder, "unet": train_unet,
    "export": export,
}  # fmt: skip


def main(words: Sequence[str]) -> None:
    """``PHASE key=value ...``."""
    phase, *given = words
    kinds = {f.name: f.default.__class__ for f in fields(Settings) if f.name != "sizes"}
    kinds["folder"] = Path
    pairs = (word.split("=", 1) for word in given)
    settings = Settings(**{key: kinds[key](value) for key, value in pairs})
    torch.set_num_threads(torch.get_num_threads() if settings.device == "cpu" else 4)
    PHASES[phase](settings, Scenes(settings.folder / "scenes"))


if __name__ == "__main__":
    main(sys.argv[1:])
