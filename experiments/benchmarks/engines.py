"""Tiny records through each engine, side by side: what spreading itself costs.

    python experiments/benchmarks/engines.py [--items 10000] [--milliseconds 0 2]

``--milliseconds`` is the work of one item; with none at all every engine is pure overhead, and
ratios below 1 say what an item must cost before another engine pays.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aspire.pipeline.ray_cluster import connect
from aspire.pipeline.ray_engine import RayEngine
from aspire.pipeline.stage import ItemResult, LocalEngine
from aspire.pipeline.store import ArtifactStore
from aspire.records import Caption


class Echo:
    """One short record an item."""

    name = "echo"
    version = 1
    record = Caption

    def __init__(self, milliseconds: float) -> None:
        self.milliseconds = milliseconds

    def identity(self) -> dict[str, Any]:
        return {"milliseconds": self.milliseconds}

    def item_id(self, item: str) -> str:
        return item

    def run(self, items: Sequence[str], save: Any) -> Iterator[ItemResult[Caption]]:
        for item in items:
            until = time.perf_counter() + self.milliseconds / 1000
            while time.perf_counter() < until:
                pass
            yield ItemResult(item, (Caption(img_id=item, text=f"a picture of {item}"),))


def measured(engine: Any, stage: Echo, items: Sequence[str]) -> tuple[float, str]:
    """Items a second through the store, and the digest of what came out."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        artifact = ArtifactStore(Path(folder)).run(stage, items, {}, engine)
        return len(items) / (time.perf_counter() - started), artifact.digest


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--milliseconds", type=float, nargs="+", default=[0, 2])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    items = [f"img-{i:06d}" for i in range(given.items)]
    started = time.perf_counter()
    library, _ = connect(None, "the benchmark")
    library.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    print(f"a cluster on this machine: {time.perf_counter() - started:.1f} s to start")
    for milliseconds in given.milliseconds:
        stage = Echo(milliseconds)
        for number in range(given.rounds):
            local, one = measured(LocalEngine(64), stage, items)
            ray, other = measured(RayEngine(batch_size=64), stage, items)
            assert one == other
            print(
                f"{milliseconds:g} ms an item, round {number + 1}: local {local:,.0f} items/s, "
                f"ray {ray:,.0f} items/s, ratio {ray / local:.3f}"
            )
