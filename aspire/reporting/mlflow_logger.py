"""One MLflow run per training job: fixed names, and the results at its end.

MLflow is a view of what is in the run folder and never its source, so nothing that it does wrong
stops a job: after the first failure the job goes on without it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from time import time
from typing import Any

from pytorch_lightning.loggers import MLFlowLogger

from aspire.identity import arm_name
from aspire.reporting.closing import keep_open, open_job
from aspire.reporting.wandb_run import About, harmless
from aspire.stored.results import read_training
from aspire.text import shortened

TIMEOUT, RETRIES = "20", "2"  # seconds, and times, to wait for a server; its own take many minutes
NAME = 250  # characters of a metric's name that every store takes


def open_mlflow(about: About, uri: str, experiment: str) -> JobLogger:
    """The MLflow run of this job: the open one, or a new one once that of another job is closed."""
    found = open_job(JobLogger, about.folder)
    if found is None:
        found = JobLogger(about, uri, experiment)
        keep_open(found)
    return found


class JobLogger(MLFlowLogger):
    """The phases of a job, one after the other, in one run.

    Values have their fixed names (``val/worst_group_acc``, fractions in [0, 1]); those of an ERM
    that a method starts from have its phase before them (``erm/val/acc``). A job that goes on
    continues its run, which is found by the tag ``aspire.key``.

    Args:
        about: the job.
        uri: of the store or server.
        experiment: in which MLflow lists the run.

    Raises:
        ModuleNotFoundError: when MLflow is not installed.
    """

    def __init__(self, about: About, uri: str, experiment: str) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", TIMEOUT)
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
        super().__init__(experiment, tracking_uri=uri, run_name=about.name)
        self.about = about
        self.phase = ""
        self.lost = True  # until the store has answered
        with harmless("starting a run", "MLflow"):
            self._start()
            self.lost = False

    def _start(self) -> None:
        """Continue the job's run, or open one with what it is about."""
        client, labels = self._mlflow_client, self.about.labels
        if (known := client.get_experiment_by_name(self._experiment_name)) is not None:
            runs = client.search_runs(
                [known.experiment_id], f"tags.`aspire.key` = '{self.about.key}'", max_results=1
            )
            if runs:
                self._run_id = runs[0].info.run_id
                client.update_run(self._run_id, status="RUNNING")
                return
        self.tags = {
            "aspire.key": self.about.key,
            "group": self.about.group,
            "job_type": self.about.job_type,
            **{str(k): str(v) for k, v in labels.items()},
        }
        if "baseline" in labels:
            self.tags["arm"] = arm_name(str(labels["baseline"]), str(labels["augmentation"]))
        super().log_hyperparams(self.about.config())

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """They are the run's parameters already."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log them on the axis of their phase.

        Args:
            metrics: by full name.
            step: Lightning's, which counts from 0; a row of a finished phase holds its own.
        """
        step = int(metrics.get("step", (step or 0) + 1))
        prefix = f"{self.phase}/" if self.about.preliminary(self.phase) else ""
        values = {k: v for k, v in metrics.items() if k not in ("epoch", "step")}
        with harmless("logging", "MLflow"):
            self._write({f"{prefix}{k}": v for k, v in values.items()}, step)

    def _write(self, metrics: Mapping[str, Any], step: int) -> None:
        from mlflow.entities import Metric

        if self.lost:
            return
        self.lost = True  # unless it is written
        now = int(time() * 1000)
        rows = [Metric(_name(k), float(v), now, step) for k, v in metrics.items() if v is not None]
        self.experiment.log_batch(self.run_id, metrics=rows)
        self.lost = False

    def finalize(self, status: str = "success") -> None:
        """The end of a phase; the run ends with the job, see :meth:`close`."""
        if self.about.job_type != "train":
            self._end("FINISHED" if status == "success" else "FAILED")

    def close(self, failed: bool) -> None:
        """The results of a finished job, then the end of the run."""
        if not failed and self.about.job_type == "train":
            with harmless("logging the results", "MLflow"):
                self._log_results(read_training(self.about.folder))
        self._end("FAILED" if failed else "FINISHED")

    def _end(self, status: str) -> None:
        if not self.lost:
            with harmless("finishing a run", "MLflow"):
                self.experiment.set_terminated(self.run_id, status)

    def _log_results(self, result: Mapping[str, Any]) -> None:
        """Every split but val, whose values are the curves, at the step that was selected."""
        for split, metrics in result["metrics"].items():
            if not self.lost:
                self.experiment.set_tag(self.run_id, f"{split}/worst_group", metrics["worst_group"])
            if split == "val":
                continue
            values = {k: v for k, v in metrics.items() if isinstance(v, int | float)}
            for name, group in metrics["groups"].items():
                values |= {f"group/{name}/acc": group["acc"], f"group/{name}/n": group["n"]}
            named = {f"{split}/{k}": v for k, v in values.items()}
            self._write(named, int(result["selected_step"]))


def _name(metric: str) -> str:
    """The name as MLflow takes it.

    >>> _name("test/group/gull, (left)/acc")
    'test/group/gull_ _left_/acc'
    """
    return shortened(re.sub(r"[^\w/. -]", "_", metric), NAME)
