"""A prepared set as the model sees it: the order of its packs, and batches in which no document sees another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from alchemist_runtime.train.chat import MASKED

Ints = np.ndarray[Any, np.dtype[np.int64]]

#: In an order: a place without a sequence, which fills up the last step.
NOTHING: Final = -1

_MASK: Final = (1 << 64) - 1


def _mix(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """splitmix64: a shuffle that no library version can change."""
    with np.errstate(over="ignore"):
        z = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: np.ndarray[Any, Any] = z ^ (z >> np.uint64(31))
        return mixed


def shuffled(n: int, seed: int, epoch: int) -> Ints:
    """The numbers below n in the order of one pass."""
    salt = _mix(np.array([seed & _MASK], dtype=np.uint64)) + np.uint64(epoch)
    return np.argsort(_mix(np.arange(n, dtype=np.uint64) ^ _mix(salt)), kind="stable")


def steps_of(n: int, per_step: int, epochs: Fraction | None, steps: int | None) -> int:
    """Optimiser steps of a training over n sequences: those asked for, or all that the passes need (the last may be
    short).
    """
    return steps if steps is not None else max(1, math.ceil((epochs or Fraction(1)) * n / per_step))


def order(n: int, per_step: int, *, epochs: Fraction | None, steps: int | None, seed: int) -> Ints:
    """The sequence at each place of each step: pass after pass, filled up with NOTHING at the end of the last one."""
    places = steps_of(n, per_step, epochs, steps) * per_step
    wanted = places if steps is not None else math.ceil((epochs or Fraction(1)) * n)
    passes = [shuffled(n, seed, e) for e in range(-(-wanted // n))]
    out = np.full(places, NOTHING, dtype=np.int64)
    out[:wanted] = np.concatenate(passes)[:wanted]
    return out


@dataclass(frozen=True, slots=True)
class Sequence_:
    """One pack: token ids, labels, and the lengths of its documents."""

    ids: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    lengths: np.ndarray[Any, Any]


class Packs:
    """The packs of a prepared set, read from a memory-mapped file."""

    def __init__(self, path: Path) -> None:
        with pa.memory_map(str(path)) as source:
            self._table = pa.ipc.open_file(source).read_all()
        self._chunks = self._table.to_batches()
        self._starts = np.cumsum([0, *(b.num_rows for b in self._chunks)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, number: int) -> Sequence_:
        chunk = int(np.searchsorted(self._starts, number, side="right")) - 1
        row = number - int(self._starts[chunk])
        columns = (self._chunks[chunk].column(i) for i in range(3))
        parts = [c.values[c.offsets[row].as_py() : c.offsets[row + 1].as_py()] for c in columns]
        return Sequence_(*(p.to_numpy(zero_copy_only=False) for p in parts))

    def tokens(self) -> Ints:
        """Tokens of each pack."""
        return np.concatenate(
            [np.zeros(0, np.int64), *(np.diff(b.column(0).offsets.to_numpy()) for b in self._chunks)]
        ).astype(np.int64)

    def squares(self) -> float:
        """Sum over documents of length squared, which the cost of attention follows."""
        return float(sum((b.column(2).values.to_numpy().astype(np.float64) ** 2).sum() for b in self._chunks))


def mapped(prepared: Path, name: str, work: Path, *, first: bool) -> Packs:
    """The packs of one split; the process that comes `first` on a machine writes them down in a form that all can
    map.
    """
    path = work / f"{name}.arrow"
    if first and not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        columns = ["input_ids", "labels", "lengths"]
        schema = pa.schema({c: pa.list_(pa.int32()) for c in columns})
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for shard in sorted(prepared.glob(f"{name}-*.parquet")):
                for batch in pq.ParquetFile(shard).iter_batches(4_096, columns=columns):
                    writer.write_batch(_plain(batch, schema))
        temporary.replace(path)
    return Packs(path)


def _plain(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Lists that start at offset 0, under the schema's own field names."""
    arrays = []
    for column in batch.columns:
        flat, offsets = column.flatten(), column.offsets
        first = offsets[0].as_py()
        offsets = pa.array(offsets.to_numpy() - first, pa.int32())
        arrays.append(pa.ListArray.from_arrays(offsets, flat))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


