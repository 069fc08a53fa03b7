"""From rows to the prepared set of a training: tokens, labels and packs as Parquet shards, with the id and the origin
of every document in a pack. Works window by window (65,536 rows or 8M tokens), so memory is bounded and a crash costs a
window.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date as Date
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alchemist_runtime.schema import rows
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.plan import digest
from alchemist_runtime.storage import store
from alchemist_runtime.storage.store import write_atomic, write_parquet
from alchemist_runtime.train.chat import CHUNK, Document, Encoder, Loss, Special, Template, bounds, documents
from alchemist_runtime.train.conversations import RENDERING_NOTES

OnLong = Literal["error", "drop", "truncate"]
OnProgress = Callable[[dict[str, Any]], None]
Batches = Callable[[], Iterator[pa.RecordBatch]]
Ints = np.ndarray[Any, np.dtype[np.int64]]

WINDOW_ROWS: Final = 65_536
WINDOW_TOKENS: Final = 8_388_608
FORMAT: Final = 2

ID16: Final = pa.binary(16)
SCHEMA: Final = pa.schema(
    {
        "input_ids": pa.list_(pa.int32()),
        "labels": pa.list_(pa.int32()),
        "lengths": pa.list_(pa.int32()),
        "ids": pa.list_(ID16),
        "origins": pa.list_(pa.string()),
    }
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the prepared set beside the rows and the tokenizer."""

    max_length: int
    packing: str = "ffd"
    loss: Loss = "assistant"
    on_long: OnLong = "drop"
    eval_share: Fraction = Fraction(0)
    eval_rows: int | None = None
    seed: int = 0
    special_tokens_in_text: Special = "keep"
    date: str | None = None


# --- one window -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Window:
    """Rows that are packed together: their documents, ids and origins, and which of them are held out."""

    docs: list[Document]
    ids: list[bytes]
    origins: list[str]
    held: list[bool]
    tokens: int = 0
    read: int = 0  # rows of the input, also those that are left out
    left_out: list[dict[str, Any]] = field(default_factory=list)
    cut: list[dict[str, Any]] = field(default_factory=list)  # rows whose end is not trained
    notes: dict[str, Counter[str]] = field(default_factory=dict)  # of rows taken in: name of RENDERING_NOTES -> origins
    first: dict[str, str] = field(default_factory=dict)  # name -> the first row of it

    @staticmethod
    def empty() -> Window:
        return Window([], [], [], [])

    def full(self) -> bool:
        return self.read >= WINDOW_ROWS or self.tokens >= WINDOW_TOKENS

    def leave(self, id_: bytes, origin: str, why: str, tokens: int) -> None:
        self.left_out.append({"id": id_.hex(), "origin": origin, "why": why, "tokens": tokens})

    def add(self, doc: Document, id_: bytes, origin: str, held: bool, settings: Settings) -> None:
        """Take a row in, or note why not. `wrapped` cuts long rows by its nature, so none is too long for it."""
        self.read += 1
        tokens = len(doc.ids)
        long = settings.packing != "wrapped" and tokens > settings.max_length
        if long and settings.on_long != "truncate":
            self.leave(id_, origin, "too_long", tokens)
            return
        doc = doc.cut(settings.max_length) if long else doc
        if not doc.learnt:
            self.leave(id_, origin, "nothing_to_learn", tokens)
            return
        if long:
            self.cut.append({"id": id_.hex(), "origin": origin, "tokens": tokens})
        for name in doc.notes:
            self.notes.setdefault(name, Counter())[origin] += 1
            self.first.setdefault(name, id_.hex())
        self.docs.append(doc)
        self.ids.append(id_)
        self.origins.append(origin)
        self.held.append(held)
        self.tokens += len(doc.ids)


def _flat(pieces_: Sequence[np.ndarray[Any, Any]]) -> pa.Array:
    return pa.array(np.concatenate(pieces_) if pieces_ else np.empty(0, np.int32))


