"""``kill -9`` at random moments of a run, a sweep and a generation: equal results in the end.

    python experiments/hardening/kills.py --folder DIR [--kills 200] [--seed 0] [--minutes M]

Every second command runs on the real command line, the others in a fork of this process. The same
command goes on with the next round; DIR keeps what was found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import tiny

COMMANDS = {"run": tiny.RUN, "sweep": tiny.SWEEP, "generate": tiny.GENERATE}
MOST = 16  # kills of one round; then it may end
# Hidden files that finished work keeps: locks, and which files were found to be right.
KEPT = re.compile(r"\.lock$|^\.verified$")


def main() -> None:
    """Work off rounds until there are enough kills, print the table of all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    root = given.folder.resolve()
    root.mkdir(parents=True, exist_ok=True)
    tiny.warm(root / "whole")
    journal = tiny.Journal(root / "rounds.jsonl", given.minutes)
    start = _imports(root / "whole")
    for case in journal.left([f"round {n}" for n in range(given.kills)]):
        if sum(line["kills"] for line in journal.lines) >= given.kills:
            break
        number = int(case.split()[1])
        name = list(COMMANDS)[number % len(COMMANDS)]
        expected, seconds = _undisturbed(name, root)
        rng = random.Random(f"{given.seed} {case}")
        kills, real, code, began = 0, 0, -9, time.monotonic()
        with tempfile.TemporaryDirectory(dir=root) as folder:
            outputs = Path(folder) / "outputs"
            while code == -9:
                on_line = bool((number + kills) % 2)
                moment = rng.uniform(0, 0.7 * seconds + start * on_line)
                moment = moment if kills < MOST else 600.0
                code = (_real if on_line else _fork)(COMMANDS[name], outputs, moment)
                kills += code == -9
                real += code == -9 and on_line
            differs = tiny.difference(expected, tiny.contents(outputs))
            left = _left(outputs)
        spent = time.monotonic() - began
        journal.add(
            case, name=name, kills=kills, real=real, code=code, differs=differs, left=left,
            seconds=spent,
        )  # fmt: skip
        print(f"{case}: {journal.lines[-1]}", flush=True)
    print(f"{tiny.machine()}, seed {given.seed}\n\n{_table(journal)}")


def _table(journal: tiny.Journal) -> str:
    lines = ["| | rounds | kills | of them on the command line | not equal | leftovers |"]
    lines += ["|---|---|---|---|---|---|"]
    for name in COMMANDS:
        rounds = [line for line in journal.lines if line["name"] == name]
        kills, real = (sum(line[key] for line in rounds) for key in ("kills", "real"))
        unequal = sum(bool(line["differs"]) or line["code"] != 0 for line in rounds)
        left = sum(bool(line["left"]) for line in rounds)
        lines.append(f"| {name} | {len(rounds)} | {kills} | {real} | {unequal} | {left} |")
    return "\n".join(lines)


def _undisturbed(name: str, root: Path) -> tuple[dict[str, str], float]:
    """What there is in the end where nothing is killed, and how long it takes; made once."""
    kept = root / f"undisturbed {name}.json"
    if not kept.is_file():
        with tempfile.TemporaryDirectory(dir=root) as folder:
            done = tiny.forked(COMMANDS[name], Path(folder) / "outputs")
            assert done.outcome == "ok", done.text
            content = [tiny.contents(Path(folder) / "outputs"), done.seconds]
        kept.write_text(json.dumps(content))
    expected, seconds = json.loads(kept.read_text())
    return expected, seconds


def _imports(finished: Path) -> float:
    """Seconds that a command on the real command line takes longer than a fork."""
    began = time.monotonic()
    assert _real(tiny.RUN, finished, 600.0) == 0
    real = time.monotonic() - began
    return max(0.0, real - tiny.forked(tiny.RUN, finished).seconds)


def _left(outputs: Path) -> str:
    """Files that only interrupted work has."""
    found = [p for p in outputs.rglob("*") if p.name[0] == "." and not KEPT.search(p.name)]
    found += list(outputs.rglob("*.partial"))
    return ", ".join(str(p.relative_to(outputs)) for p in found)


def _fork(words: Sequence[str], outputs: Path, moment: float) -> int:
    return tiny.forked(words, outputs, kill_after=moment).code


def _real(words: Sequence[str], outputs: Path, moment: float) -> int:
    process = subprocess.Popen(
        [sys.executable, "-m", "aspire", *words],
        env={**os.environ, "ASPIRE_OUTPUTS": str(outputs)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    status, _ = tiny.wait(process.pid, time.monotonic(), moment)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode


if __name__ == "__main__":
    main()
