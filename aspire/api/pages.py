"""What objects of the API look like in a notebook."""

from __future__ import annotations

import base64
import html
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from aspire.data.images import Pixels, read_image
from aspire.text import visible

if TYPE_CHECKING:
    import pandas as pd

    from aspire.cli.discover import Found

SIDE = 128  # pixels of a picture
MOST = 4  # features with pictures


def shown_in_notebook(content: str) -> bool:
    """Show HTML where a notebook runs this; whether one does."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    if running is None or not hasattr(running, "kernel"):
        return False
    display = import_module("IPython.display")
    display.display(display.HTML(content))
    return True


def table_of(frame: pd.DataFrame) -> str:
    """A table whose texts are texts."""
    shown = frame.map(lambda v: visible(v) if isinstance(v, str) else v)
    return str(shown.to_html(index=False, float_format="{:.3g}".format, border=0, na_rep="-"))


def picture(pixels: Pixels, caption: str) -> str:
    """An image with a line below, in the page itself."""
    scale = SIDE / max(pixels.shape[:2])
    size = tuple(max(1, round(n * scale)) for n in pixels.shape[1::-1])
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    _, png = cv2.imencode(".png", np.ascontiguousarray(small[:, :, ::-1]))
    data = base64.b64encode(png.tobytes()).decode()
    words = html.escape(visible(caption))
    return (
        '<figure style="display:inline-block;margin:4px;text-align:center">'
        f'<img src="data:image/png;base64,{data}" alt="{words}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


def edited_pictures(found: Found) -> str:
    """For the strongest spurious features an image before and after the edit."""
    pipeline, discovery = found.pipeline, found.discovery
    edits = {e.edit_id: e for e in discovery.edits.records}
    effects = {e.edit_id: e for e in discovery.effects.records}
    rows = []
    for feature in [f for f in discovery.features.records if f.spurious][:MOST]:
        shown = next((i for i in feature.examples if i in edits and i in effects), None)
        if shown is None:
            continue
        edit, effect = edits[shown], effects[shown]
        name = pipeline.dataset.class_names[feature.y]
        before = read_image(pipeline.dataset.path(pipeline.refs[edit.img_id].file))
        after = read_image(discovery.edits.path(edit.file))
        rows.append(
            picture(before, f"{name}: {effect.p_before:.2f}")
            + picture(after, f"without {feature.phrase}: {effect.p_after:.2f}")
        )
    return "".join(f"<div>{row}</div>" for row in rows)


def gallery(files: Iterable[tuple[Path, str]]) -> str:
    """Pictures in a row, each with a line below."""
    return "".join(picture(read_image(path), caption) for path, caption in files)
