"""DivDis: heads that agree on the training images and differ elsewhere; a few labels choose one.

Source: Lee, Yao, Finn, "Diversify and Disambiguate: Out-of-Distribution Robustness via
Disagreement", ICLR 2023; the head is chosen by its active querying.

Deviations: the mutual information is summed over the pairs of heads as in the paper (the authors'
code takes the mean, which is the same for two heads). The class shares that the heads must keep are
their mean prediction on the source images of the batch, as in the authors' code (the paper: the
source's labels). Source and target go through the network in one forward, half a batch each, so
that batch normalisation sees their mixture as it will in evaluation (in the authors' code one of
three ways). The labels are queried on val, whichever split is the target, so that no label of the
test split is ever used.

What the heads may differ on and which of them is right is found out on images of val or test, which
are real; what they agree on is learnt from the mixture.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from aspire.baselines.base import Needs, Objective, RunContext, StepOutput
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch
from aspire.data.image_table import ImageTable
from aspire.data.table import Split
from aspire.values import Count, NonNegative, Several

TINY = 1e-12  # keeps logarithms and their gradients finite where a probability underflows
TARGETS = {"val": Split.VAL, "test": Split.TEST}


class Heads(nn.Module):
    """Linear heads side by side; called like one, it is the first of them.

    Args:
        heads: (D) -> (K) each.
    """

    def __init__(self, heads: Iterable[nn.Linear]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) features -> (B, K) logits of the first head."""
        logits: Tensor = self.heads[0](features)
        return logits

    def every(self, features: Tensor) -> Tensor:
        """(B, D) features -> (B, H, K) logits of all heads."""
        return torch.stack([head(features) for head in self.heads], dim=1)


def mutual_information(p: Tensor) -> Tensor:
    """Mutual information of the predictions of every pair of heads, in nats.

    ``KL(mean_n p_i(n) x p_j(n) || mean_n p_i(n) x mean_n p_j(n))`` for heads i < j.

    Args:
        p: (N, H, K) probabilities; the means go over N.

    Returns:
        (H * (H - 1) / 2,) in the order 01, 02, ..., 12, ...
    """
    i, j = torch.triu_indices(p.shape[1], p.shape[1], offset=1, device=p.device)
    joint = torch.einsum("npk,npl->pkl", p[:, i], p[:, j]) / len(p)
    mean = p.mean(0)
    apart = torch.einsum("pk,pl->pkl", mean[i], mean[j])
    return divergence(joint.flatten(1), apart.flatten(1))


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """``KL(p || q) = sum p (log p - log q)`` over the last dimension, in nats."""
    return (p * (p.clamp(min=TINY).log() - q.clamp(min=TINY).log())).sum(-1)


class DivDisLoss(Objective):
    """Cross-entropy on the source, and heads that differ but keep the class shares on the target.

    ``mean_h CE_h + diversity * sum_{h<g} MI(h, g) + consistency * mean_h KL(t_h || s)`` with CE_h
    on the source images; MI of the softmax outputs on the target images; t_h the mean output of
    head h on the target; s the mean output of all heads on the source, a constant.

    Rows with y = -1 are target rows. A batch must hold some of both.

    Args:
        diversity, consistency: at least 0.
    """

    def __init__(self, diversity: NonNegative, consistency: NonNegative) -> None:
        super().__init__()
        self.diversity = diversity
        self.consistency = consistency

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        heads = cast(Heads, net.head)
        logits = heads.every(net.features(batch.image))  # (B, H, K)
        p = logits.softmax(-1)
        source = batch.y >= 0
        y = batch.y[source, None].expand(-1, logits.shape[1])
        entropy = F.cross_entropy(logits[source].flatten(0, 1), y.flatten())
        shared = mutual_information(p[~source]).sum()
        kept = divergence(p[~source].mean(0), p[source].mean((0, 1)).detach()).mean()
        scalars = {"cross_entropy": entropy, "mutual_information": shared, "consistency": kept}
        return StepOutput(
            entropy + self.diversity * shared + self.consistency * kept,
            logits[:, 0],
            {name: value.detach() for name, value in scalars.items()},
        )


