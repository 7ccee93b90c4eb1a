"""BLIP-2 (Li et al. 2023, https://arxiv.org/abs/2301.12597)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from aspire.data.images import Pixels
from aspire.language.pretrained_captioner import PretrainedCaptioner


class Blip2Captioner(PretrainedCaptioner):
    """Captions without a prompt, by a frozen language model that is shown 32 image tokens."""

    name: ClassVar[str] = "blip2"

    def model_class(self) -> Any:
        from transformers import Blip2ForConditionalGeneration

        return Blip2ForConditionalGeneration

    def inputs(self, images: list[Pixels]) -> Mapping[str, Any]:
        # The model itself puts its image tokens in front when it is given no text.
        return {"pixel_values": self._processor(images=images, return_tensors="pt").pixel_values}
