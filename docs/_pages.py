"""Pages made from the code: every choice of ``conf/`` with its keys, every command, every study.

Called by ``conf.py`` before a build. Nothing of the package is imported: docstrings are read with
``ast``, so that the site needs neither torch nor a dataset.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
MADE = Path(__file__).parent / "made"  # ignored by git

GROUPS = {
    "dataset": ("Datasets", "What is trained and tested on."),
    "baseline": ("Baselines", "How a classifier is trained."),
    "augmentation": ("Arms", "What a baseline is trained on besides the real images."),
    "model": ("Networks", "Which network is trained."),
    "captioner": ("Captioners", "What says in words what an image shows."),
    "extractor": ("Extractors", "What finds objects and scenes in a caption."),
    "segmenter": ("Segmenters", "What finds the pixels of a phrase."),
    "inpainter": ("Inpainters", "What fills the place of a removed object."),
    "restyler": ("Restylers", "What puts the class object into another scene."),
    "classifier": ("Classifiers", "Whose shortcuts are looked for."),
    "score": ("Scores", "How features are ranked, and which of them are called shortcuts."),
    "personaliser": ("Personalisers", "What a generator learns from the edited images first."),
    "generator": ("Generators", "What makes the images without the shortcut."),
    "space": ("Search spaces", "What `aspire tune` tries of a baseline's settings."),
    "filter": ("Filters", "Which generated images are kept."),
    "engine": ("Engines", "Where the stages of the pipeline run."),
    "logger": ("Loggers", "Where the curves of a training go."),
}


@dataclass(frozen=True)
class Choice:
    """One yaml of a group: its name, leading comment, class, and the lines of its keys."""

    name: str
    comment: str
    target: str | None
    body: str


def choices(group: str) -> Iterator[Choice]:
    """The choices of a group, by name."""
    for path in sorted((ROOT / "conf" / group).glob("*.yaml")):
        lines = path.read_text("utf-8").splitlines()
        head = [line for line in lines if not line.startswith("# @package")]
        comment = []
        while head and (head[0].startswith("#") or not head[0].strip()):
            comment.append(head.pop(0).lstrip("# "))
        content = yaml.safe_load("\n".join(head)) or {}
        target = content.get("_target_") if isinstance(content, dict) else None
        yield Choice(path.stem, " ".join(comment).strip(), target, "\n".join(head).strip())


def docstring(target: str) -> tuple[str, str] | None:
    """Docstrings of the module and the class of a ``_target_``, or None if it is not ours."""
    module, _, name = target.rpartition(".")
    path = ROOT / (module.replace(".", "/") + ".py")
    if not path.is_file():
        return None
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return ast.get_docstring(tree) or "", ast.get_docstring(node) or ""
    return None


def prose(text: str) -> str:
    """A docstring as Markdown: double backticks become single ones, ``Args:`` a list."""
    text = inspect.cleandoc(text).replace("``", "`")
    text = re.sub(r":\w+:`[~.]?([^`]+)`", r"`\1`", text)
    out: list[str] = []
    listing = False
    text = re.sub(r"^(>>>.*?)(?=\n\n|\Z)", r"```python\n\1\n```", text, flags=re.M | re.S)
    for line in text.splitlines():
        if line == "Returns:":
            out += ["", "**Returns**", ""]
            listing = False
        elif re.fullmatch(r"(Args|Raises|Yields):", line):
            out += ["", f"**{line[:-1]}**", ""]
            listing = True
        elif listing and re.match(r" {4}\S", line):
            out.append(re.sub(r"^ {4}([^:]+):", r"- `\1`:", line))
        elif listing and line.strip():
            if not line.startswith(" "):
                listing = False
            out.append(line if not listing else f"  {line.strip()}")
        else:
            out.append(line.removeprefix("    ") if "**Returns**" in out else line)
    return "\n".join(out).strip()


def write_choices() -> None:
    """A page per group, and one that lists the groups."""
    index = ["# All choices", ""]
    index += ["Each page is made from the files of `conf/` and the code that they name.", ""]
    index += ["| on the command line | what | choices |", "|---|---|---|"]
    for group, (title, what) in GROUPS.items():
        items = list(choices(group))
        names = ", ".join(f"`{c.name}`" for c in items)
        index.append(f"| [`{group}=`]({group}.md) | {what} | {names} |")
        page = [f"# {title}", "", f"`{group}=NAME`: {what[0].lower()}{what[1:]}", ""]
        for choice in items:
            page += [f"## {choice.name}", "", choice.comment, ""]
            if choice.body:
                page += ["```yaml", choice.body, "```", ""]
            found = docstring(choice.target) if choice.target else None
            if found and choice.target:
                module, of_class = found
                source = choice.target.rpartition(".")[0].replace(".", "/") + ".py"
                text = "\n\n".join(prose(t) for t in (module, of_class) if t)
                page += [f":::{{dropdown}} From `{source}`", "", text, ":::", ""]
        _write(f"choices/{group}.md", page)
    index += ["", "```{toctree}", ":hidden:", "", *GROUPS, "```"]
    _write("choices/index.md", index)


def write_commands() -> None:
    """The header of every verb's help."""
    page = [
        "# Commands",
        "",
        "`aspire VERB --help` prints the same, with the keys that the verb takes.",
        "",
    ]
    for path in sorted((ROOT / "conf").glob("*.yaml")):
        hydra = (yaml.safe_load(path.read_text("utf-8")) or {}).get("hydra") or {}
        header = (hydra.get("help") or {}).get("header")
        if header:
            page += [f"## aspire {path.stem}", "", "```text", header.rstrip(), "```", ""]
    _write("commands.md", page)


