"""Getting data from a server that does all that servers do."""

import hashlib
import io
import json
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from aspire.data.download import RECORD, DatasetFiles
from aspire.data.sources import Part, parts_of, sha256_of
from aspire.data.transfer import CHUNK
from aspire.errors import ConfigError, DataError, ServiceError


def make_zip(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def make_tar(path, entries):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


NOISE = b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(4000))
FILES = {"metadata.csv": b"img_id,y\n1,0\n", "a/1.jpg": NOISE}


class Server:
    """What lies where, and who asked for it how."""

    def __init__(self, data, other):
        self.data, self.other = data, other
        self.asked = []  # (path, Range header)
        self.stop = threading.Event()
        self.slow = 0.0  # seconds a piece of /slow
        self.ignore_range = False
        self.hide_length = False
        self.etag = '"v1"'

    def __enter__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                outer.asked.append((self.path, self.headers.get("Range")))
                self.close_connection = True
                getattr(self, self.path.strip("/").split("/")[0].replace(".", "_"))()

            def body(self, data, status=200, kind="application/zip", length=None, **more):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if not outer.hide_length:
                    self.send_header("Content-Length", str(len(data) if length is None else length))
                self.send_header("Connection", "close")
                for name, value in more.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(data)

            def gone(self):
                self.body(b"not here", 404, "text/plain")

            def quota(self):
                page = b"<!DOCTYPE html><html>Quota exceeded: too many users" + b" " * 2000
                self.body(page, kind="text/html; charset=utf-8")

            def disguised(self):
                self.body(b"\n<!doctype html><html>Please sign in</html>", kind="application/zip")

            def cut(self):
                start = self.start()
                end = start + (len(outer.data) - start) // 2
                piece = outer.data[start:end]
                self.ranged(start, piece)

            def stall(self):
                self.body(b"", length=len(outer.data))
                outer.stop.wait(5)

            def loop(self):
                self.body(b"", 302, Location="/loop")

            def moved(self):
                self.body(b"", 302, Location="/good")

            def good(self):
                start = self.start()
                self.ranged(start, outer.data[start:])

            def past(self):
                """Ranges that start elsewhere than asked."""
                self.ranged(0, outer.data) if not self.start() else self.ranged(1, b"x")

            def other(self):
                self.body(outer.other)

            def slow(self):
                start = self.start()
                self.ranged(start, b"")
                for at in range(start, len(outer.data), 20000):
                    self.wfile.write(outer.data[at : at + 20000])
                    if outer.stop.wait(outer.slow):
                        return

            def start(self):
                asked = self.headers.get("Range")
                if not asked or outer.ignore_range:
                    return 0
                if self.headers.get("If-Range", outer.etag) != outer.etag:
                    return 0
                return int(asked.removeprefix("bytes=").rstrip("-"))

            def ranged(self, start, piece):
                total = len(outer.data)
                if start >= total:
                    self.body(b"", 416, Content_Range=f"bytes */{total}")
                elif start:
                    told = f"bytes {start}-{total - 1}/{total}"
                    self.body(piece, 206, length=total - start, Content_Range=told, ETag=outer.etag)
                else:
                    self.body(piece, length=total, ETag=outer.etag)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        return self

    def __exit__(self, *args):
        self.stop.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(5)

    def urls(self, *names):
        return tuple(f"{self.url}/{name}" for name in names)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,no-such-host.invalid")


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "set.zip"
    make_zip(path, FILES)
    return path


@pytest.fixture
def server(archive, tmp_path):
    make_zip(tmp_path / "other.zip", {"b.txt": b"other"})
    other = (tmp_path / "other.zip").read_bytes()
    (tmp_path / "other.zip").unlink()
    with Server(archive.read_bytes(), other) as running:
        yield running


def depot(folder, *parts, said=None, **options):
    said = [] if said is None else said
    return DatasetFiles(
        "birds",
        folder / "data" / "birds",
        parts,
        homepage="https://example.org/birds",
        **{"timeout": 0.4, **options},
        say=said.append,
    )


def kept(server):
    """What there is of half the file."""
    return len(server.data) // 2 // CHUNK * CHUNK


def files_below(folder):
    return sorted(
        p.relative_to(folder).as_posix()
        for p in folder.rglob("*")
        if p.is_file() and p.suffix != ".lock"
    )


WHOLE = sorted([f"birds/{name}" for name in (*FILES, RECORD)])


