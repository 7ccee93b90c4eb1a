"""Metadata tables, groups, readers and the datamodule."""
