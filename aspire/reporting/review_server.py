"""The page of a review on this machine: a small server for one person.

It listens on the loopback alone. Other pages in the same browser, and names that somebody has made
point here, are kept out: every address begins with a secret, the Host is compared, and a step must
come from this very page. What is served is what the results name, by the hash of its content; no
path of a request is ever a path of the disk.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from aspire.errors import AspireError, ConfigError
from aspire.reporting.review import RefusedError, Review, parse
from aspire.reporting.review_pages import SHOWS, Pages, known

ADDRESS = "127.0.0.1"
LARGEST = 2**20  # bytes of a step
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class ReviewApp:
    """Answers a browser.

    Args:
        review: what is decided on.
        pages: renders it.
        port: of the server.
        secret: that every address begins with; a new one by default.
    """

    def __init__(self, review: Review, pages: Pages, port: int, secret: str | None = None) -> None:
        self.review = review
        self.pages = pages
        self.secret = secret or secrets.token_urlsafe(24)
        self.hosts = {f"{name}:{port}" for name in (ADDRESS, "localhost")}
        self.address = f"http://{ADDRESS}:{port}/{self.secret}/"

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """As WSGI has it."""
        request = Request(environ)
        request.max_content_length = LARGEST
        response = self._answer(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if request.environ.get("HTTP_HOST") not in self.hosts:
            return _text("Not the address of this page.", 403)
        _, secret, *rest = [*request.path.split("/", 2), ""][:3]
        if not secrets.compare_digest(secret.encode(), self.secret.encode()):
            return _text("Not here. aspire review says the address in its terminal.", 404)
        what = rest[0]
        if request.path == f"/{self.secret}":
            return Response(status=308, headers={"Location": f"/{self.secret}/"})
        try:
            if request.method == "POST":
                return self._step(request, what)
            if request.method in ("GET", "HEAD"):
                return self._page(request, what)
        except AspireError as error:
            if request.method == "POST":
                return _json({"error": str(error)}, 409)
            return _text(str(error), 409)
        return _text("Expected GET or POST.", 405)

    def _page(self, request: Request, what: str) -> Response:
        own = {"style.css": "text/css", "script.js": "text/javascript"}
        if what in own:
            return Response(_files()[what], mimetype=own[what])
        if what.startswith("picture/"):
            found = self.pages.pictures.get(what.removeprefix("picture/"))
            if found is None:
                return _text("No such picture.", 404)
            kind, data = found
            kept = {"Cache-Control": "private, max-age=86400, immutable"}
            return Response(data, mimetype=f"image/{kind}", headers=kept)
        classes = len(self.review.class_names)
        y = request.args.get("class", type=int)
        y = y if y is not None and 0 <= y < classes else None
        page = request.args.get("page", 1, type=int)
        if what == "":
            return Response(self.pages.features(y, page), mimetype="text/html")
        if what == "images" and self.review.images:
            seeds = list(self.review.images)
            seed = request.args.get("seed", type=int)
            seed = seed if seed in seeds else seeds[0]
            show = known(request.args.get("show"), list(SHOWS), "kept")
            return Response(self.pages.images(seed, y or 0, show, page), mimetype="text/html")
        return _text("No such page.", 404)

    def _step(self, request: Request, what: str) -> Response:
        origin = request.headers.get("Origin")
        if origin not in {f"http://{host}" for host in self.hosts}:
            return _json({"error": "A step must come from the page of aspire review."}, 403)
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            return _json({"error": "A step must come from the page of aspire review."}, 403)
        if request.mimetype != "application/json":
            return _json({"error": "Expected application/json."}, 415)
        if (request.content_length or 0) > LARGEST:
            return _json({"error": f"A step has at most {LARGEST} bytes."}, 413)
        moves = {"undo": self.review.back, "redo": self.review.again}
        if what in moves:
            return _json({"said": moves[what]()})
        if what == "step":
            return _json({"said": self.review.take(parse(request.get_data()))})
        raise RefusedError(f"{what}: no such step.")


def serve(review: Review, port: int, note: str = "") -> tuple[BaseWSGIServer, ReviewApp]:
    """A server that listens and waits to be run, and what it answers with.

    Args:
        review: what is decided on.
        port: to listen on; 0 for any that is free.
        note: said on every page.

    Raises:
        ConfigError: when the port is not to be had.
    """
    try:
        listening = socket.create_server((ADDRESS, port))
    except OSError as error:
        raise ConfigError(
            f"port={port}: {os.strerror(error.errno or 0)}. Type another number from 1024 to "
            "65535, or leave it out for one that is free."
        ) from None
    with listening:
        app = ReviewApp(review, Pages(review, note), listening.getsockname()[1])
        server = make_server(
            ADDRESS, 0, app, threaded=True, request_handler=_Quiet, fd=listening.fileno()
        )
    return server, app


class _Quiet(WSGIRequestHandler):
    """Says nothing of requests, which hold the secret, and nothing of what it runs on."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Nothing."""

    def version_string(self) -> str:
        return "aspire"


@cache
def _files() -> dict[str, bytes]:
    folder = Path(__file__).parent
    style = (folder / "report.css").read_bytes() + (folder / "review.css").read_bytes()
    return {"style.css": style, "script.js": (folder / "review.js").read_bytes()}


def _json(content: dict[str, str], status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, mimetype="application/json")


def _text(text: str, status: int) -> Response:
    return Response(text, status, mimetype="text/plain")