# --- which source ------------------------------------------------------------------------------


def test_404_quota_page_truncated_stalled_then_the_right_file(tmp_path, server):
    said = []
    names = ("gone", "quota", "cut", "stall", "good")
    part = Part("set.zip", server.urls(*names))
    (tmp_path / "data").mkdir()
    assert depot(tmp_path, part, said=said, retries=0).download() == ["set.zip"]
    assert files_below(tmp_path / "data") == WHOLE
    for name, data in FILES.items():
        assert (tmp_path / "data" / "birds" / name).read_bytes() == data
    assert [path for path, _ in server.asked] == [f"/{n}" for n in names]
    reasons = [line.strip() for line in said if line.startswith("  ")]
    assert reasons[0] == "HTTP 404 Not Found"
    assert reasons[1] == "quota page (text/html, 2.1 kB) instead of an archive"
    assert reasons[2].startswith("cut off after 49.2 kB of 128.")
    assert reasons[3].startswith("timed out after 0.4 s")
    assert depot(tmp_path, part).download() == []  # and nothing is asked for again
    assert len(server.asked) == 5


def test_one_file_is_on_disk_when_it_is_no_archive(tmp_path, server):
    part = Part("list.bin", server.urls("gone", "quota", "cut", "stall", "good"), unpack=False)
    depot(tmp_path, part, retries=0).download()
    assert files_below(tmp_path / "data") == [f"birds/{RECORD}", "birds/list.bin"]
    assert (tmp_path / "data/birds/list.bin").read_bytes() == server.data


def test_total_failure_names_every_source_and_the_manual_way(tmp_path, server):
    part = Part("set.zip", server.urls("gone", "disguised", "stall"), sha256="ab" * 32)
    with pytest.raises(ServiceError) as caught:
        depot(tmp_path, part).download()
    assert caught.value.exit_code == 5
    assert str(caught.value) == (
        f"birds: 3 of 3 sources failed. 1) {server.url}/gone HTTP 404 Not Found; 2) {server.url}/"
        "disguised login page (application/zip, 43 bytes) instead of an archive; 3) "
        f"{server.url}/stall timed out after 0.4 s. Download it by hand from "
        "https://example.org/birds, then: aspire data add dataset=birds from=FILE (expected "
        f"SHA-256 {'ab' * 32})"
    )
    assert files_below(tmp_path / "data") == []
    assert not (tmp_path / "data/birds.download").exists()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9/x", "connection refused"),
        ("http://no-such-host.invalid/x", "host not found"),
        ("birds.zip", "not an http or https address"),
        ("ftp://127.0.0.1/x", "not an http or https address"),
        ("{}/loop", "redirected in a circle"),
        ("{}/other", "is damaged|holds no folder|SHA-256 is"),
    ],
)
def test_reasons_are_a_few_words(tmp_path, server, url, reason):
    part = Part("set.zip", (url.format(server.url),), sha256="0" * 64)
    with pytest.raises(ServiceError, match=reason) as caught:
        depot(tmp_path, part).download()
    assert "Traceback" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_redirects_are_followed(tmp_path, server):
    depot(tmp_path, Part("set.zip", server.urls("moved"))).download()
    assert files_below(tmp_path / "data") == WHOLE


def test_every_part_is_tried_and_what_worked_stays(tmp_path, server):
    parts = [
        Part("gone.zip", server.urls("gone")),
        Part("set.zip", server.urls("good")),
        Part("hand.zip"),
    ]
    with pytest.raises(ServiceError) as caught:
        depot(tmp_path, *parts).download()
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("birds: gone.zip: 1 of 1 sources failed.")
    assert lines[1].startswith("birds: hand.zip: there is no source that a program may fetch.")
    assert files_below(tmp_path / "data") == WHOLE
    assert [p.name for p in depot(tmp_path, *parts).missing()] == ["gone.zip", "hand.zip"]


def test_no_length_and_an_archive_cut_short_goes_on_to_the_next_source(tmp_path, server):
    server.hide_length = True
    said = []
    depot(tmp_path, Part("set.zip", server.urls("cut", "good")), said=said).download()
    assert any("damaged or cut short" in line for line in said)
    assert files_below(tmp_path / "data") == WHOLE


def test_a_full_disk_is_not_the_sources_fault(tmp_path, server, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 1000))
    with pytest.raises(
        DataError, match=r"set\.zip needs 12\d\.\d kB more, but .* has 1\.0 kB free"
    ):
        depot(tmp_path, Part("set.zip", server.urls("good"))).download()


