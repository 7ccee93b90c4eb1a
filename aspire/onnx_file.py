"""Opening a network of the user's in an ONNX file: a graph of known operations and its weights."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aspire.errors import ConfigError, last_line

# What onnxruntime brings itself; "" is the standard's own name of its operations.
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file, read as data: nothing in it is executed before it has been looked through.

    Args:
        path: the file.
        key: that names it on the command line, for error messages: "classifier.path".
    """

    path: Path
    key: str

    def beside(self) -> list[Path]:
        """The files with weights that the graph names, in the order of their names.

        Raises:
            ConfigError: when one is missing, or is not where ONNX files may have theirs, and for
                operations that are neither of the standard nor made of such.
        """
        model = self._model()  # says what to install
        from onnx.external_data_helper import ExternalDataInfo, _get_all_tensors, uses_external_data

        folder = self.path.resolve().parent
        tensors = (t for t in _get_all_tensors(model) if uses_external_data(t))
        files = []
        for name in sorted({ExternalDataInfo(t).location for t in tensors}):
            file = (folder / name).resolve()
            if not file.is_relative_to(folder):
                raise ConfigError(
                    f"{self.key}={self.path} has its weights in {name}, which is not in its "
                    "folder or below. ONNX allows no other place."
                )
            if not file.is_file():
                raise ConfigError(
                    f"{self.key}={self.path} has its weights in {name} beside it, and there "
                    f"is no such file in {self.path.parent}. Copy it there."
                )
            files.append(file)
        return files

    def session(self, device: Any) -> Any:
        """An onnxruntime session.

        Raises:
            ConfigError: as :meth:`beside`, or when it cannot be loaded.
        """
        self.beside()  # refuses what may not be
        onnxruntime = self._installed("onnxruntime")
        wanted = ["CPUExecutionProvider"]
        if str(device).startswith("cuda"):
            wanted.insert(0, "CUDAExecutionProvider")
        there = onnxruntime.get_available_providers()
        try:
            return onnxruntime.InferenceSession(
                str(self.path), providers=[p for p in wanted if p in there]
            )
        except Exception as error:  # onnxruntime's own classes, one a kind of failure
            raise self._unreadable(error) from None

    def _model(self) -> Any:
        onnx = self._installed("onnx")
        try:
            model = onnx.load(self.path, load_external_data=False)
        except Exception as error:  # protobuf's own classes
            raise self._unreadable(error) from None
        own = {f.domain for f in model.functions}  # made of the file's other operations
        nodes = [n for part in (model.graph, *model.functions) for n in _nodes(part)]
        if strange := sorted({f"{n.domain}.{n.op_type}" for n in nodes} - _known(nodes, own)):
            raise ConfigError(
                f"{self.key}={self.path} uses operations that are not ONNX's: "
                f"{', '.join(strange[:5])}. These need code of somebody else's, which is not run. "
                "Export the network with the standard operations only."
            )
        return model

    def _unreadable(self, error: Exception) -> ConfigError:
        reason = last_line(error)
        return ConfigError(
            f"{self.key}={self.path} cannot be read as ONNX: {reason} Is the file whole? "
            "Expected what torch.onnx.export writes."
        )

    def _installed(self, name: str) -> Any:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"{self.key.partition('.')[0]}=onnx needs {name}: "
                "pip install 'aspire-shortcuts[onnx]'"
            ) from error


def _nodes(graph: Any) -> list[Any]:
    """All operations, those of branches and loops too."""
    found = []
    for node in graph.node:
        found.append(node)
        for attribute in node.attribute:
            inner = [attribute.g, *attribute.graphs]
            found += [n for g in inner for n in _nodes(g)]
    return found


def _known(nodes: list[Any], own: set[str]) -> set[str]:
    return {f"{n.domain}.{n.op_type}" for n in nodes if n.domain in {*DOMAINS, *own}}
