"""Two streams of rows to what differs: rows that came and went, columns whose values changed, counts by origin and
rule, samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alchemist_runtime.engine.compare.files import Keys, Matched, keys, match
from alchemist_runtime.engine.compare.model import ColumnDiff, GroupDiff, PortDiff, Sample, State
from alchemist_runtime.engine.compare.reading import Places, below, in_step, same_type, stored_order, values
from alchemist_runtime.engine.compare.values import Mask, unequal
from alchemist_runtime.engine.streams import Stream, arrow_type
from alchemist_runtime.schema.rows import COPY, ID, IDENTITY, INSTRUCTION, RESPONSE, required
from alchemist_runtime.storage.columns import Index

#: What a sample of a row that came or went shows, as far as it has them; without any, its first columns.
SHOWN = ("rule", "reason", INSTRUCTION, RESPONSE, "out")
FIRST_COLUMNS = 3

Codes = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Compared:
    """A port of both sides with what names its rows: enough to see which rows moved to another port."""

    before: Stream
    after: Stream
    keys: tuple[Keys, Keys]
    matched: Matched
    diff: PortDiff
    places: Places


@dataclass
class Comparison:
    """How ports are compared: how many samples, and where files may lie meanwhile."""

    samples: int
    scratch: Path
    names: tuple[str, str] = ("the first result", "the second result")
    places: Places = field(default_factory=Places)

    def port(self, port: str, before: Stream, after: Stream) -> Compared:
        """Everything that differs between two streams. RunError A907 where a side cannot be read."""
        named = keys(before, after, self.names)
        matched = match(*named)
        changes = self._columns(before, after, matched)
        changed = np.zeros(len(matched.before), bool)
        for _, packed in changes:
            if packed is not None:
                changed |= _unpacked(packed, len(changed))
        diff = PortDiff(
            port,
            before.n,
            after.n,
            added=len(matched.added),
            removed=len(matched.removed),
            changed=int(changed.sum()),
            reordered=bool(np.any(np.diff(matched.after) < 0)),
            columns=tuple(c for c, _ in changes),
            origins=_groups("origin", before, after, matched, changed),
            rules=_groups("rule", before, after, matched, changed),
        )
        compared = Compared(before, after, named, matched, diff, self.places)
        samples = self._samples(compared, changes, np.flatnonzero(changed))
        before.forget()
        after.forget()
        return replace(compared, diff=replace(diff, samples=samples))

    # --- columns ------------------------------------------------------------------------------------------------------

    def _columns(self, before: Stream, after: Stream, matched: Matched) -> list[tuple[ColumnDiff, Any]]:
        """Columns that differ, in the order of `after`, each with a bit for each pair of rows."""
        out: list[tuple[ColumnDiff, Any]] = []
        if not before.types or not after.types:  # an empty file of JSON lines has no columns
            return out
        for name in dict.fromkeys([*after.types, *before.types]):
            old, new = (_type(s, name) for s in (before, after))
            if old is None or new is None:
                out.append((ColumnDiff(name, old, new), None))
                continue
            if name in (ID, COPY):  # rows are matched by these
                continue
            try:
                mask = self._changed(name, before, after, matched)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
                why = " ".join(str(error).split())
                out.append((ColumnDiff(name, old, new, unread=why), None))
                continue
            retyped = not same_type(before, after, name)
            if retyped or mask.any():
                out.append((ColumnDiff(name, old, new, int(mask.sum())), np.packbits(mask)))
        return out

    def _changed(self, name: str, before: Stream, after: Stream, matched: Matched) -> Mask:
        """For each pair of rows whether its values of a column differ; what lies at the same place is not read."""
        out = np.zeros(len(matched.before), bool)
        read = _alike(name, before, after)
        sides = []
        for stream, rows in zip(read, (matched.before, matched.after), strict=True):
            base, index = below(stream, name)
            sides.append((base, rows if index is None else index[rows]))
        (old, old_rows), (new, new_rows) = sides
        if same_type(before, after, name):
            places = self.places.of(old, name, old_rows), self.places.of(new, name, new_rows)
            apart = np.flatnonzero(np.any(places[0] != places[1], axis=1))
            known, out[apart] = self.places.known(places[0][apart], places[1][apart])
            apart = apart[~known]
        else:
            places, apart = None, np.arange(len(out))
        apart = apart[np.argsort(old_rows[apart], kind="stable")]
        at = 0
        for a, b in in_step(
            values(old, name, old_rows[apart], self.scratch), values(new, name, new_rows[apart], self.scratch)
        ):
            out[apart[at : at + len(a)]] = unequal(a, b)
            at += len(a)
        if places is not None:
            self.places.remember(places[0][apart], places[1][apart], out[apart])
        old.forget()
        new.forget()
        return out

    # --- samples ------------------------------------------------------------------------------------------------------

    def _samples(
        self, c: Compared, changes: Sequence[tuple[ColumnDiff, Any]], changed: Index
    ) -> dict[str, tuple[Sample, ...]]:
        pairs = self._first_pairs(c, changed)
        bits = {d.name: p for d, p in changes if p is not None}
        found = {
            "changed": [_changed_sample(c, int(i), bits) for i in pairs],
            "added": [row_sample(c, None, int(r)) for r in c.keys[1].first(c.matched.added, self.samples)],
            "removed": [row_sample(c, int(r), None) for r in c.keys[0].first(c.matched.removed, self.samples)],
        }
        return {name: tuple(some) for name, some in found.items() if some}

    def _first_pairs(self, c: Compared, changed: Index) -> Index:
        rows = c.matched.before[changed]
        first = c.keys[0].first(rows, self.samples)
        return changed[np.searchsorted(rows, first)]  # `rows` ascends: the pairs do


def state(ports: Sequence[PortDiff]) -> State:
    """What the ports of a step come to."""
    return "same" if all(p.same for p in ports) else "changed"


def one_side(port: str, before: Stream | None, after: Stream | None) -> PortDiff:
    """A port, or a split, that one side alone has."""
    old, new = (None if s is None else s.n for s in (before, after))
    return PortDiff(port, old, new, added=new or 0, removed=old or 0, read=False)


def _type(stream: Stream, name: str) -> str | None:
    type_ = stream.types.get(name)
    return None if type_ is None else required(type_)


def _alike(name: str, before: Stream, after: Stream) -> tuple[Stream, Stream]:
    """Both streams so that a column reads as values that compare: numbers as they are, all else of two types as
    text.
    """
    kinds = [arrow_type(s.types[name]) for s in (before, after)]
    numbers = all(pa.types.is_integer(k) or pa.types.is_floating(k) for k in kinds)
    if kinds[0] == kinds[1] or numbers:
        return before, after
    return _as_text(name, before), _as_text(name, after)


def _as_text(name: str, stream: Stream) -> Stream:
    return replace(stream, types={**stream.types, name: "text?"})


def _unpacked(packed: Any, n: int) -> Mask:
    return np.unpackbits(packed, count=n).astype(bool)


# --- counts -----------------------------------------------------------------------------------------------------------


def _groups(name: str, before: Stream, after: Stream, matched: Matched, changed: Mask) -> tuple[GroupDiff, ...]:
    """Counts by the values of a text column that both sides have."""
    if any(required(s.types.get(name, "")) != "text" for s in (before, after)):
        return ()
    names: dict[str | None, int] = {}
    old, new = codes(before, name, names), codes(after, name, names)
    n = len(names)
    counts = zip(
        names,
        np.bincount(old, minlength=n).tolist(),
        np.bincount(new, minlength=n).tolist(),
        np.bincount(new[matched.added], minlength=n).tolist(),
        np.bincount(old[matched.removed], minlength=n).tolist(),
        np.bincount(new[matched.after[changed]], minlength=n).tolist(),
        strict=True,
    )
    return tuple(sorted((GroupDiff(str(k), *c) for k, *c in counts), key=lambda g: g.name))


def codes(stream: Stream, name: str, names: dict[str | None, int]) -> Codes:
    """For each row the number of its value; numbers of new values are added to `names`."""
    out = np.zeros(stream.n, np.int64)
    for rows, array in stored_order(stream, name):
        coded = array.dictionary_encode()
        number = [names.setdefault(v, len(names)) for v in coded.dictionary.to_pylist()]
        if coded.null_count:
            number.append(names.setdefault(None, len(names)))
        found = pc.fill_null(coded.indices, len(number) - 1).to_numpy(zero_copy_only=False)
        out[rows] = np.array(number, np.int64)[found]
    return out


# --- samples ----------------------------------------------------------------------------------------------------------


def row_sample(c: Compared, before: int | None, after: int | None) -> Sample:
    """A row that one side alone has, with what it says."""
    stream, side, row = (c.after, c.keys[1], after) if after is not None else (c.before, c.keys[0], before)
    assert row is not None
    said = shown(c.places, stream, row)
    return Sample(
        side.shown(row),
        int(side.copy[row]),
        _origin(c.places, stream, row),
        None if after is not None else said,
        said if after is not None else None,
    )


def _changed_sample(c: Compared, pair: int, bits: Mapping[str, Any]) -> Sample:
    old, new = int(c.matched.before[pair]), int(c.matched.after[pair])
    names = [n for n, packed in bits.items() if packed[pair // 8] >> (7 - pair % 8) & 1]
    return Sample(
        c.keys[1].shown(new),
        int(c.keys[1].copy[new]),
        _origin(c.places, c.after, new),
        {n: _plain(c.places.value(c.before, n, old)) for n in names},
        {n: _plain(c.places.value(c.after, n, new)) for n in names},
    )


def shown(places: Places, stream: Stream, row: int, names: Iterable[str] = SHOWN) -> dict[str, Any]:
    """What a row says: the columns of `names` that it has, else its first ones."""
    some = [n for n in names if n in stream.types]
    hidden = {*IDENTITY, COPY}
    some = some or [n for n in stream.types if n not in hidden][:FIRST_COLUMNS]
    return {n: _plain(places.value(stream, n, row)) for n in some}


def _plain(found: Any) -> Any:
    if isinstance(found, bytes):
        return found.hex()
    if isinstance(found, dict):
        return {k: _plain(v) for k, v in found.items()}
    if isinstance(found, list):
        return [_plain(v) for v in found]
    return found


def _origin(places: Places, stream: Stream, row: int) -> str | None:
    if "origin" not in stream.types:
        return None
    found = places.value(stream, "origin", row)
    return None if found is None else str(found)
