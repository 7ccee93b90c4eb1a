"""``aspire quickstart``: ``aspire run experiment=quickstart`` under a name of its own."""

from aspire.cli.run import job

__all__ = ["job"]
