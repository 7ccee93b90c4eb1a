"""Inpainting by diffusion: Stable Diffusion's inpainting model (Rombach et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aspire.data.images import Pixels
from aspire.editing.base import Failure, Mask
from aspire.editing.diffusion import Canvas, DiffusionEditor
from aspire.editing.pixels import fill
from aspire.identity import Json
from aspire.pretrained import Checkpoint
from aspire.values import Count, LatentSide, Natural, NonNegative


class DiffusionInpainter:
    """Fills holes with what a ``StableDiffusionInpaintPipeline`` imagines there.

    Args:
        model: hub id or folder, with a UNet of 9 channels.
        revision: commit, tag or branch of a hub model.
        prompt: what is to be where the object was.
        negative_prompt: what is not.
        steps, guidance, size, scheduler, precision, device, batch_size: see
            :class:`aspire.editing.diffusion.DiffusionEditor`.
        feather: width in pixels of the blend, inside the hole.
    """

    bleeds = False

    def __init__(
        self,
        model: str,
        revision: str = "main",
        prompt: str = "background",
        negative_prompt: str = "",
        steps: Count = 50,
        guidance: NonNegative = 7.5,
        size: LatentSide | None = None,
        scheduler: str | None = None,
        feather: Natural = 2,
        precision: str = "auto",
        device: str = "auto",
        batch_size: Count = 8,
    ) -> None:
        self.prompt = prompt
        self.feather = feather
        self.editor = DiffusionEditor(
            "StableDiffusionInpaintPipeline",
            Checkpoint(model, revision, "choose inpainter=opencv", pipeline=True),
            steps,
            guidance,
            negative_prompt,
            size,
            scheduler,
            precision=precision,
            device=device,
            batch_size=batch_size,
        )

    def identity(self) -> Mapping[str, Json]:
        return {
            "inpainter": "diffusion",
            **self.editor.identity(),
            "prompt": self.prompt,
            "feather": self.feather,
        }

    def inpaint(
        self, images: Sequence[Pixels], masks: Sequence[Mask], seeds: Sequence[int]
    ) -> list[Pixels | Failure]:
        canvases = [
            Canvas(image, self.prompt, seed, mask)
            for image, mask, seed in zip(images, masks, seeds, strict=True)
        ]
        return [
            made if isinstance(made, Failure) else fill(c.pixels, mask, made, self.feather)
            for made, c, mask in zip(self.editor.edit(canvases), canvases, masks, strict=True)
        ]
