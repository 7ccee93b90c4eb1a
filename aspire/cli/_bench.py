"""From a configuration to datasets, runs and pipelines: what the verbs share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from aspire.classification.predictor import Probabilities
from aspire.classification.training import TrainedRun, TrainingJob, run_training
from aspire.cli._app import (
    build,
    compose_config,
    console,
    own_keys,
    plain,
    task_overrides,
)
from aspire.cli._datasets import check_annotations, checked_dataset
from aspire.cli._show import describe
from aspire.confdir import conf_dir
from aspire.data.checks import CheckReport
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError
from aspire.generation.base import GeneratedSet, Personaliser, Watched
from aspire.pipeline.flow import Pipeline
from aspire.pipeline.parts import Backends, Generation, StageSettings
from aspire.pipeline.store import Artifact, ArtifactStore
from aspire.pretrained import remember_digests
from aspire.progress import Bars

if TYPE_CHECKING:
    from aspire.discovery.groups import PseudoGroups

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
        remember_digests(self.outputs / "cache")

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
        dataset, report = checked_dataset(self.cfg.dataset)
        if report.problems or report.notes:
            console.print(report.text(), markup=False, style="yellow")
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
        if not getattr(get_class(self.cfg.score._target_), "is_evidence", True):
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
            return _loggers(
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
        if _making(cfg) == _making(self.cfg):
            return self.pipeline
        return self.pipeline.with_parts(StageSettings(**plain(cfg.stage)), **self._makers(cfg))

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
        console.print(
            f"  {artifact.stage:<12} {artifact.state:<4} {len(artifact.records):>6} records"
            f"{f'  rejected: {reasons}' if reasons else ''}"
            f"  [dim]{artifact.key}{resumed}{seconds}[/dim]"
        )

    def words(self, **choices: str | int) -> list[str]:
        """The overrides with other choices; the keys of a choice that is exchanged go with it."""
        typed = dict(o.lstrip("+~").partition("=")[::2] for o in self.overrides)
        gone = tuple(f"{k}." for k, v in choices.items() if typed.get(k) != str(v))
        kept = [o for o in self.overrides if not o.lstrip("+~").startswith(gone)]
        return [*kept, *(f"{k}={v}" for k, v in choices.items())]

    def train(self, **choices: str | int) -> TrainedRun:
        """The run that ``aspire train`` with the same words and these choices gives."""
        cfg, chosen = compose_config("train", self.words(**choices))
        augmentation, source = build(cfg.augmentation), build(cfg.groups)
        generated = None
        if augmentation.uses_generated:
            generated = self.generate(cfg.seed, cfg).kept
        groups = source.find(lambda: self.making(cfg), lambda: self.classifier(cfg.seed))
        identity = {k: plain(cfg[k]) for k in IDENTITY}
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
            parts=lambda: self._parts(cfg, job, augmentation, generated, groups),
        )
        from aspire.reporting.wandb_run import close_run, session

        run = run_training(job, self.outputs / "train", OmegaConf.to_yaml(cfg, resolve=True))
        close_run()
        session.trained = run.folder
        if ("train", job.key) not in self.announced:
            self.announced.add(("train", job.key))
            test = run.result["metrics"]["test"]
            console.print(
                f"  {'train':<12} {run.state:<4} {job.labels['baseline']} + "
                f"{job.labels['augmentation']}, seed {job.seed}: test {describe(test)}"
                f"  [dim]{job.key}[/dim]"
            )
        return run

    def generate(self, seed: int, cfg: DictConfig | None = None) -> Generation:
        """The generated set against the shortcuts of the ERM classifier with this seed.

        Args:
            seed: of classifier and images.
            cfg: of a job whose arm exchanges parts; None for the verb's own.
        """
        making = self.making(self.cfg if cfg is None else cfg)
        return making.generate(self.classifier(seed), int(seed))

    def classifier(self, seed: int) -> Probabilities:
        """The classifier whose shortcuts are looked for, as ``classifier=`` says."""
        from aspire.classification.predictor import Request

        return build(self.cfg.classifier).classifier(  # type: ignore[no-any-return]
            Request(
                class_names=self.dataset.class_names,
                seed=int(seed),
                train=lambda baseline: self.train(
                    baseline=baseline, augmentation="none", groups="annotated", seed=seed
                ),
                make_model=lambda run: build(OmegaConf.load(run.folder / "config.yaml").model),
                # torch is only asked when there is something to predict
                device=lambda: build(self.cfg.trainer).torch_device(),
            )
        )

    def _parts(
        self,
        cfg: DictConfig,
        job: TrainingJob,
        augmentation: Any,
        generated: GeneratedSet | None,
        groups: PseudoGroups | None,
    ) -> tuple[Any, Any]:
        """Everything heavy that a training run needs."""
        import torch

        from aspire.baselines.base import DatasetInfo
        from aspire.classification.context import TrainingContext
        from aspire.classification.settings import FitSettings, Identities
        from aspire.data.image_table import ImageTable
        from aspire.discovery.groups import known_rows
        from aspire.discovery.regrouped import OnDiscoveredGroups
        from aspire.reporting.loggers import finish_wandb

        device = build(cfg.trainer)
        if device.threads is not None:
            torch.set_num_threads(device.threads)
        dataset, grouper = self.dataset, self.dataset.grouper
        baseline = build(cfg.baseline)
        model = build(cfg.model)
        train = augmentation.table(dataset, generated, int(cfg.seed))
        tables = {s: ImageTable.of(dataset, s) for s in dataset.splits if s != Split.TRAIN}
        shared = Identities(
            images=[
                self.dataset_digest,
                job.extra_digest,
                plain(cfg.augmentation) if generated or augmentation.change else None,
                job.seed if generated else None,  # which rows are duplicated
            ],
            training={k: job.identity[k] for k in ("model", "optimizer", "scheduler")},
            root=self.outputs / "shared",
        )
        train_counts = list(dataset.group_counts(Split.TRAIN).values())
        if groups is not None:
            # the result is measured with these again
            after = {
                "tables": tables, "grouper": grouper, "train_counts": train_counts,
                "shared": shared,
            }  # fmt: skip
            grouper = groups.grouper(dataset)
            all_train, all_val = groups.label(dataset, train, generated), tables[Split.VAL]
            all_val = groups.label(dataset, all_val)
            train, val = (t.take(known_rows(t)) for t in (all_train, all_val))
            left_out = {
                "unknown_train": len(all_train) - len(train),
                "unknown_val": len(all_val) - len(val),
            }
            if not baseline.needs.train_groups:  # then an image needs no group to be trained on
                train, left_out["unknown_train"] = all_train, 0
            train_counts = np.bincount(
                train.group[train.group >= 0], minlength=grouper.num_groups
            ).tolist()
            hidden = {s: replace(t, group=np.full(len(t), -1)) for s, t in tables.items()}
            tables = {**hidden, Split.VAL: val}
            shared = replace(shared, images=[shared.images, groups.digest])
            baseline = OnDiscoveredGroups(baseline, after, left_out)
        val = tables[Split.VAL]
        for needed, table, name in (
            (baseline.needs.train_groups, train, "training"),
            (baseline.needs.val_groups, val, "val"),
        ):
            if needed and (table.group < 0).any():
                raise ConfigError(
                    f"baseline={job.labels['baseline']} needs the group of every {name} image; "
                    f"{int((table.group < 0).sum())} of {len(table)} have none. Baselines that do "
                    f"without: {', '.join(baselines_without_groups())}."
                )
        if baseline.needs.target and not {Split.VAL, Split.TEST} <= set(dataset.splits):
            raise ConfigError(f"baseline={job.labels['baseline']} needs a val and a test split.")
        self._refuse_unstarted(device.num_devices())
        counts = np.bincount(train.group[train.group >= 0], minlength=grouper.num_groups)
        known = baseline.needs.train_groups
        folder = job.folder(self.outputs / "train")

        def logger(phase: str) -> Any:
            group = f"{dataset.name}-{job.labels['baseline']}-{job.labels['augmentation']}"
            return _loggers(
                cfg,
                folder=folder,
                name=f"{group}-s{job.seed}",
                group=group,
                tags=[dataset.name, *job.labels.values()],
                config={"seed": job.seed, "labels": dict(job.labels), **job.identity},
                run_id=f"{job.key}-{phase}",
            )

        context = TrainingContext(
            folder=folder,
            model=model,
            tables=tables,
            train=train if known else replace(train, group=np.full(len(train), -1)),
            info=DatasetInfo(
                num_classes=len(dataset.class_names),
                num_groups=grouper.num_groups,
                num_train=len(train),
                group_counts=tuple(int(c) for c in counts) if known else (0,) * len(counts),
                class_names=dataset.class_names,
                group_names=grouper.names,
            ),
            grouper=grouper,
            train_counts=train_counts,
            optimizer=_checked(build(cfg.optimizer)),
            scheduler=build(cfg.scheduler),
            fit_settings=FitSettings(**plain(cfg.fit)),
            device_settings=device,
            pixels=self._pixels(device, model.preprocessing().stored_side, generated),
            change=augmentation.change,
            seed=job.seed,
            shared=shared,
            logger=logger,
            finish=finish_wandb,
            progress=self.progress,
        )
        return baseline, context

    def _refuse_unstarted(self, devices: int) -> None:
        """Several devices need a process each, started before anything else runs."""
        if devices not in (1, int(os.environ.get("WORLD_SIZE", 1))):
            raise ConfigError(
                f"trainer.devices={devices} needs a process per device. Start it with\n"
                f"  torchrun --nproc-per-node {devices} -m aspire train {' '.join(self.overrides)}"
            )

    def _pixels(self, device: Any, side: int, generated: GeneratedSet | None) -> Any:
        """Decoded images, from a cache shared by all jobs where that is wanted."""
        from aspire.data.pixels import AUTO_BYTES, PixelSource, expected_bytes, open_cache

        dataset = self.dataset
        sets = [(self.dataset_digest, [dataset.path(n) for n in dataset.table["img_filename"]])]
        if generated is not None:
            sets.append((generated.digest, [generated.root / f for f in generated.files]))
        wanted = device.pixel_cache
        if wanted == "auto":
            wanted = sum(expected_bytes(paths, side) for _, paths in sets) <= AUTO_BYTES
        root = self.outputs / "cache" / "pixels"
        caches = [
            open_cache(root, key, list(dict.fromkeys(paths)), side, self.progress, device.threads)
            for key, paths in sets
            if wanted
        ]
        return PixelSource(side, caches)


def _loggers(cfg: DictConfig, **about: Any) -> list[Any]:
    """What ``logger=`` names, told what it is about; those that are switched off are left out."""
    made = [build(node)(**about) for node in (cfg.get("logger") or {}).values()]
    return [m for m in made if m is not None]


def _making(cfg: DictConfig) -> list[Any]:
    """Plain values of ``MAKING`` and of its stages."""
    return [plain(cfg.get(k)) for k in MAKING] + [plain(cfg.stage[k]) for k in MAKING_STAGES]


def baselines_without_groups() -> list[str]:
    """The choices of conf/baseline/ that need no group labels at all."""
    found = []
    for path in sorted((conf_dir() / "baseline").glob("*.yaml")):
        needs = get_class(OmegaConf.load(path)["_target_"]).needs  # type: ignore[attr-defined]
        if not (needs.train_groups or needs.val_groups):
            found.append(path.stem)
    return found


def _checked(optimizer: Any) -> Any:
    """The factory, after one try on a parameter of no consequence."""
    import torch

    try:
        optimizer([torch.nn.Parameter(torch.zeros(1))])
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"The optimizer cannot be built: {error}. Check the values under optimizer."
        ) from None
    return optimizer
