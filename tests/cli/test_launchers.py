"""Sweeps in other processes: the numbers of one after the other, no failure unexplained."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import Command
from hydra.core.global_hydra import GlobalHydra

from aspire.cli import main
from aspire.cli.launchers.base import Work
from aspire.cli.launchers.ray_tasks import RayLauncher
from aspire.cli.launchers.slots import SlotsLauncher, visible_gpus
from aspire.errors import ConfigError
from aspire.pipeline.ray_cluster import connect
from aspire.pipeline.ray_engine import _Actor
from aspire.runs.ledger import find_jobs

HERE = Path(__file__).parent
TINY = [
    *("dataset.scale=0.02", "fit.steps=4", "fit.evaluations=2", "logger=none", "trainer.threads=1"),
    "baseline._target_=counted.CountedERM",
]  # fmt: skip
LAUNCHERS = {
    "slots": ["hydra.launcher.slots=2"],
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit": ["hydra.launcher.cluster=local", "hydra.launcher.parallel=2"],
    "ray": [],
}


@pytest.fixture(autouse=True)
def _environment(tmp_path, monkeypatch, tiny_data):
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))
    monkeypatch.setenv("ASPIRE_TEST_CALLS", str(tmp_path / "calls.txt"))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.syspath_prepend(str(HERE))
    (tmp_path / "calls.txt").touch()
    use(monkeypatch, tmp_path)


def use(monkeypatch, folder):
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(folder / "outputs"))


def results(folder):
    """Run folder -> what does not depend on when and where it was made."""
    found = {}
    for path in (folder / "outputs" / "train").rglob("result.json"):
        found[path.parent.name] = json.loads(path.read_bytes())
    return found


def use_own_code(monkeypatch, folder):
    """The baseline lies in the working folder, where nothing but aspire would look for it."""
    shutil.copy(HERE / "counted.py", folder / "counted_here.py")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(HERE)])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(folder)
    sys.modules.pop("counted_here", None)
    return [w.replace("counted.", "counted_here.") for w in TINY]


@pytest.fixture(scope="module")
def basic(tmp_path_factory, tiny_data):
    """Seeds 0 and 1, one after the other."""
    folder = tmp_path_factory.mktemp("basic")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASPIRE_DATA", str(tiny_data))
        patch.setenv("ASPIRE_TEST_CALLS", str(folder / "calls.txt"))
        use(patch, folder)
        assert main(["train", "-m", "seed=0,1", *use_own_code(patch, folder)]) == 0
    return results(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAUNCHERS)
def test_each_launcher_gives_the_numbers_of_one_after_the_other(
    name, basic, tmp_path, monkeypatch, capfd, request
):
    words = ["train", "-m", "seed=0,1", f"hydra/launcher={name}", *LAUNCHERS[name]]
    words += use_own_code(monkeypatch, tmp_path)
    if name == "ray":  # one cluster for both sweeps
        ray, started = connect(None, "the test")
        assert started
        request.addfinalizer(ray.shutdown)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASPIRE_OUTPUTS", "outputs")  # of here, wherever a worker stands
    assert main(words) == 0
    assert results(tmp_path) == basic
    out, err = capfd.readouterr()
    assert "2/2  mini_waterbirds, erm, seed" in out
    assert ": 2 done" in out
    assert "Exception in thread" not in out + err  # each worker can see that its parent is there
    assert main(words) == 0  # and again: found, nothing trained
    lines = (tmp_path / "calls.txt").read_text().splitlines()
    assert set(Counter(lines).values()) == {1}
    assert name != "ray" or ray.is_initialized()  # who has not started it leaves it alone


@pytest.mark.slow
def test_a_job_that_fails_and_a_process_that_dies_stop_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ASPIRE_TEST_FAIL_SEED", "0")
    monkeypatch.setenv("ASPIRE_TEST_DIE_SEED", "1")
    sweep = tmp_path / "outputs" / "sweeps" / "mine"
    words = ["hydra/launcher=slots", "hydra.launcher.slots=2", f"hydra.sweep.dir={sweep}"]
    assert main(["train", "-m", "seed=0,1,2,3", *words, *TINY]) == 4
    out = capsys.readouterr().out
    assert "2 done, 1 failed, 1 stale" in out
    assert "seed 0: failed  RuntimeError: the cable was pulled" in out
    assert "seed 1: stale  its process is gone" in out
    (log,) = sweep.glob("jobs/*.log")
    assert "the cable was pulled" in log.read_text()
    assert any("Traceback" in p.read_text() for p in sweep.glob("jobs/*.txt"))
    assert {e.about["seed"]: e.state for e in find_jobs(sweep)} == {
        0: "failed", 1: "stale", 2: "done", 3: "done",
    }  # fmt: skip


def attempts(folder):
    return sorted(folder.rglob("attempts/[0-9]*.json"))


def held(folder, number=1, deadline=300):
    """The given attempt at the one run somebody works on, which waits after its training."""
    end = time.monotonic() + deadline
    while (folder / "calls.txt").read_text().count("held\n") < number:
        assert time.monotonic() < end, "no job was started"
        time.sleep(0.05)
    *_, last = attempts(folder)
    content = json.loads(last.read_text())
    assert content["state"] == "running", content
    return content


@pytest.fixture
def hold(tmp_path, monkeypatch):
    """Jobs wait as long as there is this file."""
    (file := tmp_path / "hold").touch()
    monkeypatch.setenv("ASPIRE_TEST_HOLD", str(file))
    return file


@pytest.mark.slow
@pytest.mark.usefixtures("hold")
def test_workers_end_with_a_sweep_that_is_killed(tmp_path):
    sweep = Command(["train", "-m", "seed=0", "hydra/launcher=slots", *TINY], tmp_path)
    worker = held(tmp_path)["pid"]
    assert worker != sweep.pid
    sweep.kill()
    (entry,) = find_jobs(tmp_path / "outputs" / "sweeps")
    end = time.monotonic() + 100
    while entry.state != "stale":
        assert time.monotonic() < end, entry
        time.sleep(0.2)
        (entry,) = find_jobs(tmp_path / "outputs" / "sweeps")
    assert entry.look.reason == "its process is gone"


@pytest.mark.slow
def test_a_preempted_job_is_queued_again_and_continues(tmp_path, hold):
    """By either signal: the second one takes the job that the first one has queued again."""
    words = ["train", "-m", "seed=0", "hydra/launcher=submitit", *LAUNCHERS["submitit"], *TINY]
    sweep = Command(words, tmp_path)
    job = held(tmp_path)
    (phase,) = tmp_path.rglob("finished.json")
    trained = phase.stat().st_mtime_ns
    for started, number in enumerate((signal.SIGUSR1, signal.SIGTERM), start=2):
        os.kill(job["pid"], number)
        job = held(tmp_path, started)
    hold.unlink()
    done = sweep.end()
    assert done.code == 0, done
    assert len(results(tmp_path)) == 1
    assert phase.stat().st_mtime_ns == trained  # went on where it was
    *cut, last = (json.loads(p.read_text()) for p in attempts(tmp_path))
    assert [(a["state"], a["reason"]) for a in cut] == [("failed", "stopped from outside")] * 2
    assert last["state"] == "done"


# --- without any process ---------------------------------------------------------------------


@pytest.mark.parametrize("started", [True, False])
def test_a_cluster_ends_with_the_sweep_that_has_started_it(started, monkeypatch):
    class Library:
        """What the launcher asks of Ray, done at once."""

        open = True

        def put(self, work):
            return work

        def remote(self, **resources):
            assert resources == {"max_retries": 2, "num_cpus": 1, "num_gpus": 0}
            return lambda do: SimpleNamespace(remote=lambda work, job: do(work, job))

        def wait(self, running):
            return running[:1], running[1:]

        def get(self, done):
            return done

        def shutdown(self):
            self.open = False

    library, launcher = Library(), RayLauncher()
    monkeypatch.setattr("aspire.cli.launchers.ray_tasks.connect", lambda *_: (library, started))
    launcher.work = lambda number, words: f"{number} {words}"
    (ended,) = launcher.run_jobs([(3, ["seed=0"])])
    assert (ended.job, ended.error) == ((3, ["seed=0"]), "3 ['seed=0']")
    assert library.open == (not started)


def test_a_worker_finds_own_code_wherever_it_begins(tmp_path, monkeypatch):
    (tmp_path / "lies_here.py").write_text("class Mine:\n    word = 'found'\n")
    work = Work(lambda cfg: None, None, None)
    work.folder = tmp_path  # of the main process
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ImportError):
        importlib.import_module("lies_here")
    # a pickled class says no more than its name
    payload = b"\x80\x04clies_here\nMine\n\x94K\x00\x86\x94."
    with pytest.raises(ImportError):
        pickle.loads(payload)
    before = [*sys.path]
    assert _Actor(payload, tmp_path).stage.word == "found"
    monkeypatch.setattr(sys, "path", before)
    monkeypatch.setattr(GlobalHydra.instance(), "hydra", object())  # that one is there already
    work._settle()
    assert sys.path[-1] == str(tmp_path)


def test_slots_share_cores_and_devices(monkeypatch):
    monkeypatch.setattr("aspire.cli.launchers.slots.cores", lambda: 12)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    launcher = SlotsLauncher(slots=2, devices=[0, 3])
    seen = [launcher.environment(slot) for slot in range(launcher.slots)]
    assert [e["CUDA_VISIBLE_DEVICES"] for e in seen] == ["0", "3", "0", "3"]
    assert {e["OMP_NUM_THREADS"] for e in seen} == {"3"}
    alone = SlotsLauncher(slots=3, devices=[])
    assert alone.slots == 3
    assert "CUDA_VISIBLE_DEVICES" not in alone.environment(0)
    assert alone.environment(0)["OMP_NUM_THREADS"] == "4"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert alone.environment(0)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert visible_gpus() == ["2", "5"]


@pytest.mark.parametrize(
    ("name", "module", "advice"),
    [
        ("submitit", "submitit", "pip install 'aspire-shortcuts[submitit]'"),
        ("ray", "ray", "pip install 'aspire-shortcuts[ray]'"),
    ],
)
def test_a_missing_extra_is_answered_with_what_to_type(name, module, advice, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["train", "-m", "seed=0", f"hydra/launcher={name}", *TINY]) == 2
    assert advice in capsys.readouterr().err


@pytest.mark.parametrize("error", [ConnectionError("nobody"), ValueError("Invalid address")])
def test_an_address_without_a_cluster_is_answered_with_what_to_type(error, monkeypatch):
    def init(**options):
        raise error

    fake = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setitem(sys.modules, "ray", fake)
    with pytest.raises(ConfigError, match=r"no Ray cluster answers at address=5 .*\n  ray start"):
        connect("5", "engine=ray")


def test_a_misspelt_launcher_is_answered_with_the_choices(capsys):
    assert main(["train", "-m", "seed=0", "hydra/launcher=slot"]) == 2
    err = capsys.readouterr().err
    assert "hydra/launcher=slot: no such choice. Did you mean slots?" in err


def test_a_sweep_of_jobs_of_several_processes_is_refused_once(monkeypatch, capsys, tmp_path):
    assert main(["train", "-m", "seed=0,1", "trainer.devices=2", *TINY]) == 2
    err = capsys.readouterr().err
    assert err.count("trainer.devices=2 in a sweep: each process of a job would begin") == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["train", "-m", "seed=0,1", *TINY]) == 2
    assert "A sweep cannot be started by torchrun" in capsys.readouterr().err
    assert not results(tmp_path)


def test_as_many_processes_as_devices_or_none(monkeypatch, capsys, tmp_path):
    assert main(["train", "trainer.devices=2", *TINY]) == 2
    assert "torchrun --nproc-per-node 2 -m aspire train" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["train", "trainer.devices=1", *TINY]) == 2
    assert "torchrun started 2 processes, and each would train" in capsys.readouterr().err
    assert not results(tmp_path)


def test_a_plan_is_put_together_here_whatever_the_launcher(capsys, tmp_path):
    words = ["train", "-m", "seed=0,1", "hydra/launcher=slots", "dry_run=true", *TINY]
    assert main(words) == 0
    assert "plan of 2 jobs: nothing is run" in capsys.readouterr().out
    assert not results(tmp_path)


REFUSED = [
    ("slots", "slots=two", "slots=two: expected a whole number of at least 1."),
    ("slots", "slots=0", "slots=0: expected a whole number of at least 1."),
    ("slots", "slots=1.5", "slots=1.5: expected a whole number of at least 1."),
    ("slots", "devices=all", "devices=all: expected auto or a list, each a whole number of at"),
    ("slots", "slotz=2", "slotz: no such key. Did you mean hydra.launcher.slots?"),
    ("joblib", "n_jobs=many", "n_jobs=many: expected a whole number of at least -1."),
    ("joblib", "n_jobs=-3", "n_jobs=-3: expected a whole number of at least -1."),
    ("ray", "num_gpus=-1", "num_gpus=-1: expected a number of at least 0."),
    ("ray", "address=[5]", "address=[5]: expected a text or null."),
    ("submitit", "cluster=slrm", "cluster=slrm: expected slurm, local, debug or null. Did you"),
    ("submitit", "parallel=null", "parallel=null: expected a whole number of at least 1."),
    ("submitit", "parameters=3", "parameters=3: expected its keys: timeout_min, cpus_per_task"),
    (
        "submitit",
        "parameters.timeout_min=1h",
        "parameters.timeout_min=1h: expected a whole number of at least 1.",
    ),
]


@pytest.mark.parametrize(
    ("how", "name", "word", "expected"),
    [
        *((["-m", "seed=0,1"], *case) for case in REFUSED),
        *((["-m", "seed=0,1", "dry_run=true"], *case) for case in REFUSED[:2]),
        *(([], *case) for case in REFUSED[:2]),
    ],
)
def test_values_of_a_launcher_are_checked_before_it_is_made(
    how, name, word, expected, tmp_path, capsys
):
    words = [*how, f"hydra/launcher={name}", f"hydra.launcher.{word}", *TINY]
    assert main(["train", *words]) == 2
    assert f"error: hydra.launcher.{expected}" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "outputs" / "train").exists()
    assert not (tmp_path / "outputs" / "sweeps").exists()


def test_a_value_added_to_a_launcher_that_takes_no_such(capsys):
    words = ["-m", "seed=0,1", "hydra/launcher=ray", "+hydra.launcher.retrys=2"]
    assert main(["train", *words, *TINY]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "hydra.launcher.retrys: RayLauncher takes no such value. Did you mean retries?" in told


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["hydra/launcher=joblib", "+hydra.launcher.prefer=luck"], "joblib.Parallel does not take"),
        (
            ["hydra/launcher=submitit", "+hydra.launcher.parameters.timeout_mn=3"],
            "submitit does not take these values",
        ),
    ],
)
def test_what_only_the_library_knows_is_answered_by_it_in_our_words(words, expected, capsys):
    assert main(["train", "-m", "seed=0,1", *words, *TINY]) == 2
    err = capsys.readouterr().err
    assert f"hydra.launcher: {expected}" in " ".join(err.split())
    assert "Traceback" not in err


@pytest.mark.parametrize("option", ["--experimental-rerun", "--exp", "--e"])
@pytest.mark.parametrize("form", ["{} {}", "{}={}"])
@pytest.mark.parametrize("verb", ["train", "run", "table"])
def test_a_pickle_is_never_read(verb, form, option, tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    (tmp_path / "job.pickle").write_bytes(pickle.dumps(Evil()))
    words = form.format(option, tmp_path / "job.pickle").split()
    assert main([verb, *words]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"{option}: this option of Hydra's reads a pickle" in told
    assert "aspire rerun RUN" in told
    assert not (tmp_path / "executed").exists()
