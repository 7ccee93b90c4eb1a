"""The page of aspire review without a browser: steps, what is refused, and who is kept out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pages import Page
from reviewed import feature, run_of
from werkzeug.test import Client

from aspire.errors import AspireError, ConfigError
from aspire.reporting.decided import sentences
from aspire.reporting.report import write_report
from aspire.reporting.review import RefusedError, Review
from aspire.reporting.review_pages import Pages
from aspire.reporting.review_server import HEADERS, ReviewApp
from aspire.stored.decisions import Judge, Merge, Rename, Sort, Step, read_decisions

SCENE = "change_background"
HOST = "http://127.0.0.1:8000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run_of(tmp_path / "outputs").folder


@pytest.fixture
def app(folder: Path) -> ReviewApp:
    review = Review(folder)
    return ReviewApp(review, Pages(review), 8000, "secret")


def judge(phrase: str, verdict: str, y: int = 0, found: bool = True, kind: Any = SCENE) -> Judge:
    return Judge(y=y, kind=kind, phrase=phrase, found=found, verdict=verdict)


def post(app: ReviewApp, what: str, step: Step | None = None, **more: Any) -> tuple[int, Any]:
    headers = {"Origin": HOST, "Content-Type": "application/json"} | more.pop("headers", {})
    data = b"{}" if step is None else msgspec.json.encode(step)
    answer = Client(app).post(
        f"/secret/{what}", base_url=more.pop("host", HOST), data=more.pop("data", data),
        headers={k: v for k, v in headers.items() if v},
    )  # fmt: skip
    return answer.status_code, answer.get_data(as_text=True)


def get(app: ReviewApp, what: str = "", host: str = HOST) -> Any:
    return Client(app).get(f"/secret/{what}", base_url=host)


def page(app: ReviewApp, what: str = "") -> Page:
    answer = get(app, what)
    assert answer.status_code == 200
    return Page(answer.get_data(as_text=True))


def test_steps_are_kept_at_once_and_known_to_the_next_server(app: ReviewApp, folder: Path) -> None:
    assert not (folder / "decisions.json").exists()
    assert post(app, "step", judge("forest", "reject")) == (
        200, '{"said":"“forest” of landbird is no shortcut."}',
    )  # fmt: skip
    assert post(app, "step", Rename(phrase="jungle", name="palms"))[0] == 200
    assert post(app, "step", judge("forest", "reject")) == (200, '{"said":"It is so already."}')
    found = read_decisions(folder / "decisions.json")
    assert found is not None
    assert found.judged == {(0, SCENE, "forest"): False}
    assert found.on.found == {"0": "digest-of-discover"}
    assert post(app, "undo") == (200, '{"said":"Undone."}')
    again = Review(folder)
    assert sentences(again.decisions()) == [
        "landbird: “forest” (scene changed) was rejected: it is no shortcut."
    ]
    assert again.again() == "Done again."
    assert again.decisions().names == {"jungle": "palms"}
    with pytest.raises(RefusedError, match="There is nothing to redo"):
        again.again()


def test_the_page_shows_what_was_decided(app: ReviewApp) -> None:
    before = page(app)
    before.check_headings()
    assert "2 of 2" not in before.text
    for step in (
        judge("forest", "reject"), Rename(phrase="tree", name="a tree & more"),
        Merge(phrase="jungle", into="forest"), judge("tree", "accept", found=False,
                                                     kind="remove_object"),
    ):  # fmt: skip
        assert post(app, "step", step)[0] == 200, step
    shown = page(app)
    assert "4 decisions" in shown.text
    # counted under the other one, for the second class too
    assert shown.text.count("Counted together with: “jungle”") == 2
    assert "named by you, “tree” in captions" in shown.text
    assert "a tree & more object removed not found as one ✓ accepted by you" in shown.text
    assert "forest scene changed found as a shortcut ✕ rejected by you" in shown.text
    assert "Your decisions on features have other images generated." in shown.text
    pressed = [a["id"] for _, a in shown.tags if a.get("aria-pressed") == "true"]
    assert pressed == ["f-0-0-reject", "f-0-2-accept"]
    # what is separated is there again, with what was said of it before
    assert post(app, "step", Merge(phrase="jungle", into=None))[0] == 200
    assert "Counted together" not in page(app).text


def test_images_are_sorted_one_by_one_and_together(app: ReviewApp) -> None:
    assert "3 of 5 images of landbird are kept." in page(app, "images").text
    rejected = page(app, "images?show=rejected")
    assert "low_confidence (0.001): the classifier does not take the object" in rejected.text
    (first, _) = [a for t, a in rejected.tags if t == "button" and "i-" in (a["id"] or "")]
    keep = json.loads(first["data-step"] or "")
    assert keep["verdict"] == "keep"
    assert post(app, "step", data=json.dumps(keep).encode()) == (200, '{"said":"1 image kept."}')
    shown = page(app, "images?show=decided")
    (only,) = [a for t, a in shown.tags if t == "button" and "i-" in (a["id"] or "")]
    assert "4 of 5 images of landbird are kept." in shown.text
    # once more, and it is left to the filters
    assert json.loads(only["data-step"] or "")["verdict"] == "open"
    everything = json.loads(next(a["data-step"] or "" for _, a in page(app, "images").tags
                                 if a.get("id") == "all-drop"))  # fmt: skip
    assert len(everything["images"]) == 3
    assert post(app, "step", data=json.dumps(everything).encode())[1] == (
        '{"said":"3 images dropped."}'
    )
    assert "1 of 5 images of landbird are kept." in page(app, "images?class=0&show=all").text
    assert "0 of 0 images of waterbird" in page(app, "images?class=1").text


def test_much_is_turned_over_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("CLASSES", 1), ("LISTED", 1), ("TILES", 2), ("ILLUSTRATED", 0)):
        monkeypatch.setattr(f"aspire.reporting.review_pages.{name}", most)
    review = Review(run_of(tmp_path).folder)
    app = ReviewApp(review, Pages(review), 8000, "secret")

    def links(what: str) -> list[str | None]:
        return [a["href"] for t, a in page(app, what).tags if t == "a" and a.get("rel")]

    assert links("") == ["./?page=2"]
    assert links("?page=2") == ["./?page=1"]
    assert "1 of 2 phrases. All phrases of waterbird" in page(app, "?page=2").text
    assert links("?class=1") == []
    assert len([a for _, a in page(app, "?class=1").tags if "feature" in (a.get("class") or "")])
    assert links("images?show=all&page=2") == [
        f"images?seed=0&class=0&show=all&page={n}" for n in (1, 3)
    ]


def test_addresses_that_make_no_sense_show_something(app: ReviewApp) -> None:
    for what in ("images?seed=9&class=-1&page=-5&show=x", "images?page=99&class=a", "?class=77"):
        assert get(app, what).status_code == 200
    assert "All phrases" not in page(app, "?class=0").text


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (judge("sea", "reject"), "“sea” is no feature of this class any more"),
        (judge("forest", "reject", found=False), "was found to be something else"),
        (judge("forest", "reject", y=7), "is no feature of this class"),
        (Merge(phrase="forest", into="forest"), "cannot be counted with"),
        (Merge(phrase="forest", into="tree"), "whose edits are of one kind"),
        (Merge(phrase="forest", into=None), "is counted by itself already"),
        (Rename(phrase="forest", name="jungle"), "is the name of another feature"),
        (Rename(phrase="forest", name=" x"), "A name has no space at its ends"),
        (Rename(phrase="forest", name="a\x00b"), "no control characters"),
        (Rename(phrase="sea", name="x"), "is no feature any more"),
        (Sort(seed=0, images=("0" * 64,), verdict="drop"), "1 of these images are not among"),
        (Sort(seed=5, images=("0" * 64,), verdict="drop"), "that seed 5 made"),
    ],
)
def test_steps_that_cannot_be_taken(app: ReviewApp, folder: Path, step: Step, said: str) -> None:
    status, text = post(app, "step", step)
    assert status == 409
    assert said in text
    assert not (folder / "decisions.json").exists()


def test_who_is_kept_out(app: ReviewApp, folder: Path) -> None:
    step = judge("forest", "reject")
    # another name for this machine (DNS rebinding), another secret
    assert get(app, host="http://evil.example:8000").status_code == 403
    assert get(app, host="http://127.0.0.1:9000").status_code == 403
    assert post(app, "step", step, host="http://evil.example:8000")[0] == 403
    for path in ("/", "/secre/", "/secret2/", "/Secret/", "/report.html"):
        assert Client(app).get(path, base_url=HOST).status_code == 404
    # a step of another page in the same browser (CSRF)
    for headers in (
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": ""},
        {"Origin": "http://127.0.0.1:9000"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):  # fmt: skip
        assert post(app, "step", step, headers=headers)[0] == 403, headers
    assert post(app, "step", step, headers={"Content-Type": "text/plain"})[0] == 415
    assert Client(app).put("/secret/step", base_url=HOST).status_code == 405
    # what is no step
    for data in (b"", b"[]", b"{", b'{"do":"judge"}', b"[" * 10_000, b'{"do":"run","x":1}'):
        assert post(app, "step", data=data)[0] == 409
    assert post(app, "step", data=b" " * 2_000_000)[0] == 413
    assert post(app, "other", step)[0] == 409
    assert not (folder / "decisions.json").exists()


def test_nothing_else_of_the_disk_is_served(app: ReviewApp, folder: Path) -> None:
    (folder / "picture").mkdir()
    (folder / "picture" / "x").write_text("x")
    for what in (
        "result.json", "../result.json", "picture/x", "picture/../result.json", "picture/",
        "picture/%2e%2e%2f%2e%2e%2fresult.json", "picture//etc/passwd", "report.css", "images/..",
        "style.css/../result.json", "//etc/passwd", "picture/" + "0" * 64,
    ):  # fmt: skip
        assert get(app, what).status_code == 404, what
    shown = [a["src"] or "" for a in (*page(app).images, *page(app, "images").images)]
    assert len(shown) > 4
    for src in shown:
        answer = get(app, src)
        assert (answer.status_code, answer.mimetype) == (200, "image/png")
    whole = get(app)
    assert {k: whole.headers[k] for k in HEADERS} == HEADERS
    assert "'unsafe" not in HEADERS["Content-Security-Policy"]
    assert not any(k[:2] == "on" or k == "style" for _, a in page(app).tags for k in a)
    for name, kind in (("style.css", "text/css"), ("script.js", "text/javascript")):
        assert get(app, name).mimetype == kind


def test_what_cannot_be_written_is_said_and_not_taken(
    app: ReviewApp, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(30, os.strerror(30), str(path))

    monkeypatch.setattr("aspire.stored.decisions.write_atomic", full)
    status, text = post(app, "step", judge("forest", "reject"))
    assert status == 409
    assert "Nothing was kept." in text
    assert "decisions.json: the file system is read-only" in text
    assert f"aspire review {folder} to=FILE" in text
    assert "nothing decided yet" in page(app).text


def test_a_file_about_other_results_is_refused(app: ReviewApp, folder: Path) -> None:
    post(app, "step", judge("forest", "reject"))
    file = folder / "decisions.json"
    good = file.read_text()
    file.write_text(good.replace("digest-of-birds", "other"))
    with pytest.raises(ConfigError, match="is about other results than those in"):
        Review(folder)
    assert get(app).status_code == 409  # and the page says so while it is open
    file.write_text(good[:-9])
    with pytest.raises(AspireError, match="is damaged"):
        Review(folder)
    assert Review(folder, folder / "mine.json").history().steps == ()


def test_without_features_there_is_nothing_to_decide(tmp_path: Path) -> None:
    made = run_of(tmp_path)
    for file in (made.root / "artifacts/discover/0").iterdir():
        file.unlink()
    with pytest.raises(ConfigError, match="there is no feature to decide on"):
        Review(made.folder)
    with pytest.raises(ConfigError, match="not a finished run, since it has no result"):
        Review(tmp_path)


def test_results_that_were_made_with_decisions_begin_with_them(
    app: ReviewApp, folder: Path
) -> None:
    post(app, "step", judge("forest", "reject"))
    history = msgspec.to_builtins(Review(folder).history())
    result = json.loads((folder / "result.json").read_text())
    result["decisions"] = history
    entry = result["discovery"]["0"]
    entry["found"] = entry["discover"]
    entry["discover"] = {**entry["found"], "digest": "of those that were judged"}
    (folder / "decisions.json").unlink()
    (folder / "result.json").write_text(json.dumps(result))
    review = Review(folder)
    assert review.on.given == 1
    assert review.decisions().judged == {(0, SCENE, "forest"): False}
    assert not review.decisions().remade
    with pytest.raises(RefusedError, match="There is nothing to undo"):
        review.back()
    review.take(judge("forest", "open"))
    assert review.decisions().remade


def test_the_report_says_what_a_person_decided(app: ReviewApp, folder: Path) -> None:
    outputs = folder.parent.parent
    assert "What a person decided" not in write_report(folder, outputs).read_text()
    post(app, "step", judge("jungle", "reject"))
    post(app, "step", Rename(phrase="forest", name="<b>trees"))
    since = Page(write_report(folder, outputs).read_text())
    assert "Decided since; this page knows nothing of it." in since.text
    assert "landbird: “jungle” (scene changed) was rejected: it is no shortcut." in since.text
    assert "decisions=outputs/run/birds-12345678/decisions.json" in since.text
    # and where the results were made with it
    result = json.loads((folder / "result.json").read_text())
    result["decisions"] = json.loads((folder / "decisions.json").read_text())
    features = [
        feature(0, 1, "forest"), feature(0, 2, "jungle", spurious=False, q_value=0.3),
        feature(1, 1, "jungle", spurious=False),
    ]  # fmt: skip
    result["discovery"]["0"]["features"] = [msgspec.to_builtins(f) for f in features]
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "decisions.json").unlink()
    told = Page(write_report(folder, outputs).read_text())
    told.check_headings()
    told.check_self_contained()
    assert "Decided since" not in told.text
    assert "“forest” is called “<b>trees”." in told.text
    forest, jungle = (next(r for r in told.rows if r[0] == rank) for rank in "12")
    assert forest[1].startswith("<b>trees scene changed; with forest")
    assert "✕ no, a person rejected by a person; by its numbers: may be chance" in jungle[2]
