"""A chat completion server that behaves as real servers do, right and wrong, and counts what it was asked and what it
charged.

What it does with a request says the first `[[b=NAME]]` or `[[b=NAME:ARG]]` of the last user turn, else the stub's mode.
A name is that of a function below. `Stub.hist` is its own record, one entry a request; `Stub.stats()` sums it up.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import email.utils
import json
import random
import re
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

MARK = re.compile(r"\[\[b=([\w.\-]+)(?::([^\]]*))?\]\]")
Usage = dict[str, int]
Headers = Sequence[tuple[str, str]]


@dataclass
class Answer:
    """What goes back, and the tokens that are charged for it; None: nothing."""

    body: Any  # bytes, or what becomes JSON
    usage: Usage | None = None
    status: int = 200
    headers: Headers = ()
    type: str = "application/json"

    def head(self, size: int) -> bytes:
        lines = [f"HTTP/1.1 {self.status} X", f"Content-Type: {self.type}"]
        lines += [f"Content-Length: {size}", *(f"{k}: {v}" for k, v in self.headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Gone(Exception):
    """The connection is cut after these bytes; `usage` is charged all the same."""

    def __init__(self, usage: Usage | None = None, sent: bytes = b"") -> None:
        super().__init__()
        self.usage, self.sent = usage, sent


@dataclass
class Call:
    """A request, the number of times that it came, and the argument of its behaviour."""

    stub: Stub
    writer: asyncio.StreamWriter
    body: dict[str, Any]
    auth: str
    n: int
    arg: str

    @property
    def question(self) -> str:
        turns = [m["content"] for m in self.body.get("messages", []) if m["role"] == "user"]
        return turns[-1] if turns else ""

    @property
    def tokens_in(self) -> int:
        return sum(tokens(m["content"]) + 4 for m in self.body["messages"])

    def literal(self) -> str:
        """The argument as a text that may hold closing brackets."""
        return self.arg.replace("&rsqb;", "]")

    def echo(self) -> str:
        """The question, or an object of the schema that is asked for."""
        asked = self.body.get("response_format")
        if not asked or asked.get("type") != "json_schema":
            return f"re: {self.question}"
        out: dict[str, Any] = {}
        for name, field_ in asked["json_schema"]["schema"]["properties"].items():
            kind = field_.get("type") or (field_.get("anyOf") or [{}])[0].get("type")
            values = {"integer": 7, "number": 0.5, "boolean": True, "array": []}
            out[name] = values.get(kind, f"re: {self.question}")
            out[name] = field_["enum"][0] if "enum" in field_ else out[name]
        return json.dumps(out)

    def completion(self, content: Any, finish: str | None = "stop", **message: Any) -> Answer:
        """A chat completion; its usage is what its text takes."""
        out = tokens(content if isinstance(content, str) else "")
        usage = {"prompt_tokens": self.tokens_in, "completion_tokens": out}
        usage["total_tokens"] = sum(usage.values())
        message = {"role": "assistant", "content": content, **message}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        body = {"id": "x", "object": "chat.completion", "created": 1, "choices": [choice]}
        return Answer({**body, "model": self.body.get("model"), "usage": usage}, dict(usage))


def tokens(text: str) -> int:
    """Tokens as the stub counts them."""
    return max(1, (len(text.encode()) + 3) // 4)


def error(status: int, message: str, kind: str = "x", code: str | None = None, headers: Headers = ()) -> Answer:
    """A refusal in the form of the API."""
    told = {"message": message, "type": kind, "param": None, "code": code}
    return Answer({"error": told}, None, status, headers)


BEHAVIOURS: dict[str, Callable[[Call], Awaitable[Answer]]] = {}


def behaviour(does: Callable[[Call], Answer | Awaitable[Answer]]) -> Callable[[Call], Awaitable[Answer]]:
    """Give it the name of the function; whoever calls one always awaits it."""

    async def run(call: Call) -> Answer:
        made = does(call)
        return made if isinstance(made, Answer) else await made

    BEHAVIOURS[does.__name__.strip("_")] = run
    return run


def limited(headers: Headers = ()) -> Answer:
    return error(429, "Rate limit reached for requests", "requests", "rate_limit_exceeded", headers)


# --- whole answers ----------------------------------------------------------------------------------------------------


@behaviour
def ok(call: Call) -> Answer:
    return call.completion(call.echo())


@behaviour
def text(call: Call) -> Answer:
    """This text, with Python's escapes."""
    return call.completion(call.literal().encode().decode("unicode_escape"))


