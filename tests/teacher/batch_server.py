"""A server with the Batch API as OpenAI's behaves: files, batches that go through their statuses, output in any order.

It keeps its own record: `log` of every request, `paid` of every question that it answered and charged. What it does
wrong is set by the test: `script` says how each batch ends, `answer` what a question gets, `faults` what happens to a
request of the API.
"""

from __future__ import annotations

import email.parser
import email.policy
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fault_server import completion

#: What a question gets: a text; or status and body; or a line's error as {"code": …, "message": …}; or None for no line
#: at all.
Answer = Callable[[dict[str, Any]], Any]
#: What happens to a request, by method, path and how often it came: None (as it should), (status, headers, body), "cut"
#: before it is done, or "cut after" it is done.
Fault = Callable[[str, str, int], Any]

STEPS = ("validating", "in_progress", "finalizing")
ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass
class Ends:
    """How a batch ends. `answered`: the share that was answered by then; `errors` of a batch that failed its
    validation.
    """

    status: str = "completed"
    answered: float = 1.0
    looks: int = 3  # at which look it has ended
    errors: list[dict[str, Any]] = field(default_factory=list)
    lines: bool = True  # whether what was not answered has lines in the error file


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_: object) -> None: ...


class BatchServer:
    def __init__(
        self,
        answer: Answer = lambda body: "re: " + body["messages"][-1]["content"],
        script: Callable[[int], Ends] = lambda number: Ends(),
        faults: Fault = lambda method, path, n: None,
    ) -> None:
        self.answer, self.script, self.faults = answer, script, faults
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.log: list[tuple[str, str]] = []
        self.paid: Counter[str] = Counter()
        self.sent: list[list[str]] = []  # the questions of every batch that was accepted
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self._looks: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._random = random.Random(5)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                outer._serve(self, "GET")

            def do_POST(self) -> None:
                outer._serve(self, "POST")

        self._http = _Quiet(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def count(self, method: str, path: str) -> int:
        return sum(m == method and p.startswith(path) for m, p in self.log)

    def cancel(self, batch: str) -> None:
        """As a person does on the server's page."""
        with self._lock:
            held = self.batches[batch]
            if held["status"] not in ENDED:
                held["ends"] = Ends("cancelled", self.batches[batch]["ends"].answered, looks=0)
                held["status"] = "cancelling"

    # --- requests -----------------------------------------------------------------------------------------------------

    def _serve(self, handler: BaseHTTPRequestHandler, method: str) -> None:
        url = urlsplit(handler.path)
        path = url.path.removeprefix("/v1")
        data = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        with self._lock:
            self.log.append((method, path))
            self.keys.add(handler.headers.get("authorization", ""))
            fault = self.faults(method, path, self.count(method, path))
        if fault == "cut":
            return self._cut(handler)
        if isinstance(fault, tuple):
            status, headers, body = fault
            return self._reply(handler, status, json.dumps(body).encode(), headers)
        with self._lock:
            status, body = self._do(method, path, parse_qs(url.query), handler, data)
        if fault == "cut after":
            return self._cut(handler)
        return self._reply(handler, status, body if isinstance(body, bytes) else json.dumps(body).encode())

    def _cut(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.connection.close()

    def _reply(self, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: Any = ()) -> None:
        handler.send_response(status)
        for name, value in {"content-type": "application/json", **dict(headers)}.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _do(self, method: str, path: str, query: dict[str, list[str]], handler: Any, data: bytes) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        match method, parts:
            case "POST", ["files"]:
                return 200, self._upload(handler.headers["content-type"], data)
            case "GET", ["files", name, "content"]:
                return (200, self.files[name]) if name in self.files else _refused(404, "No such File object")
            case "POST", ["batches"]:
                return self._create(json.loads(data))
            case "GET", ["batches"]:
                return 200, self._list(query)
            case "GET", ["batches", name]:
                return (200, self._look(name)) if name in self.batches else _refused(404, "No batch found")
            case "POST", ["batches", name, "cancel"]:
                if self.batches[name]["status"] in ENDED:
                    return _refused(409, f"Cannot cancel a batch with status {self.batches[name]['status']!r}.")
                self.cancel(name)
                return 200, self._shown(name)
            case "POST", ["chat", "completions"]:
                body = json.loads(data)
                self.paid[body["messages"][-1]["content"]] += 1
                made = self.answer(body)
                return made if isinstance(made, tuple) else (200, completion(made))
        return _refused(404, f"Invalid URL ({method} {path})")

    def _upload(self, kind: str, data: bytes) -> dict[str, Any]:
        head = f"content-type: {kind}\r\n\r\n".encode()
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + data)
        fields = {p.get_param("name", header="content-disposition"): p for p in form.iter_parts()}
        assert fields["purpose"].get_content().strip() == "batch"
        content = fields["file"].get_payload(decode=True)
        name = self._put(content)
        return {
            "id": name,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": fields["file"].get_filename(),
            "purpose": "batch",
            "status": "processed",
        }

    def _put(self, content: bytes) -> str:
        name = f"file-{len(self.files) + 1}"
        self.files[name] = content
        return name

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        assert asked["completion_window"] == "24h"
        lines = [json.loads(x) for x in self.files[asked["input_file_id"]].splitlines()]
        assert len({x["custom_id"] for x in lines}) == len(lines)
        assert all((x["method"], x["url"]) == ("POST", asked["endpoint"]) for x in lines)
        number = len(self.batches) + 1
        name = f"batch_{number}"
        self.sent.append([x["body"]["messages"][-1]["content"] for x in lines])
        self.bodies += [x["body"] for x in lines]
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": asked["endpoint"],
            "status": "validating",
            "errors": None,
            "input_file_id": asked["input_file_id"],
            "completion_window": "24h",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": int(time.time()),
            "metadata": asked.get("metadata"),
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
            "ends": self.script(number),
            "lines": lines,
        }
        return 200, self._shown(name)

    def _shown(self, name: str) -> dict[str, Any]:
        return {k: v for k, v in self.batches[name].items() if k not in ("ends", "lines")}

    def _list(self, query: dict[str, list[str]]) -> dict[str, Any]:
        names = list(reversed(self.batches))
        if after := query.get("after"):
            names = names[names.index(after[0]) + 1 :]
        page = names[: min(2, int(query.get("limit", ["20"])[0]))]  # small pages, so that there are several
        shown = [self._shown(n) for n in page]
        return {
            "object": "list",
            "data": shown,
            "has_more": len(names) > len(page),
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }

    def _look(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        self._looks[name] += 1
        ends: Ends = batch["ends"]
        if batch["status"] in ("validating", "in_progress", "finalizing", "cancelling"):
            looks = self._looks[name]
            if looks > ends.looks:
                self._end(batch, ends)
            elif batch["status"] != "cancelling":
                batch["status"] = STEPS[min(looks * len(STEPS) // (ends.looks + 1), 2)]
        return self._shown(name)

    def _end(self, batch: dict[str, Any], ends: Ends) -> None:
        batch["status"] = ends.status
        if ends.status == "failed":
            batch["errors"] = {"object": "list", "data": ends.errors}
            return
        lines = batch["lines"]
        split = round(len(lines) * ends.answered)
        made = list(self._lines(lines[:split]))
        if ends.lines:
            why = {
                "expired": "This request could not be executed before the completion window expired.",
                "cancelled": "This request was not executed because the batch was cancelled.",
            }
            error = {"code": f"batch_{ends.status}", "message": why.get(ends.status, "")}
            made += [(False, _line(x, None, error)) for x in lines[split:]]
        self._random.shuffle(made)
        for good, name in ((True, "output_file_id"), (False, "error_file_id")):
            some = [x for g, x in made if g == good]
            batch[name] = self._put(b"".join(some)) if some else None
        counts = Counter(g for g, _ in made)
        batch["request_counts"] |= {"completed": counts[True], "failed": counts[False]}

    def _lines(self, lines: list[dict[str, Any]]) -> Iterator[tuple[bool, bytes]]:
        for line in lines:
            made = self.answer(line["body"])
            if isinstance(made, (str, bytes)):
                self.paid[line["body"]["messages"][-1]["content"]] += 1
            match made:
                case None:
                    continue
                case str():
                    yield True, _line(line, (200, completion(made)))
                case bytes():  # the line as it is written, with the id in it
                    yield True, made.replace(b"CUSTOM_ID", line["custom_id"].encode()) + b"\n"
                case (status, body):
                    yield False, _line(line, (status, body))
                case dict():
                    yield False, _line(line, None, made)


def _line(line: dict[str, Any], response: tuple[int, Any] | None, error: Any = None) -> bytes:
    shown = {"status_code": response[0], "request_id": "req_1", "body": response[1]} if response else None
    return (
        json.dumps({"id": "batch_req_1", "custom_id": line["custom_id"], "response": shown, "error": error}).encode()
        + b"\n"
    )


def _refused(status: int, message: str) -> tuple[int, Any]:
    return status, {"error": {"message": message, "type": "invalid_request_error", "code": None}}
