"""The report of a finished ``aspire run``: one HTML file with everything in it.

Numbers come from the run's ``result.json``, evidence and pictures from the artifacts it names.
Equal inputs give equal bytes: nothing here asks for the time, the machine or the network.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from aspire.errors import ConfigError
from aspire.pipeline.records import Concept, Edit, Effect, FilterDecision, Rejected, SyntheticImage
from aspire.pipeline.store import write_atomic
from aspire.reporting import plots, summary
from aspire.reporting.pictures import Picture, Pictures

TOP = 5  # features listed per class
ILLUSTRATED = 3  # of them with pictures
EXAMPLES = 4  # pictures per feature
GALLERY = 24  # generated images shown per class
REJECTS = 6  # rejected images shown per filter

T = TypeVar("T")
Json = dict[str, Any]


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
    result = _read_result(folder)
    pictures = Pictures(folder / "report_images", dataset_root, files or {})
    evidence = Evidence(result, outputs, pictures)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["bar"] = lambda c, tone: Markup(
        plots.accuracy_bar(c.values, c.mean, c.std, tone)
    )
    environment.globals["rate_bar"] = lambda *a: Markup(plots.rate_bar(*a))
    environment.globals["change_line"] = lambda *a: Markup(plots.change_line(*a))
    html = environment.get_template("report.html.j2").render(
        result=result,
        summary=summary.summary_of(result),
        metrics=summary.METRICS,
        arms=summary.arms_of(result),
        gaps=_gaps(result),
        groups=summary.groups_of(result),
        discoveries=evidence.discoveries(),
        generations=evidence.generations(),
        stages=evidence.stages(),
        settings=list(_flat(result["settings"])),
        versions=_versions(result, outputs),
        command=_command(result, outputs),
        name=folder.name,
        notes=sorted(evidence.absent),  # last: filled by what stands above
    )
    path = folder / "report.html"
    write_atomic(path, html.encode())
    return path


def _read_result(folder: Path) -> Json:
    path = folder / "result.json"
    if not path.is_file():
        raise ConfigError(
            f"{folder}: not a finished run, since it has no result.json. Expected a folder that "
            "aspire run has made (outputs/run/DATASET-...); make one with: aspire run"
        )
    result: Json = json.loads(path.read_bytes())
    if "discovery" not in result or "arms" not in result:
        raise ConfigError(
            f"{folder}: its result.json is not of an aspire run. Expected "
            "outputs/run/DATASET-...; for training runs there is: aspire table DIR"
        )
    return result


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


# --- evidence ---------------------------------------------------------------------------------


class Evidence:
    """What lies in the artifacts. A missing one is noted in ``absent``; the rest is still shown."""

    def __init__(self, result: Json, outputs: Path, pictures: Pictures) -> None:
        self.result = result
        self.outputs = outputs
        self.pictures = pictures
        self.classes: list[str] = result["dataset"]["class_names"]
        self.absent: set[str] = set()

    def discoveries(self) -> list[Json]:
        """Per seed and class: the strongest features; for the first seed with examples."""
        found = self.result["discovery"]
        spurious = Counter(
            (f["y"], f["kind"], f["phrase"])
            for d in found.values()
            for f in d["features"]
            if f["spurious"]
        )
        views = []
        for index, (seed, discovery) in enumerate(found.items()):
            without = {int(r["item_id"]): r["detail"] for r in discovery["without"]}
            classes = []
            for y, name in enumerate(self.classes):
                mine = [f for f in discovery["features"] if f["y"] == y]
                top = [f | {"seeds": spurious[y, f["kind"], f["phrase"]]} for f in mine[:TOP]]
                number = sum(f["spurious"] for f in mine)
                note = without.get(y, "no edit of a correctly classified image")
                classes.append(
                    {"name": name, "top": top, "spurious": number, "phrases": len(mine)}
                    | {"note": "" if number else note, "illustrated": []}
                )
            views.append({"seed": seed, "classes": classes})
            if index == 0:
                self._illustrate(classes, discovery)
        return views

    def _illustrate(self, classes: Sequence[Json], discovery: Json) -> None:
        chosen = [
            (c, f, f["examples"][:EXAMPLES])
            for c in classes
            for f in [f for f in c["top"] if f["spurious"]][:ILLUSTRATED]
        ]
        wanted = {e for _, _, ids in chosen for e in ids}
        folder = self.result["stages"]["edit"]["folder"]
        edits = {e.edit_id: e for e in self._lines(folder, Edit) if e.edit_id in wanted}
        effects = {
            e.edit_id: e
            for e in self._lines(discovery["score"]["folder"], Effect)
            if e.edit_id in wanted
        }
        for c, feature, ids in chosen:
            examples = [self._example(edits[i], effects.get(i)) for i in ids if i in edits]
            if examples:
                c["illustrated"].append({"feature": feature, "examples": examples})

    def _example(self, edit: Edit, effect: Effect | None) -> Json:
        name, folder = self.classes[edit.y], self.outputs / self.result["stages"]["edit"]["folder"]
        done = f"replaced by {edit.replacement}" if edit.replacement else "removed"
        share = f"{100 * edit.edited_share:.0f} % of the image"
        return {
            "edit": edit,
            "effect": effect,
            "after_class": self.classes[effect.predicted_after] if effect else "",
            "done": done,
            "share": share,
            "pictures": [
                (
                    "before",
                    self.pictures.original(edit.img_id, f"{name} with {edit.phrase}, before"),
                ),
                (
                    "mask",
                    self.pictures.made(folder / edit.mask, f"mask: the edited {share} in white"),
                ),
                ("after", self.pictures.made(folder / edit.file, f"{name}, {edit.phrase} {done}")),
            ],
        }

    def generations(self) -> list[Json]:
        """Per seed: counts by class and filter; for the first seed with pictures."""
        views = []
        for index, (seed, generation) in enumerate(self.result["generation"].items()):
            folder = generation["generate"]["folder"]
            images = list(self._lines(folder, SyntheticImage))
            decisions = {
                d.img_id: d for d in self._lines(generation["filter"]["folder"], FilterDecision)
            }
            asked = self._manifest(folder).get("identity", {}).get("per_class", {})
            concepts = {c.y: c for c in self._lines(generation["personalise"]["folder"], Concept)}
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
                        "reasons": dict(reasons),
                    }
                    | {"gallery": self._gallery(folder, kept) if index == 0 else []}
                )
            view = {"seed": seed, "classes": classes, "total": generation["kept"]}
            view |= {"made": generation["generate"]["records"], "reasons": generation["reasons"]}
            view["rejects"] = self._rejects(folder, images, decisions) if index == 0 else []
            views.append(view)
        return views

    def _gallery(self, folder: str, kept: Sequence[SyntheticImage]) -> list[Json]:
        chosen = sorted(_spread(kept, GALLERY), key=lambda i: (i.prompt, i.img_id))
        pictures = [(i, self._picture(folder, i, i.prompt)) for i in chosen]
        return [{"image": i, "picture": p} for i, p in pictures if p is not None]

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
                "thresholds": list(_flat(thresholds.get(reason, {}))),
                "examples": [
                    {"image": i, "scores": decisions[i.img_id].scores}
                    | {"picture": self._picture(folder, i, f"rejected as {reason}: {i.prompt}")}
                    for i in _spread(group, REJECTS)
                ],
            }
            for reason, group in sorted(by_reason.items())
        ]

    def _picture(self, folder: str, image: SyntheticImage, alt: str) -> Picture | None:
        return self.pictures.made(self.outputs / folder / image.file, alt)

    def stages(self) -> list[Json]:
        """Every artifact in pipeline order: how many records, what was rejected and why."""
        entries = {name: [("all", a)] for name, a in self.result["stages"].items()}
        for part, names in (
            ("discovery", ("score", "discover")),
            ("generation", ("personalise", "generate", "filter")),
        ):
            for name in names if self.result[part] else ():
                entries[name] = [(seed, s[name]) for seed, s in self.result[part].items()]
        return [
            {"name": name, "runs": [self._stage(name, seed, a) for seed, a in runs]}
            for name, runs in entries.items()
        ]

    def _stage(self, name: str, seed: str, artifact: Json) -> Json:
        reasons = artifact["rejected"]
        if name == "filter":  # decides, so what it rejects are records too
            reasons = self.result["generation"][seed]["reasons"]
        examples = self._lines(artifact["folder"], Rejected, "rejected.jsonl")
        first = {r.reason: r for r in reversed(examples)}
        return artifact | {"seed": seed, "reasons": reasons, "first": first}

    def _lines(self, folder: str, record: type[T], name: str = "records.jsonl") -> list[T]:
        path = self.outputs / folder / name
        if not path.is_file():
            self.absent.add(folder)
            return []
        decoder = msgspec.json.Decoder(record)
        return [decoder.decode(line) for line in path.read_bytes().splitlines()]

    def _manifest(self, folder: str) -> Json:
        path = self.outputs / folder / "manifest.json"
        content: Json = json.loads(path.read_bytes()) if path.is_file() else {}
        return content


def _spread(items: Sequence[T], number: int) -> list[T]:
    """At most so many, evenly spread over all."""
    number = min(number, len(items))
    return [items[i * len(items) // number] for i in range(number)]


# --- how to make it again ---------------------------------------------------------------------


def _flat(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as dotted names and values."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value) if not isinstance(value, str) else value


def _versions(result: Json, outputs: Path) -> list[tuple[str, str]]:
    versions = [("aspire", str(result["aspire"]))]
    for run in (r for a in result["arms"] for r in a["runs"]):
        path = outputs / run["folder"] / "environment.json"
        if path.is_file():
            content = json.loads(path.read_bytes())
            return versions + [(k, str(content[k])) for k in ("python", "torch") if k in content]
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
    words += [f"model={json.loads(p.read_bytes())['model']}" for p in trained[:1] if p.is_file()]
    kept = {k: result["settings"].get(k, {}) for k in ("fit", "stage")}
    return shlex.join(["aspire", "run", *words, *(f"{k}={v}" for k, v in _flat(kept))])