@behaviour
def raw(call: Call) -> Answer:
    """This body, which is charged for."""
    usage = {"prompt_tokens": call.tokens_in, "completion_tokens": 50}
    return Answer(call.literal().encode(), usage)


@behaviour
def parts(call: Call) -> Answer:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    made = call.completion([thought, {"type": "text", "text": call.echo()}])
    made.usage = {**(made.usage or {}), "completion_tokens": 20}
    return made


@behaviour
def think(call: Call) -> Answer:
    thought = "<think>\nLet me think about it. The user wants something.\n</think>\n\n"
    return call.completion(thought + call.echo())


@behaviour
def thinkopen(call: Call) -> Answer:
    """The opening tag was part of the prompt."""
    thought = "Let me think about it. The user wants something.\n</think>\n\n"
    return call.completion(thought + call.echo())


@behaviour
def badutf8(call: Call) -> Answer:
    made = call.completion("caf@@e")
    return Answer(made.data().replace(b"@@", b"\xe9"), made.usage)


@behaviour
def surrogate(call: Call) -> Answer:
    made = call.completion("smile @@ end")
    return Answer(made.data().replace(b"@@", b"\\ud83d"), made.usage)


@behaviour
def nan(call: Call) -> Answer:
    made = call.completion(call.echo())
    made.body["timings"] = float("nan")
    return made


@behaviour
def sse(call: Call) -> Answer:
    """One event that holds the whole completion."""
    made = call.completion(call.echo())
    stream = b"data: " + made.data() + b"\n\ndata: [DONE]\n\n"
    return Answer(stream, made.usage, type="text/event-stream")


@behaviour
def stream(call: Call) -> Answer:
    """Events that hold a piece each."""
    made = call.completion(call.echo())
    content = made.body["choices"][0]["message"]["content"]
    pieces: list[dict[str, Any]] = [{"delta": {"content": c}} for c in re.findall(r"\S+\s*", content)]
    pieces.append({"delta": {}, "finish_reason": "stop"})
    events = [json.dumps({"choices": [p]}) for p in pieces]
    body = "".join(f"data: {e}\n\n" for e in [*events, json.dumps({"choices": [], "usage": made.usage}), "[DONE]"])
    return Answer(body.encode(), made.usage, type="text/event-stream")


@behaviour
def long(call: Call) -> Answer:
    return call.completion("x" * int(call.arg))


@behaviour
def created(call: Call) -> Answer:
    made = call.completion(call.echo())
    made.status = 201
    return made


# --- answers that are none --------------------------------------------------------------------------------------------


@behaviour
def finish(call: Call) -> Answer:
    """Cut, with this finish reason."""
    return call.completion(call.echo()[:12], call.arg or None)


@behaviour
def refusal(call: Call) -> Answer:
    return call.completion(None, refusal="I'm sorry, I can't help with that.")


@behaviour
def emptychoices(call: Call) -> Answer:
    made = call.completion("")
    made.body["choices"] = []
    return made


@behaviour
def nullcontent(call: Call) -> Answer:
    return call.completion(None, reasoning_content="I think the answer is 42.")


@behaviour
def toolcalls(call: Call) -> Answer:
    function = {"name": "answer", "arguments": '{"answer": "x"}'}
    asked = [{"id": "1", "type": "function", "function": function}]
    return call.completion(None, "tool_calls", tool_calls=asked)


