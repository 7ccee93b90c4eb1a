"""JTT: train twice, the second time with the first training's errors upweighted.

Source: Liu et al., "Just Train Twice: Improving Group Robustness without Training Group
Information", ICML 2021, Algorithm 1. Stage 1 is a short ERM; the error set is what it gets wrong
of its own training images; stage 2 starts again on all images, those of the error set upweighted.

Deviations:

- Stage 1 lasts a fraction of the run's steps and not a number of epochs, so that one value serves
  datasets of different sizes.
- An error row is drawn ``upweight`` times as often as another, with replacement; the authors put
  copies of it into the list that they shuffle. The expected batch is the same. Their ``lambda_up``
  counts the copies added, hence ``upweight = lambda_up + 1``.

Stage 1 and its error set are of the real images alone; stage 2 learns from the mixture, in which
generated images keep their share.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aspire.baselines.base import Needs, RunContext
from aspire.baselines.erm import CrossEntropy
from aspire.classification.classifier import Classifier
from aspire.data.table import Split
from aspire.values import AtLeastOne, PositiveFraction


class JTT:
    """A short ERM, then a fit that draws its errors more often.

    Args:
        identify: length of stage 1 as a fraction of the run's steps, in (0, 1] (authors:
            60 of 300 epochs on Waterbirds, 1 of 50 on CelebA).
        upweight: how often an error row is drawn compared with another, at least 1; 1 is ERM
            (authors: 21, 51 or 101, tuned).

    Raises:
        ConfigError: for a value outside its range.
    """

    needs: ClassVar[Needs] = Needs()

    def __init__(self, identify: PositiveFraction = 0.2, upweight: AtLeastOne = 20.0) -> None:
        self.identify = identify
        self.upweight = upweight

    def run(self, ctx: RunContext) -> Classifier:
        if self.upweight == 1:
            return ctx.erm()
        steps = max(1, round(self.identify * ctx.steps))
        real = ctx.real
        first = real.erm(steps=steps, select="last")
        wrong = ctx.remember(
            "errors", lambda: real.predict(first, Split.TRAIN).numpy() != real.train.y
        )
        errors = int(wrong.sum())
        ctx.record(identify_steps=steps, error_images=errors)
        if errors in (0, len(wrong)):
            ctx.warn(
                f"JTT's first stage got {'none' if errors == 0 else 'all'} of the {len(wrong)} "
                f"training images wrong after {steps} steps, so no image counts more than another "
                f"and the result is ERM. Try a {'smaller' if errors == 0 else 'larger'} "
                f"baseline.identify than {self.identify}."
            )
            return ctx.erm()
        weights = ctx.train.reweighted(np.where(wrong, self.upweight, 1.0))
        return ctx.fit("train", CrossEntropy(), sample_weights=weights)
