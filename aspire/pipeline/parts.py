"""What a pipeline is made of, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aspire.data.table import Dataset
from aspire.discovery.base import Score
from aspire.editing.base import Inpainter, Restyler, Segmenter
from aspire.errors import AspireError
from aspire.generation.base import Filter, GeneratedSet, Personaliser, Sampler
from aspire.language.base import Captioner, Extractor, Looking
from aspire.pipeline.store import Artifact
from aspire.records import (
    Concept,
    Edit,
    Effect,
    FilterDecision,
    Measurement,
    Neighbour,
    PhraseGroup,
    Rejected,
    SpuriousFeature,
    SyntheticImage,
)


class NothingFoundError(AspireError):
    """No class can be personalised, so there is nothing to generate.

    Args:
        rejected: one reason for each class.
    """

    def __init__(self, rejected: Sequence[Rejected]) -> None:
        kinds = sorted({r.reason for r in rejected})
        # For tables: a feature that was found but has no scene without it is another matter.
        self.reason = ", ".join(
            "no spurious feature found" if kind == "no_spurious_feature" else kind for kind in kinds
        )
        listed = "\n  ".join(f"{r.reason}: {r.detail}" for r in rejected)
        super().__init__(
            f"Nothing to generate against: no class can be personalised.\n  {listed}\n"
            f"{_advice(kinds)}"
        )


def _advice(kinds: Sequence[str]) -> str:
    """What is typed next where there is nothing to generate against."""
    if "only_scenes" in kinds:
        return (
            "Objects change places, scenes do not. Type augmentation=aspire, which makes images "
            "of the classes in other scenes."
        )
    return (
        "Either this classifier takes no shortcut that was looked for, or there are too "
        "few edits to tell one from chance. Try more images (stage.edit.images_per_class=null "
        "takes all of a class) or score.min_support=3; both keep the share of false findings."
    )


@dataclass(frozen=True)
class Backends:
    """Who does the work; see the protocols for what each promises.

    ``sampler`` is a factory since it needs the dataset's root and images.
    """

    captioner: Captioner
    extractor: Extractor | Looking
    segmenter: Segmenter
    inpainter: Inpainter
    restyler: Restyler
    score: Score
    personaliser: Personaliser
    sampler: Callable[..., Sampler]
    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class StageSettings:
    """The knobs of conf/base.yaml's ``stage`` node, as nested plain values."""

    caption: dict[str, Any]
    extract: dict[str, Any]
    edit: dict[str, Any]
    discover: dict[str, Any]
    generate: dict[str, Any]
    filter: dict[str, Any]


@dataclass(frozen=True)
class Discovery:
    """What a classifier leans on, with the evidence.

    ``found`` are the features before a person decided; None where nobody did.
    """

    edits: Artifact[Edit]
    effects: Artifact[Effect]
    features: Artifact[SpuriousFeature]
    found: Artifact[SpuriousFeature] | None = None


@dataclass(frozen=True)
class Generation:
    """The generated images and the verdicts on them.

    ``filtered`` are the verdicts before a person sorted; None where nobody did.
    """

    concepts: Artifact[Concept]
    images: Artifact[SyntheticImage]
    measurements: Artifact[Measurement]
    decisions: Artifact[FilterDecision]
    nearest: Artifact[Neighbour]
    kept: GeneratedSet
    filtered: Artifact[FilterDecision] | None = None


def collapsed_by(groups: Artifact[PhraseGroup]) -> dict[str, str]:
    """Phrase -> the phrase it is counted under."""
    return {member: group.phrase for group in groups.records for member in group.members}


def class_words(dataset: Dataset, y: int) -> list[str]:
    """Lower-case words for the object of a class: its name's and the dataset's further ones."""
    further = dataset.class_words[y] if dataset.class_words else ()
    return sorted({w.lower() for w in (*further, *dataset.class_names[y].split())})
