"""Conversations to tokens and labels: turn columns to messages, messages to text by the chat template, text to tokens with a
mask of what counts. Which characters the model learns is read off the template; tokens follow from the characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa

from alchemist_runtime import rows
from alchemist_runtime.engine.turns import TURN_TYPES, join
from alchemist_runtime.errors import Problem, RunError
from alchemist_runtime.message import message

Loss = Literal["assistant", "last", "all"]
Message = dict[str, Any]
Tokens = np.ndarray[Any, np.dtype[np.int32]]
Spans = list[tuple[int, int]]

#: A larger batch is slower in the tokenizer and needs more memory.
CHUNK = 1_000
MASKED = -100

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


# --- turns ------------------------------------------------------------------------------------------------------------------


def _column(batch: pa.RecordBatch, name: str) -> list[Any]:
    if name not in batch.schema.names:
        return [None] * batch.num_rows
    values: list[Any] = batch.column(name).to_pylist()
    return values


def _message(turn: Mapping[str, Any]) -> Message:
    """A turn as templates expect it: further keys beside role and content, nothing that is null, and where no content is, no text."""
    more = orjson.loads(turn["extra"]) if turn["extra"] else {}
    made = message(turn["role"], turn["content"], more)
    return {k: v for k, v in (made | {"content": made["content"] or ""}).items() if v is not None}


def messages(batch: pa.RecordBatch) -> list[list[Message]]:
    """The conversations of a batch of turn columns, as lists of messages for a chat template."""
    names = [c for c in TURN_TYPES if c in batch.schema.names]
    every = zip(*(_column(batch, c) for c in names), strict=True)
    return [[_message(t) for t in join(dict(zip(names, row, strict=True)))] for row in every]


# --- text and spans -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Talk:
    """One row as the template sees it."""

    messages: list[Message]
    tools: list[Any] | None
    args: dict[str, Any]
    row: str  # its id in hex, for messages to people

    def upto(self, stop: int) -> Talk:
        return Talk(self.messages[:stop], self.tools, self.args, self.row)


def talks(batch: pa.RecordBatch) -> list[Talk]:
    """The rows of a batch with what their columns `tools` and `template_args` hold."""
    ids = [i.hex() if i is not None else "?" for i in _column(batch, rows.ID)]
    columns = zip(
        messages(batch), _column(batch, "tools"), _column(batch, "template_args"), ids, strict=True
    )
    return [
        Talk(
            talk,
            orjson.loads(tools) if tools else None,
            (orjson.loads(args) if args else None) or {},
            id_,
        )
        for talk, tools, args, id_ in columns
    ]


class Template:
    """The chat template of a tokenizer: renders conversations and says which characters the assistant wrote."""

    def __init__(self, tokenizer: Any) -> None:
        self.text: str = tokenizer.get_chat_template()
        self.marks = bool(_GENERATION.search(self.text))
        self._special = dict(tokenizer.special_tokens_map)
        self._ends = tuple(t for t in tokenizer.all_special_tokens if t)

    def _render(
        self, group: Sequence[Talk], prompt: bool, marks: bool
    ) -> tuple[list[str], list[Spans]]:
        from alchemist_runtime.sandbox import chat_renderer

        made: Any = chat_renderer()(
            conversations=[t.messages for t in group],
            tools=group[0].tools,
            chat_template=self.text,
            return_assistant_tokens_mask=marks,
            add_generation_prompt=prompt,
            **{**self._special, **group[0].args},
        )
        texts, spans = made
        return texts, [[(int(a), int(b)) for a, b in s] for s in spans]

    def render(
        self, group: Sequence[Talk], *, prompt: bool = False, marks: bool = False
    ) -> tuple[list[str], list[Spans]]:
        """Texts, and with `marks` the spans between the template's generation marks; RunError A810 names the row at fault."""
        if not group:
            return [], []
        plain = all(t.tools is None and not t.args for t in group)
        try:
            if plain:
                return self._render(group, prompt, marks)
        except Exception:  # the template's own errors: found again below, row by row
            pass
        texts: list[str] = []
        spans: list[Spans] = []
        for talk in group:
            try:
                one = self._render([talk], prompt, marks)
            except Exception as error:
                raise _refused(talk, error) from error
            texts += one[0]
            spans += one[1]
        return texts, spans

    def spans(self, group: Sequence[Talk], loss: Loss) -> tuple[list[str], list[Spans]]:
        """The texts of some rows, and for each the spans of characters that count."""
        if loss == "all":
            texts, _ = self.render(group)
            return texts, [[(0, len(t))] for t in texts]
        if self.marks:
            texts, spans = self.render(group, marks=True)
            return texts, [s[-1:] for s in spans] if loss == "last" else spans
        return self._by_prefix(group, loss)

    def _by_prefix(self, group: Sequence[Talk], loss: Loss) -> tuple[list[str], list[Spans]]:
        """Spans by difference: what the template writes for a turn after its prompt, proven to be a prefix of the whole."""
        texts, _ = self.render(group)
        turns: list[tuple[int, int]] = []  # (row, message)
        for number, talk in enumerate(group):
            own = [i for i, m in enumerate(talk.messages) if m["role"] == "assistant"]
            turns += [(number, i) for i in (own[-1:] if loss == "last" else own)]
        prompts, _ = self.render([group[r].upto(i) for r, i in turns], prompt=True)
        closed, _ = self.render([group[r].upto(i + 1) for r, i in turns])
        spans: list[Spans] = [[] for _ in group]
        for (r, i), before, after in zip(turns, prompts, closed, strict=True):
            text = texts[r]
            if not (text.startswith(after) and after.startswith(before)):
                raise _unstable(group[r], i)
            spans[r].append((len(before), self._end(after, len(before))))
        return texts, spans

    def _end(self, text: str, start: int) -> int:
        """White space after the token that ends the turn belongs to the template, not to the answer."""
        bare = text[start:].rstrip()
        return start + len(bare) if bare.endswith(self._ends) else len(text)


