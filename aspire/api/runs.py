"""A finished training run in Python: its network, its numbers, and what it says of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aspire.api.datasets import ON_HUB
from aspire.api.words import calling, place
from aspire.cli._app import build
from aspire.cli.predict import pictures
from aspire.data.images import Pixels, read_image
from aspire.errors import ConfigError
from aspire.hub import Repository
from aspire.identity import arm_name
from aspire.own_code import code_of
from aspire.own_objects import name_of
from aspire.reporting.predictions import predictions
from aspire.reporting.table import METRICS, find_runs
from aspire.runs.trained import TrainedRun
from aspire.runs.trained import load_run as find_run
from aspire.stored.config import OWN, read_config, read_network, trusting
from aspire.stored.notes import note

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image
    from torch import nn

    from aspire.classification.backbones import Model
    from aspire.classification.predictor import RunPredictor
    from aspire.data.transforms import Preprocessing

    OnePicture: TypeAlias = str | Path | Image | NDArray[np.uint8]

CHUNK = 256  # pictures in memory at once


class Run:
    """A finished run, known by its folder.

    Args:
        trained: the run.
        make_model: gives what its network is built by.
    """

    def __init__(self, trained: TrainedRun, make_model: Callable[[], Model]) -> None:
        self._trained = trained
        self._make_model = make_model

    @property
    def folder(self) -> Path:
        """Everything about it: ``result.json``, ``config.yaml``, weights."""
        return self._trained.folder

    @property
    def result(self) -> dict[str, Any]:
        """Content of ``result.json``: settings, groups, history, warnings."""
        return self._trained.result

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Split -> its metrics, fractions in [0, 1] or None where they cannot be known.

        ``run.metrics["test"]["worst_group_acc"]``; others are ``acc``, ``acc_adjusted``,
        ``acc_balanced``, ``worst_class_acc``, ``worst_group``, and ``groups``: name ->
        ``{"acc", "n"}``.
        """
        metrics: dict[str, dict[str, Any]] = self.result["metrics"]
        return metrics

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the network's outputs."""
        return tuple(self.result["class_names"])

    @cached_property
    def model(self) -> nn.Module:
        """The network in plain PyTorch with the selected weights, on the CPU in evaluation mode.

        It takes (B, 3, S, S) float32 as :attr:`preprocessing` makes it, and gives (B, K) logits. An
        own network is of the class that it was written in.

        Raises:
            DamagedError: when the weights are not those that the run was finished with.
        """
        from aspire.classification.own_network import OwnNetwork
        from aspire.classification.predictor import load_weights

        made = self._make_model()
        net = made.build(len(self.class_names))
        load_weights(net, self._trained.check(self._trained.weights))
        return (made.unwrapped(net) if isinstance(made, OwnNetwork) else net).eval()

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How a picture becomes the input: ``p.normalise(p.evaluation(pixels)[None])``."""
        return self._make_model().preprocessing()

    def predict(self, images: OnePicture | Sequence[OnePicture]) -> pd.DataFrame:
        """What the run says of pictures.

        Args:
            images: a file, a folder with everything below it, a PIL image, an array (H, W, 3) uint8
                in RGB, or a list of any of these.

        Returns:
            A row for each picture in order: ``path`` (of an image or array its number), the
            ``predicted`` class, its ``probability`` in [0, 1], and ``p_CLASS`` for each class.

        Raises:
            DataError: for what is not there or no picture.
        """
        with calling():
            found = [one for given in _listed(images) for one in _pictures(given)]
            names = [str(one) if isinstance(one, Path) else str(i) for i, one in enumerate(found)]
            parts = [
                self._predictor([_pixels(one) for one in found[start : start + CHUNK]])
                for start in range(0, len(found), CHUNK)
            ]
            answers = np.concatenate(parts) if parts else self._predictor([])
            return predictions([Path(n) for n in names], answers, self.class_names)

    @cached_property
    def _predictor(self) -> RunPredictor:
        from aspire.classification.predictor import RunPredictor
        from aspire.training.settings import DeviceSettings

        return RunPredictor(self._trained, self._make_model, DeviceSettings().torch_device)

    def __repr__(self) -> str:
        result, test = self.result, self.metrics["test"]
        rule = "worst_group_acc" if test.get("worst_group_acc") is not None else "worst_class_acc"
        arm = arm_name(result["baseline"], result["augmentation"])
        worst = test.get(rule)
        shown = "" if worst is None else f", {rule} {worst:.3f}"
        return (
            f"<run {result['dataset']}, {arm}, {result['model']}, seed {result['seed']}: "
            f"test acc {test['acc']:.3f}{shown}; {self.folder}>"
        )


def load_run(
    path: str | Path,
    *,
    model: nn.Module | Callable[..., nn.Module] | None = None,
    own: Sequence[str] = (),
    max_gb: float = 5.0,
) -> Run:
    """A finished run by its folder, whoever made it.

    Args:
        path: the folder, as ``aspire train`` prints it and ``run.folder`` names it; or
            ``"hf://OWNER/NAME"``, ``"hf://OWNER/NAME@REVISION"`` for one that ``aspire push`` has
            written, which is fetched once and checked.
        model: the same class, function or network as in :func:`aspire.train`, where the run was
            made with a network of your own.
        own: dotted names of classes of your own that its ``config.yaml`` may name; nothing else but
            what comes with ASPIRE is imported.

    Raises:
        ConfigError: when there is none, or it takes a network of your own that is not given.
        DamagedError: when its files are not what was kept.
        DataError: when it is larger than allowed.

    >>> load_run("no/such/folder")
    Traceback (most recent call last):
    aspire.errors.ConfigError: run=no/such/folder: no result.json in it. ...
    """
    with calling():
        trained = find_run(_brought(path, max_gb))
        with trusting(own):
            stored = read_config(trained.folder).get("model")
            if isinstance(stored, Mapping) and OWN in stored:
                return Run(trained, _own_model(trained, str(stored[OWN]), model))
            if model is not None:
                raise ConfigError(
                    f"model={name_of(model)}: the run in {path} was trained with "
                    f"{trained.result['model']}, which comes with ASPIRE. Leave model out."
                )
            node = read_network(trained.folder)
    return Run(trained, lambda: build(node))


def _brought(path: str | Path, max_gb: float) -> Path:
    """The folder of a run, here or on the hub."""
    if not str(path).startswith(ON_HUB):
        return Path(path)
    repo, _, revision = str(path).removeprefix(ON_HUB).partition("@")
    outputs = place(None).get("paths.outputs") or os.environ["ASPIRE_OUTPUTS"]
    cache = Path(outputs) / "cache" / "hub"
    return Repository(repo, "model").bring(revision or "main", cache, max_gb)


def _own_model(trained: TrainedRun, name: str, model: Any) -> Callable[[], Model]:
    """What builds a network that was handed over as an object.

    Raises:
        ConfigError: without it.
    """
    from aspire.classification.own_network import OwnNetwork
    from aspire.data.transforms import Preprocessing

    if model is None:
        raise ConfigError(
            f"{trained.folder} was trained with a network of your own, {name}. Its weights are "
            f"here and its code is not: aspire.load_run({str(trained.folder)!r}, "
            f"model={name.rpartition('.')[2]})."
        )
    identity = trained.result["identity"]
    try:
        given = identity["model"]["identity"]["preprocessing"]
        lists: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in given.items()
        }
        made = OwnNetwork(model, Preprocessing(**lists))
    except (KeyError, TypeError):
        raise ConfigError(
            f"{trained.folder / 'result.json'} does not say how pictures become the input of "
            f"{name}; train the run again."
        ) from None
    known = identity.get("code", {})
    if any(known.get(k, digest) != digest for k, digest in code_of(made).items()):
        note(f"The code of {name_of(model)} has changed since {trained.folder.name} was trained.")
    return lambda: made


def results(path: str | Path = "outputs") -> pd.DataFrame:
    """Every finished training run below a folder.

    Args:
        path: the folder, such as ``outputs`` or that of a sweep.

    Returns:
        A row for each run: ``dataset``, ``model``, ``baseline``, ``augmentation``, ``seed``,
        ``needs``, ``selection``, ``steps``, then ``SPLIT/METRIC`` as fractions in [0, 1] (NaN where
        unknown), ``key`` and ``folder``. ``frame.groupby(["baseline", "augmentation"])`` is the
        way to means over seeds.

    Raises:
        ConfigError: when there is none.
    """
    import pandas as pd

    about = (
        "dataset", "model", "baseline", "augmentation", "seed", "needs", "selection", "steps"
    )  # fmt: skip
    rows = []
    with calling():
        for folder, result in find_runs(Path(path)):
            numbers = {
                f"{split}/{metric}": values.get(metric)
                for split, values in result["metrics"].items()
                for metric in METRICS
            }
            row = {k: result.get(k) for k in about} | numbers
            rows.append(row | {"key": result.get("key", ""), "folder": str(folder)})
    frame = pd.DataFrame(rows)
    frame = frame.astype({c: float for c in frame.columns if "/" in c})
    return frame.sort_values(["dataset", "model", "baseline", "augmentation", "seed"]).reset_index(
        drop=True
    )


def _listed(images: Any) -> list[Any]:
    return list(images) if isinstance(images, list | tuple) else [images]


def _pictures(given: Any) -> list[Any]:
    """Files that a path stands for, or the picture itself."""
    return list(pictures(str(given))) if isinstance(given, str | Path) else [given]


def _pixels(one: Any) -> Pixels:
    """(H, W, 3) uint8 in RGB.

    Raises:
        ConfigError: for what is no picture.
    """
    if isinstance(one, Path):
        return read_image(one)
    if hasattr(one, "convert"):
        return np.asarray(one.convert("RGB"))
    array = np.asarray(one)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ConfigError(
            f"images holds {name_of(one)} of shape {array.shape} and type {array.dtype}; expected "
            "a path, a PIL image, or an array (H, W, 3) of uint8 in RGB."
        )
    return array
