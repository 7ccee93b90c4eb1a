"""One personalisation: a folder that holds what was learnt, made once and resumed when cut off.

Layout of a folder below the personalisations' root::

    learned.safetensors     what was learnt, whole or absent
    result.json             settings, effect, losses
    pictures/               the images it was learnt from
    strips/                 samples of fixed seeds on the way
    last.ckpt               the state to resume from, while it is learning
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from safetensors.torch import save

from aspire.data.images import Pixels, png_bytes
from aspire.editing.batching import is_out_of_memory
from aspire.errors import AspireError
from aspire.generation.denoising import KEPT, Denoising, Learnt, Source
from aspire.generation.diffusion_model import native_size
from aspire.generation.settings import Loggers, Training
from aspire.rng import seed_for
from aspire.stored.files import locked, sound_checkpoint, tidy, write_atomic
from aspire.stored.notes import note
from aspire.stored.results import read_mapping
from aspire.stored.seals import file_digest


def learn(
    folder: Path,
    pipe: Any,
    learnt: Learnt,
    sources: Sequence[Source],
    training: Training,
    strip_prompt: str,
    make_logger: Loggers | None = None,
) -> dict[str, Any]:
    """Train what is learnt in a folder, or go on where it stopped.

    Args:
        folder: of this personalisation.
        pipe, learnt, sources: what is trained, and on what.
        training: how.
        strip_prompt: what the samples on the way show.
        make_logger: who is told on the way; one with ``log_image`` is shown the strips.

    Returns:
        The content of ``result.json``.

    Raises:
        AspireError: when the loss is not a number, or memory does not suffice for one sample.
    """
    before = {name: value.detach().cpu().clone() for name, value in learnt.frozen.items()}
    first = [p.detach().clone() for p in learnt.parameters.values()]
    if training.checkpointing:
        pipe.unet.enable_gradient_checkpointing()
    while True:
        try:
            module = _train(folder, pipe, learnt, sources, training, strip_prompt, make_logger)
            break
        except (RuntimeError, MemoryError) as error:
            micro = training.micro_batch or training.batch_size
            if not is_out_of_memory(error):
                raise
            if micro == 1:
                raise AspireError(
                    f"Out of memory with one image of {training.size or native_size(pipe)} px at "
                    "once. Try personaliser.checkpointing=true, a smaller personaliser.size or a "
                    "smaller personaliser.model."
                ) from None
            half = max(d for d in range(1, micro) if training.batch_size % d == 0)
            training = replace(training, micro_batch=half)
        with torch.no_grad():
            for parameter, value in zip(learnt.parameters.values(), first, strict=True):
                parameter.copy_(value)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    for name, value in before.items():
        assert torch.equal(value, learnt.frozen[name].cpu()), f"{name} has moved"
    pipe.unet.disable_gradient_checkpointing()
    measured = {k: round(v, 6) for k, v in module.effect(samples=8).items()}
    if measured["effect"] < 1e-3:
        warnings.warn(
            f"What was learnt in {folder} has no effect: with it the model predicts the same "
            f"noise as without (relative change {measured['effect']:.1e}). Try a larger "
            "personaliser.learning_rate or more personaliser.steps.",
            stacklevel=2,
        )
    content = save({k: v.detach().cpu().contiguous() for k, v in learnt.state().items()})
    write_atomic(folder / "learned.safetensors", content)
    result = {
        **measured,
        "loss": [round(x, 6) for x in module.losses[-KEPT:]],
        "micro_batch": training.micro_batch or training.batch_size,
        "sha256": file_digest(folder / "learned.safetensors"),
    }
    # Last, since its presence says that the folder is finished.
    write_atomic(folder / "result.json", json.dumps(result, indent=1).encode())
    (folder / "last.ckpt").unlink(missing_ok=True)
    return result


def finished(folder: Path) -> dict[str, Any] | None:
    """The content of ``result.json`` of a finished personalisation.

    None where there is none, or what was learnt is not what was kept; then a line says so.
    """
    if not (folder / "result.json").is_file():
        return None
    tidy(folder)
    content = read_mapping(folder / "result.json")
    weights = folder / "learned.safetensors"
    kept = content.get("sha256")  # results of old have none
    if "effect" in content and weights.is_file() and kept in (None, file_digest(weights)):
        return content
    note(f"{folder} is damaged. It is learnt again.")
    for file in (folder / "result.json", weights):
        file.unlink(missing_ok=True)
    return None


def lock(folder: Path) -> AbstractContextManager[None]:
    """Only one process at a time personalises in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return locked(folder / ".lock")


