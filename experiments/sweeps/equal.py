"""Whether sweeps in several outputs folders gave the same: weights, metrics and curves of each job.

python experiments/sweeps/equal.py OUTPUTS OUTPUTS ...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SAME = ("weights_sha256", "metrics", "history", "selected_step", "generated_digest")


def results(outputs: Path) -> dict[str, dict[str, Any]]:
    """Key of each finished job -> what must be equal."""
    found = {}
    for path in outputs.glob("train/*/*/*/*/result.json"):
        content = json.loads(path.read_bytes())
        found[content["key"]] = {name: content[name] for name in SAME}
    return found


def main(folders: list[Path]) -> int:
    first, *others = (results(f) for f in folders)
    print(f"{folders[0]}: {len(first)} jobs")
    bad = 0
    for folder, other in zip(folders[1:], others, strict=True):
        different = [k for k in sorted({*first} & {*other}) if first[k] != other[k]]
        missing = sorted({*first} ^ {*other})
        print(
            f"{folder}: {len(other)} jobs, {len(different)} of them different, "
            f"{len(missing)} in one of the two only {[*different, *missing] or ''}"
        )
        bad += len(different) + len(missing)
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main([Path(word) for word in sys.argv[1:]]))
