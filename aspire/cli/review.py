"""``aspire review``: a person decides on what was found and made."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

from omegaconf import DictConfig

from aspire.console import console
from aspire.reporting.decided import sentences
from aspire.reporting.review import Review, in_words
from aspire.reporting.review_server import serve


def job(cfg: DictConfig) -> None:
    """Serve the page until Ctrl-C."""
    folder = Path(cfg.dir).expanduser()
    review = Review(folder, Path(cfg.to).expanduser() if cfg.to else None)
    note = unwritable(review.file)
    server, app = serve(review, int(cfg.port), note)
    if note:
        console.show("[yellow]note[/yellow]       {}", note)
    console.show(
        "[bold]page[/bold]       {}\n[bold]decisions[/bold]  {} ({})\n"
        "           Only this machine can open it. Ctrl-C ends it; every step is kept at once.",
        app.address,
        review.file,
        in_words(sentences(review.decisions())),
    )
    if cfg.browser and has_screen():
        webbrowser.open(app.address)
    server.serve_forever()  # until Ctrl-C
    console.show(
        "\n{}; obeyed by aspire run decisions={} beside the words of its report",
        in_words(sentences(review.decisions())).capitalize(),
        review.file,
    )


def unwritable(file: Path) -> str:
    """Why nothing can be kept, or "" where it can."""
    if os.access(file if file.exists() else file.parent, os.W_OK):
        return ""
    return (
        f"{file} cannot be written, so that nothing you decide is kept. To keep it elsewhere: "
        f"aspire review {file.parent} to=FILE"
    )


def has_screen() -> bool:
    """Whether a browser can be shown; without one some would take over the terminal."""
    return sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
