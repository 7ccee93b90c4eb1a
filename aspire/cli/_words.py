"""Words as they are typed: which are overrides, and how a value is written for Hydra's grammar."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from aspire.checking import is_text, problem_of
from aspire.checking import words as expected
from aspire.errors import ConfigError

PLAIN = re.compile(r"[A-Za-z/_][\w/.-]*")  # needs no quotes
WORDS = ("true", "false", "null", "inf", "nan")  # would be something else without


def quoted(value: Any) -> str:
    r"""A value in the grammar of Hydra's overrides.

    >>> print(quoted("it's"), quoted([1, None]), quoted(True), quoted({"a": "null"}))
    'it\'s' [1,null] true {a:'null'}
    >>> print(quoted("a\\"), quoted("a\\'b"), quoted("${x}"))
    'a\\' 'a\\\'b' '\${x}'
    """
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    if isinstance(value, str):
        plain = value.replace("${", "\\${")  # no reference to another key
        # Backslashes count only before a quote.
        return (
            "'" + re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), plain) + "'"
        )
    if isinstance(value, list):
        return f"[{','.join(quoted(v) for v in value)}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{quoted(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


def for_shell(word: str) -> str:
    """A word in the quotes of a POSIX shell; in double ones where that is enough.

    >>> print(for_shell("a='it'"), for_shell("a='$b'"))
    "a='it'" 'a='"'"'$b'"'"''
    """
    return shlex.quote(word) if re.search(r'["$`!]|\\\\', word) else f'"{word}"'


# Options as other programs have them, and the override that each is short for.
FLAGS = {"--json": "format=json", "--no-browser": "browser=false"}


def with_flags(args: Sequence[str]) -> list[str]:
    """The words with overrides in place of the options that are short for them.

    >>> with_flags(["DIR", "--no-browser", "--port", "80", "--port=81", "--json"])
    ['DIR', 'browser=false', 'port=80', 'port=81', 'format=json']
    """
    words: list[str] = []
    for word in args:
        if words and words[-1] == "--port":
            words[-1] = f"port={word}"
        elif word.startswith("--port="):
            words.append(word.removeprefix("--"))
        else:
            words.append(FLAGS.get(word, word))
    return words


def with_positionals(args: Sequence[str], keys: Sequence[str]) -> list[str]:
    r"""The words with those that stand for keys written as overrides.

    A word with ``=`` stands for a key only where a file or folder of that name is there.

    >>> with_positionals(["it's", "format=md"], ["dir"])
    ["dir='it\\'s'", 'format=md']
    """
    words = list(args)
    for number, key in enumerate(keys[: len(words)]):
        word = words[number]
        if word.startswith("-") or not word or ("=" in word and not Path(word).exists()):
            break
        words[number] = f"{key}={quoted(word)}"
    return words


def parsed_or_none(parser: OverridesParser, word: str) -> Override | None:
    """The override; None where the grammar cannot read it."""
    try:
        return parser.parse_overrides([word])[0]  # which also knows what globs match
    except HydraException:
        return None


def readable(
    words: Sequence[str], parser: OverridesParser, hint_of: Callable[[str], Any], sweep: bool
) -> list[str]:
    """The words, values of keys that take a text put in quotes where the grammar asks for them.

    Args:
        hint_of: key -> the annotation of its value.
        sweep: whether commas separate the values of a sweep.

    Raises:
        ConfigError: for another value that cannot be read, with what to type.
    """
    return [_readable(w, parser, hint_of, sweep) for w in words]


def _readable(
    word: str, parser: OverridesParser, hint_of: Callable[[str], Any], sweep: bool
) -> str:
    key, equals, value = word.partition("=")
    text = f"{key}={quoted(value)}"
    override = parsed_or_none(parser, word)
    if override is None:
        hint = hint_of(key.lstrip("+"))
        if equals and is_text(hint):
            return text
        if hint is not Any:
            raise ConfigError(f"{word}: expected {expected(hint)}; other characters need quotes.")
        raise ConfigError(
            f"{word} cannot be read as it stands. In quotes its value is a text: {for_shell(text)}"
        )
    listed = override.is_sweep_override() and not sweep
    number = isinstance(override.value(), int | float) and not value.startswith(("'", '"'))
    if (listed or number) and is_text(hint_of(override.key_or_group)):
        return text
    if override.value() is None and is_text(hint_of(key)):  # paths are needed to compose at all
        for problem in problem_of(key, None, hint_of(key)):
            raise ConfigError(problem)
    return word


def refuse_pickles(args: Sequence[str]) -> None:
    """Refuse Hydra's option that runs whatever is in a pickle, however it is abbreviated.

    Raises:
        ConfigError: with the verb that is meant for it.
    """
    option = "--experimental-rerun"
    for arg in args:
        name = arg.partition("=")[0]
        if len(name) > 2 and option.startswith(name):
            raise ConfigError(
                f"{name}: this option of Hydra's reads a pickle, which may run anything, and is "
                "not taken. A finished run again, from the configuration in its folder: aspire "
                "rerun RUN."
            )
