"""How classes are called in a sentence, where their names are no words: "landbird", "not_blond"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """What to say for a class.

    Args:
        noun: what its object is, for a model that learns what is special about it: "bird".
        own: words that say which class it is, for a model that does not: "owl", "jay".
    """

    noun: str
    own: tuple[str, ...]

    @classmethod
    def of_name(cls, name: str) -> Wording:
        """The name itself, as words."""
        said = name.lower().replace("_", " ")
        return cls(said, (said,))


def wordings(
    class_names: Sequence[str], class_words: Sequence[Sequence[str]] | None = None
) -> tuple[Wording, ...]:
    """What to say for each class of a dataset.

    A name that is one of the class's own words is said as it is. Otherwise the noun is a word that
    all classes share, and a class's own words are those that no other class has.

    Args:
        class_names, class_words: of the dataset; the latter None where the names are words.

    >>> wordings(["landbird", "waterbird"], [["bird", "owl"], ["bird", "duck", "swan"]])[1]
    Wording(noun='bird', own=('duck', 'swan'))
    >>> wordings(["dog_sled"])[0].noun
    'dog sled'
    """
    lists = [tuple(dict.fromkeys(w.lower() for w in words)) for words in class_words or ()]
    found = []
    for y, name in enumerate(class_names):
        plain = Wording.of_name(name)
        words = lists[y] if lists else ()
        if not words or plain.noun in words:
            found.append(plain)
            continue
        others = [w for i, words_of in enumerate(lists) if i != y for w in words_of]
        shared = [w for w in words if all(w in words_of for words_of in lists)]
        own = tuple(w for w in words if w not in others)
        found.append(Wording((shared or words)[0], own or words))
    return tuple(found)
