"""Phrases of extractors against phrases labelled by hand, with the time they take.

    python experiments/extraction/score.py
    python experiments/extraction/score.py --first 40 extractor=gguf extractor.model=FILE
    python experiments/extraction/score.py --wrong      # disagreements, caption by caption
    python experiments/extraction/score.py --all        # every caption of the file: counts, time

The words after the options are those of `aspire run`; several extractors are several runs of this
script. Prints the rows of a markdown table. Captions are read from
../shared/data/waterbirds_blip_captions.csv or below $ASPIRE_SHARED_DATA.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aspire.cli.jobs import Job
from aspire.language.agreement import (
    Label,
    background_agreement,
    distinct,
    foreground_agreement,
    read_labels,
)
from aspire.language.base import Extractor, Phrases, Unreadable

ROOT = Path(__file__).parents[2]
LABELS = ROOT / "tests" / "language" / "labels"
SHARED = Path(os.environ.get("ASPIRE_SHARED_DATA") or ROOT.parent / "shared" / "data")
TUNED_ON = 100  # rules were changed looking at these, the first of the draw
BIRD = (LABELS / "class_words.txt").read_text(encoding="utf-8").split()

Result = Phrases | Unreadable


def read_captions() -> list[str]:
    with (SHARED / "waterbirds_blip_captions.csv").open(newline="", encoding="utf-8") as file:
        return [row["captions"] for row in csv.DictReader(file)]


def extract(extractor: Extractor, captions: Sequence[str]) -> tuple[list[Result], str]:
    """Results in order, and the time per 1,000 distinct captions; loading does not count."""
    different = [captions[i] for i in distinct(captions)]
    list(extractor.extract(["a small fish in a glass"], [BIRD]))
    start = time.perf_counter(), time.process_time()
    results = list(extractor.extract(different, [BIRD] * len(different)))
    end = time.perf_counter(), time.process_time()
    wall, cpu = ((b - a) * 1000 / len(different) for a, b in zip(start, end, strict=True))
    by_text = {_key(text): result for text, result in zip(different, results, strict=True)}
    took = f"{wall:.1f} s ({cpu:.1f} s of processor time) per 1,000 distinct captions"
    return [by_text[_key(text)] for text in captions], took


def _key(caption: str) -> str:
    return " ".join(caption.lower().split())


def row(part: str, captions: list[str], found: list[Result], labels: list[Label]) -> str:
    cells = [part, str(len(captions))]
    for measure in (background_agreement, foreground_agreement):
        strict, loose = (measure(captions, found, labels, heads) for heads in (True, False))
        values = (strict.precision, strict.recall, strict.f1, loose.f1)
        cells += [f"{value:.3f}" for value in values]
    return "| " + " | ".join(cells) + " |"


def report(captions: list[str], found: list[Result], labels: list[Label], took: str) -> None:
    everything = range(len(captions))
    unlike = distinct(captions)
    parts = {
        "all": everything,
        "distinct": unlike,
        "tuned on": everything[:TUNED_ON],
        "held out": everything[TUNED_ON:],
        "held out, distinct, unseen": [i for i in unlike if i >= TUNED_ON],
    }
    print(
        "| captions | n | bg P | bg R | **bg F1** | overlap | fg P | fg R | **fg F1** | overlap |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, chosen in parts.items():
        if chosen:
            picked = [[items[i] for i in chosen] for items in (captions, found, labels)]
            print(row(name, *picked))
    unreadable = sum(isinstance(result, Unreadable) for result in found)
    print(f"\n{took}; unreadable answers: {unreadable}")


def show_wrong(captions: list[str], found: list[Result], labels: list[Label]) -> None:
    for i in distinct(captions):
        one = ([captions[i]], [found[i]], [labels[i]])
        scores = background_agreement(*one).f1, foreground_agreement(*one).f1
        if min(scores) < 1:
            words = captions[i].split()
            gold = [
                " ".join(words[span.start : span.end])
                for span in (labels[i].background, *labels[i].foreground)
                if span
            ]
            print(f"{i:3d} {captions[i]}\n    labelled {gold}, found {found[i]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, help="only the first N labelled captions")
    parser.add_argument("--wrong", action="store_true", help="list disagreements of these captions")
    parser.add_argument("--all", action="store_true", help="every caption of the file, unlabelled")
    options, overrides = parser.parse_known_args()
    extractor = Job.of("discover", overrides).part("extractor")
    captions = read_captions()
    if options.all:
        found, took = extract(extractor, captions)
        outcomes = Counter(_outcome(result) for result in found)
        print(f"{len(captions)} captions: {dict(outcomes)}; {took}")
        return
    labels = read_labels(LABELS / "waterbirds_blip.csv")[: options.first]
    chosen = [captions[label.row] for label in labels]
    found, took = extract(extractor, chosen)
    report(chosen, found, labels, took)
    if options.wrong:
        show_wrong(chosen, found, labels)


def _outcome(result: Result) -> str:
    if isinstance(result, Unreadable):
        return result.reason
    return "background" if result.background else "no_background"


if __name__ == "__main__":
    main()