class Ordered(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Packs in a given order; places with NOTHING hold a sequence from which nothing is learnt."""

    def __init__(self, packs: Packs, order: Ints, pad: int) -> None:
        self.packs, self.order = packs, order
        one = np.array([pad], np.int32)
        self._nothing = Sequence_(one, np.array([MASKED], np.int32), np.array([1], np.int32))

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> Sequence_:
        number = int(self.order[place])
        return self._nothing if number == NOTHING else self.packs[number]


def positions(lengths: np.ndarray[Any, Any], total: int) -> np.ndarray[Any, Any]:
    """Position ids that begin at 0 with every document, and with the padding behind them."""
    sizes = np.append(lengths, total - int(lengths.sum()))
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    restarted: np.ndarray[Any, Any] = np.arange(total) - starts
    return restarted


@dataclass(frozen=True, slots=True)
class Collator:
    """Sequences to tensors.

    Packed: no attention mask, position ids that restart with each document; from those most models keep documents apart
    (an all-ones mask or a cache would let them see one another; `isolation` tells which do not). Padding counts as one
    more document. With `flat` (FlashAttention) the batch is one long sequence. Unpacked: padding on the right and an
    attention mask.
    """

    pad: int
    packed: bool
    flat: bool = False

    def __call__(self, batch: Sequence[Sequence_]) -> Mapping[str, torch.Tensor]:
        if self.flat and self.packed:
            batch = [Sequence_(*(np.concatenate([getattr(s, f) for s in batch]) for f in ("ids", "labels", "lengths")))]
        width = max(len(s.ids) for s in batch)
        ids = np.full((len(batch), width), self.pad, dtype=np.int64)
        labels = np.full((len(batch), width), MASKED, dtype=np.int64)
        for row, s in enumerate(batch):
            ids[row, : len(s.ids)] = s.ids
            labels[row, : len(s.ids)] = s.labels
        out = {"input_ids": torch.from_numpy(ids), "labels": torch.from_numpy(labels)}
        if self.packed:
            places = np.stack([positions(s.lengths, width) for s in batch])
            return {**out, "position_ids": torch.from_numpy(places)}
        seen = np.arange(width) < np.array([[len(s.ids)] for s in batch])
        return {**out, "attention_mask": torch.from_numpy(seen.astype(np.int64))}


# --- isolation --------------------------------------------------------------------------------------------------------

#: Tokens of each of the two documents of a proof.
_SHORT: Final = 32
#: Parts of the spread of the logits below which a difference is rounding, in single and in half precision.
_ROUNDING: Final = {False: 3e-5, True: 1e-2}


@dataclass(frozen=True, slots=True)
class Isolation:
    """How far the logits of a document move, in parts of their spread: with another before it in its pack (`seen`), and
    with that behind it (`rounding`), where no causal model can see it."""

    seen: float
    rounding: float
    half: bool

    @property
    def holds(self) -> bool:
        return self.seen <= max(4 * self.rounding, _ROUNDING[self.half])


def isolation(
    logits: Callable[[Mapping[str, torch.Tensor]], torch.Tensor], collate: Collator, vocabulary: int
) -> Isolation:
    """Two short documents of random tokens packed as in training, either first, and alone: whether one sees the other.

    `logits` maps the tensors of a batch (without labels) to logits of shape (1, tokens, vocabulary).
    """
    draws = np.random.default_rng(0).integers(0, vocabulary, (2, _SHORT)).astype(np.int32)
    one, other = draws

    def run(*docs: np.ndarray[Any, Any]) -> torch.Tensor:
        ids = np.concatenate(docs)
        batch = collate([Sequence_(ids, ids, np.array([len(d) for d in docs], np.int32))])
        return logits({k: v for k, v in batch.items() if k != "labels"})[0]

    with torch.no_grad():
        alone = run(one)
        behind, before = run(other, one)[_SHORT:], run(one, other)[:_SHORT]
    spread = alone.double().std()

    def moved(packed: torch.Tensor) -> float:
        return float((packed.double() - alone.double()).abs().max() / spread)

    half = alone.dtype in (torch.bfloat16, torch.float16)
    return Isolation(moved(behind), moved(before), half)
