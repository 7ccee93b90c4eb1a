"""Archives from strangers: good ones are unpacked, all others leave nothing behind."""

import gzip
import io
import stat
import tarfile
import zipfile

import pytest

from aspire.data.unpack import Limits, archive_kind, unpack
from aspire.errors import AspireError, DataError

BIG = 12 << 20


def make_zip(path, entries, **options):
    """entries: name -> bytes, or (mode, bytes) for a special file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries if isinstance(entries, list) else entries.items():
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name, zipfile.ZIP_DEFLATED
            if isinstance(data, tuple):
                info.external_attr, data = data[0] << 16, data[1]
            archive.writestr(info, data)


def make_tar(path, entries, mode="w:gz", **special):
    """entries: list of (name, bytes or a function that changes its header)."""
    with tarfile.open(path, mode) as archive:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            if callable(data):
                data(info)
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))


def link(kind, target):
    def change(info):
        info.type, info.linkname = kind, target

    return change


def device(info):
    info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 3


def fifo(info):
    info.type = tarfile.FIFOTYPE


def cut(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def encrypted(path):
    make_zip(path, {"a.txt": b"secret" * 10})
    data = bytearray(path.read_bytes())
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + at] |= 1
    path.write_bytes(bytes(data))


def wrong_crc(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", b"content to damage")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"content to", b"content of"))


def odd_method(path):
    make_zip(path, {"a.txt": b"abc"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x03\x04") + 8] = 97
    data[data.index(b"PK\x01\x02") + 10] = 97
    path.write_bytes(bytes(data))


def cut_tar(path):
    make_tar(path, [("a.bin", b"a" * 5000), ("b.bin", b"b" * 5000)], "w")
    path.write_bytes(path.read_bytes()[:7000])


def headless_tar(path):
    """Cut between two entries, where a careless reader sees the end."""
    make_tar(path, [("a.bin", b"a" * 512), ("b.bin", b"b" * 512)], "w")
    path.write_bytes(path.read_bytes()[:1024])


def damaged_header(path):
    make_tar(path, [("a.bin", b"a" * 512), ("b.bin", b"b" * 512)], "w")
    data = bytearray(path.read_bytes())
    data[1024:1030] = b"\xff" * 6
    path.write_bytes(bytes(data))


def cut_gz(path):
    make_tar(path, [("a.bin", bytes(range(256)) * 300)])
    cut(path, 0.8)


def tail_bomb(path):
    make_tar(path, [("a.bin", b"a")], "w")
    with gzip.open(path.with_suffix(".tmp"), "wb", compresslevel=1) as file:
        file.write(path.read_bytes() + bytes(20 << 20))
    path.with_suffix(".tmp").replace(path)


def header_bomb(path):
    """A name of 64 MB, which the reader would take into memory."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 64 << 20
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT) + bytes(32 << 20))


def sparse(path):
    info = tarfile.TarInfo("hole.bin")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    head[386:410] = b"%011o\0%011o\0" % (0, 512)
    head[483:495] = b"%011o\0" % (1 << 33)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    path.write_bytes(bytes(head) + bytes(512) + bytes(1024))


def inner(path):
    make_tar(path.with_suffix(".in"), [("a.txt", b"a")])
    make_zip(path, {"data.tar.gz": path.with_suffix(".in").read_bytes()})
    path.with_suffix(".in").unlink()


def text(data):
    return lambda path: path.write_bytes(data)


def zipped(entries):
    return lambda path: make_zip(path, entries)


def tarred(*entries, mode="w:gz"):
    return lambda path: make_tar(path, list(entries), mode)


