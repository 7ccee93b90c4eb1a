"""Classes and functions that stand elsewhere by now, and settings that there were not at first.

A stored configuration is read with the names of today. What is hashed into the name of a run keeps
the names of then, so that a move of code changes no key. Nor does a setting that came later, where
it says what was done before.
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

# Setting -> the value with which all is as it was before there was the setting.
ADDED = {
    "baseline.base_selection": None,
    "baseline.enlarged": False,
    "fit.frozen": None,
    "model.view": None,
}


def of_today(value: Any) -> Any:
    """Plain nested values in which every name that has moved is that of today."""
    return _renamed(value, MOVED.get)


def as_first_named(value: Any) -> Any:
    """The same with the names that were hashed when a class stood where it stood first."""
    return _renamed(value, _BEFORE.get)


def without_added(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by group, those of ``ADDED`` left out where they say what was done before.

    >>> without_added({"model": {"size": 8, "view": None}, "fit": {"frozen": True}, "seed": 0})
    {'model': {'size': 8}, 'fit': {'frozen': True}, 'seed': 0}
    """

    def kept(group: str, node: Any) -> Any:
        if not isinstance(node, Mapping):
            return node
        return {k: v for k, v in node.items() if ADDED.get(f"{group}.{k}", ...) is not v}

    return {group: kept(group, node) for group, node in settings.items()}


def _renamed(value: Any, name: Callable[[str, str], str]) -> Any:
    if isinstance(value, Mapping):
        return {k: _renamed(v, name) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(v, name) for v in value]
    return name(value, value) if isinstance(value, str) else value
