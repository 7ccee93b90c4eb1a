"""Images per second through discovery: our stages against one image at a time, in one run.

The peer is the authors' loop without its defects: all models stay in memory, and each image is
captioned and classified, its class object and each of its phrases detected and segmented, each
phrase inpainted and the result classified, all with a batch of one and each question opening the
image again, through the same classes of transformers. Ours are the stages with the artifact store
around them, so that hashing, journals and lossless files are in the count (the peer saves JPEG, as
the authors do). Controls are off, since the authors have none. Both get the same images, phrases,
models (random weights, in about the proportions of the real ones) and threads, and must agree.
The arms take turns at going first.

    python experiments/benchmarks/discovery.py ../shared/data/waterpets
    python experiments/benchmarks/discovery.py ../shared/data/waterpets --width 8  # larger models
    python experiments/benchmarks/discovery.py FOLDER --full --device cuda         # the paper's
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import cv2
import msgspec
import numpy as np
import torch
from models import save_full_size, save_models
from PIL import Image

from aspire.classification.external_hf import HfClassifier
from aspire.classification.predictor import Request
from aspire.data.table import Split
from aspire.data.waterbirds import Waterbirds
from aspire.editing.composition import CompositionRestyler
from aspire.editing.grounded_segmenter import GroundedSegmenter
from aspire.editing.grounding_dino import GroundingDino
from aspire.editing.lama import LamaInpainter
from aspire.editing.opencv_inpainter import OpenCVInpainter
from aspire.editing.sam import Sam
from aspire.language.git import GitCaptioner
from aspire.memory import keep_freed_memory
from aspire.pipeline.stage import LocalEngine
from aspire.pipeline.stages.caption import CaptionStage
from aspire.pipeline.stages.discover import EditedImage, ScoreStage
from aspire.pipeline.stages.edit import EditRequest, EditStage
from aspire.pipeline.store import ArtifactStore
from aspire.records import Extraction, ImageRef

STEPS = ("caption", "edit", "classify")
TOKENS = 16  # of a caption; random weights never end one
DILATE = 0  # masks of random weights are speckled: grown, all of an image would be the same
PHRASES = ("fence", "tree", "path", "grass")


class Clock:
    now = time.perf_counter

    def __init__(self):
        self.seconds = defaultdict(float)

    @contextmanager
    def __call__(self, step):
        start = Clock.now()
        yield
        self.seconds[step] += Clock.now() - start


class OneByOne:
    """The authors' order of work with a batch of one."""

    def __init__(self, folder, device):
        import transformers as t

        def load(kind, processor, name):
            model = kind.from_pretrained(folder / name).eval().to(device)
            return model, processor.from_pretrained(folder / name)

        self.device = device

        self.git = load(t.GitForCausalLM, t.AutoProcessor, "git")
        self.dino = load(t.AutoModelForZeroShotObjectDetection, t.AutoProcessor, "dino")
        self.sam = load(t.SamModel, t.SamProcessor, "sam")
        self.vit = load(t.AutoModelForImageClassification, t.AutoImageProcessor, "vit")
        self.lama = torch.jit.load(str(folder / "lama.pt"), map_location=device).eval()

    @torch.inference_mode()
    def run(self, root, refs, phrases, class_words, out):
        clock, captions, predicted = Clock(), {}, {}
        for ref in refs:
            with clock("caption"):
                captions[ref.img_id] = self.caption(self.open(root / ref.file))
            with clock("classify"):
                before = self.classify(self.open(root / ref.file))
            if before != ref.y:
                continue
            with clock("edit"):
                keep = self.mask(self.open(root / ref.file), class_words[ref.y])
            for phrase in phrases[ref.img_id]:
                with clock("edit"):
                    edited = self.remove(self.open(root / ref.file), phrase, keep)
                    if edited is None:
                        continue
                    Image.fromarray(edited).save(out / f"{len(predicted):06d}.jpg")
                with clock("classify"):
                    predicted[ref.img_id, phrase] = self.classify(edited)
        return clock.seconds, captions, predicted

    def open(self, path):
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))

    def caption(self, image):
        model, processor = self.git
        pixels = processor(images=image, return_tensors="pt").pixel_values.to(self.device)
        tokens = model.generate(pixel_values=pixels, max_new_tokens=TOKENS, do_sample=False)
        return " ".join(processor.batch_decode(tokens, skip_special_tokens=True)[0].split())

    def mask(self, image, words):
        model, processor = self.dino
        inputs = processor(images=image, text=words, return_tensors="pt").to(self.device)
        (found,) = processor.post_process_grounded_object_detection(
            model(**inputs), inputs.input_ids, threshold=0.0, text_threshold=0.0,
            target_sizes=[image.shape[:2]],
        )  # fmt: skip
        boxes = found["boxes"].cpu().numpy().clip(0, [image.shape[1], image.shape[0]] * 2)
        model, processor = self.sam
        inputs = processor(images=image, input_boxes=[boxes.tolist()], return_tensors="pt")
        outputs = model(
            pixel_values=inputs["pixel_values"].to(self.device),
            input_boxes=inputs["input_boxes"].float().to(self.device),
            multimask_output=False,
        )
        (masks,) = processor.post_process_masks(
            outputs.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
        )
        return masks[:, 0].any(dim=0).cpu().numpy()

    def remove(self, image, phrase, keep):
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * DILATE + 1, 2 * DILATE + 1))
        mask = cv2.dilate(self.mask(image, f"{phrase}.").astype(np.uint8), kernel) > 0
        mask &= ~keep
        if not mask.any():
            return None
        pixels = torch.from_numpy(image.copy()).to(self.device).permute(2, 0, 1)[None] / 255
        made = self.lama(pixels, torch.from_numpy(mask).to(self.device)[None, None].float())
        content = (made[0] * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
        return np.where(mask[..., None], content, image)

    def classify(self, image):
        model, processor = self.vit
        pixels = processor(images=image, return_tensors="pt").pixel_values.to(self.device)
        return int(model(pixels).logits[0].argmax())


class Batched:
    """Our stages, from the images to the effects."""

    def __init__(self, folder, batch, device):
        self.captioner = GitCaptioner(str(folder / "git"), max_new_tokens=TOKENS, device=device)
        dino = GroundingDino(
            str(folder / "dino"), box_threshold=0.0, text_threshold=0.0, device=device
        )
        self.segmenter = GroundedSegmenter(dino, Sam(str(folder / "sam"), device=device))
        self.inpainter = LamaInpainter(str(folder / "lama.pt"), feather=0, device=device)
        request = Request(("0", "1"), 0, train=None, make_model=None, device=lambda: device)
        self.classifier = HfClassifier(str(folder / "vit"), names=["0", "1"]).classifier(request)
        self.engine = LocalEngine(batch)

    def run(self, root, refs, phrases, class_words, out):
        clock, store = Clock(), ArtifactStore(out)
        with clock("caption"):
            captions = store.run(CaptionStage(self.captioner, root), refs, {}, self.engine)
        restyler = CompositionRestyler(OpenCVInpainter())  # not asked: there are no backgrounds
        stage = EditStage(
            root, self.segmenter, self.inpainter, restyler, class_words, DILATE, 1.0, controls=False
        )
        asked = [
            EditRequest(r, Extraction(
                img_id=r.img_id, foreground=phrases[r.img_id], background=None, alternative=None
            ), ())
            for r in refs
        ]  # fmt: skip
        with clock("edit"):
            edits = store.run(stage, asked, {}, self.engine)
        by_image = defaultdict(list)
        for edit in edits.records:
            by_image[edit.img_id].append(edit)
        images = [EditedImage(r, tuple(by_image[r.img_id])) for r in refs]
        with clock("classify"):
            scores = ScoreStage(self.classifier, root, edits.folder)
            effects = store.run(scores, images, {}, self.engine)
        texts = {c.img_id: c.text for c in captions.records}
        predicted = {(e.img_id, e.phrase): e.predicted_after for e in effects.records}
        return clock.seconds, texts, predicted


def speed(options):
    dataset = Waterbirds(options.folder).read()
    rows = dataset.split(Split.TRAIN).sample(options.images, random_state=0).to_dict("records")
    root = dataset.root
    phrases = PHRASES[: options.phrases]
    class_words, words = [("cat",), ("dog",)], ["cat.", "dog."]
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        if options.full:
            save_full_size(work)
        else:
            save_models(work, options.width)
        peer = OneByOne(work, options.device)
        # Labels are what the classifier says, so that no image is left out as misclassified.
        refs = [ImageRef(img_id=str(r["img_id"]), file=r["img_filename"], y=0) for r in rows]
        with torch.inference_mode():
            said = [peer.classify(peer.open(root / r.file)) for r in refs]
        refs = [msgspec.structs.replace(r, y=y) for r, y in zip(refs, said, strict=True)]
        ours = Batched(work, options.batch_size, options.device)
        asked = {r.img_id: phrases for r in refs}
        found = []
        for index in range(options.rounds + 1):  # the first warms up
            one, all_of = work / f"one{index}", work / f"all{index}"
            one.mkdir()
            arms = {
                "peer": lambda one=one: peer.run(root, refs, asked, words, one),
                "ours": lambda out=all_of: ours.run(root, refs, asked, class_words, out),
            }
            turn = sorted(arms, reverse=bool(index % 2))
            results = {name: arms[name]() for name in turn}
            found.append((results["peer"], results["ours"]))
        files = len(list(all_of.glob("edit/*/files/*/*.png")))
    report(found[1:], len(refs), files)


def report(found, number, files):
    (_, captions, predicted), (_, our_captions, our_predicted) = found[0]
    same = np.mean([captions[i] == our_captions.get(i, "") for i in captions])
    keys = predicted.keys() & our_predicted.keys()
    agree = np.mean([predicted[k] == our_predicted[k] for k in keys])
    print(
        f"{number} images, {len(predicted)} and {len(our_predicted)} edits, {files} different "
        f"files of edits and masks; equal captions {same:.0%}, equal predictions {agree:.0%}; "
        f"{torch.get_num_threads()} threads, {os.cpu_count()} cores"
    )
    print(f"  {'images/s':<12}{'one by one':>12}{'aspire':>12}{'ratio':>8}   rounds")
    for step in (*STEPS, "whole"):
        times = [
            [sum(s.values()) if step == "whole" else s[step] for s, _, _ in pair] for pair in found
        ]
        ratios = sorted(peer / ours for peer, ours in times)
        peer, ours = np.median(times, axis=0)
        listed = ", ".join(f"{r:.2f}" for r in ratios)
        print(
            f"  {step:<12}{number / peer:12.1f}{number / ours:12.1f}{np.median(ratios):8.2f}"
            f"   {listed}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--phrases", type=int, default=2, help="of an image, at most 4")
    parser.add_argument("--width", type=int, default=1, help="multiplies the models' hidden sizes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="models as large as the paper's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument(
        "--processor-time", action="store_true", help="not wall time; for busy machines, 1 thread"
    )
    options = parser.parse_args()
    keep_freed_memory()  # as every verb does; the loop gains from it too
    if options.processor_time:
        Clock.now = time.process_time
    speed(options)
