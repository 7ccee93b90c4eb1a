"""DFR: keep the features of ERM and fit the last layer again on group-balanced images.

Source: Kirichenko et al., "Last Layer Re-Training is Sufficient for Robustness to Spurious
Correlations", ICLR 2023, section 4 and appendix B (DFR Tr-Val and Tr-Tr): logistic regression with
an l1 penalty on standardised features, its strength tuned on a split of the balanced images, the
final coefficients averaged over fresh balanced subsamples.

Deviations:
- The halves for tuning are drawn within each group and not from the whole split, so that a group
  of few images is in both.
- The scaler is fitted on the images the head is refitted on (the authors' later code) and not on
  train, which spares a pass over train.
- The class weights that the authors' code can also search are left out: they are for two classes,
  and balanced groups make balanced classes where every class has the same groups.
- With more than two classes it is one-vs-rest, which is what the authors' solver does there.
- The base is the ERM checkpoint of the run's selection rule unless ``base_selection`` says
  otherwise; the authors take the last.

The strength is found out on val, which is real. The base learns from the mixture, and so does the
head where it is refitted on train, with generated images in the group of their scene.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from aspire.baselines.base import Needs, RunContext
from aspire.baselines.rwg import weights_within
from aspire.classification.classifier import Classifier
from aspire.data.table import Split
from aspire.errors import ConfigError
from aspire.values import Count, Positives

Floats = NDArray[np.floating[Any]]
Rows = NDArray[np.int64]


class DFR:
    """ERM, then the mean of several l1 logistic regressions in place of its head.

    Args:
        source: split whose images the head is refitted on. "val" needs its groups only; "train"
            needs those of train and judges the strength on val.
        strengths: candidates for C, the inverse strength of the penalty, above 0; of equally good
            ones the first (authors: 1, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01).
        refits: balanced subsamples whose coefficients are averaged, at least 1 (authors: 20 on
            val, 10 on train).
        base_selection: "last" for the last weights of the base (authors), None for those of the
            run's selection rule, which chooses the strength in either case.

    Raises:
        ConfigError: for values out of range.
    """

    needs: ClassVar[Needs] = Needs(val_groups=True)

    def __init__(
        self,
        source: Literal["val", "train"] = "val",
        strengths: Positives = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01),
        refits: Count = 20,
        base_selection: Literal["last"] | None = None,
    ) -> None:
        self.source = source
        self.strengths = tuple(strengths)
        self.refits = refits
        self.base_selection = base_selection
        self.needs = Needs(train_groups=source == "train", val_groups=True)  # type: ignore[misc]

    def run(self, ctx: RunContext) -> Classifier:
        net = ctx.erm(select=self.base_selection)
        split = Split.VAL if self.source == "val" else Split.TRAIN
        table = ctx.table(split)
        pool = _Pool(
            ctx.features(net, split).numpy(),
            table.y,
            table.group,
            None if table.weight is None else weights_within(table),
            ctx.info.num_classes,
        )
        self._check(ctx, pool)
        strength = float(ctx.remember("strength", lambda: self._tune(ctx, net, pool)))
        head = ctx.remember("head", lambda: self._refit(ctx, pool, strength))
        ctx.record(source=self.source, strength=strength, images_per_group=pool.smallest)
        with torch.no_grad():
            net.head.weight.copy_(torch.from_numpy(head[:, :-1]))
            net.head.bias.copy_(torch.from_numpy(head[:, -1]))
        return net

    def _tune(self, ctx: RunContext, net: Classifier, pool: _Pool) -> NDArray[np.float64]:
        """The strength whose head is best on val images that it was not fitted on."""
        rng = ctx.rng("dfr_tune")
        size, judged = pool.smallest, None
        if self.source == "val":
            rows, judged = halves(pool.group, rng)
            seen, size = pool.features[judged], size // 2
        else:
            rows, seen = np.arange(len(pool.y)), ctx.features(net, Split.VAL).numpy()
        chosen, seed = pool.balanced(rows, size, rng), int(rng.integers(2**31))
        scaler = standardiser(pool.features[rows])
        scores = []
        for strength in self.strengths:
            head = pool.fit(chosen, scaler, strength, seed)
            scores.append(ctx.score((seen @ head[:, :-1].T + head[:, -1]).argmax(1), judged))
        return np.array(self.strengths[scores.index(max(scores))])

    def _refit(self, ctx: RunContext, pool: _Pool, strength: float) -> NDArray[np.float64]:
        """(K, D + 1) mean of the heads of several balanced subsamples."""
        rng = ctx.rng("dfr_refit")
        scaler, everything = standardiser(pool.features), np.arange(len(pool.y))
        heads = []
        for _ in range(self.refits):
            chosen = pool.balanced(everything, pool.smallest, rng)
            heads.append(pool.fit(chosen, scaler, strength, int(rng.integers(2**31))))
        return np.asarray(np.mean(heads, axis=0))

    def _check(self, ctx: RunContext, pool: _Pool) -> None:
        """Name what cannot be learnt from these images; stop where nothing can."""
        other = "train" if self.source == "val" else "val"
        counts = np.bincount(pool.group, minlength=ctx.info.num_groups)
        classes = np.unique(pool.y)
        if len(classes) < 2 or counts.max() < 2:
            raise ConfigError(
                f"baseline.source={self.source}: this split has {len(pool.y)} images of "
                f"{len(classes)} classes, at most {counts.max()} of a group; expected two classes "
                f"and two images of some group. Try baseline.source={other}."
            )
        absent = [n for k, n in enumerate(ctx.info.class_names) if k not in classes]
        if absent:
            ctx.warn(
                f"DFR: {self.source} has no image of the class {', '.join(absent)}, so the new "
                f"last layer never predicts it. Try baseline.source={other}."
            )
        names = ctx.info.group_names
        for number, text in (
            (0, "the last layer is not balanced for it"),
            (1, "every refit has that one image, and the other groups are balanced without it"),
        ):
            groups = [names[g] for g in np.flatnonzero(counts == number).tolist()]
            if groups:
                ctx.warn(
                    f"DFR: {self.source} has {number or 'no'} image of the group "
                    f"{', '.join(groups)}: {text}. Try baseline.source={other}."
                )


@dataclass(frozen=True)
class _Pool:
    """Images whose features the head is fitted on.

    Args:
        features: (N, D).
        y, group: (N,); no group is -1.
        weight: (N,) probability of being drawn, or None for all alike.
        num_classes: K.
    """

    features: Floats
    y: Rows
    group: Rows
    weight: NDArray[np.float64] | None
    num_classes: int

    @property
    def smallest(self) -> int:
        """Images of the smallest group that has two."""
        counts = np.bincount(self.group)
        return int(counts[counts >= 2].min())

    def balanced(self, rows: Rows, size: int, rng: np.random.Generator) -> Rows:
        """``size`` of these rows from every group, or all it has; without replacement."""
        chosen = []
        for g in np.unique(self.group[rows]):
            member = rows[self.group[rows] == g]
            p = None if self.weight is None else self.weight[member] / self.weight[member].sum()
            chosen.append(rng.choice(member, min(size, len(member)), replace=False, p=p))
        return np.concatenate(chosen)

    def fit(self, rows: Rows, scaler: tuple[Floats, Floats], strength: float, seed: int) -> Floats:
        """(K, D + 1) coefficients and intercepts for features as they are, not standardised."""
        shift, scale = scaler
        standard = (self.features[rows] - shift) / scale
        head = logistic_head(standard, self.y[rows], strength, self.num_classes, seed)
        return folded(head, shift, scale)


def halves(group: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Rows of two random halves of every group; of an odd number the first has one more."""
    shuffled = rng.permutation(len(group))
    first, second = [], []
    for g in np.unique(group):
        member = shuffled[group[shuffled] == g]
        middle = (len(member) + 1) // 2
        first.append(member[:middle])
        second.append(member[middle:])
    return np.sort(np.concatenate(first)), np.sort(np.concatenate(second))


