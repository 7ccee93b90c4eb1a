"""How one classifier is trained, and from there to the context in which its baseline runs."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from aspire.confdir import conf_dir
from aspire.data.table import Split
from aspire.errors import ConfigError
from aspire.generation.base import GeneratedSet
from aspire.generation.mixing import Augmentation
from aspire.pipeline.discovered_groups import GroupSource, PseudoGroups, known_rows
from aspire.pipeline.parts import StageSettings
from aspire.progress import Progress
from aspire.training.job import TrainingJob

if TYPE_CHECKING:  # torch is imported when there is something to train
    from aspire.baselines.base import Baseline
    from aspire.classification.backbones import Model
    from aspire.data.image_table import ImageTable
    from aspire.data.pixels import PixelReader
    from aspire.training.context import TrainingContext
    from aspire.training.settings import DeviceSettings, FitSettings


@dataclass(frozen=True)
class Parts:
    """The heavy objects of a training.

    Args:
        baseline, model, fit: how, what and how long.
        optimizer: parameters -> torch optimizer.
        scheduler: optimizer, steps -> torch scheduler.
        device: where and how fast.
    """

    baseline: Baseline
    model: Model
    optimizer: Callable[..., Any]
    scheduler: Callable[..., Any]
    fit: FitSettings
    device: DeviceSettings


@dataclass(frozen=True)
class Exchange:
    """What an arm of a comparison does otherwise; all stages before these are shared.

    Args:
        digest: of the plain values that describe them.
        parts: gives some of ``score``, ``personaliser``, ``sampler``, ``filters`` of
            :class:`~aspire.pipeline.parts.Backends`.
        settings: of the stages.
    """

    digest: str
    parts: Callable[[], Mapping[str, Any]]
    settings: StageSettings


@dataclass(frozen=True)
class Recipe:
    """How one classifier is trained.

    Args:
        identity: plain values of all that changes its weights; hashed into the name of the run.
        labels: what tables call it: baseline, model, augmentation.
        seed: of the run.
        augmentation: what is trained on.
        groups: which groups training is told.
        parts: gives the heavy objects; asked only when there is something to train.
        loggers: what it is about, as keywords -> Lightning loggers.
        config: gives the text of ``config.yaml``, kept beside the result.
        words: what was typed, for messages that say what to type.
        exchange: what its arm does otherwise; None for the experiment's own backends.
    """

    identity: Mapping[str, Any]
    labels: Mapping[str, str]
    seed: int
    augmentation: Augmentation
    groups: GroupSource
    parts: Callable[[], Parts]
    loggers: Callable[..., Sequence[Any]] = lambda **about: ()
    config: Callable[[], bytes] = lambda: b""
    words: Sequence[str] = ()
    exchange: Exchange | None = None


@dataclass(frozen=True)
class Preparation:
    """Everything that a training run needs, built when there is something to train.

    Args:
        recipe, job: how, and which run it is.
        generated: images that may be mixed in; None for none.
        groups: discovered ones that take the place of the annotated; None for those.
        outputs: below which runs, shared stages and caches are kept.
    """

    recipe: Recipe
    job: TrainingJob
    generated: GeneratedSet | None
    groups: PseudoGroups | None
    outputs: Path
    progress: Progress

    def build(self) -> tuple[Baseline, TrainingContext]:
        """The baseline and the context in which it is run.

        Raises:
            ConfigError: for what the baseline needs and the dataset lacks, with what to type.
        """
        import torch

        from aspire.baselines.base import DatasetInfo
        from aspire.data.image_table import ImageTable
        from aspire.reporting.loggers import finish_phase
        from aspire.training.context import TrainingContext
        from aspire.training.regrouped import OnDiscoveredGroups
        from aspire.training.settings import Identities

        parts = self.recipe.parts()
        device: DeviceSettings = parts.device
        baseline: Any = parts.baseline
        if device.threads is not None:
            torch.set_num_threads(device.threads)
        job, dataset, grouper = self.job, self.job.dataset, self.job.dataset.grouper
        augmentation, generated, groups = self.recipe.augmentation, self.generated, self.groups
        train = augmentation.table(dataset, generated, job.seed)
        tables: dict[Split, ImageTable] = {
            s: ImageTable.of(dataset, s) for s in dataset.splits if s != Split.TRAIN
        }
        changed = job.identity["augmentation"] if augmentation.change else None
        shared = Identities(
            images=[
                job.dataset_digest,
                job.extra_digest,
                job.identity["augmentation"] if generated else changed,
                job.seed if generated else None,  # which rows are duplicated
            ],
            real_images=[job.dataset_digest, None, changed, None],  # as the arm without has them
            training={
                k: job.identity[k]
                for k in ("model", "optimizer", "scheduler", "code")
                if k in job.identity
            },
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
            shared = replace(
                shared,
                images=[shared.images, groups.digest],
                real_images=[shared.real_images, groups.digest],
            )
            baseline = OnDiscoveredGroups(baseline, after, left_out)
        self._check_needs(baseline, train, tables[Split.VAL])
        self._refuse_unstarted(device.num_devices())
        counts = np.bincount(train.group[train.group >= 0], minlength=grouper.num_groups)
        known = baseline.needs.train_groups
        context = TrainingContext(
            folder=job.folder(self.outputs / "train"),
            model=parts.model,
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
            optimizer=_tried(parts.optimizer),
            scheduler=parts.scheduler,
            fit_settings=parts.fit,
            device_settings=device,
            pixels=self._pixels(device, parts.model.preprocessing().stored_side),
            change=augmentation.change,
            seed=job.seed,
            shared=shared,
            logger=self._loggers,
            finish=finish_phase,
            progress=self.progress,
        )
        return baseline, context

    def _loggers(self, phase: str) -> list[Any]:
        job = self.job
        group = f"{job.dataset.name}-{job.labels['baseline']}-{job.labels['augmentation']}"
        return list(
            self.recipe.loggers(
                folder=job.folder(self.outputs / "train"),
                name=f"{group}-s{job.seed}",
                group=group,
                tags=[job.dataset.name, *job.labels.values()],
                config={"seed": job.seed, "labels": dict(job.labels), **job.identity},
                run_id=f"{job.key}-{phase}",
            )
        )

    def _check_needs(self, baseline: Baseline, train: ImageTable, val: ImageTable) -> None:
        """Refuse a baseline that would look for groups or targets which are not there."""
        named = f"baseline={self.job.labels['baseline']} needs"
        for needed, table, name in (
            (baseline.needs.train_groups, train, "training"),
            (baseline.needs.val_groups, val, "val"),
        ):
            if needed and (table.group < 0).any():
                raise ConfigError(
                    f"{named} the group of every {name} image; "
                    f"{int((table.group < 0).sum())} of {len(table)} have none. Baselines that do "
                    f"without: {', '.join(baselines_without_groups())}."
                )
        if baseline.needs.target and not {Split.VAL, Split.TEST} <= set(self.job.dataset.splits):
            raise ConfigError(f"{named} a val and a test split.")

    def _refuse_unstarted(self, devices: int) -> None:
        """Several devices need a process each, started before anything else runs.

        Raises:
            ConfigError: when there are not as many processes as devices.
        """
        started = int(os.environ.get("WORLD_SIZE", 1))
        if devices == started:
            return
        if devices == 1:
            raise ConfigError(
                f"trainer.devices=1, but torchrun started {started} processes, and each would "
                "train the whole run alone. Type trainer.devices=auto, or leave torchrun out."
            )
        raise ConfigError(
            f"trainer.devices={devices} needs a process per device. Start it with\n"
            f"  torchrun --nproc-per-node {devices} -m aspire train {' '.join(self.recipe.words)}"
        )

    def _pixels(self, device: DeviceSettings, side: int) -> PixelReader:
        """Decoded images, from a cache shared by all jobs where that is wanted."""
        from aspire.data.pixels import AUTO_BYTES, PixelSource, expected_bytes, open_cache

        dataset, generated = self.job.dataset, self.generated
        files = [dataset.path(n) for n in dataset.table["img_filename"]]
        sets = [(self.job.dataset_digest, files)]
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


def baselines_without_groups() -> list[str]:
    """The choices of conf/baseline/ that need no group labels at all."""
    found = []
    for path in sorted((conf_dir() / "baseline").glob("*.yaml")):
        target = yaml.safe_load(path.read_bytes())["_target_"]
        needs = pkgutil.resolve_name(target).needs
        if not (needs.train_groups or needs.val_groups):
            found.append(path.stem)
    return found


def _tried(optimizer: Callable[..., Any]) -> Callable[..., Any]:
    """The factory, after one try on a parameter of no consequence."""
    import torch

    try:
        optimizer([torch.nn.Parameter(torch.zeros(1))])
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"The optimizer cannot be built: {error}. Check the values under optimizer."
        ) from None
    return optimizer
