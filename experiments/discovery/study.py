"""The five scores side by side: what does each rank first, and is it the true shortcut?

    python experiments/discovery/study.py [KEY=VALUE ...]

runs discovery on every dataset below with seeds 0, 1, 2, and on a control classifier trained on
balanced data of the same kind, and prints the tables of the README. Whatever is finished already is
not done again. ``only=mini_waterbirds`` takes one dataset, ``seeds=0`` one seed,
``waterpets=DIR`` adds the photographs, ``clip=DIR`` the b2t score; other words go to every run.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from aspire.cli._app import compose_config
from aspire.cli._bench import Bench
from aspire.discovery.rank import phrases_of
from aspire.discovery.truth import agreement
from aspire.pipeline.parts import collapsed_by

MINIATURES = ("mini_waterbirds", "mini_celeba", "mini_spuco_dogs", "mini_hard_imagenet")
SCORES = ("effect", "wilson", "rate", "official")
BALANCED = "dataset.correlation=0.501"
WATERPETS = (
    "dataset=waterbirds", "model=efficientnet_lite0", "dataset.class_names=[cat,dog]",
    "dataset.class_words=[[cat],[dog,bulldog]]", "fit.steps=120", "fit.evaluations=4",
)  # fmt: skip
OWN = ("only", "seeds", "waterpets", "clip")


def main() -> None:
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    words = [f"{k}={v}" for k, v in given.items() if k not in OWN]
    seeds = [int(s) for s in given.get("seeds", "0,1,2").split(",")]
    scores = [[f"score={s}"] for s in SCORES]
    if "clip" in given:
        scores.append(["score=b2t", f"score.model={given['clip']}"])
    sets = {name: [f"dataset={name}", "hparams=mini"] for name in MINIATURES}
    if "waterpets" in given:
        sets["waterpets"] = [*WATERPETS, f"dataset.root={given['waterpets']}"]
    if "only" in given:
        sets = {k: v for k, v in sets.items() if k in given["only"].split(",")}
    names = [score[0].split("=")[1] for score in scores]
    print(f"| dataset | class | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")
    for name, choice in sets.items():
        cells: dict[str, dict[str, list[First]]] = defaultdict(lambda: defaultdict(list))
        for seed in seeds:
            for label, score in zip(names, scores, strict=True):
                for first in firsts([*choice, *words, f"seed={seed}", *score]):
                    cells[first.class_name][label].append(first)
        for class_name, of in cells.items():
            row = (" ".join(f.hit for f in of[n]) + f", {of[n][0].phrase}" for n in names)
            print(f"| {name} | {class_name} | {' | '.join(row)} |", flush=True)
        hits = [[f.hit for of in cells.values() for f in of[n] if f.hit != "-"] for n in names]
        row = (f"**{h.count('1')} of {len(h)}**" for h in hits)
        print(f"| {name} | all whose shortcut is known | {' | '.join(row)} |", flush=True)
    print("\n| control | seed | tested | significant | share | what |")
    print("|---|---|---|---|---|---|")
    for name, choice in sets.items():
        if name not in MINIATURES:
            continue  # photographs cannot be balanced
        for seed in seeds:
            row = significant([*choice, *words, f"seed={seed}", "score=effect", BALANCED])
            print(f"| {name}, balanced | {seed} | {' | '.join(row)} |", flush=True)


def opened(words: list[str]) -> Bench:
    """The bench of ``aspire discover`` with these words."""
    words = [*words, "logger=none"]
    cfg, _ = compose_config("discover", words)
    return Bench("discover", cfg, words)


@dataclass(frozen=True)
class First:
    """What stands first in the ranking of a class.

    Args:
        class_name: of the class.
        phrase: the feature, or "-" where none was ranked.
        hit: "1" where it names the true shortcut, "0" where not, "-" where none is known.
    """

    class_name: str
    phrase: str
    hit: str


def firsts(words: list[str]) -> Iterator[First]:
    """The first feature of every class."""
    bench = opened(words)
    pipeline = bench.pipeline
    found = pipeline.discover(bench.classifier(int(bench.cfg.seed))).features.records
    name = collapsed_by(pipeline.phrase_groups)
    phrases = {
        e.img_id: frozenset(name[p] for _, p in phrases_of(e)) for e in pipeline.extractions.records
    }
    known = {a.y: a for a in agreement(bench.dataset, phrases, found)}
    for y, class_name in enumerate(bench.dataset.class_names):
        first = next((f.phrase for f in found if f.y == y), "-")
        yield First(class_name, first, f"{known[y].precision[1]:.0f}" if y in known else "-")


def significant(words: list[str]) -> tuple[str, ...]:
    """Tested features, significant ones, their share, and their names."""
    bench = opened(words)
    found = bench.pipeline.discover(bench.classifier(int(bench.cfg.seed))).features.records
    tested = [f for f in found if f.q_value is not None]
    called = [f for f in tested if f.spurious]
    names = ", ".join(f"{bench.dataset.class_names[f.y]}: {f.phrase}" for f in called)
    share = f"{len(called) / max(1, len(tested)):.1%}"
    return str(len(tested)), str(len(called)), share, names or "-"


if __name__ == "__main__":
    main()
