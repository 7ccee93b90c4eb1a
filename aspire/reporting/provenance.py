"""From a training run back to everything it was made from, by the manifests on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aspire.errors import DamagedError
from aspire.identity import digest_of
from aspire.stored.artifacts import read_manifest
from aspire.stored.notes import note

# In pipeline order.
STAGES = (
    "caption", "extract", "collapse", "edit", "score", "discover", "personalise", "generate",
    "measure", "filter", "nearest",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One artifact that a run was made from.

    Args:
        folder: relative to the outputs folder.
        manifest: its content.
    """

    stage: str
    folder: str
    manifest: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of its records."""
        return str(self.manifest["digest"])


class Provenance:
    """Finds the artifacts of generated sets, which results name by one digest.

    Args:
        outputs: folder with ``artifacts/<stage>/<key>/manifest.json``; it need not exist.
    """

    def __init__(self, outputs: Path) -> None:
        self.outputs = Path(outputs)

    @cached_property
    def _sources(self) -> dict[tuple[str, str], Source]:
        """(stage, digest) -> artifact."""
        found = {}
        for path in sorted((self.outputs / "artifacts").glob("*/*/manifest.json")):
            try:
                manifest = read_manifest(path.parent)
            except DamagedError as error:
                note(f"Left out: {error}")
                continue
            folder = path.parent.relative_to(self.outputs).as_posix()
            source = Source(manifest["stage"], folder, manifest)
            found[source.stage, source.digest] = source
        return found

    @cached_property
    def _generated(self) -> dict[str, Source]:
        """Digest of a generated set -> the decisions of its filters."""
        found = {}
        for (stage, digest), decisions in self._sources.items():
            if stage != "filter":
                continue
            measured = self._sources.get(("measure", decisions.manifest["upstream"]["measure"]))
            if measured is not None:
                images = measured.manifest["upstream"]["generate"]
                found[digest_of([images, digest])] = decisions
        return found

    def of(self, result: Mapping[str, Any]) -> dict[str, Source]:
        """Stage -> artifact, in pipeline order, of everything behind a run's generated images.

        Args:
            result: content of its ``result.json``.

        Returns:
            Empty for a run on real images, and where the artifacts are not at hand.
        """
        start = self._generated.get(str(result.get("generated_digest")))
        found: dict[str, Source] = {}
        waiting = [start] if start else []
        while waiting:
            source = waiting.pop()
            if source.stage in found:
                continue
            found[source.stage] = source
            upstream = source.manifest["upstream"].items()
            waiting += [self._sources[key] for key in upstream if key in self._sources]
        if "generate" in found:
            # it is beside the decisions, and nothing is made from it
            made_of = {stage: found[stage].digest for stage in ("generate", "filter")}
            for (stage, _), source in self._sources.items():
                upstream = source.manifest["upstream"]
                if stage == "nearest" and made_of.items() <= upstream.items():
                    found[stage] = source
        return {stage: found[stage] for stage in STAGES if stage in found}


def drawn_by_lot(sources: Mapping[str, Source]) -> bool:
    """Whether the features behind a run are those of ``score=random``, which are no findings."""
    identity: Mapping[str, Any] = sources["discover"].manifest["identity"]
    return identity.get("score") == "random"


def outputs_of(run: Path) -> Path:
    """The outputs folder that a run is in: ``outputs/train/<dataset>/<baseline>/<arm>/<run>``.

    A run that was moved out of it has no artifacts at hand.
    """
    parents = Path(run).resolve().parents
    return parents[4] if len(parents) > 4 and parents[3].name == "train" else Path(run)
