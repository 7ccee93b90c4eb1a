"""``classifier=torchscript``: a scripted or traced module in one file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aspire.classification.external import External, Gives, Mapped, needed_file
from aspire.classification.predictor import Request
from aspire.data.images import Pixels
from aspire.errors import ConfigError, did_you_mean
from aspire.pipeline.store import digest_of
from aspire.pretrained import file_digest


class TorchScript:
    """A TorchScript file: (B, 3, size, size) float32 in, (B, M) out.

    TorchScript can run code of its own: load only files you trust.

    Args:
        path: the file.
        preprocessing: keys of :class:`~aspire.data.transforms.Preprocessing`: how pixels become
            the input.
        classes: class of the dataset -> its outputs, by number or name; None when the outputs are
            the classes in order.
        names: of the outputs, in order.
        gives: what the outputs are.
        batch_size: images at once; does not change a result.
    """

    def __init__(
        self,
        path: str | None = None,
        preprocessing: Mapping[str, Any] | None = None,
        classes: Mapped | None = None,
        names: Sequence[str] | None = None,
        gives: Gives = "logits",
        batch_size: int = 32,
    ) -> None:
        self.path = needed_file(path, "a file of torch.jit.save", "torchscript")
        self.preprocessing = checked_preprocessing(preprocessing)
        self.classes = classes
        self.names = names
        self.gives: Gives = gives
        self.batch_size = batch_size

    def classifier(self, request: Request) -> External:
        return External(self, request)

    def digest(self) -> str:
        return digest_of([file_digest(self.path), self.preprocessing])

    def output_names(self) -> tuple[str, ...] | None:
        return tuple(self.names) if self.names else None

    def load(self, device: Any) -> TorchNetwork:
        import torch

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # the file exists all the same
                module = torch.jit.load(self.path, map_location=device).eval()
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"classifier.path={self.path} is not a TorchScript file: {reason} Expected what "
                "torch.jit.script(model).save(FILE) or torch.jit.trace(...).save(FILE) writes; a "
                "state dict has no network in it."
            ) from None
        return TorchNetwork(module, self.preprocessing, device, self.path)


class TorchNetwork:
    """A torch module with its preprocessing."""

    def __init__(
        self, module: Any, preprocessing: Mapping[str, Any], device: Any, path: Path
    ) -> None:
        from aspire.data.transforms import Preprocessing

        self.module = module
        self.preprocessing = Preprocessing(**preprocessing)
        self.device = device
        self.path = path

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        import torch

        batch = views(self.preprocessing, images).to(self.device)
        with torch.inference_mode():
            try:
                outputs = self.module(batch)
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[-1]
                raise ConfigError(
                    f"{self.path} does not take a batch of shape {tuple(batch.shape)}: {reason} "
                    "Check classifier.preprocessing.size."
                ) from None
        first = outputs[0] if isinstance(outputs, tuple | list) else outputs
        result: NDArray[np.float32] = first.float().cpu().numpy()
        return result


def views(preprocessing: Any, images: Sequence[Pixels]) -> Any:
    """(B, 3, size, size) float32 as the classifier expects it."""
    from aspire.data.transforms import stack_views

    return preprocessing.normalise(stack_views([preprocessing.evaluation(i) for i in images]))


def checked_preprocessing(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """All keys that matter in evaluation, as plain values.

    Raises:
        ConfigError: for a key there is not, or without a size.
    """
    known = {
        "size": None,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "crop": 0.875,
        "interpolation": "bilinear",
    }
    values = dict(given or {})
    for key in values:
        if key not in known:
            raise ConfigError(
                f"classifier.preprocessing.{key}: no such key.{did_you_mean(key, known)} Keys: "
                f"{', '.join(known)}."
            )
    values = {**known, **values}
    if not isinstance(values["size"], int) or values["size"] < 1:
        raise ConfigError(
            f"classifier.preprocessing.size={values['size']}: expected the side of the square "
            "input in pixels, for example 224."
        )
    if values["interpolation"] not in ("bilinear", "bicubic"):
        raise ConfigError(
            f"classifier.preprocessing.interpolation={values['interpolation']}: expected bilinear "
            "or bicubic."
        )
    return {**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])}