@behaviour
def err200(call: Call) -> Answer:
    """An error under the status of an answer, as OpenRouter sends it."""
    said = "Insufficient credits. Add more using https://openrouter.ai/credits"
    return Answer({"error": {"code": int(call.arg or 402), "message": said}})


@behaviour
def html(call: Call) -> Answer:
    return Answer(b"<html><body>Please log in</body></html>", type="text/html")


# --- usage ------------------------------------------------------------------------------------------------------------


@behaviour
def nousage(call: Call) -> Answer:
    made = call.completion((call.arg or "答") * 400)
    del made.body["usage"]
    made.usage = {"prompt_tokens": len(call.question), "completion_tokens": 400}
    return made


@behaviour
def hidden(call: Call) -> Answer:
    """The server's own template takes so many tokens more."""
    made = call.completion(call.echo())
    made.body["usage"]["prompt_tokens"] += int(call.arg)
    made.usage = dict(made.body["usage"])
    return made


@behaviour
def reasoning(call: Call) -> Answer:
    """So many tokens of thinking, whatever `max_tokens` says."""
    made = call.completion(call.echo())
    made.body["usage"]["completion_tokens"] += int(call.arg)
    made.usage = dict(made.body["usage"])
    made.body["usage"]["completion_tokens_details"] = {"reasoning_tokens": int(call.arg)}
    return made


@behaviour
def gemini(call: Call) -> Answer:
    """Thinking is counted in `total_tokens` alone."""
    made = call.completion(call.echo())
    usage = made.body["usage"]
    usage["total_tokens"] += int(call.arg)
    made.usage = {**usage, "completion_tokens": usage["completion_tokens"] + int(call.arg)}
    return made


# --- refusals ---------------------------------------------------------------------------------------------------------


@behaviour
def status(call: Call) -> Answer:
    return error(int(call.arg), f"stub {call.arg}")


@behaviour
def e(call: Call) -> Answer:
    """STATUS|message|code"""
    code, message, *named = call.arg.split("|")
    return error(int(code), message, "invalid_request_error", named[0] if named else None)


@behaviour
async def flaky(call: Call) -> Answer:
    """STATUS,TRIES: the first tries of a request are refused."""
    code, tries = call.arg.split(",")
    return error(int(code), "stub") if call.n <= int(tries) else await ok(call)


@behaviour
async def ra(call: Call) -> Answer:
    """KIND,VALUE: two refusals with Retry-After in seconds, as a date, or in milliseconds."""
    kind, _, value = call.arg.partition(",")
    if call.n > 2:
        return await ok(call)
    date = email.utils.formatdate(time.time() + float(value or 0), usegmt=True)
    named = {"sec": ("Retry-After", value), "date": ("Retry-After", date), "ms": ("retry-after-ms", value)}
    return limited([named[kind]] if kind in named else [])


@behaviour
def quota(call: Call) -> Answer:
    said = "You exceeded your current quota, please check your plan and billing details."
    return error(429, said, "insufficient_quota", "insufficient_quota")


@behaviour
async def schema400(call: Call) -> Answer:
    """Knows no `response_format` and says so in these words."""
    if "response_format" in call.body:
        return error(400, call.arg)
    return call.completion(json.dumps({"answer": f"re: {call.question[:40]}", "score": 7}))


@behaviour
async def param400(call: Call) -> Answer:
    """NAME|message: knows no parameter of this name."""
    name, message = call.arg.split("|")
    if name in call.body:
        return error(400, message, "invalid_request_error", "unsupported_parameter")
    return await ok(call)


@behaviour
async def loading(call: Call) -> Answer:
    """Refuses until so many seconds after the first request."""
    since = call.stub.began("loading")
    if time.monotonic() - since < float(call.arg):
        return error(503, "Loading model", "unavailable_error")
    return await ok(call)


