"""LISA: train on blends of images that share the class or the attribute but not both, groups known.

Source: Yao et al., "Improving Out-of-Distribution Robustness via Selective Augmentation", ICML
2022, section 3 and Algorithm 1. CutMix: Yun et al., ICCV 2019, section 3.1.

As in the authors' code one strategy is drawn per step, intra-label (same class, other attribute) or
intra-domain (same attribute, other class), and groups count evenly: there each of the four groups
gives a batch, here the group of each anchor is uniform over the groups and the row within it is
drawn by the rows' sampling weights.

Deviations:
- Any number of classes and attributes: a partner's group is uniform over those that qualify. With
  two of each that is the authors' pairing, the one case their code is written for.
- A group that no other qualifies for is mixed by the other strategy, and if that is switched off or
  has no partner either, within itself, which is mixup of images of one class and attribute.
- A step sees ``fit.batch_size`` mixed images, as a step of every other method does, and reads
  twice as many; the authors' batch size is per group.
- CutMix draws a box and a lambda per image, the latter from Beta(mix_alpha, mix_alpha), and pastes
  one way. The authors' code draws both once per pair of groups, lambda by the alpha of another
  method (0.2), and pastes both ways.

Nothing is found out, the groups being given. A generated image is of the group of its scene and is
mixed like a real one; its share within the group is that of :mod:`aspire.baselines.rwg`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aspire.baselines.base import Needs, Objective, RunContext, StepOutput
from aspire.baselines.mixup import beta, blend, soft_cross_entropy
from aspire.baselines.rwg import listed, present_groups, weights_within
from aspire.classification.classifier import Classifier
from aspire.data.datamodule import Batch
from aspire.data.image_table import ImageTable
from aspire.values import Fraction, Positive

LABEL, DOMAIN = 0, 1  # the strategies
SHARED = {LABEL: "class and another attribute", DOMAIN: "attribute and another class"}


class LISALoss(Objective):
    """Mean cross-entropy of row ``i`` mixed with row ``i + B`` of a batch of 2 B, both labels soft.

    Args:
        mix_alpha: of each pair's lambda ~ Beta(mix_alpha, mix_alpha), more than 0.
        cutmix: mix by pasting a box instead of blending.
    """

    whole_images: ClassVar[bool] = True

    def __init__(self, mix_alpha: float, cutmix: bool = False) -> None:
        super().__init__()
        self.mix_alpha = mix_alpha
        self.cutmix = cutmix

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        half = len(batch.y) // 2
        anchor, partner = batch.image[:half], batch.image[half:]
        share = beta(self.mix_alpha, half)
        if self.cutmix:
            image, share = paste(anchor, partner, share)
        else:
            image = blend(anchor, partner, share.to(anchor))
        logits = net(image)  # (B, K)
        loss = soft_cross_entropy(logits, batch.y[:half], batch.y[half:], share.to(logits))
        return StepOutput(loss, logits)


class LISA:
    """One fit with :class:`LISALoss` on pairs of groups.

    Args:
        mix_alpha: of lambda ~ Beta(mix_alpha, mix_alpha), more than 0 (authors: 2).
        intra_label: probability in [0, 1] that a step mixes images of one class (authors: 0.5).
        cutmix: paste a box instead of blending (authors: on CelebA).

    Raises:
        ConfigError: for a value outside.
    """

    needs: ClassVar[Needs] = Needs(train_groups=True)

    def __init__(
        self,
        mix_alpha: Positive = 2.0,
        intra_label: Fraction = 0.5,
        cutmix: bool = False,
    ) -> None:
        self.mix_alpha = mix_alpha
        self.intra_label = intra_label
        self.cutmix = cutmix

    def run(self, ctx: RunContext) -> Classifier:
        groups = present_groups(ctx, "LISA mixes the others")
        partners = self._partners(ctx, groups)
        pairs = Pairs(ctx.train, groups, partners, self.intra_label, ctx.batch_size)
        return ctx.fit("train", LISALoss(self.mix_alpha, self.cutmix), draw=pairs)

    def _partners(self, ctx: RunContext, groups: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(2, G, G) whether the second group is a partner of the first, by strategy."""
        qualified = qualified_partners(
            groups, ctx.info.num_groups, ctx.info.num_groups // ctx.info.num_classes
        )
        used = {LABEL: self.intra_label > 0, DOMAIN: self.intra_label < 1}
        partners = qualified.copy()
        for strategy, other in ((LABEL, DOMAIN), (DOMAIN, LABEL)):
            alone = ~qualified[strategy].any(axis=1)
            if used[other]:
                partners[strategy][alone] = qualified[other][alone]
            nowhere = ~partners[strategy].any(axis=1)
            partners[strategy][nowhere] = np.eye(ctx.info.num_groups, dtype=bool)[nowhere]
            if used[strategy] and alone[groups].any():
                lonely = groups[alone[groups]]
                within = int(nowhere[groups].sum())
                ctx.warn(
                    f"LISA finds no training images of the same {SHARED[strategy]} for "
                    f"{listed([ctx.info.group_names[g] for g in lonely])} ({len(lonely)} of "
                    f"{len(groups)} groups). It mixes {len(lonely) - within} of them by the other "
                    f"strategy and {within} within the group, which breaks no shortcut. Compare "
                    "with baseline=rwg."
                )
        return partners


