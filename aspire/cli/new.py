"""``aspire new KIND NAME``: code, yaml and a test of the user's own, which pass as they are."""

from __future__ import annotations

import importlib.util
import keyword
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig

from aspire.cli._comments import entries
from aspire.cli._words import WORDS
from aspire.cli.list import choices
from aspire.confdir import conf_dir
from aspire.console import console
from aspire.errors import ConfigError, did_you_mean
from aspire.plugins import GROUPS
from aspire.text import is_device

TEMPLATES = Path(__file__).parent / "templates"
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "0.1.0"
dependencies = ["aspire-shortcuts"]

[tool.hatch.build.targets.wheel]
packages = ["{package}"]

[tool.pytest.ini_options]
pythonpath = ["."]
"""


def job(cfg: DictConfig) -> None:
    """Write the files, and say what they are and what to type next."""
    kind = _kind(str(cfg.kind))
    name = str(cfg.name)
    _check_name(kind, name)
    checkout = conf_dir().parent
    if cfg.folder is None and checkout in (Path.cwd(), *Path.cwd().parents):
        files, after = in_checkout(checkout, kind, name), _next_in_checkout(kind, name)
    else:
        folder = Path(cfg.folder or f"aspire_{name}")
        files, after = in_package(folder, kind, name), _next_in_package(folder, kind, name)
    write(files)
    for path in files:
        console.show("[green]wrote[/green] {}", path)
    for first, line in zip(["next", *[""] * len(after)], after, strict=False):
        console.show("[bold]{:<4}[/bold]  {}", first, line)


def in_checkout(root: Path, kind: str, name: str) -> dict[Path, str]:
    """What a choice of ASPIRE's own is made of: path -> content.

    Args:
        root: of the checkout.
        kind: a group of conf/.
        name: of the choice.
    """
    package = _home(kind)
    code, test, conf = _filled(kind, name, f"aspire.{package}.{name}")
    return {
        root / "aspire" / package / f"{name}.py": code,
        root / "conf" / kind / f"{name}.yaml": conf,
        root / "tests" / package / f"test_{name}.py": test,
    }


def in_package(folder: Path, kind: str, name: str) -> dict[Path, str]:
    """What a choice of a package of the user's own is made of, the package where it is new.

    Raises:
        ConfigError: for a folder that cannot be a package, or is one of somebody else's.
    """
    package = _package(folder)
    code, test, conf = _filled(kind, name, f"{package}.{name}")
    files = {
        folder / package / f"{name}.py": code,
        folder / "conf" / kind / f"{name}.yaml": conf,
        folder / "tests" / f"test_{name}.py": test,
    }
    pyproject, first = folder / "pyproject.toml", folder / package / "__init__.py"
    if not pyproject.exists():
        text = PYPROJECT.format(name=package.replace("_", "-"), package=package)
        files[first] = f'"""What {package} adds to ASPIRE."""\n'
        files[folder / "tests" / "test_conf.py"] = (TEMPLATES / "test_conf.py").read_text("utf-8")
    elif first.is_file():
        text = pyproject.read_text("utf-8")
    else:
        raise ConfigError(
            f"folder={folder} has a pyproject.toml, but no package {package}. Expected a new "
            "folder, or one that aspire new has made."
        )
    entry = f'{name} = "{package}.{name}:{_class(name)}"'
    files[pyproject] = _with_entry(pyproject, text, kind, entry)
    return files


def write(files: Mapping[Path, str]) -> None:
    """Write all of them, or none: only a pyproject.toml may be there already.

    Raises:
        ConfigError: naming the file that is there.
    """
    for path in files:
        if path.exists() and path.name != "pyproject.toml":
            raise ConfigError(f"{path} is there already. Choose another name, or remove it.")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def kinds() -> list[str]:
    """What can be made: every kind with a template."""
    return sorted(path.stem for path in TEMPLATES.glob("*.yaml"))


def _kind(given: str) -> str:
    kind = given if given in kinds() else given.removesuffix("s")
    if kind not in kinds():
        raise ConfigError(
            f"kind={given}: no such kind.{did_you_mean(given, kinds())} Kinds: "
            f"{', '.join(kinds())}."
        )
    return kind


def _check_name(kind: str, name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)
        near = "_".join(words).lower().lstrip("0123456789_")
        raise ConfigError(
            f"name={name}: expected lower-case letters, digits and _, a letter first"
            f"{f', such as {near}' if near else ''}."
        )
    if keyword.iskeyword(name) or name in WORDS or is_device(name):
        raise ConfigError(f"name={name}: a word of Python, YAML or Windows. Choose another name.")
    if name in {choice["name"] for choice in choices(kind)}:
        raise ConfigError(f"name={name}: {kind}={name} is there already. Choose another name.")
    (code, test), taken = _templates(kind), _class(name)
    if re.search(rf"\b{taken}\b", code + test) or taken in dir(__builtins__):
        raise ConfigError(f"name={name}: its class would be {taken}, which is another one's name.")


def _class(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _templates(kind: str) -> tuple[str, str]:
    code, test = TEMPLATES / f"{kind}.py", TEMPLATES / f"test_{kind}.py"
    return code.read_text("utf-8"), test.read_text("utf-8")


def _filled(kind: str, name: str, module: str) -> tuple[str, str, str]:
    """Code, test and yaml of a choice."""
    conf = (TEMPLATES / f"{kind}.yaml").read_text("utf-8")

    def fill(text: str) -> str:
        text = text.replace(f"aspire.cli.templates.{kind}", module)
        text = text.replace("Blank", _class(name)).replace("blank", name)
        return re.sub(r"(?:^from aspire\..*\n)+", _in_order, text, flags=re.MULTILINE)

    code, test = map(fill, _templates(kind))
    return code, test, fill(conf)


def _in_order(lines: re.Match[str]) -> str:
    return "".join(sorted(lines[0].splitlines(keepends=True)))


def _home(kind: str) -> str:
    """The package below aspire/ that most choices of a kind are in."""
    targets = [
        entry.value
        for path in sorted((conf_dir() / kind).glob("*.yaml"))
        for entry in entries(path)
        if entry.key.rpartition(".")[2] == "_target_" and entry.value
    ]
    (most, _), *_ = Counter(target.split(".")[1] for target in targets).most_common(1)
    return most


def _package(folder: Path) -> str:
    """The name of the package in a folder.

    Raises:
        ConfigError: when it cannot be one, or is another's.
    """
    package = re.sub(r"\W+", "_", folder.resolve().name).lower()
    if not package.isidentifier() or keyword.iskeyword(package) or is_device(package):
        raise ConfigError(
            f"folder={folder}: no package can be called {package}. Expected a name of letters, "
            "digits and _."
        )
    installed = importlib.util.find_spec(package)
    if installed and installed.origin and not (folder / package).is_dir():
        raise ConfigError(
            f"folder={folder}: a package {package} is installed already. Choose another name."
        )
    return package


def _with_entry(path: Path, text: str, kind: str, entry: str) -> str:
    """A pyproject.toml with one more entry point."""
    (group,) = (group for group, ours in GROUPS.items() if ours == kind)
    head = f'[project.entry-points."{group}"]\n'
    if head in text:
        text = text.replace(head, f"{head}{entry}\n")
    else:
        text = f"{text.rstrip()}\n\n{head}{entry}\n"
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} cannot be read: {error}. Mend it first.") from None
    return text


def _next_in_checkout(kind: str, name: str) -> list[str]:
    found = [f"pytest tests/{_home(kind)}/test_{name}.py", f"aspire train {kind}={name} --cfg job"]
    if kind in ("baseline", "dataset"):
        found.append(f"its values in conf/hparams/: CONTRIBUTING.md, A {kind}")
    return found


def _next_in_package(folder: Path, kind: str, name: str) -> list[str]:
    return [
        f"cd {folder} && pytest",
        f"aspire train --config-dir conf {kind}={name} --cfg job",
        f"pip install -e .   # then aspire train {kind}={name} works everywhere",
    ]
