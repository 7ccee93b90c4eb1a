"""``aspire.load_dataset``: a benchmark by name, a folder, a table, or a reader of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aspire.api.words import calling, place, words_of
from aspire.cli._app import compose_config
from aspire.cli._datasets import checked_dataset
from aspire.cli._overrides import choices_of
from aspire.cli._words import quoted
from aspire.data.checks import CheckReport, check_dataset
from aspire.data.table import Dataset, Reader, name_of
from aspire.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

ON_HUB = "hf://"
TABLES = (".csv", ".tsv", ".txt", ".parquet", ".pq")


@dataclass(frozen=True, kw_only=True)
class LoadedDataset(Dataset):
    """A :class:`~aspire.data.table.Dataset` whose files and rows were checked.

    Its ``table`` is a pandas DataFrame with a row for each image; ``class_names`` and
    ``attribute_names`` are in index order; ``group_counts(split)`` counts.

    Args:
        checks: what was found.
        words: of the command line that read it; empty for a table or reader of one's own.
    """

    checks: CheckReport
    words: tuple[str, ...] = ()

    def composing(self) -> tuple[str, ...]:
        """Words whose settings suit it: its own, or those for a folder of photographs."""
        return self.words or ("dataset=folder", f"dataset.root={quoted(str(self.root))}")

    def __repr__(self) -> str:
        images = ", ".join(f"{len(self.split(s))} {s.name.lower()}" for s in self.splits)
        return f"<dataset {self.name}: {images}; classes {', '.join(self.class_names)}>"


def load_dataset(
    source: str | Path | pd.DataFrame | Dataset | Reader,
    *,
    outputs: str | Path | None = None,
    **settings: Any,
) -> LoadedDataset:
    """Read a dataset, and check its files and rows.

    Args:
        source: the name of a choice (``"mini_waterbirds"``, ``"waterbirds"``; ``aspire list
            dataset`` shows them); a folder ``CLASS/*.jpg`` or ``CLASS/ATTRIBUTE/*.jpg``, optionally
            in ``train/``, ``val/`` and ``test/``; ``"hf://OWNER/NAME"`` or
            ``"hf://OWNER/NAME@REVISION"`` that ``aspire push`` has written; a table (.csv, .tsv,
            .parquet); a DataFrame with the columns of :class:`~aspire.data.table.Dataset`; or an
            object whose ``read()`` gives such a Dataset.
        outputs: below which miniatures are drawn and checks remembered; ``./outputs`` by default.
        **settings: keys of that choice, as ``scale=0.1`` of a miniature or ``class_names=[...]``
            of a folder. Of a DataFrame ``root`` (the folder of its files), ``class_names``,
            ``attribute_names``, ``name`` and whatever else a Dataset takes. ``on_bad="skip"``
            leaves images out that cannot be used.

    Returns:
        The dataset, which every other function takes.

    Raises:
        ConfigError: for a name, key or value there is not, with the nearest right one.
        DataError: listing what is wrong with files and rows.

    >>> load_dataset("waterbird")
    Traceback (most recent call last):
    aspire.errors.ConfigError: waterbird is neither a dataset ... Did you mean waterbirds? ...
    """
    with calling(outputs or ""):
        if isinstance(source, LoadedDataset):
            if settings:
                raise ConfigError(f"{', '.join(settings)}: the dataset is loaded already.")
            return source
        if isinstance(source, str | Path):
            return _by_words(_words_for(source), settings, outputs)
        return _of_object(source, settings)


def _words_for(source: str | Path) -> dict[str, Any]:
    """The choice of conf/dataset, and where it is.

    Raises:
        ConfigError: for what is neither a name nor a place.
    """
    known = choices_of("dataset")
    if isinstance(source, str) and source in known:
        return {"dataset": source}
    if str(source).startswith(ON_HUB):
        repo, _, revision = str(source).removeprefix(ON_HUB).partition("@")
        return {"dataset": "hub", "dataset.repo": repo, "dataset.revision": revision or "main"}
    path = Path(source).expanduser()
    if path.is_dir():
        return {"dataset": "folder", "dataset.root": str(path.absolute())}
    if path.is_file() and path.suffix.lower() in TABLES:
        return {"dataset": "csv", "dataset.metadata": str(path.absolute())}
    if path.is_file():
        raise ConfigError(
            f"{path} is no table of images; expected a file that ends in {', '.join(TABLES)}."
        )
    raise ConfigError(
        f"{source} is neither a dataset nor a folder or file here."
        f"{did_you_mean(str(source), known)} Datasets: {', '.join(known)}."
    )


def _by_words(
    chosen: Mapping[str, Any], settings: Mapping[str, Any], outputs: str | Path | None
) -> LoadedDataset:
    keys = {**chosen, **{f"dataset.{k}": v for k, v in settings.items()}}
    words = words_of("train", {**keys, **place(outputs)})
    cfg, _ = compose_config("train", words)
    dataset, checks = checked_dataset(cfg.dataset, Path(cfg.paths.outputs) / "cache")
    if cfg.dataset.get("root"):  # wherever the outputs of a later call are
        keys["dataset.root"] = str(Path(cfg.dataset.root).absolute())
    return _loaded(dataset, checks, tuple(words_of("train", keys)))


def _of_object(source: Any, settings: Mapping[str, Any]) -> LoadedDataset:
    import pandas as pd

    settings = dict(settings)
    checks = {k: settings.pop(k) for k in ("on_bad", "duplicates", "thorough") if k in settings}
    if isinstance(source, pd.DataFrame):
        source = _of_table(source, settings)
    elif settings:
        raise ConfigError(
            f"{', '.join(settings)}: settings are for a dataset by name, a folder or a table."
        )
    elif not isinstance(source, Dataset):
        if not callable(getattr(source, "read", None)) or isinstance(source, type):
            raise ConfigError(
                f"dataset is a {type(source).__name__}; expected a name, a folder, a table, a "
                "DataFrame, or an object whose read() gives an aspire.Dataset."
            )
        source = source.read()
        if not isinstance(source, Dataset):
            raise ConfigError(f"read() gives a {type(source).__name__}; expected aspire.Dataset.")
    return _loaded(*check_dataset(source, **checks), ())


def _of_table(frame: pd.DataFrame, settings: dict[str, Any]) -> Dataset:
    for key in ("root", "class_names"):
        if not settings.get(key):
            raise ConfigError(
                f"{key} is not given. A DataFrame needs to know where its files are and what its "
                "classes are called: load_dataset(frame, root=DIR, class_names=['cat', 'dog'])."
            )
    root = Path(settings.pop("root"))
    settings = {k: tuple(v) if isinstance(v, Sequence) and not isinstance(v, str) else v
                for k, v in settings.items()}  # fmt: skip
    settings.setdefault("attribute_names", ("unknown",))
    settings.setdefault("name", name_of(None, root))
    try:
        return Dataset(root=root, table=frame.copy(), **settings)
    except TypeError as error:  # a name that it does not take
        taken = ("name", "class_names", "attribute_names", "spurious_attribute", "class_words")
        raise ConfigError(f"{error}. A DataFrame takes root, {', '.join(taken)}.") from None


def _loaded(dataset: Dataset, checks: CheckReport, words: tuple[str, ...]) -> LoadedDataset:
    held = {k: v for k, v in vars(dataset).items() if k in Dataset.__dataclass_fields__}
    return LoadedDataset(**held, checks=checks, words=words)
