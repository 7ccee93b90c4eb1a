"""EIIL: environments between which a biased network is not invariant, then GroupDRO over them.

Source: Creager et al., "Environment Inference for Invariant Learning", ICML 2021, section 4 and
its appendix. A reference network is frozen; soft assignments ``r = sigmoid(w)`` to two
environments maximise how far the risk of each is from being invariant,

    1/2 (d/ds mean(r l(s z, y)))^2 + 1/2 (d/ds mean((1 - r) l(s z, y)))^2   at s = 1,

with logits z and the cross-entropy l. As on Waterbirds there, GroupDRO over (class, environment)
follows.

The derivative by the scale s is a number per image that does not change during the search,
``g = sum_k z_k (p_k - [k = y])``, so no second differentiation is needed.

Deviations:

- The reference network is trained for a fraction of the run's steps and not for an epoch, so that
  one value serves datasets of different sizes.
- Where rows have sampling weights (generated images mixed in), means are over what is drawn.
- GroupDRO runs on batches that are balanced over the pseudo groups, as it does with true groups.

The reference and the environments are of the real images alone. GroupDRO learns from the mixture;
the generated images of a class lie in no environment and are a third group of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aspire.baselines.base import Needs, RunContext
from aspire.baselines.groupdro import GroupDROLoss
from aspire.baselines.rwg import group_balanced, listed, own_weights
from aspire.classification.classifier import Classifier
from aspire.data.table import Split
from aspire.values import Count, NonNegative, Positive, PositiveFraction


def scale_gradient(logits: Tensor, y: Tensor) -> Tensor:
    """(N,) derivative of each image's cross-entropy by a factor on its logits, at 1.

    Positive where a bolder network would be more wrong: ``sum_k p_k z_k`` exceeds the logit of the
    true class.

    Args:
        logits: (N, K).
        y: (N,) classes.
    """
    expected = (logits.softmax(1) * logits).sum(1)
    return expected - logits.gather(1, y[:, None])[:, 0]


def assignment_gradient(w: Tensor, share: Tensor) -> Tensor:
    """(N,) gradient by w of ``1/2 (sum r c)^2 + 1/2 (sum (1 - r) c)^2`` with ``r = sigmoid(w)``.

    Args:
        w: (N,) logits of the assignment to the first environment.
        share: (N,) c, each image's part of the derivative of the mean loss by the scale.
    """
    r = torch.sigmoid(w)
    first, second = (r * share).sum(), ((1 - r) * share).sum()
    return (first - second) * share * r * (1 - r)


def infer_environments(share: Tensor, start: Tensor, steps: int, lr: float) -> Tensor:
    """(N,) bool, the environments after full-batch Adam from ``start``.

    Args:
        share: (N,) see :func:`assignment_gradient`.
        start: (N,) first logits of the assignment.
        steps, lr: of Adam.
    """
    w = start.clone()
    adam = torch.optim.Adam([w], lr=lr, maximize=True)
    for _ in range(steps):
        w.grad = assignment_gradient(w, share)
        adam.step()
    return w > 0


class EIIL:
    """A short ERM, the environments it suggests, then GroupDRO over (class, environment).

    Args:
        reference: length of the first stage as a fraction of the run's steps, in (0, 1]. It should
            end when the shortcut is learnt and little else (fairness_ssl's EIIL on Waterbirds:
            1 of 300 epochs, of which a short run has too few steps).
        env_steps: steps of the search for environments, at least 1 (authors: 10000).
        env_lr: step size of that search, above 0 (fairness_ssl's EIIL on Waterbirds: 0.01;
            authors on MNIST: 0.001).
        eta: step size of the group weights, at least 0 (GroupDRO's authors: 0.01).

    Raises:
        ConfigError: for a value outside its range.
    """

    needs: ClassVar[Needs] = Needs()

    def __init__(
        self,
        reference: PositiveFraction = 0.05,
        env_steps: Count = 10000,
        env_lr: Positive = 0.01,
        eta: NonNegative = 0.01,
    ) -> None:
        self.reference = reference
        self.env_steps = env_steps
        self.env_lr = env_lr
        self.eta = eta

    def run(self, ctx: RunContext) -> Classifier:
        steps = max(1, round(self.reference * ctx.steps))
        real = ctx.real
        first = real.erm(steps=steps, select="last")
        environment = ctx.remember("environments", lambda: self._environments(real, first))
        found = 2 * real.train.y + environment
        counts = np.bincount(found, minlength=2 * ctx.info.num_classes)
        groups = ctx.train.widened(found, 2 * ctx.info.num_classes + ctx.train.y)
        names = [f"{name}/environment {e}" for name in ctx.info.class_names for e in (0, 1)]
        ctx.record(
            reference_steps=steps,
            pseudo_groups={n: int(c) for n, c in zip(names, counts, strict=True)},
        )
        self._warn(ctx, counts.reshape(-1, 2))
        weights = group_balanced(replace(ctx.train, group=groups))
        return ctx.fit("train", GroupDROLoss(self.eta), groups=groups, sample_weights=weights)

    def _environments(self, ctx: RunContext, net: Classifier) -> NDArray[np.int64]:
        """(N,) 0 or 1 for each row of the training table."""
        # in float64 the result does not depend on the number of threads that add it up
        gradient = scale_gradient(ctx.logits(net, Split.TRAIN).double(), torch.tensor(ctx.train.y))
        own = own_weights(ctx.train)
        share = gradient * torch.from_numpy(own / own.sum())
        start = torch.from_numpy(ctx.rng("environments").standard_normal(len(own)))
        first = infer_environments(share, start, self.env_steps, self.env_lr)
        return first.numpy().astype(np.int64)

    def _warn(self, ctx: RunContext, counts: NDArray[np.int64]) -> None:
        """Name classes that are in one environment; ``counts`` is (K, 2)."""
        one = [
            name
            for name, (a, b) in zip(ctx.info.class_names, counts, strict=True)
            if (a == 0) != (b == 0)
        ]
        advice = (
            "Try another baseline.reference than "
            f"{self.reference}: the reference network must have learnt the shortcut and little "
            "else."
        )
        if (counts.sum(0) == 0).any():
            ctx.warn(
                "EIIL put all training images into one environment, so its groups are the "
                f"classes and nothing is learnt about shortcuts. {advice}"
            )
        elif one:
            ctx.warn(
                f"EIIL put all training images of {listed(one)} into one environment, so these "
                f"classes are not protected from a shortcut. {advice}"
            )
