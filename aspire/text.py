"""Text of users (names, captions, phrases, ids, reasons) as it is written in each kind of place.

Shown as it is, and never read as markup, a formula or a path. What has no shape of its own
(control characters, line breaks, marks that turn the direction of writing) is shown as an escape.
For a terminal there is ``aspire.console``; HTML pages are escaped by their templates.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence

# Marks that change the direction of the text around them can make it read as something else.
_TURNING = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_INVISIBLE = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff{_TURNING}]")
_BUT_BREAKS = re.compile(_INVISIBLE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))


def visible(text: object, breaks: bool = False) -> str:
    r"""Text without characters that do something instead of showing something.

    Args:
        text: anything; its ``str``.
        breaks: leave line breaks and tabs as they are.

    >>> print(visible("red\x1b[31m\ncat"), visible("\u202eexe"), visible("é 猫 🐈 קו"))
    red\x1b[31m\ncat \u202eexe é 猫 🐈 קו
    """
    found = _BUT_BREAKS if breaks else _INVISIBLE
    return found.sub(lambda m: m[0].encode("unicode_escape").decode(), str(text))


def markdown(text: object) -> str:
    r"""Text inside a paragraph, list item or table cell of Markdown.

    >>> print(markdown("worst_group_acc"), markdown("a|b <b> [x](y) _z_ * `"))
    worst_group_acc a\|b &lt;b> \[x\](y) \_z\_ \* \`
    """
    escaped = visible(text).replace("&", "&amp;").replace("<", "&lt;")
    escaped = re.sub(r"\\(?=[!-/:-@\[-`{-~])|[|*`]|~(?=~)|(?<=~)~", r"\\\g<0>", escaped)
    escaped = re.sub(r"\[(?=[^\]]*\][(\[:])|\](?=[(\[:])|(?<!\w)_|_(?!\w)", r"\\\g<0>", escaped)
    # What makes a heading, a quote or a list at the beginning of a line.
    return re.sub(r"^([#>+-]|\d+[.)])(?=\s|#|>|$)", r"\\\1", escaped)


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
    "<": r"$<$", ">": r"$>$", "|": r"$|$", '"': "''", "`": r"\textasciigrave{}",
}  # fmt: skip


def latex(text: object) -> str:
    r"""Text that LaTeX prints as it is.

    >>> print(latex("mini_birds: 50 % ± 2"), latex("\\input{x}"))
    mini\_birds: 50 \% $\pm$ 2 \textbackslash{}input\{x\}
    """
    escaped = "".join(_LATEX.get(c, c) for c in visible(text))
    # After the \\ that ends a row a bracket would be a length, and a star forbid a page break.
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped


def cell(value: object) -> object:
    """A value for a CSV file that people open in a spreadsheet: a text never is a formula there.

    Numbers stay numbers. An apostrophe before the text is what spreadsheets take for "as it is".

    >>> cell("=cmd|' /C calc'!A1"), cell("cat"), cell(-1.5)
    ("'=cmd|' /C calc'!A1", 'cat', -1.5)
    """
    if not isinstance(value, str):
        return value
    shown = visible(value)
    return f"'{shown}" if shown.lstrip().startswith(tuple("=+-@|%")) else shown


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose source can be read too: the first column to the left, numbers to the right.

    Args:
        head, rows: cells that are Markdown already, see :func:`markdown`.

    >>> print(markdown_table(["arm", "acc"], [["erm", "70.0"]]))
    | arm |  acc |
    | :-- | ---: |
    | erm | 70.0 |
    """
    lines = [list(head), *map(list, rows)]
    first, *others = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, [":" + "-" * (first - 1), *("-" * (w - 1) + ":" for w in others)])
    padded = ([c[0].ljust(first), *map(str.rjust, c[1:], others)] for c in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def csv_table(records: Sequence[Mapping[str, object]]) -> str:
    r"""CSV of records, its columns in the order in which they appear, see :func:`cell`.

    >>> csv_table([{"a": 1}, {"a": "=2", "b": None}])
    "a,b\n1,\n'=2,"
    """
    file = io.StringIO()
    columns = list(dict.fromkeys(k for record in records for k in record))
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: cell(v) for k, v in record.items()} for record in records)
    return file.getvalue().rstrip("\n")


# Names that Windows keeps for devices, whatever their ending.
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}")


def is_device(name: str) -> bool:
    """Whether Windows takes a file of that name for a device."""
    return bool(_DEVICE.match(name))


def file_name(text: str) -> str:
    """A name for a file or folder: the text where every system can have it, else with its hash.

    >>> file_name("waterbirds"), file_name("../x"), file_name("CON"), file_name("a.")
    ('waterbirds', 'x-d6b96a97', 'CON-a3dbc4b6', 'a-5ab640fa')
    """
    usable = _PLAIN.fullmatch(text) and not text.endswith(".") and not is_device(text)
    if usable:
        return text
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")[:32].strip("-")
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{slug}-{digest}" if slug else digest


def shortened(text: object, most: int) -> str:
    """Visible text of at most so many characters; a longer one ends in a hash of the whole.

    >>> shortened("sweep", 64), len(shortened("sweep" * 20, 64))
    ('sweep', 64)
    """
    shown = visible(text)
    if len(shown) <= most:
        return shown
    return f"{shown[: most - 9]}-{hashlib.sha256(shown.encode()).hexdigest()[:8]}"


def quoted(value: object, most: int = 60) -> str:
    r"""A value in a message: in quotes, and not longer than a line.

    >>> quoted("a\nb"), len(quoted("9" * 5000))
    ("'a\\nb'", 62)
    """
    text = str(value)
    return repr(text if len(text) <= most else f"{text[: most - 1]}…")
