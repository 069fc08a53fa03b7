"""The functions that are plain Python per distinct value: about code, JSON, conversations, excerpts.

Those that parse code are slow: for many values they run in worker processes, and their verdicts are kept by content for
the rest of the run.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final

import pyarrow as pa

from alchemist_runtime.code import functions
from alchemist_runtime.engine.streams import TURN, arrow_type
from alchemist_runtime.engine.values import distinct_rows, json_text, plain
from alchemist_runtime.schema.functions import FUNCTIONS
from alchemist_runtime.schema.rows import CONTENT, text_of
from alchemist_runtime.schema.sealed import as_json, loads

#: Functions of `code/functions.py`: slow enough for worker processes and worth remembering.
CODE: Final = frozenset({"lang", "code", "fences", "parses", "clarity", "organised"})
#: So many distinct values must wait before worker processes start, and go to a worker at once.
POOL_FROM, POOL_BATCH = 2_000, 200
#: Verdicts kept of one run; each takes about 150 bytes.
KEPT_VERDICTS = 2_000_000
MESSAGES_TYPE: Final = pa.list_(TURN)

_UNITS: Final[Mapping[str, re.Pattern[str]]] = {
    "lines": re.compile(r"\n"),
    "sentences": re.compile(r"(?<=[.!?])\s+|\n+"),
    "paragraphs": re.compile(r"\n\s*\n"),
}
#: Shorter pieces (a closing brace, an empty line) repeat in every text and say nothing.
REPEAT_CHARS = 20


# --- texts ------------------------------------------------------------------------------------------------------------


def repeats(text: str, unit: str = "lines") -> int:
    """How often the most frequent piece of 20 characters or more occurs; pieces are compared stripped."""
    if unit not in _UNITS:
        raise ValueError(f"`repeats` counts lines, sentences or paragraphs, not `{unit}`")
    pieces = Counter(p for p in map(str.strip, _UNITS[unit].split(text)) if len(p) >= REPEAT_CHARS)
    return max(pieces.values(), default=0)


def excerpt(text: str, lines: int | None = 15, least: int | None = None) -> str | None:
    """A run of whole lines: as many as `lines`, or from `least` on; how many and from where is drawn by a hash of the
    text.
    """
    if lines is None:
        return None
    whole = text.removesuffix("\n").split("\n")
    n = max(lines, 0)
    if least is not None:
        most = min(n, len(whole))
        n = most - _drawn(b"lines", text) % (most - min(max(least, 0), most) + 1)
    if len(whole) <= n:
        return text
    start = _drawn(b"", text) % (len(whole) - n + 1)
    return "\n".join(whole[start : start + n])


def _drawn(salt: bytes, text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8, salt=salt).digest(), "big")


_DOCUMENTS: Final = re.compile(
    r'''"""(.*?)"""|\'\'\'(.*?)\'\'\'|/\*+(.*?)\*/|((?:^[ \t]*//[^\n]*\n?)+)''', re.DOTALL | re.MULTILINE
)
_COMMENT: Final = re.compile(r"^[ \t]*(?://[/!]*|\*(?= |$)) ?", re.MULTILINE)


def docstring(text: str) -> str | None:
    """What the last docstring or comment of two words or more says; None without one."""
    said = None
    for found in _DOCUMENTS.finditer(text):
        python = found[1] or found[2]
        plain = python or _COMMENT.sub("", found[3] or found[4] or "")
        said = plain.strip() if len(plain.split()) > 1 else said
    return said


def json(text: str) -> str | None:
    """The text read as JSON, in compact form; None if it is none, or null."""
    try:
        return json_text(loads(text))
    except ValueError:
        return None


# --- conversations ----------------------------------------------------------------------------------------------------

_ROLES: Final[Mapping[str, str]] = {
    "human": "user",
    "prompter": "user",
    "question": "user",
    "instruction": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "answer": "assistant",
    "ai": "assistant",
    "chatbot": "assistant",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
_ROLE_KEYS, _CONTENT_KEYS = ("role", "from", "speaker"), ("content", "value", "text")
_LIST_KEYS = ("messages", "conversations", "conversation", "turns")


def turns(value: Any) -> list[dict[str, Any]] | None:
    """A conversation from role/content, from/value, or a JSON text of these; None if it is none of these layouts."""
    if isinstance(value, str):
        try:
            value = loads(value)
        except ValueError:
            return None
    if isinstance(value, dict):
        value = next((value[k] for k in _LIST_KEYS if isinstance(value.get(k), list)), None)
    if not isinstance(value, list):
        return None
    out = []
    for item in value:
        turn = _turn(item)
        if turn is None:
            return None
        out.append(turn)
    return out


def _turn(item: Any) -> dict[str, Any] | None:
    if isinstance(item, str):  # a list of JSON texts
        try:
            item = loads(item)
        except ValueError:
            return None
    if not isinstance(item, dict):
        return None
    role_key = next((k for k in _ROLE_KEYS if isinstance(item.get(k), str)), None)
    content_key = next((k for k in _CONTENT_KEYS if k in item), None)
    if role_key is None or (content_key is None and len(item) == 1):
        return None
    content = item.get(content_key) if content_key else None
    others = {k: v for k, v in item.items() if k not in (role_key, content_key, "extra") and v is not None}
    if isinstance(extra := item.get("extra"), str):
        others.update(loads(extra))
    elif extra is not None:
        others["extra"] = extra
    if not isinstance(content, str) and (content is not None or others):
        others[CONTENT] = content  # null beside tool calls, parts of a multimodal message
    role = item[role_key]
    return {
        "role": _ROLES.get(role.lower(), role.lower()),
        "content": text_of(content),
        "extra": as_json(others) if others else None,
    }


_HERE: Final[dict[str, Callable[..., Any]]] = {
    "repeats": repeats,
    "docstring": docstring,
    "excerpt": excerpt,
    "json": json,
    "turns": turns,
}


def implementation(name: str) -> Callable[..., Any]:
    """The Python function behind a function of shape `rows`."""
    if name in CODE:
        from alchemist_runtime.code import functions as module

        function: Callable[..., Any] = getattr(module, name)
        return function
    return _HERE[name]


# --- worker processes -------------------------------------------------------------------------------------------------


class Workers:
    """Worker processes that start when they are first needed. `close` ends them; a closed one starts again on use."""

    def __init__(self, processes: int | None = None) -> None:
        self.processes = processes or len(os.sched_getaffinity(0))
        self._pool: ProcessPoolExecutor | None = None

    def map(self, name: str, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The function's results for all rows, in order."""
        if self.processes < 2 or len(rows) < POOL_FROM:
            return functions.over(name, rows)
        parts = [rows[i : i + POOL_BATCH] for i in range(0, len(rows), POOL_BATCH)]
        try:
            done = list(self._started().map(functions.over, [name] * len(parts), parts))
        except BrokenProcessPool:  # a worker was killed, by lack of memory as a rule: go on with one process
            self.close()
            self.processes = 1
            return functions.over(name, rows)
        return [value for part in done for value in part]

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            import multiprocessing

            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([functions.__name__])
            self._pool = ProcessPoolExecutor(
                self.processes, mp_context=context, initializer=functions.leave_with_parent
            )
        return self._pool

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


