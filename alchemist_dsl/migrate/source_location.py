"""Where a tool's rows come from -> the place of a source: hub, files, or missing with the reason; and slices of
splits.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, Protocol

from alchemist_dsl.migrate.recipe_draft import Source, counted, times
from alchemist_dsl.migrate.tracked_mapping import Asked

ENDINGS: Final = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather")
DRAWN: Final = "as many rows, drawn by hash instead of by their number"
_HUB: Final = re.compile(r"[A-Za-z0-9][\w.\-]*(/[A-Za-z0-9][\w.\-]*)?")
_SLICE: Final = re.compile(r"([\w.\-]+)\[(-?\d+%?)?:(-?\d+%?)?\]")
_FORMATS: Final = {"json": None, "jsonl": "jsonl", "csv": "csv", "parquet": "parquet", "arrow": "arrow"}


Kind = Literal["file", "folder", "pattern"]


class Files(Protocol):
    """What a migration may know of the disk."""

    def kind(self, path: str) -> Kind | None:
        """What a path of the configuration is, None where nothing is there; a pattern is one that finds files."""

    def read(self, path: str) -> str | None:
        """The text of a file."""

    def columns(self, path: str) -> frozenset[str] | None:
        """The columns of a file's first record, None where they cannot be told."""

    def listed(self, path: str) -> list[str]:
        """The data files of a folder, as the recipe would name them."""

    def shown(self, path: str) -> str:
        """A path of the configuration as the recipe would name it."""


class NoFiles:
    """A disk with nothing on it."""

    def kind(self, path: str) -> Kind | None:
        return None

    def read(self, path: str) -> str | None:
        return None

    def columns(self, path: str) -> frozenset[str] | None:
        return None

    def listed(self, path: str) -> list[str]:
        return []

    def shown(self, path: str) -> str:
        return path


@dataclass(frozen=True, slots=True)
class At:
    """The keys under which a tool says where rows are."""

    path: str
    config: str = ""
    split: str = ""
    revision: str = ""
    files: str = ""
    format: str = ""


def place(requested: Asked, source: Source, at: At, files: Files, *, path: str | None = None) -> frozenset[str] | None:
    """Fill in where a source's rows are; the columns of its records where they are at hand."""
    where = path if path is not None else requested.text(at.path)
    for key in (at.config, at.split, at.revision, at.format):
        requested.get(key)  # what a file does not have says nothing of it
    provided = requested.texts(at.files) if at.files and at.files in requested else None
    config, revision = _text(requested, at.config), _text(requested, at.revision)
    if where is None:
        _missing(requested, source, at.path, "it names no place")
        return None
    if where in _FORMATS and provided:  # `datasets` takes the format for the path
        return _local(requested, source, at.files, provided, files, _FORMATS[where])
    if _on_disk(where, files):
        more = [f"{where.rstrip('/')}/{g}" for g in provided] if provided else [where]
        format_ = _text(requested, at.format)
        return _local(requested, source, at.path, more, files, _FORMATS.get(format_ or ""))
    if not _HUB.fullmatch(where):
        _missing(requested, source, at.path, "it is neither a dataset of the hub nor a file")
        return None
    source.attrs["hub"] = where
    if config and config != "default":
        source.attrs["config"] = config
    if revision and revision != "main":
        source.attrs["revision"] = revision
    if provided:
        source.attrs["files"] = provided if len(provided) > 1 else provided[0]
    if at.format and at.format in requested:
        requested.leave(at.format, "the ending tells the format")
    if at.split:
        split(requested, source, at.split)
    return None


def _text(requested: Asked, key: str) -> str | None:
    return requested.text(key) if key and key in requested else None


def _on_disk(where: str, files: Files) -> bool:
    plain = where.lower().removesuffix(".gz").removesuffix(".zst")
    return files.kind(where) is not None or where.startswith(("./", "../", "/", "~")) or plain.endswith(ENDINGS)


def _local(
    requested: Asked, source: Source, key: str, paths: Collection[str], files: Files, format_: str | None
) -> frozenset[str] | None:
    displayed: list[str] = []
    columns: list[frozenset[str] | None] = []
    for path in paths:
        inside = files.listed(path) if files.kind(path) == "folder" else []
        there = inside or ([files.shown(path)] if files.kind(path) in ("file", "pattern") else [])
        if not there:
            name = _line(path)
            _missing(
                requested,
                source,
                key,
                f"`{name}` is not there",
                f'; when it is, write `files = "{name}"` instead of `missing`',
            )
            return None
        displayed += there
        columns.append(files.columns(path))
    if any(set("*?[]") & set(s) for s in displayed) and "pattern" not in map(files.kind, paths):
        _missing(requested, source, key, "a name with `*`, `?` or `[` would be read as a pattern")
        return None
    source.attrs["files"] = displayed if len(displayed) > 1 else displayed[0]
    if format_ and not all(_ending(s) for s in displayed):
        source.attrs["format"] = format_
    known = [c for c in columns if c is not None]
    return frozenset.intersection(*known) if known and len(known) == len(columns) else None


def _ending(path: str) -> bool:
    return path.lower().removesuffix(".gz").removesuffix(".zst").endswith(ENDINGS)


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _missing(requested: Asked, source: Source, key: str, why: str, way_out: str = "") -> None:
    """A source that is declared and not available."""
    source.attrs = {"missing": why.replace("`", "")}
    requested.otherwise(key, f"{why}{way_out}", "missing", help="mend the path, or leave the source as `missing`")


def split(requested: Asked, source: Source, key: str) -> None:
    """`split`, with slices (`train[:10%]`) as a limit or an amount, and sums (`train+test`) as a list."""
    written = _text(requested, key)
    if written is None or written == "train":
        return
    names: list[str] = []
    for part in written.split("+"):
        cut = _SLICE.fullmatch(part.strip())
        names.append(cut[1] if cut else part.strip())
        if cut and "+" in written:
            requested.unsaid(key, "of splits that are joined all rows are taken", "split")
        elif cut:
            _slice(requested, source, key, cut[2], cut[3])
    good = [n for n in names if re.fullmatch(r"[\w.\-/]+", n)]
    if len(good) < len(names):
        requested.unsaid(key, "it is no name of a split", "split")
    if good and good != ["train"]:
        source.attrs["split"] = good if len(good) > 1 else good[0]


def _slice(requested: Asked, source: Source, key: str, low: str | None, high: str | None) -> None:
    """Rows by number, as so many rows drawn by hash: which ones differs, how many does not."""
    ends = [e for e in (low, high) if e is not None]
    if any(e.startswith("-") for e in ends) or (low and high is None and not low.endswith("%")):
        requested.unsaid(key, "counting from the end; all rows are taken", "split")
    elif all(e.endswith("%") for e in ends) and ends:
        share = Fraction(int((high or "100%")[:-1]) - int((low or "0%")[:-1]), 100)
        if 0 < share < 1:
            source.amount = times(share)
            requested.otherwise(key, DRAWN, "split")
        elif share != 1:
            requested.unsaid(key, "it leaves no row", "split")
    elif high is not None and not any(e.endswith("%") for e in ends):
        rows = int(high) - int(low or 0)
        if rows > 0:
            source.attrs["limit"] = counted(rows, "rows")
            requested.otherwise(key, DRAWN, "limit")
        else:
            requested.unsaid(key, "it leaves no row", "split")
    elif ends:
        requested.unsaid(key, "rows and shares in one slice", "split")
