"""Conversations to tokens and labels: messages to text by the chat template, text to tokens with a mask of what counts.
Which characters the model learns is read off the template; tokens follow from the characters.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date as Date
from datetime import datetime, time
from functools import partial
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa

from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.rows import CONTENT, text_of
from alchemist_runtime.train.base_model import layout
from alchemist_runtime.train.conversations import (
    Talk,
    changed,
    every_text,
    forms,
    left_out,
    messages,
    odd,
    only_text,
    said,
    shows_python,
    talks,
    weights,
)

__all__ = ["Document", "Encoder", "Template", "documents", "messages", "talks"]

Loss = Literal["assistant", "last", "all"]
Special = Literal["error", "keep", "split"]
Tokens = np.ndarray[Any, np.dtype[np.int32]]
Spans = list[tuple[int, int]]

#: A larger batch is slower in the tokenizer and needs more memory.
CHUNK = 1_000
MASKED = -100
#: Before a control token that the template wrote, and inside one that the row's own text holds, while both are told
#: apart.
MARK, HIDE = "\U000f0000", "\U000f0001"

_GENERATION = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")


# --- text and spans ---------------------------------------------------------------------------------------------------


def control_tokens(tokenizer: Any) -> tuple[str, ...]:
    """The texts that a tokenizer reads as control tokens, the longest first."""
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
    found = {t.content for t in added if t.special} | set(tokenizer.all_special_tokens)
    return tuple(sorted((t for t in found if t.strip()), key=lambda t: (-len(t), t)))


class Template:
    """The chat template of a tokenizer: renders conversations and says which characters the assistant wrote.

    `date`: the day that the template writes where it asks for it.
    """

    def __init__(self, tokenizer: Any, date: Date | None = None) -> None:
        self.text: str = tokenizer.get_chat_template()
        self.marks = bool(_GENERATION.search(self.text))
        self.layout = None if self.marks else layout(self.text)
        self.dated = "strftime_now" in self.text
        self.date = date or Date.today()
        self.control = control_tokens(tokenizer)
        self._special = dict(tokenizer.special_tokens_map)
        self._pattern = re.compile("|".join(map(re.escape, self.control))) if self.control else None
        self.stop, self._parts, self.adds_stop = self._probed()

    def _probed(self) -> tuple[str | None, bool, bool]:
        """The token that follows a reply, whether the template takes a content only as a list of parts, and whether its
        marks stop before that token."""
        said = "A3f9Q"  # stands in no template
        for content in (said, [{"type": "text", "text": said}]):
            requested = said.lower() if content is said else [{"type": "text", "text": said.lower()}]
            talk = Talk([{"role": "user", CONTENT: requested}, {"role": "assistant", CONTENT: content}], None, {}, "")
            try:
                (text,), spans = self._render([talk], False, self.marks)
            except Exception:  # a template that wants more than two turns says nothing here
                continue
            if said not in text or f"'{said}'" in text:
                continue
            at = text.rindex(said) + len(said)
            stop = next((t for t in self.control if text[at:].lstrip().startswith(t)), None)
            cut = stop is not None and any(stop not in text[at:b] for s in spans for _, b in s[-1:])
            return stop, content is not said, cut
        return None, False, False

    def _render(self, group: Sequence[Talk], prompt: bool, marks: bool) -> tuple[list[str], list[Spans]]:
        from alchemist_runtime.schema.template_sandbox import chat_renderer

        render = chat_renderer()
        if self.dated:  # transformers keeps a compiled template, and with it what it asks for the day
            from transformers.utils.chat_template_utils import _compile_jinja_template

            day = datetime.combine(self.date, time())
            _compile_jinja_template(self.text).globals["strftime_now"] = day.strftime
        result: Any = render(
            conversations=[t.messages for t in group],
            tools=group[0].tools,
            chat_template=self.text,
            return_assistant_tokens_mask=marks,
            add_generation_prompt=prompt,
            **{**self._special, **group[0].args},
        )
        texts, spans = result
        return texts, [[(int(a), int(b)) for a, b in s] for s in spans]

    def render(
        self, group: Sequence[Talk], *, prompt: bool = False, marks: bool = False
    ) -> tuple[list[str], list[Spans]]:
        """Texts, and with `marks` the spans between the template's generation marks; RunError A810 names the row at
        fault.
        """
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

    def fit(self, talk: Talk) -> Talk:
        """The row in the form that this template takes: parts as text, null contents and tool arguments as it expects
        them.
        """
        if self._parts:
            talk = replace(talk, messages=[_as_parts(m) for m in talk.messages])
        if not odd(talk):
            return talk
        if not self._parts:
            talk = replace(talk, messages=[_as_text(m) for m in talk.messages])
        usual: Talk | None = None
        for form in forms(talk):
            try:
                (text,), _ = self._render([form], False, False)
            except (
                Exception
            ):  # the template expects another form, or refuses the row, which is told where it is rendered
                continue
            usual = usual or form
            if not self._prints_python(form, text):
                return form
        return usual or next(iter(forms(talk)))

    def _prints_python(self, talk: Talk, text: str) -> bool:
        """Whether a rendering shows how Python writes a value: `None`, or a dictionary with its quotes."""
        if any(m[CONTENT] is None for m in talk.messages):
            blank = [m if m[CONTENT] is not None else {**m, CONTENT: ""} for m in talk.messages]
            try:
                (other,), _ = self._render([replace(talk, messages=blank)], False, False)
            except Exception:  # only null is taken
                other = text
            if text.count("None") > other.count("None"):
                return True
        return shows_python(talk, text)

    def spans(self, group: Sequence[Talk], loss: Loss) -> tuple[list[str], list[Spans]]:
        """The texts of some rows, and for each the spans of characters that count. Replies of weight 0 count in
        none.
        """
        if loss == "all":
            texts, _ = self.render(group)
            spans: list[Spans] = [[(0, len(t))] for t in texts]
            weighed = [n for n, t in enumerate(group) if 0 in weights(t)]
            _, replies = self._replies([group[n] for n in weighed], loss)
            for n, own in zip(weighed, replies, strict=True):
                spans[n] = _between(_of_weight(group[n], own, 0), len(texts[n]))
            return texts, spans
        texts, spans = self._replies(group, loss)
        if loss == "last":
            return texts, [[] if weights(t)[-1:] == [0] else s[-1:] for t, s in zip(group, spans, strict=True)]
        return texts, [_of_weight(t, s, 1) for t, s in zip(group, spans, strict=True)]

    def _replies(self, group: Sequence[Talk], loss: Loss) -> tuple[list[str], list[Spans]]:
        """What the assistant wrote, each reply with the token that ends its turn where the mark stops before it."""
        if not self.marks:
            return self._by_prefix(group, loss)
        texts, spans = self.render(group, marks=True)
        return texts, [[(a, self._stopped(x, a, b)) for a, b in s] for x, s in zip(texts, spans, strict=True)]

    def _stopped(self, text: str, start: int, stop: int) -> int:
        if self.stop is None or text[start:stop].rstrip().endswith(self.control):
            return stop
        behind = len(text) - len(text[stop:].lstrip())
        return behind + len(self.stop) if text.startswith(self.stop, behind) else stop

    def holds_control(self, talk: Talk) -> bool:
        """Whether a row's own text holds a control token, which the tokenizer reads as one."""
        found = self._pattern
        return found is not None and any(found.search(x) for x in every_text(talk.messages))

    def hidden(self, talk: Talk) -> Talk:
        """The row with the control tokens of its own text broken up, for `Encoder.literal`."""
        pattern = self._pattern
        assert pattern is not None
        if any(HIDE in x or MARK in x for x in every_text(talk.messages)):
            raise _inseparable(f"row {talk.row} holds characters of a private use area")
        broken = partial(pattern.sub, lambda m: m[0][0] + HIDE + m[0][1:])
        return replace(talk, messages=changed(talk.messages, broken))

    def notes(self, talk: Talk, text: str, spans: Spans, control: bool) -> frozenset[str]:
        """What a person should know of a row, by the names of `RENDERING_NOTES`."""
        found = left_out(talk, text)
        if control:
            found.add("special")
        if any(w not in (0, 1) for w in weights(talk)):
            found.add("weight")
        if spans and not all(text[a:b].rstrip().endswith(self.control) for a, b in spans[-1:]):
            found.add("stop")
        elif spans and self.adds_stop:
            found.add("stop_added")
        return frozenset(found)

    def _by_prefix(self, group: Sequence[Talk], loss: Loss) -> tuple[list[str], list[Spans]]:
        """Spans without marks: where the layout of a known family has replies, else by difference: what the template
        writes for a turn after its prompt, proven to be a prefix of the whole."""
        texts, _ = self.render(group)
        known = [self._by_layout(talk, text) for talk, text in zip(group, texts, strict=True)]
        spans: list[Spans] = [found or [] for found in known]
        turns: list[tuple[int, int]] = []  # (row, message)
        for number, talk in enumerate(group):
            if known[number] is None:
                own = talk.replies
                turns += [(number, i) for i in (own[-1:] if loss == "last" else own)]
        prompts, _ = self.render([group[r].upto(i) for r, i in turns], prompt=True)
        closed, _ = self.render([group[r].upto(i + 1) for r, i in turns])
        for (r, i), before, after in zip(turns, prompts, closed, strict=True):
            text = texts[r]
            if loss == "all" and not after.startswith(before):  # a whole turn, with what opens it
                (before,), _ = self.render([group[r].upto(i)])
            if not (text.startswith(after) and after.startswith(before)):
                raise _unstable(group[r], i, loss)
            spans[r].append((len(before), self._end(after, len(before))))
        return texts, spans

    def _by_layout(self, talk: Talk, text: str) -> Spans | None:
        """The replies of a row by the layout of the template's family. None unless there is one for each turn, with
        what the turn says, and no control token comes from the row itself."""
        if self.layout is None or self.holds_control(talk):
            return None
        found = self.layout.replies(text)
        turns = [talk.messages[i] for i in talk.replies]
        if found is None or len(found) != len(turns):
            return None
        if not all(said(m) in text[a:b] for m, (a, b) in zip(turns, found, strict=True)):
            return None
        out = []
        for i, (start, stop) in zip(talk.replies, found, strict=True):
            (requested,), _ = self.render([talk.upto(i)], prompt=True)
            opened = requested.rpartition(self.layout.open)[2]  # what the prompt begins of a reply
            out.append((start + len(opened) * text.startswith(opened, start), stop))
        return out

    def _end(self, text: str, start: int) -> int:
        """White space after the token that ends the turn belongs to the template, not to the answer."""
        bare = text[start:].rstrip()
        return start + len(bare) if bare.endswith(self.control) else len(text)


