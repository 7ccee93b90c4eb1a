"""Seeds per purpose."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from aspire.rng import seed_for


def test_seed_is_the_first_63_bits_of_a_sha256() -> None:
    # written from the definition, so that a change of it (which would change every result) shows
    digest = hashlib.sha256(b'[7, "generate", 0, 17]').hexdigest()
    assert seed_for(7, "generate", 0, 17) == int(digest[:16], 16) // 2


def test_seeds_differ_by_run_purpose_position_and_type() -> None:
    seeds = [
        seed_for(0),
        seed_for(1),
        seed_for(0, "a"),
        seed_for(0, "b"),
        seed_for(0, "a", 1),
        seed_for(0, "a", "1"),
        seed_for(0, "a", 1, 1),
        seed_for(0, "a", 11),
        seed_for(0, 1, "a"),
    ]
    assert len(set(seeds)) == len(seeds)


def test_seed_zero_is_a_seed_like_any_other() -> None:
    assert seed_for(0, "init") == seed_for(0, "init")
    assert seed_for(0, "init") != seed_for(1, "init")


def test_seeds_are_accepted_by_numpy_and_torch() -> None:
    seeds = [seed_for(s, "x") for s in range(200)]
    assert all(0 <= s < 2**63 for s in seeds)
    np.random.default_rng(max(seeds))
    torch.Generator().manual_seed(max(seeds))


def test_seeds_fill_the_range_evenly() -> None:
    # 4000 draws in 8 bins: 500 expected, standard deviation 21
    counts = np.bincount([seed_for(0, "x", i) >> 60 for i in range(4000)], minlength=8)
    assert counts.min() > 400
    assert counts.max() < 600
