"""A stand-in of the hub, and finished runs that are pushed to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hub_server import HubServer, hub_at
from pages import EVIL, Outputs, commit
from runfolders import run_folder
from safetensors.torch import save

from aspire import records as rec
from aspire.classification.backbones import SmallCNN

SHAPE = {
    "name": "waterbirds", "digest": "0" * 64, "spurious_attribute": "background",
    "class_names": ["landbird", "waterbird"], "attribute_names": ["land", "water"],
    "group_counts": {},
}  # fmt: skip


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("COLUMNS", "200")
    with hub_at(tmp_path / "hub", monkeypatch) as server:
        yield server


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A finished run with the weights of a real network."""
    return run_folder(tmp_path / "outputs", weights=save(SmallCNN().build(2).state_dict()))


@pytest.fixture
def made(tmp_path: Path, waterbirds_folder: Path) -> Path:
    """The folder of an ``aspire run`` with 24 generated images, 20 of them kept."""
    outputs = Outputs(tmp_path / "outputs")
    concepts = [
        rec.Concept(concept_id=f"{y:03d}", y=y, objects=("1",), contexts=(), avoided=(phrase,))
        for y, phrase in enumerate(("the lake", EVIL))
    ]
    images = [
        rec.SyntheticImage(
            img_id=f"g{i:02d}", y=i % 2, seed=i, prompt=f"a bird, {EVIL}", parents=("1", "2"),
            file=f"files/{i}.png", mask=f"files/m{i}.png", concept_id=f"{i % 2:03d}",
        )
        for i in range(24)
    ]  # fmt: skip
    for i in range(24):
        outputs.image(outputs.root / f"artifacts/generate/0/files/{i}.png")
        outputs.image(outputs.root / f"artifacts/generate/0/files/m{i}.png", mask=True)
    kept = [
        rec.FilterDecision(
            img_id=f"g{i:02d}", kept=i < 20, reason=None if i < 20 else "duplicate", scores={}
        )
        for i in range(24)
    ]
    entries = {
        "personalise": outputs.artifact("personalise", concepts),
        "generate": outputs.artifact("generate", images),
        "filter": outputs.artifact("filter", kept),
    }
    score = outputs.artifact("score", [], classifier="c" * 64)
    upstream = commit(outputs.root / "artifacts/personalise/0", {}, {})
    commit(outputs.root / "artifacts/generate/0", {"personalise": upstream}, {})
    found = {"score": score, "discover": outputs.artifact("discover", []), "features": [],
             "without": []}  # fmt: skip
    outputs.write({
        "schema": 1, "aspire": "0.1.0", "seeds": [0], "dataset": SHAPE, "settings": {}, "arms": [],
        "missing": [], "stages": {}, "discovery": {"0": found},
        "generation": {"0": {**entries, "kept": 20, "reasons": {"duplicate": 4}}},
        "overrides": ["dataset=waterbirds", f"dataset.root={waterbirds_folder}"],
    })  # fmt: skip
    config = {"dataset": {"_target_": "aspire.data.waterbirds.Waterbirds", "licence": "CC BY 4.0.",
                          "root": str(waterbirds_folder)}}  # fmt: skip
    (outputs.folder / "config.yaml").write_text(yaml.safe_dump(config))
    return outputs.folder