def _of_weight(talk: Talk, replies: Spans, wanted: int) -> Spans:
    """The spans of the replies of weight 0, or of all others."""
    provided = [w != 0 for w in weights(talk)]
    if all(provided):
        return replies if wanted else []
    if len(replies) != len(provided):
        raise _unclear(talk, len(replies))
    return [s for s, learnt in zip(replies, provided, strict=True) if learnt is bool(wanted)]


def _between(gaps: Spans, size: int) -> Spans:
    edges = [0, *(p for gap in gaps for p in gap), size]
    return [(a, b) for a, b in zip(edges[0::2], edges[1::2], strict=True) if b > a]


def _as_text(m: dict[str, Any]) -> dict[str, Any]:
    return {**m, CONTENT: text_of(m[CONTENT])} if only_text(m[CONTENT]) else m


def _as_parts(m: dict[str, Any]) -> dict[str, Any]:
    text = m[CONTENT]
    return {**m, CONTENT: [{"type": "text", "text": text}]} if isinstance(text, str) else m


def _refused(talk: Talk, error: Exception) -> RunError:
    said = " ".join(str(error).split())[:200]
    return RunError(
        Problem(
            "A810",
            f"the chat template refuses row {talk.row}: {said}",
            note="roles of the row: " + ", ".join(m["role"] for m in talk.messages),
            help="drop such rows with a filter, or set `chat_template` to one that takes them",
        ),
        exit_code=1,
    )


