"""A trained classifier as a function from pixels to probabilities, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import Pixels
from aspire.errors import ConfigError, DamagedError, DataError
from aspire.pretrained import device_and_dtype
from aspire.runs.trained import TrainedRun, load_run
from aspire.stored.seals import file_digest


class Probabilities(Protocol):
    """What discovery and filters need of a classifier."""

    digest: str

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """(N, K) probabilities of the classes; rows sum to 1. Images may differ in size."""
        ...


def finite(outputs: NDArray[Any]) -> None:
    """Refuse outputs of a classifier that are no numbers: each would become an even answer.

    Raises:
        DataError: saying how many there are.
    """
    if bad := int(np.count_nonzero(~np.isfinite(outputs))):
        raise DataError(
            f"{bad} of {outputs.size} outputs of the classifier for {len(outputs)} images are not "
            "finite (NaN or infinite), so nothing can be said of it. Did its training diverge, or "
            "does it get pixels in another range than in its training (mean, std)?"
        )


@dataclass(frozen=True)
class Request:
    """For what a classifier is wanted, and what may be used to get one.

    Args:
        class_names: of the dataset, in index order; the columns of the answer.
        seed: of the run.
        train: name of a baseline -> the finished run of it on this dataset with this seed.
        make_model: run -> its :class:`~aspire.classification.backbones.Model`.
        device: gives the torch device; asked only when there is something to predict.
    """

    class_names: tuple[str, ...]
    seed: int
    train: Callable[[str], TrainedRun]
    make_model: Callable[[TrainedRun], Any]
    device: Callable[[], Any] = lambda: "cpu"

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process needs to predict; training stays here."""
        return (Request, (self.class_names, self.seed, _only_here, _only_here, _device_there))


def _only_here(*args: Any) -> Any:
    raise RuntimeError("classifiers are trained by the main process")


def _device_there() -> Any:
    return device_and_dtype()[0]


class Source(Protocol):
    """A choice of conf/classifier/: where the classifier comes from.

    One that exists already says with ``anyway`` whether discovery goes on where nothing can be
    concluded from it (see :mod:`aspire.classification.examination`); it is examined first of all.
    """

    def classifier(self, request: Request) -> Probabilities:
        """The classifier, not yet loaded.

        Raises:
            AspireError: when it is unavailable or its classes are not those of the dataset.
        """
        ...


class TrainedHere:
    """``classifier=erm``: trained on this dataset with this seed, or found finished.

    Args:
        baseline: how.
    """

    def __init__(self, baseline: str = "erm") -> None:
        self.baseline = baseline

    def classifier(self, request: Request) -> Probabilities:
        run = request.train(self.baseline)
        return RunPredictor(run, lambda: request.make_model(run), request.device)


class FinishedRun:
    """``classifier=run``: any finished run, whatever it was trained on.

    Args:
        path: its folder.
        selection: another rule to select its weights by; None for its own.
        anyway: look for shortcuts though it is no better than guessing.
    """

    def __init__(
        self, path: str | None = None, selection: str | None = None, anyway: bool = False
    ) -> None:
        if not path:
            raise ConfigError(
                "classifier.path is not set; expected the folder of a finished run, such as the "
                "one that aspire train prints: classifier=run classifier.path=DIR"
            )
        self.path = Path(path)
        self.selection = selection
        self.anyway = anyway

    def classifier(self, request: Request) -> Probabilities:
        run = load_run(self.path)
        if tuple(run.result["class_names"]) != request.class_names:
            raise ConfigError(
                f"classifier.path={self.path}: the run tells "
                f"{', '.join(run.result['class_names'])} apart, the dataset holds "
                f"{', '.join(request.class_names)}. Expected the same classes in the same order; "
                "name them with 'dataset.class_names=[...]'."
            )
        weights = run.weights_by(self.selection) if self.selection else None
        return RunPredictor(run, lambda: request.make_model(run), request.device, weights=weights)


class RunPredictor:
    """The classifier of a finished run, loaded when first used.

    Args:
        run: a finished run.
        make_model: gives the :class:`~aspire.classification.backbones.Model` it was trained with.
        device: gives the torch device; asked only when there is something to predict.
        batch_size: images at once; does not change a result.
        weights: other weights of the run than the selected ones.
    """

    def __init__(
        self,
        run: TrainedRun,
        make_model: Callable[[], Any],
        device: Callable[[], Any] = lambda: "cpu",
        batch_size: int = 64,
        weights: Path | None = None,
    ) -> None:
        self.run = run
        self.weights = weights or run.weights
        self.digest = run.digest if weights is None else file_digest(weights)
        self.make_model = make_model
        self.device = device
        self.batch_size = batch_size
        self._loaded: tuple[Any, Any, Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """The same in another process: nothing loaded yet, and on the device there."""
        make = partial(_itself, self.make_model())
        other = None if self.weights == self.run.weights else self.weights
        return (RunPredictor, (self.run, make, _device_there, self.batch_size, other))

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        import torch

        from aspire.data.pixels import shrink
        from aspire.data.transforms import stack_views

        if self._loaded is None:
            model = self.make_model()
            net = model.build(len(self.run.result["class_names"]))
            load_weights(net, self.run.check(self.weights))
            device = self.device()
            net.to(device, memory_format=torch.channels_last).eval()
            self._loaded = (net, model.preprocessing(), device)
        net, preprocessing, device = self._loaded
        side = preprocessing.stored_side
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), self.batch_size):
                chunk = images[start : start + self.batch_size]
                views = [preprocessing.evaluation(shrink(i, side)) for i in chunk]
                logits = net(preprocessing.normalise(stack_views(views).to(device)))
                finite(logits.cpu().numpy())
                parts.append(logits.softmax(1).cpu().numpy())
        if not parts:
            return np.zeros((0, len(self.run.result["class_names"])), np.float32)
        return np.concatenate(parts)


def load_weights(net: Any, file: Path) -> None:
    """Put weights into a network.

    Raises:
        DamagedError: when the file cannot be read, or is of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        net.load_state_dict(load_file(file))
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DamagedError(
            f"{file} holds no weights of the network that config.yaml beside it describes: {reason}"
        ) from None


def _itself(thing: Any) -> Any:
    return thing
