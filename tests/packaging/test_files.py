"""The image, the conda file, the versions and the CI jobs say the same as pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
PYTHON = Requirement(f"python{PROJECT['project']['requires-python']}").specifier


def requirements(extras: set[str]) -> list[Requirement]:
    wanted = [*PROJECT["project"]["dependencies"], *(r for e in extras for r in EXTRAS[e])]
    return [r for r in map(Requirement, wanted) if r.name != PROJECT["project"]["name"]]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def test_the_tested_versions_are_allowed_ones_and_complete() -> None:
    pinned = pins()
    for requirement in requirements(set(EXTRAS)):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(version), f"{requirement}: {version} is tested"


def test_everything_of_the_extras_is_tested() -> None:
    tested = {canonicalize_name(r.name) for r in requirements({"dev", "docs"})}
    assert {canonicalize_name(r.name) for r in requirements(set(EXTRAS))} == tested | {
        canonicalize_name(r.name) for r in requirements(set())
    }


def test_conda_installs_what_was_tested() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    (python,) = (d for d in environment["dependencies"] if str(d).startswith("python="))
    assert PYTHON.contains(python.partition("=")[2])
    (pip,) = (d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert pip == ["-c constraints.txt", "-e .[dev]"]


def test_the_image_is_made_of_what_is_packed() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    (python,) = re.findall(r"^FROM python:(\d\.\d+)-slim$", text, re.MULTILINE)
    assert PYTHON.contains(python)
    copied = {
        word for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for word in line.split()
    }
    project, wheel = PROJECT["project"], PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    packed = {"pyproject.toml", project["readme"], *project["license-files"], *wheel["packages"]}
    packed |= {source.partition("/")[0] for source in wheel["force-include"]}
    assert copied == packed | {"constraints.txt"}
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    installs = re.findall(r"pip install [^;&]*", text)
    assert len(installs) == 2
    assert all(" -c constraints.txt " in line and "--no-cache-dir" in line for line in installs)
    assert "torch torchvision" in installs[0]
    assert {"torch", "torchvision"} <= {r.name for r in requirements(set())}
    assert installs[1].split()[-1] == '".${EXTRAS:+[$EXTRAS]}"'


def test_other_systems_are_tried_too() -> None:
    jobs: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))[
        "jobs"
    ]
    matrix = jobs["elsewhere"]["strategy"]["matrix"]
    assert set(matrix["os"]) == {"windows-latest", "macos-latest"}
    assert all(PYTHON.contains(version) for version in matrix["python"])
    commands = [step["run"] for step in jobs["elsewhere"]["steps"] if "run" in step]
    files = [word for line in commands for word in line.split() if word.startswith("tests/")]
    assert files
    assert all((ROOT / file).exists() for file in files)