@behaviour
async def rps(call: Call) -> Answer:
    """So many requests in `per` seconds; those beyond are refused with the `rah` of the mode, where it has one."""
    window, more, now = call.stub.window, call.stub.more, time.monotonic()
    while window and window[0] < now - more.get("per", 1.0):
        window.popleft()
    if len(window) >= int(call.arg):
        return limited([("Retry-After", str(more["rah"]))] if "rah" in more else [])
    window.append(now)
    await asyncio.sleep(call.stub.delay)
    return await ok(call)


@behaviour
async def mixed(call: Call) -> Answer:
    """5% refused for the rate, 2% broken, 1% cut."""
    drawn = call.stub.random.random()
    await asyncio.sleep(call.stub.delay)
    if drawn < 0.05:
        return error(429, "slow down", headers=[("Retry-After", "1")] if call.stub.more.get("ra") else [])
    if drawn < 0.07:
        return error(500, "oops")
    call.arg = ""
    return await (cut if drawn < 0.08 else ok)(call)


@behaviour
def keyecho(call: Call) -> Answer:
    return error(400, f"Incorrect: header was {call.auth}")


@behaviour
def keyanswer(call: Call) -> Answer:
    return call.completion(f"your header was {call.auth}")


@behaviour
def headerecho(call: Call) -> Answer:
    """Refuses, and shows this header."""
    return error(400, f"Incorrect: {call.arg} was {call.stub.hist[-1]['headers'].get(call.arg)}")


@behaviour
def goeson(call: Call) -> Answer:
    """Goes on with the last turn in these words, as vLLM does; `echo` in the mode: the turn's own words come first."""
    last, asked = call.body["messages"][-1], call.body.get("continue_final_message")
    text = (last["content"] if call.stub.more.get("echo") else "") + call.literal()
    return call.completion(text, role=last["role"] if asked else "assistant")


@behaviour
def redirect(call: Call) -> Answer:
    to = f"http://127.0.0.1:{call.arg}/v1/chat/completions"
    return Answer(b"", None, 307, [("Location", to)])


# --- the wire ---------------------------------------------------------------------------------------------------------


