"""Grounding DINO, SAM, SAM 2 and GrabCut: thresholds by hand, and the real classes end to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aspire.data.loaded import LoadedImage
from aspire.editing.base import Detection, Segmentation
from aspire.editing.boxes import AnnotatedBoxes, CentredBox
from aspire.editing.grabcut import GrabCut
from aspire.editing.grounded_segmenter import GroundedSegmenter
from aspire.editing.grounding_dino import GroundingDino
from aspire.editing.sam import Sam
from aspire.editing.sam2 import Sam2


def noise(height: int, width: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def pictures(loaded: Callable[..., LoadedImage]) -> list[LoadedImage]:
    """Three sizes, two of which are padded to the same one."""
    return [
        loaded("wide", noise(40, 60, 1)),
        loaded("square", noise(50, 50, 2)),
        loaded("wider", noise(42, 60, 3)),
    ]


def outputs(scores: Sequence[Sequence[float]], boxes: Sequence[Sequence[float]]) -> Any:
    """What the model would say: for each query the probabilities of the tokens, and its box."""
    import torch

    probabilities = torch.tensor([scores], dtype=torch.float64)
    return SimpleNamespace(
        logits=torch.log(probabilities / (1 - probabilities)).float(),
        pred_boxes=torch.tensor([boxes]),
        input_ids=None,
    )


def read(
    folder: Path,
    scores: Sequence[Sequence[float]],
    boxes: Sequence[Sequence[float]],
    **options: Any,
) -> Detection:
    detector = GroundingDino(str(folder), **options)
    ids = detector._loaded[1].tokenizer(["cat."], return_tensors="pt")["input_ids"]  # 4 tokens
    (detection,) = detector.read(outputs(scores, boxes), ids, [(50, 200)])
    return detection


def test_boxes_above_the_threshold_are_kept_in_pixels_of_the_original(
    tiny_grounding_dino: Path,
) -> None:
    # centre and size as fractions of 200 x 50: the first from 80 to 120 and from 10 to 30
    boxes = [[0.5, 0.4, 0.2, 0.4], [0.1, 0.5, 0.4, 0.2], [0.9, 0.9, 0.1, 0.1]]
    scores = [[0.01, 0.8, 0.1, 0.01], [0.01, 0.31, 0.2, 0.01], [0.01, 0.29, 0.2, 0.01]]
    found = read(tiny_grounding_dino, scores, boxes)
    # the second reaches from -20 to 60, of which the image shows the part from 0
    expected = np.array([[80, 10, 120, 30], [0, 20, 60, 30]])
    assert found.boxes == pytest.approx(expected, abs=1e-3)
    assert found.boxes.dtype == np.float32
    assert found.score == pytest.approx(0.8, abs=1e-6)
    assert found.reason is None


@pytest.mark.parametrize(("best", "reason"), [(0.29, "low_score"), (0.1, "no_box")])
def test_no_box_and_a_doubtful_box_are_told_apart(
    tiny_grounding_dino: Path, best: float, reason: str
) -> None:
    found = read(tiny_grounding_dino, [[0.01, best, 0.01, 0.01]], [[0.5, 0.5, 0.5, 0.5]])
    assert found.boxes.shape == (0, 4)
    assert found.reason == reason
    assert found.score == pytest.approx(best, abs=1e-6)
    assert found.detail == f"best score {best:.2f}, box threshold 0.3"


def test_box_without_a_token_above_the_text_threshold_does_not_count(
    tiny_grounding_dino: Path,
) -> None:
    row, box = [[0.01, 0.5, 0.01, 0.01]], [[0.5, 0.5, 0.5, 0.5]]
    assert len(read(tiny_grounding_dino, row, box, text_threshold=0.25).boxes) == 1
    doubtful = read(tiny_grounding_dino, row, box, text_threshold=0.6)
    assert (len(doubtful.boxes), doubtful.reason) == (0, "low_score")


def test_phrases_are_asked_as_the_model_was_trained(tiny_grounding_dino: Path) -> None:
    class Asked(GroundingDino):
        def _ask(self, images: Any, texts: Sequence[str]) -> list[Detection]:
            self.texts = list(texts)
            return []

    detector = Asked(str(tiny_grounding_dino))
    detector.detect([], ["Old Boat", "tree."])
    assert detector.texts == ["old boat.", "tree."]
    detector.detect_class_object([], [["waterbird", "bird"], ["Dog"]])
    assert detector.texts == ["waterbird. bird.", "dog."]


@pytest.mark.parametrize("size", [1, 2, 16])
def test_detections_do_not_depend_on_the_batch(
    tiny_grounding_dino: Path, pictures: list[LoadedImage], size: int
) -> None:
    images = [*pictures, pictures[0]]
    phrases = ["cat", "a dog of the forest", "tree", "a bird"]
    options: Any = {"box_threshold": 0.0, "text_threshold": 0.0}
    together = GroundingDino(str(tiny_grounding_dino), batch_size=size, **options)
    alone = GroundingDino(str(tiny_grounding_dino), batch_size=1, **options)
    found = together.detect(images, phrases)
    assert [len(d.boxes) for d in found] == [10] * 4
    for one, image, phrase in zip(found, images, phrases, strict=True):
        (other,) = alone.detect([image], [phrase])
        assert one.boxes == pytest.approx(other.boxes, abs=1e-2)
        assert one.score == pytest.approx(other.score, abs=1e-4)


def test_the_backbone_sees_an_image_once_and_answers_are_those_of_transformers(
    tiny_grounding_dino: Path, pictures: list[LoadedImage]
) -> None:
    import torch
    from transformers import AutoProcessor, GroundingDinoForObjectDetection, SwinBackbone

    detector = GroundingDino(
        str(tiny_grounding_dino), box_threshold=0.0, text_threshold=0.0, batch_size=2
    )
    images = [pictures[1], pictures[1], pictures[0], pictures[1]]
    words = ["cat", "a dog of the forest", "bird", "tree"]
    shown: list[int] = []
    watch = detector._loaded[0].model.backbone.conv_encoder.model.swin.embeddings
    watch.register_forward_hook(lambda _, pixels, __: shown.append(len(pixels[0])))
    found = detector.detect(images, words)
    found += detector.detect_class_object([pictures[1]], [["cat"]])
    assert shown == [1, 1]  # the square one, the wide one
    detector.detect([LoadedImage(pictures[1].ref, pictures[1].root)], ["cat"])
    assert shown == [1, 1, 1]  # read again, it is another image
    assert len(detector._seen) == 2

    model = GroundingDinoForObjectDetection.from_pretrained(tiny_grounding_dino).eval()
    assert isinstance(model.model.backbone.conv_encoder.model, SwinBackbone)
    processor = AutoProcessor.from_pretrained(tiny_grounding_dino)
    for place, text in ((0, "cat."), (1, "a dog of the forest."), (3, "tree."), (4, "cat.")):
        inputs = processor(images=pictures[1].pixels, text=text, return_tensors="pt")
        with torch.inference_mode():
            outputs = model(**inputs)
        (expected,) = processor.post_process_grounded_object_detection(
            outputs, inputs.input_ids, threshold=0.0, text_threshold=0.0, target_sizes=[(50, 50)]
        )
        boxes = expected["boxes"].numpy().clip(0, 50)
        assert found[place].boxes == pytest.approx(boxes, abs=1e-3)
        assert found[place].score == pytest.approx(float(outputs.logits.sigmoid().max()), abs=1e-5)


MASKERS = [(Sam, "tiny_sam"), (Sam2, "tiny_sam2")]


@pytest.mark.parametrize(("kind", "fixture"), MASKERS)
def test_masks_do_not_depend_on_the_batch_and_boxes_are_united(
    kind: type[Sam], fixture: str, request: Any, pictures: list[LoadedImage]
) -> None:
    folder = str(request.getfixturevalue(fixture))
    pixels = [p.pixels for p in pictures]
    one = np.array([[5, 5, 30, 30]], np.float32)
    two = np.array([[5, 5, 30, 30], [20, 10, 45, 38]], np.float32)
    masks = kind(folder).masks([pixels[0], pixels[1], pixels[0], pixels[2]], [one, one, two, two])
    assert [m.shape for m in masks] == [(40, 60), (50, 50), (40, 60), (42, 60)]
    single = kind(folder, batch_size=1)
    asked = [(pixels[0], one), (pixels[1], one), (pixels[0], two), (pixels[2], two)]
    for mask, (image, boxes) in zip(masks, asked, strict=True):
        (alone,) = single.masks([image], [boxes])
        assert isinstance(mask, np.ndarray)
        assert isinstance(alone, np.ndarray)
        assert mask.dtype == np.bool_
        assert (mask != alone).mean() < 0.01  # the arithmetic's order may tip a pixel
    parts = [single.masks([pixels[0]], [two[i : i + 1]])[0] for i in range(2)]
    assert (masks[2] != (parts[0] | parts[1])).mean() < 0.01


def test_the_image_encoder_sees_an_image_once_however_many_phrases(
    tiny_sam: Path, pictures: list[LoadedImage]
) -> None:
    masker = Sam(str(tiny_sam))
    model, _ = masker._loaded
    shown, original = [], model.get_image_embeddings
    model.get_image_embeddings = lambda pixels: (shown.append(len(pixels)), original(pixels))[1]
    box = np.array([[5, 5, 30, 30]], np.float32)
    pixels = [pictures[i].pixels for i in (0, 1, 0, 0, 2)]
    masks = masker.masks(pixels, [box] * 5)
    assert shown == [3]
    again = masker.masks(pixels, [box] * 5)  # other phrases of the same images
    assert shown == [3]
    assert all((a == b).all() for a, b in zip(masks, again, strict=True))
    masker.masks([pixels[0].copy()], [box])
    assert shown == [3, 1]
    assert len(masker._seen) == 3  # of the copy nothing is left


@pytest.mark.parametrize(
    ("kind", "fixture", "plain"),
    [(Sam, "tiny_sam", "SamModel"), (Sam2, "tiny_sam2", "Sam2Model")],
)
def test_masks_are_those_of_transformers_with_a_prompt_at_a_time(
    kind: type[Sam], fixture: str, plain: str, request: Any, pictures: list[LoadedImage]
) -> None:
    import torch
    import transformers

    folder = request.getfixturevalue(fixture)
    boxes = [np.array(b, np.float32) for b in ([[3.5, 5.25, 31, 30]], [[9, 2, 41.7, 38.1]])]
    pixels = [pictures[0].pixels, pictures[1].pixels, pictures[0].pixels]
    masks = kind(str(folder)).masks(pixels, [boxes[0], boxes[1], boxes[1]])
    model = getattr(transformers, plain).from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    for mask, image, box in zip(masks, pixels, [boxes[0], boxes[1], boxes[1]], strict=True):
        inputs = processor(images=image, input_boxes=[box.tolist()], return_tensors="pt")
        with torch.inference_mode():
            outputs = model(
                pixel_values=inputs["pixel_values"],
                input_boxes=inputs["input_boxes"].float(),
                multimask_output=False,
            )
        sizes = [inputs[name] for name in kind.sizes]
        (expected,) = processor.post_process_masks(outputs.pred_masks, *sizes)
        assert isinstance(mask, np.ndarray)
        assert (mask != expected[0, 0].numpy()).mean() < 0.01  # rounding may tip a pixel


@pytest.mark.parametrize(("kind", "fixture"), MASKERS)
def test_with_bfloat16_the_encoder_computes_in_it_and_prompts_stay_exact(
    kind: type[Sam],
    fixture: str,
    request: Any,
    pictures: list[LoadedImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    folder = str(request.getfixturevalue(fixture))
    pixels = [p.pixels for p in pictures]
    boxes = [np.array([[5, 5, 30, 30]], np.float32)] * 3
    exact = kind(folder).masks(pixels, boxes)
    half = torch.device("cpu"), torch.bfloat16
    monkeypatch.setattr(f"{kind.__module__}.device_and_dtype", lambda device: half)
    monkeypatch.setattr("aspire.editing.sam.device_and_dtype", lambda device: half)
    masker = kind(folder)
    dtypes = set()
    for module in masker._loaded[0].modules():
        if type(module) is torch.nn.Linear:
            module.register_forward_hook(lambda *call: dtypes.add(call[2].dtype))
    rounded = masker.masks(pixels, boxes)
    assert dtypes == {torch.bfloat16, torch.float32}  # encoder and decoder
    for mask, other in zip(exact, rounded, strict=True):
        assert isinstance(mask, np.ndarray)
        assert (mask != other).mean() < 0.1  # weights are random: many pixels lie near the edge


@pytest.mark.parametrize(("kind", "fixture"), MASKERS)
def test_phrase_to_mask_with_real_classes(
    tiny_grounding_dino: Path,
    kind: type[Sam],
    fixture: str,
    request: Any,
    pictures: list[LoadedImage],
) -> None:
    masker = kind(str(request.getfixturevalue(fixture)))
    eager = GroundingDino(str(tiny_grounding_dino), box_threshold=0.0, text_threshold=0.0)
    for found in (
        GroundedSegmenter(eager, masker).segment(pictures, ["cat", "dog", "tree"]),
        GroundedSegmenter(eager, masker).segment_class_object(pictures, [["bird", "cat"]] * 3),
    ):
        for segmentation, image in zip(found, pictures, strict=True):
            well_formed(segmentation, image)
            assert segmentation.reason in (None, "empty_mask")
    picky = GroundingDino(str(tiny_grounding_dino), box_threshold=1.0, near_threshold=1.1)
    for segmentation in GroundedSegmenter(picky, masker).segment(pictures, ["cat"] * 3):
        assert segmentation.mask is None
        assert segmentation.reason == "no_box"


def well_formed(segmentation: Segmentation, image: LoadedImage) -> None:
    assert (segmentation.mask is None) != (segmentation.reason is None)
    if segmentation.mask is not None:
        assert segmentation.mask.dtype == np.bool_
        assert segmentation.mask.shape == image.pixels.shape[:2]
        assert segmentation.mask.any()


def test_one_image_that_breaks_the_masker_is_failed_and_no_other(
    tiny_sam: Path, pictures: list[LoadedImage]
) -> None:
    class Moody(Sam):
        def _embedded(self, images: Any) -> Any:
            if any(image is pictures[1].pixels for image in images):
                raise ValueError("no mask today")
            return super()._embedded(images)

    segmenter = GroundedSegmenter(CentredBox(), Moody(str(tiny_sam)))
    found = segmenter.segment_class_object(pictures, [["cat"]] * 3)
    assert [s.reason == "failed" for s in found] == [False, True, False]
    assert found[1].detail == "ValueError: no mask today"


# --- GrabCut and boxes without a model -------------------------------------------------------


def disc(height: int = 60, width: int = 80) -> tuple[Any, Any]:
    """A red disc in the middle of a green picture, with some noise; and its mask."""
    rows, columns = np.mgrid[:height, :width]
    mask = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < 15**2
    pixels = np.where(mask[..., None], (200, 40, 40), (40, 160, 60))
    pixels = pixels + np.random.default_rng(0).integers(-10, 11, pixels.shape)
    return pixels.astype(np.uint8), mask


def test_grabcut_finds_the_disc_in_a_centred_box(loaded: Callable[..., LoadedImage]) -> None:
    pixels, mask = disc()
    segmenter = GroundedSegmenter(CentredBox(), GrabCut())
    (found,) = segmenter.segment_class_object([loaded("a", pixels)], [["disc"]])
    assert found.mask is not None
    assert (found.mask & mask).sum() / (found.mask | mask).sum() > 0.95
    (phrase,) = segmenter.segment([loaded("a", pixels)], ["disc"])
    assert (phrase.mask, phrase.reason) == (None, "no_box")


def test_grabcut_refines_a_rough_annotation(loaded: Callable[..., LoadedImage]) -> None:
    pixels, mask = disc()
    labels = np.zeros(mask.shape, np.uint8)
    labels[12:49, 20:61] = 2  # somebody's box around the disc
    image = loaded("a", pixels, labels, ball=2)
    (found,) = GroundedSegmenter(AnnotatedBoxes(), GrabCut()).segment([image], ["ball"])
    assert found.mask is not None
    assert (found.mask & mask).sum() / (found.mask | mask).sum() > 0.95


def test_grabcut_repeats_itself_whatever_came_before(loaded: Callable[..., LoadedImage]) -> None:
    image = noise(40, 50, 5)
    box = np.array([[5, 5, 40, 30]], np.float32)
    (first,) = GrabCut().masks([image], [box])
    again = GrabCut().masks(
        [noise(30, 30, 6), image], [np.array([[3, 3, 20, 20]], np.float32), box]
    )
    assert (np.asarray(first) == np.asarray(again[1])).all()


@pytest.mark.parametrize("box", [[10, 10, 11, 11], [0, 0, 1, 40], [90, 90, 99, 99]])
def test_box_with_nothing_in_it_is_an_empty_mask(box: list[float]) -> None:
    (mask,) = GrabCut().masks([noise(40, 50)], [np.array([box], np.float32)])
    assert isinstance(mask, np.ndarray)
    assert not mask.any()


def test_box_around_the_whole_image_does_not_stop_it() -> None:
    (mask,) = GrabCut().masks([noise(40, 50)], [np.array([[0, 0, 50, 40]], np.float32)])
    assert isinstance(mask, np.ndarray)


def test_annotated_boxes_reach_around_the_mask(loaded: Callable[..., LoadedImage]) -> None:
    labels = np.zeros((40, 50), np.uint8)
    labels[10:20, 30:49] = 1
    image = loaded("a", noise(40, 50), labels)
    (found,) = AnnotatedBoxes(margin=3).detect_class_object([image], [[]])
    assert found.boxes.tolist() == [[27, 7, 50, 23]]  # x from 30-3 to 49+3, which is past the edge
    (missing,) = AnnotatedBoxes().detect([image], ["kite"])
    assert (missing.boxes.shape, missing.reason) == ((0, 4), "no_box")


def test_identities_name_what_changes_the_answer(tiny_sam: Path, tiny_grounding_dino: Path) -> None:
    dino = str(tiny_grounding_dino)
    one = GroundingDino(dino).identity()
    assert GroundingDino(dino, device="cpu", batch_size=3).identity() == one
    for option in ("box_threshold", "text_threshold", "near_threshold", "bucket"):
        changed: Any = {option: 7}
        assert GroundingDino(dino, **changed).identity() != one
    assert Sam(str(tiny_sam), batch_size=1).identity() == Sam(str(tiny_sam)).identity()
    assert Sam2(str(tiny_sam)).identity() != Sam(str(tiny_sam)).identity()
    assert GrabCut(3).identity() != GrabCut().identity()
    assert CentredBox(0.5).identity() != CentredBox().identity()
