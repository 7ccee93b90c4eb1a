"""``classifier=hf``: an image classifier of transformers, by id or from a local folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aspire.classification.external import External, Gives, Mapped
from aspire.classification.predictor import Request
from aspire.data.images import Pixels
from aspire.errors import ConfigError, ServiceError
from aspire.pipeline.store import digest_of


class HfClassifier:
    """``AutoModelForImageClassification`` with its own image processor and label names.

    Args:
        path: a folder of ``save_pretrained``, or an id of the Hub.
        revision: of the Hub, best a commit.
        classes: class of the dataset -> its outputs, by number or name.
        names: of the outputs in order; None for the model's own.
        batch_size: images at once; does not change a result.
    """

    gives: Gives = "logits"

    def __init__(
        self,
        path: str | None = None,
        revision: str | None = None,
        classes: Mapped | None = None,
        names: Sequence[str] | None = None,
        batch_size: int = 32,
    ) -> None:
        if not path:
            raise ConfigError(
                "classifier.path is not set; expected a folder of save_pretrained or an id of the "
                "Hugging Face Hub: classifier=hf classifier.path=google/vit-base-patch16-224"
            )
        self.path = path
        self.revision = revision
        self.classes = classes
        self.names = names
        self.batch_size = batch_size

    def classifier(self, request: Request) -> External:
        return External(self, request)

    def digest(self) -> str:
        """Over the loaded weights and the processor, so equal content is equal wherever it is."""
        from safetensors.torch import save

        model, processor = self._loaded
        state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
        settings = processor.to_dict()
        return digest_of([hashlib.sha256(save(state)).hexdigest(), repr(sorted(settings.items()))])

    def output_names(self) -> tuple[str, ...] | None:
        if self.names:
            return tuple(self.names)
        labels = self._loaded[0].config.id2label
        return tuple(str(labels[i]) for i in range(len(labels)))

    def load(self, device: Any) -> _HfNetwork:
        model, processor = self._loaded
        return _HfNetwork(model.to(device).eval(), processor, device)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        try:
            return (
                AutoModelForImageClassification.from_pretrained(self.path, revision=self.revision),
                AutoImageProcessor.from_pretrained(self.path, revision=self.revision),
            )
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            if Path(self.path).exists():
                raise ConfigError(
                    f"classifier.path={self.path} is not an image classifier of transformers: "
                    f"{reason} Expected config.json, model.safetensors and "
                    "preprocessor_config.json, as save_pretrained of model and image processor "
                    "writes them."
                ) from None
            raise ServiceError(
                f"classifier.path={self.path}: no such folder here, and the Hub gave none: {reason}"
            ) from None


class _HfNetwork:
    def __init__(self, model: Any, processor: Any, device: Any) -> None:
        self.model = model
        self.processor = processor
        self.device = device

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        import torch

        inputs = self.processor(images=list(images), return_tensors="pt")
        with torch.inference_mode():
            logits = self.model(inputs["pixel_values"].to(self.device)).logits
        result: NDArray[np.float32] = logits.float().cpu().numpy()
        return result
