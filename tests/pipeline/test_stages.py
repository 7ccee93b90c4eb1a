"""The stages on hand-made items: every reason once, every number by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from PIL import Image

from aspire.data.images import png_bytes, read_image, read_labels
from aspire.editing.annotations import AnnotationSegmenter
from aspire.editing.base import Segmentation
from aspire.editing.composition import CompositionRestyler
from aspire.editing.opencv_inpainter import OpenCVInpainter
from aspire.errors import DataError
from aspire.generation.base import ClassEvidence, Sampled
from aspire.generation.composition import CompositionPersonaliser
from aspire.language.base import Phrases
from aspire.language.dataset_captioner import DatasetCaptioner
from aspire.pipeline.stages.caption import CaptionStage
from aspire.pipeline.stages.edit import EditRequest, EditStage
from aspire.pipeline.stages.extract import ExtractStage, with_alternatives
from aspire.pipeline.stages.generate import GenerateStage, GenerationRequest, PersonaliseStage
from aspire.records import (
    Caption,
    Concept,
    Context,
    EditReason,
    Extraction,
    ImageRef,
    Rejected,
    SpuriousFeature,
    SyntheticImage,
)
from aspire.rng import seed_for


def no_files(pixels: Any) -> str:
    raise AssertionError("this stage writes no images")


class Shelf:
    """Keeps the images a stage saves."""

    def __init__(self) -> None:
        self.images: dict[str, Any] = {}

    def __call__(self, pixels: Any) -> str:
        name = f"{len(self.images)}.png"
        self.images[name] = pixels
        return name


# --- captions and phrases --------------------------------------------------------------------


def test_caption_strips_and_rejects_what_has_no_words(tmp_path: Path) -> None:
    texts = ["a bird ", None, "  "]
    items = [ImageRef(img_id=str(i), file="x", y=0, caption=t) for i, t in enumerate(texts)]
    results = list(CaptionStage(DatasetCaptioner(), tmp_path).run(items, no_files))
    assert results[0].records == (Caption(img_id="0", text="a bird"),)
    assert [r.rejected[0].reason for r in results[1:]] == ["no_caption", "no_caption"]
    assert [r.records for r in results[1:]] == [(), ()]


class ScriptedExtractor:
    def __init__(self, answers: Mapping[str, Phrases]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []

    def identity(self) -> Mapping[str, Any]:
        return {"extractor": "scripted"}

    def extract(self, captions: Sequence[str], words: Sequence[Sequence[str]]) -> list[Phrases]:
        self.asked += [tuple(w) for w in words]
        return [self.answers[c] for c in captions]


def test_extraction_without_background_keeps_its_phrases_and_is_counted() -> None:
    answers = {
        "a bird and a cat": Phrases(("cat",), None),
        "a bird on a lake": Phrases((), "lake"),
    }
    extractor = ScriptedExtractor(answers)
    captions = [Caption(img_id=str(i), text=t) for i, t in enumerate(answers)]
    stage = ExtractStage(extractor, {"0": ["bird"], "1": ["duck"]})
    first, second = stage.run(captions, no_files)
    assert first.records[0].foreground == ("cat",)
    assert first.rejected == (
        Rejected(item_id="0", reason="no_background", detail="a bird and a cat"),
    )
    assert second.records[0].background == "lake"
    assert second.rejected == ()
    assert extractor.asked == [("bird",), ("duck",)]


def test_alternatives_are_filled_in_and_given_ones_kept_where_they_can_be_drawn() -> None:
    def extraction(i: str, background: str | None, alternative: str | None = None) -> Extraction:
        return Extraction(img_id=i, foreground=(), background=background, alternative=alternative)

    given = [
        extraction("0", "lake"),
        extraction("1", "forest"),
        extraction("2", None),
        extraction("3", "lake", "moon"),
    ]
    drawn = with_alternatives(given, seed=0, needs_donors=False, classes={})
    assert [e.alternative for e in drawn] == ["forest", "lake", None, "moon"]
    cut = with_alternatives(given, seed=0, needs_donors=True, classes={})
    assert [e.alternative for e in cut] == ["forest", "lake", None, "forest"]  # no image of a moon


# --- edits -----------------------------------------------------------------------------------

SIZE = 24
OBJECT, BOAT = (slice(6, 14), slice(6, 14)), (slice(12, 18), slice(16, 20))


@pytest.fixture
def photo(tmp_path: Path) -> Callable[..., ImageRef]:
    """Writes a noisy photo with a class object (1) and, in front of a scene, a boat (2)."""

    def make(
        img_id: str, masked: bool = True, objects: bool = True, labels: Any | None = None
    ) -> ImageRef:
        seed = seed_for(0, img_id)
        pixels = np.random.default_rng(seed).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{img_id}.png")
        if labels is None:
            labels = np.zeros((SIZE, SIZE), np.uint8)
            labels[BOAT] = 2
            labels[OBJECT] = 1
        Image.fromarray(labels).save(tmp_path / f"{img_id}-mask.png")
        return ImageRef(
            img_id=img_id,
            file=f"{img_id}.png",
            y=0,
            mask=f"{img_id}-mask.png" if masked else None,
            objects={"boat": 2} if objects else {},
        )

    return make


def edit_stage(root: Path, **options: Any) -> EditStage:
    inpainter = OpenCVInpainter()
    restyler = CompositionRestyler(inpainter)
    return EditStage(root, AnnotationSegmenter(), inpainter, restyler, **options)


def edit(
    root: Path,
    ref: ImageRef,
    foreground: tuple[str, ...] = (),
    background: str | None = None,
    alternative: str | None = None,
    donors: tuple[ImageRef, ...] = (),
    **options: Any,
) -> tuple[Any, Shelf]:
    extraction = Extraction(
        img_id=ref.img_id, foreground=foreground, background=background, alternative=alternative
    )
    shelf = Shelf()
    stage = edit_stage(root, **options)
    (result,) = stage.run([EditRequest(ref, extraction, donors)], shelf)
    assert result.item_id == ref.img_id
    return result, shelf


def test_removal_changes_the_mask_and_nothing_else(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    ref = photo("a")
    result, shelf = edit(tmp_path, ref, foreground=("boat",), dilate=2)
    (made,) = result.records
    assert (made.edit_id, made.kind) == ("a/remove_object/boat", "remove_object")
    assert (made.replacement, made.donor) == (None, None)
    before, after = read_image(tmp_path / ref.file), shelf.images[made.file]
    mask = shelf.images[made.mask]
    assert set(mask.flat) == {0, 255}
    assert after.dtype == mask.dtype == np.uint8
    assert after.shape == before.shape
    assert (after[mask == 0] == before[mask == 0]).all()
    assert (after[BOAT] != before[BOAT]).any()
    # 6 x 4 pixels grown by 2 reach rows 10 to 19 and columns 14 to 21
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 19, 14, 21)
    assert made.edited_share == pytest.approx((mask > 0).mean(), abs=1e-6)


def test_removal_takes_no_bite_out_of_the_class_object(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    ref = photo("a")
    result, shelf = edit(tmp_path, ref, foreground=("boat",), dilate=6)
    mask = shelf.images[result.records[0].mask]
    assert (mask[OBJECT] == 0).all()
    after = shelf.images[result.records[0].file]
    assert (after[OBJECT] == read_image(tmp_path / ref.file)[OBJECT]).all()


def test_segmenters_mask_is_not_changed_in_place(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    class Remembering(AnnotationSegmenter):
        everything = np.ones((SIZE, SIZE), dtype=bool)

        def segment(self, images: Any, phrases: Any) -> Any:
            return [Segmentation(mask=self.everything) for _ in images]

    stage = edit_stage(tmp_path, dilate=0, max_mask=1.0)
    stage.segmenter = Remembering()
    extraction = Extraction(img_id="a", foreground=("x",), background=None, alternative=None)
    list(stage.run([EditRequest(photo("a"), extraction, ())], Shelf()))
    assert Remembering.everything.all()


@pytest.mark.parametrize("alternative", ["lake", None])
def test_background_change_keeps_the_object_and_names_its_donor(
    tmp_path: Path, photo: Callable[..., ImageRef], alternative: str | None
) -> None:
    ref, donor = photo("a"), photo("d")
    result, shelf = edit(
        tmp_path, ref, background="forest", alternative=alternative, donors=(donor,)
    )
    if alternative is None:  # the corpus shows no other scene
        assert [r.reason for r in result.rejected] == ["no_donor"]
        return
    (made,) = result.records
    assert made.edit_id == "a/change_background/forest"
    assert (made.phrase, made.replacement, made.donor) == ("forest", "lake", "d")
    before, after = read_image(tmp_path / ref.file), shelf.images[made.file]
    mask = shelf.images[made.mask]
    assert ((mask == 0) == (read_labels(tmp_path / ref.mask) == 1)).all()
    assert (after[mask == 0] == before[mask == 0]).all()
    assert (after[0] == read_image(tmp_path / donor.file)[0]).all()
    assert made.edited_share == pytest.approx(1 - 64 / SIZE**2, abs=1e-6)


def test_reasons_for_no_edit(tmp_path: Path, photo: Callable[..., ImageRef]) -> None:
    everywhere = np.full((SIZE, SIZE), 2, np.uint8)
    everywhere[:3, :3] = 1
    hidden = np.ones((SIZE, SIZE), np.uint8)
    hidden[0, 0] = 2

    def reasons(ref: ImageRef, **request: Any) -> list[tuple[str, str]]:
        result, shelf = edit(tmp_path, ref, **request)
        assert result.records == ()
        assert shelf.images == {}
        assert {r.reason for r in result.rejected} <= set(get_args(EditReason))
        return [(r.reason, r.detail) for r in result.rejected]

    assert reasons(photo("a"), foreground=("tree",)) == [("no_box", "tree: not annotated")]
    assert reasons(photo("b", masked=False), background="sea", alternative="forest") == [
        ("no_object_mask", "sea: the image has no annotated mask")
    ]
    no_boat = np.zeros((SIZE, SIZE), np.uint8)
    assert reasons(photo("h", labels=no_boat), foreground=("boat",)) == [("empty_mask", "boat")]
    assert reasons(photo("c", labels=everywhere), foreground=("boat",), dilate=0) == [
        ("mask_too_large", "boat: 98% of the image, at most 50%")  # 567 of 576 pixels
    ]
    assert reasons(photo("d"), background="sea", alternative="forest") == [
        ("no_donor", "sea: no image of forest")
    ]
    donor = photo("e", masked=False)
    assert reasons(photo("f"), background="sea", alternative="forest", donors=(donor,)) == [
        ("no_donor", "sea: no image of forest")
    ]
    assert edit(tmp_path, photo("g"))[0].rejected == ()


def test_object_that_the_class_object_hides_is_not_removed(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    class Same(AnnotationSegmenter):
        def segment(self, images: Any, phrases: Any) -> Any:
            return self.segment_class_object(images, phrases)

    stage = edit_stage(tmp_path, dilate=0)
    stage.segmenter = Same()
    extraction = Extraction(img_id="a", foreground=("x",), background=None, alternative=None)
    (result,) = stage.run([EditRequest(photo("a"), extraction, ())], Shelf())
    assert result.rejected[0].reason == "empty_mask"
    assert result.rejected[0].detail == "x: hidden by the class object"


def test_mask_of_another_size_is_a_data_error(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    ref = photo("a", labels=np.ones((SIZE, SIZE + 2), np.uint8))
    with pytest.raises(DataError, match=r"a-mask\.png is 26 x 24, its image a\.png 24 x 24"):
        edit(tmp_path, ref, foreground=("boat",))


def test_edits_do_not_depend_on_what_else_is_in_the_batch(
    tmp_path: Path, photo: Callable[..., ImageRef]
) -> None:
    refs = [photo(i) for i in "abcd"]
    requests = [
        EditRequest(
            r,
            Extraction(
                img_id=r.img_id, foreground=("boat",), background="sea", alternative="forest"
            ),
            tuple(d for d in refs if d is not r),
        )
        for r in refs
    ]

    def content(batches: list[list[EditRequest]]) -> dict[str, bytes]:
        found = {}
        for batch in batches:
            shelf = Shelf()
            for result in edit_stage(tmp_path).run(batch, shelf):
                found |= {e.edit_id: png_bytes(shelf.images[e.file]) for e in result.records}
        return found

    together = content([requests])
    assert len(together) == 8
    assert together == content([[r] for r in requests[::-1]])


def test_every_edit_setting_is_in_the_identity(tmp_path: Path) -> None:
    plain = edit_stage(tmp_path).identity()
    for setting in ("dilate", "images_per_class", "seed"):
        assert edit_stage(tmp_path, **{setting: 9}).identity() != plain
    assert edit_stage(tmp_path, max_mask=0.9).identity() != plain
    assert edit_stage(tmp_path / "elsewhere").identity() == plain


# --- concepts and images ---------------------------------------------------------------------


def test_personalise_rejects_without_evidence_and_without_context() -> None:
    forest = SpuriousFeature(
        feature_id="001/0001", y=1, rank=1, kind="change_background", phrase="forest", support=9,
        flips=9, flip_rate=1.0, score=0.7, mean_drop=0.5, spurious=True, examples=(),
    )  # fmt: skip
    ref = ImageRef(img_id="a", file="a.png", y=1, mask="m.png")
    clean = ClassEvidence(0, "cat", (), (), (ref,), {}, {})
    stuck = ClassEvidence(1, "dog", (forest,), (), (ref,), {}, {})
    results = list(PersonaliseStage(CompositionPersonaliser()).run([clean, stuck], no_files))
    assert [r.item_id for r in results] == ["000", "001"]
    assert [r.rejected[0].reason for r in results] == ["no_spurious_feature", "no_context"]


class OddSampler:
    """Refuses odd seeds."""

    batch_size = 2

    def identity(self) -> Mapping[str, Any]:
        return {"sampler": "odd"}

    def sample(self, requests: Sequence[GenerationRequest]) -> list[Sampled | Rejected]:
        assert len(requests) <= self.batch_size
        return [self.one(r) for r in requests]

    def one(self, asked: GenerationRequest) -> Sampled | Rejected:
        if asked.seed % 2:
            return Rejected(item_id="?", reason="no_composition", detail="odd")
        mask = np.zeros((4, 4), dtype=bool)
        mask[1, 2] = True
        pixels = np.full((4, 4, 3), asked.seed, np.uint8)
        parents = ("p", "s")
        kept = mask if asked.seed else None
        return Sampled(pixels, f"a {asked.class_name}", parents, kept, "no", "lake")


def test_generate_keeps_what_is_needed_to_make_an_image_again() -> None:
    concept = Concept(
        concept_id="001", y=1, objects=("p",), avoided=("forest",),
        contexts=(Context(phrase="lake", weight=1.0, donors=("s",)),),
    )  # fmt: skip
    shelf = Shelf()
    stage = GenerateStage(OddSampler(), seed=0, per_class={1: 3})
    requests = [GenerationRequest(f"g{s}", concept, "dog", s) for s in (0, 1, 2)]
    bare, refused, made = stage.run(requests, shelf)
    assert bare.records[0].mask is None
    assert refused.rejected == (Rejected(item_id="g1", reason="no_composition", detail="odd"),)
    image = made.records[0]
    assert (image.img_id, image.y, image.seed, image.prompt) == ("g2", 1, 2, "a dog")
    assert image.parents == ("p", "s")
    assert (image.concept_id, image.negative_prompt, image.scene) == ("001", "no", "lake")
    assert (shelf.images[image.file] == 2).all()
    assert shelf.images[image.mask].sum() == 255
    assert stage.identity() == {"sampler": {"sampler": "odd"}, "seed": 0, "per_class": {"1": 3}}


def test_a_rejection_says_which_edit_it_was(photo: Callable[..., ImageRef], tmp_path: Path) -> None:
    (tmp_path / "a/remove_object").mkdir(parents=True)
    ref = photo("a/remove_object/b", labels=np.zeros((SIZE, SIZE), np.uint8))
    (rejected,) = edit(tmp_path, ref, foreground=("boat",))[0].rejected
    assert (rejected.img_id, rejected.kind, rejected.phrase) == (
        "a/remove_object/b", "remove_object", "boat"
    )  # fmt: skip
    # others are stored as they were before edits said so
    assert msgspec.json.encode(Rejected(item_id="a", reason="no_caption")) == (
        b'{"item_id":"a","reason":"no_caption","detail":""}'
    )
    line = b'{"item_id":"a/remove_object/boat","reason":"no_box","detail":"boat"}'
    assert not msgspec.json.decode(line, type=Rejected).phrase


def test_a_generated_image_of_before_scenes_were_kept_is_read() -> None:
    line = b"""{"img_id": "g", "y": 0, "seed": 1, "prompt": "a dog, lake", "parents": ["", ""],
        "file": "files/x.png", "mask": null, "concept_id": "000", "negative_prompt": ""}"""
    assert msgspec.json.decode(line, type=SyntheticImage).scene == ""
