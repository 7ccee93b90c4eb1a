"""What a sweep costs beside training: a finished one started again, and each job of a warm process.

    python experiments/benchmarks/sweep.py OUTPUTS [--steps 150]

The ERM jobs of experiment=mini_table are trained and their images generated for real, once. The
other 64 are made by a stand-in that builds all a training needs and then copies the ERM's result
instead of training: what is left is the overhead. Then the finished sweep of 72 jobs is started
again as a command of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from aspire import experiment
from aspire.cli import main
from aspire.runs.trained import TrainedRun
from aspire.stored.files import write_atomic
from aspire.training.job import TrainingJob

BUILT: list[float] = []  # seconds that the stand-in took, for each job it stood in for


def stand_in(job: TrainingJob, root: Path, config: Callable[[], bytes]) -> TrainedRun:
    """Everything but training and evaluation."""
    started, folder = time.monotonic(), job.folder(root)
    job.parts()
    erm = folder.parents[2] / "erm" / job.labels["augmentation"]
    result = max(erm.glob(f"*-s{job.seed}-*/result.json"), key=lambda p: p.stat().st_mtime)
    content = {**json.loads(result.read_bytes()), **job.labels, "key": job.key}
    write_atomic(folder / "config.yaml", config())
    shutil.copyfile(result.with_name("model.safetensors"), folder / "model.safetensors")
    write_atomic(folder / "result.json", json.dumps(content, indent=1).encode())
    BUILT.append(time.monotonic() - started)
    return TrainedRun(folder, "run")


def processor_time(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def again(words: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of the command in a new process."""
    before, started = processor_time(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "aspire", "train", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "72 done" in done.stdout, done.stdout
    wall = time.monotonic() - started
    return wall, processor_time(resource.RUSAGE_CHILDREN) - before


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outputs", type=Path, help="kept, so that a second call only measures")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    os.environ["ASPIRE_OUTPUTS"] = str(given.outputs.resolve())
    words = [
        *("experiment=mini_table", "logger=none"),
        *(f"fit.steps={given.steps}", "fit.evaluations=2"),
    ]
    assert main(["train", *words, "baseline=erm"]) == 0

    train, experiment.run_training = experiment.run_training, stand_in
    for baseline in ("groupdro", "subg,cvardro,jtt,lff,cnc,dfr,masktune"):  # the first warms up
        BUILT.clear()
        wall, used = time.monotonic(), processor_time(resource.RUSAGE_SELF)
        assert main(["train", *words, f"baseline={baseline}"]) == 0
        wall, used = time.monotonic() - wall, processor_time(resource.RUSAGE_SELF) - used
    experiment.run_training = train
    if BUILT:
        print(f"\n{len(BUILT)} jobs in a warm process, without training and evaluation:")
        print(f"  {wall / len(BUILT):.2f} s a job ({used / len(BUILT):.2f} s of processor time)")
    for _ in range(given.rounds):
        wall, used = again(words)
        print(f"a finished sweep of 72 jobs again: {wall:.1f} s ({used:.1f} s of processor time)")
