"""The report of a finished ``aspire run``: one HTML file with everything in it.

Numbers come from the run's ``result.json``, evidence and pictures from the artifacts it names.
Equal inputs give equal bytes: nothing here asks for the time, the machine or the network.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from aspire.records import Concept, FilterDecision, Neighbour, SyntheticImage
from aspire.reporting import summary
from aspire.reporting.artifacts import Artifacts, Json, read_result
from aspire.reporting.coverage_gaps import gaps_of, outcomes_of
from aspire.reporting.decided import decisions_of, told_of
from aspire.reporting.discovery import views_of
from aspire.reporting.page import flat, stages_of, write_page
from aspire.reporting.pictures import Picture, Pictures
from aspire.revision import worded
from aspire.stored.results import damage, read_any, read_mapping

GALLERY = 24  # generated images shown per class
REJECTS = 6  # rejected images shown per filter

T = TypeVar("T")


def write_report(
    folder: Path,
    outputs: Path,
    dataset_root: Path | None = None,
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write ``report.html`` into the folder of a finished run.

    Args:
        folder: of the run; holds its ``result.json``.
        outputs: what the artifact paths in there are relative to.
        dataset_root, files: where the dataset's images are, by img_id. Needed once: the originals
            that are shown are kept, small, in ``report_images/``. Otherwise only edits are shown.

    Raises:
        ConfigError: when the folder does not hold a finished run.
    """
    folder, outputs = Path(folder), Path(outputs)
    result = read_result(folder)
    pictures = Pictures(folder / "report_images", dataset_root, files or {})
    artifacts = Artifacts(outputs)
    discoveries = views_of(result, artifacts, pictures)
    return write_page(
        folder / "report.html",
        "report.html.j2",
        result=result,
        summary=summary.summary_of(result),
        metrics=summary.metrics_of(result),
        arms=summary.arms_of(result),
        gaps=_gaps(result),
        groups=summary.groups_of(result),
        discoveries=discoveries,
        told=told_of(result, folder),
        outcomes=outcomes_of(result, artifacts),
        untested=[g for view in discoveries[:1] for g in gaps_of(result, artifacts, view)],
        generations=Generations(result, artifacts, pictures).views(),
        stages=stages_of(result, artifacts),
        settings=list(flat(result["settings"])),
        versions=_versions(result, outputs),
        command=_command(result, outputs),
        name=folder.name,
        absent=sorted(artifacts.absent),  # last: filled by what is above
    )


def _gaps(result: Json) -> list[Json]:
    """Arms without results: which seeds, and why."""
    seeds: dict[tuple[str, str], list[str]] = defaultdict(list)
    for gap in result["missing"]:
        seeds[gap["arm"], gap["reason"]].append(str(gap["seed"]))
    have = {a["arm"] for a in result["arms"]}
    return [
        {"arm": arm, "reason": reason, "seeds": ", ".join(s), "whole": arm not in have}
        for (arm, reason), s in seeds.items()
    ]


