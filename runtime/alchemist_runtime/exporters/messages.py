"""Export as chat messages in JSON lines: the layout that trainers read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

    def turn(role: str, content: Any) -> None:
        if content is not None:
            out.append({"role": role, "content": content})

    def turns(value: Any) -> None:
        out.extend(orjson.loads(value) if isinstance(value, str) else value or ())

    turn("system", row.pop("system", None))
    turns(row.pop("history", None))
    turn("user", row.pop("instruction", None))
    turns(row.pop("_tail", None))
    turn("assistant", row.pop("response", None))
    for name in ("tools", "template_args"):
        if isinstance(row.get(name), str):
            row[name] = orjson.loads(row[name])
    return {"messages": out, **row}
