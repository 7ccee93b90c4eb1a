"""The five scores side by side: what does each rank first, and is it the true shortcut?

    python -m experiments.discovery.study [KEY=VALUE ...]

runs discovery with seeds 0, 1, 2 on every dataset below, on control classifiers trained on balanced
data of the same kind, and on photographs with few scenes, and prints the tables of the README.
Whatever is finished already is not done again. ``only=mini_waterbirds`` takes one dataset,
``seeds=0`` one seed, ``waterpets=DIR`` adds the photographs and ``houses=DIR`` further donors to
them, ``clip=DIR`` the b2t score; other words go to every run.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aspire.cli.jobs import Job
from aspire.discovery.ground_truth import agreement
from aspire.discovery.rank import phrases_of
from aspire.pipeline.parts import collapsed_by
from aspire.records import SpuriousFeature
from experiments.discovery.few_scenes import coverage, donor_means, rebuild

MINIATURES = ("mini_waterbirds", "mini_celeba", "mini_spuco_dogs", "mini_hard_imagenet")
SCORES = ("effect", "wilson", "rate", "official")
CONTROLS = MINIATURES[:3]  # a cue of mini_hard_imagenet belongs to one class alone
FEW = (20, 5)  # photographs a place
SHOWN = 8  # features of a class
BALANCED = "dataset.correlation=0.501"
WATERPETS = (
    "dataset=waterbirds", "model=efficientnet_lite0", "dataset.class_names=[cat,dog]",
    "dataset.class_words=[[cat],[dog,bulldog]]", "fit.steps=120", "fit.evaluations=4",
)  # fmt: skip
OWN = ("only", "seeds", "waterpets", "houses", "clip")


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
        if name not in CONTROLS:
            continue
        for seed in seeds:
            row = significant([*choice, *words, f"seed={seed}", "score=effect", BALANCED])
            print(f"| {name}, balanced | {seed} | {' | '.join(row)} |", flush=True)
    if "waterpets" in sets:
        few_scenes(Path(given["waterpets"]), Path(given.get("houses", "none")), words)


def opened(words: list[str]) -> Job:
    """``aspire discover`` with these words."""
    return Job.of("discover", [*words, "logger=none"])


def found_by(job: Job) -> tuple[SpuriousFeature, ...]:
    """The ranked features of all classes."""
    classifier = job.experiment.classifier(int(job.cfg.seed))
    return job.experiment.pipeline.discover(classifier).features.records


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
    job = opened(words)
    experiment, found = job.experiment, found_by(job)
    pipeline = experiment.pipeline
    name = collapsed_by(pipeline.phrase_groups)
    phrases = {
        e.img_id: frozenset(name[p] for _, p in phrases_of(e)) for e in pipeline.extractions.records
    }
    known = {a.y: a for a in agreement(experiment.dataset, phrases, found)}
    for y, class_name in enumerate(experiment.dataset.class_names):
        first = next((f.phrase for f in found if f.y == y), "-")
        yield First(class_name, first, f"{known[y].precision[1]:.0f}" if y in known else "-")


def significant(words: list[str]) -> tuple[str, ...]:
    """Tested features, significant ones, their share, and their names."""
    job = opened(words)
    experiment, found = job.experiment, found_by(job)
    tested = [f for f in found if f.q_value is not None]
    called = [f for f in tested if f.spurious]
    names = ", ".join(f"{experiment.dataset.class_names[f.y]}: {f.phrase}" for f in called)
    share = f"{len(called) / max(1, len(tested)):.1%}"
    return str(len(tested)), str(len(called)), share, names or "-"


def few_scenes(source: Path, houses: Path, words: list[str]) -> None:
    """What is found where a place has few photographs, and what few donors say of many."""
    jobs = {}
    for places in FEW:
        folder = opened([]).outputs / f"few_scenes/{places}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        rebuild(source, folder, places)
        jobs[places] = opened([*WATERPETS, f"dataset.root={folder}", *words, "seed=0"])
    head("photographs a place", "class", "feature", "shortcut", "edits", "donors", "net drop",
         "at least", "p", "q")  # fmt: skip
    for places, job in jobs.items():
        for f in found_by(job):
            if f.rank <= SHOWN:
                judged = "not judged" if f.q_value is None else "yes" if f.spurious else "no"
                numbers = [f.mean_drop - (f.control_drop or 0), f.score, f.p_value, f.q_value]
                cells = ["-" if n is None else f"{n:.2g}" for n in numbers]
                name = job.experiment.dataset.class_names[f.y]
                line(places, name, f.phrase, judged, f.support, f.donors or "-", *cells)
    head("photographs a place", "moved", "donors", "net drop", "spread over donors", "drawn",
         "covered, of 100", "of 10,000", "lower end above it", "width")  # fmt: skip
    for places, job in jobs.items():
        for y, moved, most in ((1, "dogs, water to land", 50), (0, "cats, land to water", 0)):
            found = job.experiment
            means = donor_means(found.classifier(0), found.dataset.root, source, houses, y, most)
            for drawn in (3, 5, 10):
                hundred, *_ = coverage(means, drawn, 100)
                share, above, width = coverage(means, drawn, 10_000)
                line(
                    places, moved, len(means), f"{means.mean():.3f}", f"{means.std(ddof=1):.3f}",
                    drawn, f"{100 * hundred:.0f}", f"{share:.1%}", f"{above:.1%}", f"{width:.2f}",
                )  # fmt: skip


def head(*cells: str) -> None:
    """The head of a table."""
    print(f"\n| {' | '.join(cells)} |\n|{'---|' * len(cells)}")


def line(*cells: object) -> None:
    """A line of one."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
