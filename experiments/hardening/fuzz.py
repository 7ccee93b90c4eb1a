"""Malformed input and damaged artifacts, seeded and bounded: what becomes of each.

    python experiments/hardening/fuzz.py [--malformed 300] [--damaged 200] [--seed 0] [--to FILE]

A library traceback, a hang or a silent use (other numbers, exit 0) is a fault; a clear
error, redone, a correct result and a damaged file that the command does not read are none.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tiny
from PIL import Image

LIMIT = 240.0  # seconds after which a command hangs
VALUES = (
    "abc", "-1", "0", "1e30", "nan", "inf", "null", "true", "[]", "{}", "[1,a]", "it's", "(x",
    "${x}",     "${oc.env:HOME}", "'", '"', "\\", "1.5", "999999999999999999999", "???",
    "日本", "a" * 5000, "{a:{b:1}}",
)  # fmt: skip
KEYS = (
    "fit.steps", "fit.batch_size", "fit.selection", "fit.augment", "seed", "trainer.devices",
    "trainer.precision", "trainer.accelerator", "trainer.threads", "model.image_size", "model",
    "optimizer.lr", "optimizer.momentum", "scheduler.path", "dataset.root", "dataset.scale",
    "dataset.on_bad", "dataset", "baseline", "baseline.eta", "augmentation.share", "hparams",
    "captioner", "extractor.model", "segmenter.near_threshold",
    "inpainter.radius", "inpainter.method",
    "restyler.feather", "score.max_q", "score.seed", "stage.edit.dilate", "stage.edit",
    "stage.filter.min_kept", "stage.generate.amount", "filter", "filter.duplicate.max_distance",
    "generator.min_object", "personaliser.max_contexts", "engine.batch_size", "engine", "logger",
    "paths.data", "sweep.stale_after", "model._target_", "nonsense", "stage..x", "hydra.run.dir",
)  # fmt: skip
Case = tuple[str, list[str], Path]  # what it is, the command, its outputs folder


def main() -> None:
    """Make the cases, count the outcomes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--malformed", type=int, default=300)
    parser.add_argument("--damaged", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path)
    given = parser.parse_args()
    to = given.to and given.to.resolve()
    tiny.warm()
    rng = random.Random(given.seed)
    counts: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.chdir(root)  # some cases name folders that are then made
        done = tiny.forked(tiny.RUN, root / "whole")
        assert done.outcome == "ok", done.text
        makers: list[Callable[[random.Random, Path], Case]] = [configuration, table, image, stored]
        for number in range(given.malformed):
            what, words, outputs = makers[number % len(makers)](rng, root)
            ended = tiny.forked(words, outputs, limit=LIMIT)
            note(counts, what, ended.outcome, ended, words)
        expected = tiny.contents(root / "whole")
        for _ in range(given.damaged):
            what, outcome, ended = damaged(rng, root, expected)
            note(counts, what, outcome, ended, ["aspire", "run"])
    text = as_table(counts)
    print(text)
    if to:
        to.write_text(text + "\n")


def note(
    counts: dict[str, Counter[str]], what: str, outcome: str, ended: tiny.Done, words: list[str]
) -> None:
    """Count a case; show it where it is a fault."""
    kind = what.partition(":")[0]
    counts.setdefault(kind, Counter())[outcome] += 1
    if outcome in ("library traceback", "hang", "silent use"):
        print(f"{outcome}: {what}: {' '.join(words)[:300]}\n{ended.text[-1500:]}\n", flush=True)


def as_table(counts: dict[str, Counter[str]]) -> str:
    """Outcomes by kind, in Markdown."""
    outcomes = sorted({o for c in counts.values() for o in c})
    lines = ["| | " + " | ".join(outcomes) + " |", "|---|" + "---|" * len(outcomes)]
    lines += [
        f"| {kind} | " + " | ".join(str(counter[o]) for o in outcomes) + " |"
        for kind, counter in sorted(counts.items())
    ]
    return "\n".join(lines)


# --- malformed input ---------------------------------------------------------------------------


def configuration(rng: random.Random, root: Path) -> Case:
    """A typed value that may be anything."""
    word = f"{rng.choice(['', '', '', '+', '++', '~'])}{rng.choice(KEYS)}={rng.choice(VALUES)}"
    return f"configuration: {word[:80]}", ["train", *tiny.SMALL, word, "dry_run=true"], root / "c"


