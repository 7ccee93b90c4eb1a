"""The edit stage with its controls, its words and backends that break down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aspire.data.images import read_image
from aspire.editing.annotations import AnnotationSegmenter
from aspire.editing.base import Failure, Restyled, RestyleRequest
from aspire.editing.composition import CompositionRestyler
from aspire.editing.opencv_inpainter import OpenCVInpainter
from aspire.errors import AspireError, ConfigError
from aspire.language.concepts import region_of
from aspire.pipeline.stages.edit import EditRequest, EditStage, _avoided
from aspire.records import Edit, Extraction, ImageRef

SIZE = 32
OBJECT, BOAT = np.s_[12:20, 10:18], np.s_[2:8, 2:8]


class Shelf:
    def __init__(self) -> None:
        self.images: dict[str, Any] = {}

    def __call__(self, pixels: Any) -> str:
        name = f"{len(self.images)}.png"
        self.images[name] = pixels
        return name


@pytest.fixture
def photo(tmp_path: Path) -> Callable[..., ImageRef]:
    def make(img_id: str, y: int = 0, boat: bool = True) -> ImageRef:
        rng = np.random.default_rng(sum(map(ord, img_id)))
        pixels = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        labels = np.zeros((SIZE, SIZE), np.uint8)
        labels[OBJECT] = 1
        if boat:
            labels[BOAT] = 2
        Image.fromarray(pixels).save(tmp_path / f"{img_id}.png")
        Image.fromarray(labels).save(tmp_path / f"{img_id}-mask.png")
        return ImageRef(
            img_id=img_id,
            file=f"{img_id}.png",
            y=y,
            mask=f"{img_id}-mask.png",
            objects={"boat": 2},
        )

    return make


def asking(
    ref: ImageRef, donors: tuple[ImageRef, ...] = (), control: tuple[ImageRef, ...] = ()
) -> EditRequest:
    extraction = Extraction(
        img_id=ref.img_id, foreground=("boat",), background="sea", alternative="forest"
    )
    return EditRequest(ref, extraction, donors, control)


def stage(root: Path, **options: Any) -> EditStage:
    inpainter = options.pop("inpainter", OpenCVInpainter())
    restyler = options.pop("restyler", CompositionRestyler(OpenCVInpainter()))
    segmenter = options.pop("segmenter", AnnotationSegmenter())
    return EditStage(root, segmenter, inpainter, restyler, **{"dilate": 1, **options})


def run(it: EditStage, *requests: EditRequest) -> tuple[dict[str, Edit], dict[str, Any], Shelf]:
    shelf = Shelf()
    results = list(it.run(requests, shelf))
    assert [r.item_id for r in results] == [r.ref.img_id for r in requests]
    edits = {e.edit_id: e for r in results for e in r.records}
    return edits, {x.item_id: x for r in results for x in r.rejected}, shelf


REMOVED, MOVED = "a/remove_object/boat", "a/change_background/sea"


def test_control_of_a_removal_is_a_hole_of_equal_shape_off_object_and_feature(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    ref = photo("a")
    edits, _, shelf = run(stage(tmp_path, seed=3), asking(ref))
    edit = edits[REMOVED]
    assert edit.control is not None
    before, control = read_image(tmp_path / ref.file), shelf.images[edit.control]
    mask = shelf.images[edit.mask] > 0
    changed = (control != before).any(axis=-1)
    assert changed.any()
    assert not changed[mask].any()
    assert not changed[OBJECT].any()
    # on noise nearly every pixel of the hole is changed, so its size shows: 8 x 8 less corners
    assert 0.9 * mask.sum() < changed.sum() <= mask.sum()
    rows, columns = np.nonzero(changed)
    assert np.ptp(rows) < 8
    assert np.ptp(columns) < 8


def test_control_of_a_scene_change_takes_the_same_scene_from_another_image(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    ref, forest, sea = photo("a"), photo("forest"), photo("sea")
    edits, _, shelf = run(stage(tmp_path), asking(ref, (forest,), (sea,)))
    edit = edits[MOVED]
    assert (edit.replacement, edit.donor) == ("forest", "forest")
    assert edit.control is not None
    before, control = read_image(tmp_path / ref.file), shelf.images[edit.control]
    assert (control[OBJECT] == before[OBJECT]).all()
    assert (control[-4:] == read_image(tmp_path / sea.file)[-4:]).all()
    assert (shelf.images[edit.file][-4:] == read_image(tmp_path / forest.file)[-4:]).all()


def test_restyler_without_donors_is_asked_for_the_scene_that_is_there(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    class Asked:
        def __init__(self) -> None:
            self.requests: list[RestyleRequest] = []

        def identity(self) -> dict[str, Any]:
            return {}

        def restyle(self, requests: Any) -> list[Any]:
            self.requests += requests
            return [Restyled(r.image.pixels, None) for r in requests]

    restyler = Asked()
    edits, _, _ = run(stage(tmp_path, restyler=restyler), asking(photo("a")))
    edit, control = restyler.requests
    assert (edit.source, edit.target, control.source, control.target) == (
        "sea", "forest", "sea", "sea"
    )  # fmt: skip
    assert edit.seed != control.seed
    assert edits[MOVED].control is not None


def test_where_no_control_can_be_made_the_edit_stays(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    ref, donor = photo("a"), photo("d")
    everywhere = stage(tmp_path, dilate=99, max_mask=1.0)  # grown, it leaves no room
    edits, rejected, _ = run(everywhere, asking(ref, (donor,)))
    assert edits[REMOVED].control is None
    assert edits[MOVED].control is None  # no other image shows the sea
    assert rejected == {}


def test_controls_can_be_left_out_and_change_no_edit(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    request = asking(photo("a"), (photo("d"),), (photo("s"),))
    plain, _, shelf = run(stage(tmp_path, controls=False), request)
    assert {e.control for e in plain.values()} == {None}
    assert len(shelf.images) == 4
    full, _, other = run(stage(tmp_path), request)
    for edit_id, edit in plain.items():
        assert (shelf.images[edit.file] == other.images[full[edit_id].file]).all()
    assert stage(tmp_path).identity() != stage(tmp_path, controls=False).identity()


def test_the_class_object_does_not_run_into_the_hole_beside_it(tmp_path: Path) -> None:
    # a red object on a blue boat on grey: where the boat was there is grey, and no red
    pixels, labels = np.full((SIZE, SIZE, 3), 128, np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    thing, boat = np.s_[10:18, 10:22], np.s_[18:26, 8:24]
    for where, label, colour in ((thing, 1, (255, 0, 0)), (boat, 2, (0, 0, 255))):
        pixels[where], labels[where] = colour, label
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(labels).save(tmp_path / "a-mask.png")
    ref = ImageRef(img_id="a", file="a.png", y=0, mask="a-mask.png", objects={"boat": 2})
    edits, _, shelf = run(stage(tmp_path), asking(ref))
    edited = shelf.images[edits[REMOVED].file]
    assert (edited[thing] == (255, 0, 0)).all()
    assert (edited[boat] == 128).all()


def test_what_stands_before_the_scene_stays_when_the_scene_changes(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    ref, forest = photo("a"), photo("forest", boat=False)
    edits, _, shelf = run(stage(tmp_path), asking(ref, (forest,)))
    before, moved = read_image(tmp_path / ref.file), shelf.images[edits[MOVED].file]
    assert (moved[BOAT] == before[BOAT]).all()
    assert (moved[-4:] == read_image(tmp_path / forest.file)[-4:]).all()
    # but not what is as large as a scene
    edits, _, shelf = run(stage(tmp_path, max_mask=0.01), asking(ref, (forest,)))
    assert (shelf.images[edits[MOVED].file][BOAT] != before[BOAT]).any()


class Moody(OpenCVInpainter):
    """Breaks on images whose first pixel is the one given, and says no to the other."""

    def __init__(self, breaks: Any, refuses: Any) -> None:
        super().__init__()
        self.breaks, self.refuses = breaks, refuses

    def inpaint(self, images: Any, masks: Any, seeds: Any) -> Any:
        if any((i[0, 0] == self.breaks).all() for i in images):
            raise RuntimeError("cannot paint this")
        made = super().inpaint(images, masks, seeds)
        refused = [(i[0, 0] == self.refuses).all() for i in images]
        return [Failure("all black") if r else m for r, m in zip(refused, made, strict=True)]


def test_images_a_backend_breaks_on_are_counted_and_the_others_done(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    refs = [photo(name, boat=True) for name in "abc"]
    corners = [read_image(tmp_path / r.file)[0, 0] for r in refs]
    requests = [asking(r, (photo("d"),)) for r in refs]
    moody = stage(tmp_path, inpainter=Moody(corners[0], corners[2]))
    edits, rejected, _ = run(moody, *requests)
    assert {(x.item_id, x.reason, x.detail) for x in rejected.values()} == {
        (REMOVED, "failed", "boat: RuntimeError: cannot paint this"),
        ("c/remove_object/boat", "failed", "boat: all black"),
    }
    assert {"b/remove_object/boat", MOVED, "c/change_background/sea"} <= set(edits)


def test_segmenter_that_breaks_is_counted_per_edit(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    class Broken(AnnotationSegmenter):
        def segment(self, images: Any, phrases: Any) -> Any:
            raise ValueError("phrases")

        def segment_class_object(self, images: Any, class_words: Any) -> Any:
            raise ValueError("objects")

    edits, rejected, _ = run(stage(tmp_path, segmenter=Broken()), asking(photo("a")))
    assert edits == {}
    assert [(x.reason, x.detail) for x in rejected.values()] == [
        ("failed", "boat: ValueError: phrases"),
        ("failed", "sea: ValueError: objects"),
    ]


def test_setting_that_cannot_work_stops_the_stage(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    class Unset(OpenCVInpainter):
        def inpaint(self, images: Any, masks: Any, seeds: Any) -> Any:
            raise ConfigError("inpainter.path=None")

    with pytest.raises(AspireError, match=r"inpainter\.path=None"):
        run(stage(tmp_path, inpainter=Unset()), asking(photo("a")))


def test_segmenter_is_told_the_words_of_each_class(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    class Listening(AnnotationSegmenter):
        heard: dict[str, Any] = {}  # noqa: RUF012

        def segment_class_object(self, images: Any, class_words: Any) -> Any:
            self.heard |= {i.ref.img_id: w for i, w in zip(images, class_words, strict=True)}
            return super().segment_class_object(images, class_words)

    words = [("landbird", "bird"), ("duck",)]
    listening = Listening()
    refs = [photo("a", y=0), photo("b", y=1)]
    request = [asking(r, (photo("d", y=1),)) for r in refs]
    run(stage(tmp_path, segmenter=listening, class_words=words), *request)
    assert listening.heard == {"a": words[0], "b": words[1], "d": words[1]}


def test_backends_are_asked_once_for_a_batch_and_results_are_those_of_single_images(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    class Counting(OpenCVInpainter):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[int] = []

        def inpaint(self, images: Any, masks: Any, seeds: Any) -> Any:
            self.calls.append(len(images))
            return super().inpaint(images, masks, seeds)

    refs = [photo(name) for name in "abcd"]
    requests = [
        asking(r, tuple(x for x in refs if x is not r), tuple(x for x in refs if x is not r))
        for r in refs
    ]
    counting = Counting()
    edits, _, shelf = run(stage(tmp_path, inpainter=counting), *requests)
    assert counting.calls == [8]  # four edits and their controls
    assert len(edits) == 8
    for request in requests[::-1]:
        alone, _, own = run(stage(tmp_path), request)
        for edit_id, edit in alone.items():
            for field in ("file", "mask", "control"):
                one = own.images[getattr(edit, field)]
                assert (one == shelf.images[getattr(edits[edit_id], field)]).all()


def test_an_image_is_no_donor_of_its_own_and_others_are_opened_one_by_one(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    """Requests share the tuple of a scene: 20,000 of them must not hold 20,000 copies."""

    class Looking(CompositionRestyler):
        def restyle(self, requests: Any) -> Any:
            edit, control = requests
            assert [d.ref.img_id for d in edit.donors] == ["c", "d"]
            assert [d.ref.img_id for d in control.donors] == ["b", "e"]
            assert [d.ref.img_id for d in control.donors[-1:]] == ["e"]
            assert control.donors[-1].ref.img_id == "e"
            assert len(control.donors) == 2
            with pytest.raises(IndexError):
                control.donors[2]
            return super().restyle(requests)

    ref, sea, forest = photo("a"), (photo("b"), photo("a"), photo("e")), (photo("c"), photo("d"))
    restyler = Looking(OpenCVInpainter())
    edits, _, _ = run(stage(tmp_path, restyler=restyler), asking(ref, forest, sea))
    assert edits[MOVED].donor in ("c", "d")


def test_what_was_seen_goes_whole_and_no_segmenter_is_asked_for_it(
    photo: Callable[..., ImageRef], tmp_path: Path
) -> None:
    class OnlyObjects(AnnotationSegmenter):
        def segment(self, images: Any, phrases: Any) -> Any:
            raise AssertionError(f"asked for {phrases}")

    cells = np.zeros((4, 4), bool)
    cells[2:, 1] = True  # rows 16 to 31, columns 8 to 15; the class object reaches into it
    seen = Extraction(
        img_id="a",
        foreground=("disc?",),
        background=None,
        alternative=None,
        regions={"disc?": region_of(cells)},
    )
    request = EditRequest(photo("a"), seen, ())
    edits, rejected, shelf = run(stage(tmp_path, segmenter=OnlyObjects()), request)
    assert not rejected
    edit = edits["a/remove_object/disc?"]
    wanted = np.zeros((SIZE, SIZE), np.uint8)
    wanted[15:32, 7:17] = 255  # grown by dilate=1
    wanted[15, [7, 16]] = 0  # but for the corners
    assert (shelf.images[edit.mask] == wanted).all()
    assert edit.control is not None


def test_the_control_of_what_lies_on_the_class_object_lies_on_it_too() -> None:
    keep = np.zeros((6, 6), bool)
    keep[:, :4] = True
    mask = np.zeros((6, 6), bool)
    mask[0, 2:5] = True  # two of three pixels on the object
    assert (_avoided(mask, keep) == (mask | ~keep)).all()
    mask[0, 2] = False  # one of two: beside it
    assert (_avoided(mask, keep) == (mask | keep)).all()
    keep[:, 1:] = False
    mask[:, 0] = True  # nothing is left of the object
    mask[0, 3:5] = False
    assert (_avoided(mask, keep) == mask).all()
