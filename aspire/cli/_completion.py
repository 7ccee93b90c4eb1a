"""Completion in the shell: ``eval "$(aspire completion bash)"``; also for zsh and fish."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from aspire.checking import is_text, literals
from aspire.cli._help import Page
from aspire.cli._overrides import initialized
from aspire.cli._verbs import VERBS
from aspire.errors import AspireError, ConfigError

OPTIONS = ("-sc", "--shell-completion")
# The shell is given what may follow; it has nothing to know itself.
SCRIPTS = {
    "bash": """\
_aspire() {
  local IFS=$'\\n'
  COMPREPLY=($(COMP_LINE="${COMP_LINE:0:COMP_POINT}" aspire -sc query=bash 2>/dev/null))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -F _aspire aspire""",
    "zsh": """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_aspire() {
  local found=$(COMP_LINE="${(j: :)words[1,CURRENT]}" aspire -sc query=zsh 2>/dev/null)
  [[ -n $found ]] && compadd -S '' -- ${(f)found}
}
compdef _aspire aspire""",
    "fish": """\
complete -c aspire -f -a '(COMP_LINE=(commandline -cp | string collect) aspire -sc query=fish \
2>/dev/null)'""",
}
# Words of Hydra's, and what may follow them.
_FOLLOW: dict[str, tuple[str, ...]] = {
    "--help": (),
    "--cfg": ("job", "hydra", "all"),
    "--resolve": (),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--multirun": (),
    "--config-dir": (),
}


def complete(args: Sequence[str], positional: Mapping[str, Sequence[str]]) -> int:
    """Print the script that installs completion, or what may follow on ``$COMP_LINE``.

    Args:
        args: with one of ``OPTIONS``, and install=SHELL or query=SHELL.
        positional: verb -> the keys that its first words stand for.

    Raises:
        ConfigError: for anything else.
    """
    words = [a.partition("=") for a in args if a not in OPTIONS]
    if len(words) != 1 or words[0][0] not in ("install", "query"):
        raise ConfigError("aspire completion: expected a shell: aspire completion SHELL.")
    ((what, _, shell),) = words
    if shell not in SCRIPTS:
        raise ConfigError(f"{what}={shell}: expected {', '.join(sorted(SCRIPTS))}.")
    if what == "install":
        print(SCRIPTS[shell])
        return 0
    # what is not finished cannot always be composed, and nobody is helped by an error here
    with contextlib.suppress(AspireError, HydraException, OmegaConfBaseException):
        for word in candidates(os.environ.get("COMP_LINE", ""), positional):
            print(word)
    return 0


def candidates(line: str, positional: Mapping[str, Sequence[str]]) -> list[str]:
    """What the last word of a line may become: whole words, those that begin like it."""
    _, *words = line.split(" ")
    words = [w for w in words[:-1] if w] + words[-1:]
    *before, typed = words or [""]
    if not before:
        found = (
            [*VERBS, "help", "completion"] if not typed.startswith("-") else ["--help", "--version"]
        )
    elif before[0] == "help":
        before, found = [*before[1:2], "--help"], list(VERBS) if len(before) == 1 else []
    elif before[0] == "completion":
        found = sorted(SCRIPTS)
    else:
        found = []
    if not found and before and before[0] in VERBS:
        found = list(_of_verb(before[0], before[1:], typed, positional.get(before[0], ())))
    return list(dict.fromkeys(word for word in found if word.startswith(typed)))


def _of_verb(
    verb: str, before: Sequence[str], typed: str, positional: Sequence[str]
) -> Iterator[str]:
    last = before[-1] if before else ""
    if _FOLLOW.get(last):
        yield from _FOLLOW[last]
    elif last == "--config-dir":
        yield from _paths(typed)
    elif typed.startswith("-"):
        yield from _FOLLOW
    else:
        groups = [w for w in before if "=" in w and "." not in w.partition("=")[0] and w[-1] != "="]
        with initialized():
            page = Page(verb, groups)
            if "=" in typed:
                yield from _values(page, typed)
                return
            if len(before) < len(positional) and "--help" not in before:
                key = positional[len(before)]
                yield from (value.partition("=")[2] for value in _values(page, f"{key}={typed}"))
            yield from _names(page, typed, "" if "--help" in before else "=")


def _names(page: Page, typed: str, end: str) -> Iterator[str]:
    """Groups, and keys as far as the next dot."""
    yield from (f"{group}{end}" for group in page.chosen)
    for key in page.keys:
        dot = key.find(".", len(typed))
        yield key[: dot + 1] if dot >= 0 and key.startswith(typed) else f"{key}{end}"


def _values(page: Page, typed: str) -> Iterator[str]:
    """KEY=VALUE for the choices of a group, what a key may be, or the paths that begin so."""
    key, _, value = typed.partition("=")
    first, comma, _ = value.rpartition(",")  # of a sweep
    if key in page.chosen:
        yield from (f"{key}={first}{comma}{option}" for option in page.options(key))
    elif key in page.keys:
        hint: Any = page.hint(key)
        listed = re.search(r"\w+(?: \| \w+)+", page.meaning(key))  # a | b in its yaml
        found = [str(c) for c in literals(hint)] or (listed[0].split(" | ") if listed else [])
        if isinstance(page.keys.get(key), bool):
            found = ["true", "false"]
        yield from (f"{key}={first}{comma}{option}" for option in found)
        if not found and is_text(hint):
            yield from (f"{key}={path}" for path in _paths(value))


def _paths(typed: str) -> Iterator[str]:
    """Files and folders that begin so; a folder ends in a slash."""
    folder, slash, name = typed.rpartition("/")
    try:
        found = sorted(Path(folder + slash or ".").expanduser().iterdir())
    except OSError:
        return
    for path in found:
        if path.name.startswith(name) and (name or not path.name.startswith(".")):
            yield f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}"
