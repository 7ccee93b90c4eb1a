"""BLIP (Li et al. 2022, https://arxiv.org/abs/2201.12086)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from aspire.data.images import Pixels
from aspire.language.pretrained_captioner import PretrainedCaptioner


class BlipCaptioner(PretrainedCaptioner):
    """Captions without a prompt. BLIP likes to begin with "arafed"; the extractors know."""

    name: ClassVar[str] = "blip"

    def model_class(self) -> Any:
        from transformers import BlipForConditionalGeneration

        return BlipForConditionalGeneration

    def inputs(self, images: list[Pixels]) -> Mapping[str, Any]:
        return {"pixel_values": self._processor(images=images, return_tensors="pt").pixel_values}