class Session:
    """What the evaluation of expressions keeps during a run: worker processes, and verdicts on code by content."""

    def __init__(self, workers: Workers | None = None) -> None:
        self.workers = workers or Workers()
        self.verdicts: dict[bytes, Any] = {}
        self.calls = 0

    def close(self) -> None:
        self.workers.close()
        self.verdicts.clear()

    def apply(self, name: str, arrays: Sequence[pa.Array]) -> pa.Array:
        """A function of shape `rows` over columns: once per distinct combination of values, null in, null out."""
        result = arrow_type(FUNCTIONS[name].result)
        if name == "turns" and arrays[0].type == MESSAGES_TYPE:
            return arrays[0]
        if any(pa.types.is_nested(a.type) for a in arrays):
            rows = list(zip(*(a.to_pylist() for a in arrays), strict=True))
            return pa.array(self._results(name, rows), result)
        arrays = [pa.nulls(len(a), pa.string()) if pa.types.is_null(a.type) else plain(a) for a in arrays]
        rows, number = distinct_rows(arrays)
        return pa.array(self._results(name, rows), result).take(pa.array(number))

    def _results(self, name: str, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        lenient = FUNCTIONS[name].null_aware
        requested = [i for i, r in enumerate(rows) if r[0] is not None and (lenient or None not in r)]
        out: list[Any] = [None] * len(rows)
        if name not in CODE:
            function = implementation(name)
            self.calls += len(requested)
            for i in requested:
                out[i] = function(*rows[i])
            return out
        keys = {i: _content_key(name, rows[i]) for i in requested}
        missing = [i for i in requested if keys[i] not in self.verdicts]
        self.calls += len(missing)
        for i, value in zip(missing, self.workers.map(name, [rows[i] for i in missing]), strict=True):
            out[i] = value
        for i in requested:
            value = self.verdicts[keys[i]] if keys[i] in self.verdicts else out[i]
            out[i] = rows[i][0] if value == functions.ITSELF else value
            self._keep(keys[i], value)
        return out

    def _keep(self, key: bytes, value: Any) -> None:
        """Remember small verdicts; the code that stands between fences is cheap to find again and dear to keep."""
        if len(self.verdicts) < KEPT_VERDICTS and not (isinstance(value, str) and len(value) > 32):
            self.verdicts[key] = value


def _content_key(name: str, row: tuple[Any, ...]) -> bytes:
    parts = [name.encode()]
    for value in row:
        data = b"\0" if value is None else str(value).encode("utf-8", "surrogatepass")
        parts += (b"\0%d\0" % len(data), data)
    return hashlib.blake2b(b"".join(parts), digest_size=16).digest()


_session: Session | None = None


def session() -> Session:
    """The process's own session, for callers that bring none."""
    global _session
    if _session is None:
        _session = Session()
    return _session
