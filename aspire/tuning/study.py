"""A study on Optuna that can be killed at any moment and goes on as if it had not been.

What is tried next follows from the finished trials and from a seed of its own number, and a trial
is written down when it is over, in one line. So the trial that a kill cut off is asked for again
with equal values, and whoever trains it finds its checkpoints.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from aspire.errors import ConfigError, DamagedError
from aspire.rng import seed_for
from aspire.stored.files import own_file, write_atomic
from aspire.stored.notes import note
from aspire.tuning.space import Choices, Dimension

NAME = "aspire"  # of the study in its journal
FIRST = 5  # trials of TPE that are drawn at random, the values of today among them


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    Args:
        values: dotted key -> what was tried.
        score: what is to be large; compared from the left. None for a failed one.
        reason: why it failed, or "".
    """

    values: Mapping[str, Any]
    score: tuple[float, ...] | None
    reason: str = ""


class Study:
    """The trials in a journal of Optuna's.

    Args:
        journal: file; made when missing. Only one process may use it at a time.
        digest: of what the trials depend on besides their values.
        space: dotted key -> what is tried.
        now: dotted key -> value of today, the first trial.
        sampler: Optuna's tree-structured Parzen estimator, or at random.
        seed: of the sampler.
    """

    def __init__(
        self,
        journal: Path,
        digest: str,
        space: Mapping[str, Dimension],
        now: Mapping[str, Any],
        sampler: Literal["tpe", "random"],
        seed: int,
    ) -> None:
        self.journal = Path(journal)
        self.digest = digest
        self.space = dict(space)
        self.now = {key: now[key] for key in space}
        self.sampler = sampler
        self.seed = seed

    def trials(self) -> list[Trial]:
        """The finished ones, in order."""
        return [
            Trial(
                {k: self._value(k, v) for k, v in t.params.items()},
                None if t.value is None else (t.value, *t.user_attrs.get("ties", ())),
                str(t.user_attrs.get("reason", "")),
            )
            for t in self._stored.get_trials(deepcopy=False)
        ]

    def suggest(self) -> dict[str, Any]:
        """What is to be tried next; the same until it is added."""
        import optuna

        done = self._stored.get_trials(deepcopy=False)
        if not done:
            return dict(self.now)
        seed = seed_for(self.seed, "trial", len(done)) % 2**32
        sampler: Any = (
            optuna.samplers.RandomSampler(seed)
            if self.sampler == "random"
            else optuna.samplers.TPESampler(n_startup_trials=FIRST, seed=seed)
        )
        asked = optuna.create_study(direction="maximize", sampler=sampler)
        asked.add_trials(done)
        params = asked.ask(self._distributions).params
        return {
            key: json.loads(params[key]) if isinstance(d, Choices) else d.rounded(params[key])
            for key, d in self.space.items()
        }

    def add(self, trial: Trial, **about: Any) -> None:
        """Write down a finished trial.

        Args:
            about: plain values that are kept with it.
        """
        import optuna

        params = {
            k: json.dumps(v) if isinstance(self.space[k], Choices) else v
            for k, v in trial.values.items()
        }
        score = trial.score or (None,)
        attributes = {"ties": list(score[1:])} if trial.score else {"reason": trial.reason}
        state = optuna.trial.TrialState
        self._stored.add_trial(
            optuna.create_trial(
                state=state.COMPLETE if trial.score else state.FAIL,
                value=score[0],
                params=params,
                distributions=self._distributions,
                user_attrs={**about, **attributes},
            )
        )

    @cached_property
    def _distributions(self) -> dict[str, Any]:
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        found: dict[str, Any] = {}
        for key, dimension in self.space.items():
            if isinstance(dimension, Choices):
                found[key] = CategoricalDistribution(dimension.texts)
            elif dimension.whole:
                low, high = int(dimension.low), int(dimension.high)
                found[key] = IntDistribution(low, high, log=dimension.log)
            else:
                found[key] = FloatDistribution(dimension.low, dimension.high, log=dimension.log)
        return found

    def _value(self, key: str, param: Any) -> Any:
        return json.loads(param) if isinstance(self.space[key], Choices) else param

    @cached_property
    def _stored(self) -> Any:
        """The study in the journal.

        Raises:
            DamagedError: for a file that is no journal.
            ConfigError: for the journal of another study.
        """
        import optuna

        optuna.logging.set_verbosity(logging.WARNING)
        self._mend()
        again = "Remove it and type the same again: runs that are finished are found."
        try:
            backend = optuna.storages.journal.JournalFileBackend(str(self.journal))
            storage = optuna.storages.JournalStorage(backend)
            names = [s.study_name for s in storage.get_all_studies()]
            if not names:
                study = optuna.create_study(storage=storage, study_name=NAME, direction="maximize")
                study.set_user_attr("digest", self.digest)
            elif names == [NAME]:
                study = optuna.load_study(storage=storage, study_name=NAME)
            else:
                raise ConfigError(f"{self.journal} holds the study {names[0]!r}. {again}")
            if "digest" not in study.user_attrs and not study.get_trials():  # killed in between
                study.set_user_attr("digest", self.digest)
            trials = study.get_trials()
        except (ConfigError, OSError):
            raise
        except Exception as error:  # whatever Optuna says of lines that it did not write
            why = f"{type(error).__name__}: {error}"
            raise DamagedError(
                f"{self.journal} is no journal of a study ({why}). {again}"
            ) from None
        if study.user_attrs.get("digest") != self.digest or not all(map(self._ours, trials)):
            raise ConfigError(
                f"{self.journal} holds trials of another study: data, settings or the space that "
                f"is searched were others. {again}"
            )
        return study

    def _ours(self, trial: Any) -> bool:
        """Whether it is a finished trial of this space."""
        try:
            return bool(
                trial.state.name in ("COMPLETE", "FAIL")
                and trial.params.keys() == self.space.keys()
                and all(self.space[k].within(self._value(k, v)) for k, v in trial.params.items())
                and all(isinstance(x, float | int) for x in trial.user_attrs.get("ties", ()))
            )
        except (TypeError, ValueError):
            return False

    def _mend(self) -> None:
        """Take away what a kill has left: a line that is cut short, and a lock."""
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        for lock in self.journal.parent.glob(f"{self.journal.name}.lock*"):
            with contextlib.suppress(OSError):
                lock.unlink()
        if not self.journal.exists():
            return
        data = own_file(self.journal).read_bytes()
        if data and not data.endswith(b"\n"):
            note(f"{self.journal}: its last line was cut short and is left out.")
            write_atomic(self.journal, data[: data.rfind(b"\n") + 1])
