"""From a configuration to datasets, runs and pipelines: what the verbs share."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from aspire.classification.examination import Examination
from aspire.classification.predictor import Probabilities, Source
from aspire.classification.training import TrainedRun, TrainingJob, run_training
from aspire.cli._app import build, class_of, compose_config, own_keys, plain, task_overrides
from aspire.cli._arms import groups_of_arm, takes, values_of_arm
from aspire.cli._datasets import check_annotations, checked_dataset
from aspire.cli._show import describe
from aspire.cli._stored import stored_yaml
from aspire.cli._training import TrainingParts, loggers_of
from aspire.cli._words import quoted
from aspire.console import console
from aspire.data.checks import CheckReport
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError
from aspire.generation.base import Personaliser, Watched
from aspire.own_code import code_digests, targets_in
from aspire.pipeline.flow import Pipeline
from aspire.pipeline.parts import Backends, Generation, StageSettings
from aspire.pipeline.store import Artifact, ArtifactStore, digest_of
from aspire.pretrained import content_digest, remember_digests
from aspire.progress import Bars
from aspire.stored.config import contents, read_network
from aspire.stored.files import tidy

# What a training run is made of; everything else is where and how fast.
IDENTITY = ("model", "baseline", "augmentation", "optimizer", "scheduler", "fit")
# What an arm of a comparison may exchange; the stages before these are the same for all.
MAKING = ("score", "personaliser", "generator", "filter")
MAKING_STAGES = ("generate", "filter")


class Bench:
    """Builds what a job needs, once, and only when there is work to do.

    Args:
        verb: whose configuration this is.
        cfg: the composed configuration of the job.
        overrides: what it was composed with; the user's own words when None.
    """

    def __init__(self, verb: str, cfg: DictConfig, overrides: Sequence[str] | None = None) -> None:
        self.cfg = cfg
        typed = task_overrides() if overrides is None else list(overrides)
        drop = own_keys(verb)
        # The words that `aspire train` would understand too.
        self.overrides = [
            o for o in typed if o.lstrip("+~").split("=")[0].split(".")[0] not in drop
        ]
        self.progress = Bars(console)
        self.announced: set[tuple[str, str]] = set()
        self._composed: dict[Any, tuple[DictConfig, dict[str, str]]] = {}
        self._plain_making: dict[int, tuple[DictConfig, list[Any]]] = {}
        self._generated: dict[Any, Generation] = {}
        self._classifiers: dict[Any, Probabilities] = {}
        self.examinations: dict[int, Examination] = {}  # seed -> of its classifier
        remember_digests(self.outputs / "cache")
        tidy(self.outputs / "cache")

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset, read and checked."""
        return self._checked[0]

    @property
    def checks(self) -> CheckReport:
        """What was found when the dataset was checked."""
        return self._checked[1]

    @cached_property
    def _checked(self) -> tuple[Dataset, CheckReport]:
        dataset, report = checked_dataset(self.cfg.dataset, self.outputs / "cache")
        if report.problems or report.notes:
            console.print(report.text(), style="yellow")
        return dataset, report

    @cached_property
    def dataset_digest(self) -> str:
        """Of its content."""
        return self.dataset.digest(self.outputs / "cache")

    @property
    def outputs(self) -> Path:
        """Where everything goes."""
        return Path(self.cfg.paths.outputs)

    def refuse_random(self) -> None:
        """Refuse a report on features that were drawn by lot: nobody shall take them for findings.

        Raises:
            ConfigError: with what to type instead.
        """
        if not getattr(class_of(self.cfg.score._target_), "is_evidence", True):
            raise ConfigError(
                "score=random draws features and says nothing about a classifier, so there is "
                "nothing to report. To hold discovery against it: aspire run "
                "'arms=[none,undiscovered,aspire]'."
            )

    @cached_property
    def pipeline(self) -> Pipeline:
        """The ASPIRE stages for the training images of this dataset."""
        return self.pipeline_of([Split.TRAIN])

    def pipeline_of(self, splits: Sequence[Split]) -> Pipeline:
        """The same for the images of other splits."""
        cfg = self.cfg
        check_annotations(cfg, self.dataset, splits)
        return Pipeline(
            self.dataset,
            self.dataset_digest,
            Backends(
                captioner=build(cfg.captioner),
                extractor=build(cfg.extractor),
                segmenter=build(cfg.segmenter),
                inpainter=build(cfg.inpainter),
                restyler=build(cfg.restyler),
                **self._makers(cfg),
            ),
            StageSettings(**plain(cfg.stage)),
            ArtifactStore(self.outputs / "artifacts", self.progress, self.announce),
            build(cfg.engine),
            splits,
        )

    def _watched(self, personaliser: Personaliser, cfg: DictConfig) -> Personaliser:
        """One that trains is logged like the training runs, each class as a job of its own."""

        def loggers(folder: Path) -> list[Any]:
            settings = plain(cfg.personaliser)
            kind = str(settings["_target_"]).rpartition(".")[2]
            return loggers_of(
                cfg,
                folder=folder,
                name=f"{self.dataset.name}-{kind}-{folder.name[:8]}",
                group=f"{self.dataset.name}-{kind}",
                tags=[self.dataset.name, kind],
                config={"seed": settings["seed"], "labels": {}, "personaliser": settings},
                run_id=f"{folder.name}-personalise",
                job_type="personalise",
            )

        if isinstance(personaliser, Watched):
            personaliser.log_to(loggers)
        return personaliser

    def making(self, cfg: DictConfig) -> Pipeline:
        """The pipeline with what the arm of a job exchanges."""
        if self._making(cfg) == self._making(self.cfg):
            return self.pipeline
        return self.pipeline.with_parts(StageSettings(**plain(cfg.stage)), **self._makers(cfg))

    def _making(self, cfg: DictConfig) -> list[Any]:
        """Plain values of ``MAKING`` and of its stages; asked once, for a job stays as it is."""
        if id(cfg) not in self._plain_making:
            values = [cfg.get(k) for k in MAKING] + [cfg.stage[k] for k in MAKING_STAGES]
            self._plain_making[id(cfg)] = cfg, list(map(plain, values))  # the job lives as long
        return self._plain_making[id(cfg)][1]

    def _makers(self, cfg: DictConfig) -> dict[str, Any]:
        """The backends of ``MAKING``."""
        return {
            "score": build(cfg.score),
            "personaliser": self._watched(build(cfg.personaliser), cfg),
            "sampler": build(cfg.generator),
            "filters": tuple(build(f) for f in cfg.get("filter", {}).values()),
        }

    def announce(self, artifact: Artifact[Any]) -> None:
        """One line per stage: hit or run, how many, what was rejected and why."""
        if (artifact.stage, artifact.key) in self.announced:
            return
        self.announced.add((artifact.stage, artifact.key))
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

    @cached_property
    def chosen(self) -> dict[str, str]:
        """Group of conf/ -> choice, as the overrides have it."""
        return compose_config("train", self.overrides)[1]

    def words(self, **choices: str) -> list[str]:
        """The overrides with other choices; the keys of a choice that is exchanged go with it.

        An arm is what its file says, whatever was typed for the others; what its own choices take
        too, as score=random the thresholds of score=effect, holds for them as well.
        """
        arm = str(choices.get("augmentation"))
        of_arm = groups_of_arm(arm)
        choices = {**choices, **of_arm}

        def goes(override: str) -> bool:
            group, _, key = override.lstrip("+~").partition("=")[0].partition(".")
            if not key or group not in choices or self.chosen.get(group) == str(choices[group]):
                return False
            return group not in of_arm or not takes(group, of_arm[group], key)

        kept = [o for o in self.overrides if not goes(o)]
        own = {**choices, **values_of_arm(arm)}
        return [*kept, *(f"{k}={quoted(v)}" for k, v in own.items())]

    def composed(
        self, seed: int | None = None, **choices: str
    ) -> tuple[DictConfig, dict[str, str]]:
        """The configuration and choices of ``aspire train`` with the same words and these choices.

        Equal choices are composed once, whatever the seed: it decides over no other key.
        """
        words = tuple(self.words(**choices))
        if (words, seed) in self._composed:
            return self._composed[words, seed]
        if seed is None:
            found = compose_config("train", words)
        else:
            cfg, chosen = self.composed(None, **choices)
            found = copy.deepcopy(cfg), chosen
            found[0].seed = int(seed)
        self._composed[words, seed] = found
        return found

    def train(self, seed: int | None = None, **choices: str) -> TrainedRun:
        """The run that ``aspire train`` with the same words and these choices gives."""
        cfg, chosen = self.composed(seed, **choices)
        augmentation, source = build(cfg.augmentation), build(cfg.groups)
        generated = None
        if augmentation.uses_generated:
            generated = self.generate(cfg.seed, cfg).kept
        groups = source.find(lambda: self.making(cfg), lambda: self.classifier(cfg.seed))
        identity = training_identity(cfg)
        labels = {k: chosen[k] for k in ("baseline", "model", "augmentation")}
        if groups is not None:
            identity["groups"] = groups.digest
            labels["baseline"] += f"-{source.label}"
        job = TrainingJob(
            dataset=self.dataset,
            dataset_digest=self.dataset_digest,
            identity=identity,
            extra_digest=generated.digest if generated else None,
            seed=int(cfg.seed),
            checks=self.checks.to_dict(),
            labels=labels,
            parts=lambda: TrainingParts(
                cfg,
                job,
                self.dataset,
                self.dataset_digest,
                augmentation,
                generated,
                groups,
                self.outputs,
                self.progress,
                self.overrides,
            ).build(),
        )
        from aspire.reporting.wandb_run import close_run, session

        run = run_training(job, self.outputs / "train", lambda: stored_yaml(cfg))
        close_run()
        session.trained = run.folder
        if ("train", job.key) not in self.announced:
            self.announced.add(("train", job.key))
            test = run.result["metrics"]["test"]
            console.show(
                "  {:<12} {:<4} {} + {}, seed {}: test {}  [dim]{}[/dim]",
                "train",
                run.state,
                job.labels["baseline"],
                job.labels["augmentation"],
                job.seed,
                describe(test),
                job.key,
            )
        return run

    def generate(self, seed: int, cfg: DictConfig | None = None) -> Generation:
        """The generated set against the shortcuts of the ERM classifier with this seed.

        Args:
            seed: of classifier and images.
            cfg: of a job whose arm exchanges parts; None for the verb's own.
        """
        cfg = self.cfg if cfg is None else cfg
        making = self.making(cfg)
        making.check_making()
        classifier = self.classifier(seed)
        key = (digest_of(self._making(cfg)), classifier.digest, seed)
        if key not in self._generated:
            self._generated[key] = making.generate(classifier, int(seed))
        return self._generated[key]

    @cached_property
    def source(self) -> Source:
        """Where the classifier comes from whose shortcuts are looked for."""
        source: Source = build(self.cfg.classifier)
        return source

    def classifier(self, seed: int, pipeline: Pipeline | None = None) -> Probabilities:
        """The classifier whose shortcuts are looked for, as ``classifier=`` says.

        Args:
            seed: of the run.
            pipeline: of the images that it is examined on; None for the training images.

        Raises:
            AspireError: when it cannot be had, does not answer, or is no better than guessing.
        """
        pipeline = pipeline or self.pipeline
        key = (int(seed), pipeline.dataset_digest)
        if key not in self._classifiers:
            self._classifiers[key] = self._examined(seed, pipeline)
        return self._classifiers[key]

    def _examined(self, seed: int, pipeline: Pipeline) -> Probabilities:
        pipeline.check()
        classifier = self._unexamined(seed)
        self.examinations[int(seed)] = examination = pipeline.examine(classifier)
        problem = examination.problem(classifier)
        # of one that was trained here it is known what it is: a warning will do
        refused = problem is not None and not getattr(self.source, "anyway", True)
        seen = ("examined", f"{classifier.digest} {pipeline.dataset_digest}")
        if seen not in self.announced:
            self.announced.add(seen)
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
        from aspire.classification.predictor import Request

        def train(baseline: str) -> TrainedRun:
            choices = {"baseline": baseline, "augmentation": "none"}
            if self.composed(None, **choices)[1]["groups"] != "annotated":
                choices["groups"] = "annotated"
            return self.train(seed, **choices)

        return self.source.classifier(
            Request(
                class_names=self.dataset.class_names,
                seed=int(seed),
                train=train,
                make_model=lambda run: build(read_network(run.folder)),
                # torch is only asked when there is something to predict
                device=lambda: build(self.cfg.trainer).torch_device(),
            )
        )


def training_identity(cfg: DictConfig) -> dict[str, Any]:
    """What a training run is made of besides data and seed; files by what is in them."""
    settings = {k: plain(cfg[k]) for k in IDENTITY}
    whole = partial(content_digest, whole=True)
    identity: dict[str, Any] = contents(settings, whole, elsewhere=False)
    if code := code_digests(targets_in(list(identity.values()))):
        identity["code"] = code
    # what is left out of the training is left out of its name
    identity["fit"] = {k: v for k, v in identity["fit"].items() if v is not None}
    return identity
