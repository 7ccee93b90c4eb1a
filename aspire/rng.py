"""Seeds per item and per purpose, all derived from one ``seed``.

Because a seed belongs to an item and not to a position in a loop, batch size, order, restarts
and sharding never change a result.
"""

from __future__ import annotations

import hashlib
import json


def seed_for(seed: int, *keys: str | int) -> int:
    """An independent 63-bit seed for one purpose.

    Args:
        seed: the run's seed; 0 is a seed like any other.
        keys: what the seed is for, for example ``"generate", 0, 17``.

    >>> seed_for(0, "init") == seed_for(0, "init")
    True
    >>> len({seed_for(s, "image", i) for s in range(10) for i in range(1000)})
    10000
    """
    text = json.dumps([seed, *keys])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