def _refused(talk: Talk, error: Exception) -> RunError:
    said = " ".join(str(error).split())[:200]
    return RunError(
        Problem(
            "A810",
            "row-refused",
            f"the chat template refuses row {talk.row}: {said}",
            note="roles of the row: " + ", ".join(m["role"] for m in talk.messages),
            help="drop such rows with a filter, or set `chat_template` to one that takes them",
        ),
        exit_code=1,
    )


def _unstable(talk: Talk, turn: int) -> RunError:
    return RunError(
        Problem(
            "A801",
            "no-template",
            f"the chat template does not show what the assistant wrote in turn {turn + 1} of row {talk.row}",
            note="it has no {% generation %} marks, and the text up to that turn is no prefix of the whole conversation",
            help="put {% generation %} and {% endgeneration %} around the reply in `chat_template`, "
            "or use `loss = last` or `loss = all`",
        ),
        exit_code=1,
    )


# --- tokens -------------------------------------------------------------------------------------------------------------------


class Encoder:
    """A tokenizer as used here: text to tokens, and character spans to token spans."""

    def __init__(self, tokenizer: Any) -> None:
        self.backend = tokenizer.backend_tokenizer
        self.backend.no_truncation()
        self.backend.no_padding()
        self._sizes = _byte_sizes(self.backend)

    def __call__(self, texts: list[str], spans: list[Spans]) -> tuple[list[Tokens], list[Spans]]:
        """Tokens of each text, and the spans as token numbers [start, stop)."""
        tokens: list[Tokens] = []
        places: list[Spans] = []
        for at in range(0, len(texts), CHUNK):
            some, where = texts[at : at + CHUNK], spans[at : at + CHUNK]
            new = self._fast(some, where) if self._sizes is not None else None
            ids, found = new or self._exact(some, where)
            tokens += ids
            places += found
        return tokens, places

    def _fast(
        self, texts: list[str], spans: list[Spans]
    ) -> tuple[list[Tokens], list[Spans]] | None:
        """Without offsets, where every token is a known number of bytes; None if they do not add up to the text."""
        assert self._sizes is not None
        ids = [
            np.array(e.ids, dtype=np.int32)
            for e in self.backend.encode_batch_fast(texts, add_special_tokens=False)
        ]
        places = []
        for text, own, some in zip(texts, ids, spans, strict=True):
            ends = np.cumsum(self._sizes[own])
            size = len(text) if text.isascii() else len(text.encode())
            if (int(ends[-1]) if len(ends) else 0) != size:
                return None
            flat = [p for pair in some for p in pair]
            if size != len(text):
                flat = [len(text[:p].encode()) for p in flat]
            starts = np.searchsorted(ends, flat[0::2], side="right").tolist()
            stops = (np.searchsorted(ends, np.array(flat[1::2]) - 1, side="right") + 1).tolist()
            pairs = zip(starts, stops, flat[0::2], flat[1::2], strict=True)
            places.append([(a, b) for a, b, first, last in pairs if last > first])
        return ids, places

    def _exact(self, texts: list[str], spans: list[Spans]) -> tuple[list[Tokens], list[Spans]]:
        """With the tokenizer's own offsets."""
        encoded = self.backend.encode_batch(texts, add_special_tokens=False)
        places = []
        for one, some in zip(encoded, spans, strict=True):
            found = []
            for start, stop in some:
                # a character may belong to no token (white space that a normaliser drops): take the next one inside
                inside = (one.char_to_token(p) for p in range(start, stop))
                first = next((t for t in inside if t is not None), None)
                backward = (one.char_to_token(p) for p in range(stop - 1, start - 1, -1))
                last = next((t for t in backward if t is not None), None)
                if first is not None and last is not None:
                    found.append((first, last + 1))
            places.append(found)
        return [np.array(e.ids, dtype=np.int32) for e in encoded], places


