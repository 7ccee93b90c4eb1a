"""What work is named by: the hash of what it is made from, and the name of an arm in tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


def digest_of(value: Json) -> str:
    """SHA-256 of the canonical JSON of a value: sorted keys, no NaN.

    >>> digest_of({"b": 1, "a": [0.5]}) == digest_of({"a": [0.5], "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def arm_name(baseline: str, augmentation: str) -> str:
    """How an arm is called everywhere.

    >>> arm_name("erm", "none"), arm_name("erm", "aspire")
    ('erm', 'erm + aspire')
    """
    return baseline if augmentation == "none" else f"{baseline} + {augmentation}"
