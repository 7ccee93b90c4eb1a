"""What a run's numbers say: the verdict in words, and the accuracies the report draws."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from aspire.identity import arm_name
from aspire.reporting.table import Cell, usable_metrics

Json = dict[str, Any]

METRICS = ("worst_group_acc", "acc", "acc_adjusted")
WITH_ASPIRE = ("aspire", "swaps")  # the first of them that a run has is held against the plain arm


def metrics_of(result: Json) -> list[str]:
    """The metrics that the runs have; the worst class where the groups are unknown."""
    trained = [r for a in result["arms"] for r in a["runs"]]
    return usable_metrics(trained, METRICS, "test")


def summary_of(result: Json) -> Json:
    """The verdict in words, and the numbers it rests on.

    Compares the arm with ASPIRE to the same baseline without, over the seeds that both have.
    """
    leans = _leans_on(result)
    head = f"ERM leans on {leans}" if leans else "No shortcut was found that the captions name"
    main = main_baseline(result)
    runs = {a["arm"]: {r["seed"]: r["metrics"]["test"] for r in a["runs"]} for a in result["arms"]}
    before, after = runs.get(main, {}), runs.get(_with_aspire(runs, main), {})
    seeds = sorted(set(before) & set(after))
    if not seeds:
        reasons = sorted({m["reason"] for m in result["missing"] if m["arm"] != main})
        arm = "arm with ASPIRE" if before else f"plain {_spoken(main)} arm"
        why = f"was not run: {', '.join(reasons)}" if reasons else "is not part of this run"
        return {"text": f"{head}. There is nothing to compare, since the {arm} {why}.", "pairs": []}
    known = all(m[s]["worst_group_acc"] is not None for m in (before, after) for s in seeds)
    metric = "worst_group_acc" if known else "worst_class_acc"
    label = "worst group" if known else "worst class"
    pairs = [
        (
            text,
            Cell(tuple(before[s][key] for s in seeds)),
            Cell(tuple(after[s][key] for s in seeds)),
        )
        for key, text in ((metric, label), ("acc", "average"))
    ]
    worst, average = (f"{percent(b)}\u00a0% →\u00a0{percent(a)}\u00a0%" for _, b, a in pairs)
    gain = (pairs[0][2].mean or 0.0) - (pairs[0][1].mean or 0.0)
    if gain <= 0:
        head += f", {'but' if leans else 'and'} ASPIRE does not help here"
    of = "" if main == "erm" else f" of {_spoken(main)}"
    count = "one seed" if len(seeds) == 1 else f"mean of {len(seeds)} seeds"
    if len(seeds) < max(len(before), len(after)):
        count += " that both arms have"
    text = f"{head}: {label}{of} {worst} with ASPIRE, average {average} (test set, {count})."
    better = sum(after[s][metric] > before[s][metric] for s in seeds)
    notes = []
    if len(seeds) == 1:
        notes.append("One seed cannot tell a gain from chance.")
    elif gain > 0:
        share = "every seed" if better == len(seeds) else f"{better} of {len(seeds)} seeds"
        notes.append(f"The {label} is better with {share}.")
    for key, name in (("acc", "average"), ("acc_adjusted", "average weighted as in training")):
        old, new = (
            Cell(tuple(m[s][key] for s in seeds if m[s][key] is not None)) for m in (before, after)
        )
        if new.mean is not None and old.mean is not None and new.mean < old.mean:
            notes.append(f"The {name} falls: {percent(old)}\u00a0% →\u00a0{percent(new)}\u00a0%.")
    control = runs.get(arm_name(main, "duplicates"), {})
    if (same := Cell(tuple(control[s][metric] for s in seeds if s in control))).mean is not None:
        notes.append(f"Real images repeated instead: {label} {percent(same)}\u00a0%.")
    return {"text": text, "pairs": pairs, "caveat": " ".join(notes)}


def _with_aspire(arms: Container[str], baseline: str) -> str:
    names = [arm_name(baseline, a) for a in WITH_ASPIRE]
    return next((n for n in names if n in arms), names[0])


def _leans_on(result: Json) -> str:
    features = [f for d in result["discovery"].values() for f in d["features"] if f["spurious"]]
    words = {"change_background": "the background", "remove_object": "other objects in the picture"}
    return " and ".join(w for kind, w in words.items() if kind in {f["kind"] for f in features})


def main_baseline(result: Json) -> str:
    """The baseline that every arm but the references has."""
    names = [a["baseline"] for a in result["arms"] if a["augmentation"] != "none"]
    names += [m["arm"].split(" + ")[0] for m in result["missing"]]
    names += [a["baseline"] for a in result["arms"]]
    return str(names[0]) if names else "erm"


def _spoken(baseline: str) -> str:
    return {"erm": "ERM", "groupdro": "GroupDRO"}.get(baseline, baseline)


def percent(cell: Cell) -> str:
    """The mean in percent with one digit."""
    return "-" if cell.mean is None else f"{100 * cell.mean:.1f}"


def arms_of(result: Json) -> list[Json]:
    """One row per arm that has results: what it is, its metrics over seeds, and its colour."""
    tones = {"none": 0, "aspire": 1, "duplicates": 2}
    main = main_baseline(result)
    rows = []
    for arm in result["arms"]:
        tests = [r["metrics"]["test"] for r in arm["runs"]]
        reference = arm["augmentation"] == "none" and arm["baseline"] != main
        row = {k: arm[k] for k in ("arm", "needs", "selection", "steps", "runs")}
        row["cells"] = {m: _cell(t.get(m) for t in tests) for m in metrics_of(result)}
        row["tone"] = 3 if reference else tones.get(arm["augmentation"], 4)
        rows.append(row)
    return rows


def _of(run: Json, parts: str, name: str) -> float | None:
    found = run["metrics"]["test"].get(parts, {}).get(name)
    return None if found is None else found["acc"]


def _cell(values: Iterable[float | None]) -> Cell:
    return Cell(tuple(v for v in values if v is not None))


def groups_of(result: Json) -> list[Json]:
    """Per-group accuracies of every arm, and the mean gain with ASPIRE over shared seeds.

    Where the groups are unknown: of each class.
    """
    counts, arms = result["dataset"]["group_counts"], arms_of(result)
    tests = [r["metrics"]["test"] for a in arms for r in a["runs"]]
    parts = "groups"
    if not any(g["acc"] is not None for t in tests for g in t["groups"].values()):
        parts, counts = "classes", result["dataset"].get("class_counts", {"test": {}, "train": {}})
    main = main_baseline(result)
    groups = []
    for name, number in counts["test"].items():
        by_seed = {a["arm"]: {r["seed"]: _of(r, parts, name) for r in a["runs"]} for a in arms}
        cells = {k: _cell(v.values()) for k, v in by_seed.items()}
        before, after = by_seed.get(main, {}), by_seed.get(_with_aspire(by_seed, main), {})
        pairs = [(before[s], after[s]) for s in before if s in after]
        gain = _cell(None if b is None or a is None else a - b for b, a in pairs).mean
        bars = [(a["arm"], a["tone"], cells[a["arm"]]) for a in arms]
        groups.append(
            {"name": name, "n": number, "train": counts["train"].get(name), "gain": gain}
            | {"bars": bars}
        )
    return groups
