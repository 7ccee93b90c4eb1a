"""From a job to what trains it: tables, groups, model, loggers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from aspire.classification.training import TrainingJob
from aspire.cli._app import build, plain
from aspire.confdir import conf_dir
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError
from aspire.generation.base import GeneratedSet
from aspire.progress import Progress

if TYPE_CHECKING:
    from aspire.data.image_table import ImageTable
    from aspire.discovery.groups import PseudoGroups


@dataclass(frozen=True)
class TrainingParts:
    """Everything heavy that a training run needs, built only when there is something to train.

    Args:
        cfg: the composed configuration of the job.
        job: which run it is.
        dataset, dataset_digest: what is trained and judged on.
        augmentation: makes the training table.
        generated: images it may mix in; None for none.
        groups: discovered ones that take the place of the annotated; None for those.
        outputs: below which runs, shared stages and caches are kept.
        overrides: what was typed, for messages that say what to type.
    """

    cfg: DictConfig
    job: TrainingJob
    dataset: Dataset
    dataset_digest: str
    augmentation: Any
    generated: GeneratedSet | None
    groups: PseudoGroups | None
    outputs: Path
    progress: Progress
    overrides: Sequence[str]

    def build(self) -> tuple[Any, Any]:
        """The baseline and the context in which it is run.

        Raises:
            ConfigError: for what the baseline needs and the dataset lacks, with what to type.
        """
        import torch

        from aspire.baselines.base import DatasetInfo
        from aspire.classification.context import TrainingContext
        from aspire.classification.settings import FitSettings, Identities
        from aspire.data.image_table import ImageTable
        from aspire.discovery.groups import known_rows
        from aspire.discovery.regrouped import OnDiscoveredGroups
        from aspire.reporting.loggers import finish_wandb

        device = build(self.cfg.trainer)
        if device.threads is not None:
            torch.set_num_threads(device.threads)
        cfg, job, dataset, grouper = self.cfg, self.job, self.dataset, self.dataset.grouper
        augmentation, generated, groups = self.augmentation, self.generated, self.groups
        baseline = build(cfg.baseline)
        model = build(cfg.model)
        train = augmentation.table(dataset, generated, int(cfg.seed))
        tables: dict[Split, ImageTable] = {
            s: ImageTable.of(dataset, s) for s in dataset.splits if s != Split.TRAIN
        }
        changed = plain(cfg.augmentation) if augmentation.change else None
        shared = Identities(
            images=[
                self.dataset_digest,
                job.extra_digest,
                plain(cfg.augmentation) if generated else changed,
                job.seed if generated else None,  # which rows are duplicated
            ],
            real_images=[self.dataset_digest, None, changed, None],  # as the arm without has them
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
        folder = job.folder(self.outputs / "train")

        def logger(phase: str) -> Any:
            group = f"{dataset.name}-{job.labels['baseline']}-{job.labels['augmentation']}"
            return loggers_of(
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
            pixels=self._pixels(device, model.preprocessing().stored_side),
            change=augmentation.change,
            seed=job.seed,
            shared=shared,
            logger=logger,
            finish=finish_wandb,
            progress=self.progress,
        )
        return baseline, context

    def _check_needs(self, baseline: Any, train: ImageTable, val: ImageTable) -> None:
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
        if baseline.needs.target and not {Split.VAL, Split.TEST} <= set(self.dataset.splits):
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
            f"  torchrun --nproc-per-node {devices} -m aspire train {' '.join(self.overrides)}"
        )

    def _pixels(self, device: Any, side: int) -> Any:
        """Decoded images, from a cache shared by all jobs where that is wanted."""
        from aspire.data.pixels import AUTO_BYTES, PixelSource, expected_bytes, open_cache

        dataset, generated = self.dataset, self.generated
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


def loggers_of(cfg: DictConfig, **about: Any) -> list[Any]:
    """What ``logger=`` names, told what it is about; those that are switched off are left out."""
    made = [build(node)(**about) for node in (cfg.get("logger") or {}).values()]
    return [m for m in made if m is not None]


def baselines_without_groups() -> list[str]:
    """The choices of conf/baseline/ that need no group labels at all."""
    found = []
    for path in sorted((conf_dir() / "baseline").glob("*.yaml")):
        needs = get_class(OmegaConf.select(OmegaConf.load(path), "_target_")).needs
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
