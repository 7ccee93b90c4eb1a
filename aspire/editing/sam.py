"""Masks from boxes: SAM (Kirillov et al. 2023, arXiv 2304.02643), from transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import Pixels
from aspire.editing.base import Failure, Mask
from aspire.editing.batching import Batches
from aspire.editing.while_alive import WhileAlive
from aspire.pipeline.stage import Json
from aspire.pretrained import Checkpoint, device_and_dtype

REMEMBERED = 64  # images whose embedding is kept: 4 MB each for SAM, 16 for SAM 2


class Sam:
    """One mask per box, their union per prompt, as the authors take it.

    The image encoder, which is most of the work, sees each image once, however many phrases and
    calls it takes, as long as the image stays in memory.

    Args:
        model: hub id or folder; the authors' is ViT-H, "facebook/sam-vit-huge".
        revision: commit, tag or branch of a hub model.
        device: "auto", or a device of torch.
        batch_size: images at once.
    """

    kind = "sam"
    sizes: ClassVar[tuple[str, ...]] = ("original_sizes", "reshaped_input_sizes")

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
        self._seen = WhileAlive[Any](REMEMBERED)

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
        of_image = [np.concatenate(prompts) for prompts in boxes]
        most = max(map(len, of_image))
        # The processor scales boxes as it scales images; it wants equally many for each.
        level = [np.pad(b, ((0, most - len(b)), (0, 0)), mode="edge").tolist() for b in of_image]
        inputs = processor(images=list(images), input_boxes=level, return_tensors="pt")
        rows = torch.cat([inputs["input_boxes"][i, : len(b)] for i, b in enumerate(of_image)])
        rows = rows.to(model.device, model.dtype)
        owners = [i for i, b in enumerate(of_image) for _ in b]
        size = 4 * self.batches.size  # the decoder is light beside the encoder
        with torch.inference_mode():
            embedded = self._embedded(images, inputs["pixel_values"])
            masks = [
                model(
                    image_embeddings=self.joined([embedded[i] for i in owners[s : s + size]]),
                    input_boxes=rows[s : s + size, None],
                    multimask_output=False,
                ).pred_masks[:, 0]
                for s in range(0, len(owners), size)
            ]
        low = torch.cat(masks).float().cpu()  # (boxes, 1, h, w)
        ends = np.cumsum([len(b) for b in of_image])[:-1].tolist()
        return [
            self._united(one, prompts, {name: inputs[name][i : i + 1] for name in self.sizes})
            for i, (one, prompts) in enumerate(zip(low.tensor_split(ends), boxes, strict=True))
        ]

    def _embedded(self, images: Sequence[Pixels], values: Any) -> list[Any]:
        """The image encoder's answers, each computed once in the life of an image."""
        model = self._loaded[0]
        new = [i for i, image in enumerate(images) if image not in self._seen]
        found: dict[int, Any] = {}
        if new:
            embedded = model.get_image_embeddings(values[new].to(model.device, model.dtype))
            found = {i: self.one_of(embedded, place) for place, i in enumerate(new)}
            for i, one in found.items():
                self._seen.put(images[i], one)
        return [found[i] if i in found else self._seen[image] for i, image in enumerate(images)]

    def _united(
        self, low: Any, prompts: Sequence[NDArray[np.float32]], sizes: dict[str, Any]
    ) -> list[Mask]:
        """One mask per prompt from the masks of all boxes of an image."""
        (full,) = self._loaded[1].post_process_masks([low], **sizes)
        ends = np.cumsum([len(b) for b in prompts])[:-1].tolist()
        return [np.asarray(m[:, 0].any(dim=0).numpy()) for m in full.tensor_split(ends)]

    def one_of(self, embedded: Any, place: int) -> Any:
        """The embedding of one image of the batch."""
        return embedded[place : place + 1]

    def joined(self, embeddings: Sequence[Any]) -> Any:
        """Embeddings of single images as the decoder takes them."""
        import torch

        return torch.cat(list(embeddings))
