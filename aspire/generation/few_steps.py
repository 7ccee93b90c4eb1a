"""Fewer evaluations an image: distilled weights, lighter autoencoders, other schedulers.

Weights distilled for a few steps come as a LoRA for the model (LCM-LoRA, Luo et al. 2023, arXiv
2311.05556; SDXL-Lightning; Hyper-SD) or as a whole pipeline (Turbo). A LoRA is merged into the
UNet, where it costs nothing, so what a personaliser learnt can be put on and taken off beside it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from aspire.errors import ConfigError
from aspire.pretrained import Checkpoint

SCHEDULER = "LCMScheduler"  # of distilled weights that bring none


def make_fast(pipe: Any, weights: Checkpoint) -> None:
    """Merge a distilled LoRA into the pipeline, and sample as it was distilled for.

    Args:
        pipe: changed in place.
        weights: a LoRA in diffusers' format; the scheduler is ``scheduler/scheduler_config.json``
            beside it, or ``SCHEDULER``.

    Raises:
        ConfigError: for a folder without a LoRA, or one of another model.
        ServiceError: for an id that is neither here nor to be had.
    """
    import diffusers

    from aspire.quiet import quiet_loading

    source, options = weights.source()
    with quiet_loading(), only_errors():
        try:
            pipe.load_lora_weights(source, **options, adapter_name="fast")
        except OSError as error:
            raise weights.unusable(error, "LoRA in diffusers' format") from None
        except Exception as error:  # shapes and names of another model each have their own
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConfigError(
                f"generator.fast={weights.model} does not fit generator.model: {reason} Expected "
                "distilled LoRA weights made for this model, such as its LCM-LoRA."
            ) from None
    if not pipe.get_active_adapters():
        raise ConfigError(
            f"generator.fast={weights.model} changes no layer of generator.model. Expected "
            "distilled LoRA weights made for this model, such as its LCM-LoRA."
        )
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    if weights.has("scheduler/scheduler_config.json"):
        own = diffusers.DDIMScheduler.load_config(source, subfolder="scheduler", **options)
        set_scheduler(pipe, str(own["_class_name"]), own)
    else:
        set_scheduler(pipe, SCHEDULER)


@contextmanager
def only_errors() -> Iterator[None]:
    """Without what diffusers and peft remark on weights that are as they should be.

    A LoRA of the UNet has no layers of the text encoder, one may leave layers alone, and an
    AutoencoderTiny reads an entry of its configuration that it wrote itself.
    """
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="While injecting the PEFT adapters")
            yield
    finally:
        logging.set_verbosity(before)


def replace_vae(pipe: Any, weights: Checkpoint) -> None:
    """Encode and decode with another autoencoder of the same latents.

    Args:
        pipe: changed in place.
        weights: an ``AutoencoderTiny`` (TAESD) or ``AutoencoderKL``.

    Raises:
        ConfigError: for another kind of model, or latents of another number of channels.
    """
    import diffusers

    source, options = weights.source()
    kinds = {k.__name__: k for k in (diffusers.AutoencoderTiny, diffusers.AutoencoderKL)}
    try:
        name = diffusers.AutoencoderTiny.load_config(source, **options).get("_class_name")
    except OSError as error:
        raise weights.unusable(error, "autoencoder of diffusers") from None
    if name not in kinds:
        raise ConfigError(
            f"generator.vae={weights.model} is a {name}; expected one of {', '.join(kinds)}."
        )
    with only_errors():
        vae = weights.load(kinds[name], dtype=pipe.vae.dtype).requires_grad_(False).eval()
    theirs, ours = vae.config.latent_channels, pipe.vae.config.latent_channels
    if theirs != ours:
        raise ConfigError(
            f"generator.vae={weights.model} is for latents of {theirs} channels; "
            f"generator.model has {ours}."
        )
    pipe.vae = vae.to(pipe.vae.device, memory_format=torch.channels_last)


def set_scheduler(pipe: Any, name: str, config: Any = None) -> None:
    """Sample with a scheduler class of diffusers.

    Args:
        pipe: changed in place.
        name: of the class.
        config: of the scheduler; None for that of the pipeline's.

    Raises:
        ConfigError: for a class that diffusers does not have.
    """
    import diffusers

    kind: Any = getattr(diffusers, name, None)
    there = isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)
    if not there:
        raise ConfigError(
            f"generator.scheduler={name}: diffusers has no such scheduler; expected e.g. "
            "DDIMScheduler, LCMScheduler, DPMSolverMultistepScheduler or null."
        )
    pipe.scheduler = kind.from_config(pipe.scheduler.config if config is None else config)
