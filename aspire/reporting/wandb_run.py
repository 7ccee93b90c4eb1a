"""The one W&B run of a training job: opened by its first phase, closed when the job is over.

W&B is a view of what is in the run folder and never its source, so nothing that it does wrong
stops a job: a server that refuses or does not answer costs one timeout in a process, then
everything is written offline for ``aspire wandb sync``.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aspire.errors import ConfigError
from aspire.identity import arm_name
from aspire.session import session
from aspire.text import shortened

MODES = ("auto", "online", "offline", "disabled")
NAME, TAG = 128, 64  # characters that W&B takes
FINISH = 60.0  # seconds for the last uploads of a job
SECRET = re.compile(r"(?i)(api_?key|token|secret|passw|credential|authorization)")


@dataclass(frozen=True)
class About:
    """What a run is, as W&B shows it.

    Args:
        folder: of the training run.
        key: of the job; a job that goes on continues its own W&B run.
        group: its seeds; a sweep takes its place.
        labels: dataset, baseline, augmentation, model and seed.
        settings: everything else that makes the job what it is.
        sweep: name of the sweep it belongs to, or "".
    """

    folder: Path
    key: str
    name: str
    group: str = ""
    tags: tuple[str, ...] = ()
    labels: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    sweep: str = ""
    job_type: str = "train"

    def preliminary(self, phase: str) -> bool:
        """Whether this phase trains the ERM that another method starts from."""
        return phase.startswith("erm") and not str(self.labels.get("baseline", "")).startswith(
            "erm"
        )

    def config(self) -> dict[str, Any]:
        """What W&B filters and groups by."""
        arm = {}
        if "baseline" in self.labels:
            arm["arm"] = arm_name(str(self.labels["baseline"]), str(self.labels["augmentation"]))
        content = {**self.labels, **arm, "sweep": self.sweep, "settings": dict(self.settings)}
        return dict(without_secrets(content))


@dataclass(frozen=True)
class Place:
    """Where runs go.

    Args:
        mode: "online" or "offline".
        timeout: seconds to wait for the server when a run is opened.
    """

    project: str = "aspire"
    entity: str | None = None
    mode: str = "offline"
    timeout: float = 20.0


@dataclass
class Remembered:
    """What a command remembers between its jobs.

    Args:
        sweep: name of the sweep that runs, or "".
        wanted: labels of the job that was typed; other jobs are on its way.
        open: the :class:`~.wandb_logger.JobLogger` of the run that is being logged to.
        seen: this job has had a run.
        trained: folder of the run that the job trained or found last.
        unreachable: the server did not answer, so the rest of this process is offline.
    """

    sweep: str = ""
    wanted: Mapping[str, Any] = field(default_factory=dict)
    open: Any = None
    seen: bool = False
    trained: Path | None = None
    unreachable: bool = False


def remembered() -> Remembered:
    """Of the command that runs here."""
    return session().of(Remembered)


def chosen_mode(mode: str) -> str:
    """One of the modes but "auto"; ``WANDB_MODE`` wins.

    Raises:
        ConfigError: for another mode.
    """
    if mode not in MODES:
        raise ConfigError(f"logger.wandb.mode={mode}: expected one of {', '.join(MODES)}.")
    mode = os.environ.get("WANDB_MODE") or mode
    if mode == "auto":
        return "online" if logged_in() else "offline"
    return mode


def logged_in() -> bool:
    """Whether W&B has a key, from the environment or its own login."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    import netrc

    try:
        hosts = netrc.netrc().hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return any("wandb" in host for host in hosts)


def close_run(failed: bool = False) -> None:
    """Close the open run, if there is one: finished where the job has left its result."""
    kept = remembered()
    job, kept.open = kept.open, None
    if job is not None:
        job.close(failed or not (job.about.folder / "result.json").is_file())


def without_secrets(node: Any) -> Any:
    """The same values without those whose name says that nobody else should see them.

    >>> without_secrets({"a": {"api_key": "sk-1", "b": 2}})
    {'a': {'b': 2}}
    """
    if isinstance(node, Mapping):
        return {k: without_secrets(v) for k, v in node.items() if not SECRET.search(str(k))}
    return [without_secrets(v) for v in node] if isinstance(node, list | tuple) else node


@contextmanager
def harmless(what: str, whose: str = "W&B") -> Iterator[None]:
    """Nothing that W&B or another such service does wrong may cost a training run."""
    try:
        yield
    except Exception as error:  # whatever it is, the job goes on
        _say(f"{whose}: {what} failed ({type(error).__name__}: {error}). The job is not affected.")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def start(about: About, place: Place) -> Any:
    """The W&B run, offline where no server answers; one that does nothing when even that fails."""
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    # Of an artifact W&B keeps a copy until it is uploaded: beside the run, not in the home folder.
    os.environ["WANDB_DATA_DIR"] = str(about.folder.resolve() / "wandb")
    about.folder.mkdir(parents=True, exist_ok=True)
    if under_agent() and not _is_wanted(about.labels):
        # The agent of a W&B sweep waits for the run of the job that it started.
        return _init(about, place, "disabled")
    mode = "offline" if remembered().unreachable else place.mode
    if mode == "online":
        before = set((about.folder / "wandb").glob("run-*"))
        try:
            return _init(about, place, mode)
        except Exception as error:  # of many types: refused, timed out, no such host, wrong key
            remembered().unreachable = True
            wandb.teardown()  # else its service says that the id is in use
            for left in set((about.folder / "wandb").glob("run-*")) - before:
                shutil.rmtree(left, ignore_errors=True)
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            _say(
                f"W&B: the server cannot be used ({reason}). Logging offline from here on; "
                "upload later with: aspire wandb sync"
            )
    with harmless("starting a run"):
        return _init(about, place, "offline")
    return _init(about, place, "disabled")


def under_agent() -> bool:
    """Whether an agent of a W&B sweep started this process."""
    return "WANDB_SWEEP_ID" in os.environ


def _is_wanted(labels: Mapping[str, Any]) -> bool:
    """Whether this is what was typed; groups=discovered adds to the name of the baseline."""
    return all(str(labels.get(k, "")).startswith(str(v)) for k, v in remembered().wanted.items())


def _init(about: About, place: Place, mode: str) -> Any:
    import wandb

    settings = wandb.Settings(
        init_timeout=place.timeout,
        login_timeout=place.timeout,
        finish_timeout=FINISH,
        x_graphql_timeout_seconds=place.timeout,
        # Neither what was typed nor where the code comes from: both may hold a secret. The
        # console belongs to all jobs of a sweep.
        x_disable_meta=True,
        x_save_requirements=False,
        disable_git=True,
        disable_code=True,
        console="off",
    )
    run = wandb.init(
        project=place.project,
        entity=place.entity,
        dir=about.folder,
        id=about.key,
        resume="allow" if mode == "online" else None,
        mode=mode,  # type: ignore[arg-type]
        name=shortened(about.name, NAME),
        group=shortened(about.sweep or about.group, NAME),
        job_type=about.job_type,
        tags=sorted({shortened(t, TAG) for t in (*about.tags, about.sweep) if t}),
        config=about.config(),
        settings=settings,
    )
    run.define_metric("step", hidden=True)
    return run
