"""Rows from local files."""

from __future__ import annotations

import time
from collections.abc import Iterator

from alchemist_runtime.formats.files import read, unreadable
from alchemist_runtime.formats.records import Chunk, Where
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.registry import source
from alchemist_runtime.schema.sealed import SETTLED_NS, file_digest, stamp


@source()
def files(where: Where) -> Iterator[Chunk]:
    """Local files: jsonl, json, csv, parquet, arrow, also .gz and .zst."""
    for file in where.files:
        path = where.root / file["path"]
        try:
            begun = time.time_ns()
            before = stamp(path)
            digest = file_digest(path)
            if file.get("digest") and digest != file["digest"]:
                raise RunError(_changed(where, file["path"], "changed after this run was planned"))
            yield from read(path, file["path"], file["format"])
            after = stamp(path)
            if max(after[1:3]) + SETTLED_NS > begun:  # a change may not show in its times
                after = after if file_digest(path) == digest else []
        except OSError as e:
            raise unreadable(file["path"], e) from e
        if before != after:
            raise RunError(_changed(where, file["path"], "changed while it was read"))


def _changed(where: Where, path: str, what: str) -> Problem:
    return Problem(
        "A913",
        f"`{path}` {what}",
        node=where.node,
        place=path,
        help="run the recipe again (or compile it again): its new content is planned for",
    )
