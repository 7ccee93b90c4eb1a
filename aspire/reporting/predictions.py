"""What a classifier says of single images, as a table with a row for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aspire.stored.files import write_atomic
from aspire.text import cell

KINDS = (".csv", ".parquet")


def predictions(
    paths: Sequence[Path], probabilities: NDArray[np.float32], class_names: Sequence[str]
) -> pd.DataFrame:
    """A row for each image: path, predicted class, its probability, and every class's.

    Args:
        paths: N of them.
        probabilities: (N, K) in [0, 1], rows sum to 1.
        class_names: K of them, in index order.

    Returns:
        Columns ``path``, ``predicted``, ``probability``, and ``p_CLASS`` for each class.
    """
    best = probabilities.argmax(1)
    frame = pd.DataFrame(
        {
            "path": [str(p) for p in paths],
            "predicted": [class_names[k] for k in best],
            "probability": probabilities[np.arange(len(best)), best],
        }
    )
    for k, name in enumerate(class_names):
        frame[f"p_{name}"] = probabilities[:, k]
    return frame


def write_predictions(frame: pd.DataFrame, path: Path) -> None:
    """Write the table, as CSV or Parquet by the ending; texts of a CSV are never formulas."""
    if path.suffix == ".parquet":
        write_atomic(path, frame.to_parquet(index=False))
        return
    shown = frame.map(cell).rename(columns=lambda name: str(cell(name)))
    write_atomic(path, shown.to_csv(index=False, float_format="%.6f").encode())