def _unstable(talk: Talk, turn: int, loss: Loss) -> RunError:
    other = {"assistant": "use `loss = last` or `loss = all`", "last": "use `loss = all`"}.get(
        loss, "leave out rows with turns of weight 0"
    )
    return RunError(
        Problem(
            "A801",
            f"the chat template does not show what the assistant wrote in turn {turn + 1} of row {talk.row}",
            note=(
                "it has no {% generation %} marks, and the text up to that turn is no prefix of the whole conversation"
            ),
            help=(
                f"put {{% generation %}} and {{% endgeneration %}} around the reply in `chat_template`, or {other};"
                " `chat_template = training(…)` has such templates for some families"
            ),
        ),
        exit_code=1,
    )


def _unclear(talk: Talk, found: int) -> RunError:
    return RunError(
        Problem(
            "A801",
            f"the chat template marks {found} replies of row {talk.row}, which has {len(talk.replies)}",
            note="some of them have weight 0, and which of the marks are theirs cannot be told",
            help="put {% generation %} and {% endgeneration %} around each reply in `chat_template`",
        ),
        exit_code=1,
    )


# --- tokens -----------------------------------------------------------------------------------------------------------


class Encoder:
    """A tokenizer as used here: text to tokens, and character spans to token spans."""

    def __init__(self, tokenizer: Any) -> None:
        self.backend = tokenizer.backend_tokenizer
        self.backend.no_truncation()
        self.backend.no_padding()
        self._sizes = _byte_sizes(self.backend)
        self._control = control_tokens(tokenizer)
        self._apart: Any = None

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

    def _fast(self, texts: list[str], spans: list[Spans]) -> tuple[list[Tokens], list[Spans]] | None:
        """Without offsets, where every token is a known number of bytes; None if they do not add up to the text."""
        assert self._sizes is not None
        ids = [np.array(e.ids, dtype=np.int32) for e in self.backend.encode_batch_fast(texts, add_special_tokens=False)]
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

    def _exact(self, texts: list[str], spans: list[Spans], backend: Any = None) -> tuple[list[Tokens], list[Spans]]:
        """With the tokenizer's own offsets: a span has all tokens that come from one of its characters."""
        encoded = (backend or self.backend).encode_batch(texts, add_special_tokens=False)
        places = []
        for one, some in zip(encoded, spans, strict=True):
            begin, end = np.array(one.offsets, dtype=np.int64).reshape(-1, 2).T
            found = []
            for start, stop in some:
                # white space that a normaliser drops belongs to no token, and a token from no character lies between
                # others
                inside = np.flatnonzero((begin < stop) & (end > start) & (end > begin))
                if len(inside):
                    found.append((int(inside[0]), int(inside[-1]) + 1))
            places.append(found)
        return [np.array(e.ids, dtype=np.int32) for e in encoded], places

    def literal(self, text: str, spans: Spans) -> tuple[Tokens, Spans]:
        """Tokens of a text in which `HIDE` breaks up the control tokens that are meant as text."""
        if self._apart is None:
            self._apart = _renamed(self.backend, self._control)
        written = [m.start() for m in re.finditer("|".join(map(re.escape, self._control)), text)]
        broken = [m.start() for m in re.finditer(HIDE, text)]

        def moved(place: int) -> int:
            return place + bisect_left(written, place) - bisect_left(broken, place)

        pieces = [text[a:b] for a, b in zip([0, *written], [*written, len(text)], strict=True)]
        marked = MARK.join(pieces).replace(HIDE, "")
        ids, places = self._exact([marked], [[(moved(a), moved(b)) for a, b in spans]], self._apart)
        return ids[0], places[0]


