"""``classifier=onnx``: a network in an ONNX file, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aspire.classification.external_file import FileClassifier, views
from aspire.data.images import Pixels
from aspire.errors import ConfigError
from aspire.pipeline.store import digest_of
from aspire.pretrained import file_digest


class Onnx(FileClassifier):
    """An ONNX file with one image input (B, 3, size, size) float32; its first output (B, M).

    Weights that lie beside it in ``FILE.data`` belong to its identity. Where the file allows
    batches of one size only, larger ones are split.

    Args and errors: see :class:`~aspire.classification.external_file.FileClassifier`.
    """

    choice = "onnx"
    holds = "an ONNX file"

    def digest(self) -> str:
        beside = self.path.with_name(f"{self.path.name}.data")
        files = [self.path, beside] if beside.is_file() else [self.path]
        return digest_of([[file_digest(f) for f in files], self.preprocessing])

    def load(self, device: Any) -> _OnnxNetwork:
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(
                "classifier=onnx needs onnxruntime: pip install 'aspire-shortcuts[onnx]'"
            ) from error
        wanted = ["CPUExecutionProvider"]
        if str(device).startswith("cuda"):
            wanted.insert(0, "CUDAExecutionProvider")
        there = onnxruntime.get_available_providers()
        try:
            session = onnxruntime.InferenceSession(
                str(self.path), providers=[p for p in wanted if p in there]
            )
        except Exception as error:  # onnxruntime's own classes, one a kind of failure
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"classifier.path={self.path} cannot be read: {reason}") from None
        return _OnnxNetwork(session, self.preprocessing)


class _OnnxNetwork:
    def __init__(self, session: Any, preprocessing: Mapping[str, Any]) -> None:
        from aspire.data.transforms import Preprocessing

        self.session = session
        self.preprocessing = Preprocessing(**preprocessing)
        self.input = session.get_inputs()[0]

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        batch = np.ascontiguousarray(views(self.preprocessing, images).numpy())
        fixed = self.input.shape[0] if isinstance(self.input.shape[0], int) else len(batch)
        parts = [self._run(batch[i : i + fixed], fixed) for i in range(0, len(batch), fixed)]
        return np.concatenate(parts)

    def _run(self, batch: NDArray[np.float32], fixed: int) -> NDArray[np.float32]:
        number = len(batch)
        if number < fixed:  # exported for batches of one size
            batch = np.concatenate([batch, np.repeat(batch[-1:], fixed - number, axis=0)])
        try:
            outputs: NDArray[np.float32] = self.session.run(None, {self.input.name: batch})[0]
        except Exception as error:  # onnxruntime's own classes
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"The ONNX file does not take a batch of shape {batch.shape} (it says "
                f"{self.input.shape}): {reason} Check classifier.preprocessing.size."
            ) from None
        return outputs[:number]
