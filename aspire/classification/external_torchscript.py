"""``classifier=torchscript``: a scripted or traced module in one file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aspire.classification.external_file import FileClassifier, views
from aspire.data.images import Pixels
from aspire.errors import ConfigError
from aspire.pipeline.store import digest_of
from aspire.pretrained import file_digest


class TorchScript(FileClassifier):
    """A TorchScript file: (B, 3, size, size) float32 in, (B, M) out.

    TorchScript can run code of its own: load only files you trust.

    Args and errors: see :class:`~aspire.classification.external_file.FileClassifier`.
    """

    choice = "torchscript"
    holds = "a file of torch.jit.save"

    def digest(self) -> str:
        return digest_of([file_digest(self.path), self.preprocessing])

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
