"""Sweeps: states, claims, failures, plans; and that nothing is done twice or by two."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from commands import Command

from aspire.cli import main
from aspire.confdir import conf_dir
from aspire.runs.claims import RunningError, claim, run_status
from aspire.runs.ledger import Ledger, find_jobs

HERE = Path(__file__).parent
TINY = [
    *("dataset.scale=0.02", "fit.steps=4", "fit.evaluations=2", "logger=none", "trainer.threads=1"),
    "baseline._target_=counted.CountedERM",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _environment(tmp_path, monkeypatch, tiny_data):
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))
    monkeypatch.setenv("ASPIRE_TEST_CALLS", str(tmp_path / "calls.txt"))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.syspath_prepend(str(HERE))
    (tmp_path / "calls.txt").touch()


def starts(tmp_path):
    lines = (tmp_path / "calls.txt").read_text().splitlines()
    return Counter(line.split()[1] for line in lines if line.startswith("start"))


def results(tmp_path):
    return sorted((tmp_path / "outputs" / "train").rglob("result.json"))


# --- one run -----------------------------------------------------------------------------------


def attempt(folder, number=1):
    path = folder / "attempts" / f"{number}.json"
    return path, json.loads(path.read_text())


def test_states_of_a_run_that_works_out(tmp_path):
    assert run_status(tmp_path).state == "new"
    with claim(tmp_path, {"seed": 0}):
        look = run_status(tmp_path)
        assert (look.state, look.about) == ("running", {"seed": 0})
        assert f"process {os.getpid()} on {socket.gethostname()}" in look.who
        with pytest.raises(RunningError, match="is being made by process"), claim(tmp_path, {}):
            pytest.fail("two work on it")
        (tmp_path / "result.json").write_text("{}")
    assert run_status(tmp_path).state == "done"
    assert attempt(tmp_path)[1]["state"] == "done"
    (tmp_path / "result.json").unlink()
    assert run_status(tmp_path).state == "stale"


def test_a_failure_keeps_its_reason_and_is_tried_again(tmp_path):
    for number in (1, 2):
        with pytest.raises(ValueError, match="too late"), claim(tmp_path, {}):
            raise ValueError("too late\nand so on")
        look = run_status(tmp_path)
        assert (look.state, look.reason) == ("failed", "ValueError: too late")
        assert attempt(tmp_path, number)[1]["state"] == "failed"


def test_a_run_without_a_heartbeat_is_taken_over_and_its_owner_notices(tmp_path):
    first = claim(tmp_path, {}, stale_after=50)
    first.__enter__()
    path, _ = attempt(tmp_path)
    old = time.time() - 51
    os.utime(path, (old, old))
    look = run_status(tmp_path, stale_after=50)
    assert look.state == "stale"
    assert look.reason.startswith("no sign of life for 5")
    assert run_status(tmp_path, stale_after=500).state == "running"
    with claim(tmp_path, {}, stale_after=50):
        with pytest.raises(RunningError):
            first.__exit__(None, None, None)
        assert attempt(tmp_path)[1]["state"] == "running"  # what it was taken over as
        assert run_status(tmp_path).state == "running"


def test_the_heart_beats(tmp_path):
    with claim(tmp_path, {}, stale_after=1.5):
        time.sleep(3)
        assert run_status(tmp_path, stale_after=1.5).state == "running"


def test_a_process_that_is_gone_from_this_machine_is_seen_at_once(tmp_path):
    with pytest.raises(KeyError), claim(tmp_path, {}):
        raise KeyError
    path, content = attempt(tmp_path)
    content["state"] = "running"
    path.write_text(json.dumps(content))
    assert run_status(tmp_path).state == "running"  # this process is alive
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    for change, state in (
        ({"pid": gone.pid}, "stale"),
        ({"born": "1"}, "stale"),  # another process has the number by now
        ({"pid": gone.pid, "place": "elsewhere"}, "running"),  # a number of another machine
    ):
        path.write_text(json.dumps(content | change))
        assert run_status(tmp_path).state == state, change


def test_of_many_at_once_one_gets_it(tmp_path):
    def work(number):
        try:
            with claim(tmp_path, {"number": number}):
                time.sleep(0.5)
        except RunningError:
            return 0
        return 1

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(work, range(20))) == 1
    assert len(list((tmp_path / "attempts").iterdir())) == 1


# --- sweeps ------------------------------------------------------------------------------------


def test_a_failed_job_stops_no_other_and_is_explained(tmp_path, monkeypatch, capsys):
    sweep = tmp_path / "outputs" / "sweeps" / "mine"
    words = ["train", "-m", "seed=0,1,2", f"hydra.sweep.dir={sweep}", *TINY]
    monkeypatch.setenv("ASPIRE_TEST_FAIL_SEED", "1")
    assert main(words) == 4
    out, err = capsys.readouterr()
    assert "RuntimeError: the cable was pulled" in err
    assert "2 done, 1 failed" in out
    end = out[out.index("2 done, 1 failed") :]
    assert "mini_waterbirds, erm, seed 1: RuntimeError: the cable was pulled" in end
    assert "aspire train seed=1 dataset.scale=0.02" in end
    (log,) = sweep.glob("jobs/*.log")
    assert "in run\n" in log.read_text()
    assert len(results(tmp_path)) == 2

    capsys.readouterr()
    assert main(["sweep", "status", str(sweep)]) == 0
    out = capsys.readouterr().out
    assert "2 done, 1 failed" in out
    assert "the cable was pulled" in out
    assert main(["table", str(sweep), "rows=baseline", "cols=dataset", "metric=acc"]) == 0
    out = capsys.readouterr().out
    assert "(2)" in out
    assert "failed: RuntimeError: the cable was pulled. Finish with: aspire train -m" in out

    monkeypatch.delenv("ASPIRE_TEST_FAIL_SEED")
    assert main(words) == 0
    assert sorted(starts(tmp_path).values()) == [1, 1, 2]
    assert "3 done" in capsys.readouterr().out
    assert not list(sweep.glob("jobs/*.log"))
    entries = find_jobs(tmp_path / "outputs")
    assert [e.about["seed"] for e in entries] == [0, 1, 2]  # sweep and run folders are one
    assert {e.state for e in entries} == {"done"}


def test_moved_outputs_keep_their_states(tmp_path):
    sweep = tmp_path / "outputs" / "sweeps" / "mine"
    assert main(["train", "-m", "seed=0", f"hydra.sweep.dir={sweep}", *TINY]) == 0
    (tmp_path / "outputs").rename(tmp_path / "elsewhere")
    (entry,) = find_jobs(tmp_path / "elsewhere" / "sweeps" / "mine")
    assert entry.state == "done"


def test_a_plan_trains_nothing_and_names_what_cannot_work(tmp_path, capsys):
    words = ["train", "-m", "seed=0,1", *TINY]
    assert main([*words, "dry_run=true"]) == 0
    out = capsys.readouterr().out
    assert "plan of 2 jobs: nothing is run" in out
    assert "2 new" in out
    assert "no finished run yet" in out
    assert not starts(tmp_path)
    assert not results(tmp_path)

    assert main(["train", "seed=0", *TINY]) == 0
    before = starts(tmp_path)
    capsys.readouterr()
    assert main([*words, "augmentation=none,aspire", "dry_run=true"]) == 0
    out = capsys.readouterr().out
    assert "1 done, 3 new" in out
    assert "about " in out
    assert "first examine" in out  # what the arm with ASPIRE waits for
    assert "after 3" in out  # the ERM that makes its images
    assert starts(tmp_path) == before

    both = ["optimizer=sgd", "optimizer.lr=0.1,fast", "+optimizer.nesterov=false,true"]
    words = ["train", "-m", "seed=0", *both, "optimizer.momentum=0", *TINY]
    assert main([*words, "dry_run=true"]) == 2
    out = " ".join(capsys.readouterr().out.split())
    assert "1 new, 3 invalid" in out
    job = "cannot work: mini_waterbirds, erm, seed 0: "
    assert out.count(f"{job}optimizer.lr=fast: expected a number above 0.") == 2
    assert out.count(f"{job}The optimizer cannot be built: Nesterov momentum requires") == 1
    assert starts(tmp_path) == before


def test_a_job_whose_values_are_refused_is_a_failed_one(tmp_path, capsys):
    sweep = tmp_path / "outputs" / "sweeps" / "mine"
    words = ["train", "-m", "seed=0", "optimizer.lr=fast,-1", f"hydra.sweep.dir={sweep}", *TINY]
    assert main(words) == 2
    out = capsys.readouterr().out
    assert "2 failed" in out
    assert "optimizer.lr=fast: expected a number above 0." in out
    assert "optimizer.lr=-1: expected a number above 0." in out
    assert not starts(tmp_path)


def test_a_run_that_someone_works_on_is_left_alone(tmp_path, capsys):
    assert main(["train", *TINY]) == 0
    (result,) = results(tmp_path)
    path, content = attempt(result.parent)
    result.unlink()
    path.write_text(json.dumps(content | {"state": "running"}))  # by this very process
    capsys.readouterr()
    assert main(["train", *TINY]) == 0
    assert f"made by process {os.getpid()}" in capsys.readouterr().out
    assert main(["train", "-m", "seed=0", *TINY]) == 0
    assert "left alone: process" in capsys.readouterr().out
    assert sum(starts(tmp_path).values()) == 1


def test_stored_sweeps_are_what_they_say():
    for name, number in (("mini_table", 72), ("main_table", 216), ("ablation", 240)):
        content = yaml.safe_load((conf_dir() / "experiment" / f"{name}.yaml").read_text())
        jobs = 1
        for key, values in content["hydra"]["sweeper"]["params"].items():
            choices = str(values).split(",")
            jobs *= len(choices)
            if key != "seed":
                assert all((conf_dir() / key / f"{c}.yaml").is_file() for c in choices)
        assert jobs == number


def test_a_stored_sweep_runs_without_m_and_what_is_typed_wins(tmp_path, capsys):
    typed = ["dataset=mini_waterbirds", "baseline=erm", "augmentation=none", "seed=0,1"]
    assert main(["train", "experiment=mini_table", *typed, *TINY]) == 0
    assert "2 done" in capsys.readouterr().out
    assert len(find_jobs(tmp_path / "outputs" / "sweeps" / "mini_table")) == 2


def test_words_in_another_order_are_the_same_job(tmp_path):
    ledger = Ledger(tmp_path, "aspire train -m ...")
    ledger.note(["a=1", "b=2"], {"seed": 0}, "one")
    ledger.note(["b=2", "a=1"], {"seed": 0}, "two")
    (entry,) = find_jobs(tmp_path)
    assert (entry.state, entry.command, entry.sweep) == ("new", "two", "aspire train -m ...")


# --- several processes ---------------------------------------------------------------------------


def at_once(folder, words):
    """What 20 commands end with that begin at one moment; the word NUMBER is told apart."""
    moment, commands = time.time() + 1, []
    for number in range(20):
        (own := folder / f"command-{number}").mkdir()
        mine = [word.replace("NUMBER", str(number)) for word in words]
        commands.append(Command(mine, own, not_before=moment))
    ended = [command.end() for command in commands]
    assert {e.code for e in ended} == {0}, ended
    return "".join(e.stdout for e in ended)


@pytest.mark.slow
def test_of_20_processes_that_start_one_job_one_trains_it(tmp_path, monkeypatch):
    monkeypatch.setenv("ASPIRE_TEST_PAUSE", "5")
    out = at_once(tmp_path, ["train", *TINY])
    assert sum(starts(tmp_path).values()) == 1
    assert len(results(tmp_path)) == 1
    assert out.count("left alone") + out.count("train        hit") == 19
    assert out.count("train        run") == 1


@pytest.mark.slow
def test_20_jobs_that_start_at_one_moment_make_20_folders(tmp_path):
    at_once(tmp_path, ["train", *TINY, "fit.steps=1", "fit.evaluations=1", "seed=NUMBER"])
    assert set(starts(tmp_path).values()) == {1}
    seeds = [json.loads(path.read_bytes())["seed"] for path in results(tmp_path)]
    assert sorted(seeds) == list(range(20))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_sweeps_on_one_folder_finish_each_job_once(tmp_path, monkeypatch):
    monkeypatch.setenv("ASPIRE_TEST_PAUSE", "1")
    sweep = tmp_path / "outputs" / "sweeps" / "mine"
    words = ["train", "-m", f"hydra.sweep.dir={sweep}", *TINY]
    both = []
    for order in ("seed=0,1,2", "seed=2,1,0"):
        (folder := tmp_path / order).mkdir()
        both.append(Command([*words, order], folder))
    for command in both:
        done = command.end()
        assert done.code == 0, done
    assert len(results(tmp_path)) == 3
    assert set(starts(tmp_path).values()) == {1}
    assert [e.state for e in find_jobs(sweep)] == ["done"] * 3


@pytest.mark.slow
def test_a_killed_job_is_stale_and_continued(tmp_path, monkeypatch):
    monkeypatch.setenv("ASPIRE_TEST_PAUSE", "60")
    words = ["train", "-m", "seed=0,1", *TINY]
    Command(words, tmp_path).kill_when(
        lambda: any(tmp_path.rglob("finished.json"))  # its training, not the run
    )
    (stale,) = [e for e in find_jobs(tmp_path / "outputs" / "train") if e.state != "new"]
    assert (stale.state, stale.look.reason) == ("stale", "its process is gone")
    (phase,) = tmp_path.rglob("finished.json")
    trained = phase.stat().st_mtime_ns
    monkeypatch.setenv("ASPIRE_TEST_PAUSE", "0")
    assert main(words) == 0
    assert phase.stat().st_mtime_ns == trained
    assert len(results(tmp_path)) == 2
    assert sorted(starts(tmp_path).values()) == [1, 2]
