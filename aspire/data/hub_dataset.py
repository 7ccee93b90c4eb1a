"""A dataset of the Hugging Face Hub that ``aspire push`` has written.

It is fetched once a commit into ``cache`` and compared with the digests it was pushed with
(:mod:`aspire.hub`); then it is a table with its images in a folder. A set of generated images alone
has no test images: val and test are drawn from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pandas as pd

from aspire.data.csv_file import READ_AS, add_note, read_csv
from aspire.data.table import Dataset, Split, name_of
from aspire.data.unified import FRACTIONS, Unifier, dataset_of
from aspire.errors import ConfigError, DamagedError
from aspire.hub import MANIFEST, Manifest, Repository, read_manifest
from aspire.text import quoted
from aspire.values import Natural, Positive

TABLE = "metadata.csv"


class About(msgspec.Struct, frozen=True):
    """What ``aspire.json`` says of a dataset, as far as it is read again."""

    class_names: list[str]
    attribute_names: list[str]
    spurious_attribute: str = "attribute"
    class_words: list[list[str]] | None = None


class HubDataset:
    """Reader of a pushed dataset.

    Args:
        repo: ``owner/name``.
        revision: commit, tag or branch; only a commit stays what it is.
        cache: folder that fetched commits are kept in.
        fractions: shares of val and test where it has no test images.
        split_seed: of that draw.
        max_gb: 10^9 bytes that are fetched at most.
        name: of the dataset; None for that of the repository.
    """

    def __init__(
        self,
        repo: str | None,
        cache: str | Path,
        revision: str = "main",
        fractions: Mapping[str, float] = FRACTIONS,
        split_seed: Natural = 0,
        max_gb: Positive = 20.0,
        name: str | None = None,
    ) -> None:
        if not repo:
            raise ConfigError(
                "dataset.repo is not set; expected a dataset of the hub that aspire push has "
                "written: dataset=hub dataset.repo=OWNER/NAME"
            )
        self.repository = Repository(str(repo), "dataset")
        self.revision = str(revision)
        self.cache = Path(cache)
        self.fractions, self.split_seed, self.max_gb = fractions, split_seed, max_gb
        self.name = name_of(name, self.repository.name)

    def read(self) -> Dataset:
        """The metadata table, its rows in the order of the file.

        Raises:
            AspireError: when it cannot be had, or is not what was pushed.
        """
        root = self.repository.bring(self.revision, self.cache, self.max_gb)
        manifest = read_manifest(root, "dataset")
        about = _about(manifest, root)
        frame = read_csv(root / TABLE, key="repo", all_text=True)
        if "split" in frame.columns and str(int(Split.TEST)) not in set(frame["split"]):
            frame = frame.drop(columns="split")
        if self.revision != root.name:  # the name of a commit
            add_note(
                frame,
                READ_AS,
                f"{self.repository.name}: {self.revision} is by now commit {root.name}; to stay "
                f"with it: dataset.revision={root.name}",
            )
        unify = Unifier(
            None, about.class_names, about.attribute_names, self.fractions, self.split_seed
        )
        table, classes, attributes = unify(frame, str(root / TABLE))
        _check_files(table, manifest, root / TABLE)
        return dataset_of(
            self.name,
            root,
            table,
            (classes, attributes),
            about.spurious_attribute,
            about.class_words,
        )


def _check_files(table: pd.DataFrame, manifest: Manifest, path: Path) -> None:
    """See that a table, whatever its columns were called, opens only files that were pushed."""
    for column in ("img_filename", "mask_filename"):
        for row, name in enumerate(table[column] if column in table.columns else ()):
            if name not in manifest.files and (name or column == "img_filename"):
                raise DamagedError(
                    f"{path}: row {row} names {quoted(name)}, which {MANIFEST} does not. Nothing "
                    "of it was used; ask its owner to push it again."
                )


def _about(manifest: Manifest, root: Path) -> About:
    try:
        return msgspec.convert(manifest.about, About)
    except msgspec.ValidationError as error:
        raise DamagedError(
            f"{root / MANIFEST}: about is none of a dataset that aspire push has written: {error}."
        ) from None
