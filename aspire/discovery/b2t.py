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
from pathlib import Path

import numpy as np

from aspire.clip import Clip, Scores
from aspire.data.images import read_image
from aspire.discovery.base import Evidence, Verdict
from aspire.errors import ConfigError
from aspire.identity import Json
from aspire.records import ImageRef
from aspire.values import Count


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
        batch_size: Count = 32,
    ) -> None:
        if "{}" not in prompt:
            raise ConfigError(f"score.prompt={prompt}: expected {{}} where the keyword goes.")
        instead = "score=effect, which needs no model"
        self.clip = Clip(model, revision, device, batch_size, instead)
        self.prompt = prompt

    def identity(self) -> Mapping[str, Json]:
        return {"score": "b2t", **self.clip.identity(), "prompt": self.prompt}

    def judge(self, evidence: Evidence) -> list[Verdict | None]:
        """None for classes without an error, or without a correct image.

        Raises:
            ConfigError, ServiceError: when the model is unavailable.
        """
        classes = {c.y for c in evidence.candidates}
        contrast: dict[int, Scores] = {}
        for y in sorted(classes):
            right = [r for r in evidence.right if r.y == y]
            wrong = [r for r in evidence.wrong if r.y == y]
            if right and wrong:
                # the mean of similarities is the similarity with the mean
                contrast[y] = self._mean(wrong, evidence.root) - self._mean(right, evidence.root)
        if not contrast:
            return [None] * len(evidence.candidates)
        phrases = sorted({c.phrase for c in evidence.candidates})
        vectors = self.clip.texts([self.prompt.format(p) for p in phrases])
        text = dict(zip(phrases, vectors, strict=True))
        verdicts: list[Verdict | None] = []
        for candidate in evidence.candidates:
            if candidate.y not in contrast:
                verdicts.append(None)
                continue
            score = round(100 * float(text[candidate.phrase] @ contrast[candidate.y]), 4)
            verdicts.append(Verdict(score, spurious=score > 0))
        return verdicts

    def _mean(self, refs: Sequence[ImageRef], root: Path) -> Scores:
        """(D,) mean of the unit vectors of images."""
        at_once = self.clip.batch_size
        total = sum(
            self.clip.images([read_image(root / r.file) for r in refs[i : i + at_once]]).sum(axis=0)
            for i in range(0, len(refs), at_once)
        )
        mean: Scores = np.asarray(total / len(refs), np.float32)
        return mean
