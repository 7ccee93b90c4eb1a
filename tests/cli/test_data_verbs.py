"""``aspire data ACTION``: what is printed, where it goes, and the exit codes."""

import json
import shutil
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from PIL import Image

from aspire.cli import main
from aspire.confdir import conf_dir

PUBLISHED = {
    split: {"landbird/land": a, "landbird/water": b, "waterbird/land": b, "waterbird/water": a}
    for split, a, b in (("train", 16, 4), ("val", 4, 4), ("test", 4, 4))
}


@pytest.fixture(autouse=True)
def _outputs(tmp_path, monkeypatch, tiny_data):
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """Serves what is in ``tmp_path/served``."""
    (tmp_path / "served").mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "served"))
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join(5)


@pytest.fixture
def archive(tmp_path, waterbirds_folder):
    """The folder as it is published, and gone from its place."""
    path = tmp_path / "birds.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(waterbirds_folder, "birds_v1")
    shutil.rmtree(waterbirds_folder)
    return path


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Runs ``aspire data`` on a dataset of its own in a copy of the configuration."""
    shutil.copytree(conf_dir(), tmp_path / "conf")
    monkeypatch.setenv("ASPIRE_CONF_DIR", str(tmp_path / "conf"))

    def write(**about):
        node = {
            "_target_": "aspire.data.waterbirds.Waterbirds",
            "root": str(tmp_path / "data" / "birds_v1"),
            **about,
        }
        (tmp_path / "conf" / "dataset" / "birds.yaml").write_text(yaml.safe_dump(node))

    def run(action, *words):
        return main(["data", action, "dataset=birds", *words])

    run.write = write
    return run


def test_download_verify_show_preview_export(tmp_path, data, server, archive, capsys):
    archive.rename(tmp_path / "served" / archive.name)
    data.write(
        sources=[{"name": archive.name, "urls": [f"{server}/no", f"{server}/{archive.name}"]}],
        published=PUBLISHED,
        licence="CC BY 4.0.",
        homepage="https://example.org/birds",
    )
    assert data("verify") == 3
    assert "no such folder" in capsys.readouterr().err

    assert data("download") == 0
    out = capsys.readouterr().out
    assert "licence: CC BY 4.0 (https://example.org/birds)\nby getting it you accept" in out
    assert "HTTP 404" in out
    assert "got birds.tar.gz" in out
    assert "aspire data verify dataset=birds" in out
    root = tmp_path / "data" / "birds_v1"
    assert (root / "metadata.csv").is_file()
    assert sorted(p.name for p in root.parent.iterdir()) == [".birds_v1.lock", "birds_v1"]
    assert data("download") == 0
    assert "nothing to download" in capsys.readouterr().out

    assert data("verify") == 0
    out = capsys.readouterr().out
    assert "all 72 images are there" in out
    assert "birds is as published" in out
    assert "differs" not in out

    assert data("show") == 0
    out = capsys.readouterr().out
    for words in (
        f"in {root}",
        "licence: CC BY 4.0.",
        "homepage: https://example.org/birds",
        "published counts: as found here",
        "worst group: the one with the lowest accuracy",
    ):
        assert words in out

    assert data("preview", "examples=3", "split=val") == 0
    with Image.open(tmp_path / "outputs" / "preview" / "birds-val.png") as sheet:
        assert sheet.format == "PNG"

    assert data("export", "to=csv", f"dir={tmp_path / 'copy'}") == 0
    assert "exported  72 images" in capsys.readouterr().out
    card = (tmp_path / "copy" / "README.md").read_text()
    assert "aspire data export dataset=birds to=csv dir=..." in card
    assert str(tmp_path) not in card


def test_verify_says_what_differs(data, archive, capsys):
    published = json.loads(json.dumps(PUBLISHED))
    published["train"]["landbird/land"] = 20
    published["val"]["waterbird/water"] = 3
    data.write(sources=[{"name": archive.name, "urls": []}], published=published)
    assert data("download") == 5
    assert "no source that a program may fetch" in capsys.readouterr().err
    assert data("add", f"from={archive}") == 0
    capsys.readouterr()
    assert data("verify") == 3
    said = capsys.readouterr()
    assert said.out.count("differs") == 2
    assert "train landbird/land: published 20, found 16, 4 missing" in said.err
    assert (
        "val waterbird/water: published 3, found 4, 1 too many; the first beyond: row 5" in said.err
    )
    assert data("show") == 0
    assert "2 differ: numbers are not comparable" in capsys.readouterr().out


def test_verify_finds_lost_and_swapped_files(tmp_path, data, archive, capsys):
    (tmp_path / "list.txt").write_text("as published")
    parts = [{"name": archive.name}, {"name": "list.txt", "unpack": False}]
    data.write(sources=parts)
    assert data("add", f"from={archive}") == 0
    assert "still missing: list.txt" in capsys.readouterr().out
    assert data("add", f"from={tmp_path / 'list.txt'}") == 0
    assert data("verify") == 0
    assert "no published counts to compare with; only files" in capsys.readouterr().out
    root = tmp_path / "data" / "birds_v1"
    (root / "list.txt").write_text("something else")
    next(root.glob("000*/*.jpg")).unlink()
    assert data("verify") == 3
    err = capsys.readouterr().err
    assert "list.txt is not the file that came from list.txt" in err
    assert "is missing" in err


def test_a_folder_that_is_there_already_is_not_downloaded(data, waterbirds_folder, capsys):
    data.write(root=str(waterbirds_folder), sources=[{"name": "a.zip", "urls": ["http://no/"]}])
    assert data("download") == 0
    assert "already; nothing to download" in capsys.readouterr().out


def test_another_root_is_filled_with_what_the_archive_wraps(tmp_path, data, archive):
    data.write(sources=[{"name": archive.name}])
    assert data("add", f"from={archive}", f"dataset.root={tmp_path / 'mine'}") == 0
    assert (tmp_path / "mine" / "metadata.csv").is_file()


def test_total_failure_is_a_service_error(data, server, capsys):
    data.write(sources=[{"name": "a.zip", "urls": [f"{server}/a", f"{server}/b"]}])
    assert data("download") == 5
    err = capsys.readouterr().err
    assert "birds: 2 of 2 sources failed. 1)" in err
    assert "aspire data add dataset=birds from=FILE" in err


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["dwnload"], 2, "Did you mean download?"),
        (["add", "dataset=waterbirds"], 2, "from is not set"),
        (["add", "dataset=waterbirds", "from=nowhere.zip"], 3, "no such file or folder"),
        (["download", "dataset=waterbirds", "download.timeout=0"], 2, "download.timeout=0"),
        (["download", "dataset=waterbirds", "download.retries=-1"], 2, "retries=-1: expected a"),
        (["download", "dataset=waterbirds", "unpack.max_gb=0"], 2, "max_gb=0: expected a number"),
        (["download", "dataset=waterbirds", "unpack.maxgb=1"], 2, "Did you mean unpack.max_gb?"),
        (["export", "to=cvs", "dir=x"], 2, "Did you mean csv?"),
        (["export", "dir=x", "generated=nowhere"], 2, "expected a folder of aspire run"),
        (["preview", "split=trian"], 2, "Did you mean train?"),
        (["preview", "examples=many"], 2, "expected a whole number"),
        (["verify", "dataset=waterbirds", "dataset.root=nowhere"], 3, "no such folder"),
    ],
)
def test_mistakes(words, code, expected, capsys):
    scale = [] if any("waterbirds" in w for w in words) else ["dataset.scale=0.02"]
    assert main(["data", *words, *scale]) == code
    err = capsys.readouterr().err
    assert expected in err
    assert "Traceback" not in err


@pytest.mark.parametrize("folder", ["/etc", "../mine/artifacts/generate/0", "a/../../b", 1, None])
def test_a_sent_result_cannot_name_images_elsewhere(folder, tmp_path, capsys):
    (run := tmp_path / "sent" / "run" / "x").mkdir(parents=True)
    named = {s: {"folder": folder} for s in ("generate", "filter")}
    (run / "result.json").write_text(json.dumps({"generation": {"0": named}}))
    words = ["dir=x", f"generated={run}", "dataset.scale=0.02"]
    assert main(["data", "export", *words]) == 3
    assert "generation names no artifacts of generate and filter" in capsys.readouterr().err


def test_miniatures_need_no_download(capsys):
    for action in ("download", "add"):
        assert main(["data", action, "dataset=mini_waterbirds"]) == 0
        assert "is drawn on first use, nothing to download" in capsys.readouterr().out


def test_list_names_every_dataset(capsys):
    assert main(["data"]) == 0
    out = capsys.readouterr().out
    assert "mini_waterbirds" in out
    assert "(not here yet)" in out
