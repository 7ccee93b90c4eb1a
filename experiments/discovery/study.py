"""The five scores side by side: what does each rank first, and is it the true shortcut?

    python experiments/discovery/study.py [KEY=VALUE ...]

runs discovery on every dataset below with seeds 0, 1, 2, and on a control classifier trained on
balanced data of the same kind, and prints the tables of the README. Whatever is finished already is
not done again. ``only=mini_waterbirds`` takes one dataset, ``seeds=0`` one seed,
``waterpets=DIR`` adds the photographs, ``clip=DIR`` the b2t score; other words go to every run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

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
    print("| dataset | seed | score | class | first feature | spurious | precision@1 |")
    print("|---|---|---|---|---|---|---|")
    for name, choice in sets.items():
        for seed in seeds:
            for score in scores:
                for row in first_features([*choice, *words, f"seed={seed}", *score]):
                    label = score[0].split("=")[1]
                    print(f"| {name} | {seed} | {label} | {' | '.join(row)} |", flush=True)
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


def first_features(words: list[str]) -> Iterator[tuple[str, ...]]:
    """Per class: its name, the first feature, how many are spurious, and precision@1."""
    bench = opened(words)
    pipeline = bench.pipeline
    found = pipeline.discover(bench.classifier(int(bench.cfg.seed))).features.records
    name = collapsed_by(pipeline.phrase_groups)
    phrases = {
        e.img_id: frozenset(name[p] for _, p in phrases_of(e)) for e in pipeline.extractions.records
    }
    known = {a.y: a for a in agreement(bench.dataset, phrases, found)}
    for y, class_name in enumerate(bench.dataset.class_names):
        rows = [f for f in found if f.y == y]
        first = f"{rows[0].phrase} ({rows[0].score:.2f})" if rows else "-"
        hit = f"{known[y].precision[1]:.0f}" if y in known else "-"
        yield class_name, first, str(sum(f.spurious for f in rows)), hit


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
