"""Export as chat messages in JSON lines: the layout that trainers read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alchemist_runtime.schema.registry import exporter
from alchemist_runtime.schema.rows import EXTRA, HISTORY, INSTRUCTION, RESPONSE, SYSTEM, TAIL, message
from alchemist_runtime.schema.sealed import dumps

if TYPE_CHECKING:
    import pyarrow as pa


@exporter(version=2)
def messages(tables: Iterable[pa.Table], folder: Path, split: str, types: Mapping[str, str]) -> list[str]:
    """JSON lines of `{"messages": [{"role", "content"}, …]}` with the other columns beside. Returns the file's name."""
    from alchemist_runtime.engine.views import records

    name = f"data/{split}.jsonl"
    with (folder / name).open("wb") as file:
        file.writelines(dumps(_chat(row)) + b"\n" for row in records(tables, types))
    return [name]


def _chat(row: dict[str, Any]) -> dict[str, Any]:
    out: list[dict[str, Any]] = []
    extra = row.pop(EXTRA, None) or {}

    def turn(column: str, role: str) -> None:
        content = row.pop(column, None)
        if content is not None:
            out.append(message(role, content, extra.get(column, {})))

    turn(SYSTEM, "system")
    out.extend(row.pop(HISTORY, None) or ())
    turn(INSTRUCTION, "user")
    out.extend(row.pop(TAIL, None) or ())
    turn(RESPONSE, "assistant")
    return {"messages": out, **row}
