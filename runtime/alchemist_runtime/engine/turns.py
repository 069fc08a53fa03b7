"""Conversations and the four turn columns: `messages` split into system, history, instruction, (tail,) response, and
joined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from alchemist_runtime.engine.streams import TURN, Stream, arrow_type
from alchemist_runtime.schema.exact_json import as_json, loads
from alchemist_runtime.schema.rows import EXTRA, HISTORY, INSTRUCTION, MESSAGES, RESPONSE, SYSTEM, TAIL

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
        made = {HISTORY: rest or None}
    else:
        put(INSTRUCTION, rest[at])
        after = rest[at + 1 :]
        if after and after[-1]["role"] == "assistant":
            put(RESPONSE, after.pop())
        made = {HISTORY: rest[:at] or None, TAIL: after or None}
    return {**row, **made, EXTRA: as_json(extra) if extra else None}


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
