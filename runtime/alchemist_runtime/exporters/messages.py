"""Export as chat messages in JSON lines: the layout that trainers read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alchemist_runtime.message import message
from alchemist_runtime.registry import exporter

if TYPE_CHECKING:
    import pyarrow as pa


@exporter()
def messages(tables: Iterable[pa.Table], folder: Path, split: str) -> list[str]:
    """JSON lines of `{"messages": [{"role", "content"}, …]}` with the other columns beside. Returns the file's name."""
    import orjson

    name = f"data/{split}.jsonl"
    with (folder / name).open("wb") as file:
        for table in tables:
            for batch in table.to_batches(max_chunksize=4096):
                file.writelines(orjson.dumps(_chat(row)) + b"\n" for row in batch.to_pylist())
    return [name]


def _chat(row: dict[str, Any]) -> dict[str, Any]:
    import orjson

    out: list[dict[str, Any]] = []
    extra = orjson.loads(row.pop("_extra", None) or "{}")

    def turn(column: str, role: str) -> None:
        content = row.pop(column, None)
        if content is not None:
            out.append(message(role, content, extra.get(column, {})))

    def turns(column: str) -> None:
        value = row.pop(column, None)
        out.extend(orjson.loads(value) if isinstance(value, str) else value or ())

    turn("system", "system")
    turns("history")
    turn("instruction", "user")
    turns("_tail")
    turn("response", "assistant")
    for name in ("tools", "template_args"):
        if isinstance(row.get(name), str):
            row[name] = orjson.loads(row[name])
    return {"messages": out, **row}
