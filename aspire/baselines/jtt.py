"""JTT: train twice, the second time with the first training's errors upweighted.

Source: Liu et al., "Just Train Twice: Improving Group Robustness without Training Group
Information", ICML 2021, Algorithm 1. Stage 1 is a short ERM; the error set is what it gets wrong
of its own training images; stage 2 starts again on all images, those of the error set upweighted.

Deviations:

- Stage 1 lasts a fraction of the run's steps and not a number of epochs, so that one value serves
  datasets of different sizes.
- An error row is drawn ``upweight`` times as often as another, with replacement; the authors put
  copies of it into the list that they shuffle. The expected batch is the same. Their ``lambda_up``
  counts the copies added, hence ``upweight = lambda_up + 1``. Their epochs go over that longer
  list: with ``enlarged`` stage 2 has as many steps as that takes, without those of the run.
- The error set is of the last weights of stage 1 in evaluation mode, as in Algorithm 1. The
  authors' code takes what the network answers during the last epoch of stage 1, before each update.

Stage 1 and its error set are of the real images alone; stage 2 learns from the mixture, in which
generated images keep their share.
"""

from __future__ import annotations

import math
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
        enlarged: whether stage 2 has the run's number of epochs of the list with its copies, as
            the authors count, in place of the run's steps, which are equal for all arms.

    Raises:
        ConfigError: for a value outside its range.
    """

    needs: ClassVar[Needs] = Needs()

    def __init__(
        self,
        identify: PositiveFraction = 0.2,
        upweight: AtLeastOne = 20.0,
        enlarged: bool = False,
    ) -> None:
        self.identify = identify
        self.upweight = upweight
        self.enlarged = enlarged

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
        if not self.enlarged:
            return ctx.fit("train", CrossEntropy(), sample_weights=weights)
        longer = enlarged_steps(ctx.steps, len(wrong), errors, self.upweight, ctx.batch_size)
        ctx.record(enlarged_steps=longer)
        return ctx.fit("train", CrossEntropy(), sample_weights=weights, steps=longer)


def enlarged_steps(steps: int, images: int, errors: int, upweight: float, batch_size: int) -> int:
    """Steps of as many epochs of the list in which each error stands ``upweight`` times.

    The authors' Waterbirds, 300 epochs of 4,795 images in batches of 64, with 240 errors:

    >>> enlarged_steps(22_500, 4_795, 240, 101, 64)
    135000
    """
    longer = images + (upweight - 1) * errors
    epochs = steps / math.ceil(images / batch_size)
    return round(epochs * math.ceil(longer / batch_size))