SYM, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE
A = ("a.txt", b"a")
BAD = [
    ("zip absolute", zipped({"/etc/evil": b"x"}), "absolute path"),
    ("zip drive", zipped({"C:\\evil": b"x"}), "absolute path"),
    ("zip up", zipped({"a.txt": b"a", "../evil": b"x"}), r"leads out of the folder \(\.\.\)"),
    ("zip up inside", zipped({"a/../../evil": b"x"}), "leads out"),
    ("zip backslash up", zipped({"..\\evil": b"x"}), "leads out"),
    ("zip link out", zipped({"l": (stat.S_IFLNK | 0o777, b"../../evil")}), "link that points out"),
    ("zip link abs", zipped({"l": (stat.S_IFLNK | 0o777, b"/etc/passwd")}), "link that points out"),
    ("zip device", zipped({"d": (stat.S_IFCHR | 0o666, b"")}), "device or pipe"),
    ("zip bomb", zipped({"zeros": bytes(BIG)}), "decompression bomb"),
    ("zip bomb in many", zipped({f"z{i}": bytes(1 << 20) for i in range(12)}), "bomb"),
    ("zip entries", zipped({f"f{i}": b"" for i in range(101)}), "more than 100 entries"),
    ("zip twice", lambda p: make_zip(p, [A, A]), "appears twice"),
    ("zip case", zipped({"a/B.txt": b"1", "a/b.TXT": b"2"}), "only in case"),
    ("zip folder case", zipped({"Train/x": b"1", "train/y": b"2"}), "only in case"),
    ("zip unicode", zipped({"caf\u00e9": b"1", "cafe\u0301": b"2"}), "only in case"),
    ("zip file as folder", zipped({"a": b"1", "a/b": b"2"}), "file's name as its folder"),
    ("zip folder as file", zipped({"a/b": b"1", "a": b"2"}), "folder's name"),
    ("zip long name", zipped({"n" * 300: b"x"}), "too long for a disk"),
    ("zip deep", zipped({"d/" * 600 + "f": b"x"}), "too long for a disk"),
    ("zip control", zipped({"a\nb": b"x"}), "control characters"),
    ("zip encrypted", encrypted, "is encrypted; unpack it by hand"),
    ("zip crc", wrong_crc, "damaged or cut short"),
    ("zip method", odd_method, "damaged or cut short"),
    ("zip cut", lambda p: (make_zip(p, {"a": bytes(range(256)) * 9}), cut(p, 0.7)), "damaged"),
    ("zip empty", zipped({}), "holds no files"),
    ("zip only folders", zipped({"a/": b"", "a/b/": b""}), "holds no files"),
    ("zip nested", inner, r"only another archive, data\.tar\.gz"),
    ("tar absolute", tarred(A, ("/evil", b"x")), "absolute path"),
    ("tar up", tarred(A, ("../evil", b"x")), "leads out"),
    ("tar link out", tarred(A, ("l", link(SYM, "../evil"))), "link that points out"),
    ("tar link abs", tarred(A, ("l", link(SYM, "/etc/passwd"))), "link that points out"),
    ("tar hardlink out", tarred(A, ("d/l", link(HARD, "../../evil"))), "link that points out"),
    ("tar hardlink abs", tarred(A, ("l", link(HARD, "/etc/passwd"))), "link that points out"),
    (
        "tar write through a link",
        tarred(("l", link(SYM, "..")), ("l/evil", b"x")),
        "file's name as its folder",
    ),
    ("tar link loop", tarred(A, ("x", link(SYM, "y")), ("y", link(SYM, "x"))), "circle"),
    ("tar link nowhere", tarred(A, ("l", link(SYM, "b.txt"))), "not a file in it"),
    ("tar link to itself", tarred(A, ("l", link(SYM, "l"))), "not a file in it"),
    (
        "tar link bomb",
        tarred(("a", bytes(1 << 20)), *((f"l{i}", link(HARD, "a")) for i in range(20))),
        "decompression bomb",
    ),
    ("tar device", tarred(A, ("null", device)), "device or pipe"),
    ("tar fifo", tarred(A, ("pipe", fifo)), "device or pipe"),
    ("tar sparse", sparse, "sparse file"),
    ("tar bomb gz", tarred(("z", bytes(BIG))), "decompression bomb"),
    ("tar bomb bz2", tarred(("z", bytes(BIG)), mode="w:bz2"), "decompression bomb"),
    ("tar bomb xz", tarred(("z", bytes(BIG)), mode="w:xz"), "decompression bomb"),
    ("tar tail bomb", tail_bomb, "decompression bomb|after the end"),
    ("tar header bomb", header_bomb, "absurd size"),
    ("tar entries", tarred(*((f"f{i}", b"") for i in range(101))), "more than 100 entries"),
    ("tar twice", tarred(A, A), "appears twice"),
    ("tar cut", cut_tar, "damaged or cut short"),
    ("tar cut between entries", headless_tar, "no end-of-archive mark"),
    ("tar damaged header", damaged_header, "damaged or cut short"),
    ("tar gz cut", cut_gz, "damaged or cut short"),
    ("gz of no tar", lambda p: p.write_bytes(gzip.compress(b"just text")), "damaged"),
    ("tar empty", tarred(), "holds no files"),
    ("zero bytes", text(b""), r"is empty \(0 bytes\)"),
    ("html", text(b"\n<!DOCTYPE html><title>Quota</title>"), "is a web page"),
    ("not an archive", text(b"id,label\n1,2\n"), r"is not an archive: it begins with b'id,label'"),
    ("7z", text(b"7z\xbc\xaf\x27\x1c" + bytes(60)), "is a 7z archive"),
    ("rar", text(b"Rar!\x1a\x07\x00" + bytes(60)), "is a RAR archive"),
]


