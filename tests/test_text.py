"""Text of users is shown as it is in every kind of place, and is markup in none."""

import ast
import io
import re
from pathlib import Path

import pytest
from hostile import NAMES

import aspire
from aspire.console import Console, Table, styled
from aspire.text import cell, file_name, latex, markdown, shortened, visible

each = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


def printed(*things, **options):
    out = io.StringIO()
    console = Console(file=out, width=2000, force_terminal=True, **options)
    for thing in things:
        console.print(thing)
    return re.sub(r"\x1b\[[\d;]*m", "", out.getvalue())


@each
def test_a_terminal_shows_a_name_as_it_is(name):
    shown = visible(name)
    assert not {"\n", "\x1b", "\x00"} & set(shown)
    assert shown in printed(styled("[bold]next[/bold]  {}", name))
    assert printed(styled("[red]{}[/red]{}", name, name)) == f"{shown}{shown}\n"
    table = Table(name)
    table.add_column(name)
    table.add_row(name)
    assert [line.strip() for line in printed(table).splitlines()] == [shown.strip()] * 3
    assert printed(f"{name}") == visible(name, breaks=True).expandtabs(8) + "\n"


def test_what_has_no_shape_is_shown_as_an_escape():
    assert visible("a\nb\x1b[0m\x00\u202e\ufeff") == r"a\nb\x1b[0m\x00\u202e\ufeff"
    assert visible("é 猫 🐈‍⬛ חתול") == "é 猫 🐈‍⬛ חתול"  # the cat is black by an invisible joiner
    assert visible("a\nb\x1b", breaks=True) == "a\nb\\x1b"


def test_styles_are_those_of_the_template():
    text = styled("[bold]{}[/bold] {:>6} {:.2f}", "[dim]a", "b", 1.234)
    assert text.plain == "[dim]a      b 1.23"
    assert [(s.start, s.end, s.style) for s in text.spans] == [(0, 6, "bold")]
    with pytest.raises(ValueError, match="shorter"):
        styled("{} {}", "one")


def test_values_are_never_part_of_what_is_read_as_markup():
    """They are arguments of a template; nothing but aspire/console.py uses rich's own printing."""
    wrong = []
    for path in sorted(Path(aspire.__file__).parent.rglob("*.py")):
        text = path.read_text()
        if path.name == "console.py" or ("rich" not in text and "console" not in text):
            continue
        for node in ast.walk(ast.parse(text)):
            if bad := _printed_as_markup(node):
                wrong.append(f"{path.name}:{node.lineno} {bad}")
    assert wrong == []


def _printed_as_markup(node):
    if isinstance(node, ast.ImportFrom):
        return node.module in ("rich", "rich.markup", "rich.table", "rich.console") and node.module
    if not isinstance(node, ast.Call) or not node.args:
        return ""
    called, (first, *_) = ast.unparse(node.func), node.args
    if called in ("console.show", "styled"):
        return not isinstance(first, ast.Constant | ast.Starred) and called
    texts = " ".join(str(c.value) for c in ast.walk(first) if isinstance(c, ast.Constant))
    if called == "console.print" and re.search(r"\[/\w*\]", texts):
        return texts
    return any(k.arg == "markup" and ast.unparse(k.value) == "True" for k in node.keywords)


def test_markdown_is_escaped_where_it_would_be_read():
    assert markdown("worst_group_acc 50 % (3) [1]") == "worst_group_acc 50 % (3) [1]"
    assert markdown("<script>&amp;") == "&lt;script>&amp;amp;"
    assert markdown("a|b\nc") == r"a\|b\nc"
    assert markdown("[x](javascript:y)") == r"\[x\](javascript:y)"
    assert markdown("![x](y) **b** `c` _d_ ~~e~~") == r"!\[x\](y) \*\*b\*\* \`c\` \_d\_ \~\~e\~\~"
    assert [markdown(t) for t in ("# a", "- b", "1. c", "> d")] == [
        r"\# a",
        r"\- b",
        r"\1. c",
        r"\> d",
    ]


def test_latex_runs_nothing_and_rows_may_begin_with_anything():
    assert latex(r"\input{x}") == r"\textbackslash{}input\{x\}"
    assert latex("50_%&$#^~") == r"50\_\%\&\$\#\textasciicircum{}\textasciitilde{}"
    assert [latex("[2cm]"), latex("*")] == ["{}[2cm]", "{}*"]
    assert latex("a\nb") == r"a\textbackslash{}nb"


@pytest.mark.parametrize("name", ["=1+1", "+1", "@x", "-2+3", " =1", "%A", "|x"])
def test_spreadsheets_get_no_formula(name):
    assert cell(name) == f"'{visible(name)}"
    assert [cell(v) for v in ("cat", "a=b", -1.5, None)] == ["cat", "a=b", -1.5, None]


@each
def test_file_names_suit_every_system(name):
    made = file_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}", made)
    assert not made.endswith(".")
    assert made.upper() != "CON"
    assert made != file_name(f"{name} ")


def test_usual_names_stay_file_names():
    for name in ("mini_waterbirds", "erm-aspire", "v1.2", "a+b"):
        assert file_name(name) == name
    assert not {"CON.txt", "aux"} & {file_name("CON.txt"), file_name("aux")}


def test_short_names_stay_and_long_ones_are_told_apart():
    a, b = shortened("x" * 100 + "a", 64), shortened("x" * 100 + "b", 64)
    assert (len(a), len(b), shortened("sweep", 64)) == (64, 64, "sweep")
    assert a != b
