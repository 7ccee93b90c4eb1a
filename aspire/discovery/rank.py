"""From the effects of single edits to ranked features of each class."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from aspire.discovery.base import Candidate, Evidence, Score, Verdict
from aspire.discovery.wilson import wilson_interval
from aspire.records import EditKind, Effect, Extraction, SpuriousFeature

EXAMPLES = 6  # edit ids kept with each feature


def gather(
    effects: Iterable[Effect],
    right: Iterable[tuple[int, Extraction]],
    wrong: Iterable[tuple[int, Extraction]],
    collapsed: Mapping[str, str],
) -> tuple[Candidate, ...]:
    """Every collapsed phrase of every class, in a fixed order.

    Args:
        effects: of all edits.
        right, wrong: class and phrases of the images the classifier was asked about, by its answer.
        collapsed: phrase -> the one it is counted under.
    """
    found: dict[tuple[int, str, EditKind], list[Effect]] = defaultdict(list)
    occurrences: dict[tuple[int, str, EditKind], Counter[str]] = defaultdict(Counter)
    for effect in effects:
        found[effect.y, collapsed[effect.phrase], effect.kind].append(effect)
    for y, extraction in right:
        for kind, phrase in phrases_of(extraction):
            occurrences[y, collapsed[phrase], kind][phrase] += 1
    shown = {(y, collapsed[phrase], kind) for y, e in wrong for kind, phrase in phrases_of(e)}
    return tuple(
        Candidate(
            y=y,
            kind=kind,
            phrase=phrase,
            effects=tuple(sorted(found[y, phrase, kind], key=lambda e: e.edit_id)),
            occurrences=dict(occurrences[y, phrase, kind]),
        )
        for y, phrase, kind in sorted({*found, *occurrences, *shown})
    )


def phrases_of(extraction: Extraction) -> list[tuple[EditKind, str]]:
    """What is edited away for each phrase, and the phrase."""
    phrases: list[tuple[EditKind, str]] = [("remove_object", p) for p in extraction.foreground]
    if extraction.background is not None:
        phrases.append(("change_background", extraction.background))
    return phrases


def rank_features(evidence: Evidence, score: Score) -> list[SpuriousFeature]:
    """The features of all classes, within a class strongest first.

    What passed the score's thresholds comes before what did not, and where a score tests, what
    was tested before what was not; then the higher score, the larger mean drop, the alphabet.
    """
    judged: dict[int, list[tuple[Candidate, Verdict]]] = defaultdict(list)
    for candidate, verdict in zip(evidence.candidates, score.judge(evidence), strict=True):
        if verdict is not None:
            judged[candidate.y].append((candidate, verdict))
    features = []
    for _, rows in sorted(judged.items()):
        rows.sort(
            key=lambda r: (
                not r[1].spurious, r[1].p_value is None, -r[1].score, -r[0].mean_drop,
                r[0].phrase, r[0].kind,
            )
        )  # fmt: skip
        features += [_feature(c, v, rank) for rank, (c, v) in enumerate(rows, start=1)]
    return features


def _feature(candidate: Candidate, verdict: Verdict, rank: int) -> SpuriousFeature:
    effects = candidate.effects
    support = len(effects)
    controls = [e for e in effects if e.p_control is not None]
    low, high = wilson_interval(candidate.flips, support)
    return SpuriousFeature(
        feature_id=f"{candidate.y:03d}/{rank:04d}",
        y=candidate.y,
        rank=rank,
        kind=candidate.kind,
        phrase=candidate.phrase,
        members=tuple(sorted({*candidate.occurrences, *(e.phrase for e in effects)})),
        support=support,
        donors=candidate.donors,
        flips=candidate.flips,
        flip_rate=round(candidate.flips / max(1, support), 6),
        interval=(round(low, 6), round(high, 6)),
        mean_drop=round(candidate.mean_drop, 6),
        controls=len(controls),
        control_rate=_mean([float(e.predicted_control != e.y) for e in controls]),
        control_drop=_mean([e.p_before - e.p_control for e in controls if e.p_control is not None]),
        score=round(verdict.score, 6),
        p_value=_rounded(verdict.p_value),
        q_value=_rounded(verdict.q_value),
        spurious=verdict.spurious,
        examples=tuple(
            e.edit_id for e in sorted(effects, key=lambda e: (-e.drop, e.edit_id))[:EXAMPLES]
        ),
    )


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 6) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
