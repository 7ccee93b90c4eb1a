"""Hostile names in the three reports: shown as they are, and no script of theirs runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hostile import NAMES
from pages import Outputs, Page

from aspire import records as rec
from aspire.reporting.discovery_report import write_discovery_report
from aspire.reporting.report import write_report
from aspire.reporting.sweep_report import write_sweep_report
from aspire.runs.ledger import Ledger
from aspire.text import file_name, visible

CLASSES = list(NAMES.values())
SETTINGS = {"score": {"_target_": "x", "min_support": 1}, "stage": {}, "filter": {}}


# fmt: off
def split(names: list[str]) -> dict[str, Any]:
    groups = {f"{n}/{CLASSES[0]}": {"acc": 0.5, "n": 3} for n in names}
    return {
        "acc": 0.7, "worst_group_acc": 0.5, "worst_group": next(iter(groups)),
        "worst_class_acc": 0.5, "acc_adjusted": 0.6, "acc_balanced": 0.5, "groups": groups,
    }


def result_of(made: Outputs, dataset: str) -> dict[str, Any]:
    """Every hostile name is a class, an attribute's part, a phrase, an id, a caption, a reason."""
    edits, effects, features, images, decisions, concepts = [], [], [], [], [], []
    for y, name in enumerate(CLASSES):
        edit_id = f"{name}/remove_object/{name}"
        edits.append(rec.Edit(
            edit_id=edit_id, img_id=name, y=y, kind="remove_object", phrase=name, replacement=None,
            donor=name, file="files/e.png", mask="files/m.png", edited_share=0.5, control=None,
        ))
        effects.append(rec.Effect(
            edit_id=edit_id, img_id=name, y=y, kind="remove_object", phrase=name, replacement=None,
            p_before=0.9, p_after=0.1, predicted_after=(y + 1) % len(CLASSES), p_control=None,
            predicted_control=None,
        ))
        features.append(rec.SpuriousFeature(
            feature_id=f"{y:03d}/0001", y=y, rank=1, kind="remove_object", phrase=name, support=1,
            flips=1, flip_rate=1.0, score=0.5, mean_drop=0.8, spurious=True, examples=(edit_id,),
            members=(name, f"old {name}"), interval=(0.2, 1.0), controls=0, control_rate=None,
            control_drop=None, p_value=None, q_value=None,
        ))
        images.append(rec.SyntheticImage(
            img_id=f"g{y}", y=y, seed=y, prompt=f"a photo of {name}", parents=(name,),
            file="files/g.png", mask=None,
        ))
        decisions.append(rec.FilterDecision(img_id=f"g{y}", kept=True, reason=None, scores={}))
        concepts.append(rec.Concept(
            concept_id=f"{y:03d}", y=y, objects=(name,), avoided=(name,),
            contexts=(rec.Context(phrase=name, weight=1.0, donors=(name,)),), effect=None,
        ))
    for stage, file in (("edit", "e"), ("edit", "m"), ("generate", "g")):
        made.image(made.root / f"artifacts/{stage}/0/files/{file}.png", mask=file == "m")
    rejected = [rec.Rejected(item_id=n, reason=n, detail=n) for n in CLASSES]
    counts = {s: {f"{n}/{CLASSES[0]}": 3 for n in CLASSES} for s in ("train", "val", "test")}
    run = {"seed": 0, "folder": "train/x", "train_images": 3, "selected_step": 1,
           "metrics": {"test": split(CLASSES)}}
    about = {"needs": CLASSES[4], "selection": CLASSES[5], "steps": 1, "runs": [run]}
    return {
        "schema": 1, "aspire": "0.1.0", "seeds": [0], "seed": 0, "splits": ["train"],
        "overrides": [f"dataset.name={n}" for n in CLASSES],
        "dataset": {
            "name": dataset, "digest": "d", "spurious_attribute": CLASSES[6],
            "class_names": CLASSES, "attribute_names": CLASSES, "group_counts": counts,
            "images": {"train": 10},
        },
        "classifier": {"choice": "hf", "digest": "d", "settings": {"path": CLASSES[4]}},
        "settings": SETTINGS | {"own": {n: n for n in CLASSES}},
        "arms": [{"arm": "erm", "baseline": "erm", "augmentation": "none"} | about],
        "missing": [{"arm": f"erm + {n}", "seed": 0, "reason": n} for n in CLASSES],
        "stages": {
            "caption": made.artifact("caption", []),
            "collapse": made.artifact("collapse", []),
            "edit": made.artifact("edit", edits, *rejected),
        },
        "discovery": {"0": {
            "score": made.artifact("score", effects, *rejected),
            "discover": made.artifact("discover", features),
            "features": [msgspec.to_builtins(f) for f in features], "without": [],
            "truth": [{"y": 4, "attribute": CLASSES[4], "true": [CLASSES[4]],
                       "precision": {"1": 1.0}, "recall": {"1": 1.0}}],
        }},
        "generation": {"0": {
            "personalise": made.artifact("personalise", concepts),
            "generate": made.artifact("generate", images, per_class={}),
            "filter": made.artifact("filter", decisions),
            "kept": len(images), "reasons": {},
        }},
    }


