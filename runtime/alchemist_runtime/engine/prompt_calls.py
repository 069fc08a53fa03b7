"""From rows to judged answers: prompts rendered over a batch, a teacher asked, answers read and sieved by the step's
rules.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from alchemist_runtime.calls import answers, completion
from alchemist_runtime.calls.cache import CallCache
from alchemist_runtime.calls.cache_files import Recorded
from alchemist_runtime.calls.completion import PASSING
from alchemist_runtime.calls.dispatch import CallBatch, ClientPool, Outcome
from alchemist_runtime.calls.teacher import UNREAD, Reply, Request, call_key, whole
from alchemist_runtime.engine.context import Context, edges
from alchemist_runtime.engine.filter_map import candidates, in_draw_order, judge, reason, sieves
from alchemist_runtime.engine.row_functions import cast_null, python_values
from alchemist_runtime.engine.select import draw_order
from alchemist_runtime.engine.streams import Stream, arrow_type
from alchemist_runtime.engine.turns import columns_for, render, with_messages
from alchemist_runtime.schema.catalog import origin
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.expressions import columns_read, walk
from alchemist_runtime.schema.plan import Node, Plan, Prompt, Teacher, TeacherStepSpec
from alchemist_runtime.schema.rows import nullable
from alchemist_runtime.schema.sealed import as_json
from alchemist_runtime.storage.store import Store

#: Rules of our own, beside those of the step.
UNREADABLE, CALL_FAILED, TOO_LONG, NO_INPUT = "unreadable", "call_failed", "too_long", "no_input"
#: The field of every answer that says what the model thought before it.
REASONING = "reasoning"
#: Draw number of the n-th further draw: n * 1000 + sample (`samples` is at most 1000).
FURTHER = 1_000
#: How often `on_long = truncate` halves the longest input of a row.
HALVINGS = 6

Message = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Draw:
    """One answer that a row of the batch gets, and what became of it: accepted if `rule` is None."""

    row: int
    sample: int
    attempt: int = 0
    halvings: int = 0
    out: Mapping[str, Any] | None = None
    rule: str | None = None
    reason: str | None = None
    said: tuple[str, ...] = ()  # answers that do not fit and what is wrong with them, in turn
    passing: bool = False  # whether the call failed for a reason that may have passed by the next run


@dataclass
class Asking:
    """One teacher step's way of asking."""

    ctx: Context
    node: Node
    spec: TeacherStepSpec
    pool: ClientPool
    call_batch: CallBatch
    #: answers that a rule refused and that were drawn again
    redrawn: Counter[str] = field(default_factory=Counter)
    repairs: int = 0  # answers that were sent back because they do not fit
    _shots: list[Message] | None = None
    _reasoned: bool | None = None

    @property
    def prompt(self) -> Prompt:
        return self.ctx.plan.prompts[self.spec.prompt]

    @property
    def teacher(self) -> Teacher:
        return self.call_batch.teacher_client.spec

    def types(self, stream: Mapping[str, str]) -> dict[str, str]:
        """Column types with those of the answer's fields."""
        return {**stream, **{f"out.{n}": t for n, t in self._fields().items()}}

    def _fields(self) -> dict[str, str]:
        """Fields of an answer with their types: those of the prompt, and the reasoning where the step reads it."""
        if self._reasoned is None:
            exprs = [*(s.expr for s in self.spec.sets), *(r.expr for r in sieves(self.spec.rules))]
            self._reasoned = any(part == ["out", REASONING] for part in walk(exprs))
        fields = dict(self.prompt.outputs)
        return fields if not self._reasoned else {REASONING: "text?", **fields}

    def batch(self, batch: pa.RecordBatch, types: Mapping[str, str]) -> list[Draw]:
        """Every answer of every row of a batch, by row and sample."""
        inputs = self._inputs(batch, types)
        done: list[Draw] = []
        todo = []
        begun = self._begun(inputs)
        for row in range(batch.num_rows):
            lacking = self._lacking(inputs, row)
            if lacking is None and begun is not None and not begun[row].strip():
                lacking = "prefill"
            for sample in range(self.spec.samples):
                draw = Draw(row, sample)
                if lacking is None:
                    todo.append(draw)
                else:
                    empty = "empty" if lacking == "prefill" else "null"
                    done.append(replace(draw, rule=NO_INPUT, reason=f"`{lacking}` is {empty}"))
        while todo:
            todo, ready = self._round(batch, types, inputs, todo)
            done += ready
        return sorted(done, key=lambda d: (d.row, d.sample))

    # --- asking -------------------------------------------------------------------------------------------------------

    def _inputs(self, batch: pa.RecordBatch, types: Mapping[str, str]) -> list[dict[str, Any]]:
        """The prompt's inputs of every row, as Python values."""
        scope = self.ctx.scope(batch, types)
        columns = []
        for name, type_ in self.prompt.inputs.items():
            value = cast_null(scope(self.spec.inputs[name]), arrow_type(type_))
            assert isinstance(value, pa.Array)
            columns.append(python_values(value, type_))
        names = list(self.prompt.inputs)
        if not names:
            return [{} for _ in range(batch.num_rows)]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def _lacking(self, inputs: Sequence[Mapping[str, Any]], row: int) -> str | None:
        """An input that may not be null and is."""
        declared = self.prompt.inputs
        values = inputs[row]
        return next((n for n, t in declared.items() if values[n] is None and not nullable(t)), None)

    def _begun(self, inputs: Sequence[Mapping[str, Any]]) -> list[str] | None:
        """The words that the user's turn begins with, where the model writes it: from nothing it cannot go on."""
        return None if self.prompt.turn is None else self._rendered(self.prompt.prefill, inputs)

    def _round(
        self, batch: pa.RecordBatch, types: Mapping[str, str], inputs: Sequence[Mapping[str, Any]], todo: Sequence[Draw]
    ) -> tuple[list[Draw], list[Draw]]:
        """Ask for these draws; what must be drawn again, and what is ready."""
        requests = self._requests([(d, self._cut(inputs[d.row], d.halvings)) for d in todo])
        outcomes = self.pool.ask(self.call_batch, requests)
        read = [self._read(d, r, o) for d, r, o in zip(todo, requests, outcomes, strict=True)]
        judged = self._judge(batch, types, read)
        again, ready = [], []
        for draw in judged:
            further = self._further(draw)
            if further is None:
                ready.append(draw)
            else:
                again.append(further)
        return again, ready

    def _further(self, draw: Draw) -> Draw | None:
        """The draw to make after this one, None where it stands."""
        if draw.rule is None or draw.rule in (CALL_FAILED, NO_INPUT):
            return None
        fresh = Draw(draw.row, draw.sample, draw.attempt, draw.halvings)
        if draw.rule == UNREADABLE and 0 < len(draw.said) <= 2 * self.spec.repair:
            self.repairs += 1
            return replace(fresh, said=draw.said)
        if draw.rule == TOO_LONG:
            cut = self.spec.on_long == "truncate" and draw.halvings < HALVINGS
            return replace(fresh, halvings=draw.halvings + 1) if cut else None
        if draw.attempt < self.spec.retries_on_reject:
            self.redrawn[draw.rule] += 1
            return replace(fresh, attempt=draw.attempt + 1)
        return None

    def _requests(self, requested: Sequence[tuple[Draw, Mapping[str, Any]]]) -> list[Request]:
        turns = self._turns([values for _, values in requested])
        prompt, teacher = self.prompt, self.teacher
        out = []
        fields, rules = prompt.outputs, prompt.rules
        for (draw, values), (messages, continues) in zip(requested, turns, strict=True):
            number = draw.attempt * FURTHER + draw.sample
            if draw.said and continues:  # the answer that is sent back holds how it began
                messages, continues = messages[:-1], False
            messages = (*messages, *_sent_back(draw.said))
            last = len(draw.said) == 2 * self.spec.repair
            key = call_key(teacher, messages, fields, number, inputs=values, rules=rules, continues=continues)
            out.append(Request(key, messages, values, fields, rules, number, last, continues))
        return out

    def _turns(self, rows: Sequence[Mapping[str, Any]]) -> list[tuple[tuple[Message, ...], bool]]:
        """The rendered turns: system, examples, the question, and how the model's turn begins; whether it goes on with
        the last.
        """
        system = self._rendered(self.prompt.system, rows)
        user = self._rendered(self.prompt.user, rows)
        begun = self._rendered(self.prompt.prefill, rows)
        shots = self.shots()
        out = []
        for i in range(len(rows)):
            turns: list[Message] = []
            if system is not None:
                turns.append({"role": "system", "content": system[i]})
            turns += shots
            if user is not None:
                turns.append({"role": "user", "content": user[i]})
            words = "" if begun is None else begun[i]
            continues = self.prompt.turn is not None or bool(words.strip())
            if continues:
                turns.append({"role": self.prompt.turn or "assistant", "content": words})
            out.append((tuple(turns), continues))
        return out

    def _rendered(self, digest: str | None, rows: Sequence[Mapping[str, Any]]) -> list[str] | None:
        if digest is None:
            return None
        columns = {n: [r[n] for r in rows] for n in self.prompt.inputs}
        return render(self.ctx.texts[digest], columns, len(rows), node=self.node.id)

    def _cut(self, values: Mapping[str, Any], halvings: int) -> Mapping[str, Any]:
        """The inputs with the longest text halved so many times."""
        cut = dict(values)
        for _ in range(halvings):
            texts = [n for n, v in cut.items() if isinstance(v, str)]
            if texts:
                longest = max(texts, key=lambda n: len(cut[n]))
                cut[longest] = cut[longest][: len(cut[longest]) // 2]
        return cut

    def shots(self) -> list[Message]:
        """The examples as turns, drawn by hash from the prompt's streams."""
        if self._shots is None:
            self._shots = []
            numbers = edges(self.node, "examples")
            if numbers and self.prompt.shots:
                stream = self.ctx.inputs(self.node, "examples")
                order = draw_order(stream.ids(), self.ctx.plan.seed, f"shots {self.prompt.name}")
                if stream.n:  # examples that are declared missing have neither rows nor columns
                    self._shots = self._examples(stream.select(order[: self.prompt.shots]))
        return self._shots

    def _examples(self, stream: Stream) -> list[Message]:
        fields = {**self.prompt.inputs, **self.prompt.outputs}
        table = stream.table(columns_for(stream, list(fields)))
        columns = {n: python_values(table.column(n).combine_chunks(), fields[n]) for n in fields}
        rows = [dict(zip(columns, r, strict=True)) for r in zip(*columns.values(), strict=True)]
        requested = self._rendered(self.prompt.user, rows) or []
        out: list[Message] = []
        for row, question in zip(rows, requested, strict=True):
            answer = {n: row[n] for n in self.prompt.outputs}
            plain = answers.is_plain(self.prompt.outputs)
            text = str(next(iter(answer.values()))) if plain else as_json(answer)
            out += [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
        return out

    # --- reading and judging ------------------------------------------------------------------------------------------

    def _read(self, draw: Draw, request: Request, outcome: Outcome) -> Draw:
        reply = outcome.reply
        if reply is None or outcome.failure is not None:
            if outcome.kind == "too_long":
                return self._too_long(draw, outcome)
            passing = outcome.kind in PASSING
            return replace(draw, rule=CALL_FAILED, reason=outcome.failure, passing=passing)
        try:
            reply = found(reply, request)
            out = answers.read(
                reply.text,
                self.prompt.outputs,
                reply.finish_reason,
                bare=self.spec.kind == "relabel",  # a line that goes before the instruction
            )
        except answers.Unreadable as e:
            said = "" if reply.finish_reason == UNREAD else reply.text  # a body is shown already
            refused = replace(draw, rule=UNREADABLE, reason=answers.with_answer(str(e), said))
            fits = said and reply.ending == "whole" and answers.is_structured(self.prompt.outputs)
            return replace(refused, said=(*draw.said, said, str(e)) if fits else ())
        if REASONING in self._fields():
            out = {REASONING: reply.reasoning or answers.thought(reply.text)[0], **out}
        return replace(draw, out=out)

    def _too_long(self, draw: Draw, outcome: Outcome) -> Draw:
        if self.spec.on_long == "error":
            raise RunError(
                Problem(
                    "A704",
                    f"a row of `{self.node.id}` does not fit the context of `{self.teacher.name}`",
                    node=self.node.id,
                    note=outcome.failure,
                    help='filter long rows before, or set `on_long = "drop"` or `on_long = truncate`',
                )
            )
        return replace(draw, rule=TOO_LONG, reason=outcome.failure)

    def _judge(self, batch: pa.RecordBatch, types: Mapping[str, str], draws: list[Draw]) -> list[Draw]:
        rules = sieves(self.spec.rules)
        read = [i for i, d in enumerate(draws) if d.rule is None]
        if not rules or not read:
            return draws
        chosen = [draws[i] for i in read]
        scope = self.ctx.scope(taken(batch, [d.row for d in chosen]), self.types(types), self.outs(chosen))
        for i, number in zip(read, judge(scope, rules).tolist(), strict=True):
            if number:
                rule = rules[number - 1]
                draws[i] = replace(draws[i], rule=rule.name, reason=reason(rule))
        return draws

    def outs(self, draws: Sequence[Draw]) -> pa.StructArray:
        """The answers of draws that have one, with what expressions may read."""
        return self._struct(draws, self._fields())

    def answers(self, draws: Sequence[Draw]) -> pa.StructArray:
        """The answers of draws that have one, with the fields of the prompt."""
        return self._struct(draws, self.prompt.outputs)

    def _struct(self, draws: Sequence[Draw], fields: Mapping[str, str]) -> pa.StructArray:
        return pa.array([d.out for d in draws], pa.struct([(n, arrow_type(t)) for n, t in fields.items()]))


def _sent_back(said: Sequence[str]) -> list[Message]:
    """The turns that show a model its answers and say what is wrong with each."""
    turns: list[Message] = []
    for answer, why in zip(said[::2], said[1::2], strict=True):
        turns.append({"role": "assistant", "content": answer})
        content = f"That answer cannot be used: {why}. Answer again, whole and as asked."
        turns.append({"role": "user", "content": content})
    return turns


def enough(lacking: int, drawn: int, accepted: int, at_once: int | None) -> int:
    """How many answers to draw for so many that are lacking, by the share that was accepted of those drawn so far.

    At first as many as are needed at least; never many more than were drawn so far, since a share of few says little.
    Then fewer than are likely to do by one standard deviation, but no less than half: an answer too many costs money, a
    further lot a moment. Where questions are sent in lots (`at_once`) that take hours, so many that they do in 19 of 20
    cases (normal approximation of the binomial)."""
    if not drawn:
        return lacking
    share = max(accepted, 1) / drawn
    likely, deviation = lacking / share, math.sqrt(lacking * (1 - share)) / share
    if at_once is not None:
        wanted = likely + 1.645 * deviation
    else:
        wanted = max(likely - deviation, likely / 2, lacking)
    return max(1, math.ceil(min(wanted, max(lacking, drawn))))


def why_unusable(reply: Reply, outputs: Mapping[str, str]) -> str | None:
    """Why an answer is no data, None where it is."""
    try:
        reply = found(reply)
        answers.read(reply.text, outputs, reply.finish_reason)
    except answers.Unreadable as e:
        return str(e)
    return None


def found(reply: Reply, request: Request | None = None) -> Reply:
    """A reply whose text is the body of a response, read again: a better reader may find the answer. Unreadable where
    there is none.
    """
    if reply.finish_reason != UNREAD:
        return reply
    try:
        result = completion.read(reply.text.encode())
    except completion.NoAnswer as none:
        raise answers.Unreadable(none.reason) from none
    text = result.text if request is None else whole(request, result.text, result.reasoning)
    return replace(reply, text=text, finish_reason=result.finish, reasoning=result.reasoning)


def taken(batch: pa.RecordBatch, rows: Sequence[int]) -> pa.RecordBatch:
    """The rows of a batch at these positions."""
    return batch.take(pa.array(np.asarray(rows, np.int64)))


# --- preview calls ---------------------------------------------------------------------------------------------------

#: Rows rendered at a time.
ROWS = 4_096


@dataclass(frozen=True, slots=True)
class Ahead:
    """`new`: questions without an answer in the cache; `most` of them with the further draws that refusals may lead to,
    `least` where a step before may have asked them; `rows`: what would leave the step, known where every answer is
    there; tokens of the answers in the cache."""

    new: int
    cached: int
    least: int
    most: int
    rows: int | None
    tokens_in: int = 0
    tokens_out: int = 0


def ahead(plan: Plan, project: Path, state: Path, nodes: Sequence[Node]) -> dict[str, Ahead]:
    """What these steps would ask one after the other, in the order of the plan, for those whose inputs are in the
    store.

    A question that a step before asks too is answered when the later one comes to it."""
    out: dict[str, Ahead] = {}
    requested: set[bytes] = set()
    unseen: set[tuple[str, str]] = set()  # teacher and prompt of steps whose questions are not known
    with _opened(plan, project, state) as (ctx, cache):
        for node in nodes:
            if not isinstance(node.spec, TeacherStepSpec):
                continue
            kind = _kind_of_question(plan, node.spec)
            if not _ready(ctx, node):
                unseen.add(kind)
                continue
            found = _look(ctx, node, node.spec, _Lookup(cache, seen=requested))
            out[node.id] = replace(found, least=0) if kind in unseen else found
            if found.most > found.new:
                unseen.add(kind)  # further draws are other questions, which a later step may put too
            ctx.step_over()
    return out


def needed(plan: Plan, project: Path, state: Path) -> tuple[dict[str, set[bytes]], list[str]]:
    """By step, the keys of the answers that it takes from the cache or would ask for; and the steps of which nobody can
    say, since what they read is not in the store."""
    keys: dict[str, set[bytes]] = {}
    unseen: list[str] = []
    with _opened(plan, project, state) as (ctx, cache):
        for node, spec in plan.of(TeacherStepSpec):
            lookup = _Lookup(cache, every=set())
            try:
                if not _ready(ctx, node):
                    unseen.append(node.id)
                    continue
                _look(ctx, node, spec, lookup)
            except RunError:  # what it reads is damaged, or its questions cannot be put
                unseen.append(node.id)
                continue
            keys[node.id] = lookup.every or set()
            ctx.step_over()
    return keys, unseen


@contextmanager
def _opened(plan: Plan, project: Path, state: Path) -> Iterator[tuple[Context, CallCache | None]]:
    path = state / "calls.sqlite"
    cache = CallCache(path, read_only=True) if path.exists() else None
    ctx = Context(plan, project, state, Store(state))
    try:
        yield ctx, cache
    finally:
        if cache is not None:
            cache.close()
        session = ctx.services.pop("session", None)
        if session is not None:
            session.close()


def _kind_of_question(plan: Plan, spec: TeacherStepSpec) -> tuple[str, str]:
    """Steps may put equal questions where the teacher and the prompt are the same."""
    return plan.teachers[spec.teacher].identity_key, plan.prompts[spec.prompt].key


def _ready(ctx: Context, node: Node) -> bool:
    """Whether all that the questions are made of is there."""
    needed = {e.node for e in node.inputs if e.role in ("from", "examples")}
    return all(ctx.store.manifest(ctx.node(n).key) is not None for n in needed)


@dataclass
class _TeacherClient:
    spec: Teacher


@dataclass
class _CallBatch:
    """Stands where a teacher would be asked."""

    teacher_client: _TeacherClient


@dataclass
class _Lookup:
    """Answers from the cache alone, and counts. An equal question is asked once; the others take its answer."""

    cache: CallCache | None
    new: int = 0
    cached: int = 0
    seen: set[bytes] = field(default_factory=set)
    tokens_in: int = 0
    tokens_out: int = 0
    every: set[bytes] | None = None  # the keys of all questions, where they are wanted

    def ask(self, call_batch: Any, requests: Sequence[Request]) -> list[Outcome]:
        keys = [r.call_key for r in requests]
        found = self._found(call_batch.teacher_client.spec, requests)
        once = [r for k, r in found.items() if k not in self.seen]  # an answer is paid once
        self.tokens_in += sum(r.tokens_in for r in once)
        self.tokens_out += sum(r.tokens_out for r in once)
        self.seen.update(found)
        out = []
        for key in keys:
            reply = found.get(key)
            if reply is not None or key in self.seen:
                self.cached += 1
            else:
                self.new += 1
                self.seen.add(key)
            out.append(Outcome(reply, cached=True) if reply is not None else Outcome(None, "not asked yet"))
        return out

    def _found(self, spec: Teacher, requests: Sequence[Request]) -> dict[bytes, Reply]:
        if self.cache is None:
            found, keys = {}, set[bytes]()
        elif origin(spec.provider) == "recording":
            recorded = Recorded(self.cache, spec)
            found = recorded.get_many(requests)
            keys = set().union(*(recorded.keys(r) for r in requests)) if self.every is not None else set()
            keys = self.cache.known(list(keys))
        else:
            found = self.cache.get_many([r.call_key for r in requests])
            keys = set(found)
        if self.every is not None:
            self.every |= keys
            self.every.update(r.call_key for r in requests if r.call_key not in found)
        return found


def _look(ctx: Context, node: Node, spec: TeacherStepSpec, lookup: _Lookup) -> Ahead:
    stream = ctx.inputs(node, "from")
    chosen = candidates(ctx, stream, spec)
    if spec.accept is not None:
        chosen = in_draw_order(ctx, stream, spec, chosen)
    call_batch = _CallBatch(_TeacherClient(ctx.plan.teachers[spec.teacher]))
    asking = Asking(ctx, node, spec, lookup, call_batch)  # type: ignore[arg-type]
    accepted = waiting = drawn = start = 0
    lot = ROWS
    while start < len(chosen):
        if spec.accept is not None:  # what is not asked yet may be accepted
            lacking = spec.accept - accepted - waiting
            if lacking <= 0:
                break
            lot = min(ROWS, -(-lacking // spec.samples))
        draws = _draws(asking, stream, spec, chosen[start : start + lot])
        accepted += sum(d.rule is None for d in draws)
        waiting += sum(d.rule == CALL_FAILED for d in draws)
        drawn += len(draws)
        start += lot
    if spec.accept is not None:
        accepted = min(accepted, spec.accept)
    beyond = max(0, len(chosen) - start) * spec.samples if waiting else 0
    further = spec.retries_on_reject + (HALVINGS if spec.on_long == "truncate" else 0)
    rows = {"replace": stream.n, "add": stream.n + accepted, "only": accepted}[spec.mode]
    certain = waiting == 0 or spec.mode == "replace"
    most = (lookup.new + beyond) * (1 + further) * (1 + spec.repair)
    rows_out = rows if certain else None
    took = lookup.tokens_in, lookup.tokens_out
    new = lookup.new
    if beyond and accepted:  # of those that are asked then, the same share will do
        new = min(-(-new * (drawn - waiting) // accepted), most)
    return Ahead(new, lookup.cached, lookup.new, most, rows_out, *took)


def _draws(asking: Asking, stream: Stream, spec: TeacherStepSpec, positions: Any) -> list[Draw]:
    """The draws of some rows, with the columns that questions and rules read."""
    exprs = [*spec.inputs.values(), *(r.expr for r in sieves(spec.rules))]
    wanted = sorted(frozenset().union(*(columns_read(e) for e in exprs)) if exprs else ())
    names = columns_for(stream, wanted)
    table = stream.select(positions).table(names or ["_id"]).combine_chunks()
    batches = table.to_batches()
    if not batches:
        return []
    return asking.batch(with_messages(batches[0], wanted), stream.types)
