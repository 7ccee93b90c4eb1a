"""The pictures of a terminal are what commands say, and stand on a page beside the command."""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs/pictures"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminal")


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("_record", ROOT / "docs/_record.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def words_in(picture: Path) -> str:
    """The text of a picture, which must be sound XML."""
    root = ET.fromstring(picture.read_text("utf-8"))
    texts = root.iter("{http://www.w3.org/2000/svg}text")
    return " ".join(
        " ".join(t.text or "" for t in texts).replace("\N{NO-BREAK SPACE}", " ").split()
    )


def test_a_command_is_recorded_and_the_page_shows_what_it_says_today(
    script: Any, tmp_path: Path
) -> None:
    made = script.record("help", tmp_path)
    assert "takes val_worst_group, val_worst_class, val_acc" in words_in(made)
    assert words_in(PICTURES / "help.svg") == words_in(made)


def test_every_recording_is_on_a_page_with_its_command_and_in_words(script: Any) -> None:
    assert {p.stem for p in PICTURES.glob("*.svg")} == {*script.RECORDINGS}
    pages = {p.name: p.read_text("utf-8") for p in (ROOT / "docs").glob("*.md")}
    for name, recording in script.RECORDINGS.items():
        picture = PICTURES / f"{name}.svg"
        assert words_in(picture).startswith(f"$ {recording.command} ")
        (page,) = (text for text in pages.values() if f"pictures/{name}.svg" in text)
        assert f"\n{recording.command}\n" in page  # to be copied, and to be read aloud
        (said,) = re.findall(rf"!\[(.+?)\]\(pictures/{name}\.svg\)", page)
        assert len(said) > 60
        assert picture.stat().st_size < 40_000


@pytest.mark.parametrize("picture", sorted(PICTURES.glob("*.svg")), ids=lambda p: p.stem)
def test_a_picture_fetches_nothing_and_tells_nothing_of_the_machine(picture: Path) -> None:
    text = picture.read_text("utf-8")
    assert set(re.findall(r"[a-z]+://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in text
    for place in (str(Path.home()), tempfile.gettempdir(), "/home/", "/Users/", "/tmp/", "/root"):
        assert place not in text


def test_what_is_left_on_the_screen(script: Any) -> None:
    up, erase, red = "\x1b[1A", "\x1b[2K", "\x1b[31m"
    said = f"a\r\nbar 1\r{erase}bar 2\r\n{up}{erase}{red}b\x1b[0m\r\n\r\n"
    assert script.shown(said) == ["a", f"{red}b\x1b[0m"]
    assert script.shown("\x1b[?25l1\r\n2\r\n\x1b[2A\x1b[2Kone\x1b[?25h\r\n") == ["one", "2"]


def test_the_part_that_is_kept(script: Any) -> None:
    lines = ["a", "\x1b[1mthe first\x1b[0m", "b", "the last", "c"]
    part = script.Recording("x", "first", "last")
    assert script.part_of(lines, part) == lines[1:4]
    with pytest.raises(ValueError, match="x: no line has “other” in it"):
        script.part_of(lines, script.Recording("x", "other"))
    assert script.part_of(lines, script.Recording("x")) == lines


def test_a_command_that_fails_is_no_recording(script: Any, tmp_path: Path) -> None:
    with pytest.raises(script.subprocess.CalledProcessError) as told:
        script.typed("aspire train baseline=groupdor", tmp_path)
    assert "Did you mean groupdro?" in told.value.output
