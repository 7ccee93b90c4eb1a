"""Whose losses are the hardest half? The groups that CVaR's weight falls on while it trains.

    python experiments/baselines/hardest.py seed=0,1,2 baseline.alpha=0.5,1.0

Trains CVaR DRO on mini_waterbirds as the table does, with the groups told to nobody but the
counter; alpha 1 is ERM from the same first weights and batches. Prints for each third of the
training the share of every group in the batches, in the weight, and in the gradient of the loss
by the logits (weight times one minus the probability of the true class), and how much of a whole
batch's gradient comes from its hardest half. What is finished is not run again.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from aspire.baselines.base import Needs, RunContext, StepOutput
from aspire.baselines.cvardro import CVaRDRO, CVaRLoss
from aspire.classification.classifier import Classifier
from aspire.cli import main
from aspire.data.datamodule import Batch

OUTPUTS = Path(os.environ.get("ASPIRE_OUTPUTS", "outputs"))
PARTS = 3


class CountedLoss(CVaRLoss):
    """The same loss; for each step the sums by group, (3, G), and the share of the hardest half."""

    def __init__(self, alpha: float, num_groups: int) -> None:
        super().__init__(alpha)
        self.num_groups = num_groups
        self.sums: list[np.ndarray] = []
        self.halves: list[float] = []

    def forward(self, net: Classifier, batch: Batch) -> StepOutput:
        out = super().forward(net, batch)
        losses = F.cross_entropy(out.logits.detach(), batch.y, reduction="none")
        rank = losses.argsort(descending=True).argsort()
        size = self.alpha * len(losses)
        weight = (size - rank).clamp(0, 1) / size
        off = -torch.expm1(-losses)  # one minus the probability of the true class
        sums = torch.zeros(3, self.num_groups)
        for row, value in enumerate((torch.ones_like(weight), weight, weight * off)):
            sums[row].index_add_(0, batch.group, value)
        self.sums.append(sums.numpy())
        self.halves.append(float(off[rank < len(off) / 2].sum() / off.sum()))
        return out


class CountedCVaR(CVaRDRO):
    """CVaR DRO that keeps a count of the groups."""

    needs: ClassVar[Needs] = Needs(train_groups=True)

    def run(self, ctx: RunContext) -> Classifier:
        loss = CountedLoss(self.alpha, ctx.info.num_groups)
        net = ctx.fit("train", loss)
        parts = np.array_split(np.array(loss.sums), PARTS)
        shares = [p.sum(0) / p.sum((0, 2))[:, None] for p in parts]
        halves = [float(np.mean(part)) for part in np.array_split(loss.halves, PARTS)]
        ctx.record(shares=np.array(shares).tolist(), hardest_half=halves)
        return net


if __name__ == "__main__":
    words = ["baseline=cvardro", "baseline._target_=__main__.CountedCVaR", "hparams=mini"]
    words += ["logger=none", f"paths.outputs={(OUTPUTS / 'hardest').resolve()}", *sys.argv[1:]]
    assert main(["train", "-m", *words]) == 0
    found: dict[float, list[dict[str, Any]]] = defaultdict(list)
    for path in (OUTPUTS / "hardest").glob("train/*/cvardro/*/*/result.json"):
        result = json.loads(path.read_text())
        found[result["identity"]["baseline"]["alpha"]].append(result)
    for alpha, results in sorted(found.items()):
        shares = 100 * np.mean([r["method"]["shares"] for r in results], axis=0)  # (PARTS, 3, G)
        worst = [100 * r["metrics"]["test"]["worst_group_acc"] for r in results]
        half = 100 * np.mean([r["method"]["hardest_half"] for r in results], axis=0)
        print(f"\nalpha {alpha}, {len(results)} seeds: worst group {np.mean(worst):.1f} %")
        print("gradient from the hardest half, %: " + ", ".join(f"{v:.1f}" for v in half))
        print("| group | % of the images | of the weight | of the gradient |\n|---|---|---|---|")
        for group, name in enumerate(results[0]["group_counts"]["train"]):
            cells = [", ".join(f"{v:.1f}" for v in shares[:, k, group]) for k in range(3)]
            print(f"| {name} | {' | '.join(cells)} |")
