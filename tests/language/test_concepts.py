"""Visual concepts on drawn images: what looks alike and goes along with a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from aspire.data.loaded import LoadedImage
from aspire.language.concept_extractor import ConceptExtractor, _lit, _with_others
from aspire.language.concepts import Cluster, cells_of, clusters_of, joined, learn_axes, region_of
from aspire.records import ConceptSpace, ImageRef, VisualConcept

SIDE = 112
MARK = np.s_[8:40, 72:104]  # cells 1 to 4 down, 9 to 12 across, of 14


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[LoadedImage]:
    """Noise, two classes of eight; seven of the second bear a ringed disc, and one of the first."""
    folder = tmp_path_factory.mktemp("drawn")
    rows, columns = np.mgrid[-16:16, -16:16]
    far = np.hypot(rows, columns)
    loaded = []
    for n in range(16):
        rng = np.random.default_rng(n)
        pixels = np.full((SIDE, SIDE, 3), rng.integers(90, 150, 3), np.int64)
        pixels = (pixels + rng.integers(-25, 25, pixels.shape)).astype(np.uint8)
        if n == 0 or n > 8:
            pixels[MARK][far < 15] = (250, 60, 20)
            pixels[MARK][far < 8] = (250, 250, 80)
        Image.fromarray(pixels).save(folder / f"{n}.png")
        ref = ImageRef(img_id=str(n), file=f"{n}.png", y=n // 8)
        loaded.append(LoadedImage(ref, folder))
    return loaded


@pytest.fixture(scope="module")
def space(images: list[LoadedImage]) -> ConceptSpace:
    return ConceptExtractor(clusters=[4, 8]).learn(images, [["cat"], ["dog"]])


def test_what_is_planted_is_the_clearest_concept_of_its_class(
    images: list[LoadedImage], space: ConceptSpace
) -> None:
    concept = next(c for c in space.concepts if c.y == 1)
    assert (concept.own, concept.others) == (0.875, 0.125)
    assert not concept.scene
    assert concept.name.endswith("?")
    assert {c.img_id for c in concept.crops} <= {str(n) for n in range(9, 16)}
    left, top, right, bottom = concept.crops[0].box
    assert 0.55 <= left < right <= 1
    assert 0 <= top < bottom <= 0.45
    found = ConceptExtractor().look(images, space)
    assert [concept.name in (e.regions or {}) for e in found] == [True, *[False] * 8, *[True] * 7]
    # a concept of another class is known to be there, and not taken away
    assert concept.name not in found[0].foreground
    assert all(concept.name in e.foreground for e in found[9:])
    cells = cells_of((found[9].regions or {})[concept.name])
    assert cells[2:4, 10:12].all()
    assert not cells[8:].any()


def test_an_image_is_seen_alike_alone(images: list[LoadedImage], space: ConceptSpace) -> None:
    alone = ConceptExtractor().look(images[9:10], space)
    assert alone == ConceptExtractor().look(images, space)[9:10]


def test_what_lies_on_the_class_object_is_a_part_of_it() -> None:
    places = np.zeros((3, 3, 3), bool)
    places[:2, 0, 0] = True  # in two of three images; with its rim four cells each
    half, quarter, all_of_it = (np.zeros((3, 3), bool) for _ in range(3))
    half[0, :2] = quarter[0, 0] = True
    all_of_it[:] = True
    told = ConceptExtractor(on_object=0.4)
    assert told._is_part(places, {0: half})
    assert not told._is_part(places, {0: quarter})
    # on average 3/8 of it; the image that does not show it is not asked
    assert not told._is_part(places, {0: half, 1: quarter, 2: all_of_it})
    assert ConceptExtractor(on_object=0.3)._is_part(places, {0: half, 1: quarter})
    assert not told._is_part(places, {2: all_of_it})


def test_a_lone_scene_is_taken_out_as_an_object() -> None:
    wide, small = (
        VisualConcept(name=n, y=0, parts=(), scene=s, own=1.0, others=0.0, crops=())
        for n, s in (("rule?", True), ("pole?", False))
    )
    assert [c.scene for c in _with_others([wide, small])] == [False, False]
    assert [c.scene for c in _with_others([wide, small, wide])] == [True, False, True]


def test_only_a_class_that_the_network_knows_lights_up() -> None:
    """scikit-learn's photograph of a dahlia: a flower in the middle, which ImageNet calls daisy."""
    folder = Path(sklearn.datasets.__file__).parent / "images"
    photo = LoadedImage(ImageRef(img_id="0", file="flower.jpg", y=0), folder)
    (lit,) = _lit([photo], np.array([0]), ["daisy"], 14).values()
    assert lit[6:8, 6:8].all()
    assert not lit[:, :2].any()
    # what it is most surely of is no animal, so it may be what stands beside a mole
    assert _lit([photo], np.array([0]), ["melanoma"], 14) == {}


def test_contrast_by_hand() -> None:
    # class True: both images have a cell at (1, 0); of the others one of two has
    own = np.array([True, True, False, False])
    points = np.zeros((4, 2, 2), np.float32)
    points[:, 0] = (0, 1)
    points[:, 1] = [(1, 0), (1, 0), (1, 0), (0, 1)]
    centres, clusters = clusters_of(points, own, [2], seed=0)
    assert sorted(centres.tolist()) == [[0.0, 1.0], [1.0, 0.0]]
    assert [(c.own, c.others, c.contrast) for c in clusters] == [(1.0, 0.5, 0.5), (1.0, 1.0, 0.0)]
    assert centres[clusters[0].number].tolist() == [1.0, 0.0]


def test_parts_that_touch_are_one_thing() -> None:
    own = np.array([True, True, False])
    near = np.full((3, 4, 4), 9)
    near[:2, 0, 0], near[:2, 0, 1] = 0, 1  # beside each other, in the class alone
    near[:2, 3, 3] = 2  # as clear, and elsewhere
    near[:, 1, 1] = 3  # beside the first, and in every image
    far = np.zeros((3, 4, 4), np.float32)
    found = [Cluster(0, 0, 1, 0), Cluster(1, 0, 1, 0), Cluster(2, 0, 1, 0), Cluster(3, 0, 1, 1)]
    groups = joined(found, near, far, own)
    assert [[c.number for c in group] for group in groups] == [[0, 1], [2], [3]]


def test_points_have_length_one() -> None:
    rng = np.random.default_rng(0)
    grids: Any = rng.normal(3, 2, (3, 4, 4, 5)).astype(np.float32)
    axes = learn_axes(grids, 0)
    assert np.linalg.norm(axes.points(grids), axis=-1) == pytest.approx(1, abs=1e-5)


def test_a_region_is_kept_as_it_is(tmp_path: Path) -> None:
    cells = np.random.default_rng(0).random((14, 14)) > 0.5
    assert (cells_of(region_of(cells)) == cells).all()