@dataclass(frozen=True)
class Public:
    """A name of ``import aspire``: where it is defined, and its node."""

    name: str
    module: str
    node: ast.stmt


def public_names() -> Iterator[Public]:
    """The functions and classes that ``aspire/__init__.py`` gives, those of the metrics last."""
    tree = ast.parse((ROOT / "aspire/__init__.py").read_text("utf-8"))
    places = next(
        n.value for n in tree.body if isinstance(n, ast.Assign) and "_PLACES" in ast.unparse(n)
    )
    for name, module in ast.literal_eval(places).items():
        if name != "metrics":
            yield Public(f"aspire.{name}", module, _defined(module, name))
    metrics = ast.parse((ROOT / "aspire/metrics.py").read_text("utf-8"))
    for node in metrics.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield Public(f"aspire.metrics.{node.name}", "aspire.metrics", node)


def _defined(module: str, name: str) -> ast.stmt:
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text("utf-8"))
    return next(n for n in tree.body if getattr(n, "name", None) == name)


def signature(node: ast.stmt, name: str) -> str:
    """A call as it is written, a line for each argument where it is long."""
    if isinstance(node, ast.ClassDef):
        inits = [n for n in node.body if getattr(n, "name", "") == "__init__"]
        if not inits:  # a dataclass takes its fields
            fields = [ast.unparse(n) for n in node.body if isinstance(n, ast.AnnAssign)]
            made = any("dataclass" in ast.unparse(d) for d in node.decorator_list)
            return (
                f"class {name}(" + "".join(f"\n    {f}," for f in fields) + "\n)"
                if made
                else f"class {name}"
            )
        node = inits[0]
        name = f"class {name}"
    assert isinstance(node, ast.FunctionDef)
    words = re.sub(r"^self(, )?", "", ast.unparse(node.args))
    result = f" -> {ast.unparse(node.returns)}" if node.returns and "class" not in name else ""
    whole = f"{name}({words}){result}"
    if len(whole) <= 90:
        return whole
    parts = re.split(r", (?![^\[]*\])", words)
    spaced = (re.sub(r"(: .*[^=])=(?=[^=]*$)", r"\1 = ", part) for part in parts)
    return f"{name}(\n" + "".join(f"    {p},\n" for p in spaced) + f"){result}"


