"""One address into one file, continued where an earlier try stopped.

pooch does the HTTP (through requests: redirects, certificates, proxies, streaming). It knows no
range requests, so its downloader gets the ``Range`` header from here and, in place of a path, a
sink that looks at the answer before anything is written.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from rich.filesize import decimal as readable

from aspire.errors import DataError
from aspire.progress import Advance, Progress
from aspire.version import __version__

CHUNK = 1 << 14  # what a broken connection may lose of what has come
PAGE = 1 << 16  # of a web page, so much is looked at


class SourceError(Exception):
    """Why one source failed; the next one may do."""


class DiskError(DataError):
    """No place or no permission here: another source would not help."""


@dataclass(frozen=True)
class _Origin:
    """Where the bytes of a ``.part`` file come from."""

    url: str
    validator: str | None  # ETag or Last-Modified, for If-Range
    total: int | None


class _RestartError(Exception):
    """What is there cannot be continued."""


class _WholeError(Exception):
    """What is there is all of it."""


def fetch(
    url: str,
    part: Path,
    *,
    progress: Progress,
    timeout: float,
    retries: int,
    size: int | None = None,
    any_origin: bool = False,
    noun: str = "archive",
) -> bool:
    """Download into ``part``; what is there already is not asked for again.

    Args:
        timeout: seconds without an answer or without further bytes.
        retries: further tries after the connection broke with something gained.
        size: of the whole file, where known.
        any_origin: continue bytes of another address too, as the whole will be checked.
        noun: what is expected, for messages.

    Returns:
        Whether some of the bytes are of an earlier try.

    Raises:
        SourceError: saying why, in a few words. ``part`` then holds what came.
        DiskError: when there is no place for the file.
    """
    continued = bool(_present(part))
    for attempt in range(retries + 1):
        before = _present(part)
        try:
            continued &= _fetch_once(url, part, progress, timeout, size, any_origin, noun)
            return continued
        except _WholeError:
            return True
        except _RestartError:
            part.unlink(missing_ok=True)
            continued = False
        except SourceError:
            if _present(part) <= before or attempt == retries:
                raise
    raise SourceError("its answers to range requests make no sense")


def _present(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _fetch_once(
    url: str,
    part: Path,
    progress: Progress,
    timeout: float,
    size: int | None,
    any_origin: bool,
    noun: str,
) -> bool:
    # requests takes a third of a second to load
    import requests
    from pooch import HTTPDownloader

    origin, have = _read_origin(part), _present(part)
    headers = {"Accept-Encoding": "identity", "User-Agent": f"aspire/{__version__}"}
    same = origin is not None and origin.url == url
    if have and (same or any_origin):
        headers["Range"] = f"bytes={have}-"
        if same and origin is not None and origin.validator:
            headers["If-Range"] = origin.validator
    else:
        have = 0
    with ExitStack() as stack:
        sink = _Sink(url, part, have, origin if same else None, size, noun, progress, stack)
        download = HTTPDownloader(
            chunk_size=CHUNK, headers=headers, timeout=timeout, hooks={"response": sink.look}
        )
        try:
            download(url, sink, None)
        except requests.exceptions.RequestException as error:
            raise SourceError(_reason(error, timeout, sink)) from None
        except OSError as error:
            raise DiskError(f"{part} cannot be written: {error.strerror or error}.") from None
        sink.end()
    return sink.start > 0


class _Sink:
    """Takes what pooch downloads: decides where it goes, and whether it is worth having."""

    def __init__(
        self,
        url: str,
        part: Path,
        have: int,
        origin: _Origin | None,
        size: int | None,
        noun: str,
        progress: Progress,
        stack: ExitStack,
    ) -> None:
        self.url, self.part, self.have, self.origin = url, part, have, origin
        self.size, self.noun, self.progress, self.stack = size, noun, progress, stack
        self.total: int | None = size
        self.start = self.at = have
        self.kind = ""
        self.answer: _Origin | None = None
        self.file: IO[bytes] | None = None
        self.tick: Advance = lambda size: None
        self.page: bytes | None = None  # the beginning of a web page

    def look(self, response: Any, **_: Any) -> None:
        """The head of an answer, before its body is read."""
        status, head = response.status_code, response.headers
        if response.is_redirect:
            return
        told = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", head.get("Content-Range", ""))
        if status == 416 and self.have:  # nothing after what is there: is that all of it?
            response.close()
            raise _WholeError if told and told[2] == str(self.have) else _RestartError
        if status >= 400:
            return  # pooch raises it
        length = int(head["Content-Length"]) if head.get("Content-Length", "").isdigit() else None
        if status == 206:
            total = int(told[2]) if told and told[2].isdigit() else None
            other = self.origin and self.origin.total and total != self.origin.total
            if not told or told[1] != str(self.have) or other:
                response.close()
                raise _RestartError
        else:
            self.start = self.at = 0
            total = length
        self.kind = head.get("Content-Type", "").split(";")[0].strip().lower()
        if self.kind in ("text/html", "application/xhtml+xml"):
            self.page, self.total = b"", total
            return
        if self.size is not None and total is not None and total != self.size:
            raise SourceError(f"it has {total} bytes instead of {self.size}")
        self.total = total if total is not None else self.size
        free = shutil.disk_usage(self.part.parent).free
        if self.total and self.total - self.start > free:
            raise DiskError(
                f"{self.part.stem} needs {readable(self.total - self.start)} more, but "
                f"{self.part.parent} has {readable(free)} free."
            )
        etag = head.get("ETag", "")  # a weak one does not promise equal bytes
        validator = etag if etag and not etag.startswith("W/") else head.get("Last-Modified")
        self.answer = _Origin(self.url, validator, total)

    def open(self) -> IO[bytes]:
        """The file, once there is something good to put in it."""
        assert self.answer is not None
        if self.start == 0:  # what is there is of no use from here on
            self.part.unlink(missing_ok=True)
        _origin_file(self.part).write_text(json.dumps(asdict(self.answer)), "utf-8")
        self.tick = self.stack.enter_context(
            meter(self.progress, self.part.stem, self.total or 0, self.start)
        )
        return self.stack.enter_context(self.part.open("ab"))

    def write(self, data: bytes) -> None:
        """Some bytes of the body."""
        if self.page is None and self.at == 0 and is_html(data):
            self.page = b""
        if self.page is not None:
            self.page += data
            if len(self.page) > PAGE:
                raise self.web_page()
            return
        if self.size is not None and self.at + len(data) > self.size:
            raise SourceError(f"it has more than the {self.size} bytes it should have")
        if self.file is None:
            self.file = self.open()
        self.file.write(data)
        self.at += len(data)
        self.tick(len(data))

    def flush(self) -> None:
        """For pooch; every flush costs."""

    def end(self) -> None:
        """The answer is over."""
        if self.page is not None:
            raise self.web_page()
        if self.total is not None and self.at != self.total:
            raise SourceError(f"cut off after {readable(self.at)} of {readable(self.total)}")
        if self.at == 0:
            raise SourceError("it is empty (0 bytes)")

    def web_page(self) -> SourceError:
        text = (self.page or b"").lower()
        what = "web page"
        for name, words in {
            "quota page": (b"quota", b"too many users", b"limit exceeded"),
            "login page": (b"sign in", b"log in", b"password"),
        }.items():
            if any(word in text for word in words):
                what = name
                break
        size = readable(self.total or len(text))
        kind = self.kind or "no content type"
        return SourceError(f"{what} ({kind}, {size}) instead of {_article(self.noun)}")


def _reason(error: Exception, timeout: float, sink: _Sink) -> str:
    """A failure of requests in a few words."""
    import requests.exceptions as failed

    text = str(error)
    if isinstance(error, failed.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason or ''}".strip()
    if isinstance(error, failed.Timeout) or "timed out" in text.lower():
        got = f", {readable(sink.at)} are there" if sink.at else ""
        return f"timed out after {timeout:g} s{got}"
    if isinstance(error, failed.ChunkedEncodingError) or "IncompleteRead" in text:
        of = f" of {readable(sink.total)}" if sink.total else ""
        return f"cut off after {readable(sink.at)}{of}"
    if isinstance(error, failed.SSLError):
        return "no secure connection (its certificate is not accepted)"
    if isinstance(error, (failed.MissingSchema, failed.InvalidSchema, failed.InvalidURL)):
        return "not an http or https address"
    if isinstance(error, failed.TooManyRedirects):
        return "redirected in a circle"
    known = {"resolve": "host not found", "refused": "connection refused"}
    why = [meaning for word, meaning in known.items() if word in text.lower()]
    return why[0] if why else f"no connection ({type(error).__name__})"


def _origin_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_origin(part: Path) -> _Origin | None:
    with suppress(OSError, ValueError, TypeError):
        return _Origin(**json.loads(_origin_file(part).read_text("utf-8")))
    return None


def origin_of(part: Path) -> str | None:
    """The address that an unfinished file comes from."""
    origin = _read_origin(part) if _present(part) else None
    return origin.url if origin else None


def forget(part: Path) -> None:
    """Remove an unfinished file and what is known of it."""
    part.unlink(missing_ok=True)
    _origin_file(part).unlink(missing_ok=True)


def is_html(head: bytes) -> bool:
    """Whether a file that begins so is a web page."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script"))


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


@contextmanager
def meter(progress: Progress, name: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Progress in MB (small things: kB) of something counted in bytes."""
    unit, unit_name = (10**6, "MB") if total >= 10**7 else (10**3, "kB")
    state = {"bytes": done, "shown": done // unit}
    with progress.task(f"{name} ({unit_name})", total // unit, done // unit) as advance:

        def tick(size: int) -> None:
            state["bytes"] += size
            if (step := state["bytes"] // unit - state["shown"]) > 0:
                state["shown"] += step
                advance(step)

        yield tick
