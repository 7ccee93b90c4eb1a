"""What networks say of whole tables: outputs, and penultimate features, computed once for all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from aspire.classification.classifier import Classifier
from aspire.data.datamodule import evaluation_loader
from aspire.data.image_table import ImageTable
from aspire.identity import digest_of
from aspire.stored.notes import note
from aspire.stored.seals import intact, write_sealed
from aspire.training.phases import Setup
from aspire.training.settings import Identities


def collect(
    setup: Setup, net: Classifier, table: ImageTable, fn: Callable[[Classifier, Tensor], Tensor]
) -> Tensor:
    """``fn(net, images)`` over a table, in evaluation mode without gradients: (N, ...)."""
    loader = evaluation_loader(
        table,
        setup.preprocessing,
        2 * setup.fit_settings.batch_size,
        setup.device_settings.num_workers,
        setup.pixels,
    )
    net = net.to(setup.device).eval()
    setup.prepare(net)
    normalise = setup.preprocessing.normalise
    with torch.inference_mode():
        parts = [fn(net, normalise(b.image.to(setup.device))).cpu() for b in loader]
    return torch.cat(parts)


def features_of(
    setup: Setup, net: Classifier, table: ImageTable, shared: Identities | None, split: str
) -> Tensor:
    """(N, D) float32 penultimate features of a table.

    Args:
        shared: says what the images are, so that they are kept for all runs; None to keep none.
        split: name of the table among those images.
    """
    if shared is None or not setup.device_settings.feature_cache:
        return collect(setup, net, table, lambda n, x: n.features(x))
    weights = {k: v.detach().cpu().contiguous() for k, v in net.backbone.state_dict().items()}
    identity = {
        "weights": hashlib.sha256(save(weights)).hexdigest(),
        "preprocessing": setup.preprocessing.to_dict(),
        "images": shared.images,
        "split": split,
        "autocast": str(setup.device_settings.autocast()),
    }
    if "code" in shared.training:  # equal weights of a network that computes something else
        identity["network"] = [shared.training["model"], shared.training["code"]]
    path = shared.root / "features" / f"{digest_of(identity)[:16]}.safetensors"
    if path.is_file():
        if intact(path):
            return load_file(path)["features"]
        note(f"{path} is not what was kept. The features are computed again.")
    features = collect(setup, net, table, lambda n, x: n.features(x))
    write_sealed(path, save({"features": features.contiguous()}))
    return features


def logits_of(setup: Setup, net: Classifier, features: Tensor) -> Tensor:
    """(N, K) float32 outputs of the head for penultimate features."""
    head = net.head.to(setup.device)
    with torch.inference_mode():
        parts = [head(part.to(setup.device)).cpu() for part in features.split(4096)]
    return torch.cat(parts)
