"""The tiniest runs, each command in a forked process, and what must be equal in the end."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SMALL = (
    "dataset=mini_waterbirds", "dataset.scale=0.01", "dataset.size=32", "model=small_cnn",
    "model.image_size=32", "fit.steps=4", "fit.evaluations=2", "fit.batch_size=8", "logger=none",
    "trainer.threads=1", "stage.edit.images_per_class=6", "stage.generate.max_per_class=6",
    "stage.filter.min_kept=0", "score.min_support=1", "score.min_donors=1",
    "score.max_q=1", "score.min_effect=-1",
)  # fmt: skip
RUN = ("run", "seeds=[0]", *SMALL)
SWEEP = ("train", "-m", "seed=0,1", "baseline=erm,jtt", *SMALL)
GENERATE = (
    "generate", "personaliser=tiny_sd", "generator=tiny_sd", "personaliser.steps=2",
    "personaliser.min_images=1",
    "personaliser.flipped_only=false", "personaliser.batch_size=1",
    "personaliser.checkpoint_every=1", "generator.steps=1", *SMALL,
)  # fmt: skip
TIMES = ("seconds", "resumed", "started", "began", "ended")
CRASH = 99
MEMORY = 16 * 2**30  # bytes of address space that a command may take


@dataclass
class Done:
    """How a command ended.

    Args:
        code: its exit code; below 0 the signal that ended it.
        text: what it said.
        hung: whether it had to be stopped.
    """

    code: int
    text: str
    seconds: float
    hung: bool = False

    @property
    def outcome(self) -> str:
        """In one word."""
        if self.hung:
            return "hang"
        if self.code == CRASH or "Traceback (most recent" in self.text:
            return "library traceback"
        if self.code < 0:
            return "killed"
        return "ok" if self.code == 0 else "clear error"


def warm(outputs: Path) -> None:
    """Make the undisturbed run, and find it again here: forks have what it imported.

    Args:
        outputs: its outputs folder, where it may be already.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    done = forked(RUN, outputs)
    assert done.outcome == "ok", done.text
    from aspire.cli import main

    os.environ["ASPIRE_OUTPUTS"] = str(outputs)
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(list(RUN)) == 0
    import torch

    torch.set_num_threads(1)


def forked(
    words: Sequence[str],
    outputs: Path,
    kill_after: float | None = None,
    limit: float = 600.0,
    file_size: int | None = None,
) -> Done:
    """Run a command in a fork of this process.

    Args:
        kill_after: seconds until SIGKILL; None for never.
        limit: seconds after which it counts as hung.
        file_size: largest size of a file in bytes, as ``ulimit -f`` sets it.
    """
    with tempfile.TemporaryFile() as said:
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            os.setsid()
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            if file_size is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
            os.environ["ASPIRE_OUTPUTS"] = str(outputs)
            code = CRASH
            try:
                from aspire.cli import main

                code = main(list(words))
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        status, hung = wait(child, started, limit if kill_after is None else kill_after)
        said.seek(0)
        text = said.read().decode(errors="replace")
    stopped = hung and kill_after is None
    return Done(os.waitstatus_to_exitcode(status), text, time.monotonic() - started, stopped)


def wait(child: int, started: float, limit: float) -> tuple[int, bool]:
    """Wait status of a child, and whether it was killed for taking longer."""
    while time.monotonic() - started < limit:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status, False
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1], True


def contents(outputs: Path) -> dict[str, str]:
    """File -> digest of every result, record, weight and image; times left out."""
    found = {}
    for path in sorted(outputs.rglob("*")):
        name = path.relative_to(outputs).as_posix()
        hidden = any(part.startswith(".") for part in path.relative_to(outputs).parts)
        kept = path.suffix in (".safetensors", ".png") or path.name in (
            "result.json",
            "records.jsonl",
        )
        kept = kept or name.startswith("evaluate/")
        if not path.is_file() or hidden or not kept or name.startswith(("cache/", "data/")):
            continue
        data = path.read_bytes()
        if path.name == "result.json":
            data = data.replace(str(outputs).encode(), b"OUTPUTS")
            with contextlib.suppress(ValueError):  # damaged, and compared as it is
                data = json.dumps(_timeless(json.loads(data)), sort_keys=True).encode()
        name = re.sub("^run/[^/]+", "run", name)  # it also says where the data lie
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in TIMES}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def difference(expected: dict[str, str], given: dict[str, str]) -> str:
    """The first file that differs, or an empty text."""
    for name in sorted({*expected, *given}):
        if expected.get(name) != given.get(name):
            return f"{name} " + ("is missing" if name not in given else "is another")
    return ""


def machine() -> str:
    """Date, commit and machine, for the head of a table."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    return f"{time.strftime('%Y-%m-%d', time.gmtime())}, commit {commit}, {os.cpu_count()} cores"


class Journal:
    """What was found so far, a line each, so that a long experiment goes on where it stopped.

    Args:
        path: the file.
        minutes: after which no further case is begun.
    """

    def __init__(self, path: Path, minutes: float) -> None:
        self.path = path
        self.until = time.monotonic() + 60 * minutes
        self.lines: list[dict[str, Any]] = []
        if path.is_file():
            self.lines = [json.loads(line) for line in path.read_text().splitlines()]

    def left(self, cases: Sequence[str]) -> Iterator[str]:
        """Those of these cases that are not in it, while there is time."""
        known = {line["case"] for line in self.lines}
        for case in cases:
            if case not in known and time.monotonic() < self.until:
                yield case

    def add(self, case: str, **found: Any) -> None:
        """Write down what became of a case."""
        self.lines.append({"case": case, **found})
        with self.path.open("a") as file:
            file.write(json.dumps(self.lines[-1]) + "\n")
