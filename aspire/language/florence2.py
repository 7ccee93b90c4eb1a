"""Florence-2 (Xiao et al. 2023, https://arxiv.org/abs/2311.06242)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from aspire.data.images import Pixels
from aspire.identity import Json
from aspire.language.pretrained_captioner import PretrainedCaptioner

TASKS = ("<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>")


class Florence2Captioner(PretrainedCaptioner):
    """Captions of three lengths.

    Args:
        task: one of ``TASKS``; longer captions name more objects, and invent more.
        **settings: see :class:`PretrainedCaptioner`.

    Raises:
        ConfigError: for another task.
    """

    name: ClassVar[str] = "florence2"

    def __init__(
        self,
        model: str,
        task: Literal[
            "<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>"
        ] = "<DETAILED_CAPTION>",
        **settings: Any,
    ) -> None:
        super().__init__(model, **settings)
        self.task = task

    def further_identity(self) -> Mapping[str, Json]:
        return {"task": self.task}

    def model_class(self) -> Any:
        from transformers import Florence2ForConditionalGeneration

        return Florence2ForConditionalGeneration

    def inputs(self, images: list[Pixels]) -> Mapping[str, Any]:
        inputs: Mapping[str, Any] = self._processor(
            text=[self.task] * len(images), images=images, return_tensors="pt"
        )
        return inputs