class Generations:
    """The generated images of each seed, at most ``gallery`` of a class shown."""

    def __init__(
        self, result: Json, artifacts: Artifacts, pictures: Pictures, gallery: int = GALLERY
    ) -> None:
        self.result = result
        self.gallery = gallery
        self.artifacts = artifacts
        self.pictures = pictures
        self.classes: list[str] = result["dataset"]["class_names"]
        self.decisions = decisions_of(result)

    def views(self) -> list[Json]:
        """Per seed: counts by class and filter; for the first seed with pictures."""
        views = []
        for index, (seed, generation) in enumerate(self.result["generation"].items()):
            folder = generation["generate"]["folder"]
            images = list(self.artifacts.lines(folder, SyntheticImage))
            decisions = {
                d.img_id: d
                for d in self.artifacts.lines(generation["filter"]["folder"], FilterDecision)
            }
            asked = self.artifacts.manifest(folder).get("identity", {}).get("per_class", {})
            concepts = {
                c.y: c for c in self.artifacts.lines(generation["personalise"]["folder"], Concept)
            }
            classes = []
            for y, name in enumerate(self.classes):
                mine = [i for i in images if i.y == y]
                judged = [(i, decisions[i.img_id]) for i in mine if i.img_id in decisions]
                kept = [i for i, decision in judged if decision.kept]
                reasons = sorted(Counter(d.reason for _, d in judged if d.reason).items())
                classes.append(
                    {"name": name, "made": len(mine), "kept": len(kept)}
                    | {
                        "asked": asked.get(str(y), 0),
                        "concept": concepts.get(y),
                        "avoided": self._avoided(concepts.get(y)),
                        "reasons": dict(reasons),
                    }
                    | {"gallery": [], "nearest": [], "rejects": []}
                )
                if index == 0:
                    classes[-1] |= {
                        "gallery": self._gallery(folder, kept),
                        "nearest": self._nearest(generation, kept),
                        "rejects": self._rejects(folder, mine, decisions),
                    }
            view = {"seed": seed, "classes": classes, "total": generation["kept"]}
            view |= {"made": generation["generate"]["records"], "reasons": generation["reasons"]}
            views.append(view)
        return views

    def _avoided(self, concept: Concept | None) -> list[str]:
        """The features of a class by their names."""
        phrases = () if concept is None else concept.avoided
        return [p if self.decisions is None else self.decisions.called(p) for p in phrases]

    def _gallery(self, folder: str, kept: Sequence[SyntheticImage]) -> list[Json]:
        chosen = sorted(spread(kept, self.gallery), key=lambda i: (i.prompt, i.img_id))
        pictures = [(i, self._picture(folder, i, i.prompt)) for i in chosen]
        return [{"image": i, "picture": p} for i, p in pictures if p is not None]

    def _nearest(self, generation: Json, kept: Sequence[SyntheticImage]) -> list[Json]:
        """Images beside the real ones that they look most like, the most alike first."""
        if "nearest" not in generation:  # of an older run
            return []
        folder, images = generation["nearest"]["folder"], {i.img_id: i for i in kept}
        found = []
        for n in self.artifacts.lines(folder, Neighbour):
            if (image := images.get(n.img_id)) is None:
                continue
            real = self.artifacts.outputs / folder / n.file
            pair = {
                "made": self._picture(generation["generate"]["folder"], image, image.prompt),
                "real": self.pictures.made(real, f"nearest training image, {n.real_id}"),
            }
            if None not in pair.values():
                found.append({"neighbour": n, **pair})
        return sorted(found, key=lambda row: (row["neighbour"].distance, row["neighbour"].img_id))

    def _rejects(
        self,
        folder: str,
        images: Sequence[SyntheticImage],
        decisions: Mapping[str, FilterDecision],
    ) -> list[Json]:
        by_reason: dict[str, list[SyntheticImage]] = defaultdict(list)
        for image in images:
            if image.img_id in decisions and (reason := decisions[image.img_id].reason):
                by_reason[reason].append(image)
        thresholds = self.result["settings"].get("filter", {})
        return [
            {
                "reason": reason,
                "n": len(group),
                "thresholds": list(flat(thresholds.get(reason, {}))),
                "examples": [
                    {"image": i, "scores": decisions[i.img_id].scores}
                    | {"picture": self._picture(folder, i, f"rejected as {reason}: {i.prompt}")}
                    for i in spread(group, REJECTS)
                ],
            }
            for reason, group in sorted(by_reason.items())
        ]

    def _picture(self, folder: str, image: SyntheticImage, alt: str) -> Picture | None:
        return self.pictures.made(self.artifacts.outputs / folder / image.file, alt)


def spread(items: Sequence[T], number: int) -> list[T]:
    """At most so many, evenly spread over all."""
    number = min(number, len(items))
    return [items[i * len(items) // number] for i in range(number)]


def _versions(result: Json, outputs: Path) -> list[tuple[str, str]]:
    versions = [("aspire", str(result["aspire"]))]
    for run in (r for a in result["arms"] for r in a["runs"]):
        path = outputs / run["folder"] / "environment.json"
        if content := read_mapping(path):
            content = {**content, "commit": worded(content)}
            names = ("commit", "python", "torch")
            return versions + [(k, str(content[k])) for k in names if content.get(k)]
    return versions


def _command(result: Json, outputs: Path) -> str:
    """What was typed, where the run kept it; else the same with every number written out."""
    if "overrides" in result:
        return shlex.join(["aspire", "run", *result["overrides"]])
    main = summary.main_baseline(result)
    names = dict.fromkeys(
        [a["arm"] for a in result["arms"]] + [m["arm"] for m in result["missing"]]
    )
    pairs = [(n.split(" + ")[0], n.partition(" + ")[2] or "none") for n in names]
    own = sorted((a for b, a in pairs if b == main), key=lambda a: a != "none")
    words = [f"dataset={result['dataset']['name']}", f"baseline={main}", f"arms=[{','.join(own)}]"]
    words.append(f"references=[{','.join(b for b, _ in pairs if b != main)}]")
    words.append(f"seeds=[{','.join(map(str, result['seeds']))}]")
    trained = [outputs / r["folder"] / "result.json" for a in result["arms"] for r in a["runs"]]
    words += [f"model={read_any(p.parent)['model']}" for p in trained[:1] if not damage(p.parent)]
    kept = {k: result["settings"][k] for k in ("fit", "stage") if k in result["settings"]}
    return shlex.join(["aspire", "run", *words, *(f"{k}={v}" for k, v in flat(kept))])