def standardiser(features: Floats) -> tuple[Floats, Floats]:
    """(D,) mean and (D,) scale; the scale of a feature that does not vary is 1."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features)
    return scaler.mean_, scaler.scale_


def logistic_head(
    features: Floats, y: Rows, strength: float, num_classes: int, seed: int
) -> Floats:
    """L1 logistic regression as a linear layer: (K, D + 1) coefficients, the intercept last.

    Two classes share one regression with the decision value z, as the logits (-z / 2, z / 2); more
    have one each against the rest. A class without images gets logits below those of another.

    Args:
        features: (N, D).
        y: (N,) of two classes at least.
        strength: C.
        num_classes: K.
        seed: of the order in which the solver visits the coordinates.
    """
    classes = np.unique(y)
    if len(classes) == 2:
        row = _regression(features, y == classes[1], strength, seed)
        rows = np.stack([-row / 2, row / 2])
    else:
        rows = np.stack([_regression(features, y == k, strength, seed) for k in classes])
    # The mean of some logits is never above the largest of them.
    head = np.tile(rows.mean(0), (num_classes, 1))
    head[:, -1] -= 1
    head[classes] = rows
    return head


def folded(head: Floats, shift: Floats, scale: Floats) -> Floats:
    """A head for ``(x - shift) / scale`` as one for ``x``, with the same logits."""
    coefficients = head[:, :-1] / scale
    return np.column_stack([coefficients, head[:, -1] - coefficients @ shift])


def _regression(
    features: Floats, positive: NDArray[np.bool_], strength: float, seed: int
) -> Floats:
    """(D + 1,) coefficients and intercept of one l1 logistic regression."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # scikit-learn 1.8 put l1_ratio in the place of penalty.
    old = getattr(LogisticRegression(), "penalty", None) == "l2"
    kind: dict[str, Any] = {"penalty": "l1"} if old else {"l1_ratio": 1.0}
    model = LogisticRegression(
        C=strength, solver="liblinear", max_iter=1000, random_state=seed, **kind
    )
    with warnings.catch_warnings():  # good enough then, and averaged with others
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, positive)
    return np.append(model.coef_[0], model.intercept_[0])
