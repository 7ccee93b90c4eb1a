"""From a composed configuration to the experiment and the recipes that it describes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from aspire.classification.predictor import Source
from aspire.cli._app import build, class_of, compose_config, own_keys, plain, task_overrides
from aspire.cli._arms import groups_of_arm, takes, values_of_arm
from aspire.cli._datasets import checked_dataset
from aspire.cli._photographs import choose_for_photographs, say_chosen
from aspire.cli._stored import stored_yaml
from aspire.cli._words import quoted
from aspire.console import console
from aspire.data.checks import CheckReport
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError
from aspire.experiment import Audited, Experiment, Shared
from aspire.generation.base import Loggable, Personaliser
from aspire.identity import digest_of
from aspire.moved import without_added
from aspire.own_code import code_digests, code_of, targets_in
from aspire.own_objects import described, label_of
from aspire.pipeline.parts import Backends, StageSettings
from aspire.pretrained import content_digest
from aspire.recipe import Exchange, Parts, Recipe
from aspire.stored.config import contents, read_network
from aspire.stored.decisions import read_decisions

# What a training run is made of; everything else is where and how fast.
IDENTITY = ("model", "baseline", "augmentation", "optimizer", "scheduler", "fit")
# What an arm of a comparison may exchange; the stages before these are the same for all.
EXCHANGED = ("score", "personaliser", "generator", "filter")
EXCHANGED_STAGES = ("generate", "filter")


class Job:
    """The composed configuration of a job.

    Args:
        verb: whose configuration this is.
        cfg: the configuration.
        overrides: what it was composed with; when None those of the job that Hydra runs.
        shared: of the experiment, with those of other jobs on the same dataset.
        own: group of conf/ -> the object that takes the place of what it describes. Those of
            ``filter`` come behind the chosen ones.
        chosen: group of conf/ -> choice, where overrides are given; composed again when None.
    """

    def __init__(
        self,
        verb: str,
        cfg: DictConfig,
        overrides: Sequence[str] | None = None,
        shared: Shared | None = None,
        own: Mapping[str, Any] | None = None,
        chosen: Mapping[str, str] | None = None,
    ) -> None:
        self.verb = verb
        self.cfg = cfg
        self.own = dict(own or {})
        self._composed: dict[Any, tuple[DictConfig, dict[str, str]]] = {}
        self._recipes: dict[int, Recipe] = {}
        self.shared = shared or Shared()
        if overrides is None:
            overrides, chosen = task_overrides(), HydraConfig.get().runtime.choices
        self._chosen = chosen
        drop = own_keys(verb)
        # The words that `aspire train` would understand too.
        self.overrides = [
            o for o in overrides if o.lstrip("+~").split("=")[0].split(".")[0] not in drop
        ]

    @classmethod
    def of(cls, verb: str, words: Sequence[str], **further: Any) -> Job:
        """The job of ``aspire VERB WORDS``, for a script; see the class for what is further."""
        cfg, chosen = compose_config(verb, words)
        return cls(verb, cfg, words, chosen=chosen, **further)

    @property
    def outputs(self) -> Path:
        """Where everything goes."""
        return Path(self.cfg.paths.outputs)

    def part(self, group: str, cfg: DictConfig | None = None) -> Any:
        """The object that a group of conf/ describes, or the one in its place."""
        return self.own[group] if group in self.own else build((cfg or self.cfg)[group])

    # --- the experiment ------------------------------------------------------------------------

    @cached_property
    def experiment(self) -> Experiment:
        """The dataset, read and checked, and everything that is done with it."""
        decisions = read_decisions(self.cfg.decisions)  # before any image is read
        if self.shared.data is None:
            self.shared.data = self._checked()
        dataset, checks = self.shared.data
        cfg = self.cfg
        missing = choose_for_photographs(cfg, dataset, self.own)

        def backends(splits: Sequence[Split]) -> Backends:
            if ("photographs", "") not in self.shared.announced:
                self.shared.announced.add(("photographs", ""))
                say_chosen(dataset.name, missing, self.outputs / "cache")
            first = ("captioner", "extractor", "segmenter", "inpainter", "restyler")
            return Backends(**{k: self.part(k) for k in first}, **self._exchanged(cfg))

        return Experiment(
            dataset,
            checks,
            self.outputs,
            backends,
            StageSettings(**plain(cfg.stage)),
            lambda: build(cfg.engine),
            self._audited,
            self.shared,
            decisions,
        )

    def _checked(self) -> tuple[Dataset, CheckReport]:
        dataset, report = checked_dataset(self.cfg.dataset, self.outputs / "cache")
        if report.problems or report.notes:
            console.print(report.text(), style="yellow")
        return dataset, report

    def _audited(self) -> Audited:
        source: Source = self.part("classifier")

        def recipe(baseline: str, seed: int) -> Recipe:
            choices = {"baseline": baseline, "augmentation": "none"}
            if self.composed(None, **choices)[1]["groups"] != "annotated":
                choices["groups"] = "annotated"
            return self.recipe(seed, **choices)

        return Audited(
            source,
            recipe,
            lambda run: self.own.get("model") or build(read_network(run.folder)),
            # torch is only asked when there is something to predict
            lambda: build(self.cfg.trainer).torch_device(),
        )

    def _exchanged(self, cfg: DictConfig) -> dict[str, Any]:
        """The backends of ``EXCHANGED``; an arm that names another has that."""

        def part(group: str) -> Any:
            other = plain(cfg[group]) != plain(self.cfg[group])
            return build(cfg[group]) if other else self.part(group, cfg)

        chosen = (build(f) for f in cfg.get("filter", {}).values())
        return {
            "score": part("score"),
            "personaliser": self._watched(part("personaliser"), cfg),
            "sampler": part("generator"),
            "filters": (*chosen, *self.own.get("filter", ())),
        }

    def _watched(self, personaliser: Personaliser, cfg: DictConfig) -> Personaliser:
        """One that trains is logged like the training runs, each class as a job of its own."""

        def loggers(folder: Path) -> list[Any]:
            settings = plain(cfg.personaliser)
            kind = str(settings["_target_"]).rpartition(".")[2]
            name = self.experiment.dataset.name
            return _loggers(cfg)(
                folder=folder,
                name=f"{name}-{kind}-{folder.name[:8]}",
                group=f"{name}-{kind}",
                tags=[name, kind],
                config={"seed": settings["seed"], "labels": {}, "personaliser": settings},
                run_id=f"{folder.name}-personalise",
                job_type="personalise",
            )

        if isinstance(personaliser, Loggable):
            personaliser.log_to(loggers)
        return personaliser

    def refuse_random(self) -> None:
        """Refuse a report on random features, which must not be reported as findings.

        Raises:
            ConfigError: with what to type instead.
        """
        if not getattr(class_of(self.cfg.score._target_), "is_evidence", True):
            raise ConfigError(
                "score=random draws features and says nothing about a classifier, so there is "
                "nothing to report. To hold discovery against it: aspire run "
                "'arms=[none,undiscovered,aspire]'."
            )

    # --- recipes -------------------------------------------------------------------------------

    @cached_property
    def chosen(self) -> dict[str, str]:
        """Group of conf/ -> choice, as the overrides have it."""
        if self._chosen is None:
            return compose_config("train", self.overrides)[1]
        return {str(k): str(v) for k, v in self._chosen.items()}

    @cached_property
    def _brought(self) -> dict[str, str]:
        """Group that the typed arm chooses in -> what would be chosen without that arm."""
        typed = {word.lstrip("+").partition("=")[0] for word in self.overrides}
        groups = groups_of_arm(str(self.chosen.get("augmentation"))).keys() - typed
        if not groups:
            return {}
        bare = [o for o in self.overrides if o.lstrip("+~").partition(".")[0] not in groups]
        chosen = compose_config("train", [*bare, "augmentation=none"])[1]
        return {g: chosen[g] for g in groups}

    def words(self, **choices: str) -> list[str]:
        """The overrides with other choices; the keys of a choice that is exchanged go with it.

        An arm is what its file says, whatever was typed for the others; what its own choices take
        too, as score=random the thresholds of score=effect, holds for them as well.
        """
        arm = str(choices.get("augmentation"))
        of_arm = groups_of_arm(arm)
        choices = {**choices, **of_arm}
        # the choices of the arm that was typed, which another does without
        left = self._brought.keys() - choices.keys() if "augmentation" in choices else set()

        def goes(override: str) -> bool:
            group, _, key = override.lstrip("+~").partition("=")[0].partition(".")
            if key and group in left:
                return not takes(group, self._brought[group], key)
            if not key or group not in choices or self.chosen.get(group) == str(choices[group]):
                return False
            return group not in of_arm or not takes(group, of_arm[group], key)

        kept = [o for o in self.overrides if not goes(o)]
        own = {**choices, **values_of_arm(arm)}
        return [*kept, *(f"{k}={quoted(v)}" for k, v in own.items())]

    def composed(
        self, seed: int | None = None, **choices: str
    ) -> tuple[DictConfig, dict[str, str]]:
        """The configuration and choices of ``aspire train`` with the same words and these choices.

        Equal choices are composed once, whatever the seed: it decides over no other key. What
        ``aspire train`` runs itself is composed already.
        """
        words = tuple(self.words(**choices))
        if (words, seed) in self._composed:
            return self._composed[words, seed]
        if seed is None:
            typed = self.verb == "train" and not choices
            found = (self.cfg, self.chosen) if typed else compose_config("train", words)
            choose_for_photographs(found[0], self.experiment.dataset, self.own)
        else:
            cfg, chosen = self.composed(None, **choices)
            found = copy.deepcopy(cfg), chosen
            found[0].seed = int(seed)
        self._composed[words, seed] = found
        return found

    def recipe(self, seed: int | None = None, **choices: str) -> Recipe:
        """What ``aspire train`` with the same words and these choices would train."""
        cfg, chosen = self.composed(seed, **choices)
        if id(cfg) not in self._recipes:  # the configuration lives as long as the job
            own = {k: v for k, v in self.own.items() if k not in choices}
            self._recipes[id(cfg)] = self._recipe(cfg, chosen, own)
        return self._recipes[id(cfg)]

    def _recipe(self, cfg: DictConfig, chosen: dict[str, str], own: Mapping[str, Any]) -> Recipe:
        labels = {k: chosen[k] for k in ("baseline", "model", "augmentation")}
        return Recipe(
            identity=with_own(training_identity(cfg), own),
            labels=labels | {k: label_of(own[k]) for k in labels if k in own},
            seed=int(cfg.seed),
            augmentation=build(cfg.augmentation),
            groups=build(cfg.groups),
            parts=lambda: _parts(cfg, own),
            loggers=_loggers(cfg),
            config=lambda: stored_yaml(cfg, own),
            words=self.overrides,
            exchange=self._exchange(cfg),
        )

    def _exchange(self, cfg: DictConfig) -> Exchange | None:
        values = _exchangeable(cfg)
        if values == self._own_parts:
            return None
        settings = StageSettings(**plain(cfg.stage))
        return Exchange(digest_of(values), lambda: self._exchanged(cfg), settings)

    @cached_property
    def _own_parts(self) -> list[Any]:
        return _exchangeable(self.cfg)


def training_identity(cfg: DictConfig) -> dict[str, Any]:
    """What a training run is made of besides data and seed; files by what is in them."""
    settings = without_added({k: plain(cfg[k]) for k in IDENTITY})
    whole = partial(content_digest, whole=True)
    identity: dict[str, Any] = contents(settings, whole, elsewhere=False)
    if code := code_digests(targets_in(list(identity.values()))):
        identity["code"] = code
    # what is left out of the training is left out of its name
    identity["fit"] = {k: v for k, v in identity["fit"].items() if v is not None}
    return identity


def with_own(identity: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The same where objects take the place of some parts: what they are, and their code."""
    held = {k: v for k, v in own.items() if k in IDENTITY}
    code = {**identity.get("code", {}), **code_of(list(held.values()))}
    replaced = {**identity, **{k: described(v) for k, v in held.items()}}
    return {**replaced, "code": code} if code else replaced


def _exchangeable(cfg: DictConfig) -> list[Any]:
    """Plain values of ``EXCHANGED`` and of its stages."""
    stages = [plain(cfg.stage[k]) for k in EXCHANGED_STAGES]
    return [plain(cfg.get(k)) for k in EXCHANGED] + stages


def _parts(cfg: DictConfig, own: Mapping[str, Any]) -> Parts:
    from aspire.training.settings import FitSettings

    # a copy: what a baseline remembers of one run is no part of the next
    return Parts(
        device=build(cfg.trainer),
        baseline=copy.deepcopy(own["baseline"]) if "baseline" in own else build(cfg.baseline),
        model=own.get("model") or build(cfg.model),
        optimizer=build(cfg.optimizer),
        scheduler=build(cfg.scheduler),
        fit=FitSettings(**plain(cfg.fit)),
    )


def _loggers(cfg: DictConfig) -> Callable[..., list[Any]]:
    """What ``logger=`` names; those that are switched off are left out."""

    def made(**about: Any) -> list[Any]:
        found = [build(node)(**about) for node in (cfg.get("logger") or {}).values()]
        return [logger for logger in found if logger is not None]

    return made
