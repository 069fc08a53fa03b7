"""A stand-in for GitHub's API of comments: keeps them, gives them page by page, checks the token, and fails as a test
says.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "ghs_test-token-that-nobody-may-see"
BOT = {"login": "github-actions[bot]", "type": "Bot"}
REPOSITORY = "someone/recipes"
LONGEST = 65_536


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None: ...


@dataclass
class Request:
    method: str
    path: str
    body: Any


@dataclass
class GitHub:
    """The API of one repository. `faults`: what becomes of the next requests that fit (method, regular expression of
    the path): a status with headers, "cut" (no answer), "lost" (done, but no answer), "garbage" (no JSON)."""

    comments: list[dict[str, Any]] = field(default_factory=list)
    faults: list[tuple[str, str, Any]] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    writable: bool = True
    login: str | None = None  # of the token's user; None: the token of a workflow
    moved_to: str | None = None  # the API's address after a repository was renamed
    repository: str = REPOSITORY

    def __post_init__(self) -> None:
        outer = self
        self._lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None: ...

            def _any(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                with outer._lock:
                    outer._serve(self, body)

            do_GET = do_POST = do_PATCH = do_DELETE = _any

        self._http = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def add(self, body: str, user: dict[str, str] | None = None) -> int:
        """A comment that is there before; its number."""
        number = 1000 + len(self.comments)
        self.comments.append({"id": number, "body": body, "user": user or BOT})
        return number

    def bodies(self) -> list[str]:
        return [c["body"] for c in self.comments]

    def written(self) -> list[str]:
        """The methods that wrote."""
        return [r.method for r in self.asked if r.method != "GET"]

    # --- serving ------------------------------------------------------------------------------------------------------

    def _serve(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        method, path = handler.command, handler.path
        self.asked.append(Request(method, path, body))
        fault = self._fault(method, path)
        if fault == "cut":
            handler.close_connection = True
            handler.connection.close()
            return
        if isinstance(fault, tuple):
            self._answer(handler, fault[0], {"message": fault[2] if len(fault) > 2 else "no"}, fault[1])
            return
        status, data, headers = self._do(handler, method, path, body)
        if fault == "lost":
            handler.close_connection = True
            handler.connection.close()
            return
        self._answer(handler, status, b'{"id": 1' if fault == "garbage" else data, headers)

    def _fault(self, method: str, path: str) -> Any:
        for i, (wanted, where, what) in enumerate(self.faults):
            if wanted == method and re.search(where, path):
                del self.faults[i]
                return what
        return None

    def _answer(self, handler: BaseHTTPRequestHandler, status: int, data: Any, headers: dict[str, str]) -> None:
        raw = data if isinstance(data, bytes) else b"" if data is None else json.dumps(data).encode()
        handler.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(raw)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(raw)

    def _do(
        self, handler: BaseHTTPRequestHandler, method: str, path: str, body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        if handler.headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {"message": "Bad credentials"}, {}
        at = urlsplit(path)
        if self.moved_to is not None and not at.path.startswith("/repositories/"):
            return 307, {"message": "Moved"}, {"location": f"{self.moved_to}/repositories/7{path}"}
        where = at.path.removeprefix("/repositories/7")
        if where == "/user":
            return (
                (200, {"login": self.login}, {})
                if self.login
                else (403, {"message": "Resource not accessible by integration"}, {})
            )
        if not where.startswith(f"/repos/{self.repository}/issues/"):
            return 404, {"message": "Not Found"}, {}
        if method == "GET":
            return self._list(where, parse_qs(at.query))
        if not self.writable:
            return 403, {"message": "Resource not accessible by integration"}, {}
        return self._write(method, where, body)

    def _list(self, where: str, query: dict[str, list[str]]) -> tuple[int, Any, dict[str, str]]:
        size, page = int(query["per_page"][0]), int(query["page"][0])
        assert size <= 100
        some = self.comments[(page - 1) * size : page * size]
        more = len(self.comments) > page * size
        link = {"link": f'<{self.url}{where}?page={page + 1}>; rel="next"'} if more else {}
        return 200, some, link

    def _write(self, method: str, where: str, body: Any) -> tuple[int, Any, dict[str, str]]:
        if body is not None and len(body["body"]) > LONGEST:
            return 422, {"message": f"Body is too long (maximum is {LONGEST} characters)"}, {}
        if method == "POST":
            number = 5000 + len(self.asked)
            self.comments.append({"id": number, "body": body["body"], "user": BOT})
            return 201, {"id": number}, {}
        number = int(where.rpartition("/")[2])
        found = next((c for c in self.comments if c["id"] == number), None)
        if found is None:
            return 404, {"message": "Not Found"}, {}
        if method == "DELETE":
            self.comments.remove(found)
            return 204, None, {}
        found["body"] = body["body"]
        return 200, found, {}
