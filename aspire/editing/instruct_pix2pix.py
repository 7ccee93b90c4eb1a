"""A new background by instruction: InstructPix2Pix (Brooks et al. 2023, arXiv 2211.09800)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from aspire.editing.base import Failure, Restyled, RestyleRequest
from aspire.editing.diffusion import DiffusionEditor, restyle
from aspire.identity import Json
from aspire.pretrained import Checkpoint
from aspire.values import Count, LatentSide, Natural, NonNegative


class InstructPix2Pix:
    """Tells the model what to do, with the words, steps and scales of ASPIRE's authors.

    Two deviations: the noise is seeded, which theirs is not; and the class object is put back
    bit-equal, where theirs may change with the scene, so that a flip is due to the scene.

    Args:
        model: hub id or folder, with a UNet of 8 channels; theirs is
            "timbrooks/instruct-pix2pix".
        revision: commit, tag or branch of a hub model.
        instruction: with ``{source}`` and ``{target}`` where the scenes' names go.
        steps, guidance, size, scheduler, precision, device, batch_size: see
            :class:`aspire.editing.diffusion.DiffusionEditor`.
        image_guidance: how closely the result follows the original.
        feather: width in pixels of the soft rim, outside the object.
    """

    needs_donors: ClassVar[bool] = False

    def __init__(
        self,
        model: str,
        revision: str = "main",
        instruction: str = "turn the background of {source} into {target}.",
        steps: Count = 100,
        guidance: NonNegative = 7.5,
        image_guidance: NonNegative = 1.5,
        size: LatentSide | None = None,
        scheduler: str | None = "EulerAncestralDiscreteScheduler",
        feather: Natural = 2,
        precision: str = "auto",
        device: str = "auto",
        batch_size: Count = 8,
    ) -> None:
        self.instruction = instruction
        self.feather = feather
        self.editor = DiffusionEditor(
            "StableDiffusionInstructPix2PixPipeline",
            Checkpoint(model, revision, "choose restyler=composition", pipeline=True),
            steps,
            guidance,
            size=size,
            scheduler=scheduler,
            options={"image_guidance_scale": image_guidance},
            precision=precision,
            device=device,
            batch_size=batch_size,
        )

    def identity(self) -> Mapping[str, Json]:
        return {
            "restyler": "instruct_pix2pix",
            **self.editor.identity(),
            "instruction": self.instruction,
            "feather": self.feather,
        }

    def restyle(self, requests: Sequence[RestyleRequest]) -> list[Restyled | Failure | None]:
        return restyle(self.editor, requests, self.instruction, self.feather, masked=False)
