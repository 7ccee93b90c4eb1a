"""The page about a sweep: its numbers by hand, and how it behaves in a real browser."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from pages import GROUPS, VOID, Outputs, Page, commit, result_of
from runfolders import run_folder

from aspire.cli import main
from aspire.errors import ConfigError
from aspire.identity import digest_of
from aspire.reporting.sweep_report import write_sweep_report
from aspire.reporting.sweep_sources import Originals
from aspire.runs.ledger import Ledger

UPSTREAM = {
    "caption": [], "edit": [], "score": ["edit"], "discover": ["score"],
    "personalise": ["discover"], "generate": ["personalise"], "measure": ["generate"],
    "filter": ["measure"], "nearest": ["generate", "filter"],
}  # fmt: skip
# (dataset, baseline, augmentation) -> worst-group accuracy of seeds 0 and 1
WORST = {
    ("birds", "erm", "none"): (0.10, 0.30),
    ("birds", "erm", "aspire"): (0.60, 0.70),
    ("birds", "groupdro", "none"): (0.80, 0.80),
    ("birds", "groupdro", "aspire"): (0.70, 0.75),
    ("dogs", "erm", "none"): (0.40, 0.50),
    ("dogs", "erm", "aspire"): (0.55, 0.60),
}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep as it lies on disk: 12 jobs done, one failed and one not run."""
    made = Outputs(tmp_path / "outputs")
    whole = result_of(made)
    made.artifact("measure", [])
    digests: dict[str, str] = {}
    for stage, names in UPSTREAM.items():
        upstream = {name: digests[name] for name in names}
        digests[stage] = commit(made.root / f"artifacts/{stage}/0", upstream, {})
    generated = digest_of([digests["generate"], digests["filter"]])
    folder = made.root / "sweeps" / "mine"
    ledger = Ledger(folder, "aspire train experiment=mine")
    for (dataset, baseline, augmentation), values in WORST.items():
        for seed, worst in enumerate(values):
            groups = {g: {"acc": worst if g == GROUPS[2] else 0.9, "n": 50} for g in GROUPS}
            test = {"worst_group_acc": worst, "worst_group": GROUPS[2], "acc": 0.8}
            test |= {"acc_adjusted": 0.9, "acc_balanced": 0.85, "groups": groups}
            about = {"dataset": dataset, "baseline": baseline, "augmentation": augmentation}
            about |= {"model": "small_cnn", "seed": seed}
            run = made.root / "train" / dataset / baseline / augmentation / f"small_cnn-s{seed}-0"
            run.mkdir(parents=True)
            result = {
                **about, "dataset_digest": dataset, "identity": {}, "needs": "none",
                "selection": "val_acc", "metrics": {"test": test}, "weights_sha256": "w",
                "class_names": ["landbird", "waterbird"],
                "generated_digest": generated if augmentation == "aspire" else None,
            }  # fmt: skip
            (run / "result.json").write_text(json.dumps(result))
            settings = {k: whole["settings"][k] for k in ("score", "filter")}
            settings["dataset"] = {"_target_": "aspire.data.waterbirds.Waterbirds", "root": "gone"}
            (run / "config.yaml").write_text(yaml.safe_dump(settings))
            words = [f"{k}={v}" for k, v in about.items()]
            ledger.note(words, about, "aspire train one", run)
    for augmentation, failed in (("none", "OutOfMemory: <80> GB"), ("aspire", "")):
        about = {"dataset": "dogs", "baseline": "groupdro", "augmentation": augmentation}
        about |= {"model": "small_cnn", "seed": 0}
        words = [f"{k}={v}" for k, v in about.items()]
        ledger.note(words, about, "aspire train one", None, failed)
    made.image(tmp_path / "birds" / "1.png")
    return folder


def page_of(folder: Path, **more: Any) -> Any:
    VOID.update({"input"})
    return Page(write_sweep_report(folder, **more).read_text())