def write_sweep(root: Path) -> Path:
    """A sweep with a dataset of each name, and a job that failed with each for a reason."""
    folder = root / "sweeps" / "javascript:alert(1)"
    ledger = Ledger(folder, "aspire train -m")
    for number, name in enumerate(CLASSES):
        about = {"dataset": name, "baseline": "erm", "augmentation": "none",
                 "model": "small_cnn", "seed": 0}
        run = folder / "javascript:train" / file_name(name)
        run.mkdir(parents=True)
        result = about | {
            "dataset_digest": str(number), "identity": {}, "needs": name, "selection": name,
            "metrics": {"test": split([name])}, "weights_sha256": "w", "class_names": [name],
            "generated_digest": None,
        }
        (run / "result.json").write_text(json.dumps(result))
        ledger.note([f"dataset={number}"], about, f"aspire train dataset.name={name}", run)
        ledger.note([f"seed={number + 1}"], about | {"seed": number + 1}, "aspire", None, name)
    return folder
# fmt: on


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = Outputs(tmp_path_factory.mktemp("hostile") / "out [red] <b>")
    result = result_of(made, NAMES["script"])
    made.write(result)
    photo = made.root / "photo.png"
    made.image(photo)
    files = dict.fromkeys(CLASSES, photo.name)
    written = {"run": write_report(made.folder, made.root, made.root, files)}
    made.folder = made.root / "discover" / "x"
    made.write({k: v for k, v in result.items() if k not in ("arms", "missing", "generation")})
    written["discover"] = write_discovery_report(made.folder, made.root, made.root, files)
    written["sweep"] = write_sweep_report(write_sweep(made.root))
    return written


@pytest.mark.parametrize("verb", ["run", "discover", "sweep"])
def test_names_are_text_in_every_part_of_the_page(reports: dict[str, Path], verb: str) -> None:
    page = Page(reports[verb].read_text())  # fails on tags that names would open
    for name in CLASSES:
        assert " ".join(visible(name).split()) in page.text
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert len(scripts) == (verb == "sweep")  # our own
    attributes = {k for _, attrs in page.tags for k in attrs}
    assert not [k for k in attributes if k.startswith("on")]
    links = [attrs.get("href") or "" for _, attrs in page.tags]
    assert not [link for link in links if link.startswith("javascript:")]
    assert {n for n in page.html if ord(n) < 32} <= {"\n"}


def test_kept_originals_have_names_that_every_system_takes(reports: dict[str, Path]) -> None:
    kept = list((reports["run"].parent / "report_images").iterdir())
    pictures = [p for p in kept if p.suffix != ".sha256"]
    assert len(pictures) == len(set(CLASSES)) == len(kept) / 2  # each with its seal
    assert all(len(p.name) < 30 and p.name.replace(".", "").isalnum() for p in kept)


def test_in_a_browser_no_script_of_a_name_runs(reports: dict[str, Path], browser: Any) -> None:
    for verb, report in reports.items():
        page, said = browser.new_page(), []
        page.set_default_timeout(120_000)
        page.on("dialog", lambda d, said=said: (said.append(d.message), d.dismiss()))
        page.on("pageerror", lambda e, said=said: said.append(str(e)))
        page.goto(report.as_uri(), wait_until="load")
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        for link in page.locator("a[href]").all()[:40]:  # also those to folders of that name
            assert link.evaluate("a => a.protocol") in ("file:", "data:")
        assert page.title() != "owned"
        assert said == []
        text = " ".join(page.inner_text("main").split())
        missing = [n for n in CLASSES if " ".join(visible(n).split()) not in text]
        assert missing == [], verb
        page.close()
