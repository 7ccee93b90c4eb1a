"""Malformed input and damaged artifacts, seeded and bounded: what becomes of each.

    python experiments/hardening/fuzz.py --folder DIR [--malformed 300] [--damaged 200] [--seed 0]

A library traceback, a hang or a silent use (other numbers, exit 0) is a fault; a clear
error, redone, a correct result and a damaged file that the command does not read are none. The
same command goes on where it was stopped, as after ``--minutes``; DIR keeps what was found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tiny
import yaml
from PIL import Image

LIMIT = 180.0  # seconds after which a command hangs
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
Found = tuple[str, str, tiny.Done]  # what it is, what became of it, how the command ended
# What is asked of damaged outputs: the same again, and what begins in the middle of them.
NEXT = {
    "the same": tiny.RUN,
    "another score": (*tiny.RUN, "score.seed=1"),
    "fewer images": (*tiny.RUN, "stage.generate.max_per_class=5"),
    "longer": (*tiny.RUN, "fit.steps=6"),
    "its numbers": ("evaluate",),
}


def main() -> None:
    """Work off the cases that are left, print the table of all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--malformed", type=int, default=300)
    parser.add_argument("--damaged", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    root = given.folder.resolve()
    root.mkdir(parents=True, exist_ok=True)
    tiny.warm(root / "whole")
    os.chdir(root)  # some cases name folders that are then made
    journal = tiny.Journal(root / "outcomes.jsonl", given.minutes)
    cases = [f"malformed {n}" for n in range(given.malformed)]
    cases += [f"damaged {n}" for n in range(given.damaged)]
    for case in journal.left(cases):
        rng = random.Random(f"{given.seed} {case}")
        kind, number = case.split()
        with tempfile.TemporaryDirectory(dir=root) as folder:
            made = malformed if kind == "malformed" else damaged
            what, outcome, ended = made(rng, int(number), Path(folder), root / "whole")
        journal.add(
            case, what=what, outcome=outcome, seconds=ended.seconds, text=ended.text[-2000:]
        )
        if outcome in ("library traceback", "hang", "silent use", "killed"):
            print(f"{outcome}: {case}: {what}\n{ended.text[-1500:]}\n", flush=True)
    counts: dict[str, Counter[str]] = {}
    for line in journal.lines:
        counts.setdefault(line["what"].partition(":")[0], Counter())[line["outcome"]] += 1
    print(f"{tiny.machine()}, seed {given.seed}, {len(journal.lines)} of {len(cases)} cases\n")
    print(as_table(counts))


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


def malformed(rng: random.Random, number: int, root: Path, whole: Path) -> Found:
    """Make a case of one of the four kinds, and run it."""
    makers: list[Callable[[random.Random, Path, Path], Case]]
    makers = [configuration, table, image, stored]
    what, words, outputs = makers[number % len(makers)](rng, root, whole)
    ended = tiny.forked(words, outputs, limit=LIMIT)
    return f"{what}: {' '.join(words)[-300:]}", ended.outcome, ended


def configuration(rng: random.Random, root: Path, whole: Path) -> Case:
    """A typed value that may be anything."""
    word = f"{rng.choice(['', '', '', '+', '++', '~'])}{rng.choice(KEYS)}={rng.choice(VALUES)}"
    verb = rng.choice(["train", "run"])
    return "configuration", [verb, *tiny.SMALL, word, "dry_run=true"], root / "c"


def table(rng: random.Random, root: Path, whole: Path) -> Case:
    """A CSV file with a few mutations."""
    folder = root / "data"
    folder.mkdir()
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


def image(rng: random.Random, root: Path, whole: Path) -> Case:
    """A folder of images, one of them cut, changed, empty, huge or something else."""
    folder = root / "data"
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


def stored(rng: random.Random, root: Path, whole: Path) -> Case:
    """A run folder with one changed file, read by some verb."""
    outputs = root / "outputs"
    shutil.copytree(whole, outputs)
    trained = sorted(p.parent for p in (outputs / "train").rglob("result.json"))
    (reported,) = (outputs / "run").iterdir()
    run = rng.choice([*trained, reported])
    kinds = kinds_of(run)
    damage(rng, rng.choice(kinds[rng.choice(sorted(kinds))]))
    verbs = [["diff", str(run), str(trained[0])], ["table"]]
    verbs += [["report", str(run if run == reported else outputs / "train")]] * 3
    if run != reported:
        verbs += [["evaluate", str(run)], ["rerun", str(run), "dry_run=true"], ["sweep", "status"]]
        verbs += [["train", *tiny.SMALL, "dry_run=true"]]
    return "stored file", rng.choice(verbs), outputs


def kinds_of(folder: Path) -> dict[str, list[Path]]:
    """Files below a folder by where they are and what they are."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"):
        above = path.relative_to(folder).parts[:-1][:2]
        what = path.name if path.suffix in (".json", ".yaml", "") else path.suffix
        kinds.setdefault(" ".join((*above, what)), []).append(path)
    return kinds


# --- damaged artifacts -------------------------------------------------------------------------


def damage(rng: random.Random, file: Path) -> str:
    """Damage a file in one of eight ways; the way."""
    data = bytearray(file.read_bytes())
    texts = (".json", ".jsonl", ".yaml")
    ways = ["cut", "flip", "empty", "gone", "swap", "text", "folder"]
    way = rng.choice([*ways, *["value"] * 7 * (file.suffix in texts)])
    if way == "value":
        file.write_bytes(_another_value(rng, bytes(data), file.suffix != ".jsonl"))
    elif way == "cut":
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


def _another_value(rng: random.Random, data: bytes, whole: bool) -> bytes:
    """A well-formed file in which one value has gone or is another; ``whole``: not one a line."""
    lines = data.splitlines() or [b"{}"]
    number = 0 if whole else rng.randrange(len(lines))
    content = yaml.safe_load(data if whole else lines[number]) or {}
    places: list[tuple[Any, Any]] = []
    waiting = [content]
    while waiting:
        node = waiting.pop()
        keys = node if isinstance(node, dict) else range(len(node))
        places += [(node, key) for key in keys]
        waiting += [node[key] for key in keys if isinstance(node[key], dict | list)]
    if places:
        node, key = rng.choice(places)
        if rng.random() < 0.4:
            del node[key]
        else:
            node[key] = rng.choice([None, -1, 1e30, "x", "../../x", "/etc/passwd", [], {}, [{}]])
    lines[number : len(lines) if whole else number + 1] = [json.dumps(content).encode()]
    return b"\n".join(lines) + b"\n"


def damaged(rng: random.Random, number: int, root: Path, whole: Path) -> Found:
    """Damage a file of a finished run, and ask for the same again or for something more."""
    outputs = root / "outputs"
    shutil.copytree(whole, outputs)
    kinds = kinds_of(outputs)
    file = rng.choice(kinds[sorted(kinds)[number % len(kinds)]])
    name = file.relative_to(outputs)
    asked = rng.choice(sorted(NEXT))
    expected = undisturbed(asked, root, whole)
    way = damage(rng, file)
    ended = tiny.forked(words_of(asked, outputs), outputs, limit=LIMIT)
    outcome = ended.outcome
    if outcome == "ok":
        found = tiny.contents(outputs)
        own = re.sub("^run/[^/]+", "run", name.as_posix())
        left = own in expected and found.get(own) != expected[own]
        differs = tiny.difference(expected, {**found, own: expected[own]} if left else found)
        redone = "damaged" in ended.text or "made again" in ended.text
        kept = "not read" if left else "redone" if redone else "correct result"
        outcome = "silent use" if differs else kept
        ended.text = f"{ended.text}\n{differs}"
    return f"damaged {name.parts[0]}: {name} {way}, then {asked}", outcome, ended


def words_of(asked: str, outputs: Path) -> list[str]:
    """The command; what is evaluated is the baseline of these outputs."""
    (run,) = outputs.glob("train/*/erm/none/*/")
    return [*NEXT[asked], str(run)] if asked == "its numbers" else list(NEXT[asked])


def undisturbed(asked: str, root: Path, whole: Path) -> dict[str, str]:
    """What there is after the command where nothing is damaged; worked out once."""
    kept = whole.with_name(f"expected {asked}.json")
    if not kept.is_file():
        outputs = root / "undisturbed"
        shutil.copytree(whole, outputs)
        ended = tiny.forked(words_of(asked, outputs), outputs)
        assert ended.outcome == "ok", ended.text
        kept.write_text(json.dumps(tiny.contents(outputs)))
    return dict(json.loads(kept.read_text()))


if __name__ == "__main__":
    main()
