"""A finished run drawn by hand, for a person to decide on, and its page."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from pages import Outputs, result_of

from aspire import records as rec
from aspire.reporting.review import Review
from aspire.reporting.review_server import ReviewApp, serve
from aspire.stored.seals import file_digest


# fmt: off
def feature(y: int, rank: int, phrase: str, **more: Any) -> rec.SpuriousFeature:
    return rec.SpuriousFeature(**{
        "feature_id": f"{y:03d}/{rank:04d}", "y": y, "rank": rank, "kind": "change_background",
        "phrase": phrase, "support": 20, "flips": 10, "flip_rate": 0.5, "score": 0.5,
        "mean_drop": 0.6, "spurious": True, "examples": (), "members": (phrase,), "controls": 20,
        "control_rate": 0.05, "control_drop": 0.09, "p_value": 0.0004, "q_value": 0.0012,
    } | more)
# fmt: on


def run_of(root: Path, phrases: Sequence[str] = ()) -> Outputs:
    """Two classes; five generated images of the first, of which filters keep g0, g1 and g2.

    Args:
        root: of the outputs.
        phrases: of the features, in place of the usual ones; of class, dataset and prompts too.
    """
    made = Outputs(root)
    result = result_of(made)
    edit_id = result["discovery"]["0"]["features"][0]["examples"][0]
    weak = {"spurious": False, "q_value": 0.4}
    features = [
        feature(0, 1, "forest", examples=(edit_id,)),
        feature(0, 2, "jungle", members=("jungle", "rain forest")),
        feature(0, 3, "tree", kind="remove_object", **weak),
        feature(1, 1, "jungle", **weak),
        feature(1, 2, "forest", **weak),
    ]
    if phrases:
        features = [feature(0, n, p, examples=(edit_id,)) for n, p in enumerate(phrases, start=1)]
        result["dataset"] |= {"name": phrases[0], "class_names": [phrases[4], phrases[5]]}
    entry = result["discovery"]["0"]
    entry["discover"] = made.artifact("discover", features)
    entry["features"] = [msgspec.to_builtins(f) for f in features]
    stored = made.root / "artifacts/generate/0"
    lines = (stored / "records.jsonl").read_bytes().splitlines()
    images = [msgspec.json.decode(line, type=rec.SyntheticImage) for line in lines]
    images = [msgspec.structs.replace(i, file=named(stored, i.file)) for i in images]
    result["generation"]["0"]["generate"] = made.artifact("generate", images, per_class={"0": 6})
    made.write(result)
    return made


def named(stored: Path, file: str) -> str:
    """The image under the name that it has in an artifact: the hash of what it holds."""
    sha = file_digest(stored / file)
    name = f"files/{sha[:2]}/{sha}.png"
    (stored / name).parent.mkdir(exist_ok=True)
    (stored / file).rename(stored / name)
    return name


@contextmanager
def page_of(review: Review, note: str = "") -> Iterator[ReviewApp]:
    """Its page, served by another thread for a while."""
    server, app = serve(review, 0, note)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield app
    finally:
        server.shutdown()
        thread.join()
