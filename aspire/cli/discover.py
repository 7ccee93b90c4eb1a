"""``aspire discover``: which features is a classifier leaning on?"""

from __future__ import annotations

from omegaconf import DictConfig
from rich.markup import escape

from aspire.cli._app import console
from aspire.cli._bench import Bench, show_features, show_groups
from aspire.data.table import Dataset, Split
from aspire.discovery.rank import phrases_of
from aspire.errors import ConfigError, did_you_mean
from aspire.pipeline.flow import Discovery, Pipeline, collapsed_by


def job(cfg: DictConfig) -> None:
    """Caption, extract, edit, score and rank; print the features of each class."""
    bench = Bench("discover", cfg)
    show_groups(bench.dataset)
    pipeline = bench.pipeline_of(_splits(bench.dataset, str(cfg.split)))
    discovery = pipeline.discover(bench.classifier(int(cfg.seed)))
    show_features(bench.dataset, discovery.features, int(cfg.top))
    _show_tested(discovery)
    _show_agreement(pipeline, discovery)
    console.print(
        f"\n[bold]features[/bold]  {discovery.features.folder / 'records.jsonl'}\n"
        f"[bold]edits[/bold]     {discovery.edits.folder}\n"
        "[bold]next[/bold]      aspire generate, or aspire run for the table and the report"
    )


def _splits(dataset: Dataset, given: str) -> list[Split]:
    """The splits that ``split=`` names."""
    names = {s.name.lower(): s for s in dataset.splits}
    if given == "all":
        return list(names.values())
    if given not in names:
        raise ConfigError(
            f"split={given}: {dataset.name} has {', '.join(names)}, or all."
            f"{did_you_mean(given, [*names, 'all'])}"
        )
    return [names[given]]


def _show_tested(discovery: Discovery) -> None:
    """What the ranking rests on, and what it could not look at."""
    effects, wrong = discovery.effects.records, discovery.effects.reasons()
    with_control = sum(e.p_control is not None for e in effects)
    not_edited = ", ".join(f"{reason} {n}" for reason, n in discovery.edits.reasons().items())
    console.print(
        f"\n{len(effects)} edits of {len({e.img_id for e in effects})} correctly classified "
        f"images, {with_control} with a control edit; {wrong.get('misclassified', 0)} images were "
        f"misclassified and not looked at. Phrases that could not be edited: "
        f"{escape(not_edited) or 'none'}.",
        style="dim",
    )


def _show_agreement(pipeline: Pipeline, discovery: Discovery) -> None:
    """Precision and recall, where the dataset knows the shortcut."""
    from aspire.discovery.truth import agreement

    name = collapsed_by(pipeline.phrase_groups)
    phrases = {
        e.img_id: frozenset(name[p] for _, p in phrases_of(e)) for e in pipeline.extractions.records
    }
    for found in agreement(pipeline.dataset, phrases, discovery.features.records):
        values = ", ".join(
            f"precision@{k} {found.precision[k]:.2f} recall@{k} {found.recall[k]:.2f}"
            for k in found.precision
        )
        console.print(
            f"{pipeline.dataset.class_names[found.y]}: annotated shortcut "
            f"{escape(found.attribute)} ({len(found.true)} phrases name it): {values}"
        )