@pytest.mark.parametrize(("build", "expected"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_archives_give_their_message_and_leave_nothing(tmp_path, build, expected):
    (tmp_path / "in").mkdir()
    archive = tmp_path / "in" / "set.zip"
    build(archive)
    limits = Limits(max_gb=0.02, max_ratio=20, max_entries=100)
    with pytest.raises(DataError, match=expected) as caught:
        unpack(archive, tmp_path / "in" / "out", limits)
    assert str(caught.value).startswith("set.zip")
    assert [p.name for p in tmp_path.rglob("*")] == ["in", "set.zip"]


GOOD = [("top/a.txt", b"a"), ("top/d/b.bin", bytes(range(256)) * 20), ("top/e.txt", b"")]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_good_archives_of_every_kind_and_whatever_their_name(tmp_path, kind):
    archive = tmp_path / "archive.zip"  # browsers and hosts rename
    if kind == "zip":
        make_zip(archive, [("top/", b""), *GOOD, ("__MACOSX/top/._a", b"?"), (".DS_Store", b"?")])
    else:
        make_tar(archive, GOOD, "w" if kind == "tar" else f"w:{kind[4:]}")
    assert archive_kind(archive) == kind
    done = []
    assert unpack(archive, tmp_path / "out", tick=done.append) == 3
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert found == {name for name, _ in GOOD}
    assert all((tmp_path / "out" / name).read_bytes() == data for name, data in GOOD)
    assert 0 < sum(done) <= archive.stat().st_size
    assert not list(tmp_path.glob(".*"))


def test_links_inside_become_copies(tmp_path):
    archive = tmp_path / "a.tar.gz"
    links = [("d/s", link(SYM, "t")), ("d/t", link(SYM, "../a.txt")), ("h", link(HARD, "a.txt"))]
    make_tar(archive, [*links, A])
    assert unpack(archive, tmp_path / "out") == 4
    for name in ("d/s", "d/t", "h"):
        path = tmp_path / "out" / name
        assert path.read_bytes() == b"a"
        assert not path.is_symlink()
        assert path.stat().st_nlink == 1


def test_nothing_is_executable_or_privileged(tmp_path):
    archive = tmp_path / "a.tar"
    make_tar(archive, [], "w")
    with tarfile.open(archive, "w") as tar:
        info = tarfile.TarInfo("x")
        info.mode, info.size = 0o6777, 1
        tar.addfile(info, io.BytesIO(b"x"))
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "x").stat().st_mode & 0o7111 == 0


def test_leftovers_of_a_killed_run_do_not_matter(tmp_path):
    make_zip(tmp_path / "a.zip", [A])
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "half").write_text("old")
    unpack(tmp_path / "a.zip", tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.txt"]
    assert not (tmp_path / ".out.partial").exists()


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    make_zip(tmp_path / "a.zip", [A])

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aspire.data.unpack._Unpacking.write", full)
    with pytest.raises(AspireError, match=r"a\.zip cannot be unpacked here: No space left"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]
