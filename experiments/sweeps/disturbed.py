"""Kill a sweep with SIGKILL at random moments, start it again, and say how long all took.

    python experiments/sweeps/disturbed.py OUTPUTS [--kills 3] [--within 1500] [word ...]

The words are those of `aspire train experiment=mini_table ...`. Each kill ends the whole process
group, workers and all, at a moment drawn from the first `--within` seconds of training time.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outputs", type=Path)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--within", type=float, default=1500.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("words", nargs="*")
    given = parser.parse_intermixed_args()

    command = [sys.executable, "-m", "aspire", "train", "experiment=mini_table", *given.words]
    environment = {**os.environ, "ASPIRE_OUTPUTS": str(given.outputs.resolve())}
    chance = random.Random(given.seed)
    moments = sorted(chance.uniform(0, given.within) for _ in range(given.kills))
    started = time.monotonic()
    for moment in moments:
        sweep = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            sweep.wait(started + moment - time.monotonic())
        except subprocess.TimeoutExpired:
            os.killpg(sweep.pid, signal.SIGKILL)
            sweep.wait()
            print(f"\n== killed after {time.monotonic() - started:.0f} s\n", flush=True)
        else:
            print(f"\n== ended before the kill at {moment:.0f} s\n", flush=True)
            break
    code = subprocess.run(command, env=environment, check=False).returncode
    print(
        f"\n== ended with {code} after {time.monotonic() - started:.0f} s, drawn kills at {moments}"
    )
    return code


if __name__ == "__main__":
    raise SystemExit(main())
