"""Run folders made by hand, sound and hostile, without training anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

CONFIG: dict[str, Any] = {
    "dataset": {"_target_": "aspire.data.waterbirds.Waterbirds", "root": "gone"},
    "model": {"_target_": "aspire.classification.backbones.SmallCNN"},
    "optimizer": {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.01},
    "seed": 0,
}
TEST = {
    "acc": 0.75, "acc_adjusted": 0.7, "acc_balanced": 0.7, "worst_group_acc": 0.5,
    "worst_group": "landbird/water", "worst_class_acc": 0.6,
    "groups": {"landbird/land": {"acc": 1.0, "n": 2}, "landbird/water": {"acc": 0.5, "n": 2}},
}  # fmt: skip


def run_folder(
    root: Path,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    weights: bytes = b"weights",
    **changes: Any,
) -> Path:
    """A finished run below ``root/train``: configuration, weights, result, environment."""
    name = f"small_cnn-s{seed}-{seed:012d}"
    folder = root / "train" / "waterbirds" / "erm" / "none" / name
    folder.mkdir(parents=True)
    result = {
        "schema": 1, "key": f"{seed:012d}", "dataset": "waterbirds", "dataset_digest": "0" * 64,
        "class_names": ["landbird", "waterbird"], "attribute_names": ["land", "water"],
        "group_definition": "", "baseline": "erm", "model": "small_cnn", "augmentation": "none",
        "seed": seed, "needs": "nothing", "selection": "val_acc", "selected_step": 10,
        "selectable": {}, "steps": 10, "method": {}, "warnings": [], "generated_digest": None,
        "train_images": 40, "checks": {}, "group_counts": {}, "history": {},
        "metrics": {"val": TEST, "test": TEST},
        "weights_sha256": hashlib.sha256(weights).hexdigest(), "identity": {},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | dict(config or {})))
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "result.json").write_text(json.dumps(result | changes))
    (folder / "environment.json").write_text(json.dumps({"aspire": "0.1.0"}))
    return folder


def hostile(file: Path) -> dict[str, Any]:
    """Settings that would make a file if anybody built them."""
    touch = {"_target_": "distutils.spawn.spawn", "cmd": ["touch", str(file)]}
    return {"model": touch, "dataset": {"_target_": "pathlib.Path.touch", "self": str(file)}}
