"""Generated images as an artifact store holds them: which there are, and which were kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from aspire.data.table import Dataset
from aspire.errors import ConfigError, DamagedError
from aspire.records import Concept, FilterDecision, SyntheticImage
from aspire.stored.artifacts import is_committed, verified_lines
from aspire.stored.results import read_mapping
from aspire.values import Below

T = TypeVar("T")


@dataclass(frozen=True)
class GeneratedImages:
    """The images of one ``generate`` artifact that its filters kept.

    Args:
        folder: that the files are relative to.
        records: the kept ones.
        made: how many there were.
        key: of the artifact.
        filtered: key of the ``filter`` artifact that decided, or None when nothing did.
        avoided: id of a concept -> the features that its images were made without.
    """

    folder: Path
    records: tuple[SyntheticImage, ...]
    made: int
    key: str
    filtered: str | None
    avoided: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def avoided_by(self, record: SyntheticImage) -> tuple[str, ...]:
        """The features that an image was made without; none where that is not known."""
        return self.avoided.get(record.concept_id or f"{record.y:03d}", ())

    def check(self, dataset: Dataset) -> None:
        """See that they were made from this dataset.

        Raises:
            ConfigError: when a class or a parent is not in it.
        """
        known = set(dataset.table["img_id"])
        for record in self.records:
            strange = [p for p in record.parents if p not in known]
            if record.y >= len(dataset.class_names) or strange:
                what = f"from image {strange[0]}" if strange else f"for class {record.y}"
                raise ConfigError(
                    f"generated={self.folder}: image {record.img_id} was made {what}, which "
                    f"{dataset.name} does not have. Give the dataset it was made for, with the "
                    "same settings (dataset=...)."
                )


def read_generated(path: Path) -> GeneratedImages:
    """The generated images of a run, of a ``generate`` or of a ``filter`` artifact.

    A run with several seeds has several sets; its first seed's is taken. Of a ``generate``
    artifact all images are taken where no decisions on it are in the store.

    Raises:
        ConfigError: when it is none of these, or it is open which decisions count.
    """
    path = Path(path).expanduser()
    result = read_mapping(path / "result.json")
    manifest = read_mapping(path / "manifest.json")
    decided: Path | None = None
    if result.get("generation"):
        store = path.resolve().parent.parent
        try:
            first = next(iter(result["generation"].values()))
            made, decided = (
                store / msgspec.convert(first[s]["folder"], Below) for s in ("generate", "filter")
            )
        except (AttributeError, KeyError, TypeError, msgspec.ValidationError):
            raise DamagedError(
                f"{path / 'result.json'} is damaged: generation names no artifacts of generate and "
                "filter. The command that made it makes it again."
            ) from None
    elif manifest.get("stage") == "filter":
        decided, made = path, _upstream(_upstream(path, "measure"), "generate")
    elif manifest.get("stage") == "generate":
        made, decisions = path, _decisions(path, manifest["digest"])
        if len(decisions) > 1:
            listed = "\n  ".join(map(str, decisions))
            raise ConfigError(
                f"generated={path}: several filters have judged it. Give one of them instead:"
                f"\n  {listed}"
            )
        decided = decisions[0] if decisions else None
    else:
        raise ConfigError(
            f"generated={path}: expected a folder of aspire run (with generation in its "
            "result.json), or outputs/artifacts/generate/KEY or .../filter/KEY; aspire generate "
            "prints it."
        )
    images = _lines(made, SyntheticImage)
    kept = None
    if decided is not None:
        kept = {d.img_id for d in _lines(decided, FilterDecision) if d.kept}
    return GeneratedImages(
        folder=made,
        records=tuple(i for i in images if kept is None or i.img_id in kept),
        made=len(images),
        key=made.name,
        filtered=decided.name if decided is not None else None,
        avoided=_avoided(made),
    )


def _avoided(made: Path) -> dict[str, tuple[str, ...]]:
    """What the concepts say that a set was made from; nothing where they have gone."""
    try:
        personalised = _upstream(made, "personalise")
    except ConfigError:
        return {}
    return {c.concept_id: c.avoided for c in _lines(personalised, Concept)}


def _lines(folder: Path, record: type[T]) -> list[T]:
    if not is_committed(folder):
        raise ConfigError(f"{folder}: the artifact is not there any more.")
    try:
        return verified_lines(folder, record)
    except DamagedError as error:
        raise DamagedError(f"{error} The command that made it makes it again.") from None


def _upstream(folder: Path, stage: str) -> Path:
    """The artifact of that stage that this one was made from."""
    digest = read_mapping(folder / "manifest.json").get("upstream", {}).get(stage)
    for path in sorted((folder.resolve().parent.parent / stage).glob("*/manifest.json")):
        if digest and read_mapping(path).get("digest") == digest:
            return path.parent
    raise ConfigError(f"{folder}: the {stage} artifact it was made from is not beside it any more.")


def _decisions(generate: Path, digest: str) -> list[Path]:
    """The ``filter`` artifacts that judged a ``generate`` artifact."""
    store = generate.resolve().parent.parent
    measured = {
        found.get("digest")
        for path in store.glob("measure/*/manifest.json")
        if (found := read_mapping(path)).get("upstream", {}).get("generate") == digest
    }
    return [
        path.parent
        for path in sorted(store.glob("filter/*/manifest.json"))
        if read_mapping(path).get("upstream", {}).get("measure") in measured
    ]
