"""Qwen2-VL and Qwen2.5-VL (Bai et al. 2025, https://arxiv.org/abs/2502.13923)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from aspire.identity import Json
from aspire.language.image_text import ImageTextCaptioner
from aspire.values import Count


class QwenVLCaptioner(ImageTextCaptioner):
    """Captions on request. These models read images at their own size, within bounds.

    Args:
        model, prompt: see :class:`ImageTextCaptioner`.
        min_pixels, max_pixels: an image is resized to have between so many; the larger, the
            slower and the more is seen.
        **settings: see :class:`aspire.language.pretrained_captioner.PretrainedCaptioner`.
    """

    name: ClassVar[str] = "qwen_vl"

    def __init__(
        self,
        model: str,
        prompt: str,
        min_pixels: Count = 56 * 56,
        max_pixels: Count = 448 * 448,
        **settings: Any,
    ) -> None:
        super().__init__(model, prompt, **settings)
        self.min_pixels = min_pixels
        self.max_pixels = max_pixels

    def further_identity(self) -> Mapping[str, Json]:
        return {
            "prompt": self.prompt,
            "min_pixels": self.min_pixels,
            "max_pixels": self.max_pixels,
        }

    @cached_property
    def _processor(self) -> Any:
        processor = super()._processor
        processor.image_processor.size = {
            "shortest_edge": self.min_pixels,
            "longest_edge": self.max_pixels,
        }
        return processor