def qualified_partners(
    groups: NDArray[np.int64], num_groups: int, num_attributes: int
) -> NDArray[np.bool_]:
    """(2, G, G) whether two groups share what a strategy wants shared, and nothing more.

    Args:
        groups: (P,) those with images; no other is a partner or has one.
        num_groups, num_attributes: G = K A, group id = class A + attribute.
    """
    y, a = np.divmod(np.arange(num_groups), num_attributes)
    same_y, same_a = y[:, None] == y, a[:, None] == a
    present = np.isin(np.arange(num_groups), groups)
    both = present[:, None] & present
    return np.stack([both & same_y & ~same_a, both & same_a & ~same_y])


class Pairs:
    """Draws ``size`` anchors and then their partners, all with one strategy a step.

    Args:
        table: what to draw from; within a group by :func:`~aspire.baselines.rwg.weights_within`.
        groups: (P,) those that have rows, drawn evenly for the anchors.
        partners: (2, G, G) whether the second group is a partner of the first, by strategy; at
            least one for every group with rows.
        intra_label: probability of the strategy ``LABEL``.
        size: pairs a step.
    """

    def __init__(
        self,
        table: ImageTable,
        groups: NDArray[np.int64],
        partners: NDArray[np.bool_],
        intra_label: float,
        size: int,
    ) -> None:
        self.groups = groups
        self.partners = partners
        self.intra_label = intra_label
        self.size = size
        weight = weights_within(table)
        rows = np.flatnonzero(weight > 0)
        self.rows = rows[np.argsort(table.group[rows], kind="stable")]
        self.mass = np.concatenate([[0.0], np.cumsum(weight[self.rows])])  # up to each row
        counts = np.bincount(table.group[rows], minlength=partners.shape[1])
        self.end = np.cumsum(counts)
        self.start = self.end - counts

    def __call__(self, rng: np.random.Generator, step: int) -> NDArray[np.int64]:
        """(2 size,) rows; ``i`` and ``i + size`` are a pair."""
        strategy = LABEL if rng.random() < self.intra_label else DOMAIN
        anchor = rng.choice(self.groups, self.size)
        eligible = self.partners[strategy, anchor]  # (size, G)
        partner = np.where(eligible, rng.random(eligible.shape), -1).argmax(axis=1)
        return self._rows_of(np.concatenate([anchor, partner]), rng)

    def _rows_of(self, group: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """A row of each of these groups, in proportion to the rows' weights."""
        start, end = self.start[group], self.end[group]
        low, high = self.mass[start], self.mass[end]
        place = low + rng.random(len(group)) * (high - low)
        index = np.searchsorted(self.mass, place, side="right") - 1
        # rounding may step over the edge
        rows: NDArray[np.int64] = self.rows[np.clip(index, start, end - 1)]
        return rows


def paste(a: Tensor, b: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Images ``a`` with a box of ``b``, and the share of ``a`` that is left.

    The box has about ``1 - share`` of the area and its centre anywhere, so the edge of the image
    may cut it; the share that comes back is the true one.

    Args:
        a, b: (B, 3, H, W).
        share: (B,) in [0, 1], on the CPU.

    Returns:
        (B, 3, H, W), and (B,) on the CPU.
    """
    side = (1 - share).sqrt()
    rows, columns = (_intervals(side, length) for length in a.shape[2:])
    left = 1 - rows.double().mean(1) * columns.double().mean(1)
    box = rows.to(a.device)[:, :, None] & columns.to(a.device)[:, None]
    return torch.where(box[:, None], b, a), left


def _intervals(side: Tensor, length: int) -> Tensor:
    """(B, length) bool: a run of about ``side * length`` places around a random one, cut off."""
    centre = torch.randint(length, side.shape)[:, None]  # on the CPU: all devices cut alike
    half = ((side * length).long() // 2)[:, None]
    place = torch.arange(length)
    return (place >= centre - half) & (place < centre + half)
