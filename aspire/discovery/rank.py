"""From the effects of single edits to ranked spurious features of each class."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from aspire.pipeline.records import EditKind, Effect, SpuriousFeature


def wilson_lower(successes: int, trials: int, z: float = 1.96) -> float:
    """Lower end of the Wilson score interval of a rate (Wilson 1927).

    Args:
        successes, trials: counts.
        z: normal quantile; 1.96 for 95 %.

    >>> round(wilson_lower(1, 1), 3), round(wilson_lower(50, 100), 3), wilson_lower(0, 0)
    (0.207, 0.404, 0.0)
    """
    if trials == 0:
        return 0.0
    p = successes / trials
    centre = p + z * z / (2 * trials)
    spread = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    return max(0.0, (centre - spread) / (1 + z * z / trials))


def rank_features(
    y: int,
    effects: Sequence[Effect],
    min_support: int,
    min_flip_rate: float,
    examples: int = 6,
) -> list[SpuriousFeature]:
    """The features of one class, strongest first.

    A phrase's score is the lower end of the Wilson interval of its flip rate: it is high only when
    the classifier changes its mind often *and* on enough images. Ties go to the larger mean drop.

    Args:
        y: the class.
        effects: of edits of that class's correctly classified images.
        min_support: edits a phrase needs to be called spurious.
        min_flip_rate: flips per edit a phrase needs to be called spurious, in [0, 1].
        examples: edit ids kept with each feature.
    """
    by_phrase: dict[tuple[EditKind, str], list[Effect]] = defaultdict(list)
    for effect in effects:
        by_phrase[effect.kind, effect.phrase].append(effect)
    rows = []
    for (kind, phrase), group in by_phrase.items():
        flips = sum(e.flipped for e in group)
        drop = sum(e.drop for e in group) / len(group)
        rows.append((wilson_lower(flips, len(group)), drop, kind, phrase, flips, group))
    rows.sort(key=lambda r: (-r[0], -r[1], r[3], r[2]))
    return [
        SpuriousFeature(
            feature_id=f"{y:03d}/{rank:04d}",
            y=y,
            rank=rank,
            kind=kind,
            phrase=phrase,
            support=len(group),
            flips=flips,
            flip_rate=round(flips / len(group), 6),
            score=round(score, 6),
            mean_drop=round(drop, 6),
            spurious=len(group) >= min_support
            and flips > 0
            and flips / len(group) >= min_flip_rate,
            examples=tuple(
                e.edit_id for e in sorted(group, key=lambda e: (-e.drop, e.edit_id))[:examples]
            ),
        )
        for rank, (score, drop, kind, phrase, flips, group) in enumerate(rows, start=1)
    ]