def table(rng: random.Random, root: Path) -> Case:
    """A CSV file with a few mutations."""
    folder = Path(tempfile.mkdtemp(dir=root))
    rows = [["img_id", "img_filename", "y", "split", "place"]]
    for n in range(12):
        Image.fromarray(np.full((16, 16, 3), 20 * n, np.uint8)).save(folder / f"{n}.png")
        rows.append([str(n), f"{n}.png", str(n % 2), str(n % 3), str(n // 2 % 2)])
    for _ in range(rng.randint(1, 3)):
        row = rng.randrange(len(rows))
        if rng.random() < 0.3:
            rows[row] = rows[row][: rng.randrange(6)]
        elif rows[row]:
            rows[row][rng.randrange(len(rows[row]))] = rng.choice(
                [*VALUES, "", "/dev/zero", "../x"]
            )
    data = bytearray("\n".join(",".join(r) for r in rows).encode())
    if rng.random() < 0.3:
        data[rng.randrange(len(data))] = rng.randrange(256)
    file = folder / rng.choice(
        ["m.csv", "m.parquet", "m.csv.gz"] if rng.random() < 0.2 else ["m.csv"]
    )
    file.write_bytes(data)
    return "table", ["data", "show", "dataset=csv", f"dataset.metadata={file}"], root / "t"


def image(rng: random.Random, root: Path) -> Case:
    """A folder of images, one of them cut, changed, empty, huge or something else."""
    folder = Path(tempfile.mkdtemp(dir=root))
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            (folder / split / name).mkdir(parents=True)
            for n in range(2):
                pixels = np.random.default_rng(n).integers(0, 255, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{n}.png")
    file = rng.choice(sorted(folder.rglob("*.png")))
    damage(rng, file)
    words = ["data", "show", "dataset=folder", f"dataset.root={folder}", "dataset.thorough=true"]
    return "image", words, root / "i"


def stored(rng: random.Random, root: Path) -> Case:
    """A run folder with one changed file, read by some verb."""
    outputs = Path(tempfile.mkdtemp(dir=root)) / "outputs"
    shutil.copytree(root / "whole", outputs)
    runs = sorted(p.parent for p in (outputs / "train").rglob("result.json"))
    run = rng.choice(runs)
    damage(rng, rng.choice(sorted(p for p in run.rglob("*") if p.is_file())))
    verbs = (
        ["evaluate", str(run)], ["table"], ["report", str(outputs / "train")],
        ["rerun", str(run), "dry_run=true"],
        ["diff", str(run), str(runs[0])], ["sweep", "status"],
        ["train", *tiny.SMALL, "dry_run=true"],
    )  # fmt: skip
    return "stored file", rng.choice(verbs), outputs


# --- damaged artifacts -------------------------------------------------------------------------


def damage(rng: random.Random, file: Path) -> str:
    """Damage a file in one of seven ways; the way."""
    data = bytearray(file.read_bytes())
    way = rng.choice(["cut", "flip", "empty", "gone", "swap", "text", "folder"])
    if way == "cut":
        file.write_bytes(data[: rng.randrange(len(data) or 1)])
    elif way == "flip" and data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        file.write_bytes(data)
    elif way == "swap" and len(data) > 8:
        half = len(data) // 2
        file.write_bytes(data[half:] + data[:half])
    elif way == "text":
        file.write_bytes(rng.choice([b"{}", b"null", b"[]", b'{"metrics": "x"}', b"\x00" * 64]))
    elif way == "gone":
        file.unlink()
    elif way == "folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(b"")
    return way


def damaged(rng: random.Random, root: Path, expected: dict[str, str]) -> tuple[str, str, tiny.Done]:
    """Damage a file of a finished run, and run the same command again."""
    outputs = Path(tempfile.mkdtemp(dir=root)) / "outputs"
    shutil.copytree(root / "whole", outputs)
    kinds: dict[str, list[Path]] = {}
    for path in sorted(p for p in outputs.rglob("*") if p.is_file()):
        top = path.relative_to(outputs).parts
        kinds.setdefault(f"{top[0]} {path.suffix or path.name}", []).append(path)
    kind = rng.choice(sorted(kinds))
    file = rng.choice(kinds[kind])
    name = file.relative_to(outputs)
    way = damage(rng, file)
    ended = tiny.forked(tiny.RUN, outputs, limit=LIMIT)
    outcome = ended.outcome
    if outcome == "ok":
        found = tiny.contents(outputs)
        own = re.sub("^run/[^/]+", "run", name.as_posix())
        left = own in expected and found.get(own) != expected[own]
        differs = tiny.difference(expected, {**found, own: expected[own]} if left else found)
        redone = "again" in ended.text or " run " in ended.text
        outcome = (
            "silent use"
            if differs
            else "not read"
            if left
            else "redone"
            if redone
            else "correct result"
        )
        ended.text = f"{differs}\n{ended.text}"
    shutil.rmtree(outputs.parent)
    return f"{kind}: {name} {way}", outcome, ended


if __name__ == "__main__":
    main()
