"""Rows from local files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from alchemist_runtime.errors import Problem, RunError
from alchemist_runtime.registry import source
from alchemist_runtime.sources._formats import read, unreadable
from alchemist_runtime.sources._records import Chunk, Where


@source()
def files(where: Where) -> Iterator[Chunk]:
    """Local files: jsonl, json, csv, parquet, arrow, also .gz and .zst."""
    for file in where.files:
        path = where.root / file["path"]
        try:
            with path.open("rb") as raw:
                found = (
                    "b2:"
                    + hashlib.file_digest(raw, lambda: hashlib.blake2b(digest_size=32)).hexdigest()
                )
        except OSError as e:
            raise unreadable(file["path"], e) from e
        if file.get("digest") and found != file["digest"]:
            raise RunError(
                Problem(
                    "A913",
                    "file-changed",
                    f"`{file['path']}` changed after this run was planned",
                    node=where.node,
                    place=file["path"],
                    help="run the recipe again (or compile it again): its new content is planned for",
                )
            )
        yield from read(path, file["path"], file["format"])
