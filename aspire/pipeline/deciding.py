"""A person's decisions, held against what there is and put into force."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from aspire.data.table import Dataset
from aspire.errors import ConfigError
from aspire.records import PhraseGroup, SpuriousFeature, SyntheticImage
from aspire.stored.decisions import Decisions
from aspire.stored.notes import note

ANEW = (
    "Type the words that these were made with, or decide anew: the same command without "
    "decisions=, then aspire review on the folder of its report."
)


def check_dataset(decisions: Decisions, dataset: Dataset, digest: str) -> None:
    """Refuse decisions on other images.

    Raises:
        ConfigError: with what to do.
    """
    if decisions.on.dataset == digest and decisions.on.class_names == tuple(dataset.class_names):
        return
    raise ConfigError(
        f"decisions={decisions.source}: it is about other images than those of {dataset.name} in "
        f"{dataset.root} (digest {decisions.on.dataset[:12]}, and here {digest[:12]}). {ANEW}"
    )


def check_found(decisions: Decisions, digest: str) -> None:
    """Refuse decisions on other findings.

    Args:
        decisions: to be obeyed.
        digest: of the features that were found, before anybody decided.

    Raises:
        ConfigError: with what to do.
    """
    if digest in decisions.on.found.values():
        return
    seeds = ", ".join(decisions.on.found)
    raise ConfigError(
        f"decisions={decisions.source}: what it decides on does not exist here. It is about the "
        f"features found with seed {seeds}; this classifier, or these settings, found others "
        f"(digest {digest[:12]}). {ANEW}"
    )


def check_seeds(decisions: Decisions, seeds: Sequence[int]) -> None:
    """Refuse seeds whose classifiers nobody has looked at, before anything is trained.

    Raises:
        ConfigError: with the seeds there are.
    """
    if strange := [str(s) for s in seeds if str(s) not in decisions.on.found]:
        there = ",".join(decisions.on.found)
        raise ConfigError(
            f"decisions={decisions.source}: nobody has decided on what the classifier of seed "
            f"{', '.join(strange)} leans on. Type seeds=[{there}], or decide on all of them: the "
            "same command without decisions=, then aspire review on the folder of its report."
        )


def check_phrases(decisions: Decisions, groups: Sequence[PhraseGroup]) -> None:
    """Refuse decisions on phrases that nobody says.

    Args:
        decisions: to be obeyed.
        groups: of phrases, before a person merged any.

    Raises:
        ConfigError: naming them.
    """
    known = {g.phrase for g in groups}
    named = {phrase for _, _, phrase in decisions.judged}
    named |= {*decisions.merged, *decisions.merged.values(), *decisions.names}
    if strange := sorted(named - known):
        listed = ", ".join(f"“{p}”" for p in strange[:5])
        raise ConfigError(
            f"decisions={decisions.source}: no such phrase was found: {listed}. {ANEW}"
        )


def say_unfound(decisions: Decisions, features: Sequence[SpuriousFeature]) -> None:
    """One line on judged features that this classifier gave no edit to judge by."""
    there = {(f.y, f.kind, f.phrase) for f in features}
    for y, kind, phrase in sorted(decisions.judged):
        if (y, kind, phrase) not in there:
            note(
                f"decisions={decisions.source}: “{phrase}” of {decisions.on.class_names[y]} is "
                "not among the features of this classifier; what was decided on it changes nothing."
            )


def sorted_images(
    decisions: Decisions, seed: int, images: Sequence[SyntheticImage]
) -> dict[str, bool]:
    """img_id -> whether a person keeps it, for the images that were decided on.

    An image is known by its pixels. Where decisions on features have others generated, decisions
    on those that are not made any more have nothing to act on, and a line says so.

    Raises:
        ConfigError: when images are missing although nothing else was decided.
    """
    wanted = decisions.images.get(seed, {})
    if not wanted:
        return {}
    found = {PurePosixPath(i.file).stem for i in images}
    gone = len(wanted.keys() - found)
    if gone and not decisions.remade:
        raise ConfigError(
            f"decisions={decisions.source}: {gone} of {len(wanted)} images that it sorts are not "
            f"among the {len(images)} that are generated here with seed {seed}. {ANEW}"
        )
    if gone:
        note(
            f"decisions={decisions.source}: {gone} images that it sorts are not made any more, "
            "since features were decided on too. To sort those that are made now: aspire review "
            "on the folder of this run."
        )
    shas = {i.img_id: PurePosixPath(i.file).stem for i in images}
    return {img_id: wanted[sha] for img_id, sha in shas.items() if sha in wanted}