@behaviour
async def cut(call: Call) -> Answer:
    """Half an answer, which is charged; TRIES: only so many times."""
    if call.arg and call.n > int(call.arg):
        return await ok(call)
    made = await ok(call)
    data = made.data()
    raise Gone(made.usage, made.head(len(data)) + data[: len(data) // 2])


@behaviour
async def reset(call: Call) -> Answer:
    """No answer at all; TRIES: only so many times."""
    if call.arg and call.n > int(call.arg):
        return await ok(call)
    raise Gone


@behaviour
async def dropidle(call: Call) -> Answer:
    """Answers, promises to keep the connection, and closes it."""
    made = await ok(call)
    call.stub.leaves.add(call.writer)
    return made


@behaviour
async def slow(call: Call) -> Answer:
    await asyncio.sleep(float(call.arg))
    return await ok(call)


@behaviour
async def slowonce(call: Call) -> Answer:
    return await (slow if call.n == 1 else ok)(call)


@behaviour
async def trickle(call: Call) -> Answer:
    """One byte every so many seconds."""
    made = await ok(call)
    data = made.data()
    call.writer.write(made.head(len(data)))
    for byte in data:
        call.writer.write(bytes([byte]))
        await call.writer.drain()
        await asyncio.sleep(float(call.arg))
    call.stub.written.add(call.writer)
    return made


# --- the server -------------------------------------------------------------------------------------------------------


@dataclass
class Stub:
    """The server, on a thread of its own. `mode` and `arg` hold for requests without a mark; `more` is what some modes
    read.
    """

    mode: str = "ok"
    arg: str = ""
    delay: float = 0.0
    more: dict[str, Any] = field(default_factory=dict)
    hist: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(7)
        self.leaves: set[asyncio.StreamWriter] = set()  # connections that are closed after the answer
        self.written: set[asyncio.StreamWriter] = set()  # those whose answer is out already
        self._at_once = 0
        self._times: collections.Counter[bytes] = collections.Counter()
        self.control(self.mode, self.arg, self.delay, **self.more)
        self._loop, ready = asyncio.new_event_loop(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()

    def control(self, mode: str = "ok", arg: object = "", delay: float = 0.0, **more: Any) -> None:
        """What to do with requests without a mark, from now on."""
        self.mode, self.arg, self.delay, self.more = mode, str(arg), delay, more
        self.window: collections.deque[float] = collections.deque()
        self._began: dict[str, float] = {}

    def reset(self) -> None:
        """Forget what was asked, and do what is right."""
        self.control()
        self.hist.clear()
        self._times.clear()
        self.bodies.clear()
        self.most_at_once = 0

    def began(self, name: str) -> float:
        return self._began.setdefault(name, time.monotonic())

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def requests(self, **like: Any) -> list[dict[str, Any]]:
        """Entries of the record with these values, as `b="think"` or `status=200`."""
        return [h for h in self.hist if all(h[k] == v for k, v in like.items())]

    def stats(self) -> dict[str, Any]:
        """Requests, different ones, those that were charged for, charged for again, and tokens as charged."""
        charged = [h for h in self.hist if h["usage"]]
        times = collections.Counter(h["body"] for h in charged)
        every = collections.Counter(h["body"] for h in self.hist)
        return {
            "requests": len(self.hist),
            "bodies": len(every),
            "most_at_once": self.most_at_once,
            "by_status": dict(collections.Counter(h["status"] for h in self.hist)),
            "max_per_body": max(every.values(), default=0),
            "paid": len(charged),
            "paid_twice": sum(n - 1 for n in times.values()),
            "in": sum(h["usage"]["prompt_tokens"] for h in charged),
            "out": sum(h["usage"]["completion_tokens"] for h in charged),
            "span": max((h["end"] for h in self.hist), default=0.0) - min((h["start"] for h in self.hist), default=0.0),
        }

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(ready))
        self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=2**26, backlog=1024)
        self.port = int(server.sockets[0].getsockname()[1])
        ready.set()
        await self._stop.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError, Gone, OSError):
            while writer not in self.leaves:
                await self._request(reader, writer)
        self._open.discard(task)
        writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        data = await reader.readexactly(int(headers.get("content-length", 0)))
        path = first.split(" ")[1]
        entry: dict[str, Any] = {"start": time.time(), "path": path, "body": data}
        entry |= {"auth": headers.get("authorization", ""), "usage": None, "status": 0, "end": 0.0}
        entry["headers"] = headers
        self.hist.append(entry)
        try:
            answer = await self._answer(entry, data, path, writer)
            entry |= {"status": answer.status, "usage": answer.usage, "end": time.time()}
            if writer not in self.written:
                sent = answer.data()
                writer.write(answer.head(len(sent)) + sent)
                await writer.drain()
            self.written.discard(writer)
        except Gone as gone:
            entry |= {"status": -1, "usage": gone.usage, "end": time.time()}
            writer.write(gone.sent)
            await writer.drain()
            writer.transport.abort()
            raise
        except OSError:
            entry["status"] = -2
            raise

    async def _answer(self, entry: dict[str, Any], data: bytes, path: str, writer: asyncio.StreamWriter) -> Answer:
        if not path.partition("?")[0].endswith("/chat/completions"):
            entry |= {"q": "", "b": "404", "n": 0}
            return error(404, f"no such path {path}")
        body = json.loads(data)
        self.bodies.append(body)
        self._times[data] += 1
        call = Call(self, writer, body, entry["auth"], self._times[data], self.arg)
        name, mark = self.mode, MARK.search(call.question)
        if mark is not None:
            name, call.arg = mark[1], mark[2] or ""
        entry |= {"q": call.question, "b": name, "n": call.n}
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.delay and name not in ("mixed", "rps"):
                await asyncio.sleep(self.delay)
            return await BEHAVIOURS[name](call)
        finally:
            self._at_once -= 1
