"""A Stable Diffusion in one file, as it was first released: which settings belong to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aspire.errors import ConfigError, last_line

ENDINGS = (".safetensors", ".ckpt", ".bin", ".pt", ".pth")  # of a file, never of an id


def settings_beside(file: Path) -> Path | None:
    """The folder of the same name that holds its settings, as diffusers writes them."""
    folder = file.with_suffix("")
    return folder if (folder / "model_index.json").is_file() else None


def settings_of(file: Path) -> str:
    """The repository of the hub whose settings diffusers takes for the weights in a file.

    Only names and shapes are read.

    Raises:
        ConfigError: when it holds no weights of a diffusion model.
    """
    import torch
    from safetensors import safe_open

    if file.suffix != ".safetensors":
        raise ConfigError(
            f"The model file {file} ends in {file.suffix}; expected .safetensors, which holds "
            "nothing but tensors, or a folder as save_pretrained writes it."
        )
    try:
        with safe_open(file, framework="pt") as opened:
            shapes = {k: opened.get_slice(k).get_shape() for k in opened.keys()}  # noqa: SIM118 - no mapping
    except Exception as error:  # safetensors has one of its own
        raise ConfigError(
            f"The model file {file} cannot be read: {last_line(error)} (is the file whole?)"
        ) from None
    if not any(k.startswith(("model.diffusion_model.", "diffusion_model.")) for k in shapes):
        there = ", ".join(list(shapes)[:3])
        raise ConfigError(
            f"The model file {file} is no whole Stable Diffusion: it has no tensor "
            f"model.diffusion_model... (there are {there or 'none'}). Of a single part or a LoRA "
            "nothing can be generated; give the whole model, as one file or a folder."
        )
    from diffusers.loaders.single_file_utils import fetch_diffusers_config

    like: dict[str, Any] = {k: torch.empty(s, device="meta") for k, s in shapes.items()}
    return str(fetch_diffusers_config(like)["pretrained_model_name_or_path"])


def unfilled(pipeline: Any) -> list[str]:
    """Tensors that a loaded pipeline has no values for, since the file had none."""
    return [
        f"{name}.{tensor}"
        for name, part in getattr(pipeline, "components", {}).items()
        if hasattr(part, "named_parameters")
        for tensor, value in part.named_parameters()
        if value.is_meta
    ]