def _renamed(backend: Any, control: Sequence[str]) -> Any:
    """A tokenizer that knows its control tokens under other names, with the same numbers: the texts themselves are
    ordinary.
    """
    from tokenizers import Tokenizer

    names = {t: MARK + t for t in control}
    state = orjson.loads(backend.to_str())
    state["post_processor"] = None
    for added in state["added_tokens"]:
        added["content"] = names.get(added["content"], added["content"])
    model = state["model"]
    if isinstance(model.get("vocab"), dict):
        model["vocab"] = {names.get(t, t): n for t, n in model["vocab"].items()}
    elif isinstance(model.get("vocab"), list):
        model["vocab"] = [[names.get(t, t), *rest] for t, *rest in model["vocab"]]
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    result = Tokenizer.from_str(orjson.dumps(state).decode())
    for token, name in names.items():
        known, own = (b.encode(f"a{x}b", add_special_tokens=False).ids for b, x in ((backend, token), (result, name)))
        number = backend.token_to_id(token)
        if known != own or number in result.encode(f"a{token}b", add_special_tokens=False).ids:
            raise _inseparable(f"this tokenizer reads `{token}` in one way only")
    return result


def _inseparable(why: str) -> RunError:
    return RunError(
        Problem(
            "A816",
            "control tokens in the text of rows cannot be taken apart from those of the template",
            note=why,
            help='drop such rows with a filter, or write `special_tokens_in_text = "keep"`',
        ),
        exit_code=1,
    )


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
    """One row ready for training. `labels` is -100 where nothing is learnt, and always in the first place. `notes`:
    what a person should know of the row, by the names of `RENDERING_NOTES`."""

    ids: Tokens
    labels: Tokens
    notes: frozenset[str] = frozenset()

    @property
    def learnt(self) -> int:
        return int((self.labels != MASKED).sum())

    def cut(self, length: int) -> Document:
        return Document(self.ids[:length], self.labels[:length], self.notes)