def pack_table(window: Window, part: Sequence[int], settings: Settings) -> pa.Table:
    """The packs of some rows of a window."""
    docs = [window.docs[i] for i in part]
    lengths = np.array([len(d.ids) for d in docs], dtype=np.int64)
    packs = pieces(lengths, settings.max_length, settings.packing)
    inside = [p for pack in packs for p in pack]
    sizes = pa.array(bounds([sum(b - a for _, a, b in pack) for pack in packs]), pa.int32())
    counts = pa.array(bounds([len(pack) for pack in packs]), pa.int32())
    labels = [_opened(docs[d].labels[a:b]) for d, a, b in inside]
    columns = {
        "input_ids": (sizes, _flat([docs[d].ids[a:b] for d, a, b in inside])),
        "labels": (sizes, _flat(labels)),
        "lengths": (counts, pa.array([b - a for _, a, b in inside], pa.int32())),
        "ids": (counts, pa.array([window.ids[part[d]] for d, _, _ in inside], ID16)),
        "origins": (counts, pa.array([window.origins[part[d]] for d, _, _ in inside], pa.string())),
    }
    arrays = [
        pa.ListArray.from_arrays(at, values.cast(field.type.value_type))
        for field, (at, values) in zip(SCHEMA, columns.values(), strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _opened(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The first token of a piece follows nothing that the model sees, so it is not learnt."""
    if len(labels) and labels[0] >= 0:
        labels = labels.copy()
        labels[0] = -100
    return labels


def _figures(table: pa.Table, documents_: int) -> dict[str, int]:
    tokens = len(pc.list_flatten(table["input_ids"]))
    learnt = pc.sum(pc.greater_equal(pc.list_flatten(table["labels"]), 0)).as_py() or 0
    return {"rows": documents_, "tokens": tokens, "loss_tokens": learnt, "packs": len(table)}


# --- the whole set ----------------------------------------------------------------------------------------------------


def slices(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of one size, so that nothing depends on how they came."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        if count < size:
            continue
        table = pa.Table.from_batches(waiting).combine_chunks()
        whole = count - count % size
        for at in range(0, whole, size):
            yield table.slice(at, size).to_batches()[0]
        waiting = table.slice(whole).to_batches()
        count -= whole
    if count:
        yield from pa.Table.from_batches(waiting).combine_chunks().to_batches()


class _Set:
    """The folder of a prepared set: shards, and one note per finished window that commits them."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        mark = folder / "key"
        if folder.exists() and (not mark.exists() or mark.read_text() != key):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(mark, key.encode())
        self.notes: list[dict[str, Any]] = []
        while (path := self._note(len(self.notes))).exists():
            self.notes.append(json.loads(path.read_text()))

    def _note(self, number: int) -> Path:
        return self.folder / f"window-{number:05d}.json"

    def commit(self, window: Window, settings: Settings, step: str) -> None:
        number = len(self.notes)
        note: dict[str, Any] = {"read": window.read, "left_out": window.left_out, "cut": window.cut}
        note |= {"told": window.notes, "first": window.first}
        for name, wanted in (("train", False), ("eval", True)):
            part = [i for i, held in enumerate(window.held) if held is wanted]
            table = pack_table(window, part, settings)
            note[name] = _figures(table, len(part))
            note[f"{name}_origins"] = Counter(window.origins[i] for i in part)
            if len(table):
                store.point(step, "write")
                write_parquet(self.folder / f"{name}-{number:05d}.parquet", table)
        note["seen"] = self.seen
        write_atomic(self._note(number), json.dumps(note).encode())
        self.notes.append(note)

    seen: str = ""  # digest of the ids of all rows up to the window's end


def _key(tokenizer: Any, settings: Settings, date: Date | None) -> str:
    backend = hashlib.blake2b(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
    plain = {f: str(getattr(settings, f)) for f in Settings.__dataclass_fields__}
    return digest([FORMAT, backend, tokenizer.get_chat_template(), plain, str(date)])


def _day(folder: Path, settings: Settings) -> Date:
    """The day that a template writes: the recipe's, else that of the first preparation, so that a later call goes on
    with it.
    """
    if settings.date is not None:
        return Date.fromisoformat(settings.date)
    with contextlib.suppress(OSError, ValueError):
        return Date.fromisoformat((folder / "date").read_text())
    return Date.today()


def prepare(
    batches: Batches,
    folder: Path,
    *,
    tokenizer: Any,
    settings: Settings,
    step: str = "train",
    total: int | None = None,
    on_progress: OnProgress = lambda _: None,
) -> dict[str, Any]:
    """Write the prepared set of some rows to `folder` and return its summary.

    Shards that an earlier call finished are kept if rows and settings are the same. RunError A806 (rows too long,
    `on_long = error`), A801 and A810 (the template), A816 (control tokens in texts), A811 (nothing to learn), A905
    (disk full).
    """
    done = folder / "summary.json"
    template, encoder = Template(tokenizer, _day(folder, settings)), Encoder(tokenizer)
    date = template.date if template.dated else None
    prepared = _Set(folder, _key(tokenizer, settings, date))
    if date is not None:
        write_atomic(folder / "date", date.isoformat().encode())
    if done.exists():
        finished: dict[str, Any] = json.loads(done.read_text())
        return finished
    is_held = held_out(batches, settings.eval_share, settings.eval_rows, settings.seed)
    window, seen, at = Window.empty(), hashlib.blake2b(digest_size=16), 0
    skip = sum(n["read"] for n in prepared.notes)
    marks = {sum(n["read"] for n in prepared.notes[: i + 1]): i for i in range(len(prepared.notes))}
    for batch in slices(batches(), CHUNK):
        ids = batch.column(rows.ID).to_pylist()
        seen.update(b"".join(ids))
        at += len(ids)
        if at <= skip:
            if at in marks and prepared.notes[marks[at]]["seen"] != seen.hexdigest():
                # other rows than last time: what was prepared is of no use
                shutil.rmtree(folder)
                return prepare(
                    batches,
                    folder,
                    tokenizer=tokenizer,
                    settings=settings,
                    step=step,
                    total=total,
                    on_progress=on_progress,
                )
            continue
        origins = _texts(batch, rows.ORIGIN)
        held = is_held(roots_of(batch))
        for doc, id_, origin, out in zip(
            documents(batch, template, encoder, settings.loss, settings.special_tokens_in_text),
            ids,
            origins,
            held,
            strict=True,
        ):
            window.add(doc, id_, origin, out, settings)
        on_progress({"stage": "tokenising", "done": at, "total": total, "unit": "rows"})
        if window.full():
            prepared.seen = seen.hexdigest()
            prepared.commit(window, settings, step)
            window = Window.empty()
    if window.read:
        prepared.seen = seen.hexdigest()
        prepared.commit(window, settings, step)
    summary = _summary(prepared, settings, date)
    summary["layout"] = template.layout.name if template.layout else None
    write_atomic(done, json.dumps(summary, indent=1, sort_keys=True).encode())
    return summary


def _texts(batch: pa.RecordBatch, name: str) -> list[str]:
    if name not in batch.schema.names:
        return ["rows"] * batch.num_rows
    return [v if v is not None else "" for v in batch.column(name).to_pylist()]


def _summary(prepared: _Set, settings: Settings, date: Date | None) -> dict[str, Any]:
    """Totals of a set; RunError where rows are what they may not be, or nothing is left."""
    left = [entry for note in prepared.notes for entry in note["left_out"]]
    by_why: dict[str, Counter[str]] = {}
    for entry in left:
        by_why.setdefault(entry["why"], Counter())[entry["origin"]] += 1
    if settings.on_long == "error" and by_why.get("too_long"):
        raise _too_long([e for e in left if e["why"] == "too_long"], by_why["too_long"], settings)
    reported: dict[str, Counter[str]] = {}
    first: dict[str, str] = {}
    for note in prepared.notes:
        for name, by in note["told"].items():
            reported.setdefault(name, Counter()).update(by)
        first = note["first"] | first
    if settings.special_tokens_in_text == "error" and "special" in reported:
        raise _special(reported["special"], first["special"])
    total: dict[str, dict[str, int]] = {}
    origins: dict[str, dict[str, int]] = {}
    for name in ("train", "eval"):
        total[name] = dict(sum((Counter(n[name]) for n in prepared.notes), Counter()))
        origins[name] = dict(sum((Counter(n[f"{name}_origins"]) for n in prepared.notes), Counter()))
    if not total["train"].get("loss_tokens"):
        raise RunError(
            Problem(
                "A811",
                "no row is left with a token to learn from",
                note=_why(by_why),
                help="raise `max_length`, or look at `loss` and `chat_template`",
            )
        )
    cut = [entry for note in prepared.notes for entry in note["cut"]]
    for name, entries in (("left_out", left), ("cut", cut)):
        lines = "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in entries)
        write_atomic(prepared.folder / f"{name}.jsonl", lines.encode())
    train = total["train"]
    return {
        **train,
        "fill": round(train["tokens"] / (train["packs"] * settings.max_length), 6),
        "packing": settings.packing,
        "max_length": settings.max_length,
        "read": sum(n["read"] for n in prepared.notes),
        "origins": origins["train"],
        "eval": {**total["eval"], "origins": origins["eval"]} if total["eval"].get("rows") else None,
        "left_out": {why: dict(c) for why, c in by_why.items()},
        "told": {name: dict(reported[name]) for name in RENDERING_NOTES if name in reported},
        "first": first,
        "date": None if date is None else date.isoformat(),
        "cut": dict(Counter(entry["origin"] for entry in cut)),
        "shards": {
            name: sorted(p.name for p in prepared.folder.glob(f"{name}-*.parquet")) for name in ("train", "eval")
        },
    }


def _special(by_origin: Counter[str], first: str) -> RunError:
    counts = ", ".join(f"{n:,} of `{o}`" for o, n in by_origin.most_common())
    return RunError(
        Problem(
            "A816",
            f"{sum(by_origin.values()):,} rows hold control tokens in their own text",
            note=f"{counts}; the first is row {first}",
            help=(
                "drop them with a filter, or write `special_tokens_in_text = split`, which reads them as ordinary text"
            ),
        ),
        exit_code=1,
    )


def _why(by_why: dict[str, Counter[str]]) -> str | None:
    parts = [f"{sum(c.values())} rows: {why.replace('_', ' ')}" for why, c in by_why.items()]
    return ", ".join(parts) or None


def _too_long(entries: list[dict[str, Any]], by_origin: Counter[str], settings: Settings) -> RunError:
    longest = max(entries, key=lambda e: e["tokens"])
    counts = ", ".join(f"{n:,} of `{o}`" for o, n in by_origin.most_common())
    return RunError(
        Problem(
            "A806",
            f"{len(entries):,} rows are longer than {settings.max_length:,} tokens",
            note=f"{counts}; the longest has {longest['tokens']:,} tokens (row {longest['id']})",
            help='write `on_long = "drop"` or `on_long = truncate`, or raise `max_length`',
        ),
        exit_code=1,
    )


# --- held-out rows ----------------------------------------------------------------------------------------------------


def draws(roots: Iterable[bytes], seed: int) -> list[int]:
    """A 64-bit draw for each source row: the same for all rows that came from it."""
    key = seed.to_bytes(8, "big")
    return [int.from_bytes(hashlib.blake2b(r, digest_size=8, key=key, person=b"alc eval").digest()) for r in roots]


def roots_of(batch: pa.RecordBatch) -> list[bytes]:
    """Source rows; a row without one is its own."""
    ids: list[bytes] = batch.column(rows.ID).to_pylist()
    if rows.ROOT not in batch.schema.names:
        return ids
    own = batch.column(rows.ROOT).to_pylist()
    return [r if r is not None else i for r, i in zip(own, ids, strict=True)]


def held_out(batches: Batches, share: Fraction, count: int | None, seed: int) -> Callable[[list[bytes]], list[bool]]:
    """Which rows are held out, as a function of their roots."""
    if count:
        chosen = _by_count(batches, count, seed)
        return lambda roots: [r in chosen for r in roots]
    below = int(share * 2**64)
    if not below:
        return lambda roots: [False] * len(roots)
    return lambda roots: [d < below for d in draws(roots, seed)]


def _by_count(batches: Batches, count: int, seed: int) -> frozenset[bytes]:
    """Source rows in the order of their draws, each taken with all its rows if they still fit."""
    sizes = Counter(r for b in batches() for r in roots_of(b))
    ordered = sorted(zip(draws(sizes, seed), sizes, strict=True))
    left, chosen = count, set()
    for _, root in ordered:
        if sizes[root] <= left:
            chosen.add(root)
            left -= sizes[root]
        if not left:
            break
    return frozenset(chosen)


# --- packing ----------------------------------------------------------------------------------------------------------

#: Bins looked at in one go while one length is placed.
_BLOCK = 4_096


def _runs(lengths: Ints) -> tuple[Ints, list[tuple[int, int, int]]]:
    """Documents by falling length (ties: by number), and (length, first, count) of each run of equal ones."""
    order = np.argsort(-lengths, kind="stable")
    values, starts, counts = np.unique(-lengths[order], return_index=True, return_counts=True)
    return order, [(-int(v), int(s), int(c)) for v, s, c in zip(values, starts, counts, strict=True)]


def ffd(lengths: Ints, capacity: int) -> list[Ints]:
    """First-fit decreasing: the packs as document numbers, each ascending. No length may exceed `capacity`.

    A run of documents of one length goes into the open bins from the first on, as many as fit in each, which is what
    placing them one by one does; so the work is one pass over the bins per distinct length, not per document.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    if not len(lengths):
        return []
    if lengths.max() > capacity or lengths.min() < 1:
        raise ValueError(f"lengths must lie between 1 and {capacity}")
    order, runs = _runs(lengths)
    room = np.zeros(len(lengths), dtype=np.int64)
    bins = 0
    placed = np.empty(len(lengths), dtype=np.int64)  # bin of order[i]
    for length, first, count in runs:
        done = 0
        for block in range(0, bins, _BLOCK):
            if done == count:
                break
            fits = room[block : min(block + _BLOCK, bins)] // length
            filled = np.minimum(np.cumsum(fits), count - done)
            take = np.diff(filled, prepend=0)
            used = np.flatnonzero(take)
            placed[first + done : first + done + int(filled[-1])] = np.repeat(used, take[used]) + block
            room[used + block] -= take[used] * length
            done += int(filled[-1])
        if done < count:
            each = capacity // length
            rest = np.arange(count - done)
            placed[first + done : first + count] = bins + rest // each
            new = -(-(count - done) // each)
            room[bins : bins + new] = capacity - length * np.bincount(rest // each, minlength=new)
            bins += new
    by_bin = np.lexsort((order, placed))
    cuts = np.cumsum(np.bincount(placed, minlength=bins))[:-1]
    return np.split(order[by_bin], cuts)


def wrapped(lengths: Ints, capacity: int) -> list[list[tuple[int, int, int]]]:
    """One stream of documents cut every `capacity` tokens: packs of (document, start, stop); only the last is
    shorter.
    """
    packs: list[list[tuple[int, int, int]]] = []
    room = 0
    for number, length in enumerate(lengths.tolist()):
        at = 0
        while at < length:
            if not room:
                packs.append([])
                room = capacity
            stop = min(length, at + room)
            packs[-1].append((number, at, stop))
            room -= stop - at
            at = stop
    return packs


def pieces(lengths: Ints, capacity: int, packing: str) -> list[list[tuple[int, int, int]]]:
    """The packs of a method (none, ffd, wrapped) as lists of (document, start, stop)."""
    if packing == "wrapped":
        return wrapped(lengths, capacity)
    if packing == "ffd":
        return [[(d, 0, int(lengths[d])) for d in pack.tolist()] for pack in ffd(lengths, capacity)]
    return [[(d, 0, n)] for d, n in enumerate(lengths.tolist())]
