"""Masks from boxes: SAM (Kirillov et al. 2023, arXiv 2304.02643), from transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import Pixels
from aspire.editing.base import Failure, Mask
from aspire.editing.batching import Batches
from aspire.language.pretrained import Checkpoint, device_and_dtype
from aspire.pipeline.stage import Json


class Sam:
    """One mask per box, their union per prompt, as the authors take it.

    The image encoder, which is most of the work, sees each image once, however many phrases.

    Args:
        model: hub id or folder; the authors' is ViT-H, "facebook/sam-vit-huge".
        revision: commit, tag or branch of a hub model.
        device: "auto", or a device of torch.
        batch_size: images at once.
    """

    kind = "sam"

    def __init__(
        self,
        model: str,
        revision: str = "main",
        device: str = "auto",
        batch_size: int = 8,
    ) -> None:
        self.checkpoint = Checkpoint(model, revision, "choose segmenter=annotations")
        self.device = device
        self.batches = Batches(batch_size)

    def identity(self) -> Mapping[str, Json]:
        return {"masker": self.kind, **self.checkpoint.identity()}

    def masks(
        self, images: Sequence[Pixels], boxes: Sequence[NDArray[np.float32]]
    ) -> list[Mask | Failure]:
        """The union of what lies in the boxes of each prompt.

        Args:
            images: (H, W, 3) uint8; the same object again where an image has several prompts.
            boxes: for each the boxes (n, 4) of one prompt, x0, y0, x1, y1 in pixels, n > 0.

        Returns:
            For each prompt a mask (H, W).
        """
        prompts: dict[int, list[int]] = {}
        for place, image in enumerate(images):
            prompts.setdefault(id(image), []).append(place)
        groups = list(prompts.values())
        answers = self.batches.map(
            lambda batch: self._run(
                [images[places[0]] for places in batch],
                [[boxes[place] for place in places] for places in batch],
            ),
            groups,
        )
        results: dict[int, Mask | Failure] = {}
        for places, answer in zip(groups, answers, strict=True):
            masks = [answer] * len(places) if isinstance(answer, Failure) else answer
            results |= zip(places, masks, strict=True)
        return [mask for _, mask in sorted(results.items())]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import SamModel, SamProcessor

        model = self.checkpoint.load(SamModel)
        processor = self.checkpoint.load(SamProcessor)
        return model.eval().to(device_and_dtype(self.device)[0]), processor

    def _run(
        self, images: Sequence[Pixels], boxes: Sequence[Sequence[NDArray[np.float32]]]
    ) -> list[list[Mask]]:
        import torch

        model, processor = self._loaded
        inputs = processor(images=list(images), return_tensors="pt")
        with torch.inference_mode():
            embedded = model.get_image_embeddings(inputs["pixel_values"].to(model.device))
            return [
                [self._decode(embedded, i, image, one) for one in prompts]
                for i, (image, prompts) in enumerate(zip(images, boxes, strict=True))
            ]

    def _decode(self, embedded: Any, place: int, image: Pixels, boxes: Any) -> Mask:
        model, processor = self._loaded
        inputs = processor(images=image, input_boxes=[boxes.tolist()], return_tensors="pt")
        outputs = model(
            image_embeddings=self.one_of(embedded, place),
            input_boxes=inputs["input_boxes"].to(model.device, model.dtype),
            multimask_output=False,
        )
        (masks,) = processor.post_process_masks(
            outputs.pred_masks.float().cpu(), **self.original_sizes(inputs)
        )
        return np.asarray(masks[:, 0].any(dim=0).numpy())

    def one_of(self, embedded: Any, place: int) -> Any:
        """The embedding of one image of the batch, as the decoder takes it."""
        return embedded[place : place + 1]

    def original_sizes(self, inputs: Any) -> dict[str, Any]:
        """What ``post_process_masks`` wants to know about the image."""
        return {
            "original_sizes": inputs["original_sizes"],
            "reshaped_input_sizes": inputs["reshaped_input_sizes"],
        }
