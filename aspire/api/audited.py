"""Whose shortcuts are looked for: a network in memory, a name, or a finished run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from aspire.api.runs import Run
from aspire.checking import check
from aspire.cli._overrides import choices_of
from aspire.errors import ConfigError, did_you_mean
from aspire.own_objects import name_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from aspire.data.transforms import Preprocessing

    Transform: TypeAlias = Preprocessing | Callable[[Any], Tensor]

KEYS = "classifier."


def audited_by(
    model: str | Path | Run | nn.Module | None,
    transform: Transform | None,
    settings: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Objects and settings by which a classifier is found.

    Args:
        model: see :func:`aspire.discover`; None for the default.
        transform: of a network in memory.
        settings: of the call.

    Raises:
        ConfigError: for what is none of these.
    """
    words = dict(settings or {})
    if transform is not None and (model is None or isinstance(model, str | Path | Run)):
        raise ConfigError(
            "transform is given and no network: a classifier by name or folder knows its own "
            "preprocessing (settings={'classifier.preprocessing.size': 224} changes it)."
        )
    if model is None:
        return {}, words
    if isinstance(model, Run):
        return _of_run(model), {"classifier": "run", "classifier.path": str(model.folder), **words}
    if isinstance(model, str | Path):
        return {}, {**_named(model), **words}
    return {"classifier": _in_memory(model, transform, words)}, {
        k: v for k, v in words.items() if not k.startswith(KEYS)
    }


def _of_run(run: Run) -> dict[str, Any]:
    from aspire.classification.own_network import OwnNetwork

    made = run._make_model()
    return {"model": made} if isinstance(made, OwnNetwork) else {}


def _named(model: str | Path) -> dict[str, Any]:
    """Words for a choice of conf/classifier, a baseline that is trained here, or a folder."""
    kinds, baselines = choices_of("classifier"), choices_of("baseline")
    if model in kinds:
        return {"classifier": model}
    if model in baselines:
        return {"classifier": "erm", "classifier.baseline": model}
    path = Path(model)
    if (path / "result.json").is_file():
        return {"classifier": "run", "classifier.path": str(path.absolute())}
    raise ConfigError(
        f"model={model} is neither a classifier, a baseline nor the folder of a finished run."
        f"{did_you_mean(str(model), [*kinds, *baselines])} Classifiers: {', '.join(kinds)}; "
        f"baselines, trained here on real images: {', '.join(baselines)}. Or give an nn.Module."
    )


def _in_memory(model: Any, transform: Any, settings: Mapping[str, Any]) -> Any:
    from torch import nn

    from aspire.classification.own_network import OwnModule

    if not isinstance(model, nn.Module):
        called = " Call the class first: discover shows the trained network to pictures."
        raise ConfigError(
            f"model is {'the class ' if isinstance(model, type) else 'a '}{name_of(model)}; "
            f"expected a torch.nn.Module, a name, or a run.{called * isinstance(model, type)}"
        )
    keys = {k.removeprefix(KEYS): v for k, v in settings.items() if k.startswith(KEYS)}
    taken = [p for p in inspect.signature(OwnModule).parameters if p not in ("module", "transform")]
    for key in keys:
        if key not in taken:
            raise ConfigError(
                f"{KEYS}{key}: no such key of a network in memory.{did_you_mean(key, taken)} Keys: "
                f"{', '.join(KEYS + k for k in taken)}."
            )
    target = f"{OwnModule.__module__}.{OwnModule.__name__}"
    check({"_target_": target, "_partial_": True, **keys}, KEYS.rstrip("."))
    return OwnModule(model, transform, **keys)
