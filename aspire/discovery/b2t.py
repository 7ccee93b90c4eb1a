"""``score=b2t``: the CLIP score of bias-to-text, for comparison.

Kim et al., CVPR 2024 (arXiv 2301.11104): for a keyword k and a class y::

    s(k; y) = mean over misclassified images of y of sim(x, k)
              - mean over correctly classified images of y of sim(x, k)
    sim(x, k) = 100 cos(CLIP image(x), CLIP text("a photo of a k"))

A keyword with s > 0 is a bias keyword. It says what the *errors* show, so for a class that leans on
land it is water: the other side of the shortcut that the other scores name.

Deviations: the keywords are the collapsed phrases of the captions, not YAKE's; the images are those
that discovery asked the classifier about (training images, by default), not the val split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import read_image
from aspire.discovery.base import Evidence, Verdict
from aspire.errors import ConfigError
from aspire.pipeline.records import ImageRef
from aspire.pipeline.stage import Json
from aspire.pretrained import Checkpoint, device_and_dtype

Vectors = NDArray[np.float32]


class B2T:
    """Similarity to the errors minus similarity to the rest.

    Args:
        model: id or folder of a CLIP model of transformers (the paper's: ViT-B/32).
        revision: commit, tag or branch of an id.
        prompt: with ``{}`` for the keyword.
        device: "auto", or a device of torch; changes no result.
        batch_size: images or texts at once; changes no result.
    """

    def __init__(
        self,
        model: str = "openai/clip-vit-base-patch32",
        revision: str = "main",
        prompt: str = "a photo of a {}",
        device: str = "auto",
        batch_size: int = 32,
    ) -> None:
        if "{}" not in prompt:
            raise ConfigError(f"score.prompt={prompt}: expected {{}} where the keyword goes.")
        self.checkpoint = Checkpoint(model, revision, "score=effect, which needs no model")
        self.prompt = prompt
        self.device = device
        self.batch_size = batch_size

    def identity(self) -> Mapping[str, Json]:
        return {"score": "b2t", **self.checkpoint.identity(), "prompt": self.prompt}

    def judge(self, evidence: Evidence) -> list[Verdict | None]:
        """None for classes without an error, or without a correct image.

        Raises:
            ConfigError, ServiceError: when the model cannot be had.
        """
        classes = {c.y for c in evidence.candidates}
        contrast: dict[int, Vectors] = {}
        for y in sorted(classes):
            right = [r for r in evidence.right if r.y == y]
            wrong = [r for r in evidence.wrong if r.y == y]
            if right and wrong:
                # the mean of similarities is the similarity with the mean
                contrast[y] = self._mean(wrong, evidence.root) - self._mean(right, evidence.root)
        if not contrast:
            return [None] * len(evidence.candidates)
        phrases = sorted({c.phrase for c in evidence.candidates})
        text = dict(zip(phrases, self._texts(phrases), strict=True))
        verdicts: list[Verdict | None] = []
        for candidate in evidence.candidates:
            if candidate.y not in contrast:
                verdicts.append(None)
                continue
            score = round(100 * float(text[candidate.phrase] @ contrast[candidate.y]), 4)
            verdicts.append(Verdict(score, spurious=score > 0))
        return verdicts

    def _mean(self, refs: Sequence[ImageRef], root: Path) -> Vectors:
        """(D,) mean of the unit vectors of images."""
        import torch

        model, processor = self._loaded
        total: Any = 0.0
        for start in range(0, len(refs), self.batch_size):
            images = [read_image(root / r.file) for r in refs[start : start + self.batch_size]]
            inputs = processor(images=images, return_tensors="pt").to(model.device)
            with torch.inference_mode():
                total = total + _unit(model.get_image_features(**inputs)).sum(axis=0)
        mean: Vectors = (total / len(refs)).astype(np.float32)
        return mean

    def _texts(self, phrases: Sequence[str]) -> list[Vectors]:
        """(D,) unit vector of each keyword."""
        import torch

        model, processor = self._loaded
        found: list[Vectors] = []
        for start in range(0, len(phrases), self.batch_size):
            texts = [self.prompt.format(p) for p in phrases[start : start + self.batch_size]]
            inputs = processor(text=texts, return_tensors="pt", padding=True, truncation=True)
            with torch.inference_mode():
                found += list(_unit(model.get_text_features(**inputs.to(model.device))))
        return found

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import CLIPModel, CLIPProcessor

        model = self.checkpoint.load(CLIPModel)
        return model.to(device_and_dtype(self.device)[0]).eval(), self.checkpoint.load(
            CLIPProcessor
        )


def _unit(features: Any) -> Vectors:
    """(N, D) rows of length 1; newer transformers wrap the tensor in an output object."""
    tensor = features if hasattr(features, "norm") else features.pooler_output
    unit: Vectors = (tensor / tensor.norm(dim=-1, keepdim=True)).float().cpu().numpy()
    return unit
