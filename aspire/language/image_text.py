"""Any other model of the hub that takes an image and a text and answers with text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from PIL import Image

from aspire.data.images import Pixels
from aspire.identity import Json
from aspire.language.pretrained_captioner import PretrainedCaptioner


class ImageTextCaptioner(PretrainedCaptioner):
    """Captions by an ``AutoModelForImageTextToText``, asked with a prompt.

    A model whose processor has a chat template is asked in its chat format; another is given the
    prompt as it stands, which must then hold the model's own place for the image.

    Args:
        prompt: the request for a caption.
        **settings: see :class:`PretrainedCaptioner`.
    """

    name: ClassVar[str] = "image_text"

    def __init__(self, model: str, prompt: str, **settings: Any) -> None:
        super().__init__(model, **settings)
        self.prompt = prompt

    def further_identity(self) -> Mapping[str, Json]:
        return {"prompt": self.prompt}

    def model_class(self) -> Any:
        from transformers import AutoModelForImageTextToText

        return AutoModelForImageTextToText

    def inputs(self, images: list[Pixels]) -> Mapping[str, Any]:
        pictures = [[Image.fromarray(image)] for image in images]
        prompt = self.prompt
        if self._processor.chat_template is not None:
            content = [{"type": "image"}, {"type": "text", "text": self.prompt}]
            prompt = self._processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
            )
        inputs: Mapping[str, Any] = self._processor(
            images=pictures, text=[prompt] * len(images), padding=True, return_tensors="pt"
        )
        return inputs
