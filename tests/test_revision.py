import shutil
import subprocess

import pytest

from aspire.revision import revision, worded

pytestmark = pytest.mark.skipif(
    shutil.which("git") is None,
    reason="git is installed nowhere here; the package asks it, and does without",
)


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_commit_and_whether_files_were_changed(tmp_path):
    assert revision(tmp_path) == {}
    clean, changed, empty = (tmp_path / n for n in ("clean", "changed", "empty"))
    for folder in (clean, changed, empty):
        folder.mkdir()
        git(folder, "init", "-q")
    for folder in (clean, changed):
        (folder / "a.py").write_text("1")
        git(folder, "add", "a.py")
        git(folder, "commit", "-qm", "first")
    (clean / "untracked.txt").write_text("")
    (changed / "a.py").write_text("2")
    assert revision(clean) == {"commit": git(clean, "rev-parse", "HEAD"), "changed": False}
    assert revision(changed)["changed"] is True
    assert revision(empty) == {}  # no commit yet


def test_a_commit_in_words():
    noted = {"commit": "0123456789abcdef", "changed": False}
    assert worded(noted) == "0123456789"
    assert worded({**noted, "changed": True}) == "0123456789, changed"
    assert worded({}) == ""
