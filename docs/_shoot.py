"""Pictures of the site, from a finished quickstart: ``python docs/_shoot.py REPORT.html [REVIEW]``.

REVIEW is the address that ``aspire review`` says. Writes ``docs/pictures/``. Needs playwright and a
Chromium.
"""

from __future__ import annotations

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

PICTURES = Path(__file__).parent / "pictures"
# Name of the picture, heading of the page that it begins with, its height in pixels.
PARTS = {
    "report": (None, 1180),
    "features": ("What the classifier leans on", 1300),
    "generated": ("Generated images", 900),
}
REVIEW = {"review": ("landbird", 1000)}


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        shoot(page, Path(sys.argv[1]).resolve().as_uri(), PARTS)
        if len(sys.argv) > 2:
            shoot(page, sys.argv[2], REVIEW)
        browser.close()


def shoot(page: Page, address: str, parts: dict[str, tuple[str | None, int]]) -> None:
    page.goto(address)
    page.wait_for_load_state("networkidle")
    for name, (heading, height) in parts.items():
        top = 0.0
        if heading:
            box = page.get_by_role("heading", name=heading, exact=True).first.bounding_box()
            assert box is not None
            top = box["y"] - 24 + page.evaluate("window.scrollY")
        clip = {"x": 0, "y": top, "width": 1100, "height": height}
        shot = page.screenshot(full_page=True, clip=clip)
        picture = Image.open(BytesIO(shot)).convert("RGB").quantize(128)
        picture.save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
