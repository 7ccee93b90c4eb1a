"""Masks from boxes: SAM 2 (Ravi et al. 2024, arXiv 2408.00714), from transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from aspire.editing.sam import Sam
from aspire.pretrained import device_and_dtype


class Sam2(Sam):
    """As :class:`Sam`, with the image model of SAM 2, e.g. "facebook/sam2.1-hiera-large"."""

    kind = "sam2"
    sizes: ClassVar[tuple[str, ...]] = ("original_sizes",)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import Sam2Model, Sam2Processor

        model = self.checkpoint.load(Sam2Model)
        processor = self.checkpoint.load(Sam2Processor)
        return model.eval().to(device_and_dtype(self.device)[0]), processor

    def scaled(self, boxes: NDArray[np.float32], sizes: Mapping[str, Any]) -> Any:
        normalised = self._loaded[1](
            original_sizes=sizes["original_sizes"], input_boxes=[boxes.tolist()]
        )
        return normalised["input_boxes"][0]

    def one_of(self, embedded: Any, place: int) -> Any:
        return [level[place : place + 1].float() for level in embedded]  # one map per resolution

    def joined(self, embeddings: Sequence[Any]) -> Any:
        import torch

        return [torch.cat(levels) for levels in zip(*embeddings, strict=True)]
