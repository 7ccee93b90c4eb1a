"""The page of aspire review as somebody uses it: mouse, keyboard, phone, and names that bite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hostile import NAMES
from reviewed import page_of, run_of

from aspire.reporting.review import Review
from aspire.stored.decisions import Decisions
from aspire.text import visible


def opened(browser: Any, address: str, **options: Any) -> Any:
    """A page that remembers what went wrong in it, and what it asked others for."""
    page = browser.new_page(**options)
    page.set_default_timeout(30_000)
    page.wrong = []
    page.on("dialog", lambda d: (page.wrong.append(d.message), d.dismiss()))
    page.on("pageerror", lambda e: page.wrong.append(str(e)))
    page.on("console", lambda m: page.wrong.append(m.text))
    own = address.partition("?")[0]
    page.on("request", lambda r: r.url.startswith(own) or page.wrong.append(r.url))
    page.goto(address, wait_until="load")
    return page


def told(page: Any, text: str) -> None:
    """Wait until the page says it."""
    page.locator("#said", has_text=text).wait_for()


def now(folder: Path) -> Decisions:
    return Review(folder).decisions()


def test_accept_reject_undo_and_a_new_server(browser: Any, tmp_path: Path) -> None:
    folder = run_of(tmp_path).folder
    with page_of(Review(folder)) as app:
        page = opened(browser, app.address)
        page.click("#f-0-0-reject")
        told(page, "“forest” of landbird is no shortcut.")
        page.click("#f-0-2-accept")
        told(page, "“tree” of landbird is a shortcut.")
        assert set(now(folder).judged.values()) == {True, False}
        page.click("#undo")
        told(page, "Undone.")
        assert page.get_attribute("#f-0-2-accept", "aria-pressed") == "false"
        assert set(now(folder).judged.values()) == {False}
        page.click("#redo")
        told(page, "Done again.")
        page.click("#f-0-2-more summary")
        page.fill("#f-0-2-input", "a tree")
        page.click("#f-0-2-rename")
        told(page, "“tree” is called “a tree”.")
        assert page.inner_text("#f-0-2-name") == "a tree"
        assert page.is_visible("#f-0-2-rename")  # still unfolded
        page.click("#f-0-0-more summary")
        page.select_option("#f-0-0-select", label="jungle")
        page.click("#f-0-0-merge")
        told(page, "“forest” is counted together with “jungle”.")
        assert page.locator("#f-0-0").count() == 0
        assert page.wrong == []
    # ended: nothing is kept, and the page says so
    page.click("#undo")
    told(page, "Nothing was kept: aspire review does not answer.")
    with page_of(Review(folder)) as app:
        page = opened(browser, app.address)
        assert "3 decisions" in page.inner_text(".bar-of-steps")
        assert page.inner_text("#f-0-2-name") == "a tree"
        page.click("#f-0-1-part-1")
        told(page, "“forest” is counted by itself again.")
        assert page.get_attribute("#f-0-0-reject", "aria-pressed") == "true"
        page.click("text=Generated images")
        page.click(".sorting button >> nth=0")
        told(page, "1 image dropped.")
        assert page.locator(".sorting .out").count() == 1
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert list(now(folder).images[0].values()) == [False]
        assert page.wrong == []


def test_by_keyboard_alone(browser: Any, tmp_path: Path) -> None:
    folder = run_of(tmp_path).folder
    with page_of(Review(folder)) as app:
        page = opened(browser, app.address)

        def focused() -> str:
            found: str = page.evaluate("document.activeElement.id")
            return found

        for _ in range(40):
            page.keyboard.press("Tab")
            if focused() == "f-0-0-accept":
                break
        assert focused() == "f-0-0-accept"
        page.keyboard.press("Enter")
        told(page, "is a shortcut")
        assert focused() == "f-0-0-accept"  # where it was
        page.keyboard.press("r")
        told(page, "is no shortcut")
        assert focused() == "f-0-0-reject"
        page.keyboard.press("n")
        assert focused() == "f-0-1-accept"
        page.keyboard.press("a")
        told(page, "“jungle” of landbird is a shortcut")
        page.keyboard.press("p")
        assert focused() == "f-0-0-accept"
        page.keyboard.press("Control+z")
        told(page, "Undone.")
        page.keyboard.press("Control+Shift+Z")
        told(page, "Done again.")
        page.keyboard.press("Control+z")
        told(page, "Undone.")
        assert {k[2]: v for k, v in now(folder).judged.items()} == {"forest": False}
        page.focus("#f-0-0-more summary")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.type("arn")  # letters, not keys
        page.keyboard.press("Enter")
        told(page, "“forest” is called “arn”.")

        page.goto(f"{app.address}images?show=all")
        page.focus(".sorting button[tabindex='0']")
        first = focused()
        page.keyboard.press("ArrowRight")
        assert focused() != first
        page.keyboard.press("End")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Space")
        told(page, "1 image kept.")
        assert page.locator(".sorting button[tabindex='0']").count() == 1
        page.keyboard.press("Home")
        assert focused() == first
        assert page.wrong == []


def test_a_phone_and_names_that_bite(browser: Any, tmp_path: Path) -> None:
    hostile = list(NAMES.values())
    folder = run_of(tmp_path, hostile).folder
    with page_of(Review(folder), note=NAMES["script"]) as app:
        phone = {"viewport": {"width": 390, "height": 800}}
        page = opened(browser, f"{app.address}?class=0", **phone, color_scheme="dark")
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        text = " ".join(page.inner_text("body").split())
        assert [n for n in hostile if " ".join(visible(n).split()) not in text] == []
        for number, name in enumerate((NAMES["image"], NAMES["attribute"])):
            page.fill(f"#f-0-{number}-input", name + "!")
            page.click(f"#f-0-{number}-rename")
            told(page, name + "!")
        page.click("#f-0-3-accept")
        told(page, "is a shortcut")
        page.click("#f-0-4-merge")
        told(page, "counted together")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.goto(f"{app.address}images?show=all")
        page.click("#all-drop")
        told(page, "dropped")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert sum(map(int, colour[4:-1].split(","))) < 200
        assert "owned" not in page.title()
        assert page.wrong == []
