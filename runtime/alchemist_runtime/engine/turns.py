"""Conversations and the four turn columns: `messages` split into system, history, instruction, (tail,) response, and joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from alchemist_runtime.engine.streams import TURN, Stream, arrow_type
from alchemist_runtime.rows import HISTORY, INSTRUCTION, MESSAGES, RESPONSE, SYSTEM, TAIL

Turn = Mapping[str, Any]  # role, content, extra


def split(turns: Sequence[Turn]) -> dict[str, Any]:
    """The turn columns of one conversation: the last user turn is the instruction, the last turn after it the response."""
    rest = list(turns)
    system = None
    if rest and rest[0]["role"] == "system" and not rest[0].get("extra"):
        system, rest = rest[0]["content"], rest[1:]
    users = [i for i, t in enumerate(rest) if t["role"] == "user"]
    if not users:
        return {
            SYSTEM: system,
            HISTORY: rest or None,
            INSTRUCTION: None,
            TAIL: None,
            RESPONSE: None,
        }
    at = users[-1]
    after = rest[at + 1 :]
    response = after[-1]["content"] if after and after[-1]["role"] == "assistant" else None
    tail = after[:-1] if response is not None else after
    return {
        SYSTEM: system,
        HISTORY: rest[:at] or None,
        INSTRUCTION: rest[at]["content"],
        TAIL: tail or None,
        RESPONSE: response,
    }


def join(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conversation of one row's turn columns."""
    out: list[dict[str, Any]] = []
    if row.get(SYSTEM) is not None:
        out.append({"role": "system", "content": row[SYSTEM], "extra": None})
    out.extend(dict(t) for t in row.get(HISTORY) or ())
    if row.get(INSTRUCTION) is not None:
        out.append({"role": "user", "content": row[INSTRUCTION], "extra": None})
    out.extend(dict(t) for t in row.get(TAIL) or ())
    if row.get(RESPONSE) is not None:
        out.append({"role": "assistant", "content": row[RESPONSE], "extra": None})
    return out


TURN_TYPES = {
    SYSTEM: "text?",
    HISTORY: "messages?",
    INSTRUCTION: "text?",
    TAIL: "messages?",
    RESPONSE: "text?",
}


def split_columns(messages: pa.Array) -> dict[str, pa.Array]:
    """The turn columns of an array of conversations."""
    rows = [split(m or ()) for m in messages.to_pylist()]
    return {
        name: pa.array([r[name] for r in rows], arrow_type(t)) for name, t in TURN_TYPES.items()
    }


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
