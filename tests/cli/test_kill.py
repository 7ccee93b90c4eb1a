"""kill -9 in the middle of any stage, the same command again: nothing finished is done twice, and
the result is that of an undisturbed run."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from commands import Command

COMMAND = [
    *("run", "seeds=[0]", "dataset.scale=0.02", "logger=none", "engine.batch_size=4"),
    *("fit.steps=6", "fit.evaluations=6", "stage.generate.per_real=0.2", "score.min_donors=2"),
    *("score.min_support=2", "score.max_q=1", "score.min_effect=0", "stage.filter.min_kept=0"),
    "captioner._target_=slowed.SlowCaptioner",
    "restyler._target_=slowed.SlowRestyler",
    "filter.near_uniform._target_=slowed.SlowNearUniform",
]


def start(folder, pause):
    return Command(
        COMMAND,
        folder,
        PYTHONPATH=str(Path(__file__).parent),
        ASPIRE_OUTPUTS=str(folder / "outputs"),
        ASPIRE_TEST_CALLS=str(folder / "calls.txt"),
        ASPIRE_TEST_PAUSE=str(pause),
    )


def run_to_the_end(folder):
    done = start(folder, 0).end()
    assert done.code == 0, done
    return done.stdout


def run_and_kill(folder, pause, when):
    start(folder, pause).kill_when(when)


def journal(folder, stage):
    """Items that are finished in the interrupted work of a stage."""
    found = list((folder / "outputs" / "artifacts" / stage).glob("*.partial/journal.jsonl"))
    if not found:
        return []
    whole = found[0].read_bytes()
    lines = whole[: whole.rfind(b"\n") + 1].splitlines()
    return [json.loads(line.split(b"\t")[0])["item"] for line in lines]  # a checksum follows


def calls(folder, kind):
    lines = (folder / "calls.txt").read_text().splitlines()
    return Counter(line.split()[1] for line in lines if line.split()[0] == kind)


def result(folder):
    (path,) = (folder / "outputs" / "run").glob("*/result.json")
    return path.read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_killed_run_continues_to_the_result_of_an_undisturbed_one(tmp_path):
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    calm.mkdir()
    rough.mkdir()
    run_to_the_end(calm)

    finished = {}
    outputs = rough / "outputs"
    run_and_kill(rough, 0, lambda: any(outputs.rglob("last.ckpt")))
    assert not list(outputs.rglob("finished.json")), "the kill came too late to mean anything"
    for kind, stage in (("caption", "caption"), ("edit", "edit"), ("measure", "measure")):
        run_and_kill(rough, 0.05, lambda stage=stage: len(journal(rough, stage)) >= 8)
        finished[kind] = (journal(rough, stage), calls(rough, kind))
    output = run_to_the_end(rough)

    assert "from before" in output
    for kind, (items, before) in finished.items():
        after = calls(rough, kind)
        assert len(items) >= 8
        assert all(after[item] == before[item] for item in items), f"{kind}: finished work redone"
    assert result(rough) == result(calm)

    called = (rough / "calls.txt").read_text()
    started = time.monotonic()
    again = run_to_the_end(rough)
    assert time.monotonic() - started < 60
    assert (rough / "calls.txt").read_text() == called
    assert " run " not in "\n".join(
        line for line in again.splitlines() if line.startswith("  ") and "records" in line
    )
    assert result(rough) == result(calm)
