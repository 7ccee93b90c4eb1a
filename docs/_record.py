"""Pictures of the terminal for the site, made by running commands: ``python docs/_record.py``.

Runs each of :data:`RECORDINGS` in a pseudo-terminal, in an empty folder, and draws what it shows
in ``docs/pictures/NAME.svg``; ``python docs/_record.py help`` runs only that one. On two slow cores
``discover`` takes four minutes. Needs Linux or macOS.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from dataclasses import dataclass
from html import escape
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

ROOT = Path(__file__).parent.parent
PICTURES = Path(__file__).parent / "pictures"
WIDTH = 88  # columns
BAR = 40  # pixels that rich leaves above for the bar of a window, which is not drawn
# Whatever fixed-width font there is: a picture of the site fetches nothing.
FORMAT = """\
<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}">
<title>%s</title>
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace;
 font-size: {char_height}px; line-height: {line_height}px; white-space: pre }}
{styles}
</style>
<rect fill="#292929" width="{width}" height="{height}" rx="8"/>
<g transform="translate({terminal_x}, 16)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


@dataclass(frozen=True)
class Recording:
    """A command, and which part of what it shows is kept.

    Args:
        command: as it is typed.
        first, last: words of the first line that is kept, and of the last; "" for all of them.
    """

    command: str
    first: str = ""
    last: str = ""


RECORDINGS = {
    "help": Recording("aspire train --help fit.selection"),
    "list": Recording("aspire list baselines"),
    "discover": Recording(
        "aspire discover dataset.scale=0.2 top=5", first="landbird: what", last="edits of"
    ),
}


def typed(command: str, folder: Path) -> str:
    """Everything that a command writes to a terminal of :data:`WIDTH` columns.

    Raises:
        CalledProcessError: when it fails, with what it wrote.
    """
    inside, outside = pty.openpty()
    fcntl.ioctl(outside, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
    words = [sys.executable, "-m", *shlex.split(command)]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ASPIRE_", "WANDB_"))}
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        kept.pop(name, None)
    environment = {
        **kept,
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        words, cwd=folder, env=environment, stdin=outside, stdout=outside, stderr=outside
    )
    os.close(outside)
    parts = []
    try:
        while part := os.read(inside, 65536):
            parts.append(part)
    except OSError:  # how Linux says that nobody holds the other end any more
        pass
    os.close(inside)
    said = b"".join(parts).decode("utf-8", "replace")
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command, said)
    return said


def shown(said: str) -> list[str]:
    """The lines that are left on the screen, with their colours.

    Bars go up and erase lines, which is all that is understood of a terminal here.
    """
    lines, row = [""], 0
    for token in re.split(
        r"(\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\r|\n)", said
    ):
        if token == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif token == "\x1b[2K":
            lines[row] = ""
        elif up := re.fullmatch(r"\x1b\[(\d*)A", token):
            row = max(0, row - int(up[1] or 1))
        elif token.endswith("m") or not token.startswith(("\x1b", "\r")):
            lines[row] += token
    while lines and not plain(lines[-1]).strip():
        lines.pop()
    return lines


def plain(line: str) -> str:
    """A line without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


def part_of(lines: list[str], recording: Recording) -> list[str]:
    """The lines that are kept.

    Raises:
        ValueError: when no line has these words any more.
    """

    def line_with(words: str, default: int) -> int:
        found = [i for i, line in enumerate(lines) if words in plain(line)]
        if words and not found:
            raise ValueError(f"{recording.command}: no line has “{words}” in it")
        return found[0] if words else default

    return lines[line_with(recording.first, 0) : line_with(recording.last, len(lines) - 1) + 1]


def as_svg(name: str, command: str, lines: list[str]) -> str:
    """The picture of a terminal with a command and these lines."""
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(Text.assemble(("$ ", "green"), (command, "bold")))
    for line in lines:
        text = Text.from_ansi(line)
        text.rstrip()
        console.print(text, highlight=False)
    title = escape(f"In a terminal: {command}").replace("{", "{{").replace("}", "}}")
    svg = console.export_svg(
        theme=SVG_EXPORT_THEME, code_format=FORMAT % title, unique_id=f"terminal-{name}"
    )
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert size is not None
    height = f"{float(size[2]) - BAR + 24:g}"
    svg = svg.replace(size[0], f'viewBox="0 0 {size[1]} {height}"')
    svg = svg.replace(f'height="{size[2]}" rx', f'height="{height}" rx')
    # no line is wider than the picture, and line breaks are no text
    svg = re.sub(r' clip-path="[^"]*"', "", svg)
    return re.sub(r"<text [^>]*>\n</text>", "\n", svg)


def record(name: str, pictures: Path = PICTURES) -> Path:
    """Run a command and draw what it shows, the folder where it ran left out.

    Args:
        name: of the recording.
        pictures: where it goes.

    Returns:
        The file.
    """
    recording = RECORDINGS[name]
    with tempfile.TemporaryDirectory(prefix="aspire-") as folder:
        here = Path(folder).resolve()
        said = typed(recording.command, here).replace(f"{here}{os.sep}", "")
    svg = as_svg(name, recording.command, part_of(shown(said), recording))
    path = pictures / f"{name}.svg"
    path.write_text(svg, "utf-8")
    return path


if __name__ == "__main__":
    for wanted in sys.argv[1:] or RECORDINGS:
        print(record(wanted))