def _byte_sizes(backend: Any) -> np.ndarray[Any, Any] | None:
    """Bytes of each token of a byte-level vocabulary, in which a character stands for a byte; else None."""
    state = orjson.loads(backend.to_str())
    steps = state.get("pre_tokenizer") or {}
    parts = {s["type"]: s for s in steps.get("pretokenizers", [steps]) if "type" in s}
    level = parts.get("ByteLevel")
    if level is None or level.get("add_prefix_space") or state.get("normalizer"):
        return None
    vocabulary = backend.get_vocab(with_added_tokens=True)
    sizes = np.zeros(max(vocabulary.values()) + 1, dtype=np.int64)
    for token, number in vocabulary.items():
        sizes[number] = len(token)
    for number, added in backend.get_added_tokens_decoder().items():
        sizes[number] = len(added.content.encode())
    return sizes


@dataclass(frozen=True, slots=True)
class Document:
    """One row ready for training. `labels` is -100 where nothing is learnt, and always in the first place."""

    ids: Tokens
    labels: Tokens

    @property
    def learnt(self) -> int:
        return int((self.labels != MASKED).sum())

    def cut(self, length: int) -> Document:
        return Document(self.ids[:length], self.labels[:length])


def documents(
    batch: pa.RecordBatch, template: Template, encoder: Encoder, loss: Loss
) -> list[Document]:
    """Tokens and labels of every row of a batch, in its order."""
    out: list[Document] = []
    every = talks(batch)
    for at in range(0, len(every), CHUNK):
        texts, spans = template.spans(every[at : at + CHUNK], loss)
        for ids, places in zip(*encoder(texts, spans), strict=True):
            labels = np.full(len(ids), MASKED, dtype=np.int32)
            for start, stop in places:
                labels[start:stop] = ids[start:stop]
            labels[:1] = (
                MASKED  # nothing precedes it; in a pack it would be learnt from the document before
            )
            out.append(Document(ids, labels))
    return out


def bounds(sizes: Sequence[int]) -> list[int]:
    """Where each of some consecutive pieces starts, and where the last one ends."""
    return [0, *accumulate(sizes)]
