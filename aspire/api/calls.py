"""From the arguments of a call to the job that the command line would run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aspire.api.datasets import load_dataset
from aspire.api.words import place, words_of
from aspire.cli.jobs import Job
from aspire.errors import ConfigError, did_you_mean
from aspire.experiment import Shared
from aspire.own_objects import name_of

if TYPE_CHECKING:
    import pandas as pd

    from aspire.data.table import Dataset, Reader

# What an object must be able to do that takes the place of a choice of conf/.
METHODS = {
    "captioner": ("identity", "caption"),
    "extractor": ("identity", "extract"),
    "segmenter": ("identity", "segment"),
    "inpainter": ("identity", "inpaint"),
    "restyler": ("identity", "restyle"),
    "score": ("identity", "judge"),
    "personaliser": ("identity", "personalise"),
    "generator": ("__call__",),
    "filter": ("measured", "thresholds", "measure", "reject"),
    "baseline": ("needs", "run"),
}


def job_of(
    verb: str,
    dataset: str | Path | pd.DataFrame | Dataset | Reader,
    parts: Mapping[str, Any],
    settings: Mapping[str, Any] | None,
    *,
    seed: int,
    outputs: str | Path | None,
    decisions: str | Path | None = None,
    own: Mapping[str, Any] | None = None,
) -> Job:
    """The job of a verb.

    Args:
        verb: whose settings are taken.
        dataset: loaded, or what :func:`load_dataset` takes.
        parts: group of conf/ -> the name of a choice, an object, or None for the default.
        settings: further keys of the command line.
        seed, outputs, decisions: see the functions of the API.
        own: objects that need no check.

    Raises:
        ConfigError: for what does not exist or cannot do what is asked of it.
    """
    given = {k: v for k, v in parts.items() if v is not None}
    chosen = {k: v for k, v in given.items() if _is_name(v)}
    objects = {k: _checked(k, v) for k, v in given.items() if not _is_name(v) and k != "filter"}
    if "filter" in given:
        filters = [given["filter"]] if _is_name(given["filter"]) else list(given["filter"])
        chosen["filter"] = [f for f in filters if _is_name(f)]
        objects["filter"] = tuple(_checked("filter", f) for f in filters if not _is_name(f))
    fixed = {"seed": seed, "logger": "none", **place(outputs)}
    if decisions is not None:
        fixed["decisions"] = decisions
    words = words_of(verb, {**fixed, **chosen, **(settings or {})})
    data = load_dataset(dataset, outputs=outputs)
    held = {**objects, **(own or {})}
    if not data.words:
        held["dataset"] = data
    shared = Shared(data=(data, data.checks))
    return Job.of(verb, [*data.composing(), *words], shared=shared, own=held)


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _checked(group: str, thing: Any) -> Any:
    """An object that can do what its group does.

    Raises:
        ConfigError: naming what it lacks.
    """
    wanted = METHODS[group]
    missing = [name for name in wanted if not hasattr(thing, name)]
    if isinstance(thing, type) and group != "generator":
        raise ConfigError(
            f"{group}={name_of(thing)} is a class; expected an object of it: "
            f"{thing.__name__}(...), or the name of a choice."
        )
    if missing:
        near = did_you_mean(missing[0], [n for n in dir(thing) if not n.startswith("_")])
        raise ConfigError(
            f"{group}={name_of(thing)} has no {' and no '.join(missing)}.{near} Expected the name "
            f"of a choice, or an object with {', '.join(wanted)}; see 'How to extend' in the "
            "documentation."
        )
    return thing
