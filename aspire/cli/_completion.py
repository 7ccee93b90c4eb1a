"""Completion in the shell: ``eval "$(aspire -sc install=bash)"``, by Hydra's own plugins."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import hydra

from aspire.cli._verbs import VERBS
from aspire.confdir import conf_dir
from aspire.errors import ConfigError

OPTIONS = ("-sc", "--shell-completion")
SHELLS = ("bash", "fish", "zsh")


def complete(args: Sequence[str]) -> int:
    """Print the script that installs completion, or what may follow on ``$COMP_LINE``.

    Args:
        args: with one of ``OPTIONS``, and install=SHELL, uninstall=SHELL or query=SHELL.

    Raises:
        ConfigError: for anything else.
    """
    words = [a.partition("=") for a in args if a not in OPTIONS]
    if len(words) != 1 or words[0][0] not in ("install", "uninstall", "query"):
        raise ConfigError("aspire -sc: expected install=SHELL or uninstall=SHELL.")
    ((what, _, shell),) = words
    if shell not in SHELLS:
        raise ConfigError(f"{what}={shell}: expected {', '.join(SHELLS[:-1])} or {SHELLS[-1]}.")
    verb = "train"
    if what == "query":
        _, _, typed = os.environ.get("COMP_LINE", "").lstrip().partition(" ")
        verb, blank, rest = typed.lstrip().partition(" ")
        if not blank:
            print("\n".join(VERBS))
            return 0
        if verb not in VERBS:
            return 0
        os.environ["COMP_LINE"] = f"aspire {rest}"
    old, sys.argv = sys.argv, ["aspire", "-sc", f"{what}={shell}"]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=verb)(print)()
    finally:
        sys.argv = old
    return 0
