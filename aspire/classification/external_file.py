"""What classifiers in a file of their own share: TorchScript and ONNX."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aspire.classification.external import External, Gives, Mapped, Network, needed_file
from aspire.classification.predictor import Request
from aspire.data.images import Pixels
from aspire.errors import ConfigError, did_you_mean
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
        batch_size: images at once; does not change a result.

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
        names: Sequence[str] | None = None,
        gives: Gives = "logits",
        batch_size: Count = 32,
    ) -> None:
        self.path = needed_file(path, self.holds, self.choice)
        self.preprocessing = checked_preprocessing(preprocessing)
        self.classes = classes
        self.names = names
        self.gives: Gives = gives
        self.batch_size = batch_size

    def classifier(self, request: Request) -> External:
        return External(self, request)

    def output_names(self) -> tuple[str, ...] | None:
        return tuple(self.names) if self.names else None

    @abstractmethod
    def digest(self) -> str: ...

    @abstractmethod
    def load(self, device: Any) -> Network: ...


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
