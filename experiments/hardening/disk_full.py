"""A disk that fills up at random moments: a message each, and equal results when it goes on.

    python experiments/hardening/disk_full.py [--moments 20] [--seed 0]

As root on a tmpfs of random sizes, else by ``ulimit -f``.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

import tiny


def main() -> None:
    """Print a line for each moment, and what did not hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as root:
        whole = Path(root) / "whole"
        tiny.warm(whole)
        expected = tiny.contents(whole)
        files = [p.stat().st_size for p in whole.rglob("*") if p.is_file()]
        used = sum(-(-size // 4096) * 4096 for size in files)
        print(f"undisturbed: {used / 2**20:.1f} MiB, {len(expected)} files")
        held = 0
        for number in range(given.moments):
            outputs = Path(root) / f"full-{number}"
            outputs.mkdir()
            held += one(outputs, rng, used, max(files), expected)
        print(f"{held} of {given.moments} were answered and gave equal results when they went on")


def one(
    outputs: Path, rng: random.Random, used: int, largest: int, expected: dict[str, str]
) -> bool:
    """Fill up once, make room, go on."""
    size = rng.randrange(64 * 2**10, used)
    mounted = not _mount(outputs, f"size={size}")
    limit = None if mounted else rng.randrange(256, largest)
    try:
        full = tiny.forked(tiny.RUN, outputs, file_size=limit)
        if mounted:
            _mount(outputs, f"remount,size={64 * used}")
        again = tiny.forked(tiny.RUN, outputs)
        differs = tiny.difference(expected, tiny.contents(outputs))
    finally:
        if mounted:
            subprocess.run(["umount", str(outputs)], check=True)
        shutil.rmtree(outputs, ignore_errors=True)
    error = next((x for x in full.text.splitlines() if x.startswith("error:")), "")
    said = error.replace(str(outputs), "OUTPUTS") or full.text[-200:]
    what = f"{size / 2**20:.2f} MiB" if mounted else f"files of {limit} bytes"
    print(f"{what}: exit {full.code}: {said}; then exit {again.code}{differs and ', ' + differs}")
    return full.code == 6 and bool(error) and again.code == 0 and not differs


def _mount(folder: Path, options: str) -> int:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode


if __name__ == "__main__":
    main()
