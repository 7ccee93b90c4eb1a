"""One spelling per phrase, and the test whether a phrase names the class object. No model."""

from __future__ import annotations

import re
from collections.abc import Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words in front of a phrase that say which or how many, not what.
_LEADING = _words(
    """a an the this that these those some any each every another both all no other
    its his her their my our your
    one two three four five six seven eight nine ten eleven twelve
    few several many multiple various dozen"""
)
_QUANTITIES = _words("couple lot lots dozens")  # only with "of": "a couple" is two people
_NUMERAL = re.compile(r"\d+(?:[.,]\d+)*")
_EDGE = " \t\r\n.,;:!?\"'()[]-"

_IRREGULAR = {
    "leaves": "leaf", "people": "person", "men": "man", "women": "woman", "children": "child",
    "geese": "goose", "mice": "mouse", "feet": "foot", "teeth": "tooth", "wolves": "wolf",
    "shelves": "shelf", "calves": "calf", "knives": "knife", "loaves": "loaf", "oxen": "ox",
    "groomsmen": "groomsman", "fishermen": "fisherman",
}  # fmt: skip
_INVARIANT = _words(
    """bus gas lens species series glasses sunglasses binoculars scissors trousers pants jeans
    headphones always news woods canvas christmas"""
)
_MIN_SUFFIX = 3  # shorter words end too many others by chance


def normalise(phrase: str) -> str:
    """The spelling under which equal phrases are counted together.

    Lower case, no articles, determiners, possessives or numerals in front, no punctuation at
    the ends, single spaces. The number of the head stays as it is: without a model singular and
    plural cannot be told apart reliably ("glasses", "woods"), and annotated objects and scenes
    are looked up by the phrase as the caption spells it.

    >>> normalise(" The  two Grassy   Fields. ")
    'grassy fields'
    """
    words = phrase.lower().strip(_EDGE).split()
    while words:
        if words[0] in _QUANTITIES and words[1:2] == ["of"]:
            del words[:2]
        elif (
            words[0].strip(_EDGE) in _LEADING
            or _NUMERAL.fullmatch(words[0])
            or words[0].endswith(("'s", "s'", "\u2019s"))
        ):
            del words[0]
        else:
            break
    return " ".join(words).strip(_EDGE)


def singular(word: str) -> str:
    """The singular by spelling alone, for comparing words; unknown shapes stay as they are.

    >>> [singular(w) for w in ("dogs", "bushes", "leaves", "grass", "ponies")]
    ['dog', 'bush', 'leaf', 'grass', 'pony']
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _INVARIANT or len(word) <= _MIN_SUFFIX or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("shes", "ches", "xes", "sses", "zes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") else word


def head(phrase: str) -> str:
    """The head noun of an English noun phrase without complements: its last word."""
    words = phrase.split()
    return words[-1] if words else ""


def head_matches(head: str, words: Sequence[str]) -> bool:
    """Whether a head noun names the class object.

    Equal up to number, or one ends with the other, as kinds do in English: "bulldog" is a
    "dog", and "bird" in a caption is the "waterbird" of the class.

    Args:
        head: the last word of a phrase, in lower case.
        words: lower-case words for the class object; of several words the last counts.
    """
    given = singular(head)
    for word in words:
        name = singular(word.split()[-1]) if word.split() else ""
        short, long = sorted((given, name), key=len)
        if given == name != "" or (len(short) >= _MIN_SUFFIX and long.endswith(short)):
            return True
    return False
