"""``classifier=onnx``: a network in an ONNX file, run by onnxruntime."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aspire.classification.external import pick
from aspire.classification.external_file import FileClassifier, views
from aspire.data.images import Pixels
from aspire.errors import ConfigError, last_line
from aspire.identity import Json
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
        return [file_digest(f) for f in [self.path, *self._beside()]]

    def _beside(self) -> list[Path]:
        """The files with weights that the graph names, in the order of their names.

        Raises:
            ConfigError: when one is missing, or is not where ONNX files may have theirs.
        """
        onnx = _installed("onnx")
        from onnx.external_data_helper import ExternalDataInfo, _get_all_tensors, uses_external_data

        try:
            model = onnx.load(self.path, load_external_data=False)
        except Exception as error:  # protobuf's own classes
            raise self._unreadable(error) from None
        folder = self.path.resolve().parent
        tensors = (t for t in _get_all_tensors(model) if uses_external_data(t))
        files = []
        for name in sorted({ExternalDataInfo(t).location for t in tensors}):
            file = (folder / name).resolve()
            if not file.is_relative_to(folder):
                raise ConfigError(
                    f"classifier.path={self.path} has its weights in {name}, which is not in its "
                    "folder or below. ONNX allows no other place."
                )
            if not file.is_file():
                raise ConfigError(
                    f"classifier.path={self.path} has its weights in {name} beside it, and there "
                    f"is no such file in {self.path.parent}. Copy it there."
                )
            files.append(file)
        return files

    def _unreadable(self, error: Exception) -> ConfigError:
        reason = last_line(error)
        return ConfigError(
            f"classifier.path={self.path} cannot be read as ONNX: {reason} Is the file whole? "
            "Expected what torch.onnx.export writes."
        )

    def load(self, device: Any) -> _OnnxNetwork:
        onnxruntime = _installed("onnxruntime")
        wanted = ["CPUExecutionProvider"]
        if str(device).startswith("cuda"):
            wanted.insert(0, "CUDAExecutionProvider")
        there = onnxruntime.get_available_providers()
        try:
            session = onnxruntime.InferenceSession(
                str(self.path), providers=[p for p in wanted if p in there]
            )
        except Exception as error:  # onnxruntime's own classes, one a kind of failure
            raise self._unreadable(error) from None
        return _OnnxNetwork(session, self.preprocessing, self.output)


def _installed(name: str) -> Any:
    """A library of the extra ``onnx``.

    Raises:
        ConfigError: with what to type when it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"classifier=onnx needs {name}: pip install 'aspire-shortcuts[onnx]'"
        ) from error


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
