"""What the captioners with a model share: batches, precision, identity, one load."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from aspire.data.images import Pixels
from aspire.data.loaded import LoadedImage
from aspire.identity import Json
from aspire.pretrained import Checkpoint, device_and_dtype
from aspire.values import Count


class PretrainedCaptioner(ABC):
    """A captioner with a transformers model.

    Decoding is deterministic (greedy, or beams), so that a caption does not depend on a seed nor
    on the other images of its batch.

    Args:
        model: id on the hub, or a folder as ``save_pretrained`` writes it.
        revision: commit, tag or branch of an id.
        max_new_tokens: longest caption, in tokens.
        num_beams: 1 is greedy.
        batch_size: images captioned at once; bounds memory, never changes a caption.
        device: "auto", "cpu", "cuda", ...
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1  # raise when equal settings give other captions

    def __init__(
        self,
        model: str,
        revision: str = "main",
        max_new_tokens: Count = 50,
        num_beams: Count = 1,
        batch_size: Count = 16,
        device: str = "auto",
    ) -> None:
        self.checkpoint = Checkpoint(model, revision, "captioner=dataset for given captions")
        self.max_new_tokens = max_new_tokens
        self.num_beams = num_beams
        self.batch_size = batch_size
        self.device = device

    def identity(self) -> Mapping[str, Json]:
        """Checkpoint, prompt and decoding.

        Raises:
            ConfigError, ServiceError: see :class:`aspire.pretrained.Checkpoint`.
        """
        return {
            "captioner": self.name,
            "version": self.version,
            **self.checkpoint.identity(),
            "max_new_tokens": self.max_new_tokens,
            "num_beams": self.num_beams,
            **self.further_identity(),
        }

    def further_identity(self) -> Mapping[str, Json]:
        """What else changes a caption, such as a prompt."""
        return {}

    def caption(self, images: Sequence[LoadedImage]) -> list[str | None]:
        """See :class:`aspire.language.base.Captioner`.

        Raises:
            ConfigError, ServiceError: when the model cannot be loaded.
        """
        import torch

        found: list[str | None] = []
        for start in range(0, len(images), self.batch_size):
            pixels = [image.pixels for image in images[start : start + self.batch_size]]
            with torch.inference_mode():
                tokens = self._generate(pixels)
            texts = self._processor.batch_decode(tokens, skip_special_tokens=True)
            found += [" ".join(text.split()) or None for text in texts]
        return found

    @abstractmethod
    def model_class(self) -> Any:
        """The transformers class of the model."""

    @abstractmethod
    def inputs(self, images: list[Pixels]) -> Mapping[str, Any]:
        """What the model is given for (H, W, 3) uint8 images: name -> tensor."""

    def _generate(self, images: list[Pixels]) -> Any:
        """(len(images), length) token ids of the captions, without the prompt."""
        inputs = self._to_model(self.inputs(images))
        tokens = self._model.generate(**inputs, **self._decoding())
        if "input_ids" in inputs and not self._model.config.is_encoder_decoder:
            return tokens[:, inputs["input_ids"].shape[1] :]
        return tokens

    def _decoding(self) -> dict[str, Any]:
        return {
            "max_new_tokens": self.max_new_tokens,
            "num_beams": self.num_beams,
            "do_sample": False,
        }

    def _to_model(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors on the model's device, floats in its precision."""
        model = self._model
        return {
            name: value.to(model.device, model.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }

    @cached_property
    def _model(self) -> Any:
        device, dtype = device_and_dtype(self.device)
        return self.checkpoint.load(self.model_class(), dtype=dtype).to(device).eval()

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoProcessor

        processor = self.checkpoint.load(AutoProcessor)
        # A decoder continues where its input ends, so shorter inputs are filled up in front.
        processor.tokenizer.padding_side = "left"
        return processor
