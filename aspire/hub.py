"""Repositories of the Hugging Face Hub that ``aspire push`` writes, and bringing them here.

Beside the files lies ``aspire.json``: what they are, how large, and the SHA-256 of each. What comes
from elsewhere is data: nothing is taken that it does not name, and nothing believed that differs.
Cards are for people and are not read back. A revision is resolved to a commit once, and a commit is
kept whole in a folder of its own, so that it is fetched once and needs no network afterwards.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec

from aspire.errors import AspireError, ConfigError, DamagedError, DataError, ServiceError
from aspire.stored.files import locked, write_atomic
from aspire.stored.notes import note
from aspire.stored.trouble import is_of_a_file, storage_error
from aspire.text import file_name, is_device, quoted
from aspire.version import __version__

MANIFEST = "aspire.json"
CARD = "README.md"
LARGEST_MANIFEST = 64 * 10**6  # bytes
MOST_FILES = 500_000
MOST_OTHERS = 50  # files of a repository that are no part of what was pushed
TIMEOUT = 20  # seconds for one question

Kind = Literal["dataset", "model"]
State = Literal["new", "private", "public"]
# What there may be; everything else is refused before it is fetched. None can hold code.
ENDINGS: Mapping[str, frozenset[str]] = {
    "dataset": frozenset({".csv", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif",
                          ".tiff", ".ppm", ".pgm"}),
    "model": frozenset({".json", ".yaml", ".safetensors"}),
}  # fmt: skip
_COMMIT = re.compile(r"[0-9a-f]{40}")
_OWNED = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_WRITING = "write in the settings of your account (https://huggingface.co/settings/tokens)"


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file as it was pushed."""

    bytes: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``aspire.json``."""

    schema: Literal[1] = 1
    aspire: str = __version__
    kind: Kind
    files: dict[str, File]
    about: dict[str, Any] = {}

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(f.bytes for f in self.files.values())


def write_manifest(folder: Path, kind: Kind, about: Mapping[str, Any]) -> Manifest:
    """Name all files below a folder but the card, as the last thing that is written there."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (CARD, MANIFEST))
    files = {p.relative_to(folder).as_posix(): _file(p) for p in paths}
    manifest = Manifest(kind=kind, files=files, about=dict(about))
    _check_names(manifest.files, kind, str(folder))
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    write_atomic(folder / MANIFEST, data)
    return manifest


def read_manifest(folder: Path, kind: Kind) -> Manifest:
    """The manifest of a folder.

    Raises:
        DamagedError: when it is none, or names what there must not be.
    """
    path = Path(folder) / MANIFEST
    try:
        if path.stat().st_size > LARGEST_MANIFEST:
            raise DamagedError(f"{path} is larger than {LARGEST_MANIFEST} bytes.")
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise DamagedError(f"{path} is none that aspire push has written: {error}.") from None
    if manifest.kind != kind:
        raise DataError(f"{path} describes a {manifest.kind}; expected a {kind}.")
    _check_names(manifest.files, kind, str(path))
    return manifest


def _file(path: Path) -> File:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return File(path.stat().st_size, digest)


def _check_names(files: Iterable[str], kind: Kind, where: str) -> None:
    """Refuse names that lead elsewhere, that not every system can have, or of other files."""
    seen: dict[str, str] = {}
    for name in files:
        if not is_below(name):
            raise DamagedError(f"{where} names {quoted(name)}, which is not a file below it.")
        if PurePosixPath(name).suffix.lower() not in ENDINGS[kind]:
            raise DamagedError(
                f"{where} names {quoted(name)}; of a {kind} expected only files that end in "
                f"{', '.join(sorted(ENDINGS[kind]))}."
            )
        if seen.setdefault(name.casefold(), name) != name:
            raise DamagedError(f"{where} names both {quoted(seen[name.casefold()])} and {name!r}.")


def is_below(name: str) -> bool:
    r"""Whether a name is that of a file in a folder or below it, on every system.

    >>> [is_below(n) for n in ("images/a b.png", "../a", "/a", "c:\\a", "a//b", ".git/x", "nul")]
    [True, False, False, False, False, False, False]
    """
    parts = name.split("/")
    return (
        0 < len(name) <= 400
        and not re.search(r'[\x00-\x1f\x7f\\:<>|?*"]', name)
        and all(p and not p.startswith(".") and p[-1] not in ". " and not is_device(p)
                for p in parts)
    )  # fmt: skip


