"""A sweep over all methods with shared first stages and cached features, and one without.

Wall and processor time of each method and of the whole, and the optimiser steps that were really
taken. Both sweeps run in fresh folders, one after the other, on images that are drawn before. ERM
comes first, so that it pays for what the others share.

    python experiments/benchmarks/sharing.py
    python experiments/benchmarks/sharing.py baseline=dfr baseline.refits=5,20,80
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aspire import experiment
from aspire.cli import main
from aspire.confdir import conf_dir
from aspire.runs.trained import TrainedRun
from aspire.training.job import TrainingJob
from aspire.training.module import ClassificationModule

ARMS = {
    "shared": [],
    "separate": ["trainer.share_stages=false", "trainer.feature_cache=false"],
}
Spent = NDArray[np.float64]  # steps taken, wall seconds, processor seconds

steps = 0
jobs: dict[str, Spent] = {}  # of the sweep that runs now, by method


def now() -> Spent:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return np.array([steps, time.perf_counter(), used.ru_utime + used.ru_stime])


def measure() -> None:
    """Have every optimiser step counted and every job timed from now on."""
    train, step = experiment.run_training, ClassificationModule.training_step

    def counted(self: ClassificationModule, *args: Any) -> Any:
        global steps
        steps += 1
        return step(self, *args)

    def timed(job: TrainingJob, root: Path, config: Callable[[], bytes]) -> TrainedRun:
        start = now()
        run = train(job, root, config)
        method = job.labels["baseline"]
        jobs[method] = jobs.get(method, 0) + now() - start
        return run

    ClassificationModule.training_step = counted
    experiment.run_training = timed


def sweep(words: list[str], outputs: Path) -> dict[str, Spent]:
    """What each method took, and under "whole sweep" all of it with what is beside training."""
    jobs.clear()
    start = now()
    if main(["train", "-m", *words, f"paths.outputs={outputs}"]) != 0:
        raise SystemExit("the sweep failed")
    return {**jobs, "whole sweep": now() - start}


if __name__ == "__main__":
    methods = sorted(p.stem for p in (conf_dir() / "baseline").glob("*.yaml"))
    methods.sort(key=lambda method: method != "erm")
    given = sys.argv[1:]
    if not any(word.startswith("baseline=") for word in given):
        given.append(f"baseline={','.join(methods)}")
    words = ["hparams=mini", "logger=none"]
    measure()
    with tempfile.TemporaryDirectory() as folder:
        words.append(f"paths.data={folder}/data")
        sweep([*words, "baseline=erm", "fit.steps=10"], Path(folder) / "warm-up")
        found = {n: sweep([*words, *given, *s], Path(folder) / n) for n, s in ARMS.items()}
    print("\n| method | steps taken, shared / separate | wall time, s | processor time, s |")
    print("|---|---|---|---|")
    for method, separate in found["separate"].items():
        pairs = zip(found["shared"][method], separate, strict=True)
        cells = [f"{a:.0f} / {b:.0f} ({a / b:.2f})" for a, b in pairs]
        print(f"| {method} | {' | '.join(cells)} |")
