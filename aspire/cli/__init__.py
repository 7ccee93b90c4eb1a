"""``aspire VERB [overrides]``: finds the verb and starts it. Nothing heavy is imported here."""

from __future__ import annotations

import os
import sys

from aspire.cli._verbs import VERBS
from aspire.version import __version__

HELP = ("-h", "--help", "help")


def usage() -> str:
    """The text of ``aspire --help``."""
    verbs = "\n".join(f"  {name:<10} {what}" for name, what in VERBS.items())
    return f"""aspire {__version__}: find the shortcuts a classifier takes, and train them away.

usage: aspire VERB [overrides]

{verbs}

Start here:
  aspire quickstart                 minutes on a laptop, no GPU, no account
  aspire VERB --help                what a verb takes, and examples
  aspire VERB --help KEY            what a key or a group means, takes and is
  aspire train --cfg job            the configuration, without running anything
  eval "$(aspire completion bash)"  completion; also zsh; fish: aspire completion fish | source
  aspire train -m seed=0,1,2        a sweep

Results go to ./outputs (or $ASPIRE_OUTPUTS)."""


def main(argv: list[str] | None = None) -> int:
    """The console command.

    Returns:
        The exit code: 0 done, 2 configuration, 3 data, 4 some jobs of a sweep failed, 5 service
        unreachable, 6 disk full or not writable, 130 interrupted, 143 stopped by SIGTERM, 1
        anything else.
    """
    try:
        return _start([*(sys.argv[1:] if argv is None else argv)])
    except BrokenPipeError:  # the reader of `aspire ... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _start(args: list[str]) -> int:
    if args and args[0] in HELP:  # aspire help VERB KEY; a key alone is most often one of train
        asked = [a for a in args[1:] if a not in HELP]
        verb = asked.pop(0) if asked and asked[0] in VERBS else "train" if asked else None
        args = [verb, "--help", *asked] if verb else []
    if not args:
        print(usage())
        return 0
    if args[0] in ("-V", "--version"):
        print(f"aspire {__version__}")
        return 0
    verb, rest = args[0], args[1:]
    if verb == "completion":  # aspire completion SHELL
        args = ["-sc", *(f"install={shell}" for shell in rest)]
        verb = "-sc"
    if verb in ("-sc", "--shell-completion"):
        verb, rest = "train", args  # completion is of all verbs
    if verb not in VERBS:
        from aspire.errors import did_you_mean

        print(
            f"aspire {verb}: no such verb.{did_you_mean(verb, VERBS)} Verbs: {', '.join(VERBS)}.",
            file=sys.stderr,
        )
        return 2
    from pathlib import Path

    from aspire.memory import collect_less_often

    for name in ("ASPIRE_OUTPUTS", "ASPIRE_DATA"):  # workers of a launcher may stand elsewhere
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).absolute())
    collect_less_often()  # before the imports, which make most of the objects
    from aspire.cli._app import run_verb

    return run_verb(verb, rest)