# --- going on ----------------------------------------------------------------------------------


def test_a_broken_connection_is_continued_with_a_range(tmp_path, server):
    depot(tmp_path, Part("set.zip", server.urls("cut", "good")), retries=3).download()
    ranges = [asked for path, asked in server.asked if path == "/cut"]
    starts = [int(r.removeprefix("bytes=").rstrip("-")) if r else 0 for r in ranges]
    assert starts[:2] == [0, kept(server)]
    assert starts == sorted(set(starts))
    # Another source may have packed it differently: without a checksum it starts afresh.
    assert server.asked[-1] == ("/good", None)
    assert files_below(tmp_path / "data") == WHOLE


def test_with_a_checksum_the_next_source_continues_too(tmp_path, server):
    part = Part("set.zip", server.urls("cut", "good"), sha256_of(tmp_path / "set.zip"))
    depot(tmp_path, part, retries=0).download()
    assert server.asked[-1] == ("/good", f"bytes={kept(server)}-")


def test_bytes_of_another_file_are_found_out_and_got_afresh(tmp_path, server):
    part = Part("set.zip", server.urls("good"), sha256_of(tmp_path / "set.zip"))
    work = tmp_path / "data" / "birds.download"
    work.mkdir(parents=True)
    (work / "set.zip.part").write_bytes(b"x" * 1000)  # of who knows where
    depot(tmp_path, part).download()
    assert [asked for _, asked in server.asked] == ["bytes=1000-", None]
    assert files_below(tmp_path / "data") == WHOLE


def half(tmp_path, server, name="cut"):
    """A first call that gets half of it."""
    part = Part("set.zip", server.urls(name))
    with pytest.raises(ServiceError, match="cut off after"):
        depot(tmp_path, part, retries=0).download()
    unfinished = tmp_path / "data" / "birds.download" / "set.zip.part"
    assert unfinished.stat().st_size == kept(server)
    state = unfinished.with_name("set.zip.part.json")
    state.write_text(state.read_text().replace("/cut", "/good"))
    server.asked.clear()
    return Part("set.zip", server.urls("gone", "good"))


def test_the_next_call_continues_and_first_asks_where_it_was(tmp_path, server):
    part = half(tmp_path, server)
    depot(tmp_path, part).download()
    assert server.asked == [("/good", f"bytes={kept(server)}-")]
    assert files_below(tmp_path / "data") == WHOLE


def test_a_server_without_ranges_restarts_cleanly(tmp_path, server):
    part = half(tmp_path, server)
    server.ignore_range = True
    depot(tmp_path, part).download()
    assert len(server.asked) == 1
    assert files_below(tmp_path / "data") == WHOLE


def test_a_file_that_has_changed_meanwhile_restarts_cleanly(tmp_path, server):
    part = half(tmp_path, server)
    server.etag = '"v2"'
    depot(tmp_path, part).download()
    assert files_below(tmp_path / "data") == WHOLE


def test_a_wrong_range_restarts_cleanly(tmp_path, server):
    half(tmp_path, server)
    state = tmp_path / "data" / "birds.download" / "set.zip.part.json"
    state.write_text(state.read_text().replace("/good", "/past"))
    depot(tmp_path, Part("set.zip", server.urls("past"))).download()
    assert [asked is None for _, asked in server.asked] == [False, True]
    assert files_below(tmp_path / "data") == WHOLE


def test_a_part_that_is_whole_is_taken(tmp_path, server):
    half(tmp_path, server)
    (tmp_path / "data/birds.download/set.zip.part").write_bytes(server.data)
    depot(tmp_path, Part("set.zip", server.urls("good"))).download()
    assert server.asked == [("/good", f"bytes={len(server.data)}-")]
    assert files_below(tmp_path / "data") == WHOLE


KILLED = """
import sys
from pathlib import Path
from aspire.data.download import DatasetFiles
from aspire.data.sources import Part
DatasetFiles("birds", Path(sys.argv[1]), [Part("set.zip", (sys.argv[2],))], timeout=5).download()
"""


