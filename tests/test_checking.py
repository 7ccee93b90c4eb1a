"""Configured values against the annotations of constructors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from aspire import checking
from aspire.checking import check, problems, signature_of
from aspire.confdir import conf_dir
from aspire.errors import ConfigError

NAN, INF = float("nan"), float("inf")
OPEN = "a number between 0 and 1, both excluded,"
EIGHTS = "a whole number from 8 to 4096, a multiple of 8,"
SHARE = "a number above 0 and of at most 1"
OUTSIDE: list[tuple[str, str, Any, str]] = [
    ("baselines.afr.AFR", "holdout", 1.0, "a number between 0 and 1, both excluded"),
    ("baselines.afr.AFR", "holdout", 0.0, "a number between 0 and 1, both excluded"),
    ("baselines.afr.AFR", "gammas", [], "a list, each a number of at least 0, at least 1 of them"),
    (
        "baselines.afr.AFR",
        "gammas",
        [4, -1],
        "a list, each a number of at least 0, at least 1 of them",
    ),
    (
        "baselines.afr.AFR",
        "strengths",
        [-0.1],
        "a list, each a number of at least 0, at least 1 of them",
    ),
    ("baselines.afr.AFR", "head_steps", 0, "a whole number of at least 1"),
    ("baselines.afr.AFR", "head_lr", 0.0, "a number above 0"),
    ("baselines.cnc.CnC", "temperature", 0, "a number above 0"),
    ("baselines.cnc.CnC", "temperature", NAN, "a number above 0"),
    ("baselines.cnc.CnC", "reference", -0.1, "a number above 0"),
    ("baselines.cnc.CnC", "contrastive_weight", 1.1, "a number from 0 to 1"),
    ("baselines.cnc.CnC", "positives", 0, "a whole number of at least 1"),
    ("baselines.cnc.CnC", "negatives", 2.5, "a whole number of at least 1"),
    ("baselines.cutmix.CutMix", "alpha", 0, "a number above 0"),
    ("baselines.cutmix.CutMix", "alpha", INF, "a number above 0, and a finite one"),
    ("baselines.cutmix.CutMix", "probability", 0, SHARE),
    ("baselines.cutmix.CutMix", "probability", 1.1, SHARE),
    ("baselines.cvardro.CVaRDRO", "alpha", 1.01, SHARE),
    ("baselines.cvardro.CVaRDRO", "alpha", NAN, SHARE),
    ("baselines.dfr.DFR", "source", "test", "val or train"),
    ("baselines.dfr.DFR", "strengths", [], "a list, each a number above 0, at least 1 of them"),
    (
        "baselines.dfr.DFR",
        "strengths",
        [1.0, 0.0],
        "a list, each a number above 0, at least 1 of them",
    ),
    ("baselines.dfr.DFR", "refits", 0, "a whole number of at least 1"),
    ("baselines.divdis.DivDis", "heads", 1, "a whole number of at least 2"),
    ("baselines.divdis.DivDis", "heads", 2.5, "a whole number of at least 2"),
    ("baselines.divdis.DivDis", "labels", 0, "a whole number of at least 1"),
    ("baselines.divdis.DivDis", "diversity", -1.0, "a number of at least 0"),
    ("baselines.divdis.DivDis", "consistency", NAN, "a number of at least 0"),
    ("baselines.eiil.EIIL", "reference", 2, SHARE),
    ("baselines.eiil.EIIL", "env_steps", 0, "a whole number of at least 1"),
    ("baselines.eiil.EIIL", "env_lr", 0.0, "a number above 0"),
    ("baselines.eiil.EIIL", "eta", -1, "a number of at least 0"),
    ("baselines.groupdro.GroupDRO", "eta", -0.1, "a number of at least 0"),
    ("baselines.groupdro.GroupDRO", "adjustment", -0.1, "a number of at least 0"),
    ("baselines.jtt.JTT", "identify", 1.5, SHARE),
    ("baselines.jtt.JTT", "upweight", 0.5, "a number of at least 1"),
    ("baselines.lff.LfF", "q", 1.1, SHARE),
    ("baselines.lff.LfF", "ema", 1.0, "a number of at least 0 and below 1"),
    ("baselines.lff.LfF", "ema", -0.1, "a number of at least 0 and below 1"),
    ("baselines.lisa.LISA", "mix_alpha", -1.0, "a number above 0"),
    ("baselines.lisa.LISA", "intra_label", 1.1, "a number from 0 to 1"),
    ("baselines.masktune.MaskTune", "deviations", -1.0, "a number of at least 0"),
    ("baselines.masktune.MaskTune", "passes", 0.0, "a number above 0"),
    ("baselines.mixup.Mixup", "alpha", 0, "a number above 0"),
    ("baselines.ssa.SSA", "infer", 0.0, SHARE),
    ("baselines.ssa.SSA", "val_fraction", 1.0, "a number of at least 0 and below 1"),
    ("baselines.ssa.SSA", "threshold", 1.2, SHARE),
    ("baselines.ssa.SSA", "folds", 1, "a whole number of at least 2"),
    ("baselines.ssa.SSA", "eta", -0.5, "a number of at least 0"),
    ("generation.mixing.Generated", "share", 0, f"{OPEN} or null"),
    ("generation.mixing.Duplicates", "share", 1, f"{OPEN} or null"),
    ("generation.mixing.Replaced", "share", -0.1, f"{OPEN} or null"),
    ("generation.mixing.RandAugmented", "num_ops", 0, "a whole number of at least 1"),
    ("generation.mixing.RandAugmented", "magnitude", 31, "a whole number from 0 to 30"),
    ("generation.textual_inversion.TextualInversion", "size", 100, f"{EIGHTS} or null"),
    ("generation.textual_inversion.TextualInversion", "vectors", 0, "a whole number of at least 1"),
    ("generation.lora.LoRA", "rank", 0, "a whole number of at least 1"),
    ("generation.lora.LoRA", "per", "image", "class or feature"),
    ("generation.text_to_image.TextToImage", "size", 100, f"{EIGHTS} or null"),
    ("generation.image_to_image.ImageToImage", "strength", 0, SHARE),
    ("editing.diffusion_inpainter.DiffusionInpainter", "size", 100, f"{EIGHTS} or null"),
    ("editing.opencv_inpainter.OpenCVInpainter", "method", "lama", "telea or navier_stokes"),
    ("data.hard_imagenet.HardImageNet", "definition", "D", "A, B or C"),
    ("data.hard_imagenet.HardImageNet", "held_out", 0, "a whole number of at least 1"),
    (
        "training.settings.DeviceSettings",
        "devices",
        "two",
        "a whole number of at least 1 or auto",
    ),
    (
        "training.settings.DeviceSettings",
        "threads",
        0,
        "a whole number of at least 1 or null",
    ),
    ("classification.backbones.SmallCNN", "image_size", 0, "a whole number from 16 to 4096"),
    ("pipeline.stage.LocalEngine", "batch_size", 0, "a whole number of at least 1"),
    ("pipeline.device_engine.DeviceEngine", "devices", 0, "a whole number of at least 1 or auto"),
    (
        "language.openai_extractor.OpenAIExtractor",
        "response_format",
        "yaml",
        "json_schema, json_object or none",
    ),
    (
        "language.florence2.Florence2Captioner",
        "task",
        "<OD>",
        "<CAPTION>, <DETAILED_CAPTION> or <MORE_DETAILED_CAPTION>",
    ),
]


@pytest.mark.parametrize(("target", "name", "value", "expected"), OUTSIDE)
def test_a_value_outside_its_range_is_refused(
    target: str, name: str, value: Any, expected: str
) -> None:
    said = list(problems({"_target_": f"aspire.{target}", "_partial_": True, name: value}, "node"))
    assert said == [f"node.{name}={checking.shown(value)}: expected {expected}."]


def test_a_near_choice_is_offered() -> None:
    with pytest.raises(ConfigError) as error:
        check({"_target_": "aspire.baselines.divdis.DivDis", "target": "tset"}, "baseline")
    said = "baseline.target=tset: expected val or test. Did you mean test?"
    assert str(error.value) == said


def test_every_choice_of_conf_fits_its_own_constructor() -> None:
    for path in sorted(conf_dir().rglob("*.yaml")):
        node = yaml.safe_load(path.read_bytes())
        target = isinstance(node, dict) and str(node.get("_target_", ""))
        if not target or not target.startswith("aspire."):
            continue
        signature = signature_of(target)
        assert signature is not None, target
        unchecked = [n for n in node if n in signature.hints and signature.hints[n] is Any]
        # What is built from a node of its own is no plain value.
        objects = {"segmenter", "restyler", "inpainter", "detector", "masker", "classes"}
        assert set(unchecked) <= objects, f"{path}: no annotation that says what is expected"


def test_the_source_is_read_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_loss.py").write_text(
        "from dataclasses import dataclass\nfrom pathlib import Path\n"
        "raise SystemExit('imported')\n"
        "class Base:\n    def __init__(self, depth: int, **more: object) -> None: ...\n"
        "class Own(Base):\n    def __init__(self, file: Path, loose=3, **more) -> None: ...\n"
        "@dataclass\nclass Settings:\n    rate: float\n    name: 'str' = 'x'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = {"_target_": "own_loss.Own", "file": "a.csv", "loose": "any", "depth": "deep"}
    assert list(problems(own, "baseline")) == ["baseline.depth=deep: expected a whole number."]
    settings = {"_target_": "own_loss.Settings", "rate": "fast"}
    assert list(problems(settings, "x")) == ["x.rate=fast: expected a number."]


def test_what_a_constructor_of_ours_does_not_take_is_named() -> None:
    node = {"_target_": "aspire.baselines.groupdro.GroupDRO", "etta": 1}
    (said,) = problems(node, "baseline")
    assert said == "baseline.etta: GroupDRO takes no such value. Did you mean eta?"
    assert list(problems({"_target_": "no.such.Thing", "x": "y"}, "baseline")) == []


def test_nested_nodes_lists_and_unset_values() -> None:
    node = {
        "_target_": "aspire.editing.grounded_segmenter.GroundedSegmenter",
        "detector": {"_target_": "aspire.editing.boxes.CentredBox", "share": 2},
        "masker": {"_target_": "aspire.editing.grabcut.GrabCut", "iterations": True},
    }
    assert list(problems(node, "segmenter")) == [
        "segmenter.detector.share=2: expected a number above 0 and of at most 1.",
        "segmenter.masker.iterations=true: expected a whole number of at least 1.",
    ]
    node = {"_target_": "aspire.language.image_text.ImageTextCaptioner", "model": "???"}
    assert list(problems(node, "captioner")) == [
        "captioner.prompt is not set: expected a text.",
        "captioner.model is not set: expected a text.",
    ]