@dataclass(frozen=True)
class Repository:
    """A repository of the hub.

    Args:
        name: ``owner/name``.
        kind: of what is in it.

    Raises:
        ConfigError: for a name that the hub cannot have.
    """

    name: str
    kind: Kind

    def __post_init__(self) -> None:
        ok = _OWNED.fullmatch(self.name) and len(self.name) <= 96
        if not ok or ".." in self.name or "--" in self.name or self.name.endswith((".git", ".")):
            raise ConfigError(
                f"repo={self.name}: no name of a repository. Expected owner/name of letters, "
                "digits, '-', '_' and '.', such as repo=me/birds."
            )

    # --- giving -------------------------------------------------------------------------------

    def state(self) -> State:
        """Whether it is there, and who may see it.

        Raises:
            AspireError: when nobody is logged in or the hub is not reached.
        """
        from huggingface_hub import HfApi, get_token
        from huggingface_hub.errors import RepositoryNotFoundError

        if not get_token():
            raise ConfigError(
                "Nobody is logged in to the hub on this machine, so nothing can be pushed. Make a "
                f"token that may {_WRITING}, then type: hf auth login, or export HF_TOKEN=..."
            )
        try:
            info = HfApi().repo_info(self.name, repo_type=self.kind, timeout=TIMEOUT)
        except RepositoryNotFoundError:
            return "new"
        except Exception as error:  # hub, network and authentication errors of many classes
            raise self.told(error) from None
        return "private" if info.private else "public"

    def is_ours(self) -> bool:
        """Whether ``aspire push`` has written what is there.

        Raises:
            AspireError: as :meth:`state`.
        """
        from huggingface_hub import HfApi

        try:
            return HfApi().file_exists(self.name, MANIFEST, repo_type=self.kind)
        except Exception as error:  # as above
            raise self.told(error) from None

    def push(self, folder: Path, *, public: bool, new: bool) -> tuple[str, str]:
        """Upload a folder; what was there before goes, but stays in the history.

        Args:
            folder: with its manifest.
            public: whether a new one may be seen by everybody.
            new: whether it is made now; one that is there already by then is an error.

        Returns:
            Its address and the commit.

        Raises:
            AspireError: when it cannot be made or written, with what to type.
        """
        from huggingface_hub import HfApi

        api = HfApi()
        try:
            url = api.create_repo(
                self.name, repo_type=self.kind, private=not public, exist_ok=not new
            )
            done = api.upload_folder(
                repo_id=self.name,
                repo_type=self.kind,
                folder_path=folder,
                commit_message=f"aspire push (aspire {__version__})",
                delete_patterns=None if new else ["*"],
            )
        except Exception as error:  # as above
            raise self.told(error) from None
        return str(url), str(done.oid)

    # --- taking -------------------------------------------------------------------------------

    def bring(self, revision: str, cache: Path, max_gb: float) -> Path:
        """The folder of a commit, fetched and checked once.

        Args:
            revision: commit, tag or branch.
            cache: folder that holds those of all repositories.
            max_gb: 10^9 bytes that are fetched at most.

        Raises:
            DamagedError: when it is not what was pushed, or holds what it must not.
            DataError: when it is larger than that.
            AspireError: when it cannot be had, with what to type.
        """
        home = self._home(cache)
        commit = self._commit(revision, home)
        folder = home / commit
        if (folder / MANIFEST).is_file():
            return folder
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / ".lock"):
            if not (folder / MANIFEST).is_file():
                self._fetch(commit, folder, max_gb)
        return folder

    def is_here(self, revision: str, cache: Path) -> bool:
        """Whether that revision was fetched once, so that no network is needed; asks none."""
        home = self._home(cache)
        commit = revision if _COMMIT.fullmatch(revision) else _remembered(home, revision)
        return bool(commit) and (home / commit / MANIFEST).is_file()

    def _home(self, cache: Path) -> Path:
        return Path(cache) / f"{self.kind}s--{self.name.replace('/', '--')}"

    def _commit(self, revision: str, home: Path) -> str:
        """The commit of a revision, that of the last time where the hub is out of reach."""
        if _COMMIT.fullmatch(revision):
            return revision
        from huggingface_hub import HfApi

        try:
            sha = HfApi().repo_info(
                self.name, repo_type=self.kind, revision=revision, timeout=TIMEOUT
            ).sha  # fmt: skip
        except Exception as error:  # as above
            told = self.told(error, revision)
            commit = _remembered(home, revision)
            if not isinstance(told, ServiceError) or not commit:
                raise told from None
            note(f"The hub is out of reach; {self.name} is taken as it was last: {commit}.")
            return commit
        if not _COMMIT.fullmatch(str(sha)):
            raise DamagedError(f"{self.name}: the hub names no commit for {revision}.")
        if _remembered(home, revision) != sha:  # a cache that can only be read will do, too
            write_atomic(_reference(home, revision), str(sha).encode())
        return str(sha)

    def _fetch(self, commit: str, folder: Path, max_gb: float) -> None:
        from huggingface_hub import hf_hub_download, snapshot_download

        partial = folder.with_name(f".{commit}.partial")  # goes on where it stopped
        where: dict[str, Any] = {
            "repo_type": self.kind, "revision": commit, "local_dir": partial
        }  # fmt: skip
        try:
            sizes = self._listed(commit)
            self._check_listing(sizes)
            hf_hub_download(self.name, MANIFEST, **where)
            manifest = read_manifest(partial, self.kind)
            others = self._check_sizes(manifest, sizes, max_gb)
            escaped = [re.sub(r"([*?[])", r"[\1]", name) for name in others]
            snapshot_download(self.name, ignore_patterns=escaped or None, **where)
            for name, file in manifest.files.items():
                path = partial / name
                if path.is_symlink() or not path.is_file() or _file(path) != file:
                    raise DamagedError(
                        f"{self.name} @ {commit}: {name} is not the file that was pushed: its "
                        f"SHA-256 is not the one in {MANIFEST}."
                    )
        except DataError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise type(error)(
                f"{error} Nothing of it was used. Take another revision, or ask its owner to push "
                "it again."
            ) from None
        except Exception as error:  # as above
            raise self.told(error, commit) from None
        shutil.rmtree(partial / ".cache", ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)  # what somebody began to remove
        partial.replace(folder)

    def _listed(self, commit: str) -> dict[str, int]:
        """File -> its bytes, as the hub lists them."""
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        tree = HfApi().list_repo_tree(
            self.name, recursive=True, revision=commit, repo_type=self.kind
        )
        return {f.path: f.size for f in tree if isinstance(f, RepoFile)}

    def _check_listing(self, sizes: Mapping[str, int]) -> None:
        if MANIFEST not in sizes:
            raise DataError(
                f"{self.name} holds no {MANIFEST}: expected a {self.kind} that aspire push has "
                "written."
            )
        if sizes[MANIFEST] > LARGEST_MANIFEST or len(sizes) > MOST_FILES:
            raise DamagedError(
                f"{self.name} lists {len(sizes)} files, {sizes[MANIFEST]} bytes of them {MANIFEST};"
                f" expected at most {MOST_FILES} and {LARGEST_MANIFEST}."
            )

    def _check_sizes(
        self, manifest: Manifest, sizes: Mapping[str, int], max_gb: float
    ) -> list[str]:
        """Those of its files that are not to be fetched."""
        for name, file in manifest.files.items():
            if sizes.get(name) != file.bytes:
                raise DamagedError(
                    f"{self.name}: {name} has {sizes.get(name, 'no')} bytes there, and "
                    f"{file.bytes} in {MANIFEST}."
                )
        if manifest.size > max_gb * 10**9:
            raise DataError(
                f"{self.name} has {manifest.size / 10**9:.3g} GB; allowed are {max_gb:g}. To "
                f"allow more: {'dataset' if self.kind == 'dataset' else 'classifier'}.max_gb=..., "
                "in Python max_gb=..."
            )
        others = [name for name in sizes if name not in manifest.files and name != MANIFEST]
        if len(others) > MOST_OTHERS:
            raise DamagedError(
                f"{self.name} holds {len(others)} files that {MANIFEST} does not name."
            )
        return others

    # --- what went wrong ----------------------------------------------------------------------

    def told(self, error: Exception, revision: str = "") -> AspireError:
        """An error of the hub or of the way there, with what to type next."""
        from huggingface_hub import errors

        if isinstance(error, AspireError):
            return error
        if is_of_a_file(error) and (stored := storage_error(error)) is not None:
            return stored
        wrapped = isinstance(error, errors.DryRunError | errors.LocalEntryNotFoundError)
        if wrapped and isinstance(error.__cause__, Exception):
            return self.told(error.__cause__, revision)
        asked = f"repo={self.name}"
        if isinstance(error, errors.HFValidationError):
            return ConfigError(f"{asked}: no name of a repository: {error}")
        if isinstance(error, errors.GatedRepoError):
            return ServiceError(
                f"{asked}: its owner lets in only those who have asked. Ask on its page, then "
                "type: hf auth login"
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return ConfigError(
                f"{asked}: no revision {revision} there; expected a commit, tag or branch, such as "
                "main."
            )
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if isinstance(error, errors.RepositoryNotFoundError):
            return ConfigError(
                f"{asked}: the hub has no {self.kind} of that name, or it is private and this "
                "machine may not see it. Look at the name, or type: hf auth login"
            )
        if status == 401:
            return ConfigError(
                f"{asked}: the hub does not know the token of this machine. Type: hf auth login, "
                "or export HF_TOKEN=..."
            )
        if status == 403:
            return ConfigError(
                f"{asked}: the token of this machine may not write there. Make one that may "
                f"{_WRITING}, or take an owner that is yours: repo=YOU/{self.name.split('/')[1]}"
            )
        if status == 409:
            return ConfigError(
                f"{asked} is there already. Choose another name, or replace what an earlier push "
                "has put there: overwrite=true"
            )
        if status == 413 or status == 400 or isinstance(error, ValueError):
            return ConfigError(f"{asked}: the hub refuses it: {_first_line(error)}")
        return ServiceError(
            f"{asked}: the hub was not reached: {_first_line(error)}\nThe same command goes on "
            "where there is a network. What was fetched before needs none: give its commit as "
            "revision."
        )


def _reference(home: Path, revision: str) -> Path:
    """What remembers the commit that a branch or tag was last."""
    return home / "refs" / file_name(revision)


def _remembered(home: Path, revision: str) -> str:
    """That commit; "" where none is known."""
    file = _reference(home, revision)
    commit = file.read_text("ascii", "replace").strip() if file.is_file() else ""
    return commit if _COMMIT.fullmatch(commit) else ""


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