class HalfAndHalf:
    """Draws batches of which the first half are source rows and the second target rows.

    Args:
        source, target: rows of each; the target rows follow the source rows.
        batch_size: of each batch, at least 2 even where less is given; an odd one out is source.
        weight: (source,) draw source rows in proportion, or None.
    """

    def __init__(
        self,
        source: int,
        target: int,
        batch_size: int,
        weight: NDArray[np.float64] | None = None,
    ) -> None:
        self.source = source
        self.target = target
        self.half = max(1, batch_size // 2)
        self.rest = max(1, batch_size - self.half)
        self.p = None if weight is None else weight / weight.sum()

    def __call__(self, rng: np.random.Generator, step: int) -> NDArray[np.int64]:
        source = rng.choice(self.source, self.rest, p=self.p)
        return np.concatenate([source, self.source + rng.integers(self.target, size=self.half)])


class DivDis:
    """One fit of several heads on a backbone, of which a few labels choose one.

    ``target`` says whose images, without their labels, the heads learn to differ on. With "val" no
    test image is seen before the end. With "test" the method has seen the very images it is judged
    on (transductive), which no other method here has: put such numbers beside others only with
    that said.

    The labels of the ``labels`` val images on which the heads differ most (L1 distance of their
    probabilities, summed over the pairs) choose the head. The val groups are not used, and the
    last weights are taken, since evaluations on the way see the first head only.

    Where a batch has N target images and K classes, chance alone gives sure heads that are
    independent about (K - 1)^2 / 2N of mutual information (less where K^2 is above N) and
    (K - 1) / 2N of divergence. Weights that make this dearer than the ln K of knowing nothing teach
    the heads one constant class.

    Args:
        heads: H, at least 2 (paper: 2).
        diversity: weight of the mutual information, at least 0 (paper: 10).
        consistency: weight of the divergence from the source's class shares, at least 0 (authors:
            10). 0 where the classes have other shares in the target.
        target: "val" or "test".
        labels: val images whose labels choose the head, at least 1 (authors: 4 to 128).

    Raises:
        ConfigError: for a value out of its range.
    """

    needs: ClassVar[Needs] = Needs(target=True)

    def __init__(
        self,
        heads: Several = 2,
        diversity: NonNegative = 10.0,
        consistency: NonNegative = 10.0,
        target: Literal["val", "test"] = "val",
        labels: Count = 16,
    ) -> None:
        self.heads = heads
        self.diversity = diversity
        self.consistency = consistency
        self.target = TARGETS[target]
        self.labels = labels

    def run(self, ctx: RunContext) -> Classifier:
        source, target = ctx.train, ctx.table(self.target)
        unknown = np.full(len(target), -1)
        both = ImageTable(
            source.paths + target.paths,
            np.concatenate([source.y, unknown]),
            np.concatenate([np.full(len(source), -1), unknown]),
        )
        net = with_heads(ctx.network("train"), self.heads, ctx.rng("heads"))
        net = ctx.fit(
            "train",
            DivDisLoss(self.diversity, self.consistency),
            net=net,
            train=both,
            draw=HalfAndHalf(len(source), len(target), ctx.batch_size, source.weight),
            select="last",
        )
        return self._choose(ctx, net)

    def _choose(self, ctx: RunContext, net: Classifier) -> Classifier:
        """The network with the head that is right most often where the heads differ most."""
        heads = cast(Heads, net.head)
        y = ctx.table(Split.VAL).y
        with torch.inference_mode():
            p = copy.deepcopy(heads).cpu().every(ctx.features(net, Split.VAL)).softmax(-1).numpy()
        queried = np.argsort(-disagreement(p), kind="stable")[: self.labels]
        right = (p[queried].argmax(-1) == y[queried, None]).mean(0)  # (H,)
        chosen = int(right.argmax())
        ctx.record(
            chosen_head=chosen,
            queried_labels=len(queried),
            queried_accuracy=float(right[chosen]),
            queried_accuracy_per_head=right.tolist(),
        )
        best = np.flatnonzero(right == right[chosen]).tolist()
        if (p.argmax(-1) == p[:, :1].argmax(-1)).all():
            ctx.warn(
                "divdis: all heads say the same of every val image, so there is nothing to choose. "
                "Try a smaller baseline.consistency and optimizer.lr or a larger fit.batch_size if "
                "they call everything one class, else a larger baseline.diversity."
            )
        elif len(best) > 1:
            ctx.warn(
                f"divdis: heads {', '.join(map(str, best))} are right equally often "
                f"({right[chosen]:.0%}) on the {len(queried)} queried images; head {chosen} was "
                "taken as the first of them. Try more baseline.labels."
            )
        net.head = cast(nn.Linear, heads.heads[chosen])
        return net


def with_heads(net: Classifier, number: int, rng: np.random.Generator) -> Classifier:
    """The network with ``number`` heads in place of its own, which becomes the first of them."""
    bound = net.head.in_features**-0.5  # as every nn.Linear starts
    heads = [net.head]
    for _ in range(number - 1):
        head = copy.deepcopy(net.head)
        for value in head.parameters():
            value.data.copy_(torch.from_numpy(rng.uniform(-bound, bound, tuple(value.shape))))
        heads.append(head)
    net.head = Heads(heads)  # type: ignore[assignment]
    return net


def disagreement(p: NDArray[np.floating]) -> NDArray[np.floating]:
    """(N, H, K) probabilities -> (N,) L1 distances, summed over the pairs of heads."""
    distance = np.abs(p[:, :, None] - p[:, None, :]).sum((1, 2, 3)) / 2  # each pair appears twice
    return np.asarray(distance)
