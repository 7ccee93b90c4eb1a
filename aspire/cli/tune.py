"""``aspire tune``: the settings with which a method does best on the val split."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from aspire.cli import _sweep
from aspire.cli._app import plain, task_overrides
from aspire.cli._show import show_groups
from aspire.cli._tuned import is_file
from aspire.cli._words import quoted
from aspire.cli.jobs import Job, training_identity
from aspire.cli.run import NON_IDENTITY_KEYS
from aspire.console import console
from aspire.errors import AspireError, ConfigError, DamagedError, ServiceError, StorageError
from aspire.experiment import Shared
from aspire.identity import digest_of
from aspire.runs.claims import RunningError, claim
from aspire.runs.policy import run_policy
from aspire.session import session
from aspire.stored.tuned import Search, TunedValues, write_values
from aspire.text import file_name
from aspire.tuning.space import dimensions
from aspire.tuning.study import Study, Trial

VERSION = 1  # rises when equal settings are searched in another way
# What a choice of decides over, beside values; a values file holds those that were typed.
CHOSEN = ("model", "optimizer", "scheduler")
TUNED = ("baseline", "optimizer", "fit")
# Not a matter of the values that were tried: the search stops, and goes on later.
OUTSIDE = (StorageError, ServiceError, DamagedError, RunningError)


@dataclass
class _Failures:
    """How many trials failed in this command."""

    number: int = 0


def job(cfg: DictConfig) -> None:
    """Trial by trial; then the values file of the best."""
    _sweep.refuse_ranks(cfg)
    search = _Search(cfg)
    show_groups(search.work.experiment.dataset)
    about = {"command": search.command}
    try:
        with (
            claim(search.folder, about, float(cfg.sweep.stale_after)),
            run_policy(busy="wait", stale_after=float(cfg.sweep.stale_after)),
        ):
            found = search.run()
    except RunningError as error:
        console.show("  {} It is left alone.", error)
        return
    failed = [t for t in found if t.score is None]
    session().of(_Failures).number += len(failed)
    path = search.write(found)
    console.show("\n[bold]values[/bold]  {}", path)
    for key, value in search.best(found).values.items():
        console.show("        {}: {}", key, json.dumps(value))
    if failed:
        console.show("  [yellow]{} of {} trials failed[/yellow]", len(failed), len(found))
    words = [w for w in search.words if not w.startswith(("baseline=", "fit.", "optimizer."))]
    again = shlex.join(["aspire", "train", "-m", *words, f"hparams={path}", "seed=0,1,2"])
    console.show("[bold]next[/bold]    {}", again)


def print_summary() -> int | None:
    """The exit code: that of a sweep where trials have failed."""
    return _sweep.SOME_FAILED if session().of(_Failures).number else None


class _Search:
    """A study and the trainings that are its trials."""

    def __init__(self, cfg: DictConfig) -> None:
        choices = HydraConfig.get().runtime.choices
        self.baseline, self.preset = str(choices["baseline"]), str(choices["hparams"])
        if is_file(self.preset):
            raise ConfigError(
                f"hparams={self.preset}: aspire tune starts from a preset, unified, paper or mini."
            )
        self.seeds = [int(s) for s in cfg.seeds]
        if len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"seeds={self.seeds}: expected distinct whole numbers, e.g. [100].")
        if cfg.fit.selection.startswith("oracle"):
            raise ConfigError(
                f"fit.selection={cfg.fit.selection} looks at the test split, with which nothing "
                "may be tuned. Take val_worst_group."
            )
        self.cfg = cfg
        self.command = shlex.join(["aspire", "tune", *task_overrides()])
        self.n_trials = int(cfg.n_trials)
        self.shared = Shared()
        self.work = Job("tune", cfg, shared=self.shared)
        # What is typed is as it is in every trial.
        self.words = [w for w in self.work.overrides if not w.startswith(("hparams=", "seed="))]
        typed = {w.lstrip("+").partition("=")[0] for w in self.words}
        self.choices = {k: str(choices[k]) for k in CHOSEN if k in typed}
        now = _values(cfg)
        self.fixed = {k: now[k] for k in now if k in typed}
        self.space = dimensions(plain(cfg.space), now, typed)
        data = self.work.experiment.dataset_digest
        same = [w for w in self.words if w.partition("=")[0].split(".")[0] not in NON_IDENTITY_KEYS]
        common: dict[str, Any] = {
            "version": VERSION,
            "data": data,
            "preset": self.preset,
            "seeds": self.seeds,
            "seed": int(cfg.seed),
            "sampler": str(cfg.sampler),
            "n_trials": self.n_trials,
        }
        shared = sorted(w for w in same if not w.startswith("baseline="))
        key = digest_of({**common, "words": shared})
        dataset = file_name(self.work.experiment.dataset.name)
        self.values_file = self.work.outputs / "tune" / dataset / key[:8] / f"{self.baseline}.yaml"
        self.folder = self.values_file.with_suffix("")
        digest = digest_of(
            {
                **common,
                "identity": training_identity(cfg),
                "words": sorted(same),
                "space": {k: repr(d) for k, d in self.space.items()},
            }
        )
        self.study = Study(
            self.folder / "journal.log", digest, self.space, now, cfg.sampler, int(cfg.seed)
        )
        self.metric = ""

    def run(self) -> list[Trial]:
        """All trials, those that are finished already and the others."""
        done = self.study.trials()
        if done:
            console.show(
                "  {} of {} trials are finished", min(len(done), self.n_trials), self.n_trials
            )
        while len(done) < self.n_trials:
            number, values = len(done) + 1, self.study.suggest()
            said = ", ".join(f"{k} {json.dumps(v)}" for k, v in values.items())
            console.show("[bold]trial {}/{}[/bold]  {}", number, self.n_trials, said)
            trial = self._trial(number, values)
            done = [*done, trial]
            if trial.score is None:
                console.show("  [yellow]failed: {}[/yellow]", trial.reason)
                continue
            best = self.best(done)
            assert best.score is not None
            console.show(
                "  val {} {:.1f}, best so far {:.1f} (trial {})",
                self.metric,
                100 * trial.score[0],
                100 * best.score[0],
                done.index(best) + 1,
            )
        return done

    def _trial(self, number: int, values: Mapping[str, Any]) -> Trial:
        """Train with these values and write down how it went.

        Raises:
            AspireError: where it is not for the values that it failed.
        """
        path = self.folder / "trials" / f"{number}.yaml"
        write_values(path, self._file(values), f"trial {number} of {self.command}")
        words = [*self.words, f"hparams={quoted(str(path))}"]
        try:
            runs = [self._trained(words, seed) for seed in self.seeds]
        except OUTSIDE:
            raise
        except AspireError as error:
            if number == 1:  # the preset's own values: others would fail as well
                raise
            trial = Trial(values, None, str(error))
            self.study.add(trial)
            return trial
        found = [r.result["metrics"]["val"] for r in runs]
        known = all(m["worst_group_acc"] is not None for m in found)
        self.metric = "worst_group_acc" if known else "worst_class_acc"
        ties = "acc_balanced" if known else "acc"
        trial = Trial(
            values, tuple(sum(m[k] for m in found) / len(found) for k in (self.metric, ties))
        )
        outputs = self.work.outputs
        self.study.add(trial, runs=[r.folder.relative_to(outputs).as_posix() for r in runs])
        return trial

    def _trained(self, words: Sequence[str], seed: int) -> Any:
        work = Job("tune", self.cfg, words, self.shared)
        command = _sweep.command_of([*words, f"seed={seed}"])
        with run_policy(command=command):
            return work.experiment.train(work.recipe(seed), said="val")

    def best(self, found: Sequence[Trial]) -> Trial:
        """The one with the best score, of several the first.

        Raises:
            ConfigError: when all have failed.
        """
        scored = [t for t in found if t.score is not None]
        if not scored:
            raise ConfigError(f"All {len(found)} trials failed; the last: {found[-1].reason}")
        return max(scored, key=lambda t: t.score or ())

    def write(self, found: Sequence[Trial]) -> Path:
        """The values file."""
        best = self.best(found)
        assert best.score is not None
        cfg = self.cfg
        tuned = Search(
            dataset=self.work.experiment.dataset.name,
            seeds=self.seeds,
            n_trials=len(found),
            sampler=str(cfg.sampler),
            steps=int(cfg.fit.steps),
            selection=str(cfg.fit.selection),
            metric=self.metric,
            score=round(best.score[0], 6),
            trial=list(found).index(best) + 1,
            command=self.command,
        )
        values = self._file(best.values)
        values.tuned = tuned
        write_values(self.values_file, values, "aspire train hparams=THIS FILE; see docs/tuning.md")
        return self.values_file

    def _file(self, values: Mapping[str, Any]) -> TunedValues:
        return TunedValues(
            baseline=self.baseline,
            preset=self.preset,
            choices=self.choices,
            values={**self.fixed, **values},
        )


def _values(cfg: DictConfig) -> dict[str, Any]:
    """Dotted key -> value of everything that may be tuned."""
    found: dict[str, Any] = {}

    def walk(node: Any, key: str) -> None:
        if isinstance(node, Mapping):
            for name, value in node.items():
                walk(value, f"{key}.{name}")
        else:
            found[key] = node

    for group in TUNED:
        walk(OmegaConf.to_container(cfg[group], resolve=True), group)
    return found
