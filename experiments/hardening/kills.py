"""``kill -9`` at random moments of a run, a sweep and a generation: equal results in the end.

    python experiments/hardening/kills.py [--kills 200] [--seed 0]

Every second command runs on the real command line, the others in a fork of this process.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import tiny

COMMANDS = {"run": tiny.RUN, "sweep": tiny.SWEEP, "generate": tiny.GENERATE}


def main() -> None:
    """Print a line for each round, and what was not equal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    tiny.warm()
    killed, rounds, unequal = 0, 0, 0
    with tempfile.TemporaryDirectory() as root:
        undisturbed = {}
        for name, words in COMMANDS.items():
            done = tiny.forked(words, Path(root) / name)
            assert done.outcome == "ok", done.text
            undisturbed[name] = (tiny.contents(Path(root) / name), done.seconds)
            print(f"{name}: {done.seconds:.0f} s undisturbed", flush=True)
        while killed < given.kills:
            name = list(COMMANDS)[rounds % len(COMMANDS)]
            expected, seconds = undisturbed[name]
            outputs = Path(root) / f"{name}-{rounds}"
            own, code = 0, -9
            while code == -9:
                # The last rounds of a run get what is left of it, so that every round ends.
                moment = rng.uniform(0, seconds) if killed < given.kills and own < 12 else 600.0
                run = _real if (rounds + own) % 2 else _fork
                code = run(COMMANDS[name], outputs, moment)
                own += code == -9
                killed += code == -9
            differs = tiny.difference(expected, tiny.contents(outputs))
            unequal += bool(differs) or code != 0
            rounds += 1
            print(f"{name}: {own} kills, exit {code}, {differs or 'equal'}", flush=True)
    print(f"{killed} kills in {rounds} rounds, {unequal} of them not equal")


def _fork(words: Sequence[str], outputs: Path, moment: float) -> int:
    return tiny.forked(words, outputs, kill_after=moment).code


def _real(words: Sequence[str], outputs: Path, moment: float) -> int:
    start = 8.0  # seconds that imports take
    process = subprocess.Popen(
        [sys.executable, "-m", "aspire", *words],
        env={**os.environ, "ASPIRE_OUTPUTS": str(outputs)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    status, _ = tiny.wait(process.pid, time.monotonic(), moment + start)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode


if __name__ == "__main__":
    main()
