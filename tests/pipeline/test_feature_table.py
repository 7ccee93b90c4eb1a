"""The table of images and shortcuts, for joining."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd

from aspire.data.table import Split
from aspire.pipeline.feature_table import feature_rows
from aspire.records import Extraction, ImageRef, PhraseGroup, Region


def feature(phrase: str, spurious: bool = True) -> Any:
    return SimpleNamespace(phrase=phrase, spurious=spurious)


def test_a_row_for_each_image_and_shortcut() -> None:
    refs = [ImageRef(img_id=i, file=f"{i}.jpg", y=int(i == "c")) for i in "abc"]
    region = Region(side=2, cells="80")
    extractions = [
        Extraction(img_id="a", foreground=("woods",), background=None, alternative=None),
        # of another class's concept only its place is kept
        Extraction(
            img_id="c", foreground=(), background=None, alternative=None, regions={"disc?": region}
        ),
    ]
    groups = [
        PhraseGroup(phrase="forest", members=("forest", "woods")),
        PhraseGroup(phrase="disc?", members=("disc?",)),
    ]
    pipeline: Any = SimpleNamespace(
        refs={r.img_id: r for r in refs},
        splits=(Split.TRAIN, Split.VAL),
        extractions=SimpleNamespace(records=extractions),
        phrase_groups=SimpleNamespace(records=groups),
        dataset=SimpleNamespace(
            class_names=["cat", "dog"],
            table=pd.DataFrame({"img_id": list("abc"), "split": [0, 1, 0]}),
        ),
    )
    rows = feature_rows(pipeline, [feature("forest"), feature("disc?"), feature("sea", False)])
    assert [tuple(r.values()) for r in rows] == [
        ("a.jpg", "cat", "train", "disc?", 0),
        ("a.jpg", "cat", "train", "forest", 1),
        ("b.jpg", "cat", "val", "disc?", None),  # nothing is known of it
        ("b.jpg", "cat", "val", "forest", None),
        ("c.jpg", "dog", "train", "disc?", 1),
        ("c.jpg", "dog", "train", "forest", 0),
    ]
    assert list(rows[0]) == ["path", "y", "split", "feature", "present"]
