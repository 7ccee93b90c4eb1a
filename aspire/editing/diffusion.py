"""What the diffusion backends share: a pipeline loaded once, images brought to its size and back.

An image lies on a square of the model's size with its proportions kept, is edited there, and
comes back to its own size. Only what the edit may change is taken from it (``fill``, ``paste`` in
:mod:`aspire.editing.pixels`), so the original is never resampled. Noise comes from a generator of
each image's own seed, drawn on the CPU: neither batch nor device changes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aspire.data.images import Pixels
from aspire.editing.base import Failure, Mask, Restyled, RestyleRequest
from aspire.editing.batching import Batches
from aspire.editing.pixels import from_square, mask_to_square, paste, to_square
from aspire.identity import Json
from aspire.pretrained import Checkpoint, device_and_dtype


@dataclass(frozen=True)
class Canvas:
    """One image to edit with words.

    Args:
        pixels: (H, W, 3) uint8.
        prompt: what the result shall show, or the instruction.
        seed: of its noise.
        mask: (H, W), where there shall be new content; None for pipelines that take none.
    """

    pixels: Pixels
    prompt: str
    seed: int
    mask: Mask | None = None


class DiffusionEditor:
    """A diffusers pipeline that edits images, loaded on first use.

    Args:
        pipeline: name of its class in diffusers.
        checkpoint: its weights.
        steps: denoising steps.
        guidance: classifier-free guidance scale for the words.
        negative_prompt: what the result shall not show.
        size: side in pixels at which the model works, a multiple of 8; None for the size it was
            trained at.
        scheduler: name of a scheduler class in diffusers; None for the model's own.
        options: further arguments of the pipeline's call.
        precision: "auto" (bfloat16 on CUDA, else float32) or a dtype of torch.
        device: "auto", or a device of torch.
        batch_size: images at once.
    """

    def __init__(
        self,
        pipeline: str,
        checkpoint: Checkpoint,
        steps: int,
        guidance: float,
        negative_prompt: str = "",
        size: int | None = None,
        scheduler: str | None = None,
        options: Mapping[str, float] | None = None,
        precision: str = "auto",
        device: str = "auto",
        batch_size: int = 8,
    ) -> None:
        self.pipeline = pipeline
        self.checkpoint = checkpoint
        self.steps = steps
        self.guidance = guidance
        self.negative_prompt = negative_prompt
        self.size = size
        self.scheduler = scheduler
        self.options = dict(options or {})
        self.precision = precision
        self.device = device
        self.batches = Batches(batch_size)
        self._pipe: Any = None

    def identity(self) -> Mapping[str, Json]:
        """Model and sampling settings."""
        return {
            "pipeline": self.pipeline,
            **self.checkpoint.identity(),
            "steps": self.steps,
            "guidance": self.guidance,
            "negative_prompt": self.negative_prompt,
            "size": self.size,
            "scheduler": self.scheduler,
            "options": self.options,
        }

    def edit(self, canvases: Sequence[Canvas]) -> list[Pixels | Failure]:
        """Each image edited, (H, W, 3) uint8 at its own size, every pixel possibly changed.

        A :class:`Failure` where the model's safety checker blacked the image out, or the result
        is black or not a number.
        """
        return self.batches.map(self._run, canvases)

    def _load(self) -> Any:
        if self._pipe is None:
            import diffusers
            import torch

            device, dtype = device_and_dtype(self.device)
            if self.precision != "auto":
                dtype = getattr(torch, self.precision)
            kind = getattr(diffusers, self.pipeline)
            pipe = self.checkpoint.load(kind, dtype=dtype)
            if self.scheduler is not None:
                scheduler = getattr(diffusers, self.scheduler)
                pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
            pipe.set_progress_bar_config(disable=True)
            self._pipe = pipe.to(device)
        return self._pipe

    def _run(self, batch: Sequence[Canvas]) -> list[Pixels | Failure]:
        import torch
        from PIL import Image

        pipe = self._load()
        size = self.size or int(pipe.unet.config.sample_size) * int(pipe.vae_scale_factor)
        inputs: dict[str, Any] = {
            "prompt": [c.prompt for c in batch],
            "negative_prompt": [self.negative_prompt] * len(batch),
            "image": [Image.fromarray(to_square(c.pixels, size)) for c in batch],
            "generator": [torch.Generator().manual_seed(c.seed) for c in batch],
        }
        masks = [c.mask for c in batch if c.mask is not None]
        if masks:
            inputs["mask_image"] = [Image.fromarray(mask_to_square(m, size)) for m in masks]
            inputs |= {"height": size, "width": size}
        made = pipe(
            **inputs,
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            output_type="np",
            **self.options,
        )
        flagged = getattr(made, "nsfw_content_detected", None) or [False] * len(batch)
        return [
            _result(square, bool(bad), canvas)
            for square, bad, canvas in zip(made.images, flagged, batch, strict=True)
        ]


def restyle(
    editor: DiffusionEditor,
    requests: Sequence[RestyleRequest],
    words: str,
    feather: int,
    masked: bool,
) -> list[Restyled | Failure | None]:
    """Each image in its new scene, the class object put back bit-equal.

    Args:
        editor: makes the new images.
        requests: what to move where.
        words: prompt or instruction, with ``{source}`` and ``{target}`` for the scenes.
        feather: width in pixels of the soft rim, outside the object.
        masked: whether the editor is told what it may change.
    """
    canvases = [
        Canvas(
            r.image.pixels,
            words.format(source=r.source, target=r.target),
            r.seed,
            ~r.keep if masked else None,
        )
        for r in requests
    ]
    return [
        made
        if isinstance(made, Failure)
        else Restyled(paste(r.image.pixels, r.keep, made, feather), None)
        for made, r in zip(editor.edit(canvases), requests, strict=True)
    ]


def _result(square: Any, flagged: bool, canvas: Canvas) -> Pixels | Failure:
    if flagged:
        return Failure("the model's safety checker blacked the image out")
    if not np.isfinite(square).all():
        return Failure("the model gave values that are not numbers")
    pixels = np.round(square * 255.0).clip(0, 255).astype(np.uint8)
    if not pixels.any() and canvas.pixels.any():
        return Failure("the model gave a black image")
    return from_square(pixels, *canvas.pixels.shape[:2])
