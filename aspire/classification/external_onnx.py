"""``classifier=onnx``: a network in an ONNX file, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aspire.classification.external import pick
from aspire.classification.external_file import FileClassifier, views
from aspire.data.images import Pixels
from aspire.errors import ConfigError, last_line
from aspire.identity import Json
from aspire.onnx_file import OnnxFile
from aspire.stored.seals import file_digest


class Onnx(FileClassifier):
    """An ONNX file with one image input (B, 3, size, size) of floats; an output (B, M).

    Files beside it that the graph names for its weights belong to its identity. Where the file
    allows batches of one size only, larger ones are split.

    Args and errors: see :class:`~aspire.classification.external_file.FileClassifier`.
    """

    choice = "onnx"
    holds = "an ONNX file"

    def content(self) -> Json:
        return [file_digest(f) for f in [self.path, *self._file.beside()]]

    @property
    def _file(self) -> OnnxFile:
        return OnnxFile(self.path, "classifier.path")

    def load(self, device: Any) -> _OnnxNetwork:
        return _OnnxNetwork(self._file.session(device), self.preprocessing, self.output)


class _OnnxNetwork:
    def __init__(
        self, session: Any, preprocessing: Mapping[str, Any], output: str | int | None
    ) -> None:
        from aspire.data.transforms import Preprocessing

        self.session = session
        self.preprocessing = Preprocessing(**preprocessing)
        self.output = output
        self.input = session.get_inputs()[0]
        self.dtype = np.float16 if self.input.type == "tensor(float16)" else np.float32
        self.names = [o.name for o in session.get_outputs()]

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        batch = np.ascontiguousarray(views(self.preprocessing, images).numpy(), self.dtype)
        fixed = self.input.shape[0] if isinstance(self.input.shape[0], int) else len(batch)
        parts = [self._run(batch[i : i + fixed], fixed) for i in range(0, len(batch), fixed)]
        return np.concatenate(parts)

    def _run(self, batch: NDArray[Any], fixed: int) -> NDArray[np.float32]:
        number = len(batch)
        if number < fixed:  # exported for batches of one size
            batch = np.concatenate([batch, np.repeat(batch[-1:], fixed - number, axis=0)])
        try:
            outputs = self.session.run(None, {self.input.name: batch})
        except Exception as error:  # onnxruntime's own classes
            reason = last_line(error)
            raise ConfigError(
                f"The ONNX file does not take a batch of shape {batch.shape} (it says "
                f"{self.input.shape}): {reason} Check classifier.preprocessing.size."
            ) from None
        scores = pick(dict(zip(self.names, outputs, strict=True)), self.output)
        result: NDArray[np.float32] = scores[:number].astype(np.float32)
        return result