def documents(
    batch: pa.RecordBatch, template: Template, encoder: Encoder, loss: Loss, special: Special = "keep"
) -> list[Document]:
    """Tokens and labels of every row of a batch, in its order. `special = "split"` reads control tokens in a row's own
    text as ordinary text; RunError A816 where the tokenizer cannot."""
    out: list[Document] = []
    every = talks(batch)
    for at in range(0, len(every), CHUNK):
        group = [template.fit(t) for t in every[at : at + CHUNK]]
        held = [template.holds_control(t) for t in group]
        if special == "split":
            group = [template.hidden(t) if h else t for t, h in zip(group, held, strict=True)]
        texts, spans = template.spans(group, loss)
        reported = [
            template.notes(talk, text, own, h) for talk, text, own, h in zip(group, texts, spans, held, strict=True)
        ]
        coded = _encoded(encoder, texts, spans, held if special == "split" else None)
        for (ids, places), say in zip(coded, reported, strict=True):
            labels = np.full(len(ids), MASKED, dtype=np.int32)
            for start, stop in places:
                labels[start:stop] = ids[start:stop]
            # nothing precedes it; in a pack it would be learnt from the document before
            labels[:1] = MASKED
            out.append(Document(ids, labels, say))
    return out


def _encoded(
    encoder: Encoder, texts: list[str], spans: list[Spans], apart: list[bool] | None
) -> Iterable[tuple[Tokens, Spans]]:
    if apart is None or not any(apart):
        return zip(*encoder(texts, spans), strict=True)
    return [
        encoder.literal(t, s) if a else next(zip(*encoder([t], [s]), strict=True))
        for t, s, a in zip(texts, spans, apart, strict=True)
    ]


def bounds(sizes: Sequence[int]) -> list[int]:
    """Where each of some consecutive pieces starts, and where the last one ends."""
    return [0, *accumulate(sizes)]