def write_api() -> None:
    """Every public name with its signature and docstring."""
    page = [
        "# API reference",
        "",
        "What `import aspire` gives. How it goes together: [the Python API](../python.md).",
        "",
    ]
    for public in sorted(public_names(), key=lambda p: (p.name.count("."), not p.name.islower())):
        node = public.node
        assert isinstance(node, ast.ClassDef | ast.FunctionDef)
        page += [f"## {public.name}", "", "```python", signature(node, public.name), "```", ""]
        page += [prose(ast.get_docstring(node) or ""), ""]
        for member in node.body if isinstance(node, ast.ClassDef) else ():
            text = ast.get_docstring(member) if isinstance(member, ast.FunctionDef) else None
            if text and isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                decorators = " ".join(map(ast.unparse, member.decorator_list))
                called = f".{member.name}"
                shown = called if "property" in decorators else signature(member, called)
                page += [f"### {public.name.rpartition('.')[2]}{called}", ""]
                page += ["```python", shown, "```", "", prose(text), ""]
    _write("api.md", page)


def write_notebooks() -> None:
    """The notebooks as pages: text and code, each with the file to run."""
    names = []
    for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb")):
        names.append(path.stem)
        page: list[str] = []
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            text = "".join(cell["source"])
            code = cell["cell_type"] == "code"
            page += [*(["```python", text, "```"] if code else [text]), ""]
        page += [f"{{download}}`The notebook <../../notebooks/{path.name}>`, to run it yourself."]
        _write(f"notebooks/{path.stem}.md", page)
    index = [
        "# Notebooks",
        "",
        "Each runs in a minute on two cores, without a GPU or a download, and is run by the tests.",
        "",
        *("```{toctree}", "", *names, "```"),
    ]
    _write("notebooks/index.md", index)


def write_copies() -> None:
    """Pages and pictures from elsewhere in the repository, their links bent to the site."""
    pages = {
        "README.md": "../index.md",
        "CHANGELOG.md": "changelog.md",
        "SECURITY.md": "security.md",
        "CONTRIBUTING.md": "extending.md",
        "experiments/README.md": "studies/index.md",
    }
    for path in sorted((ROOT / "experiments").glob("*/README.md")):
        pages[f"experiments/{path.parent.name}/README.md"] = f"studies/{path.parent.name}.md"
        for picture in sorted(path.parent.glob("*.png")):
            copy = f"studies/{path.parent.name}/{picture.name}"
            pages[f"experiments/{path.parent.name}/{picture.name}"] = copy
            (MADE / copy).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, MADE / copy)
    studies = [Path(p).stem for p in pages.values() if re.fullmatch(r"studies/[a-z_]+\.md", p)]
    listed = [name for name in studies if name != "index"]
    contents = ["", "```{toctree}", ":hidden:", "", *listed, "```"]
    for source, page in pages.items():
        if source.endswith(".md") and source != "README.md":
            text = (ROOT / source).read_text("utf-8")
            text = re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", _bent(source, page, pages), text)
            _write(page, [text, *(contents if page == "studies/index.md" else [])])


def _bent(source: str, page: str, pages: dict[str, str]) -> Callable[[re.Match[str]], str]:
    """What replaces a link: one within the site, or the name of a file alone."""

    def replace(match: re.Match[str]) -> str:
        words, link = match.groups()
        if re.match(r"https?:|#|mailto:", link):
            return match[0]
        path, _, anchor = link.partition("#")
        there = os.path.normpath((Path(source).parent / path).as_posix())
        if there not in pages:
            return words if words == f"`{there}`" else f"{words} (`{there}`)"
        relative = os.path.relpath(pages[there], Path(page).parent)
        return f"[{words}]({relative}{'#' + anchor if anchor else ''})"

    return replace


def _write(page: str, lines: list[str]) -> None:
    path = MADE / page
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines) + "\n"
    if not path.is_file() or path.read_text("utf-8") != text:  # else Sphinx would read it again
        path.write_text(text, "utf-8")


def write() -> None:
    """Write every made page below ``docs/made``."""
    write_choices()
    write_commands()
    write_api()
    write_notebooks()
    write_copies()
