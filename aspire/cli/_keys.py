"""What the keys may be that no constructor takes: those of the verbs and of conf/base.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from aspire.checking import Section
from aspire.values import (
    AtLeastOne,
    Count,
    Fraction,
    FractionBelowOne,
    Natural,
    NonNegative,
    OpenFraction,
    Positive,
)

Format = Literal["rich", "json"]
Splits = Literal["train", "val", "test", "unseen"]
Port = Annotated[int, Meta(ge=0, le=65535)]  # 0: any that is free
Folder = Annotated[str, Meta(description="the folder of a finished run")]
Rule = Literal[
    "val_worst_group", "val_worst_class", "val_acc", "val_balanced", "last", "oracle_test"
]  # of aspire.classification.selection, which takes torch


class Dataset(Section):
    """Keys of conf/dataset/ that are not for the reader."""

    on_bad: Literal["error", "skip"]
    duplicates: bool
    thorough: bool
    sources: Any
    published: Any
    licence: str | None
    homepage: str | None


class Optimizer(Section):
    """What is known of the optimizers of torch, whose constructors say no ranges."""

    lr: Positive
    momentum: Fraction
    weight_decay: NonNegative
    eps: NonNegative
    dampening: Fraction
    nesterov: bool
    betas: Annotated[Sequence[Fraction], Meta(min_length=2, max_length=2)]


class Asked(Section):
    """Of stages that ask a model about every image."""

    max_rejected: Fraction


class Edited(Section):
    """Of the stage that edits."""

    images_per_class: Count | None
    dilate: Natural
    max_mask: Fraction
    controls: bool
    seed: Natural


class Collapse(Section):
    """How phrases are counted together."""

    similarity: Annotated[float, Meta(ge=0, le=100)]
    model: str


class Discovered(Section):
    """Of the stage that ranks."""

    collapse: Collapse


class Generated(Section):
    """Of the stage that generates."""

    amount: Literal["per_real", "even", "balance"]
    per_real: NonNegative
    usual: FractionBelowOne
    max_per_class: Count
    max_rejected: Fraction


class Filtered(Section):
    """Of the stage that filters."""

    min_kept: Fraction


class Stage(Section):
    """Of all stages."""

    caption: Asked
    extract: Asked
    edit: Edited
    discover: Discovered
    generate: Generated
    filter: Filtered


class Fit(Section):
    """How long and how to train; see :class:`aspire.training.settings.FitSettings`."""

    steps: Count
    evaluations: Count
    batch_size: Count
    selection: Rule
    augment: bool
    accumulate: Count
    ema: OpenFraction | None
    frozen: bool | None


class Paths(Section):
    """Where everything is."""

    outputs: str
    data: str


class Verb(Section):
    """Of every verb."""

    own: Sequence[str]
    paths: Paths
    dataset: Dataset
    optimizer: Optimizer


class Base(Verb):
    """Of every verb that trains or looks at images."""

    seed: Natural
    decisions: Annotated[str, Meta(description="a file that aspire review has written")] | None
    generated_share: OpenFraction | None
    generated_even: bool
    offline: bool
    fit: Fit
    stage: Stage


class Run(Base):
    """``aspire run``."""

    seeds: Annotated[Sequence[Natural], Meta(min_length=1)]
    arms: Sequence[str]
    references: Sequence[str]


Quickstart = Run


class Submitted(Section):
    """What is known of the parameters of submitit, which takes many more."""

    timeout_min: Count
    cpus_per_task: Count
    gpus_per_node: Natural
    mem_gb: Positive


class Launcher(Section):
    """Keys of conf/hydra/launcher/."""

    parameters: Submitted


class Sweeping(Section):
    """How jobs of a sweep mind each other."""

    stale_after: Positive


class Train(Base):
    """``aspire train``."""

    dry_run: bool
    sweep: Sweeping


class Tune(Base):
    """``aspire tune``."""

    n_trials: Count
    sampler: Literal["tpe", "random"]
    seeds: Annotated[Sequence[Natural], Meta(min_length=1)]
    space: Any
    sweep: Sweeping


class Discover(Base):
    """``aspire discover``."""

    top: Count
    split: str  # of those the dataset has, or all


class Generate(Base):
    """``aspire generate``."""

    action: str
    image: str | None


class Models(Base):
    """``aspire models``."""

    action: str
    dir: str | None
    format: Format


class Evaluate(Verb):
    """``aspire evaluate``."""

    run: Folder
    root: str | None
    split: Splits
    selection: Rule | None


class Predict(Verb):
    """``aspire predict``."""

    run: Folder
    images: str | Sequence[str]
    to: str | None
    selection: Rule | None


class Table(Verb):
    """``aspire table``."""

    dir: str
    rows: str | Sequence[str] | None
    cols: str | Sequence[str] | None
    metric: str | Sequence[str] | None
    metrics: str | Sequence[str]
    split: Literal["val", "test", "unseen"]
    selection: Rule | None
    against: Literal["published"] | None
    format: Literal["rich", "md", "latex", "csv", "json"]
    width: Natural
    stale_after: Positive


class Report(Verb):
    """``aspire report``."""

    dir: Folder
    stale_after: Positive


class Review(Verb):
    """``aspire review``."""

    dir: Folder
    to: str | None
    port: Port
    browser: bool


class Rerun(Verb):
    """``aspire rerun``."""

    run: Folder
    set: Sequence[str]
    anyway: bool
    reuse: bool
    dry_run: bool


class Diff(Verb):
    """``aspire diff``."""

    a: Folder
    b: Folder
    all: bool
    format: Format


class Sweep(Verb):
    """``aspire sweep``."""

    action: str
    dir: str
    format: Format
    stale_after: Positive


class Wandb(Verb):
    """``aspire wandb``."""

    action: str
    dir: str
    project: str
    entity: str | None
    dry_run: bool
    of: str
    method: Literal["grid", "random", "bayes"]
    metric: str
    stale_after: Positive


class Push(Verb):
    """``aspire push``."""

    run: Folder
    repo: Annotated[str, Meta(description="the owner and name of a repository on the hub")]
    licence: str | None
    public: bool
    real: bool
    overwrite: bool
    yes: bool


class Download(Section):
    """How a download is tried."""

    timeout: Positive
    retries: Natural


class Unpack(Section):
    """Limits of what is unpacked."""

    max_gb: Positive
    max_ratio: AtLeastOne
    max_entries: Count


class Data(Verb):
    """``aspire data``."""

    action: str
    split: Splits
    examples: Count
    to: Literal["folder", "csv", "hf"]
    dir: str | None
    generated: str | None
    overwrite: bool
    download: Download
    unpack: Unpack


Data.__annotations__["from"] = "str | None"  # a keyword


class List(Verb):
    """``aspire list``."""

    kind: str | None
    format: Format


class New(Verb):
    """``aspire new``."""

    kind: str
    name: str
    folder: str | None


class Hparams(Verb):
    """``aspire hparams``."""

    preset: str | None
    format: Literal["rich", "md", "json"]


class Doctor(Verb):
    """``aspire doctor``."""

    format: Format
    network: bool


def keys_of(verb: str) -> type[Section]:
    """The class above for a verb."""
    return globals().get(verb.capitalize(), Verb)  # type: ignore[no-any-return]
