"""Counting tokens: of texts for `tokens(…)`, and of whole rendered rows for mixtures.

The byte tokenizer is counted from Arrow's buffers; where no tokenizer is declared, characters / 4, rounded up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alchemist_runtime.schema.rows import EXTRA, HISTORY, INSTRUCTION, RESPONSE, SYSTEM, TAIL

if TYPE_CHECKING:
    from alchemist_runtime.engine.streams import Stream

Counts = np.ndarray[Any, np.dtype[np.int64]]
#: Special tokens around the text of a turn in the byte tokenizer's template.
AROUND = 2
_READ = (SYSTEM, INSTRUCTION, RESPONSE, HISTORY, TAIL, EXTRA, "tools", "template_args", "_id")


def load(spec: Mapping[str, Any], project: Path) -> Any:
    """The tokenizer that a plan names: a folder of the project, or a hub id at its revision."""
    from alchemist_runtime.train.base_model import load_tokenizer

    name = str(spec["name"])
    local = project / name
    return load_tokenizer(str(local) if local.is_dir() else name, spec.get("revision"))


def counter(spec: Mapping[str, Any], project: Path) -> Callable[[Sequence[str]], Sequence[int]]:
    """Counts the tokens of texts."""
    if spec.get("bytes"):
        return lambda texts: [len(t.encode("utf-8", "surrogatepass")) for t in texts]
    backend = load(spec, project).backend_tokenizer

    def count(texts: Sequence[str]) -> list[int]:
        out: list[int] = []
        for at in range(0, len(texts), 1_000):
            some = list(texts[at : at + 1_000])
            out += [len(e.ids) for e in backend.encode_batch_fast(some, add_special_tokens=False)]
        return out

    return count


def row_tokens(stream: Stream, spec: Mapping[str, Any] | None, project: Path) -> Counts:
    """Tokens of every row as it is rendered for training, before truncation."""
    columns = [c for c in _READ if c in stream.types]
    if spec is None:
        found = [_estimate(b) for b in stream.batches(columns)]
    elif spec.get("bytes"):
        found = [_bytes(b) for b in stream.batches(columns)]
    else:
        found = _rendered(stream, columns, load(spec, project))
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _lengths(batch: pa.RecordBatch, length: Callable[[pa.Array], pa.Array], around: int) -> Counts:
    total = np.zeros(batch.num_rows, np.int64)
    for name in (SYSTEM, INSTRUCTION, RESPONSE):
        if name in batch.schema.names:
            total += _filled(pc.add(length(batch.column(name)), around))
    for name in (HISTORY, TAIL):
        if name in batch.schema.names and batch.column(name).null_count < batch.num_rows:
            turns = batch.column(name)
            rows = pc.list_parent_indices(turns).to_numpy()
            texts = pc.list_flatten(turns)
            sizes = _filled(pc.add(length(texts.field("content")), around))
            np.add.at(total, rows, sizes + _filled(length(texts.field("extra"))))
    for name in ("tools", EXTRA):
        if name in batch.schema.names:
            total += _filled(length(batch.column(name)))
    return total


def _filled(array: pa.Array) -> Counts:
    return np.asarray(pc.fill_null(pc.cast(array, pa.int64()), 0).to_numpy(zero_copy_only=False))


def _bytes(batch: pa.RecordBatch) -> Counts:
    return _lengths(batch, pc.binary_length, AROUND)


def _estimate(batch: pa.RecordBatch) -> Counts:
    return -(-_lengths(batch, pc.utf8_length, 0) // 4)


def _rendered(stream: Stream, columns: list[str], tokenizer: Any) -> list[Counts]:
    from alchemist_runtime.train.chat import Encoder, Template, talks

    template, encoder = Template(tokenizer), Encoder(tokenizer)
    out = []
    for batch in stream.batches(columns, size=1_000):
        texts, _ = template.render([template.fit(t) for t in talks(batch)])
        ids, _ = encoder(texts, [[] for _ in texts])
        out.append(np.array([len(i) for i in ids], np.int64))
    return out
