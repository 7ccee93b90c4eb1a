"""MaskTune: hide what the classifier looks at most and train on for a pass, so that it looks again.

Source: Asgari et al., "MaskTune: Mitigating Spurious Correlations by Forcing to Explore", NeurIPS
2022, section 3: ERM; the pixels whose heat is above mean + 2 std are set to 0 in every training
image; one epoch on these from ERM's last weights. The heat is XGradCAM (Fu et al., "Axiom-based
Grad-CAM", BMVC 2020, eq. 8) of the predicted class on the last convolution's maps A,

    h = max(0, sum_k alpha_k A_k),   alpha_k = sum(dS/dA_k * A_k) / sum(A_k),

of the checkpoint that is best by the average accuracy on val. Mean and std are over positive heat.

Deviations:
- The tuning starts with a fresh optimiser and its own schedule; the authors keep the optimiser's
  state.
- The heat is that of the evaluation crop; what the crop cuts off is never masked.
- An image in which nothing is hot is trained on as it is; the authors' threshold is then undefined.

The heat is of real images, and of an ERM of real images alone; what is tuned is the ERM of the
mixture, on the masked real images and the generated ones as they are.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aspire.baselines.base import Needs, RunContext
from aspire.baselines.erm import CrossEntropy
from aspire.classification.classifier import Classifier
from aspire.data.images import png_bytes
from aspire.data.transforms import Preprocessing
from aspire.errors import ConfigError
from aspire.stored.files import write_atomic
from aspire.values import NonNegative, Positive

Mask = NDArray[np.bool_]


class MaskTune:
    """ERM, then a pass over its training images with their hottest pixels black.

    The masked images are written to ``masked/`` in the run's folder, one PNG per training image
    that has something hot in it.

    Args:
        deviations: pixels hotter than the mean by more than this many standard deviations are
            masked, 0 or more (authors: 2).
        passes: length of the tuning in passes over the real images, above 0 (paper: 1).

    Raises:
        ConfigError: for values out of range, and for a model without convolutional maps.
    """

    needs: ClassVar[Needs] = Needs()

    def __init__(self, deviations: NonNegative = 2.0, passes: Positive = 1.0) -> None:
        self.deviations = deviations
        self.passes = passes

    def run(self, ctx: RunContext) -> Classifier:
        real = ctx.real
        judge, net = real.erm(select="val_acc"), ctx.erm(select="last")
        masked = ctx.remember("masked", lambda: self._mask(real, judge))
        hidden = int((masked > 0).sum())
        ctx.record(masked_images=hidden, masked_pixels=float(masked.mean()))
        if hidden == 0:
            ctx.warn(
                "MaskTune: no pixel of any training image is hot enough to be masked, so the "
                "tuning is another pass of ERM. Try a smaller baseline.deviations than "
                f"{self.deviations}."
            )
        paths = list(ctx.train.paths)
        for number, row in enumerate(np.flatnonzero(ctx.train.is_real)):
            if masked[number]:
                paths[row] = masked_path(ctx.folder, number)
        return ctx.fit(
            "tune",
            CrossEntropy(),
            net=net,
            train=replace(ctx.train, paths=tuple(paths)),
            steps=math.ceil(self.passes * len(real.train) / ctx.batch_size),
        )

    def _mask(self, ctx: RunContext, judge: Classifier) -> NDArray[np.float64]:
        """Write the masked images; (N,) share of the pixels masked, 0 where no image is written."""
        heat = ctx.remember("heat", lambda: ctx.collect(judge, ctx.train, xgradcam).numpy())

        def mask(row: int) -> float:
            hot = hottest(heat[row], ctx.preprocessing.size, self.deviations)
            if not hot.any():
                return 0.0
            pixels = ctx.pixels(ctx.train.paths[row])
            hidden = in_image(hot, pixels.shape[0], pixels.shape[1], ctx.preprocessing)
            path = masked_path(ctx.folder, row)
            if hidden.any() and not path.is_file():
                write_atomic(path, png_bytes(np.where(hidden[:, :, None], np.uint8(0), pixels)))
            return float(hidden.mean())

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return np.array(list(pool.map(mask, range(len(ctx.train)))))


def masked_path(folder: Path, row: int) -> Path:
    """Where the masked image of a training row is written."""
    return folder / "masked" / f"{row:07d}.png"


def xgradcam(net: Classifier, images: Tensor) -> Tensor:
    """(B, 3, S, S) -> (B, h, w) heat of the predicted class, 0 or more.

    Raises:
        ConfigError: when the net has no square (B, C, h, w) maps.
    """
    maps = net.feature_maps(images)
    if maps.dim() != 4 or maps.shape[2] != maps.shape[3]:
        raise ConfigError(
            f"MaskTune needs the maps of a convolutional network, (images, channels, h, w); this "
            f"model gives {tuple(maps.shape)}. Try another model or another baseline."
        )
    with torch.inference_mode(False), torch.enable_grad():  # the only place that needs a gradient
        maps = maps.clone().requires_grad_()
        score = net.head(net.pool(maps)).max(1).values.sum()
        (gradient,) = torch.autograd.grad(score, maps)
        maps = maps.detach()
    total = maps.sum((2, 3))
    alpha = (gradient * maps).sum((2, 3)) / total.where(total.abs() > 1e-7, torch.inf)
    return (alpha[:, :, None, None] * maps).sum(1).relu()


def hottest(heat: NDArray[Any], size: int, deviations: float) -> Mask:
    """(h, w) heat -> (size, size) where it is above mean + deviations * std of positive heat."""
    large = cv2.resize(heat.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    positive = large[large > 0].astype(np.float64)
    if len(positive) == 0:
        return np.zeros((size, size), dtype=bool)
    return np.asarray(large > positive.mean() + deviations * positive.std())


def in_image(mask: Mask, height: int, width: int, preprocessing: Preprocessing) -> Mask:
    """A mask of the evaluation's view, (size, size), in the pixels of the image: (height, width).

    The way back from :meth:`Preprocessing.evaluation`: false where that cuts off.
    """
    size = preprocessing.size
    seen, resized, (top, left) = preprocessing.placed(height, width)
    view = np.zeros(resized, dtype=bool)
    view[top : top + size, left : left + size] = mask
    whole = np.zeros((height, width), dtype=bool)
    rows, columns = (
        ((np.arange(n) + 0.5) * m / n).astype(np.int64)
        for n, m in zip(whole[seen].shape, resized, strict=True)
    )
    whole[seen] = view[rows][:, columns]
    return whole
