"""Masks from boxes: SAM (Kirillov et al. 2023, arXiv 2304.02643), from transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import Pixels
from aspire.editing.base import Failure, Mask
from aspire.editing.batching import Batches
from aspire.editing.weak_cache import WhileAlive
from aspire.identity import Json
from aspire.pretrained import Checkpoint, device_and_dtype
from aspire.values import Count

REMEMBERED = 64  # images whose embedding is kept: 4 MB each for SAM, 16 for SAM 2


@dataclass(frozen=True)
class _Embedded:
    """What the encoder made of one image, and the processor's notes on its size."""

    embedding: Any
    sizes: Mapping[str, Any]


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
        batch_size: Count = 8,
    ) -> None:
        self.checkpoint = Checkpoint(model, revision, "choose segmenter=annotations")
        self.device = device
        self.batches = Batches(batch_size)
        self._seen = WhileAlive[_Embedded](REMEMBERED)

    def identity(self) -> Mapping[str, Json]:
        return {"masker": self.kind, **self.checkpoint.identity()}

    def masks(
        self, images: Sequence[Pixels], boxes: Sequence[NDArray[np.float32]]
    ) -> list[Mask | Failure]:
        """The union of what is in the boxes of each prompt.

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

        model = self._loaded[0]
        embedded = self._embedded(images)
        of_image = [np.concatenate(prompts) for prompts in boxes]
        scaled = [self.scaled(b, e.sizes) for b, e in zip(of_image, embedded, strict=True)]
        rows = torch.cat(scaled).to(model.device, model.dtype)
        owners = [one.embedding for b, one in zip(of_image, embedded, strict=True) for _ in b]
        size = 4 * self.batches.size  # the decoder is light beside the encoder
        with torch.inference_mode():
            masks = [
                model(
                    image_embeddings=self.joined(owners[s : s + size]),
                    input_boxes=rows[s : s + size, None],
                    multimask_output=False,
                ).pred_masks[:, 0]
                for s in range(0, len(owners), size)
            ]
        low = torch.cat(masks).float()  # (boxes, 1, h, w)
        ends = np.cumsum([len(b) for b in of_image])[:-1].tolist()
        return [
            self._united(one, prompts, seen.sizes)
            for one, prompts, seen in zip(low.tensor_split(ends), boxes, embedded, strict=True)
        ]

    def _embedded(self, images: Sequence[Pixels]) -> list[_Embedded]:
        """The image encoder's answers, each computed once in the life of an image.

        On a GPU with bfloat16 the encoder computes in it; prompts and masks stay float32, since
        bfloat16 holds no pixel numbers above 256.
        """
        import torch

        model, processor = self._loaded
        found = {id(i): self._seen[i] for i in images if i in self._seen}
        new = [i for i in images if id(i) not in found]
        if new:
            device, dtype = device_and_dtype(self.device)
            inputs = processor(images=new, return_tensors="pt", device=device)
            values = inputs["pixel_values"].to(device, model.dtype)
            with (
                torch.inference_mode(),
                torch.autocast(device.type, dtype, enabled=dtype != torch.float32),
            ):
                embeddings = model.get_image_embeddings(values)
            for place, image in enumerate(new):
                sizes = {name: inputs[name][place : place + 1] for name in self.sizes}
                found[id(image)] = _Embedded(self.one_of(embeddings, place), sizes)
                self._seen.put(image, found[id(image)])
        return [found[id(image)] for image in images]

    def _united(
        self, low: Any, prompts: Sequence[NDArray[np.float32]], sizes: Mapping[str, Any]
    ) -> list[Mask]:
        """One mask per prompt from the masks of all boxes of an image."""
        (full,) = self._loaded[1].post_process_masks([low], **sizes)
        ends = np.cumsum([len(b) for b in prompts])[:-1].tolist()
        return [np.asarray(m[:, 0].any(dim=0).cpu().numpy()) for m in full.tensor_split(ends)]

    def scaled(self, boxes: NDArray[np.float32], sizes: Mapping[str, Any]) -> Any:
        """Boxes (n, 4) in pixels of what the encoder sees, as the processor scales them."""
        import torch

        (height, width), (new_height, new_width) = (sizes[name][0].tolist() for name in self.sizes)
        scale = np.array([new_width / width, new_height / height] * 2)
        return torch.from_numpy(boxes.astype(np.float64) * scale)

    def one_of(self, embedded: Any, place: int) -> Any:
        """The embedding of one image of the batch."""
        return embedded[place : place + 1].float()

    def joined(self, embeddings: Sequence[Any]) -> Any:
        """Embeddings of single images as the decoder takes them."""
        import torch

        return torch.cat(list(embeddings))
