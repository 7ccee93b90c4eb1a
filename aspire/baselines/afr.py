"""AFR: train the last layer again on held-out images, the more the worse ERM does on them.

Source: Qiu et al., "Simple and Fast Group Robustness by Automatic Feature Reweighting", ICML 2023,
section 4: ERM on most of train; on the rest, whose p_y is ERM's probability of the true class,

    minimise  sum_i w_i CE_i + lambda |W - W_0|^2,   w_i ~ exp(-gamma p_y(x_i)) / n_y,  sum w_i = 1

over the last layer W (coefficients and intercepts) from ERM's own, W_0, by full-batch gradient
descent without momentum, the gradient clipped to norm 1 as in the authors' code. gamma, lambda and
the step to stop at are those that are best on val.

Deviations:
- All pairs of gamma and lambda descend side by side, in closed form, since they share the features.
- Val is judged every fiftieth of the steps.
- The first stage is the ERM checkpoint of the run's selection rule unless ``base_selection`` says
  otherwise; the authors take the last.

The images held out are real ones, and how badly ERM does on them is asked of an ERM of real images
alone; the network and so the features are learnt from the mixture without what is held out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from aspire.baselines.base import Needs, RunContext
from aspire.classification.classifier import Classifier
from aspire.data.image_table import ImageTable
from aspire.data.table import Split
from aspire.errors import ConfigError
from aspire.values import Count, NonNegatives, OpenFraction, Positive

EVALUATIONS = 50  # of the second stage on val


class AFR:
    """ERM on a part of train, then its head reweighted on the other part.

    Args:
        holdout: fraction of train kept for the second stage, in (0, 1) (paper: 0.2).
        gammas: candidates for gamma, 0 or more; 0 only balances the classes (authors' grid for
            Waterbirds: 33 values from 4 to 20).
        strengths: candidates for lambda, from 0 to ``1 / (2 head_lr)``, above which the descent
            overshoots (authors, Waterbirds: 0, 0.1, 0.2, 0.3).
        head_steps: steps of the second stage, at least 1 (authors: 500 on Waterbirds, 1000 on
            CelebA).
        head_lr: their size, above 0 (authors: 0.01 on Waterbirds, 0.02 on CelebA).
        base_selection: "last" for the last weights of the first stage (authors), None for those of
            the run's selection rule, which chooses gamma, lambda and step in either case.

    Raises:
        ConfigError: for values out of range.
    """

    needs: ClassVar[Needs] = Needs(val_groups=True)

    def __init__(
        self,
        holdout: OpenFraction = 0.2,
        gammas: NonNegatives = (4, 8, 12, 16, 20),
        strengths: NonNegatives = (0.0, 0.1, 0.2, 0.3),
        head_steps: Count = 500,
        head_lr: Positive = 0.01,
        base_selection: Literal["last"] | None = None,
    ) -> None:
        limit = 1 / (2 * head_lr)
        if max(strengths) > limit:
            raise ConfigError(
                f"baseline.strengths={list(strengths)}: expected numbers in "
                f"[0, {limit:g}], the upper end being 1 / (2 head_lr)."
            )
        self.holdout = holdout
        self.gammas = tuple(gammas)
        self.strengths = tuple(strengths)
        self.head_steps = head_steps
        self.head_lr = head_lr
        self.base_selection = base_selection

    def run(self, ctx: RunContext) -> Classifier:
        real = ctx.real
        kept, rows = divide(real.train, self.holdout, ctx.rng("afr_holdout"))
        y, held = real.train.y[rows], len(rows)
        lacking = [n for k, n in enumerate(ctx.info.class_names) if k not in y]
        if lacking:
            ctx.warn(
                f"AFR: none of the {held} images held out is of the class {', '.join(lacking)}, so "
                "the second stage forgets it. Try a larger baseline.holdout."
            )
        true = torch.from_numpy(y).to(ctx.device)
        biased = real.erm(rows=kept, select=self.base_selection)

        def sure() -> NDArray[np.float64]:
            seen = with_one(real.features(biased, Split.TRAIN)[rows]).to(ctx.device)
            p = F.softmax(seen @ whole_head(biased).to(ctx.device).T, 1)
            return np.asarray(p.gather(1, true[:, None])[:, 0].cpu().double().numpy())

        p = ctx.remember("true_class_probability", sure)
        own = None if real.train.weight is None else real.train.weight[rows]

        hidden = {real.train.paths[row] for row in rows}
        learnt = np.flatnonzero([path not in hidden for path in ctx.train.paths])
        net = ctx.erm(rows=learnt, select=self.base_selection)
        place = np.flatnonzero(ctx.train.is_real)[rows]
        features = with_one(ctx.features(net, Split.TRAIN)[place]).to(ctx.device)
        val = with_one(ctx.features(net, Split.VAL)).to(ctx.device)
        start = whole_head(net).to(ctx.device)

        pairs = list(itertools.product(self.gammas, self.strengths))
        weights = np.stack([example_weights(p, y, gamma, own) for gamma, _ in pairs])
        heads = descend(
            features,
            true,
            torch.from_numpy(weights).float().to(ctx.device),
            torch.tensor([float(strength) for _, strength in pairs], device=ctx.device),
            start,
            self.head_lr,
        )
        every = max(1, self.head_steps // EVALUATIONS)
        best: tuple[float, ...] | None = None
        chosen, found = start, (0.0, 0.0, 0)
        for step, candidates in zip(range(1, self.head_steps + 1), heads, strict=False):
            if step % every and step != self.head_steps:
                continue
            predicted = logits(val, candidates).argmax(2).cpu().numpy()
            for pair, head, answer in zip(pairs, candidates, predicted.T, strict=True):
                score = ctx.score(answer)
                if best is None or score > best:
                    best, chosen, found = score, head, (*pair, step)
        gamma, strength, step = found
        ctx.record(gamma=gamma, strength=strength, head_step=step, held_out_images=held)
        with torch.no_grad():
            net.head.weight.copy_(chosen[:, :-1])
            net.head.bias.copy_(chosen[:, -1])
        return net


def divide(
    train: ImageTable, holdout: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows for the first and for the second stage; rows of one image file stay together.

    Raises:
        ConfigError: for a single image.
    """
    _, image = np.unique([str(path) for path in train.paths], return_inverse=True)
    number = int(image.max(initial=-1)) + 1
    if number < 2:
        raise ConfigError(f"AFR divides the train split in two; it has {number} image.")
    held = min(number - 1, max(1, round(holdout * number)))
    second = np.isin(image, rng.permutation(number)[:held])
    return np.flatnonzero(~second), np.flatnonzero(second)


