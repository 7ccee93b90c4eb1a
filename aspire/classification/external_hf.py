"""``classifier=hf``: an image classifier of transformers, by id or from a local folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aspire.classification.external import External, Gives, Mapped
from aspire.classification.predictor import Request
from aspire.data.images import Pixels
from aspire.errors import ConfigError
from aspire.identity import digest_of
from aspire.pretrained import Checkpoint
from aspire.values import Count


class HfClassifier:
    """``AutoModelForImageClassification`` with its own image processor and label names.

    Args:
        path: a folder of ``save_pretrained``, or an id of the Hub.
        revision: commit, tag or branch of an id.
        classes: class of the dataset -> its outputs, by number or name.
        names: of the outputs in order; None for the model's own.
        batch_size: images at once; does not change a result.
        anyway: look for shortcuts though it is no better than guessing.
    """

    gives: Gives = "logits"

    def __init__(
        self,
        path: str | None = None,
        revision: str = "main",
        classes: Mapped | None = None,
        names: Sequence[str | int] | None = None,
        batch_size: Count = 32,
        anyway: bool = False,
    ) -> None:
        if not path:
            raise ConfigError(
                "classifier.path is not set; expected a folder of save_pretrained or an id of the "
                "Hugging Face Hub: classifier=hf classifier.path=google/vit-base-patch16-224"
            )
        self.checkpoint = Checkpoint(path, revision, "classifier=erm, which is trained here")
        self.classes = classes
        self.names = names
        self.batch_size = batch_size
        self.anyway = anyway

    def classifier(self, request: Request) -> External:
        return External(self, request)

    def digest(self) -> str:
        _ = self._processor  # a folder without one is answered before any work
        return digest_of(self.checkpoint.identity())

    def output_names(self) -> tuple[str, ...] | None:
        if self.names:
            return tuple(map(str, self.names))
        from transformers import AutoConfig

        labels = self.checkpoint.load(AutoConfig).id2label
        return tuple(str(labels[i]) for i in range(len(labels)))

    def load(self, device: Any) -> _HfNetwork:
        from transformers import AutoModelForImageClassification

        model = self.checkpoint.load(AutoModelForImageClassification, whole=True)
        return _HfNetwork(model.float().to(device).eval(), self._processor, device)

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoImageProcessor

        return self.checkpoint.load(AutoImageProcessor)


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
