"""How well the ranked features name the shortcut, where the shortcut is annotated.

What is true is not written down by hand but follows from the annotation. A phrase *names* an
attribute when the images whose caption holds it have that attribute, whatever their class: its odds
under the attribute are at least ``MIN_ODDS`` times those otherwise, as estimated by Mantel and
Haenszel (1959) over the classes as strata, with the lower end of the 95 % interval (Robins,
Breslow and Greenland 1986) above 1. Within the strata the correlation of class and attribute plays
no part, so that a word for the class itself does not count.

The true spurious features of a class are the phrases that name its shortcut: of all attributes the
one whose share in training most exceeds its share in the other classes, if it is at least
``MIN_RATIO`` times as frequent there. Else it is hardly evidence for the class: of CelebA's blond
people 94 % are women, but so are 52 % of the others; what gives a class away there is being a man,
8 times as frequent among the dark-haired. Where every class has a cue of its own
(``Dataset.own_cue``, as in Hard ImageNet) that is its shortcut, and only its own images are looked
at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aspire.data.table import Dataset, Split
from aspire.records import SpuriousFeature

MIN_ODDS = 3.0
MIN_RATIO = 2.0  # of an attribute's share in a class to its share outside
MIN_IMAGES = 5  # that hold a phrase
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """Precision and recall of the features of one class.

    Args:
        y: the class.
        attribute: name of its true shortcut.
        true: the phrases that name it and were ranked.
        precision: k -> share of the first k features that name it; k ends with the features.
        recall: k -> share of ``true`` among the first k.
    """

    y: int
    attribute: str
    true: frozenset[str]
    precision: Mapping[int, float]
    recall: Mapping[int, float]


def agreement(
    dataset: Dataset,
    phrases: Mapping[str, frozenset[str]],
    features: Sequence[SpuriousFeature],
    ks: Sequence[int] = (1, 3, 5),
) -> list[Agreement]:
    """One entry for each class whose shortcut is known; none where attributes are not annotated.

    Args:
        dataset: with its annotated attributes.
        phrases: img_id -> phrases of the image, collapsed.
        features: ranked, of all classes.
        ks: how many features are looked at.
    """
    train = dataset.split(Split.TRAIN)
    train = train[train["place"] >= 0]
    classes = len(dataset.class_names)
    own = dataset.own_cue
    if own is None:
        true = shortcuts(train["y"].to_numpy(), train["place"].to_numpy(), classes)
    else:
        true = {c: own for c in range(classes) if (train["y"] == c).any()}
    rows = dataset.table[dataset.table["place"] >= 0]
    rows = rows[rows["img_id"].isin(list(phrases))]
    y, place = rows["y"].to_numpy(), rows["place"].to_numpy()
    held = [phrases[i] for i in rows["img_id"]]
    found = []
    for c, attribute in sorted(true.items()):
        looked = np.full(len(y), True) if own is None else y == c
        ranked = sorted((f for f in features if f.y == c), key=lambda f: f.rank)
        names = {
            p for p in {f.phrase for f in ranked}
            if names_attribute(
                np.array([p in h for h in held], bool)[looked],
                (place == attribute)[looked],
                y[looked],
            )
        }  # fmt: skip
        if not ranked or not names:
            continue
        hits = [f.phrase in names for f in ranked]
        reached = {k: {f.phrase for f in ranked[:k]} & names for k in ks}
        found.append(
            Agreement(
                y=c,
                attribute=dataset.attribute_names[attribute],
                true=frozenset(names),
                precision={k: sum(hits[:k]) / len(hits[:k]) for k in ks},
                recall={k: len(reached[k]) / len(names) for k in ks},
            )
        )
    return found


def shortcuts(
    y: npt.NDArray[np.int64], place: npt.NDArray[np.int64], num_classes: int
) -> dict[int, int]:
    """Class -> the attribute that is its shortcut, if it has one.

    >>> shortcuts(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 0]), 2)
    {0: 0, 1: 1}
    >>> shortcuts(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), 2)  # balanced
    {}
    >>> sex = [0] * 52 + [1] * 48 + [0] * 94 + [1] * 6  # of 100 dark and 100 blond people
    >>> shortcuts(np.repeat([0, 1], 100), np.array(sex), 2)
    {0: 1}
    """
    found = {}
    for c in range(num_classes):
        inside, outside = place[y == c], place[y != c]
        if not len(inside) or not len(outside):
            continue
        counts = (np.bincount(part, minlength=int(place.max()) + 1) for part in (inside, outside))
        here, there = (n / n.sum() for n in counts)
        attribute = int((here - there).argmax())
        if here[attribute] > 0 and here[attribute] >= MIN_RATIO * there[attribute]:
            found[c] = attribute
    return found


def names_attribute(held: Flags, has: Flags, y: npt.NDArray[np.int64]) -> bool:
    """Whether a phrase names an attribute; see the top of this file.

    Args:
        held: (N,) whether an image's caption holds the phrase.
        has: (N,) whether the image has the attribute.
        y: (N,) classes, the strata.
    """
    if held.sum() < MIN_IMAGES:
        return False
    r = s = pr = qs = both = 0.0
    for c in np.unique(y):
        h, a = held[y == c], has[y == c]
        n = len(h)
        with_both, neither = float((h & a).sum()), float((~h & ~a).sum())
        only_held, only_has = float((h & ~a).sum()), float((~h & a).sum())
        ri, si = with_both * neither / n, only_held * only_has / n
        pi, qi = (with_both + neither) / n, (only_held + only_has) / n
        r, s = r + ri, s + si
        pr, qs, both = pr + pi * ri, qs + qi * si, both + pi * si + qi * ri
    if r == 0 or s == 0:  # no stratum where both attributes occur, or a perfect split
        return r > 0
    variance = pr / (2 * r * r) + both / (2 * r * s) + qs / (2 * s * s)
    odds = r / s
    return odds >= MIN_ODDS and math.log(odds) - 1.96 * math.sqrt(variance) > 0
