"""Cut and paste: what must stay bit-equal, and where a mask grows to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aspire.data.images import read_image
from aspire.data.loaded import LoadedImage
from aspire.editing.annotations import AnnotationSegmenter
from aspire.editing.base import Failure, Restyled, RestyleRequest
from aspire.editing.class_objects import ClassObjects
from aspire.editing.composition import CompositionRestyler, uncovered_share
from aspire.editing.opencv_inpainter import OpenCVInpainter
from aspire.editing.pixels import dilate, fill, paste, resize
from aspire.errors import DataError
from aspire.records import ImageRef


def noise(height: int, width: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def box(height: int, width: int, top: int, left: int, side: int) -> Any:
    mask = np.zeros((height, width), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., LoadedImage]:
    def make(name: str, pixels: Any, mask: Any | None) -> LoadedImage:
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        file = None
        if mask is not None:
            file = f"{name}-mask.png"
            Image.fromarray(mask).save(tmp_path / file)
        return LoadedImage(ImageRef(img_id=name, file=f"{name}.png", y=0, mask=file), tmp_path)

    return make


def request(image: LoadedImage, donors: list[LoadedImage], seed: int = 0) -> RestyleRequest:
    find = ClassObjects(AnnotationSegmenter(), ()).masks
    (keep,) = find([image])
    assert keep is not None
    return RestyleRequest(image, keep, "land", "water", donors, find, seed)


def restyle(restyler: CompositionRestyler, asked: RestyleRequest) -> Restyled | None:
    (made,) = restyler.restyle([asked])
    assert not isinstance(made, Failure)
    return made


@pytest.mark.parametrize("pixels", [1, 3, 7])
@pytest.mark.parametrize("shape", [(40, 60), (40, 700), (700, 40)])
def test_mask_grows_by_as_much_in_every_direction(shape: tuple[int, int], pixels: int) -> None:
    mask = np.zeros(shape, dtype=bool)
    middle = shape[0] // 2, shape[1] // 2
    mask[middle] = True
    rows, columns = np.nonzero(dilate(mask, pixels))
    assert (rows.min(), rows.max()) == (middle[0] - pixels, middle[0] + pixels)
    assert (columns.min(), columns.max()) == (middle[1] - pixels, middle[1] + pixels)


def test_growing_by_nothing_changes_nothing() -> None:
    mask = box(9, 9, 2, 3, 4)
    assert (dilate(mask, 0) == mask).all()


@pytest.mark.parametrize("feather", [0, 1, 2, 5])
def test_kept_object_is_bit_equal_whatever_the_feather(feather: int) -> None:
    image, scene, keep = noise(30, 40, 0), noise(30, 40, 1), box(30, 40, 8, 12, 10)
    pasted = paste(image, keep, scene, feather)
    assert pasted.dtype == np.uint8
    assert pasted.shape == image.shape
    assert (pasted[keep] == image[keep]).all()
    far = ~dilate(keep, feather + 2)
    assert (pasted[far] == scene[far]).all()


def test_hard_edge_is_the_scene_right_beside_the_object() -> None:
    image, scene, keep = noise(30, 40, 0), noise(30, 40, 1), box(30, 40, 8, 12, 10)
    pasted = paste(image, keep, scene, 0)
    assert (pasted[~keep] == scene[~keep]).all()


def test_feather_fades_linearly_with_distance() -> None:
    # with a feather of 3, pixels 1, 2, 3 and 4 away from the object hold 3/4, 2/4, 1/4 and 0 of it;
    # OpenCV's 3 x 3 distances are 0.955 a step along an axis
    image, scene = np.full((20, 20, 3), 200, np.uint8), np.zeros((20, 20, 3), np.uint8)
    pasted = paste(image, box(20, 20, 5, 5, 5), scene, 3)
    expected = [200 * max(0.0, 1 - 0.955 * d / 4) for d in (1, 2, 3, 4)]
    assert pasted[7, 10:14, 0] == pytest.approx(expected, abs=1)
    assert pasted[7, 15, 0] == 0


@pytest.mark.parametrize("feather", [0, 2])
def test_restyled_image_keeps_its_object_and_takes_the_donors_scene(
    write: Callable[..., LoadedImage], feather: int
) -> None:
    image = write("image", noise(30, 40, 0), box(30, 40, 8, 12, 10))
    donor = write("donor", noise(30, 40, 1), box(30, 40, 10, 14, 6))  # under the pasted object
    asked = request(image, [donor])
    restyler = CompositionRestyler(OpenCVInpainter(), feather=feather, grow_donor=1)
    made = restyle(restyler, asked)
    assert made is not None
    assert made.donor.img_id == "donor"
    assert made.pixels.dtype == np.uint8
    assert made.pixels.shape == (30, 40, 3)
    assert (made.pixels[asked.keep] == image.pixels[asked.keep]).all()
    far = ~dilate(asked.keep, feather + 2)
    assert (made.pixels[far] == donor.pixels[far]).all()


def test_donors_object_does_not_come_along(write: Callable[..., LoadedImage]) -> None:
    scene = np.full((30, 40, 3), (0, 0, 250), np.uint8)
    hidden = box(30, 40, 1, 1, 6)
    scene[hidden] = (250, 0, 0)
    image = write("image", noise(30, 40, 0), box(30, 40, 15, 20, 8))
    made = restyle(
        CompositionRestyler(OpenCVInpainter()), request(image, [write("donor", scene, hidden)])
    )
    assert made is not None
    # Telea's weights lose a few grey levels; the object was 250 of them away
    assert np.abs(made.pixels[hidden].astype(int) - (0, 0, 250)).max() < 10


def test_donor_of_another_size_is_fitted(write: Callable[..., LoadedImage]) -> None:
    image = write("image", noise(30, 40, 0), box(30, 40, 8, 12, 10))
    donor = write("donor", np.full((50, 20, 3), 77, np.uint8), box(50, 20, 2, 2, 5))
    made = restyle(CompositionRestyler(OpenCVInpainter()), request(image, [donor]))
    assert made is not None
    assert made.pixels.shape == (30, 40, 3)
    assert np.abs(made.pixels[0].astype(int) - 77).max() < 5


def test_without_donors_there_is_nothing(write: Callable[..., LoadedImage]) -> None:
    image = write("image", noise(30, 40, 0), box(30, 40, 8, 12, 10))
    assert restyle(CompositionRestyler(OpenCVInpainter()), request(image, [])) is None


def test_donor_whose_object_is_not_known_is_of_no_use(write: Callable[..., LoadedImage]) -> None:
    image = write("image", noise(30, 40, 0), box(30, 40, 8, 12, 10))
    unknown = write("unknown", noise(30, 40, 1), None)
    empty = write("empty", noise(30, 40, 2), np.zeros((30, 40), dtype=bool))
    known = write("known", noise(30, 40, 3), box(30, 40, 8, 12, 10))
    restyler = CompositionRestyler(OpenCVInpainter())
    assert restyle(restyler, request(image, [unknown, empty])) is None
    made = restyle(restyler, request(image, [unknown, empty, known]))
    assert made is not None
    assert made.donor.img_id == "known"


def test_best_covered_donor_is_taken(write: Callable[..., LoadedImage]) -> None:
    image = write("image", noise(30, 40, 0), box(30, 40, 8, 12, 10))
    beside = write("beside", noise(30, 40, 1), box(30, 40, 20, 30, 6))
    half = write("half", noise(30, 40, 2), box(30, 40, 4, 12, 8))
    under = write("under", noise(30, 40, 3), box(30, 40, 9, 13, 8))
    for seed in range(5):
        made = restyle(
            CompositionRestyler(OpenCVInpainter()), request(image, [beside, half, under], seed)
        )
        assert made is not None
        assert made.donor.img_id == "under"


def test_spare_donors_help_out_where_no_object_is_known(write: Callable[..., LoadedImage]) -> None:
    image = write("image", noise(30, 40, 0), box(30, 40, 8, 12, 10))
    unknown = write("unknown", noise(30, 40, 1), None)
    known = write("known", noise(30, 40, 2), box(30, 40, 8, 12, 10))
    better = write("better", noise(30, 40, 3), box(30, 40, 9, 13, 2))
    restyler = CompositionRestyler(OpenCVInpainter())
    for dealt, spare, expected in (
        ([unknown], [known], "known"), ([known], [better], "known"), ([unknown], [], None),
    ):  # fmt: skip
        made = restyle(restyler, replace(request(image, dealt), spare=spare))
        assert (made and made.donor and made.donor.img_id) == expected


def test_seed_decides_among_more_donors_than_candidates(
    write: Callable[..., LoadedImage],
) -> None:
    image = write("image", noise(30, 40, 0), box(30, 40, 8, 12, 10))
    donors = [write(f"d{i}", noise(30, 40, i), box(30, 40, 8, 12, 10)) for i in range(6)]
    restyler = CompositionRestyler(OpenCVInpainter(), donor_candidates=1)

    def drawn(seed: int) -> str:
        made = restyle(restyler, request(image, donors, seed))
        assert made is not None
        assert made.donor is not None
        return made.donor.img_id

    chosen = [drawn(seed) for seed in range(20)]
    assert len(set(chosen)) > 2
    assert chosen == [drawn(seed) for seed in range(20)]


def test_mask_of_another_size_is_a_data_error(write: Callable[..., LoadedImage]) -> None:
    image = write("image", noise(30, 40, 0), box(30, 40, 8, 12, 10))
    broken = write("broken", noise(30, 40, 1), box(30, 41, 8, 12, 10))
    with pytest.raises(
        DataError, match=r"broken-mask\.png is 41 x 30, its image broken\.png 40 x 30"
    ):
        restyle(CompositionRestyler(OpenCVInpainter()), request(image, [broken]))


def test_requests_are_answered_together_as_they_are_alone(
    write: Callable[..., LoadedImage],
) -> None:
    images = [write(f"i{i}", noise(30, 40, i), box(30, 40, 8, 12, 10)) for i in range(3)]
    donors = [write(f"d{i}", noise(30, 40, 9 + i), box(30, 40, 2 * i, 3 * i, 8)) for i in range(5)]
    asked = [
        request(images[0], donors, 1),
        request(images[1], []),
        request(images[2], donors[:2], 2),
    ]
    restyler = CompositionRestyler(OpenCVInpainter(), donor_candidates=2)
    together = restyler.restyle(asked)
    assert together[1] is None
    for made, one in ((together[0], asked[0]), (together[2], asked[2])):
        (alone,) = restyler.restyle([one])
        assert isinstance(made, Restyled)
        assert isinstance(alone, Restyled)
        assert made.donor == alone.donor
        assert (made.pixels == alone.pixels).all()


def test_inpainter_that_breaks_on_a_donor_fails_that_request_only(
    write: Callable[..., LoadedImage],
) -> None:
    class Moody(OpenCVInpainter):
        def inpaint(self, images: Any, masks: Any, seeds: Any) -> Any:
            made = super().inpaint(images, masks, seeds)
            return [Failure("no") if s == 1 else m for m, s in zip(made, seeds, strict=True)]

    image = write("image", noise(30, 40, 0), box(30, 40, 8, 12, 10))
    donor = write("donor", noise(30, 40, 1), box(30, 40, 10, 14, 6))
    asked = [request(image, [donor], seed) for seed in (0, 1, 2)]
    made = CompositionRestyler(Moody()).restyle(asked)
    assert [isinstance(m, Restyled) for m in made] == [True, False, True]
    assert made[1] == Failure("no")


@pytest.mark.parametrize("feather", [0, 1, 4])
def test_filled_hole_leaves_everything_outside_bit_equal(feather: int) -> None:
    image, content, hole = noise(30, 40, 0), noise(30, 40, 1), box(30, 40, 8, 12, 12)
    filled = fill(image, hole, content, feather)
    assert (filled[~hole] == image[~hole]).all()
    deep = ~dilate(~hole, feather + 1)
    assert deep.any()
    assert (filled[deep] == content[deep]).all()


def test_identity_names_every_setting_and_the_inpainter() -> None:
    one = CompositionRestyler(OpenCVInpainter(radius=4.0)).identity()
    assert CompositionRestyler(OpenCVInpainter(radius=5.0)).identity() != one
    for setting in ("feather", "grow_donor", "donor_candidates"):
        assert CompositionRestyler(OpenCVInpainter(), **{setting: 9}).identity() != one


def test_uncovered_share_by_hand() -> None:
    mask, cover = box(10, 10, 0, 0, 4), box(10, 10, 0, 2, 4)  # 16 pixels, 8 of them covered
    assert uncovered_share(mask, cover) == pytest.approx(0.08)
    assert uncovered_share(mask, box(5, 5, 0, 0, 4)) == pytest.approx(0.16)


@pytest.mark.parametrize("size", [(5, 9), (60, 31)])
def test_resize_keeps_a_plain_colour(size: tuple[int, int]) -> None:
    resized = resize(np.full((20, 20, 3), (1, 100, 250), np.uint8), *size)
    assert resized.shape == (*size, 3)
    assert resized.dtype == np.uint8
    assert (resized == (1, 100, 250)).all()


def test_written_pixels_are_what_was_made(tmp_path: Path) -> None:
    pixels = noise(5, 6)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == pixels).all()
