"""Every baseline where groups are known, or are not: it trains, or says what it lacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import aspire
from aspire.confdir import conf_dir

BASELINES = sorted(p.stem for p in (conf_dir() / "baseline").glob("*.yaml"))
# As their papers have it: what a method cannot do without.
OF_TRAIN = {"groupdro", "lisa", "rwg", "subg"}
OF_VAL = {"afr", "dfr", "groupdro", "ssa"}
SHORT = {
    "fit.steps": 2,
    "fit.evaluations": 1,
    "fit.batch_size": 8,
    "fit.selection": "val_worst_class",
    "model.image_size": 16,
    "trainer.accelerator": "cpu",
    "trainer.threads": 1,
}
SETTINGS = {"known": (), "no train": (0,), "no val": (1,), "none": (0, 1, 2), "part": (0, 1)}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def datasets(waterbirds: aspire.Dataset) -> dict[str, aspire.LoadedDataset]:
    """The same images, each time with groups on other splits; of ``part`` every other has one."""
    found = {}
    for name, without in SETTINGS.items():
        table = waterbirds.table.copy()
        hidden = table["split"].isin(without)
        if name == "part":
            hidden &= table.index % 2 == 0
        table.loc[hidden, "place"] = -1
        found[name] = aspire.load_dataset(replace(waterbirds, table=table))
    return found


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("baseline", BASELINES)
def test_it_trains_or_says_what_it_lacks(
    baseline: str, setting: str, datasets: dict[str, aspire.LoadedDataset], outputs: Path
) -> None:
    def trained() -> aspire.Run:
        return aspire.train(datasets[setting], baseline=baseline, outputs=outputs, settings=SHORT)

    lacks = [
        split
        for split, number, needed in (("training", 0, OF_TRAIN), ("val", 1, OF_VAL))
        if number in SETTINGS[setting] and baseline in needed
    ]
    if lacks:
        with pytest.raises(aspire.AspireError) as told:
            trained()
        text = str(told.value)
        assert text.startswith(f"baseline={baseline} needs the group of every {lacks[0]} image;")
        without = sorted({*BASELINES} - OF_TRAIN - OF_VAL)
        assert text.endswith(f"Baselines that do without: {', '.join(without)}.")
        return
    test = trained().metrics["test"]
    assert (test["worst_group_acc"] is None) == (setting == "none")
    assert 0 <= test["worst_class_acc"] <= 1
