"""A chat completion server that answers, refuses, cuts, stalls or garbles as a test says, and counts what it was
asked.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What to do with a request: a text to answer; or status, headers and body; or "cut", "garbage", "half", ("stall",
#: seconds).
Answer = Callable[[int, dict[str, Any]], Any]


def completion(text: str | None, **more: Any) -> dict[str, Any]:
    """The body of a chat completion."""
    finish = more.pop("finish_reason", "stop")
    usage = more.pop("usage", {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish, **more}
    return {"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage}


class _Quiet(ThreadingHTTPServer):
    """Says nothing where a client went away before its answer."""

    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_: object) -> None: ...


@dataclass
class FaultServer:
    answer: Answer
    port: int = 0  # 0: any free one
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    times: list[float] = field(default_factory=list)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._at_once, self._lock = 0, threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None: ...

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with outer._lock:
                    outer.bodies.append(body)
                    outer.times.append(time.monotonic())
                    outer.keys.add(self.headers.get("authorization", ""))
                    outer._at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer._at_once)
                    number = len(outer.bodies)
                try:
                    outer._do(self, outer.answer(number, body))
                finally:
                    with outer._lock:
                        outer._at_once -= 1

        self._http = _Quiet(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def asked(self) -> int:
        return len(self.bodies)

    def questions(self) -> list[str]:
        """The last turn of every request."""
        return [b["messages"][-1]["content"] for b in self.bodies]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _do(self, handler: BaseHTTPRequestHandler, what: Any) -> None:
        if isinstance(what, tuple) and what[0] == "stall":
            time.sleep(what[1])
            what = "late"
        if what == "cut":
            handler.close_connection = True
            handler.connection.close()
            return
        status, headers, body = 200, {}, b""
        if isinstance(what, str) and what in ("garbage", "half"):
            body = b'{"choices": [{"message": {"conte'
        elif isinstance(what, str):
            body = json.dumps(completion(what)).encode()
        elif isinstance(what, dict):
            body = json.dumps(what).encode()
        else:
            status, headers, body = what[0], what[1], json.dumps(what[2]).encode()
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        size = len(body) + (500 if what == "half" else 0)
        for name, value in {"content-length": str(size), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
        if what == "half":
            handler.close_connection = True


def error(status: int, message: str = "no", code: str | None = None, **headers: str) -> Any:
    """A refusal in the form of the API."""
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    return (status, named, {"error": {"message": message, "code": code}})
