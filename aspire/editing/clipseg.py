"""Phrase to mask in one model: CLIPSeg (Lueddecke and Ecker 2022, arXiv 2112.10003)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from aspire.data.loaded import LoadedImage
from aspire.editing.base import Failure, Segmentation, found
from aspire.editing.batching import Batches
from aspire.identity import Json
from aspire.pretrained import Checkpoint, device_and_dtype
from aspire.values import Count, Fraction


class ClipSegSegmenter:
    """The pixels whose probability for the phrase is above a threshold.

    One small model instead of two large ones, and coarse at edges: it sees the image in patches.

    Args:
        model: hub id or folder, e.g. "CIDAS/clipseg-rd64-refined".
        revision: commit, tag or branch of a hub model.
        threshold: least probability of a pixel, in [0, 1].
        near_threshold: an image whose best pixel is below this is ``no_box``, between this and
            ``threshold`` ``low_score``.
        device: "auto", or a device of torch.
        batch_size: pairs of image and phrase at once.
    """

    def __init__(
        self,
        model: str,
        revision: str = "main",
        threshold: Fraction = 0.4,
        near_threshold: Fraction = 0.2,
        device: str = "auto",
        batch_size: Count = 32,
    ) -> None:
        self.checkpoint = Checkpoint(model, revision, "choose segmenter=annotations")
        self.threshold = threshold
        self.near_threshold = near_threshold
        self.device = device
        self.batches = Batches(batch_size)

    def identity(self) -> Mapping[str, Json]:
        return {
            "segmenter": "clipseg",
            **self.checkpoint.identity(),
            "threshold": self.threshold,
            "near_threshold": self.near_threshold,
        }

    def segment(self, images: Sequence[LoadedImage], phrases: Sequence[str]) -> list[Segmentation]:
        results = self.batches.map(self._run, list(zip(images, phrases, strict=True)))
        return [
            Segmentation(reason="failed", detail=r.detail) if isinstance(r, Failure) else r
            for r in results
        ]

    def segment_class_object(
        self, images: Sequence[LoadedImage], class_words: Sequence[Sequence[str]]
    ) -> list[Segmentation]:
        return self.segment(images, [", ".join(words) for words in class_words])

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

        model = self.checkpoint.load(CLIPSegForImageSegmentation)
        processor = self.checkpoint.load(CLIPSegProcessor)
        return model.eval().to(device_and_dtype(self.device)[0]), processor

    def _run(self, batch: Sequence[tuple[LoadedImage, str]]) -> list[Segmentation]:
        import torch

        model, processor = self._loaded
        inputs = processor(
            images=[image.pixels for image, _ in batch],
            text=[phrase for _, phrase in batch],
            padding=True,
            truncation=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            logits = model(**inputs.to(model.device)).logits
        maps = logits.float().sigmoid().cpu().reshape(len(batch), *logits.shape[-2:]).numpy()
        return [
            self.read(m, image.pixels.shape[:2]) for m, (image, _) in zip(maps, batch, strict=True)
        ]

    def read(self, probabilities: Any, size: tuple[int, int]) -> Segmentation:
        """Apply the thresholds to one map.

        Args:
            probabilities: (h, w) float in [0, 1].
            size: height and width of the image.
        """
        import cv2

        height, width = size
        full = np.asarray(
            cv2.resize(probabilities, (width, height), interpolation=cv2.INTER_LINEAR)
        )
        best = round(float(full.max()), 4)
        if best < self.threshold:
            detail = f"best probability {best:.2f}, threshold {self.threshold}"
            near = best >= self.near_threshold
            return Segmentation(None, best, "low_score" if near else "no_box", detail)
        return found(full >= self.threshold, best)
