"""Lightning's logger on the one W&B run of a job: fixed names, and the results at its end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytorch_lightning.loggers import WandbLogger

from aspire.data.images import Pixels
from aspire.reporting import wandb_run
from aspire.reporting.wandb_run import About, Place, harmless
from aspire.stored.results import read_training


def open_run(about: About, place: Place) -> JobLogger:
    """The run of this job: the open one, or a new one once that of another job is closed."""
    kept = wandb_run.remembered()
    if kept.open is not None and kept.open.about.folder != about.folder:
        wandb_run.close_run()
    if kept.open is None:
        kept.open = JobLogger(about, place, wandb_run.start(about, place))
        kept.seen = kept.seen or not kept.open.run.disabled
    found: JobLogger = kept.open
    return found


class JobLogger(WandbLogger):
    """The phases of a job, one after the other, on one run.

    Values have their fixed names (``val/worst_group_acc``, fractions in [0, 1]), those of an ERM
    that a method starts from names of their own (``erm/val/acc``); nothing that W&B does wrong
    stops the job.

    Args:
        run: of W&B, already started.
    """

    def __init__(self, about: About, place: Place, run: Any) -> None:
        super().__init__(
            name=about.name,
            save_dir=about.folder,
            id=about.key,
            project=place.project,
            experiment=run,
        )
        self.about = about
        self.run = run
        self.phase = ""
        self._logged: set[tuple[str, int]] = set()  # (phase, step) of every evaluation
        self._defined: set[str] = set()

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """They are in the configuration of the run already."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log them on the axis of their phase.

        Args:
            metrics: by full name.
            step: Lightning's, which counts from 0; a row of a finished phase holds its own.
        """
        step = int(metrics.get("step", (step or 0) + 1))
        with harmless("logging"):
            self._log(f"{self.phase}/" if self.about.preliminary(self.phase) else "", metrics, step)
            if any(k.startswith("val/") for k in metrics):
                self._logged.add((self.phase, step))

    def log_image(self, key: str, images: Sequence[Pixels], step: int, **kwargs: Any) -> None:
        """Pictures, (H, W, 3) uint8, beside the curves of the same step, counted from 1."""
        with harmless("logging pictures"):
            super().log_image(key, list(images), step - 1, **kwargs)

    def _log(self, prefix: str, metrics: Mapping[str, Any], step: int) -> None:
        named = {f"{prefix}{k}": v for k, v in metrics.items() if k not in ("epoch", "step")}
        for name in named.keys() - self._defined:
            best = "max" if re.search(r"(^|/)val/(.*_acc|.*/acc|acc.*)$", name) else None
            if "*" not in name:  # a pattern for W&B, and refused within a name
                self.run.define_metric(name, step_metric=f"{prefix}step", summary=best)
            self._defined.add(name)
        self.run.log({**named, f"{prefix}step": step})

    def close(self, failed: bool) -> None:
        """The results of a finished job, then the end of the run."""
        if not failed and self.about.job_type == "train":
            with harmless("logging the results"):
                self._log_results(read_training(self.about.folder))
        with harmless("finishing a run"):
            self.run.finish(exit_code=int(failed))

    def _log_results(self, result: Mapping[str, Any]) -> None:
        from aspire.reporting.wandb_results import log_sources

        history = result["history"]
        last = list(history)[-1] if history else ""
        for phase, rows in history.items():
            self.phase = phase
            for row in rows:
                # Of an earlier attempt, or of the ERM whose last layer a method replaces.
                if (phase, int(row["step"])) not in self._logged:
                    self.log_metrics(row)
                if phase == last and self.about.preliminary(self.phase):
                    self._log("", row, int(row["step"]))
        self.run.summary.update(dict(_summary(result)))
        log_sources(self.run, self.about.folder, result)


def _summary(result: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is beside the run in W&B's table: all of test, and which group was the worst."""
    yield "selected_step", result["selected_step"]
    for split, metrics in result["metrics"].items():
        yield f"{split}/worst_group", metrics["worst_group"]
        if split == "val":  # its best values are W&B's own summary of the curves
            continue
        for name, value in metrics.items():
            if name not in ("groups", "worst_group") and value is not None:
                yield f"{split}/{name}", value
        for name, group in metrics["groups"].items():
            if group["acc"] is not None:
                yield f"{split}/group/{name}/acc", group["acc"]
            yield f"{split}/group/{name}/n", group["n"]
