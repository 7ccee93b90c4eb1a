"""Plain words for what the records say in one: reasons, scores and verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aspire.records import SpuriousFeature

KINDS = {"change_background": "scene changed", "remove_object": "object removed"}

REASONS = {
    "no_caption": "there is no caption for it",
    "no_background": "the caption names no scene; its objects are still looked at",
    "no_concept": "nothing that goes along with a class was seen in it",
    "unreadable": "the answer of the language model could not be read",
    "no_box": "nothing like it was found in the image",
    "low_score": "found, but not surely enough",
    "mask_too_large": "removing it would have changed too much of the image",
    "empty_mask": "no pixel of it could be removed",
    "no_object_mask": "the class object was not found, so nothing could be kept",
    "no_donor": "no other image shows the new scene",
    "failed": "a backend broke down on this image",
    "misclassified": "the classifier was wrong before any edit",
    "no_spurious_feature": "nothing passed the thresholds",
    "only_scenes": "its shortcuts are scenes, which do not change places",
    "no_edit": "no edit left an image without the shortcuts",
    "no_context": "no training image shows a scene without the shortcuts",
    "object_covered": "what was put there would have hidden the class object",
    "near_uniform": "shows almost one colour",
    "duplicate": "looks the same as an image made before it",
    "low_confidence": "the classifier does not take the object for its class at all",
    "classifier_feature": "the classifier knows the class without seeing its object",
    "person": "a person dropped it",
    "real_distance": "a copy of a training image, or like none of them",
}

# What each score measures, by the name of its file in conf/score/.
SCORES = {
    "effect": "lower end of the 95 % interval of the mean net drop (the fall in the probability of "
    "the class, less that under a control), over donors: edits that show one donor count as one",
    "wilson": "lower end of the 95 % Wilson interval of the flip rate",
    "rate": "flip rate over all edits of the phrase",
    "official": "sum of the flip rates over the spellings of the phrase, as in the paper's code",
    "b2t": "how much more the phrase fits wrongly than rightly classified images, by CLIP",
}

# A threshold of a score -> whether a feature passes it, and what that means in words.
Check = Callable[[SpuriousFeature, Any], tuple[bool, str, str]]


def _min_support(f: SpuriousFeature, least: Any) -> tuple[bool, str, str]:
    short = f"too few edits to judge: {f.support}, at least {least} needed"
    return f.support >= least, f"{f.support} edits", short


def _min_donors(f: SpuriousFeature, least: Any) -> tuple[bool, str, str]:
    if f.donors is None:  # nothing that edits could share
        return True, "", ""
    short = (
        f"{counted(f.donors, 'donor')}, at least {least} needed: more photographs of other scenes "
        "would help"
    )
    return f.donors >= least, counted(f.donors, "donor"), short


def _max_q(f: SpuriousFeature, most: Any) -> tuple[bool, str, str]:
    if f.q_value is None:
        return False, "", "too few edits with a control to tell it from chance"
    value = number(f.q_value)
    return f.q_value <= most, f"hardly chance (q {value})", f"may be chance (q {value})"


def _min_effect(f: SpuriousFeature, least: Any) -> tuple[bool, str, str]:
    hundredths = math.floor(100 * f.score + 1e-9)  # rounded up, 0.046 would not be below 0.05
    value = f"net drop at least {hundredths / 100:.2f}"
    return f.score >= least, f"{value} ({least} needed)", f"{value}, below {least}"


def _min_flip_rate(f: SpuriousFeature, least: Any) -> tuple[bool, str, str]:
    value = f"{f.flips} of {f.support} flip"
    return f.flip_rate >= least, value, f"{value}, at least {100 * least:.0f} % needed"


CHECKS: Mapping[str, Check] = {
    "min_support": _min_support,
    "min_donors": _min_donors,
    "max_q": _max_q,
    "min_effect": _min_effect,
    "min_flip_rate": _min_flip_rate,
}


def why(feature: SpuriousFeature, score: Mapping[str, Any]) -> str:
    """Why a feature is called a shortcut, or is not, after the thresholds of the score.

    Args:
        feature: with its evidence.
        score: settings of the score; those that are no threshold are passed over.
    """
    checks = [CHECKS[k](feature, v) for k, v in score.items() if k in CHECKS]
    if feature.spurious:
        return ", ".join(yes for ok, yes, _ in checks if ok and yes) or "taken by the score's rule"
    return next((no for passed, _, no in checks if not passed), "left out by the score's rule")


def passes(feature: SpuriousFeature, score: Mapping[str, Any]) -> bool:
    """Whether it passes every threshold of the score."""
    return all(CHECKS[k](feature, v)[0] for k, v in score.items() if k in CHECKS)


def judged(feature: SpuriousFeature, score: Mapping[str, Any]) -> bool:
    """Whether there was enough evidence to judge it, be it for or against.

    Args:
        feature, score: as in :func:`why`.
    """
    enough = feature.support >= score.get("min_support", 1)
    return enough and ("max_q" not in score or feature.q_value is not None)


def counted(n: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "donor"), counted(2, "donor")
    ('1 donor', '2 donors')
    """
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def number(value: float) -> str:
    """A p- or q-value: two digits, never 0.

    >>> number(0.0412), number(0.0), number(0.5), number(0.00012)
    ('0.041', '< 0.0001', '0.5', '0.00012')
    """
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def listed(items: Sequence[str], most: int = 5) -> str:
    """The first items in quotes, and how many more there are.

    >>> listed(["a", "b", "c"], 2)
    '“a”, “b” and 1 more'
    >>> listed(["a", "b", "c"])
    '“a”, “b” and “c”'
    """
    return joined([f"“{i}”" for i in items], most)


def joined(items: Sequence[str], most: int = 5) -> str:
    """The same without quotes."""
    words = [*items[:most]]
    if len(items) > most:
        words.append(f"{len(items) - most} more")
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def evidence_of(feature: SpuriousFeature, name: str) -> str:
    """One sentence about one feature that a reader without the method understands."""
    gone = (
        f"putting the {name} in another scene than “{feature.phrase}”"
        if feature.kind == "change_background"
        else f"removing “{feature.phrase}” and keeping the {name}"
    )
    if feature.flips:
        text = f"{gone} changed the answer in {feature.flips} of {feature.support} pictures"
        if feature.donors is not None:
            text += f" with scenes from {counted(feature.donors, 'donor')}"
        if feature.control_rate is not None:
            flips = round(feature.control_rate * feature.controls)
            text += f" (a control change that leaves it in place: {flips} of {feature.controls})"
        return text
    drop = feature.mean_drop
    return f"{gone} lowered the classifier's probability by {drop:.2f} on average"


def agreement_of(truth: Mapping[str, Any]) -> str:
    """How well the first phrases name the annotated shortcut, from an entry of ``truth``.

    >>> agreement_of({"precision": {"1": 1.0, "3": 2 / 3}, "recall": {"1": 0.2, "3": 0.4}})
    'the first phrase names it; 67 % of the first 3 do, which are 40 % of all that do'
    """
    first = "names it" if truth["precision"].get("1") else "does not name it"
    more = [
        f"{share:.0%} of the first {k} do, which are {truth['recall'][k]:.0%} of all that do"
        for k, share in truth["precision"].items()
        if k != "1"
    ]
    return "; ".join([f"the first phrase {first}", *more]).replace("%", " %")