def _train(
    folder: Path,
    pipe: Any,
    learnt: Learnt,
    sources: Sequence[Source],
    training: Training,
    strip_prompt: str,
    make_logger: Loggers | None,
) -> Denoising:
    size = training.size or native_size(pipe)
    module = Denoising(
        pipe,
        learnt,
        sources,
        training.seed,
        size,
        training.micro_batch or training.batch_size,
        training.accumulate,
        training.learning_rate,
        training.weight_decay,
    )
    last = folder / "last.ckpt"
    device = pipe.unet.device
    with _quiet():
        trainer = pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else device.type,
            devices=[device.index or 0] if device.type == "cuda" else 1,
            precision="32-true",  # frozen parts bring their own
            max_steps=training.steps,
            max_epochs=-1,
            limit_train_batches=training.checkpoint_every * training.accumulate,
            accumulate_grad_batches=training.accumulate,
            logger=list(make_logger(folder)) if make_logger else False,
            callbacks=[_Keep(last), _Strips(folder / "strips", training, strip_prompt)],
            default_root_dir=folder,
            log_every_n_steps=max(1, min(10, training.steps // 10)),  # each waits for the GPU
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        resume = last if sound_checkpoint(last) else None
        trainer.fit(module, ckpt_path=resume, weights_only=True)
    return module


class _Keep(pl.Callback):
    """Keeps the state to resume from, whole at any moment."""

    def __init__(self, last: Path) -> None:
        self.last = last

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Denoising)
        pl_module.read_losses()  # nothing is kept of a training that has failed
        temporary = self.last.with_suffix(".tmp")
        trainer.save_checkpoint(temporary)
        temporary.replace(self.last)


class _Strips(pl.Callback):
    """Draws the same few samples now and then: one sees the learning."""

    def __init__(self, folder: Path, training: Training, prompt: str) -> None:
        self.folder = folder
        self.training = training
        self.prompt = prompt

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        every, step = self.training.strip_every, trainer.global_step
        file = self.folder / f"step-{step:06d}.png"
        if every and step and step % every == 0 and not file.is_file():
            assert isinstance(pl_module, Denoising)
            strip = self.draw(pl_module)
            write_atomic(file, png_bytes(strip))
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):
                    logger.log_image("personalise/strip", [strip], step=step)

    def draw(self, module: Denoising) -> Pixels:
        """(H, n W, 3), one sample beside the other."""
        seeds = [seed_for(self.training.seed, "strip", i) for i in range(self.training.strip)]
        images = module.pipe(
            prompt=[self.prompt] * len(seeds),
            generator=[torch.Generator().manual_seed(s) for s in seeds],
            height=module.size,
            width=module.size,
            num_inference_steps=25,
            output_type="np",
        ).images
        return np.round(np.concatenate(list(images), axis=1) * 255).clip(0, 255).astype(np.uint8)


class _quiet:  # noqa: N801
    """Lightning's start-up notes and its advice on loaders are not for our users."""

    def __enter__(self) -> None:
        import logging

        self.catch = warnings.catch_warnings()
        self.catch.__enter__()
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        for name in ("pytorch_lightning", "lightning_fabric"):
            logging.getLogger(name).setLevel(logging.ERROR)

    def __exit__(self, *error: object) -> None:
        self.catch.__exit__(None, None, None)
