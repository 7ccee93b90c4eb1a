"""A W&B report about a sweep as code: what to compare, group by group, and what was found.

The specification is built without a network; only saving it needs an account.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aspire.errors import ConfigError, ServiceError
from aspire.identity import arm_name
from aspire.reporting.wandb_results import kept_key
from aspire.reporting.wandb_sync import gain_key

WIDE, HALF = 24, 12  # of 24 columns


@dataclass(frozen=True)
class Subject:
    """What the dashboard is about.

    Args:
        sweep: name of the sweep, as its runs have it in their configuration; "" for all runs.
        groups: dataset -> names of its groups.
        kept: dataset -> names of the classes that images were generated of.
        arms: (baseline, augmentation) pairs, the plain ones first.
        rejected: names of the filters that rejected images.
    """

    project: str
    entity: str | None
    sweep: str
    groups: Mapping[str, Sequence[str]]
    kept: Mapping[str, Sequence[str]]
    arms: Sequence[tuple[str, str]]
    rejected: Sequence[str] = ()

    @property
    def gained(self) -> list[str]:
        """The arms that have a gain."""
        return [arm_name(b, a) for b, a in self.arms if a != "none"]


def dashboard(subject: Subject) -> Any:
    """The report, a ``wandb_workspaces.reports.v2.Report``; nothing is sent.

    Raises:
        ConfigError: when wandb-workspaces is not installed.
    """
    wr = _library()
    return wr.Report(
        project=subject.project,
        entity=subject.entity or "",
        title=f"ASPIRE: {subject.sweep or 'all runs'}",
        description=f"{len(subject.arms)} arms on {', '.join(subject.groups)}",
        width="fluid",
        blocks=list(_blocks(wr, subject)),
    )


def specification(report: Any) -> dict[str, Any]:
    """What would be sent to W&B, as plain values."""
    content: dict[str, Any] = report._to_model().model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
    return content


def save(report: Any) -> str:
    """Save it; its address.

    Raises:
        ServiceError: when W&B does not take it.
    """
    try:
        report.save()
        return str(report.url)
    except Exception as error:  # the library raises plain ones
        raise ServiceError(f"W&B did not take the dashboard: {error}") from error


def _library() -> Any:
    try:
        import wandb_workspaces.reports.v2 as wr
    except ModuleNotFoundError:
        raise ConfigError(
            "aspire wandb dashboard needs the package wandb-workspaces: pip install -e '.[wandb]'"
        ) from None
    return wr


def _blocks(wr: Any, subject: Subject) -> Iterator[Any]:
    yield wr.P(
        "Fractions in [0, 1] on the test split; bars are means over seeds, whiskers one standard "
        "deviation. Selection rule and group labels that a method needs are in the columns "
        "selection and needs of the runs."
    )
    yield wr.TableOfContents()
    yield wr.H1("Worst-group accuracy, without and with ASPIRE")
    for dataset in subject.groups:
        yield wr.H2(dataset)
        yield wr.PanelGrid(
            runsets=[_runs(wr, subject, dataset)],
            panels=[
                _bars(wr, "Worst-group accuracy", "test/worst_group_acc", 0),
                _bars(wr, "Average weighted as in training", "test/acc_adjusted", HALF),
            ],
        )
    yield wr.H1("Gains over the same baseline without augmentation")
    yield wr.PanelGrid(
        runsets=[_runs(wr, subject, job_type="table")],
        panels=[
            wr.BarPlot(
                title=f"Gain in worst-group accuracy, {dataset}",
                metrics=[
                    wr.SummaryMetric(gain_key("worst_group_acc", dataset, arm))
                    for arm in subject.gained
                ],
                layout=wr.Layout(x=HALF * (i % 2), y=10 * (i // 2), w=HALF, h=10),
            )
            for i, dataset in enumerate(subject.groups)
        ]
        + [_table(wr, "table", 10 * ((len(subject.groups) + 1) // 2))],
    )
    yield wr.H1("Groups during training")
    for dataset, groups in subject.groups.items():
        yield wr.H2(dataset)
        yield wr.PanelGrid(
            runsets=[_runs(wr, subject, dataset)],
            panels=[
                _curve(wr, metric, title, HALF * (i % 2), 8 * (i // 2))
                for i, (metric, title) in enumerate(
                    [("val/worst_group_acc", "worst group")]
                    + [(f"val/group/{name}/acc", name) for name in groups]
                )
            ],
        )
    yield wr.H1("Discovered features")
    for dataset, classes in subject.kept.items():
        keys = [kept_key(name) for name in classes]
        keys += [f"generated/rejected/{reason}" for reason in subject.rejected]
        yield wr.H2(dataset)
        yield wr.PanelGrid(
            runsets=[_runs(wr, subject, dataset, augmented=True)],
            panels=[
                _table(wr, "features", 0),
                wr.MediaBrowser(
                    title="Generated images: kept by class, rejected by reason",
                    media_keys=keys,
                    num_columns=8,
                    layout=wr.Layout(x=0, y=12, w=WIDE, h=12),
                ),
            ],
        )


def _runs(
    wr: Any,
    subject: Subject,
    dataset: str | None = None,
    job_type: str = "train",
    augmented: bool = False,
) -> Any:
    """The runs of the sweep, of one dataset and kind."""
    filters = [f"JobType = '{job_type}'"]
    if subject.sweep:
        filters.append(f"Config('sweep') = {subject.sweep!r}")
    if dataset:
        filters.append(f"Config('dataset') = {dataset!r}")
    if augmented:
        filters.append("Config('augmentation') != 'none'")
    return wr.Runset(name=dataset or job_type, filters=" and ".join(filters))


def _bars(wr: Any, title: str, metric: str, x: int) -> Any:
    return wr.BarPlot(
        title=title,
        metrics=[wr.SummaryMetric(metric)],
        groupby=wr.Config("arm"),
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        range_x=(0, 1),
        max_runs_to_show=1000,
        max_bars_to_show=100,
        layout=wr.Layout(x=x, y=0, w=HALF, h=14),
    )


def _curve(wr: Any, metric: str, title: str, x: int, y: int) -> Any:
    return wr.LinePlot(
        title=title,
        x="step",
        y=[metric],
        range_y=(0, 1),
        groupby=wr.Config("arm"),
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        max_runs_to_show=1000,
        layout=wr.Layout(x=x, y=y, w=HALF, h=8),
    )


def _table(wr: Any, name: str, y: int) -> Any:
    layout = wr.Layout(x=0, y=y, w=WIDE, h=12)
    return wr.WeavePanelSummaryTable(table_name=name, layout=layout)
