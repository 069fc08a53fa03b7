"""Conversations and the four turn columns: `messages` split into system, history, instruction, (tail,) response, and
joined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from alchemist_runtime.engine.streams import TURN, Stream, arrow_type
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.rows import EXTRA, HISTORY, INSTRUCTION, MESSAGES, RESPONSE, SYSTEM, TAIL
from alchemist_runtime.schema.sealed import as_json, loads

if TYPE_CHECKING:
    from jinja2 import Template

    from alchemist_runtime.schema.template_sandbox import Sandbox

Turn = Mapping[str, Any]  # role, content, extra


def split(turns: Sequence[Turn]) -> dict[str, Any]:
    """The turn columns of one conversation: the last user turn is the instruction, the last turn after it the
    response.
    """
    rest = list(turns)
    row: dict[str, Any] = dict.fromkeys(TURN_TYPES)
    extra: dict[str, Any] = {}

    def put(column: str, turn: Turn) -> None:
        row[column] = turn["content"]
        if turn.get("extra"):
            extra[column] = loads(turn["extra"])

    if rest and rest[0]["role"] == "system":
        put(SYSTEM, rest.pop(0))
    at = next((i for i in reversed(range(len(rest))) if rest[i]["role"] == "user"), None)
    if at is None:
        result = {HISTORY: rest or None}
    else:
        put(INSTRUCTION, rest[at])
        after = rest[at + 1 :]
        if after and after[-1]["role"] == "assistant":
            put(RESPONSE, after.pop())
        result = {HISTORY: rest[:at] or None, TAIL: after or None}
    return {**row, **result, EXTRA: as_json(extra) if extra else None}


def join(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conversation of one row's turn columns: the inverse of `split`."""
    out: list[dict[str, Any]] = []
    extra = loads(row[EXTRA]) if row.get(EXTRA) else {}

    def put(column: str, role: str) -> None:
        if row.get(column) is not None:
            more = as_json(extra[column]) if column in extra else None
            out.append({"role": role, "content": row[column], "extra": more})

    put(SYSTEM, "system")
    out.extend(dict(t) for t in row.get(HISTORY) or ())
    put(INSTRUCTION, "user")
    out.extend(dict(t) for t in row.get(TAIL) or ())
    put(RESPONSE, "assistant")
    return out


TURN_TYPES = {
    SYSTEM: "text?",
    HISTORY: "messages?",
    INSTRUCTION: "text?",
    TAIL: "messages?",
    RESPONSE: "text?",
    EXTRA: "json?",
}


def split_columns(messages: pa.Array) -> dict[str, pa.Array]:
    """The turn columns of an array of conversations."""
    rows = [split(m or ()) for m in messages.to_pylist()]
    return {name: pa.array([r[name] for r in rows], arrow_type(t)) for name, t in TURN_TYPES.items()}


def join_columns(batch: pa.RecordBatch | pa.Table) -> pa.Array:
    """The conversations of a batch that has (some of) the turn columns."""
    names = [c for c in TURN_TYPES if c in batch.schema.names]
    rows = zip(*(batch.column(n).to_pylist() for n in names), strict=True)
    return pa.array([join(dict(zip(names, r, strict=True))) for r in rows], pa.list_(TURN))


def columns_for(stream: Stream, wanted: Sequence[str]) -> list[str]:
    """The columns to read so that `with_messages` can supply all that is wanted; unknown names are left out."""
    names = [c for c in wanted if c in stream.types]
    if MESSAGES in wanted and MESSAGES not in stream.types:
        names += [c for c in TURN_TYPES if c in stream.types and c not in names]
    return names


def with_messages(batch: pa.RecordBatch, wanted: Sequence[str]) -> pa.RecordBatch:
    """The batch with its `messages` column computed where it is wanted and not there."""
    if MESSAGES not in wanted or MESSAGES in batch.schema.names:
        return batch
    return batch.append_column(MESSAGES, join_columns(batch))


# --- templates -------------------------------------------------------------------------------------------------------

#: Filters and globals of jinja2 that give different text at every call, or reach beyond the row.
_WITHOUT_FILTERS = ("random",)
_WITHOUT_GLOBALS = ("lipsum",)


@cache
def environment() -> Sandbox:
    """The one environment of all templates."""
    from jinja2 import StrictUndefined

    from alchemist_runtime.schema.template_sandbox import Sandbox, bounded

    env = Sandbox(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=False,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printed,
        cache_size=0,
    )
    for name in _WITHOUT_FILTERS:
        env.filters.pop(name, None)
    for name in _WITHOUT_GLOBALS:
        env.globals.pop(name, None)
    env.filters["tojson"] = bounded("tojson", _to_json)
    return env


def _printed(value: Any) -> Any:
    return "" if value is None else value


def _to_json(value: Any, indent: int | None = None) -> str:
    """JSON as it is, not escaped for HTML."""
    import json

    return json.dumps(value, ensure_ascii=False, indent=indent)


@cache
def compiled(text: str) -> Template:
    """A template ready to render. RunError A401 if it does not parse."""
    from jinja2 import TemplateSyntaxError

    try:
        template = environment().from_string(text)
        template.globals = dict(template.globals)  # a chain of maps is slow to copy for each row
        return template
    except TemplateSyntaxError as e:
        said = f"{e.message} (line {e.lineno})"
    except (RecursionError, SyntaxError):
        said = "it is nested too deeply"
    problem = Problem("A401", f"a template does not parse: {said}")
    raise RunError(problem, exit_code=1)


def render(
    text: str,
    columns: Mapping[str, Sequence[Any]],
    n: int,
    *,
    node: str | None = None,
    place: Callable[[int], str] | None = None,
) -> list[str]:
    """The template over n rows, given column by column. RunError that names the row (by `place`) where it cannot be
    rendered.
    """
    template = compiled(text)
    names = list(columns)
    out: list[str] = []
    try:
        if not names:
            return [template.render()] * n if n else []
        for values in zip(*columns.values(), strict=True):
            out.append(template.render(dict(zip(names, values, strict=True))))
    except Exception as e:
        raise _problem(e, len(out), node, place) from e
    return out


def _problem(error: Exception, row: int, node: str | None, place: Callable[[int], str] | None) -> RunError:
    from jinja2 import UndefinedError
    from jinja2.exceptions import SecurityError

    where = place(row) if place else f"row {row}"
    if isinstance(error, UndefinedError):
        code, headline = ("A402", f"a template reads an undefined value: {error}")
    elif isinstance(error, SecurityError):
        code, headline = "A409", f"a template is not allowed to do that: {error}"
    else:
        code, headline = "A409", f"a template cannot be rendered: {type(error).__name__}: {error}"
    return RunError(Problem(code, headline, node=node, place=where), exit_code=1)
