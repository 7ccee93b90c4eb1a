"""What the verbs print: groups, metrics and features as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from aspire.console import Table, console
from aspire.data.table import Dataset, Split
from aspire.language.phrases import head_matches
from aspire.pipeline.parts import class_words
from aspire.pipeline.store import Artifact
from aspire.records import SpuriousFeature
from aspire.stored.decisions import Decisions

MOST = 40  # rows of one split


def show_groups(dataset: Dataset) -> None:
    """The table of group counts that every run starts with."""
    annotated = bool((dataset.table["place"] >= 0).any())
    what = "group" if annotated else "class"
    table = Table(title=f"{dataset.name}: images per {what}")
    table.add_column(what, overflow="fold")
    counts = []
    for split in dataset.splits:
        table.add_column(split.name.lower(), justify="right", no_wrap=True)
        if annotated:
            counts.append(list(dataset.group_counts(split).values()))
        else:
            counts.append(list(dataset.class_counts(split).values()))
    names = dataset.grouper.names if annotated else dataset.class_names
    for name, *numbers in zip(names, *counts, strict=True):
        table.add_row(name, *map(str, numbers))
    console.print(table)
    if "caption" in dataset.table.columns:
        _warn_class_names(dataset)


def _warn_class_names(dataset: Dataset) -> None:
    """Say when captions never mention a class: its name is probably not what the images show."""
    from collections import Counter
    from itertools import islice

    train = dataset.split(Split.TRAIN)
    for y, name in enumerate(dataset.class_names):
        words = class_words(dataset, y)
        captions = train.loc[train["y"] == y, "caption"].str.lower()
        captions = captions[captions != ""]
        if len(captions) < 20:
            continue
        mentions = (caption for caption in captions if _mentions(caption, words))
        if sum(1 for _ in islice(mentions, len(captions) // 50 + 1)) > 0.02 * len(captions):
            continue
        common = Counter(w for c in captions for w in set(c.split()[:4]) if len(w) > 2)
        seen = ", ".join(w for w, _ in common.most_common(3))
        console.show(
            "  [yellow]note:[/yellow] captions of class '{}' never mention it; they begin with {}. "
            "If the classes are others here, say so: 'dataset.class_names=\\[...]'",
            name,
            seen,
        )


def _mentions(caption: str, words: Sequence[str]) -> bool:
    return any(head_matches(token, words) for token in caption.split())


def show_metrics(result: dict[str, Any], split: str = "test") -> None:
    """Every group of one split of one run."""
    measured = result["metrics"][split]
    groups, worst, what = measured["groups"], measured["worst_group"], "groups"
    if worst is None:
        groups, worst = measured.get("classes", {}), measured.get("worst_class")
        what = "classes; the groups are unknown"
    table = Table(
        title=f"{split} accuracy, {result['baseline']} (needs: {result['needs']}; "
        f"selection: {result['selection']})",
    )
    table.add_column(what, overflow="fold")
    table.add_column("accuracy %", justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    shown = sorted(groups.items(), key=lambda item: (item[1]["acc"] is None, item[1]["acc"]))
    shown = list(groups.items()) if len(groups) <= MOST else shown[:MOST]
    for name, group in shown:
        mark = "  <- worst" if name == worst else ""
        value = "-" if group["acc"] is None else f"{100 * group['acc']:.1f}"
        table.add_row(name + mark, value, str(group["n"]))
    if len(groups) > len(shown):
        table.add_row(Text(f"the {MOST} lowest of {len(groups)}; all in result.json", "dim"))
    for name in ("worst_group_acc", "worst_class_acc", "acc", "acc_adjusted", "acc_balanced"):
        if measured.get(name) is not None and (name != "worst_class_acc" or what != "groups"):
            table.add_row(Text(name, style="bold"), f"{100 * measured[name]:.1f}", "")
    console.print(table)


def show_features(
    dataset: Dataset,
    features: Artifact[SpuriousFeature],
    top: int,
    decisions: Decisions | None = None,
) -> None:
    """The strongest features of each class, called and judged as a person says."""
    judged = {} if decisions is None else decisions.judged
    tested = any(f.q_value is not None for f in features.records)
    donated = any(f.donors is not None for f in features.records)
    for y, name in enumerate(dataset.class_names):
        rows = [f for f in features.records if f.y == y]
        if not rows:
            continue
        table = Table(
            title=f"{name}: what happens to the answer when a phrase is taken out",
        )
        table.add_column("", justify="right", no_wrap=True)
        words = [len(word) for f in rows[:top] for word in f.phrase.split()]
        table.add_column("feature", overflow="fold", min_width=min(12, max(words, default=0)))
        table.add_column("kind", no_wrap=True)
        # an interval of the flip rate would take edits of one donor for independent
        rate = ["control", "donors"] if donated else ["rate % (95 %)", "control"]
        columns = ["flips", *rate, "score"]
        for column in (*columns, *(["q"] * tested), "spurious"):
            table.add_column(column, justify="right", no_wrap=True)
        for f in rows[:top]:
            ends = f"{100 * f.interval[0]:.0f}-{100 * f.interval[1]:.0f}"
            flip_rate = f"{100 * f.flip_rate:.0f} ({ends})"
            flips = round((f.control_rate or 0) * f.controls)
            control = "-" if f.control_rate is None else f"{flips}/{f.controls}"
            table.add_row(
                str(f.rank),
                f.phrase if decisions is None else decisions.called(f.phrase),
                "scene" if f.kind == "change_background" else "object",
                f"{f.flips}/{f.support}",
                *([control, str(f.donors or "-")] if donated else [flip_rate, control]),
                f"{f.score:.2f}",
                *(["-" if f.q_value is None else f"{f.q_value:.1g}"] * tested),
                _verdict(f, tested) + " (a person)" * ((f.y, f.kind, f.phrase) in judged),
            )
        console.print(table)
    for rejected in features.rejected:
        name = dataset.class_names[int(rejected.item_id)]
        console.show(
            "  [yellow]{}: no spurious feature found[/yellow]; {}", name, rejected.detail or ""
        )


def _verdict(feature: SpuriousFeature, tested: bool) -> str:
    if feature.spurious:
        return "yes"
    return "not judged" if tested and feature.q_value is None else "no"