def example_weights(
    p: NDArray[np.float64],
    y: NDArray[np.int64],
    gamma: float,
    own: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """(N,) weights that sum to 1: ``exp(-gamma p) / n_y``.

    Args:
        p: (N,) probabilities of the true classes.
        y: (N,) classes.
        gamma: 0 or more.
        own: (N,) weights the rows have already; n_y is then the sum of a class.
    """
    own = np.ones(len(y)) if own is None else own
    weights = own * np.exp(-gamma * p) / np.maximum(np.bincount(y, weights=own), 1e-300)[y]
    return np.asarray(weights / weights.sum())


def descend(
    features: Tensor, y: Tensor, weights: Tensor, strengths: Tensor, start: Tensor, lr: float
) -> Iterator[Tensor]:
    """Gradient descent of M heads that start alike; gives (M, K, D) after each step, for ever.

    Args:
        features: (N, D), the last of them 1.
        y: (N,) classes.
        weights: (M, N), each summing to 1.
        strengths: (M,) lambda.
        start: (K, D) head to start from and to stay near.
        lr: step size.
    """
    heads = start.repeat(len(weights), 1, 1)
    target = F.one_hot(y, len(start))[:, None]  # (N, 1, K)
    share = weights.T[:, :, None]  # (N, M, 1)
    while True:
        off = (F.softmax(logits(features, heads), 2) - target) * share
        gradient = torch.einsum("nmk,nd->mkd", off, features)
        gradient += 2 * strengths[:, None, None] * (heads - start)
        norm = gradient.flatten(1).norm(dim=1).clamp(min=1)
        heads = heads - lr * gradient / norm[:, None, None]
        yield heads


def logits(features: Tensor, heads: Tensor) -> Tensor:
    """(N, D) and (M, K, D) -> (N, M, K)."""
    together = features @ heads.flatten(0, 1).T
    return together.view(len(features), len(heads), -1)


def whole_head(net: Classifier) -> Tensor:
    """(K, D + 1) coefficients and intercepts, for features :func:`with_one`."""
    return torch.cat([net.head.weight.detach(), net.head.bias.detach()[:, None]], 1)


def with_one(features: Tensor) -> Tensor:
    """(N, D) -> (N, D + 1), the last 1, so that intercepts are coefficients."""
    return F.pad(features, (0, 1), value=1.0)
