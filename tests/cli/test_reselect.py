"""``aspire table DIR selection=RULE``: runs as another rule would have selected them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aspire.cli._reselect import reselected
from aspire.errors import DataError
from aspire.progress import Silent

TOLD = {"metrics": {"test": {"acc": 1}}}


def test_other_images_than_those_of_its_training_are_no_row_of_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def judged(*given: Any) -> tuple[Any, None]:
        seen.append(given[2])
        return TOLD, None

    dataset = SimpleNamespace(digest=lambda cache: "1" * 64)
    weights = tmp_path / "step-4.safetensors"
    weights.write_bytes(b"")
    for name, value in (
        ("weights_of", lambda run, rule: weights), ("dataset_of", lambda folder: dataset),
        ("judged", judged),
        ("keep", lambda *given: True),
    ):  # fmt: skip
        monkeypatch.setattr(f"aspire.cli._reselect.{name}", value)
    cfg: Any = SimpleNamespace(
        selection="last", split="test", trainer=None, paths=SimpleNamespace(outputs=tmp_path)
    )
    result: dict[str, Any] = {"selection": "val_acc", "dataset_digest": "0" * 64}
    with pytest.raises(DataError, match="not those of its training any more"):
        reselected(tmp_path / "run", result, cfg, Silent())
    assert not seen
    same = {**result, "dataset_digest": "1" * 64}
    assert reselected(tmp_path / "run", same, cfg, Silent())["metrics"]["test"] == {"acc": 1}
    assert seen == [dataset]
