"""What a job is made of: a dataset, who looks at it, and how classifiers are trained on it.

Everything here is built from plain objects. The command line fills them from the files of ``conf/``
(:mod:`aspire.cli.jobs`); a script or a notebook may write them down itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from aspire.classification.examination import Examination
from aspire.classification.predictor import Probabilities, Request, Source
from aspire.console import console
from aspire.data.checks import CheckReport
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError
from aspire.pipeline.flow import Pipeline
from aspire.pipeline.generating import generate
from aspire.pipeline.parts import Backends, Generation, StageSettings
from aspire.pipeline.stage import Engine
from aspire.pipeline.store import Artifact, ArtifactStore
from aspire.progress import Bars
from aspire.recipe import Preparation, Recipe
from aspire.reporting.closing import close_jobs
from aspire.reporting.wandb_run import remembered
from aspire.runs.policy import run_policy
from aspire.runs.trained import TrainedRun
from aspire.stored.decisions import Decisions
from aspire.stored.files import tidy
from aspire.stored.seals import remember_digests
from aspire.training.job import TrainingJob, run_training


@dataclass(frozen=True)
class Audited:
    """The classifier whose shortcuts are looked for.

    Args:
        source: where it comes from.
        recipe: baseline, seed -> how it is trained, where it is trained here: on real images alone.
        model: finished run -> the :class:`~aspire.classification.backbones.Model` of it.
        device: gives the torch device; asked only when there is something to predict.
    """

    source: Source
    recipe: Callable[[str, int], Recipe]
    model: Callable[[TrainedRun], Any]
    device: Callable[[], Any] = lambda: "cpu"

    @property
    def exists(self) -> bool:
        """Whether it is there before anything is trained, so that it can be examined first."""
        return hasattr(self.source, "anyway")


@dataclass
class Shared:
    """What depends on the dataset and on the backends alone: experiments on them may share it."""

    data: tuple[Dataset, CheckReport] | None = None
    digest: str = ""
    pipeline: Pipeline | None = None
    announced: set[tuple[str, str]] = field(default_factory=set)
    generated: dict[tuple[str, str, int], Generation] = field(default_factory=dict)


class Experiment:
    """One dataset, with everything that is found out and trained on it.

    Nothing is computed before it is asked for, and nothing twice.

    Args:
        dataset, checks: what is looked at, and what was found when it was checked.
        outputs: below which everything is kept.
        backends: splits -> who works in the stages for their images; asked when a stage is wanted.
        settings, engine: of the stages.
        audited: gives the classifier whose shortcuts are looked for.
        shared: with other experiments on the same dataset.
        decisions: of a person, which discovery and all that follows from it obey.
    """

    def __init__(
        self,
        dataset: Dataset,
        checks: CheckReport,
        outputs: Path,
        backends: Callable[[Sequence[Split]], Backends],
        settings: StageSettings,
        engine: Callable[[], Engine],
        audited: Callable[[], Audited],
        shared: Shared | None = None,
        decisions: Decisions | None = None,
    ) -> None:
        self.dataset = dataset
        self.checks = checks
        self.outputs = Path(outputs)
        self.progress = Bars(console)
        self.decisions = decisions
        self.examinations: dict[int, Examination] = {}  # seed -> of its classifier
        self._backends = backends
        self._settings = settings
        self._engine = engine
        self._audited = audited
        self._shared = shared or Shared()
        self._classifiers: dict[tuple[int, str], Probabilities] = {}
        remember_digests(self.outputs / "cache")
        tidy(self.outputs / "cache")

    @property
    def dataset_digest(self) -> str:
        """Of the dataset's content."""
        if not self._shared.digest:
            self._shared.digest = self.dataset.digest(self.outputs / "cache")
        return self._shared.digest

    # --- stages ------------------------------------------------------------------------------

    @property
    def pipeline(self) -> Pipeline:
        """The stages for the training images."""
        if self._shared.pipeline is None:
            self._shared.pipeline = self.pipeline_of([Split.TRAIN])
        return self._shared.pipeline

    def pipeline_of(self, splits: Sequence[Split]) -> Pipeline:
        """The same for the images of other splits."""
        return Pipeline(
            self.dataset,
            self.dataset_digest,
            self._backends(splits),
            self._settings,
            ArtifactStore(self.outputs / "artifacts", self.progress, self.announce),
            self._engine(),
            splits,
            self.decisions,
        )

    def pipeline_for(self, recipe: Recipe) -> Pipeline:
        """The stages with what the arm of a recipe exchanges."""
        if recipe.exchange is None:
            return self.pipeline
        return self.pipeline.with_parts(recipe.exchange.settings, **recipe.exchange.parts())

    def generate(self, seed: int, recipe: Recipe | None = None) -> Generation:
        """The generated set against the shortcuts of the classifier with this seed.

        Args:
            seed: of classifier and images.
            recipe: of an arm that exchanges parts; None for the experiment's own.

        Raises:
            NothingFoundError: when no class has a spurious feature.
        """
        exchange = None if recipe is None else recipe.exchange
        pipeline = self.pipeline if recipe is None else self.pipeline_for(recipe)
        pipeline.check_making()
        classifier = self.classifier(seed)
        key = ("" if exchange is None else exchange.digest, classifier.digest, seed)
        if key not in self._shared.generated:
            self._shared.generated[key] = generate(pipeline, classifier, seed)
        return self._shared.generated[key]

    def announce(self, artifact: Artifact[Any]) -> None:
        """One line per stage: hit or run, how many, what was rejected and why."""
        if self._seen(artifact.stage, artifact.key):
            return
        reasons = ", ".join(f"{reason} {n}" for reason, n in artifact.reasons().items())
        resumed = f", {artifact.resumed} from before" if artifact.resumed else ""
        seconds = f", {artifact.seconds:.1f} s" if artifact.state == "run" else ""
        console.show(
            "  {:<12} {:<4} {:>6} records{}  [dim]{}{}{}[/dim]",
            artifact.stage,
            artifact.state,
            len(artifact.records),
            f"  rejected: {reasons}" if reasons else "",
            artifact.key,
            resumed,
            seconds,
        )

    def _seen(self, what: str, key: str) -> bool:
        """Whether it was announced before; from now on it was."""
        seen = (what, key) in self._shared.announced
        self._shared.announced.add((what, key))
        return seen

    # --- the classifier whose shortcuts are looked for -------------------------------------------

    @cached_property
    def audited(self) -> Audited:
        """Whose shortcuts are looked for."""
        return self._audited()

    def classifier(self, seed: int, pipeline: Pipeline | None = None) -> Probabilities:
        """The classifier whose shortcuts are looked for, examined.

        Args:
            seed: of the run.
            pipeline: of the images that it is examined on; None for the training images.

        Raises:
            AspireError: when it is not available, does not answer, or is no better than guessing.
        """
        pipeline = pipeline or self.pipeline
        key = (seed, pipeline.dataset_digest)
        if key not in self._classifiers:
            self._classifiers[key] = self._examined(seed, pipeline)
        return self._classifiers[key]

    def _examined(self, seed: int, pipeline: Pipeline) -> Probabilities:
        pipeline.check()
        classifier = self._unexamined(seed)
        self.examinations[seed] = examination = pipeline.examine(classifier)
        problem = examination.problem(classifier)
        # of one that was trained here it is known what it is: a warning will do
        refused = problem is not None and not getattr(self.audited.source, "anyway", True)
        if not self._seen("examined", f"{classifier.digest} {pipeline.dataset_digest}"):
            for line in examination.lines():
                console.print(f"  {line}", markup=False, style="dim")
            if problem and not refused:
                console.print(f"  {problem}", markup=False, style="yellow")
        if refused:
            raise ConfigError(
                f"{problem} To look for shortcuts all the same: classifier.anyway=true."
            )
        return classifier

    def _unexamined(self, seed: int) -> Probabilities:
        def train(baseline: str) -> TrainedRun:
            # The job cannot go on without it.
            with run_policy(busy="wait", started=lambda folder: None):
                return self.train(self.audited.recipe(baseline, seed))

        return self.audited.source.classifier(
            Request(self.dataset.class_names, seed, train, self.audited.model, self.audited.device)
        )

    # --- training ------------------------------------------------------------------------------

    def train(self, recipe: Recipe, said: str = "test") -> TrainedRun:
        """The run of a recipe: the finished one if there is one, else trained now.

        Args:
            said: the split whose numbers are shown.
        """
        generated = None
        if recipe.augmentation.uses_generated:
            generated = self.generate(recipe.seed, recipe).kept
        groups = recipe.groups.find(
            lambda: self.pipeline_for(recipe), lambda: self.classifier(recipe.seed)
        )
        identity, labels = dict(recipe.identity), dict(recipe.labels)
        if groups is not None:
            identity["groups"] = groups.digest
            labels["baseline"] += f"-{recipe.groups.label}"
        job = TrainingJob(
            dataset=self.dataset,
            dataset_digest=self.dataset_digest,
            identity=identity,
            extra_digest=generated.digest if generated else None,
            seed=recipe.seed,
            checks=self.checks.to_dict(),
            labels=labels,
            parts=lambda: Preparation(
                recipe, job, generated, groups, self.outputs, self.progress
            ).build(),
        )
        run = run_training(job, self.outputs / "train", recipe.config)
        close_jobs()
        remembered().trained = run.folder
        if not self._seen("train", job.key):
            console.show(
                "  {:<12} {:<4} {} + {}, seed {}: {} {}  [dim]{}[/dim]",
                "train",
                run.state,
                job.labels["baseline"],
                job.labels["augmentation"],
                job.seed,
                said,
                in_words(run.result["metrics"][said]),
                job.key,
            )
        return run


def in_words(metrics: Mapping[str, Any]) -> str:
    """One split in a few words: worst group 46.0 (dog/land), average 84.5."""
    average = f"average {100 * metrics['acc']:.1f}"
    if metrics["worst_group_acc"] is not None:
        worst = f"worst group {100 * metrics['worst_group_acc']:.1f} ({metrics['worst_group']})"
    elif metrics.get("worst_class") is not None:
        worst = f"worst class {100 * metrics['worst_class_acc']:.1f} ({metrics['worst_class']})"
        average += ", groups unknown"
    else:  # of an older run
        return f"{average}, groups unknown"
    return f"{worst}, {average}"
