"""Who is dealt which donor."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from aspire.editing.donors import Hand, deal, photograph
from aspire.records import Extraction, ImageRef


def ref(img_id: str, taken_from: str | None = None, y: int = 0) -> ImageRef:
    return ImageRef(img_id=img_id, file=f"{img_id}.png", y=y, photograph=taken_from)


def dealt(
    images: int, donors: list[ImageRef], more: int = 0, seed: int = 0
) -> tuple[list[ImageRef], list[Hand]]:
    """Images on a lake, and ``more`` that are not edited, are moved to where the donors are."""
    lake = [ref(f"l{i}") for i in range(images + more)]
    refs = {r.img_id: r for r in [*lake, *donors]}
    moves = [
        Extraction(img_id=r.img_id, foreground=(), background="lake", alternative="wood")
        for r in lake[:images]
    ]
    hands = deal(moves, refs, {"lake": tuple(lake), "wood": tuple(donors)}, seed)
    return lake, [hands[m.img_id] for m in moves]


def shown(refs: Any) -> set[str]:
    return {photograph(r) for r in refs}


def test_no_donor_is_given_out_twice_while_there_are_others() -> None:
    _, hands = dealt(4, [ref(f"w{i}") for i in range(10)])
    given = [i for h in hands for i in shown(h.donors)]
    assert sorted(given) == sorted(f"w{i}" for i in range(10))  # all, each to one
    assert sorted(len(h.donors) for h in hands) == [2, 2, 3, 3]


@pytest.mark.parametrize(("images", "donors"), [(23, 5), (10, 5), (6, 5)])
def test_few_donors_are_given_out_equally_often(images: int, donors: int) -> None:
    _, hands = dealt(images, [ref(f"w{i}") for i in range(donors)])
    assert all(len(h.donors) == 1 for h in hands)
    counts = Counter(photograph(h.donors[0]) for h in hands)
    assert set(counts.values()) <= {images // donors, -(-images // donors)}
    assert len(counts) == donors


def test_images_of_one_photograph_are_one_donor() -> None:
    # 30 images, but of 3 photographs only, one of which has most of the images
    donors = [ref(f"w{i}", "a" if i < 20 else "b" if i < 29 else "c") for i in range(30)]
    _, hands = dealt(9, donors)
    assert Counter(name for h in hands for name in shown(h.donors)) == {"a": 3, "b": 3, "c": 3}
    assert {len(h.donors) for h in hands} == {20, 9, 1}  # whichever of them is covered best


def test_those_who_share_a_donor_share_control_donors() -> None:
    # 6 control donors for 12 images: each of 3 donors has 4 images and 2 control donors to itself
    lake = [ref(f"l{i}", f"p{i % 6}") for i in range(12)]
    wood = [ref(f"w{i}") for i in range(3)]
    refs = {r.img_id: r for r in [*lake, *wood]}
    moves = [
        Extraction(img_id=r.img_id, foreground=(), background="lake", alternative="wood")
        for r in lake
    ]
    hands = deal(moves, refs, {"lake": tuple(lake), "wood": tuple(wood)}, 0).values()
    with_donor = {
        d: Counter(
            name for h in hands if photograph(h.donors[0]) == d for name in shown(h.controls)
        )
        for d in ("w0", "w1", "w2")
    }
    assert all(sorted(c.values()) == [2, 2] for c in with_donor.values())
    assert len(set().union(*with_donor.values())) == 6


@pytest.mark.parametrize("more", [0, 3, 30])
def test_enough_control_donors_are_given_out_once_and_never_to_themselves(more: int) -> None:
    for seed in range(10):
        lake, hands = dealt(8, [ref("w")], more, seed)
        given = [r.img_id for h in hands for r in h.controls]
        assert len(given) == len(set(given))
        assert all(h.controls for h in hands)
        assert all(
            r.img_id not in {c.img_id for c in h.controls}
            for r, h in zip(lake[:8], hands, strict=True)
        )


def test_classes_are_dealt_for_apart_and_a_seed_decides() -> None:
    refs = {f"{y}{i}": ref(f"{y}{i}", y=y) for y in (0, 1) for i in range(4)}
    wood = tuple(ref(f"w{i}") for i in range(4))
    moves = [
        Extraction(img_id=i, foreground=(), background="lake", alternative="wood") for i in refs
    ]
    scenes = {"lake": tuple(refs.values()), "wood": wood}
    hands = deal(moves, refs, scenes, 0)
    for y in "01":
        assert len({h.donors[0].img_id for i, h in hands.items() if i[0] == y}) == 4
    assert hands == deal(moves, refs, scenes, 0)
    assert any(deal(moves, refs, scenes, s) != hands for s in range(1, 4))


def test_what_shows_no_scene_or_has_nowhere_to_go_is_dealt_nothing() -> None:
    lost = Extraction(img_id="a", foreground=("boat",), background="lake", alternative=None)
    bare = Extraction(img_id="b", foreground=("boat",), background=None, alternative=None)
    refs = {"a": ref("a"), "b": ref("b")}
    assert deal([lost, bare], refs, {"lake": (refs["a"],)}, 0) == {"a": Hand()}