def test_the_table_has_numbers_gains_and_gaps(sweep: Path) -> None:
    page = page_of(sweep)
    rows = [r for r in page.rows if r[0] == "erm + aspire"]
    # gains 50 and 40 points: mean 45, standard error 5; of 10 and 15: 12.5 and 2.5. With one degree
    # of freedom the 97.5 % quantile of t is 12.706: so many standard errors to each side
    assert [c.strip() for c in rows[0][2:4]] == [
        "65.0 ± 7.1 (2)+45.0 [\N{MINUS SIGN}18.5, +108.5]",
        "57.5 ± 3.5 (2)+12.5 [\N{MINUS SIGN}19.3, +44.3]",
    ]
    assert rows[0][4] == f"{(65.0 + 57.5) / 2:.2f}"[:4]
    failed, new = (
        next(r for r in page.rows if r[0] == n) for n in ("groupdro", "groupdro + aspire")
    )
    assert failed[3].split() == ["failed", "1"]
    assert new[3].split() == ["not", "run", "2"]
    assert new[4] == "\N{EN DASH}"  # no mean where a column is missing
    assert "failed: OutOfMemory: <80> GB. Finish with: aspire train experiment=mine" in page.text
    for part in ("12 of 14", "1", "selection: val_acc", "needs: none"):
        assert part in page.text


def test_the_verdict_counts_what_got_better(sweep: Path) -> None:
    # +45, -7.5 and +12.5 points
    text = "ASPIRE raises worst-group accuracy in 2 of 3 pairs of baseline and dataset, by +16.7"
    assert text in page_of(sweep).text


def test_everything_is_in_the_page_and_runs_are_linked(sweep: Path) -> None:
    page = page_of(sweep)
    page.check_headings()
    sources = [a["src"] or "" for _, a in page.tags if "src" in a]
    assert sources
    assert all(s.startswith("data:") for s in sources)
    assert "http" not in page.html.replace("http://www.w3.org", "")
    assert not {w for w in ("url(", "@import") if w in page.html}
    assert all(i["alt"] for i in page.images)
    assert all(a.get("aria-label") for tag, a in page.tags if tag == "svg")
    links = [a["href"] or "" for tag, a in page.tags if tag == "a"]
    targets = {a["id"] for _, a in page.tags if "id" in a}
    assert {link[1:] for link in links if link.startswith("#")} <= targets
    runs = [link for link in links if not link.startswith("#")]
    assert len(runs) == 3 * 12
    assert all((sweep / link).exists() for link in runs)


def test_a_moved_outputs_folder_gives_the_same_page(sweep: Path, tmp_path: Path) -> None:
    before = write_sweep_report(sweep).read_text()
    outputs = sweep.parents[1].rename(tmp_path / "moved")
    again = write_sweep_report(outputs / "sweeps" / "mine").read_text()
    assert again.replace("/moved/", "/outputs/") == before


def test_features_and_images_come_from_the_artifacts_behind_the_runs(sweep: Path) -> None:
    page = page_of(
        sweep, originals={"birds": Originals(sweep.parents[2] / "birds", {"a/1": "1.png"})}
    )
    assert page.text.count("1 of 1 judged phrases are shortcuts") == 2  # birds and dogs
    assert "<script>alert" not in page.html
    alts = [i["alt"] or "" for i in page.images]
    assert sum("before; the answer is landbird" in a for a in alts) == 1  # dogs are not at hand
    assert sum(a.startswith("rejected as duplicate") for a in alts) == 2
    assert sum(a.startswith("nearest training image, b") for a in alts) == 4
    assert "3 of 5 kept" in page.text
    assert (sweep / "report_images" / "birds").is_dir()
    again = page_of(sweep)  # without the dataset: from the copies
    assert sum("before; the answer is landbird" in (i["alt"] or "") for i in again.images) == 1


def test_features_drawn_by_lot_are_no_findings(sweep: Path) -> None:
    path = sweep.parents[1] / "artifacts" / "discover" / "0" / "manifest.json"
    manifest = json.loads(path.read_text()) | {"identity": {"score": "random"}}
    path.write_text(json.dumps(manifest))
    page = page_of(sweep)
    assert "65.0 ± 7.1 (2)" in page.text
    assert "are shortcuts" not in page.text


