"""Boxes around phrases: Grounding DINO (Liu et al. 2023, arXiv 2303.05499), from transformers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from aspire.data.images import Pixels
from aspire.data.loaded import LoadedImage
from aspire.editing.base import Detection, Failure, NotFound
from aspire.editing.batching import Batches
from aspire.editing.weak_cache import WhileAlive
from aspire.identity import Json
from aspire.pretrained import Checkpoint, device_and_dtype
from aspire.values import Count, Fraction

REMEMBERED = 64  # images whose features are kept: 18 MB each for Swin-T at 800 px

_NONE = np.zeros((0, 4), dtype=np.float32)


class GroundingDino:
    """Open-vocabulary detection with any ``AutoModelForZeroShotObjectDetection`` of this kind.

    Images keep their own scale. They are padded to the next multiple of ``bucket`` pixels, and only
    images of one padded size share a batch, so that an answer does not depend on its batch.

    The image backbone sees each image once, however many phrases and calls it takes, as long as the
    image stays in memory; from there on image and phrase are one computation.

    Args:
        model: hub id or folder; the authors' is Swin-T, "IDEA-Research/grounding-dino-tiny".
        revision: commit, tag or branch of a hub model.
        box_threshold: least score of a box, in [0, 1] (authors: 0.3).
        text_threshold: a box counts when a token of its phrase scores more than this (authors:
            0.25).
        near_threshold: a best box below this is ``no_box``, between this and ``box_threshold``
            ``low_score``.
        bucket: see above.
        device: "auto", or a device of torch.
        batch_size: pairs of image and phrase at once.
    """

    def __init__(
        self,
        model: str,
        revision: str = "main",
        box_threshold: Fraction = 0.3,
        text_threshold: Fraction = 0.25,
        near_threshold: Fraction = 0.15,
        bucket: Count = 32,
        device: str = "auto",
        batch_size: Count = 16,
    ) -> None:
        self.checkpoint = Checkpoint(model, revision, "choose segmenter=annotations")
        self.box_threshold = box_threshold
        self.text_threshold = text_threshold
        self.near_threshold = near_threshold
        self.bucket = bucket
        self.device = device
        self.batches = Batches(batch_size)
        self._seen = WhileAlive[_Features](REMEMBERED)

    def identity(self) -> Mapping[str, Json]:
        return {
            "detector": "grounding_dino",
            **self.checkpoint.identity(),
            "box_threshold": self.box_threshold,
            "text_threshold": self.text_threshold,
            "near_threshold": self.near_threshold,
            "bucket": self.bucket,
        }

    def detect(self, images: Sequence[LoadedImage], phrases: Sequence[str]) -> list[Detection]:
        return self._ask(images, [f"{phrase.lower().strip(' .')}." for phrase in phrases])

    def detect_class_object(
        self, images: Sequence[LoadedImage], class_words: Sequence[Sequence[str]]
    ) -> list[Detection]:
        return self._ask(
            images, [" ".join(f"{w.lower().strip(' .')}." for w in words) for words in class_words]
        )

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        model = self.checkpoint.load(AutoModelForZeroShotObjectDetection)
        processor = self.checkpoint.load(AutoProcessor)
        return model.eval().to(device_and_dtype(self.device)[0]), processor

    def _ask(self, images: Sequence[LoadedImage], texts: Sequence[str]) -> list[Detection]:
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        prepared: dict[int, Any] = {}  # an image with several phrases is prepared once
        for place, image in enumerate(images):
            if image.pixels in self._seen:
                size = self._seen[image.pixels].size
            else:
                if id(image) not in prepared:
                    prepared[id(image)] = self._prepare(image.pixels)
                size = prepared[id(image)].shape[1:]
            groups[_padded(size, self.bucket)].append(place)
        answers: dict[int, Detection | Failure] = {}
        for size, places in groups.items():

            def work(batch: Sequence[int], size: tuple[int, int] = size) -> list[Detection]:
                features = self._features([images[i] for i in batch], prepared, size)
                sizes = [images[i].pixels.shape[:2] for i in batch]
                return self._run(features, [texts[i] for i in batch], sizes, size)

            answers |= zip(places, self.batches.map(work, places), strict=True)
        return [
            Detection(_NONE, reason="failed", detail=answer.detail)
            if isinstance(answer, Failure)
            else answer
            for _, answer in sorted(answers.items())
        ]

    def _prepare(self, pixels: Pixels) -> Any:
        """(3, h, w) float32 at the size the model wants, not padded."""
        model, processor = self._loaded
        inputs = processor.image_processor(
            images=[pixels], return_tensors="pt", device=model.device
        )
        return inputs["pixel_values"][0]

    def _features(
        self, images: Sequence[LoadedImage], prepared: Mapping[int, Any], padded: tuple[int, int]
    ) -> list[_Features]:
        """What the backbone makes of each image, computed once in the life of an image."""
        import torch

        model = self._loaded[0]
        found = {id(i): self._seen[i.pixels] for i in images if i.pixels in self._seen}
        new = {id(i): i for i in images if id(i) not in found}
        if new:
            batch = torch.zeros(len(new), 3, *padded, device=model.device)
            for place, key in enumerate(new):
                _, height, width = prepared[key].shape
                batch[place, :, :height, :width] = prepared[key]
            with torch.inference_mode():
                levels = _backbone(model)(batch).feature_maps
            for place, (key, image) in enumerate(new.items()):
                maps = [level[place : place + 1] for level in levels]
                found[key] = _Features(prepared[key].shape[1:], maps)
                self._seen.put(image.pixels, found[key])
        return [found[id(image)] for image in images]

    def _run(
        self,
        features: Sequence[_Features],
        texts: Sequence[str],
        sizes: Sequence[tuple[int, int]],
        padded: tuple[int, int],
    ) -> list[Detection]:
        import torch

        model, processor = self._loaded
        seen = torch.zeros(len(features), *padded, dtype=torch.long)
        for i, (height, width) in enumerate(one.size for one in features):
            seen[i, :height, :width] = 1
        words = processor.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        # Of the pixels the model now takes the shape only.
        pixels = torch.zeros((), device=model.device).expand(len(features), 3, *padded)
        inputs = {"pixel_values": pixels, "pixel_mask": seen, **words}
        with torch.inference_mode(), _given(_backbone(model), [one.maps for one in features]):
            outputs = model(**{k: v.to(model.device) for k, v in inputs.items()})
        return self.read(outputs, words["input_ids"], sizes)

    def read(
        self, outputs: Any, input_ids: Any, sizes: Sequence[tuple[int, int]]
    ) -> list[Detection]:
        """Apply the thresholds to the model's outputs.

        Args:
            outputs: with ``logits`` (B, queries, tokens) and ``pred_boxes`` (B, queries, 4).
            input_ids: (B, tokens in use).
            sizes: height and width of each original image.
        """
        processor = self._loaded[1]
        best = outputs.logits.sigmoid().flatten(1).max(dim=1).values.tolist()
        kept = processor.post_process_grounded_object_detection(
            outputs,
            input_ids,
            threshold=self.box_threshold,
            text_threshold=self.text_threshold,
            target_sizes=[tuple(size) for size in sizes],
        )
        detections: list[Detection] = []
        for result, score, (height, width) in zip(kept, best, sizes, strict=True):
            named = [i for i, text in enumerate(result["text_labels"]) if text.strip()]
            boxes = result["boxes"][named].float().cpu().numpy().clip(0, [width, height] * 2)
            if len(boxes):
                detections.append(Detection(boxes.astype(np.float32), score))
                continue
            reason: NotFound = "no_box" if score < self.near_threshold else "low_score"
            detail = f"best score {score:.2f}, box threshold {self.box_threshold}"
            detections.append(Detection(_NONE, score, reason, detail))
        return detections


@dataclass(frozen=True)
class _Features:
    """What the backbone made of one image."""

    size: tuple[int, int]  # of the image as the model took it, without padding
    maps: Sequence[Any]  # (1, C, h, w) per resolution


def _backbone(model: Any) -> Any:
    """The part of a Grounding DINO that sees images alone: a backbone of transformers."""
    return model.model.backbone.conv_encoder.model


@contextmanager
def _given(backbone: Any, maps: Sequence[Sequence[Any]]) -> Iterator[None]:
    """Let a backbone answer with what it has said of each image before.

    transformers' model has no argument for it, and would run the backbone for every phrase again.
    """
    import torch
    from transformers.modeling_outputs import BackboneOutput

    joined: Any = tuple(torch.cat(level) for level in zip(*maps, strict=True))
    backbone.forward = lambda pixel_values, **_: BackboneOutput(feature_maps=joined)
    try:
        yield
    finally:
        del backbone.forward


def _padded(size: Sequence[int], bucket: int) -> tuple[int, int]:
    height, width = size
    return -(-height // bucket) * bucket, -(-width // bucket) * bucket
