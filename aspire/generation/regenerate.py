"""Any generated image can be made again, from its own record."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from aspire.data.images import Pixels, read_image
from aspire.errors import AspireError, ConfigError, DamagedError
from aspire.generation.base import GenerationRequest, Sampler
from aspire.generation.class_nouns import Wording
from aspire.identity import digest_of
from aspire.records import Concept, Rejected, SyntheticImage
from aspire.stored.artifacts import read_manifest, verified_lines
from aspire.stored.notes import note
from aspire.stored.results import read_mapping

T = TypeVar("T")


@dataclass(frozen=True)
class Origin:
    """Where a generated image comes from.

    Args:
        file: the image, in the generate artifact's folder.
        record: of the image.
        concept: what it is an image of.
        sampler: identity of the sampler that made it.
        dataset: digest of the images that it was made for.
    """

    file: Path
    record: SyntheticImage
    concept: Concept
    sampler: dict[str, Any]
    dataset: str


def origin_of(image: str | Path, artifacts: Path) -> Origin:
    """Find the record of an image.

    Args:
        image: its file in a generate artifact, or its img_id, where that is in one artifact only.
        artifacts: root of the artifact store.

    Raises:
        ConfigError: when no generate artifact holds it, or several hold one of that name.
    """
    path = Path(image).resolve()
    manifests = sorted((artifacts / "generate").glob("*/manifest.json"))
    found = [
        (manifest.parent, record)
        for manifest in manifests
        for record in _records(manifest.parent, SyntheticImage)
        if record.img_id == str(image)
        or (manifest.parent / record.file).resolve() == path.resolve()
    ]
    if not found:
        raise ConfigError(
            f"{image}: none of {len(manifests)} generated sets in {artifacts / 'generate'} holds "
            "it. Expected the file of a generated image there, or its img_id, such as "
            "generated-000-00017."
        )
    files = sorted({str(folder / record.file) for folder, record in found})
    if len(files) > 1:  # equal images of one set share a file, and either record makes it
        listed = "\n  ".join(files[:8])
        raise ConfigError(f"{image} is in {len(files)} generated sets; give one of\n  {listed}")
    folder, record = found[0]
    manifest = read_manifest(folder)
    wanted = manifest["upstream"]["personalise"]
    for other in sorted((artifacts / "personalise").glob("*/manifest.json")):
        if read_mapping(other).get("digest") == wanted:
            for concept in _records(other.parent, Concept):
                if concept.y == record.y:
                    return Origin(
                        folder / record.file,
                        record,
                        concept,
                        manifest["identity"]["sampler"],
                        manifest["upstream"]["dataset"],
                    )
    raise ConfigError(
        f"{image} was made from a personalisation that is not in {artifacts / 'personalise'} any "
        "more; run the command that generated it again."
    )


def regenerate(
    made: Origin, class_name: str, sampler: Sampler, wording: Wording | None = None
) -> tuple[Pixels, int]:
    """Make the image again.

    Args:
        made: what :func:`origin_of` found.
        class_name: of its class.
        sampler: built from the settings that it was made with.
        wording: how the class was called in a sentence.

    Returns:
        (H, W, 3) uint8, and its largest difference from the kept file, in [0, 255]: 0 on the same
        machine and batch size, a few grey levels elsewhere.

    Raises:
        ConfigError: when the sampler has other settings, with those that differ.
        AspireError: when it cannot be made.
    """
    ours: dict[str, Any] = json.loads(json.dumps(sampler.identity()))
    if digest_of(ours) != digest_of(made.sampler):
        differ = [
            f"{key}: {made.sampler.get(key)!r} then, {ours.get(key)!r} now"
            for key in sorted({*ours, *made.sampler})
            if ours.get(key) != made.sampler.get(key)
        ]
        raise ConfigError(
            f"{made.record.img_id} was made by a sampler with other settings. Give the overrides "
            "it was generated with.\n  " + "\n  ".join(differ)
        )
    request = GenerationRequest(
        made.record.img_id, made.concept, class_name, made.record.seed, wording
    )
    (result,) = sampler.sample([request])
    if isinstance(result, Rejected):
        raise AspireError(f"{made.record.img_id}: {result.reason} {result.detail}")
    before = read_image(made.file).astype(np.int16)
    return result.pixels, int(np.abs(result.pixels - before).max())


def _records(folder: Path, kind: type[T]) -> list[T]:
    """Those of an artifact; of a damaged one none, and a line says so."""
    try:
        return verified_lines(folder, kind)
    except DamagedError as error:
        note(f"Left out: {error}")
        return []