def test_a_legend_explains_only_what_is_there(sweep: Path, tmp_path: Path) -> None:
    explained = ("Below a number: its gain.", "mean: over the columns")
    text = page_of(sweep).text
    assert all(words in text for words in explained)
    for seed in (0, 1):  # one arm on one dataset: nothing to gain, one column
        run_folder(tmp_path / "alone", seed=seed)
    text = page_of(tmp_path / "alone").text
    assert "50.0 ± 0.0 (2)" in text
    assert not [words for words in explained if words in text]


def test_without_artifacts_the_numbers_still_stand(sweep: Path) -> None:
    shutil.rmtree(sweep.parents[1] / "artifacts")
    page = page_of(sweep)
    assert "65.0 ± 7.1 (2)" in page.text
    assert "Shortcuts found" not in page.text


def test_the_verb_finds_out_what_the_folder_is(sweep: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["report", str(sweep)]) == 0
    assert capsys.readouterr().out.count("no pictures of birds before an edit") == 1
    assert (sweep / "report.html").is_file()
    assert main(["report", str(sweep.parents[1] / "train")]) == 0  # runs without a sweep
    with pytest.raises(ConfigError, match="no finished job"):
        write_sweep_report(tmp_path / "nowhere")


# --- in a browser --------------------------------------------------------------------------------

SORTED = """() => [...document.querySelectorAll('.block:not([hidden]) tbody tr:not([hidden])')]
    .map(row => row.cells[0].textContent)"""


def open_page(browser: Any, report: Path, **options: Any) -> Any:
    page = browser.new_page(**options)
    page.set_default_timeout(120_000)
    page.said = []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on(
        "request", lambda request: page.said.append(request.url) if "http" in request.url[:5] else 0
    )
    page.goto(report.as_uri(), wait_until="load")
    return page


def test_in_a_browser_the_table_sorts_and_everything_loads(browser: Any, sweep: Path) -> None:
    page = open_page(browser, write_sweep_report(sweep), viewport={"width": 1280, "height": 900})
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate("document.images.length") > 4
    names = ["erm", "erm + aspire", "groupdro", "groupdro + aspire"]
    assert page.evaluate(SORTED) == names
    head = page.locator(".block:not([hidden]) th", has_text="birds")
    head.locator("button").focus()
    page.keyboard.press("Enter")  # numbers: largest first; by keyboard alone
    assert page.evaluate(SORTED) == [names[2], names[3], names[1], names[0]]
    assert head.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Space")
    assert page.evaluate(SORTED) == [names[0], names[1], names[3], names[2]]
    page.locator(".block:not([hidden]) th button", has_text="dogs").click()
    assert page.evaluate(SORTED)[2:] == [names[3], names[2]]  # empty cells at the end
    assert head.get_attribute("aria-sort") is None

    page.select_option("#arms", "augmented")
    assert sorted(page.evaluate(SORTED)) == [names[1], names[3]]
    page.fill("#find", "groupdro")
    assert page.evaluate(SORTED) == [names[3]]
    assert page.inner_text("#shown") == "1 of 4 rows"
    page.select_option("#metric", "acc")
    assert page.locator(".block:visible").get_attribute("data-metric") == "acc"
    assert page.said == []  # no error, no warning, no request
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_it_fits_a_phone(browser: Any, sweep: Path, scheme: str) -> None:
    report = write_sweep_report(sweep)
    page = open_page(
        browser, report, viewport={"width": 390, "height": 800}, color_scheme=scheme
    )  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, colour[4:-1].split(","))) < 200) == (scheme == "dark")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.said == []
    page.close()


def test_in_a_browser_without_scripts_every_metric_is_there(browser: Any, sweep: Path) -> None:
    page = open_page(browser, write_sweep_report(sweep), java_script_enabled=False)
    assert page.locator(".block:visible").count() == 4
    assert not page.locator(".controls").is_visible()
    page.close()
