"""Classes and functions that stand elsewhere by now; folders that were written before say where.

A stored configuration is read with the names of today. What is hashed into the name of a run keeps
the names of then, so that a move of code changes no key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

MOVED = {
    "aspire.classification.settings.DeviceSettings": "aspire.training.settings.DeviceSettings",
    "aspire.data.mini_celeba.MiniCelebA": "aspire.miniatures.mini_celeba.MiniCelebA",
    "aspire.data.mini_hard_imagenet.MiniHardImageNet": (
        "aspire.miniatures.mini_hard_imagenet.MiniHardImageNet"
    ),
    "aspire.data.mini_spuco_dogs.MiniSpucoDogs": "aspire.miniatures.mini_spuco_dogs.MiniSpucoDogs",
    "aspire.data.mini_waterbirds.MiniWaterbirds": (
        "aspire.miniatures.mini_waterbirds.MiniWaterbirds"
    ),
    "aspire.discovery.groups.Annotated": "aspire.pipeline.discovered_groups.Annotated",
    "aspire.discovery.groups.Discovered": "aspire.pipeline.discovered_groups.Discovered",
}
_BEFORE = {new: old for old, new in MOVED.items()}


def of_today(value: Any) -> Any:
    """Plain nested values in which every name that has moved is that of today."""
    return _renamed(value, MOVED.get)


def as_first_named(value: Any) -> Any:
    """The same with the names that were hashed when a class stood where it stood first."""
    return _renamed(value, _BEFORE.get)


def _renamed(value: Any, name: Callable[[str, str], str]) -> Any:
    if isinstance(value, Mapping):
        return {k: _renamed(v, name) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(v, name) for v in value]
    return name(value, value) if isinstance(value, str) else value
