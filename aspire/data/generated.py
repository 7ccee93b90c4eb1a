"""Generated images as an artifact store holds them: which there are, and which were kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from aspire.data.table import Dataset
from aspire.errors import ConfigError
from aspire.pipeline.records import FilterDecision, SyntheticImage

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
    """

    folder: Path
    records: tuple[SyntheticImage, ...]
    made: int
    key: str
    filtered: str | None

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
    result = _json(path / "result.json")
    manifest = _json(path / "manifest.json")
    decided: Path | None = None
    if result.get("generation"):
        store = path.resolve().parent.parent
        first = next(iter(result["generation"].values()))
        made, decided = store / first["generate"]["folder"], store / first["filter"]["folder"]
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
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _lines(folder: Path, record: type[T]) -> list[T]:
    decoder = msgspec.json.Decoder(record)
    try:
        return [
            decoder.decode(line) for line in (folder / "records.jsonl").read_bytes().splitlines()
        ]
    except OSError:
        raise ConfigError(f"{folder}: its records.jsonl is not there any more.") from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"{folder}/records.jsonl is of another version: {error}.") from None


def _upstream(folder: Path, stage: str) -> Path:
    """The artifact of that stage that this one was made from."""
    digest = _json(folder / "manifest.json").get("upstream", {}).get(stage)
    for path in sorted((folder.resolve().parent.parent / stage).glob("*/manifest.json")):
        if digest and _json(path).get("digest") == digest:
            return path.parent
    raise ConfigError(f"{folder}: the {stage} artifact it was made from is not beside it any more.")


def _decisions(generate: Path, digest: str) -> list[Path]:
    """The ``filter`` artifacts that judged a ``generate`` artifact."""
    store = generate.resolve().parent.parent
    measured = {
        found.get("digest")
        for path in store.glob("measure/*/manifest.json")
        if (found := _json(path)).get("upstream", {}).get("generate") == digest
    }
    return [
        path.parent
        for path in sorted(store.glob("filter/*/manifest.json"))
        if _json(path).get("upstream", {}).get("measure") in measured
    ]
