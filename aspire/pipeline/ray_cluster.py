"""The Ray cluster that sweeps and stages are spread over: connected to, or started here."""

from __future__ import annotations

import logging
import os
from typing import Any

from aspire.errors import ConfigError


def connect(address: str | None, choice: str) -> tuple[Any, bool]:
    """The library, connected to a cluster, and whether it was not before.

    Args:
        address: ``auto`` for the cluster this machine belongs to, ``ray://host:10001``, or null for
            one of this machine alone that ends with this process.
        choice: of the configuration that wants it, for errors.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers there.
    """
    # A cluster of one's own needs neither a password file in the home folder nor reports.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ConfigError(f"{choice} needs Ray: pip install 'aspire-shortcuts[ray]'") from None
    if ray.is_initialized():
        return ray, False
    own: dict[str, Any] = {"include_dashboard": False} if address is None else {}
    try:
        ray.init(
            address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **own
        )
    except (ConnectionError, ValueError) as error:  # the latter of what is no address
        raise ConfigError(
            f"{choice}: no Ray cluster answers at address={address} ({error}). Start one with\n"
            "  ray start --head\nor leave the address out for one on this machine."
        ) from None
    return ray, True
