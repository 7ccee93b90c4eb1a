"""A new background by diffusion: everything but the class object is inpainted with the scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from aspire.editing.base import Failure, Restyled, RestyleRequest
from aspire.editing.diffusion import DiffusionEditor, restyle
from aspire.identity import Json
from aspire.pretrained import Checkpoint
from aspire.values import Count, LatentSide, Natural, NonNegative


class DiffusionRestyler:
    """Inpaints the background with a ``StableDiffusionInpaintPipeline``.

    Args:
        model: hub id or folder, with a UNet of 9 channels.
        revision: commit, tag or branch of a hub model.
        prompt: with ``{target}`` where the scene's name goes (``{source}``: the present one).
        negative_prompt: what is not to be there.
        steps, guidance, size, scheduler, precision, device, batch_size: see
            :class:`aspire.editing.diffusion.DiffusionEditor`.
        feather: width in pixels of the soft rim, outside the object, which stays bit-equal.
    """

    needs_donors: ClassVar[bool] = False

    def __init__(
        self,
        model: str,
        revision: str = "main",
        prompt: str = "a photo of {target}",
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
            Checkpoint(model, revision, "choose restyler=composition", pipeline=True),
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
            "restyler": "diffusion",
            **self.editor.identity(),
            "prompt": self.prompt,
            "feather": self.feather,
        }

    def restyle(self, requests: Sequence[RestyleRequest]) -> list[Restyled | Failure | None]:
        return restyle(self.editor, requests, self.prompt, self.feather, masked=True)
