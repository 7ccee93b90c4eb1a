"""Rows by columns: means, gains, gaps, mixed settings, published numbers, and every format."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from aspire.errors import ConfigError
from aspire.reporting.grid import Grid, make_grid, paired_gain
from aspire.reporting.grid_latex import as_latex
from aspire.reporting.grid_text import (
    as_csv,
    as_json,
    as_markdown,
    as_rich_grid,
    lay_out,
)
from aspire.reporting.published import published
from aspire.runs.claims import RunStatus
from aspire.runs.ledger import JobEntry


def run(
    baseline: str, augmentation: str, dataset: str, seed: int, worst: float | None, **more: Any
) -> tuple[JobEntry, dict[str, Any]]:
    """A finished job and its result."""
    result = {
        "dataset": dataset,
        "dataset_digest": f"digest of {dataset}",
        "model": "resnet50",
        "baseline": baseline,
        "augmentation": augmentation,
        "seed": seed,
        "needs": {"groupdro": "train+val groups"}.get(baseline, "none"),
        "selection": "val_worst_group",
        "identity": {"fit": {"steps": 10}, "baseline": {"name": baseline}},
        "metrics": {"test": {"worst_group_acc": worst, "acc": 0.9}},
    } | more
    about = {k: result[k] for k in ("dataset", "model", "baseline", "augmentation", "seed")}
    folder = Path(f"/runs/{dataset}/{baseline}/{augmentation}/{seed}/{len(more)}")
    return JobEntry(about, RunStatus(folder, "done"), "aspire train one"), result


def missing(job: JobEntry, state: Any, reason: str = "") -> JobEntry:
    look = RunStatus(job.look.folder, state, reason=reason, who="process 7 on node1")
    return JobEntry(job.about, look, "aspire train one", "aspire train all")


def grid_of(
    finished: list[tuple[JobEntry, dict[str, Any]]],
    gaps: list[JobEntry] | None = None,
    rows: str = "baseline",
    metrics: tuple[str, ...] = ("worst_group_acc",),
) -> Grid:
    results = {str(job.look.folder): result for job, result in finished}
    jobs = [job for job, _ in finished] + (gaps or [])
    return make_grid(jobs, results, rows.split(","), ["dataset"], metrics, "test")


BEFORE = {0: 0.10, 1: 0.20, 2: 0.35}
AFTER = {0: 0.50, 1: 0.75, 2: 0.60, 3: 0.90}


def sweep() -> Grid:
    """ERM with and without ASPIRE on one dataset, GroupDRO on two, one of it failed."""
    finished = [run("erm", "none", "waterbirds", s, v) for s, v in BEFORE.items()]
    finished += [run("erm", "aspire", "waterbirds", s, v) for s, v in AFTER.items()]
    finished += [run("groupdro", "none", d, 0, 0.8) for d in ("waterbirds", "mini_50%_{x}")]
    gaps = [
        missing(run("groupdro", "none", "waterbirds", 1, 0)[0], "failed", "OutOfMemory: 80 GB & 1"),
        missing(run("erm", "none", "mini_50%_{x}", 0, 0)[0], "new"),
        missing(run("erm", "aspire", "mini_50%_{x}", 0, 0)[0], "running"),
    ]
    return grid_of(finished, gaps)


def texts(grid: Grid, metric: int = 0) -> dict[str, list[str]]:
    return {line.label: line.texts for line in lay_out(grid).blocks[metric].lines}


def test_cells_gains_and_gaps() -> None:
    lines = texts(sweep())
    assert list(lines) == ["erm", "erm + aspire", "  gain", "groupdro"]
    std = 100 * statistics.stdev(BEFORE.values())
    assert lines["erm"] == ["not run [1]", f"21.7 ± {std:.1f} (3)"]
    assert lines["erm + aspire"][0] == "running [2]"
    assert lines["groupdro"] == ["80.0 (1)", "80.0 (1) [3]"]
    assert lines["  gain"][1].startswith("+40.0 [")  # of the three seeds that both have
    assert lay_out(sweep()).notes == [
        "[1] not run yet. Finish with: aspire train all",
        "[2] running: process 7 on node1",
        "[3] failed: OutOfMemory: 80 GB & 1. Finish with: aspire train all",
    ]


def test_the_interval_is_that_of_students_t_over_the_pairs() -> None:
    # differences 0.40, 0.55, 0.25: mean 0.40, standard deviation 0.15; a table of Student's t has
    # 4.303 for two degrees of freedom, so 0.40 +- 4.303 * 0.15 / sqrt(3) = 0.40 +- 0.3727
    gain = paired_gain(BEFORE, AFTER)
    assert gain is not None
    assert gain.mean == pytest.approx(0.40)
    assert (gain.low, gain.high) == pytest.approx((0.0273, 0.7727), abs=1e-4)
    # two pairs, 0.1 and 0.3: 0.2 +- 12.706 * 0.1414 / sqrt(2)
    two = paired_gain({0: 0.1, 1: 0.1}, {0: 0.2, 1: 0.4})
    assert two is not None
    assert (two.low, two.high) == pytest.approx((-1.0706, 1.4706), abs=1e-4)
    same = paired_gain({0: 0.1, 1: 0.1}, {0: 0.25, 1: 0.25})
    assert same is not None
    assert (same.low, same.high) == pytest.approx((0.15, 0.15))
    one = paired_gain({0: 0.5}, AFTER)
    assert one is not None
    assert (one.mean, one.low, one.n) == (0.0, None, 1)
    assert paired_gain({9: 0.5}, AFTER) is None


def test_needs_and_selection_stand_in_the_header() -> None:
    header = "\n".join(lay_out(sweep()).header)
    assert "sample standard deviation over seeds" in header
    assert "selection: val_worst_group" in header
    assert "needs: none: erm; train+val groups: groupdro" in header


def test_a_cell_that_nobody_started_says_how() -> None:
    grid = grid_of([run("erm", "none", "a", 0, 0.1), run("dfr", "none", "b", 0, 0.1)])
    notes = "\n".join(lay_out(grid).notes)
    assert "never started: aspire train baseline=erm dataset=b augmentation=none" in notes


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"identity": {"fit": {"steps": 20}, "baseline": {"name": "erm"}}}, "fit.steps: 10 and 20"),
        ({"identity": {"fit": {}, "baseline": {"name": "erm"}}}, "fit.steps: 10 and None"),
        ({"model": "vit"}, "model: resnet50 and vit"),
        ({"dataset_digest": "x"}, "dataset_digest: digest of a and x"),
    ],
)
def test_mixed_settings_in_a_cell_are_an_error_naming_both(
    change: dict[str, Any], expected: str
) -> None:
    finished = [run("erm", "none", "a", 0, 0.1), run("erm", "none", "a", 1, 0.2, **change)]
    with pytest.raises(ConfigError) as error:
        grid_of(finished)
    assert expected in str(error.value)
    assert "/runs/a/erm/none/0/0" in str(error.value)
    assert "/runs/a/erm/none/1/1" in str(error.value)


def test_two_generated_sets_with_one_seed_are_not_averaged() -> None:
    pair = [run("erm", "aspire", "a", 0, 0.1, generated_digest=d) for d in ("x", "y")]
    again = RunStatus(Path("/runs/again"), "done")
    pair[1] = (JobEntry(pair[1][0].about, again, ""), pair[1][1])
    with pytest.raises(ConfigError, match="generated_digest: x and y"):
        grid_of(pair)


def test_a_job_that_failed_once_and_is_done_elsewhere_is_no_gap() -> None:
    job, result = run("erm", "none", "a", 0, 0.5)
    grid = grid_of([(job, result)], [missing(job, "failed", "before")])
    assert texts(grid)["erm"] == ["50.0 (1)"]


def test_fields_that_do_not_exist_are_answered() -> None:
    one = [run("erm", "none", "a", 0, 0.1)]
    with pytest.raises(ConfigError, match=r"rows=baselin: no such field. Did you mean baseline\?"):
        grid_of(one, rows="baselin")
    with pytest.raises(ConfigError, match="for example rows=baseline cols=dataset"):
        grid_of(one, rows="dataset")
    with pytest.raises(ConfigError, match=r"Did you mean acc\?"):
        grid_of(one, metrics=("ac",))


def test_markdown_is_a_table_of_equal_widths() -> None:
    lines = as_markdown(lay_out(sweep())).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({len(line) for line in table}) == 1
    assert len({line.count("|") for line in table}) == 1
    assert table[0].startswith("| worst_group_acc | ")


@pytest.mark.parametrize("width", [80])
def test_nine_baselines_and_four_datasets_fit_a_terminal(width: int) -> None:
    names = ("mini_waterbirds", "mini_celeba", "mini_spuco_dogs", "mini_hard_imagenet")
    grid = grid_of(
        [
            run("masktune", a, d, s, v)
            for d in names
            for a, values in (("none", BEFORE), ("aspire", AFTER))
            for s, v in values.items()
        ]
    )
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    for part in as_rich_grid(lay_out(grid)):
        console.print(part)
    text = console.export_text()
    assert "…" not in text
    assert text.count("21.7 ± 12.6 (3)") == 4  # whole, in one line
    assert max(map(len, text.splitlines())) <= width
    assert "\n  + aspire " in text  # below its baseline
    assert "masktune + aspire" not in text

    layout = lay_out(grid)
    tables = [b for b in as_markdown(layout).split("\n\n") if b.startswith("|")]
    assert len(tables) == 2
    assert max(len(line) for table in tables for line in table.splitlines()) <= width
    assert [t.splitlines()[0].count("mini_") for t in tables] == [2, 2]
    assert all("masktune + aspire" in t for t in tables)
    (whole,) = [b for b in as_markdown(layout, 0).split("\n\n") if b.startswith("|")]
    assert whole.splitlines()[0].count("mini_") == 4


def test_erm_comes_first_and_a_mark_stays_beside_its_word() -> None:
    results = [run(b, "none", "mini_celeba", 0, 0.5) for b in ("cnc", "erm", "groupdro")]
    results.append(run("cnc", "none", "mini_waterbirds", 0, 0.5))
    grid = grid_of(results)
    assert [row for row, _ in grid.lines] == [("erm",), ("cnc",), ("groupdro",)]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(as_rich_grid(lay_out(grid))[0])
    assert "not run [1]" in console.export_text()


def test_csv_and_json_hold_everything() -> None:
    grid = sweep()
    rows = list(csv.DictReader(as_csv(grid, None).splitlines()))
    assert len(rows) == 6
    (aspire,) = [
        r for r in rows if (r["augmentation"], r["dataset"]) == ("aspire", "waterbirds")
    ]  # fmt: skip
    assert float(aspire["mean"]) == pytest.approx(statistics.fmean(AFTER.values()))
    assert float(aspire["gain"]) == pytest.approx(0.4)
    assert (aspire["n"], aspire["gain_n"]) == ("4", "3")
    cells = json.loads(as_json(grid, None))["cells"]
    (failed,) = [c for c in cells if c["reason"]]
    assert failed["reason"] == "OutOfMemory: 80 GB & 1"
    assert failed["finish"] == "aspire train one"
    assert failed["n"] == 1


# --- published -----------------------------------------------------------------------------------


def test_published_numbers_stand_beside_ours_with_their_source() -> None:
    layout = lay_out(sweep(), "published")
    lines = [(line.label, line.texts) for line in layout.blocks[0].lines]
    after_erm = [label for label, _ in lines[1 : [x for x, _ in lines].index("erm + aspire")]]
    assert after_erm == ["  jtt", "  cnc", "  dfr", "  balancing", "  subpop", "  sage"]
    assert ("  jtt", ["-", "72.6**"]) in lines
    assert ("  dfr", ["-", "74.9 ± 2.4*"]) in lines
    assert ("  sage", ["-", "78.7 ± 1.3*"]) in lines  # of the arm with ASPIRE
    assert any("JTT paper, Liu et al. 2021" in s for s in layout.sources)
    rows = json.loads(as_json(sweep(), "published"))["published"]
    assert {r["dataset"] for r in rows} == {"waterbirds"}


def test_every_published_number_has_a_source_and_is_a_percentage() -> None:
    for metric in ("worst_group_acc", "acc_adjusted"):
        numbers = published(metric, ["waterbirds", "celeba"])
        assert len(numbers) > 20
        for number in numbers:
            assert 0.2 < number.mean < 1
            assert number.about
            assert number.read in ("verified", "second-hand", "recalled")
    places = [(p.baseline, p.augmentation, p.dataset, p.source) for p in numbers]
    assert len(set(places)) == len(places)
    assert published("acc", ["waterbirds"]) == []


def test_nothing_published_is_said() -> None:
    layout = lay_out(grid_of([run("erm", "none", "mini_celeba", 0, 0.1)]), "published")
    assert "Nothing was published for mini_celeba" in layout.sources[0]
    with pytest.raises(ConfigError, match="against=paper: expected published"):
        lay_out(sweep(), "paper")
    with pytest.raises(ConfigError, match="take rows=baseline cols=dataset"):
        lay_out(grid_of([run("erm", "none", "a", 0, 0.1)], rows="model,baseline"), "published")


# --- LaTeX ---------------------------------------------------------------------------------------


def wide() -> str:
    finished = [run("erm", "none", "waterbirds", s, v) for s, v in BEFORE.items()]
    finished += [run("erm", "aspire", "waterbirds", s, v) for s, v in AFTER.items()]
    finished += [run("groupdro", "none", "mini_50%_{x}", 0, 0.8)]
    gap = missing(run("erm", "none", "mini_50%_{x}", 0, 0)[0], "failed", r"a\b_c$ ~^#|<>")
    return as_latex(
        lay_out(grid_of(finished, [gap], metrics=("worst_group_acc", "acc")), "published")
    )


def test_latex_is_a_booktabs_table_of_equal_rows() -> None:
    text = wide()
    head = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert head
    assert head[1] == "lrrrr"
    order = ["\\toprule", "\\midrule", "\\bottomrule", "\\end{tabular}", "\\end{table}"]
    assert sorted(order, key=text.index) == order
    body = text[text.index("\\midrule") + 8 : text.index("\\bottomrule")].strip().splitlines()
    for row in body:
        assert row.endswith(" \\\\")
        assert len(re.findall(r"(?<!\\)&", row)) == 4, row
    assert "\\multicolumn{2}{c}{waterbirds}" in text
    assert "\\cmidrule(lr){2-3} \\cmidrule(lr){4-5}" in text
    # whatever is special stands escaped, also in notes
    plain = re.sub(r"\\[%&_#${}]|\\text\w+\{\}|\$\\pm\$|\$[<>|-]\$", "", text)
    plain = re.sub(r"\\\w+|^% needs.*$", "", plain, flags=re.M)
    assert not set("%#_~^$") & set(plain)
    depth = 0
    for char in re.sub(r"\\[{}]", "", text):
        depth += {"{": 1, "}": -1}.get(char, 0)
        assert depth >= 0
    assert depth == 0


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("tectonic") or shutil.which("pdflatex")), reason="no LaTeX here"
)
def test_latex_compiles(tmp_path: Path) -> None:
    source = tmp_path / "table.tex"
    head = "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}"
    source.write_text(f"{head}\n{wide()}\n\\end{{document}}\n")
    tool = ["tectonic"] if shutil.which("tectonic") else ["pdflatex", "-interaction=batchmode"]
    done = subprocess.run(
        [*tool, source.name], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "table.pdf").stat().st_size > 1000
