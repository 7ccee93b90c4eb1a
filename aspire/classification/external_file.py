"""What classifiers in a file of their own share: TorchScript, ONNX, and weights for own code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from aspire.classification.external import External, Gives, Mapped, Network, needed_file, pick
from aspire.classification.predictor import Request
from aspire.data.images import Pixels
from aspire.errors import ConfigError, did_you_mean, last_line
from aspire.identity import Json, digest_of
from aspire.stored.seals import file_digest
from aspire.values import Count


class FileClassifier(ABC):
    """A network in a file that brings neither preprocessing nor names.

    Args:
        path: the file.
        preprocessing: keys of :class:`~aspire.data.transforms.Preprocessing`: how pixels become
            the input.
        classes: class of the dataset -> its outputs, by number or name; None when the outputs are
            the classes in order.
        names: of the outputs, in order.
        gives: what the outputs are.
        output: which of several results of the network holds the class scores, by name or number.
        batch_size: images at once; does not change a result.
        anyway: look for shortcuts though it is no better than guessing.

    Raises:
        ConfigError: without a file, or for a preprocessing that cannot be.
    """

    choice: ClassVar[str]  # of conf/classifier
    holds: ClassVar[str]  # what the file is, for error messages

    def __init__(
        self,
        path: str | None = None,
        preprocessing: Mapping[str, Any] | None = None,
        classes: Mapped | None = None,
        names: Sequence[str | int] | None = None,
        gives: Gives = "logits",
        output: str | int | None = None,
        batch_size: Count = 32,
        anyway: bool = False,
    ) -> None:
        self.path = needed_file(path, self.holds, self.choice)
        self.preprocessing = checked_preprocessing(preprocessing)
        self.classes = classes
        self.names = names
        if gives not in get_args(Gives):
            raise ConfigError(f"classifier.gives={gives}: expected logits or probabilities.")
        self.gives: Gives = gives
        self.output = output
        self.batch_size = batch_size
        self.anyway = anyway

    def classifier(self, request: Request) -> External:
        return External(self, request)

    def output_names(self) -> tuple[str, ...] | None:
        return tuple(map(str, self.names)) if self.names else None

    def content(self) -> Json:
        """Digests of every file that the outputs depend on."""
        return file_digest(self.path)

    def digest(self) -> str:
        chosen = [] if self.output is None else [str(self.output)]
        return digest_of([self.content(), self.preprocessing, *chosen])

    @abstractmethod
    def load(self, device: Any) -> Network: ...


class TorchNetwork:
    """A torch module with its preprocessing, in float32.

    Args:
        module: on its device, in evaluation mode.
        preprocessing: keys of :class:`~aspire.data.transforms.Preprocessing`.
        path: for error messages.
        output: see :func:`~aspire.classification.external.pick`.
    """

    def __init__(
        self,
        module: Any,
        preprocessing: Mapping[str, Any],
        device: Any,
        path: Path,
        output: str | int | None = None,
    ) -> None:
        from aspire.data.transforms import Preprocessing

        self.module = module.float()  # a CPU knows little of half precision
        self.preprocessing = Preprocessing(**preprocessing)
        self.device = device
        self.path = path
        self.output = output

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        import torch

        batch = views(self.preprocessing, images).to(self.device)
        with torch.inference_mode():
            try:
                outputs = self.module(batch)
            except Exception as error:  # whatever a network of somebody else's does
                raise ConfigError(
                    f"{self.path} does not take a batch of shape {tuple(batch.shape)}: "
                    f"{last_line(error)} Check classifier.preprocessing.size."
                ) from None
        result: NDArray[np.float32] = pick(outputs, self.output).float().cpu().numpy()
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
