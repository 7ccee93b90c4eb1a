"""A stand-in of the Hugging Face Hub: what its client asks when it pushes and when it fetches.

Repositories are in memory. One that was pushed has one commit a push; a test may change any of it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants, hf_api

TOKEN = "hf_" + "a" * 30


@dataclass
class Stored:
    """A repository."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, bytes]:
        return list(self.commits.values())[-1] if self.commits else {}

    def commit(self, files: dict[str, bytes]) -> str:
        text = repr((len(self.commits), sorted(files.items()))).encode()
        sha = hashlib.sha1(text).hexdigest()
        self.commits[sha] = files
        return sha


class HubServer(ThreadingHTTPServer):
    """Answers as the hub; ``asked`` are the requests, ``token`` is the one that may write."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repositories: dict[str, Stored] = {}  # "datasets/me/x"
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.token = TOKEN

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self._path()
        resolved = "/resolve/" in path
        kind, rest = self._kind(path.removeprefix("api/"))
        owner, name, *more = [*rest.split("/"), ""]  # the client has other questions too
        stored = self.server.repositories.get(f"{kind}/{owner}/{name}")
        if stored is None or (stored.private and not self._may()):
            return self._fail(404, "RepoNotFound")
        more = more[:-1]
        revision = more[1] if len(more) > 1 else "main"
        last = list(stored.commits)[-1]
        sha = last if revision == "main" else revision
        if sha not in stored.commits:
            return self._fail(404, "RevisionNotFound")
        files = stored.commits[sha]
        if resolved:
            file = "/".join(more[2:])
            if file not in files:
                return self._fail(404, "EntryNotFound")
            return self._send(files[file], sha)
        if more and more[0] == "tree":
            rows = [{"type": "file", "path": f, "oid": f, "size": len(b)} for f, b in files.items()]
            return self._send(json.dumps(rows).encode(), sha)
        about = {"id": f"{owner}/{name}", "sha": sha, "private": stored.private}
        about["siblings"] = [{"rfilename": file} for file in files]
        return self._send(json.dumps(about).encode(), sha)

    def do_POST(self) -> None:
        path, body = self._path(), self._body()
        if path == "api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.headers.get("Authorization") is None or not self._may():
            return self._fail(401, "")
        if path == "api/repos/create":
            return self._create(json.loads(body))
        if path.endswith("/info/lfs/objects/batch"):
            where = f"{self.server.address}/put"
            objects = [
                {**o, "actions": {"upload": {"href": f"{where}/{o['oid']}", "header": {}}}}
                for o in json.loads(body)["objects"]
            ]
            return self._json({"transfer": "basic", "objects": objects})
        kind, rest = self._kind(path.removeprefix("api/"))
        owner, name, action, _ = rest.split("/")
        stored = self.server.repositories[f"{kind}/{owner}/{name}"]
        if action == "preupload":
            asked = json.loads(body)["files"]
            large = (".png", ".jpg", ".safetensors")
            return self._json({"files": [
                {"path": f["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if f["path"].endswith(large) else "regular"}
                for f in asked
            ]})  # fmt: skip
        files = dict(stored.files)
        for line in map(json.loads, body.decode().splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        sha = stored.commit(files)
        url = f"{self.server.address}/{owner}/{name}/commit/{sha}"
        return self._json({"commitUrl": url, "commitOid": sha, "success": True})

    def do_PUT(self) -> None:
        body = self._body()
        assert self._path() == f"put/{hashlib.sha256(body).hexdigest()}"
        self.server.blobs[hashlib.sha256(body).hexdigest()] = body
        self._json({})

    def _create(self, asked: dict[str, Any]) -> None:
        kind = f"{asked.get('type', 'model')}s"
        if asked["organization"] != "me":
            return self._fail(403, "")
        key = f"{kind}/{asked['organization']}/{asked['name']}"
        there = key in self.server.repositories
        if not there:
            self.server.repositories[key] = Stored(asked.get("visibility") == "private")
            self.server.repositories[key].commit({".gitattributes": b""})
        return self._json({"url": f"{self.server.address}/{key}"}, 409 if there else 200)

    def _path(self) -> str:
        self.server.asked.append(f"{self.command} {urlsplit(self.path).path}")
        return unquote(urlsplit(self.path).path).strip("/")

    def _kind(self, rest: str) -> tuple[str, str]:
        kind, _, inner = rest.partition("/")
        return (kind, inner) if kind in ("models", "datasets") else ("models", rest)

    def _may(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.server.token}"

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _json(self, content: Any, status: int = 200) -> None:
        self._send(json.dumps(content).encode(), "", status)

    def _fail(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, body: bytes, sha: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", sha)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def hub_at(cache: Path, patch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The stand-in in the place of the hub, with somebody logged in.

    Args:
        cache: in place of the user's own.
        patch: undone by the caller.
    """
    server = HubServer()
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "ENDPOINT", server.address)
    patch.setattr(hf_api.api, "endpoint", server.address)  # what diffusers asks
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # Git LFS in its place
    patch.setenv("HF_TOKEN", TOKEN)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
