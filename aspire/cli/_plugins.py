"""Plug-ins of other packages as choices of their groups."""

from __future__ import annotations

from aspire.plugins import plugins


def add_to_hydra() -> None:
    """Make every plug-in a choice of its group."""
    if not plugins():
        return
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for plugin in plugins():
        store.store(plugin.name, plugin.node(), group=plugin.group, provider=plugin.package)
