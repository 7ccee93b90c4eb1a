"""One line on stored work that is not as it was left, wherever it is met."""

from __future__ import annotations

import logging

from aspire.text import visible

_log = logging.getLogger("aspire.stored")


def note(text: str) -> None:
    """Say it on stderr, where it disturbs no table or page that is printed."""
    _log.warning("%s", visible(text, breaks=True))
