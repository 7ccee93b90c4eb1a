"""The endpoint extractor against a real HTTP server that fails on purpose."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
from faulty_server import FAULTS, FaultyServer

pytest.importorskip("openai")

from aspire.errors import ConfigError, ServiceError
from aspire.language.base import Phrases, Priced, Unreadable
from aspire.language.openai_extractor import DryRun, OpenAIExtractor
from aspire.pipeline.stage import LocalEngine
from aspire.pipeline.stages.extract import ExtractStage
from aspire.pipeline.store import Artifact, ArtifactStore
from aspire.records import Caption

KEY = "sk-fake-5f1e0c9d8b7a6"
RETRIES = 5
SCENES = ("lake", "sea", "river", "beach")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_KEY", KEY)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.01)  # seconds; 8 otherwise


def extractor(server: Any, **settings: Any) -> OpenAIExtractor:
    return OpenAIExtractor(
        **{
            "base_url": server.url,
            "model": "m",
            "key_env": "FAKE_KEY",
            "max_retries": RETRIES,
            "timeout": 5.0,
            "request": {"temperature": 0},
            **settings,
        }
    )


def captions(number: int) -> list[Caption]:
    return [
        Caption(img_id=f"i{n}", text=f"a bird near a boat on the {SCENES[n % 4]} number {n}")
        for n in range(number)
    ]


def run_stage(
    found: OpenAIExtractor, items: list[Caption], root: Path, max_rejected: float = 0.5
) -> Artifact[Any]:
    stage = ExtractStage(found, {c.img_id: ["bird"] for c in items})
    return ArtifactStore(root).run(stage, items, {}, LocalEngine(200), max_rejected)


def test_a_thousand_captions_through_forty_percent_faults(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    log = logging.FileHandler(tmp_path / "everything.log")
    logging.getLogger().addHandler(log)
    items = captions(1000)
    try:
        with FaultyServer(share=0.4, seed=1, key=KEY, hang=1.5) as server:
            found = extractor(server, concurrency=32, timeout=1.0)
            done = run_stage(found, items, tmp_path / "outputs")
    finally:
        logging.getLogger().removeHandler(log)
        log.close()

    # every caption ends as exactly one extraction or one counted rejection
    ended = [r.img_id for r in done.records] + [r.item_id for r in done.rejected]
    assert sorted(ended) == sorted(c.img_id for c in items)
    assert set(done.reasons()) <= {"unreadable", "no_answer"}
    assert len(done.records) > 900
    scenes = {c.img_id: c.text.split(" on the ")[1].split()[0] for c in items}
    for record in done.records:
        assert record.background == scenes[record.img_id]
        assert record.foreground == ("boat",)
        assert record.alternative == "desert"
    for rejected in done.rejected:
        assert rejected.reason == "no_answer" or "lake" not in rejected.detail[:5]

    # all kinds of fault came, about as often as asked for, and the retries are within bounds
    assert set(server.injected) == {"", *FAULTS}
    share = 1 - server.injected[""] / sum(server.injected.values())
    assert 0.35 < share < 0.45
    asked = [server.asked[c.text] for c in items]
    assert max(asked) <= (RETRIES + 1) * 2  # attempts, for the question and for one repair
    assert all(server.told[c.text] <= 1 for c in items)  # nobody who was answered asked again

    # the server echoes the key in 429 and 500; none of it got anywhere
    assert len(caplog.text) > 100_000
    assert (KEY in caplog.text) is False  # not `not in`: pytest would print all of it
    written = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(written) >= 4
    for path in written:
        assert KEY.encode() not in path.read_bytes(), path


def test_answers_do_not_depend_on_how_many_are_asked_at_once(tmp_path: Path) -> None:
    items = captions(40)
    digests = []
    for number in (1, 8):
        with FaultyServer(share=0.4, faults=("429", "500", "cut", "truncated")) as server:
            found = extractor(server, concurrency=number)
            digests.append(run_stage(found, items, tmp_path / str(number)).digest)
    assert digests[0] == digests[1]


def test_equal_captions_are_asked_once(tmp_path: Path) -> None:
    texts = ["a bird near a boat on the lake number 1", "a bird near a boat on the sea number 2"]
    items = [Caption(img_id=f"i{n}", text=texts[n % 2]) for n in range(500)]
    with FaultyServer() as server:
        done = run_stage(extractor(server), items, tmp_path)
    assert len(done.records) == 500
    assert dict(server.asked) == dict.fromkeys(texts, 1)


def test_what_cannot_be_read_is_kept_word_for_word(tmp_path: Path) -> None:
    items = captions(8)
    with FaultyServer(share=1.0, faults=("wrong",)) as server:
        done = run_stage(extractor(server, repairs=2), items, tmp_path, max_rejected=1.0)
        assert done.reasons() == {"unreadable": 8}
        shapes = ("[1, 2]", "I see a bird.", '{"scene": "lake"}', '{"background": {"a": 1}}')
        assert {r.detail for r in done.rejected} <= set(shapes)
        assert set(server.asked.values()) == {3}  # the question and two repairs
        last = server.bodies[-1]["messages"]
        assert last[-1]["content"].startswith("That could not be read.")
        assert last[-2]["content"] in shapes
        with pytest.raises(Exception, match=r"8 of 8 items gave nothing \(unreadable 8\)"):
            run_stage(extractor(server, repairs=0), items, tmp_path)


def test_a_caption_without_an_answer_is_counted_while_others_go_on(tmp_path: Path) -> None:
    items = captions(12)
    with FaultyServer(sick=(items[3].text,)) as server:
        done = run_stage(extractor(server, concurrency=1), items, tmp_path)
    assert [(r.item_id, r.reason) for r in done.rejected] == [("i3", "no_answer")]
    assert done.rejected[0].detail.startswith("HTTP 500")
    assert done.rejected[0].detail.endswith("(max_retries=5)")
    assert KEY not in done.rejected[0].detail
    assert server.asked[items[3].text] == RETRIES + 1


def test_an_endpoint_that_dies_stops_the_run_and_the_next_continues(tmp_path: Path) -> None:
    items = captions(50)

    class DyingAfter30(FaultyServer):
        def _serve(self, handler: Any) -> None:
            self.down = self.down or sum(self.told.values()) >= 30
            super()._serve(handler)

    with DyingAfter30() as server:
        found = extractor(server, concurrency=1, max_retries=2)
        with pytest.raises(ServiceError, match=r"(?s)does not answer.*same command continues"):
            run_stage(found, items, tmp_path)
        url = server.url
    with FaultyServer() as healthy:
        again = extractor(healthy, concurrency=1)
        again.endpoint.base_url = url  # the address is part of the identity
        again.endpoint._client.base_url = healthy.url
        done = run_stage(again, items, tmp_path)
    assert done.resumed == 30
    assert len(done.records) == 50
    assert sum(healthy.asked.values()) == 20


def test_nobody_there_is_said_at_once_and_without_the_key() -> None:
    with FaultyServer() as server:
        pass  # closed again
    found = extractor(server, max_retries=1)
    with pytest.raises(ServiceError, match=r"does not answer: APIConn.*max_retries=1"):
        list(found.extract(["a bird on the lake"], [["bird"]]))


def test_a_wrong_key_stops_without_a_retry() -> None:
    with FaultyServer(key="another") as server:
        with pytest.raises(ServiceError, match=r"HTTP 401.*\nCheck the key in FAKE_KEY"):
            list(extractor(server, concurrency=1).extract(["a bird on the lake"], [["bird"]]))
        assert sum(server.asked.values()) == 1


def test_a_missing_key_names_the_variable_and_what_needs_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FAKE_KEY")
    with FaultyServer() as server:
        found = extractor(server)
        with pytest.raises(ConfigError, match=r"FAKE_KEY is not set.*extractor=spacy"):
            list(found.extract(["a bird on the lake"], [["bird"]]))
        assert not server.bodies
        found = extractor(server, key_env=None)
        assert list(found.extract(["a bird on the lake"], [["bird"]])) == [
            Phrases((), "lake", "desert")
        ]


def test_the_key_is_in_no_identity_and_in_no_pickle() -> None:
    with FaultyServer() as server:
        found = extractor(server, price={"input": 1, "output": 2})
    assert KEY not in repr(found.identity()) + repr(vars(found)) + repr(vars(found.endpoint))
    assert KEY.encode() not in pickle.dumps(found)
    assert isinstance(found, Priced)
    for name in ("concurrency", "timeout", "price", "max_retries"):
        assert name not in found.identity()


def test_the_request_is_what_the_yaml_says() -> None:
    with FaultyServer() as server:
        found = extractor(server, request={"temperature": 0, "max_tokens": 99})
        list(found.extract(["a bird on the lake"], [["bird", "duck"]]))
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0, 99)
    wanted = body["response_format"]["json_schema"]["schema"]["required"]
    assert wanted == ["background", "foreground", "alternative"]
    last = body["messages"][-1]["content"]
    assert last == "Class object: bird or duck\nCaption: a bird on the lake"


def test_the_price_is_known_before_anybody_is_asked() -> None:
    with FaultyServer() as server:
        found = extractor(server, price={"input": 2.0, "output": 10.0}, dry_run=True)
        texts, words = [c.text for c in captions(100)], [["bird"]] * 100
        characters = sum(
            len(m["content"]) for t in texts for m in found.prompt.messages(t, ["bird"])
        )
        messages = 100 * len(found.prompt.messages("", [""]))
        estimate = found.estimate(texts, words)
        assert estimate.tokens_in == pytest.approx(characters / 4 + 4 * messages, abs=1)
        assert estimate.tokens_out == 4500
        expected = (estimate.tokens_in * 2 + 4500 * 10) / 1e6
        assert estimate.usd == pytest.approx(expected, rel=1e-4)
        with pytest.raises(DryRun, match=rf"100 different captions.*\${expected:.2f}") as told:
            found.quote(texts, words)
        assert told.value.exit_code == 0
        assert "Caption: a bird near a boat" in str(told.value)
        dear = extractor(server, price={"input": 2.0, "output": 10.0}, max_usd=0.01)
        with pytest.raises(ConfigError, match=r"above extractor.max_usd=0.01"):
            dear.quote(texts, words)
        assert not server.bodies


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"base_url": "localhost:8000"}, "is no address"),
        ({"base_url": "https://user:pass@host/v1"}, "extractor.key_env"),
        ({"max_usd": 1.0}, "needs extractor.price"),
        ({"price": {"in": 1}}, "USD per million tokens"),
        ({"prompt": "poem"}, "Shipped are: phrases"),
    ],
)
def test_settings_that_cannot_work_are_named(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        OpenAIExtractor(**{"base_url": "http://localhost:1/v1", "model": "m", **settings})


def test_unreadable_holds_its_text() -> None:
    assert Unreadable("x").reason == "unreadable"
