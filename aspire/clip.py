"""How well words fit images, by CLIP (Radford et al. 2021, arXiv 2103.00020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import Pixels
from aspire.identity import Json
from aspire.pretrained import Checkpoint, device_and_dtype

Scores = NDArray[np.float32]


class Clip:
    """A CLIP model of transformers, loaded on first use.

    Args:
        model: hub id or folder.
        revision: commit, tag or branch of a hub model.
        device: "auto", or a device of torch.
        batch_size: images or texts at once; changes no result.
        instead: what to type when the user would rather do without.
    """

    def __init__(
        self,
        model: str,
        revision: str = "main",
        device: str = "auto",
        batch_size: int = 32,
        instead: str = "leave this filter out",
    ) -> None:
        self.checkpoint = Checkpoint(model, revision, instead)
        self.device = device
        self.batch_size = batch_size
        self._known: dict[str, Scores] = {}

    def identity(self) -> Mapping[str, Json]:
        """Which model."""
        return self.checkpoint.identity()

    def images(self, images: Sequence[Pixels]) -> Scores:
        """(N, D) unit vectors."""
        import torch

        model, processor = self._loaded
        parts = [np.zeros((0, 1), np.float32)][:0]
        for start in range(0, len(images), self.batch_size):
            batch = list(images[start : start + self.batch_size])
            inputs = processor(images=batch, return_tensors="pt").to(model.device)
            with torch.inference_mode():
                parts.append(_unit(model.get_image_features(**inputs)))
        return np.concatenate(parts)

    def texts(self, texts: Sequence[str]) -> Scores:
        """(M, D) unit vectors; each text is encoded once."""
        import torch

        model, processor = self._loaded
        new = sorted(set(texts) - set(self._known))
        for start in range(0, len(new), self.batch_size):
            batch = new[start : start + self.batch_size]
            inputs = processor(text=batch, return_tensors="pt", padding=True, truncation=True)
            with torch.inference_mode():
                vectors = _unit(model.get_text_features(**inputs.to(model.device)))
            self._known.update(zip(batch, vectors, strict=True))
        return np.stack([self._known[t] for t in texts])

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import CLIPModel, CLIPProcessor

        model = self.checkpoint.load(CLIPModel).eval().to(device_and_dtype(self.device)[0])
        return model, self.checkpoint.load(CLIPProcessor)


def _unit(features: Any) -> Scores:
    """(N, D) rows of length 1; newer transformers wrap the tensor in an output object."""
    tensor = features if hasattr(features, "norm") else features.pooler_output
    unit: Scores = (tensor / tensor.norm(dim=-1, keepdim=True)).float().cpu().numpy()
    return unit
