"""What ImageNet's thousand classes are called, what they are kinds of, and which stand for a place.

Read from ``imagenet.txt``, whose hypernyms are WordNet's; nothing is looked up at run time.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from aspire.language.phrases import normalise, singular

SIZE = 1000  # classes
_LINE = re.compile(
    r"(?P<depth>\t*)(?:(?P<number>\d+): )?(?P<names>[^=@]+?)(?: = (?P<word>[^=@]+?))?"
    r"(?: @ (?P<place>.+))?"
)


@dataclass(frozen=True)
class Thousand:
    """The table.

    Args:
        words: what captions call each class: (1000,).
        places: place -> classes that stand for it.
        named: name in lower case -> the classes below it.
        digest: of the table.
    """

    words: tuple[str, ...]
    places: dict[str, tuple[int, ...]]
    named: dict[str, frozenset[int]]
    digest: str

    @property
    def animals(self) -> frozenset[int]:
        """All animals."""
        return self.named["animal"]

    def called(self, word: str) -> frozenset[int]:
        """The classes that captions call so."""
        return frozenset(i for i, w in enumerate(self.words) if w == word)

    def things(self) -> dict[str, list[int]]:
        """Every word of captions, with its classes."""
        found: dict[str, list[int]] = defaultdict(list)
        for number, word in enumerate(self.words):
            found[word].append(number)
        return dict(found)

    def of_phrase(self, phrase: str) -> frozenset[int]:
        """The classes that a phrase names: by all of it, or by its last words.

        >>> table = thousand()
        >>> sorted(table.of_phrase("two old zebras")), table.of_phrase("giraffe")
        ([340], frozenset())
        >>> 402 in table.of_phrase("guitars"), 281 in table.of_phrase("a cat")
        (True, True)
        """
        words = normalise(phrase.replace("_", " ")).split()
        for start in range(len(words)):
            name = " ".join([*words[start:-1], singular(words[-1])])
            as_spelt = " ".join(words[start:])
            called = self.called(as_spelt) or self.called(name)
            found = self.named.get(as_spelt, frozenset()) | self.named.get(name, frozenset())
            if found or called:
                return found | called
        return frozenset()

    def relatives(self, class_words: Sequence[str]) -> frozenset[int]:
        """The classes that any of the words names, and all that captions call the same.

        A collie is a dog like a bulldog, as far as a caption goes.

        >>> relatives = thousand().relatives(["american_bulldog"])
        >>> 151 in relatives, 268 in relatives, 281 in relatives  # chihuahua, hairless dog, tabby
        (True, True, False)
        """
        own = frozenset().union(*(self.of_phrase(word) for word in class_words))
        same = {self.words[i] for i in own}
        return own | {i for i, word in enumerate(self.words) if word in same}


@cache
def thousand() -> Thousand:
    """The table, read once."""
    data = resources.files("aspire.language").joinpath("imagenet.txt").read_bytes()
    words, places = [""] * SIZE, defaultdict(list)
    named: dict[str, set[int]] = defaultdict(set)
    above: list[tuple[list[str], str]] = []  # names and word of each line that this one is under
    for line in data.decode().splitlines():
        match = _LINE.fullmatch(line)
        if line.startswith("#") or match is None:
            continue
        del above[len(match["depth"]) :]
        names = [name.lower() for name in match["names"].split(", ")]
        inherited = above[-1][1] if above else ""
        above.append((names, match["word"] or inherited))
        if match["number"]:
            number = int(match["number"])
            words[number] = above[-1][1] or names[0]
            for known, _ in above:
                for name in known:
                    named[name].add(number)
            if match["place"]:
                places[match["place"]].append(number)
    return Thousand(
        tuple(words),
        {place: tuple(sorted(numbers)) for place, numbers in places.items()},
        {name: frozenset(numbers) for name, numbers in named.items()},
        hashlib.sha256(data).hexdigest()[:16],
    )
