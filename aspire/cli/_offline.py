"""``offline=true``: what is missing here is said at the start, and nothing is fetched."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from aspire.cli._app import build, own_keys, task_overrides
from aspire.cli.models import GROUPS, Needed, in_words, needed, size_of
from aspire.errors import ConfigError
from aspire.hub import Kind, Repository
from aspire.model_files import snapshot, state

# Read by libraries when they are imported, and by processes that are started later.
VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_MAKING = ("personaliser", "generator", "filter")


def offline(cfg: DictConfig, verb: str) -> AbstractContextManager[None]:
    """Keep a job from the network, once everything it loads is seen to be here.

    Raises:
        ConfigError: naming what is missing, with the command that fetches it.
    """
    if verb != "models":  # which says so itself
        told = [*_unfetched(cfg), *_missing(needed(cfg, groups_of(cfg, verb)), verb)]
        if told:
            raise ConfigError("\n".join(told))
    return without_network()


def groups_of(cfg: DictConfig, verb: str) -> Sequence[str]:
    """The groups of ``conf/`` that a job asks; not those it only might have asked."""
    if verb == "discover":
        return [g for g in GROUPS if g not in _MAKING]
    if verb in ("train", "tune"):
        alone = not build(cfg.augmentation).uses_generated
        if alone and HydraConfig.get().runtime.choices["groups"] == "annotated":
            return ["model"]
    return GROUPS


def _unfetched(cfg: DictConfig) -> Iterator[str]:
    """Repositories that somebody has pushed, and that were never fetched here."""
    asking: tuple[tuple[str, Kind, str], ...] = (
        ("dataset", "dataset", "data show"), ("classifier", "model", "discover"),
    )  # fmt: skip
    for group, kind, command in asking:
        if HydraConfig.get().runtime.choices.get(group) != "hub" or not cfg[group].repo:
            continue
        repo, revision, cache = (str(cfg[group][k]) for k in ("repo", "revision", "cache"))
        if not Repository(repo, kind).is_here(revision, Path(cache)):
            yield (
                f"offline=true, and {repo} (revision {revision}) for {group}=hub was never fetched "
                f"here. Where there is a network: aspire {command} {group}=hub {group}.repo={repo} "
                f"{group}.revision={revision}\nFor another machine: take {cache} along."
            )


def _missing(models: Sequence[Needed], verb: str) -> Iterator[str]:
    """Models of backends that are not here, or not whole, in one text."""
    states = [(model, state(model.checkpoint)) for model in models]
    missing = [m for m, s in states if s in ("missing", "incomplete")]
    if not missing:
        return
    lines = []
    for model, where in states:
        checkpoint = model.checkpoint
        folder = snapshot(checkpoint) if where in ("here", "incomplete") else None
        size = f", {in_words(size_of(folder))} of it here" if folder else ""
        instead = f"; or {checkpoint.instead}" if checkpoint.instead and not size else ""
        lines.append(f"  {checkpoint.model} for {model.by}: {where}{size}{instead}")
    drop = {*own_keys(verb), "offline"}
    words = [w for w in task_overrides() if w.lstrip("+~").split("=")[0].split(".")[0] not in drop]
    yield (
        f"offline=true, and {len(missing)} of {len(models)} models that this configuration loads "
        "are not on this machine, or not whole:\n" + "\n".join(lines) + "\nWhere there is a "
        f"network: {' '.join(['aspire models fetch cache', *words])}\nFor another machine: "
        f"{' '.join(['aspire models fetch DIR', *words])}, copy DIR and set HF_HUB_CACHE=DIR "
        "there. How large a missing one is, only the hub knows: fetch says it first."
    )


@contextmanager
def without_network() -> Iterator[None]:
    """huggingface_hub, and with it transformers, diffusers and timm, in their offline mode."""
    from huggingface_hub import constants  # reads the variable once, when it is imported

    before = {name: os.environ.get(name) for name in VARIABLES}
    was = constants.HF_HUB_OFFLINE
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    vars(constants)["HF_HUB_OFFLINE"] = True
    try:
        yield
    finally:
        vars(constants)["HF_HUB_OFFLINE"] = was
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