def test_kill_in_the_middle_leaves_a_part_that_the_next_call_continues(tmp_path, server):
    server.slow = 0.3
    root, url = tmp_path / "data" / "birds", f"{server.url}/slow"
    unfinished = tmp_path / "data" / "birds.download" / "set.zip.part"
    command = [sys.executable, "-c", KILLED, str(root), url]
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + 20
        while not (unfinished.is_file() and unfinished.stat().st_size):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    had = unfinished.stat().st_size
    assert 0 < had < len(server.data)
    assert not root.exists()
    server.slow = 0
    depot(tmp_path, Part("set.zip", (url,)), timeout=5).download()
    assert server.asked[-1] == ("/slow", f"bytes={had}-")
    assert files_below(tmp_path / "data") == WHOLE


def test_kill_after_the_download_asks_for_nothing_again(tmp_path, server):
    work = tmp_path / "data" / "birds.download"
    (work / ".unpacked.partial").mkdir(parents=True)
    (work / "set.zip").write_bytes(server.data)
    (work / ".unpacked.partial" / "half").write_text("half")
    depot(tmp_path, Part("set.zip", server.urls("good"))).download()
    assert server.asked == []
    assert files_below(tmp_path / "data") == WHOLE


# --- checks ------------------------------------------------------------------------------------


def test_a_wrong_checksum_goes_on_to_the_next_source(tmp_path, server):
    said = []
    part = Part("set.zip", server.urls("other", "good"), sha256_of(tmp_path / "set.zip"))
    depot(tmp_path, part, said=said).download()
    assert any("its SHA-256 is" in line and "instead of" in line for line in said)
    assert files_below(tmp_path / "data") == WHOLE


def test_a_wrong_size_is_known_before_the_download(tmp_path, server):
    part = Part("set.zip", server.urls("other", "good"), size=len(server.data))
    said = []
    depot(tmp_path, part, said=said).download()
    assert f"  it has {len(server.other)} bytes instead of {len(server.data)}" in said


def test_the_first_checksum_is_recorded_and_compared(tmp_path, server, archive):
    part = Part("list.bin", server.urls("good"), unpack=False)
    depot(tmp_path, part).download()
    record = json.loads((tmp_path / "data" / "birds" / RECORD).read_text())
    assert record["list.bin"]["sha256"] == sha256_of(archive)
    assert record["list.bin"]["source"] == f"{server.url}/good"
    assert depot(tmp_path, part).changed() == []
    (tmp_path / "data/birds/list.bin").write_bytes(b"x")
    assert "is not the file that came from" in depot(tmp_path, part).changed()[0]
    (tmp_path / "data/birds/list.bin").unlink()
    assert "list.bin is missing" in depot(tmp_path, part).changed()[0]
    swapped = Part("list.bin", server.urls("other"), unpack=False)
    with pytest.raises(ServiceError, match=r"was .* the first time.*overwrite=true"):
        depot(tmp_path, swapped).download()
    depot(tmp_path, swapped).download(overwrite=True)
    assert (tmp_path / "data/birds/list.bin").read_bytes() == server.other


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_two_jobs_at_once_do_the_work_once(tmp_path, server, kind):
    server.slow = 0.05
    root, url = tmp_path / "data" / "birds", f"{server.url}/slow"
    if kind == "threads":
        part = Part("set.zip", (url,))
        jobs = [threading.Thread(target=depot(tmp_path, part).download) for _ in range(2)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join(20)
            assert not job.is_alive()
    else:
        command = [sys.executable, "-c", KILLED, str(root), url]
        running = [subprocess.Popen(command) for _ in range(2)]
        assert [process.wait(20) for process in running] == [0, 0]
    assert len(server.asked) == 1
    assert files_below(tmp_path / "data") == WHOLE


# --- by hand -----------------------------------------------------------------------------------


def test_add_takes_a_file_under_any_name_and_keeps_it(tmp_path, archive):
    renamed = archive.rename(tmp_path / "archive (1).zip")
    part = Part("set.zip", ("http://127.0.0.1:9/",), sha256_of(renamed), renamed.stat().st_size)
    assert depot(tmp_path, part).add(renamed) == ["set.zip"]
    assert files_below(tmp_path / "data") == WHOLE
    assert renamed.is_file()
    assert depot(tmp_path, part).download() == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"<html>Quota exceeded</html>", "it is a web page"),
        (b"PK\x03\x04 cut", "damaged or cut short"),
        (b"something else", "SHA-256 is"),
    ],
)
def test_add_checks_as_download_does(tmp_path, content, expected):
    (tmp_path / "mine.zip").write_bytes(content)
    part = Part("set.zip", sha256="0" * 64 if content.startswith(b"some") else None)
    with pytest.raises(DataError, match=expected):
        depot(tmp_path, part).add(tmp_path / "mine.zip")
    assert files_below(tmp_path / "data") == []
    with pytest.raises(DataError, match="no such file or folder"):
        depot(tmp_path, part).add(tmp_path / "nowhere.zip")


