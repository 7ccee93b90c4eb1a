"""An OpenAI-compatible endpoint on this machine that misbehaves as told, the same way each time."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("429", "500", "timeout", "cut", "empty", "truncated", "wrong")


def answer_for(caption: str) -> str:
    """The right answer to "a bird near a boat on the lake number 7"."""
    scene = caption.split(" on the ")[1].split(" number ")[0]
    return json.dumps({"background": scene, "foreground": ["boat"], "alternative": "desert"})


class FaultyServer:
    """Fails in a share of the requests, drawn by seed from the caption and how often it came.

    Args:
        share: of requests that fail, in [0, 1].
        seed: of the draw.
        key: the only one that is let in.
        hang: seconds a "timeout" takes; longer than the client waits.
        faults: kinds of failure that are drawn from.
        sick: captions that never get an answer.
    """

    def __init__(
        self,
        share: float = 0.0,
        seed: int = 0,
        key: str | None = None,
        hang: float = 0.6,
        faults: tuple[str, ...] = FAULTS,
        sick: tuple[str, ...] = (),
    ) -> None:
        self.share, self.seed, self.key, self.hang = share, seed, key, hang
        self.faults, self.sick = faults, sick
        self.asked: Counter[str] = Counter()  # caption -> requests
        self.told: Counter[str] = Counter()  # caption -> right answers given
        self.injected: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.down = False
        self._lock = threading.Lock()

    def __enter__(self) -> FaultyServer:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer._serve(self)

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *args: Any) -> None:  # clients hang up on purpose
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *args: Any) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        questions = [m["content"] for m in body["messages"] if "Caption: " in m["content"]]
        caption = questions[-1].split("Caption: ")[1]
        with self._lock:
            self.bodies.append(body)
            self.asked[caption] += 1
            draw = random.Random(f"{self.seed}/{caption}/{self.asked[caption]}")
            fault = draw.choice(self.faults) if draw.random() < self.share else ""
            if caption in self.sick or self.down:
                fault = "500"
            self.injected[fault] += 1
        if self.key is not None and handler.headers["authorization"] != f"Bearer {self.key}":
            return self._send(handler, 401, {"error": {"message": "wrong key"}})
        if fault == "429":
            error = {"error": {"message": f"slow down, {handler.headers['authorization']}"}}
            return self._send(handler, 429, error, {"retry-after": "0.01"})
        if fault == "500":  # a proxy that shows the request it choked on
            error = {"error": {"message": f"sorry: {dict(handler.headers)}"}}
            return self._send(handler, 500, error)
        if fault == "timeout":
            time.sleep(self.hang)
        if "on the" not in caption:
            return self._chat(handler, '{"background": null, "foreground": []}')
        right = answer_for(caption)
        if fault == "cut":
            handler.send_response(200)
            handler.send_header("content-length", "5000")
            handler.end_headers()
            handler.wfile.write(b'{"choices": [{"mess')
            handler.close_connection = True
            return None
        if fault == "empty":
            return self._chat(handler, draw.choice(["", "   ", None]))
        if fault == "truncated":
            return self._chat(handler, right[: draw.randrange(5, len(right) - 1)])
        if fault == "wrong":
            wrong = ["[1, 2]", "I see a bird.", '{"scene": "lake"}', '{"background": {"a": 1}}']
            return self._chat(handler, draw.choice(wrong))
        if not fault:  # after a timeout nobody listens any more
            with self._lock:
                self.told[caption] += 1
        return self._chat(handler, right)

    def _chat(self, handler: BaseHTTPRequestHandler, text: str | None) -> None:
        message = {"role": "assistant", "content": text}
        self._send(
            handler,
            200,
            {
                "id": "1",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            },
        )

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        table: dict[str, Any],
        headers: dict[str, str] | None = None,
    ) -> None:
        data = json.dumps(table).encode()
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(data)))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)
