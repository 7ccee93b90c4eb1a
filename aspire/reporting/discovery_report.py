"""The report of ``aspire discover``: one HTML file about the shortcuts of one classifier.

Numbers come from the folder's ``result.json``, evidence and pictures from the artifacts it names.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from aspire.reporting.artifacts import Artifacts, Json, read_result
from aspire.reporting.coverage_gaps import Gap, Outcome, gaps_of, outcomes_of
from aspire.reporting.decided import Told, told_of
from aspire.reporting.discovery import ClassView, SeedView, views_of
from aspire.reporting.labels import listed
from aspire.reporting.page import flat, stages_of, write_page
from aspire.reporting.pictures import Pictures


@dataclass(frozen=True)
class DiscoveryPage:
    """Everything the page says, before it looks like anything.

    Args:
        name: of the report's folder.
        verdict, caveat: what was found in a sentence or two, and how far to trust it.
        facts: label, number and what it is out of.
        view: the classes with their features and pictures.
        outcomes, gaps: how the edits went, and what was not tested.
        about: what was looked at by what, as label and value.
        stages, settings: how the stages went and how they were set.
        command: what was typed.
        absent: folders of artifacts that are not in the outputs folder.
        told: what a person decided.
    """

    name: str
    dataset: str
    class_names: tuple[str, ...]
    aspire: str
    verdict: str
    caveat: str
    facts: tuple[tuple[str, str, str], ...]
    view: SeedView
    outcomes: tuple[Outcome, ...]
    gaps: tuple[Gap, ...]
    about: tuple[tuple[str, str], ...]
    stages: tuple[Json, ...]
    settings: tuple[tuple[str, str], ...]
    command: str
    absent: tuple[str, ...]
    told: Told = field(default_factory=Told)


def write_discovery_report(
    folder: Path,
    outputs: Path,
    dataset_root: Path | None = None,
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write ``report.html`` into the folder of a finished ``aspire discover``.

    Args:
        folder, outputs, dataset_root, files: as in :func:`aspire.reporting.report.write_report`.

    Raises:
        ConfigError: when the folder does not hold one.
    """
    folder = Path(folder)
    pictures = Pictures(folder / "report_images", dataset_root, files or {})
    result = read_result(folder)
    page = page_of(result, Artifacts(Path(outputs)), pictures, folder.name)
    page = replace(page, told=told_of(result, folder))
    return write_page(folder / "report.html", "discovery.html.j2", page=page)


def page_of(result: Json, artifacts: Artifacts, pictures: Pictures, name: str) -> DiscoveryPage:
    """The content of the page.

    Args:
        result: content of the ``result.json``.
        artifacts, pictures: give the records that it names, and the images.
        name: of the report's folder.
    """
    (view,) = views_of(result, artifacts, pictures)
    right, asked = (sum(getattr(c, k) for c in view.classes) for k in ("right", "asked"))
    outcomes = outcomes_of(result, artifacts)
    tried = sum(o.total for o in outcomes)
    made = sum(o.total for o in outcomes if o.reason == "edited")
    classifier, dataset = result["classifier"], result["dataset"]
    doubt = view.examined.doubt if view.examined else ""
    return DiscoveryPage(
        name=name,
        dataset=dataset["name"],
        class_names=tuple(dataset["class_names"]),
        aspire=result["aspire"],
        verdict=verdict_of(view),
        caveat=" ".join(filter(None, (_caveat(view, right, asked), doubt))),
        facts=(
            ("shortcuts found", str(view.spurious), f"of {view.judged} phrases judged"),
            ("classifier is right on", str(right), f"of {asked} images"),
            ("edits that could be made", str(made), f"of {tried}"),
        ),
        view=view,
        outcomes=tuple(outcomes),
        gaps=tuple(gaps_of(result, artifacts, view)),
        about=(
            ("dataset", dataset["name"]),
            ("images of", ", ".join(result["splits"])),
            ("dataset digest", dataset["digest"]),
            ("classifier", classifier["choice"]),
            *(
                (f"classifier.{k}", v)
                for k, v in flat(classifier["settings"])
                if v != "null" and k != "_target_"
            ),
            ("classifier digest", classifier["digest"]),
            ("seed", str(result["seed"])),
            ("aspire", result["aspire"]),
        ),
        stages=tuple(stages_of(result, artifacts)),
        settings=tuple(flat(result["settings"])),
        command=result.get("call") or shlex.join(["aspire", "discover", *result["overrides"]]),
        absent=tuple(sorted(artifacts.absent)),  # last: filled by what is above
    )


def verdict_of(view: SeedView) -> str:
    """What was found, for a reader who knows neither the method nor the paper."""
    found = [c for c in view.classes if c.spurious]
    if not found:
        if not view.edits:
            return (
                "Nothing could be tested: no picture that the classifier gets right could be "
                "edited. What was tried, and why it failed, is below."
            )
        if not view.judged:
            return (
                f"Nothing can be said: none of the {view.phrases} phrases was taken out of enough "
                "pictures to be judged. More images, or a higher stage.edit.images_per_class, "
                "would help."
            )
        few = view.phrases - view.judged
        return (
            f"No shortcut was found: taking any of {view.judged} phrases out of the pictures "
            "hardly changes this classifier's answers."
            + (f" {few} more are in too few pictures to tell." if few > view.judged else "")
        )
    leans = "; ".join(
        f"{'When it says' if i == 0 else 'when it says'} “{c.name}”, it leans on {_strongest(c)}"
        for i, c in enumerate(found[:3])
    )
    more = f"; and so it does for {len(found) - 3} more classes" if len(found) > 3 else ""
    evidence = found[0].evidence
    return f"This classifier takes shortcuts. {leans}{more}. For example, {evidence}."


def _strongest(c: ClassView) -> str:
    return listed([f.feature.phrase for f in c.features if f.feature.spurious], 2)


def _caveat(view: SeedView, right: int, asked: int) -> str:
    notes: list[str] = []
    clean: Sequence[str] = [c.name for c in view.classes if not c.spurious]
    if view.spurious and clean:
        notes.append(f"For {listed(clean)} no shortcut was found.")
    if clean and view.edits:
        notes.append(
            "Finding none is no proof that there is none: only what captions name and an edit can "
            "take away is tested."
        )
    if asked and right < asked / 2:
        notes.append(
            f"The classifier is right on only {right} of {asked} images, and all this is about "
            "those."
        )
    return " ".join(notes)