def test_add_asks_which_part_a_file_is(tmp_path, archive):
    parts = [Part("one.zip"), Part("two.zip", sha256=sha256_of(archive)), Part("three.zip")]
    assert depot(tmp_path, *parts).add(archive) == ["two.zip"]
    make_zip(archive, {"b.txt": b"b"})
    with pytest.raises(ConfigError, match=r"Rename it to one of: one\.zip, two\.zip, three\.zip"):
        depot(tmp_path, *parts).add(archive)


def test_add_a_folder_of_archives_and_a_folder_of_files(tmp_path, archive):
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (downloads / "private.txt").write_text("not yours")
    archive.rename(downloads / "set.zip")
    (downloads / "list.csv").write_text("a,b\n")
    parts = [Part("set.zip"), Part("list.csv", unpack=False, into="more")]
    assert depot(tmp_path, *parts).add(downloads) == ["set.zip", "list.csv"]
    assert files_below(tmp_path / "data") == sorted([*WHOLE, "birds/more/list.csv"])

    copied = tmp_path / "elsewhere"
    assert depot(copied, *parts).add(tmp_path / "data" / "birds") == ["birds"]
    assert files_below(copied / "data") == sorted([*WHOLE, "birds/more/list.csv"])
    assert depot(copied, *parts).missing() == []
    with pytest.raises(ConfigError, match="there is nothing to copy"):
        depot(copied, *parts).add(copied / "data" / "birds")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="it holds no files"):
        depot(tmp_path / "third", *parts).add(tmp_path / "empty")


def test_a_top_folder_of_the_datasets_name_or_the_given_one_is_left_out(tmp_path):
    make_tar(tmp_path / "a.tgz", [("birds/a/1.jpg", b"1")])
    make_tar(tmp_path / "b.tgz", [("release-2/img/2.jpg", b"2")])
    parts = [Part("a.tgz"), Part("b.tgz", into="more", strip="release-2/img")]
    for part in parts:
        depot(tmp_path, *parts).add(tmp_path / part.name)
    assert files_below(tmp_path / "data") == [
        f"birds/{RECORD}",
        "birds/a/1.jpg",
        "birds/more/2.jpg",
    ]


def test_the_default_folders_name_counts_where_the_user_has_another(tmp_path):
    make_tar(tmp_path / "a.tgz", [("birds_v1/a/1.jpg", b"1")])
    depot(tmp_path, Part("a.tgz"), wrapper="birds_v1").add(tmp_path / "a.tgz")
    assert files_below(tmp_path / "data") == [f"birds/{RECORD}", "birds/a/1.jpg"]


def test_a_users_own_dataset_takes_any_archive(tmp_path, archive):
    assert depot(tmp_path).add(archive) == ["set.zip"]
    assert files_below(tmp_path / "data") == WHOLE


def test_a_folder_that_cannot_be_written(tmp_path, archive):
    (tmp_path / "data").write_text("a file in the way")
    with pytest.raises(DataError, match="cannot be written"):
        depot(tmp_path).add(archive)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"name": "a.zip", "url": "x"}, "unknown key url. Did you mean urls?"),
        ({"urls": []}, "name"),
        ({"name": "../a.zip"}, "expected the name of a file"),
        ({"name": "a.zip", "sha256": "abc"}, "expected 64 hexadecimal digits"),
        ({"name": "a.zip", "into": "../x"}, "expected a folder within"),
        ({"name": "a.zip", "into": "/x"}, "expected a folder within"),
    ],
)
def test_sources_are_checked(source, expected):
    with pytest.raises(ConfigError, match=expected.replace("?", r"\?")):
        parts_of("birds", [source])


def test_sources_may_be_missing_or_short():
    assert parts_of("birds", None) == ()
    (part,) = parts_of("birds", [{"name": "a.csv", "urls": "http://x/a.csv", "unpack": False}])
    assert part.urls == ("http://x/a.csv",)
    with pytest.raises(ConfigError, match="two parts have one name"):
        parts_of("birds", [{"name": "a"}, {"name": "a"}])
