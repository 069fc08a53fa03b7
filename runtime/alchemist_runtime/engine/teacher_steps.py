"""The steps that ask a teacher: relabel and generate. Answers become changed rows, refused rows and a trace.

Their progress is the call cache: a broken-off step asks again only what was in flight. What leaves a step is in the
order of its input, whatever order the answers came in.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from alchemist_runtime.calls.dispatch import CallBatch, CallStats, ClientPool, TeacherClient
from alchemist_runtime.calls.ledger import Account, Ledger, dollars, money
from alchemist_runtime.engine.context import Context, edges
from alchemist_runtime.engine.filter_map import (
    assign,
    candidates,
    in_draw_order,
    others,
    patch_index,
    set_aside,
    set_types,
    sieves,
)
from alchemist_runtime.engine.prompt_calls import CALL_FAILED, UNREADABLE, Asking, Draw, enough, taken, why_unusable
from alchemist_runtime.engine.row_functions import cast_null
from alchemist_runtime.engine.select import derive_ids
from alchemist_runtime.engine.streams import Stream, arrow_type
from alchemist_runtime.engine.turns import TURN_TYPES, columns_for, with_messages
from alchemist_runtime.engine.views import Part, port
from alchemist_runtime.schema import catalog
from alchemist_runtime.schema.codes import Problem
from alchemist_runtime.schema.expressions import columns_read
from alchemist_runtime.schema.plan import Node, Prompt, Teacher, TeacherStepSpec
from alchemist_runtime.schema.rows import COPY, DROPPED_COLUMNS, IDENTITY, IDENTITY_TYPES, MESSAGES, optional
from alchemist_runtime.storage.store import Output, TableWriter
from alchemist_runtime.train.base_model import located

#: Rows asked at a time; answers of so many rows are held in memory.
ROWS = 4_096
#: Columns that a template or an expression can name; others stay out of the records of a trace.
_NAME = re.compile(r"[A-Za-z_]\w*")


def run_teacher_step(ctx: Context, node: Node, out: Output) -> None:
    """Ask about the selected rows and write `rows`, `dropped` and `trace`."""
    spec: TeacherStepSpec = node.spec  # type: ignore[assignment]
    stream = ctx.inputs(node, "from")
    chosen = candidates(ctx, stream, spec)
    planned = len(chosen) * spec.samples
    asking = _asking(ctx, node, spec, min(planned, spec.accept or planned))
    result = _Made(ctx, node, spec, stream, asking, out)
    schemas = result.schemas()
    known = len(pool(ctx).cache.damaged)
    size = max(1, (asking.call_batch.at_once or ROWS * spec.samples) // spec.samples)
    with (
        out.table("set", schemas["set"]) as rows,
        out.table("refused", schemas["refused"]) as refused,
        out.table("traced", schemas["traced"]) as traced,
    ):
        if spec.accept is None:
            for start in range(0, len(chosen), size):
                result.take(chosen[start : start + size], rows, refused, traced)
        else:
            result.take_enough(in_draw_order(ctx, stream, spec, chosen), size, rows, refused, traced)
    if worn := len(pool(ctx).cache.damaged) - known:
        ctx.progress.warn(_worn(node, worn))
    for reported in asking.call_batch.teacher_client.lacks():
        ctx.progress.warn(_lacks(node, asking.teacher, reported))
    account = asking.call_batch.account
    if account.more_in or account.more_out:
        ctx.progress.warn(_larger(node, asking.teacher, account))
    result.ports(rows, refused, traced)
    if spec.select is not None or spec.accept is not None:
        set_aside(ctx, node, out, stream, others(stream.n, _joined(result.asked)))
    out.figures.update(_figures(result, len(chosen)))


def pool(ctx: Context) -> ClientPool:
    """The run's teachers, opened once."""
    if "teachers" not in ctx.services:
        budget = None if ctx.options.budget is None else money(ctx.options.budget)
        ctx.services["teachers"] = ClientPool(ctx.state, budget=budget, replay=ctx.options.replay)
    found: ClientPool = ctx.services["teachers"]
    return found


def _asking(ctx: Context, node: Node, spec: TeacherStepSpec, planned: int) -> Asking:
    teachers = pool(ctx)
    teacher = _placed(ctx, node, ctx.plan.teachers[spec.teacher])
    teachers.rest(teacher)
    budget = None if spec.budget is None else money(spec.budget)
    account = Account(teacher, [teachers.ledger, Ledger(budget, "budget", node.id)])

    def tell(call_stats: CallStats) -> None:
        notes = [f"{call_stats.cached:,} cached"] if call_stats.cached else []
        notes += [f"{call_stats.failed:,} failed"] if call_stats.failed else []
        spent = account.ledgers[1].spent
        notes += [dollars(spent)] if spent else []
        notes += [f"{call_stats.elsewhere:,} asked by another run"] if call_stats.elsewhere else []
        notes += [call_stats.server] if call_stats.server else []
        if call_stats.awaited:
            notes = [f"stopping when calls in flight are back ({call_stats.awaited}); Ctrl-C again does not wait"]
        ctx.progress.advance(node.id, call_stats.asked, call_batch.planned, "calls", ", ".join(notes))

    teacher_client = teachers.teacher_client(teacher)
    unusable = partial(why_unusable, outputs=ctx.plan.prompts[spec.prompt].outputs)
    call_batch = _kind_of_call_batch(ctx, teacher_client)(
        teacher_client,
        account,
        node=node.id,
        planned=planned,
        recipe=str(ctx.plan.recipe.get("path") or ""),
        max_failed=Fraction(spec.max_failed),
        tell=tell,
        retry_refused=ctx.options.retry_refused,
        unusable=None if catalog.offline(teacher.provider) else unusable,  # what is free is not asked again
    )
    return Asking(ctx, node, spec, teachers, call_batch)


def _placed(ctx: Context, node: Node, teacher: Teacher) -> Teacher:
    """A teacher with the place of its model, where that is a folder of the project or what a training left."""
    if teacher.provider != "transformers":
        return teacher
    trained = edges(node, "model")
    if trained:
        place = str(ctx.manifest(node.inputs[trained[0]].node).folder("model"))
    else:
        place = located(teacher.model, ctx.project)
    return replace(teacher, model=place)


def _kind_of_call_batch(ctx: Context, teacher_client: TeacherClient) -> Callable[..., CallBatch]:
    """Call by call, or by the Batch API where the recipe says so; a recording is read, whatever it was made with."""
    if not teacher_client.spec.batch:
        return CallBatch
    from alchemist_runtime.calls.batch_api import Batched
    from alchemist_runtime.calls.openai_client import Chat

    if not isinstance(teacher_client.client, Chat):
        return CallBatch
    return partial(Batched, folder=ctx.state / "batches", warn=ctx.progress.warn)


def _worn(node: Node, n: int) -> Problem:
    many = f"{n:,} answers were" if n > 1 else "one answer was"
    return Problem("A907", f"{many} damaged in the call cache and asked for again", node=node.id, severity="warning")


def _larger(node: Node, teacher: Teacher, account: Account) -> Problem:
    beyond = (
        (account.more_out, "tokens of output beyond `max_tokens`"),
        (account.more_in, "tokens of input beyond what was sent"),
    )
    reported = " and ".join(f"{n:,} {what}" for n, what in beyond if n)
    return Problem(
        "A724",
        f"the server of `{teacher.name}` charges up to {reported}",
        node=node.id,
        note="the budget was kept: as much more was reserved for every call after the first such one",
        severity="warning",
    )


def _lacks(node: Node, teacher: Teacher, reported: str) -> Problem:
    return Problem(
        "A723",
        f"the server of `{teacher.name}` does not take a way of asking: {reported}",
        node=node.id,
        severity="warning",
    )


@dataclass
class _Made:
    """What a step makes of its answers, batch by batch."""

    ctx: Context
    node: Node
    spec: TeacherStepSpec
    stream: Stream
    asking: Asking
    out: Output
    asked: list[Any] = field(default_factory=list)  # positions in the input, one array a batch
    accepted: list[Any] = field(default_factory=list)  # likewise, as often as it was accepted
    dropped: list[Any] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)
    passing: int = 0  # calls that failed for a reason that passes
    draws: int = 0
    beyond: int = 0  # answers that came with the last one that was needed

    # --- schemas ------------------------------------------------------------------------------------------------------

    @property
    def prompt(self) -> Prompt:
        return self.asking.prompt

    @property
    def sets(self) -> dict[str, str]:
        """The columns that the step sets, with their types."""
        return set_types(self.spec.sets)

    @property
    def new_ids(self) -> bool:
        """Whether what leaves are new rows: copies, several answers to one row, or turns that the teacher wrote."""
        if self.spec.mode == "replace":
            return False
        return self.spec.mode == "add" or self.spec.samples > 1 or bool(set(self.sets) & set(TURN_TYPES))

    def records(self) -> tuple[dict[str, str], dict[str, str]]:
        """Fields of `before` and `after` in the trace: the row's columns without identity."""
        hidden = {*IDENTITY, COPY, MESSAGES}
        before = {n: t for n, t in self.stream.types.items() if n not in hidden and _NAME.fullmatch(n)}
        return before, {**before, **self.sets}

    def schemas(self) -> dict[str, pa.Schema]:
        ids = {"_id": "id", "_parent": "id?"} if self.new_ids else {}
        columns = {n: t for n, t in self.sets.items() if n not in ids}
        return {
            "set": _schema({**columns, **ids}),
            "refused": _schema({**columns, **ids, **DROPPED_COLUMNS}),
            "traced": _schema(self.trace_types()),
        }

    def trace_types(self) -> dict[str, str]:
        before, after = self.records()
        return {
            **IDENTITY_TYPES,
            "before": _record(before),
            "out": _record(self.prompt.outputs),
            "after": _record(after),
            "teacher": "text",
            "sample": "int",
            "attempt": "int",
        }

    # --- a batch ------------------------------------------------------------------------------------------------------

    def take(self, positions: Any, rows: TableWriter, refused: TableWriter, traced: TableWriter) -> None:
        """Ask about these rows of the input and write what comes of them."""
        batch = self._read(positions)
        draws = self.asking.batch(batch, self.stream.types)
        if self.spec.accept is not None:
            draws = self._enough(draws)
            positions = positions[: draws[-1].row + 1]
        self.asked.append(positions)
        self.draws += len(draws)
        kept = [d for d in draws if d.rule is None]
        lost = [d for d in draws if d.rule is not None]
        self.accepted.append(positions[[d.row for d in kept]] if kept else positions[:0])
        self.dropped.append(positions[[d.row for d in lost]] if lost else positions[:0])
        self.rules.update(d.rule for d in lost if d.rule is not None)
        self.passing += sum(d.passing for d in lost)
        if kept:
            parent, new = taken(batch, [d.row for d in kept]), self._columns(batch, kept)
            identity = self._identity(parent, kept)
            _write(rows, {**new, **identity})
            _write(traced, self._trace(parent, new, identity, kept))
        if lost:
            parent, new = taken(batch, [d.row for d in lost]), self._columns(batch, lost)
            why = {"rule": pa.array([d.rule for d in lost], pa.string())}
            why["reason"] = pa.array([d.reason for d in lost], pa.string())
            _write(refused, {**new, **self._identity(parent, lost), **why})

    def take_enough(self, order: Any, size: int, rows: TableWriter, refused: TableWriter, traced: TableWriter) -> None:
        """Ask about rows in this order until enough answers are accepted: first about as many as are needed at least,
        then by the share that was accepted so far. What leaves does not depend on how many are asked at a time."""
        start = 0
        while start < len(order) and (lacking := self._lacking()):
            lot = min(size, enough(lacking, self.draws, self._kept(), self.asking.call_batch.at_once))
            end = start + -(-lot // self.spec.samples)
            self.asking.call_batch.expect(min(end, len(order)) * self.spec.samples)
            self.take(order[start:end], rows, refused, traced)
            start = end

    def _kept(self) -> int:
        return sum(len(a) for a in self.accepted)

    def _lacking(self) -> int:
        assert self.spec.accept is not None
        return self.spec.accept - self._kept()

    def _enough(self, draws: list[Draw]) -> list[Draw]:
        """The draws up to the last one that is needed."""
        left = self._lacking()
        for number, draw in enumerate(draws, 1):
            left -= draw.rule is None
            if not left:
                self.beyond += len(draws) - number
                return draws[:number]
        return draws

    def _read(self, positions: Any) -> pa.RecordBatch:
        """All columns of these rows, and `messages` where an expression reads it."""
        exprs = [*self.spec.inputs.values(), *(s.expr for s in self.spec.sets)]
        exprs += [r.expr for r in sieves(self.spec.rules)]
        wanted = sorted(frozenset().union(*(columns_read(e) for e in exprs)) if exprs else ())
        names = columns_for(self.stream, list(dict.fromkeys([*self.stream.types, *wanted])))
        table = self.stream.select(positions).table(names).combine_chunks()
        batches = table.to_batches()
        return with_messages(batches[0], wanted)

    def _columns(self, batch: pa.RecordBatch, draws: Sequence[Draw]) -> dict[str, pa.Array]:
        """The set columns as these draws would leave them: by the answer where there is one, else as the row came
        in.
        """
        answered = [i for i, d in enumerate(draws) if d.out is not None]
        some = [draws[i] for i in answered]
        new: dict[str, pa.Array] = {}
        if some and self.sets:
            part = taken(batch, [d.row for d in some])
            types = self.asking.types(self.stream.types)
            new = assign(self.ctx.scope(part, types, self.asking.outs(some)), self.spec.sets)
        if len(some) == len(draws):
            return new
        under = taken(batch, [d.row for d in draws])
        order = np.arange(len(draws))
        order[answered] = len(draws) + np.arange(len(answered))
        return {n: _over(under, n, arrow_type(t), new.get(n), order) for n, t in self.sets.items()}

    def _identity(self, parent: pa.RecordBatch, draws: Sequence[Draw]) -> dict[str, pa.Array]:
        """New ids of rows that are made; nothing where rows keep theirs."""
        if not self.new_ids:
            return {}
        ids = parent.column("_id")
        halves = Stream.of({"_id": ids}, {"_id": "id"}).ids()
        samples = np.array([d.sample for d in draws], np.int64)
        return {"_id": derive_ids(halves, self.spec.salt, samples), "_parent": ids}

    def _trace(
        self, parent: pa.RecordBatch, new: dict[str, pa.Array], identity: dict[str, pa.Array], draws: Sequence[Draw]
    ) -> dict[str, pa.Array]:
        columns = dict(zip(parent.schema.names, parent.columns, strict=True))
        before, after = self.records()
        n = len(draws)
        made_by = {"made_by": pa.array([self.node.id] * n)} if identity else {}
        return {
            **{k: v for k, v in columns.items() if k in IDENTITY},
            **identity,
            **made_by,
            "before": _struct(columns, before, n),
            "out": self.asking.answers(draws),
            "after": _struct({**columns, **new}, after, n),
            "teacher": pa.array([self.asking.teacher.name] * n),
            "sample": pa.array([d.sample for d in draws], pa.int64()),
            "attempt": pa.array([d.attempt for d in draws], pa.int64()),
        }

    # --- the ports ----------------------------------------------------------------------------------------------------

    def ports(self, rows: TableWriter, refused: TableWriter, traced: TableWriter) -> None:
        from_ = tuple(edges(self.node, "from"))
        types = {**self.stream.types, **self._types()}
        self._port("rows", self._rows(from_, rows), types)
        lost = Part(
            edges=from_,
            select=self.out.array("refused", _joined(self.dropped)),
            set=refused.description(),
            constant=self._made_by(),
        )
        self._port("dropped", [lost], {**types, **DROPPED_COLUMNS})
        self._port("trace", [Part(stored=traced.description())], self.trace_types())

    def _rows(self, from_: tuple[int, ...], rows: TableWriter) -> list[Part]:
        accepted = _joined(self.accepted)
        table = rows.description() if rows.schema.names else None
        if self.spec.mode == "replace":
            if table is None or not len(accepted):
                return [Part(edges=from_)]
            at = self.out.array("at", patch_index(self.stream.n, accepted))
            return [Part(edges=from_, at=at, patch=table)]
        select = self.out.array("accepted", accepted)
        changed = Part(edges=from_, select=select, set=table, constant=self._made_by())
        return [Part(edges=from_), changed] if self.spec.mode == "add" else [changed]

    def _types(self) -> dict[str, str]:
        """Types of the set columns in the port: a column that not every row gets may be null."""
        partly = self.spec.mode != "only"
        new = {n: optional(t) if partly and n not in self.stream.types else t for n, t in self.sets.items()}
        return {**new, **({"_parent": "id?"} if self.new_ids else {})}

    def _made_by(self) -> dict[str, str] | None:
        return {"made_by": self.node.id} if self.new_ids else None

    def _port(self, name: str, parts: list[Part], types: dict[str, str]) -> None:
        port(self.ctx, self.node, self.out, name, parts, types)


# --- Arrow ------------------------------------------------------------------------------------------------------------


def _schema(types: dict[str, str]) -> pa.Schema:
    return pa.schema([(n, arrow_type(t)) for n, t in types.items()])


def _record(fields: dict[str, str]) -> str:
    return "record<" + ", ".join(f"{n}: {t}" for n, t in fields.items()) + ">"


def _struct(columns: dict[str, pa.Array], fields: dict[str, str], n: int) -> pa.StructArray:
    if not fields:
        return pa.array([{}] * n, pa.struct([]))
    arrays = [_as(columns[name], arrow_type(t)) for name, t in fields.items()]
    return pa.StructArray.from_arrays(arrays, fields=list(arrow_type(_record(fields))))


def _as(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    return array if array.type == wanted else cast_null(array, wanted)


def _over(under: pa.RecordBatch, name: str, type_: pa.DataType, new: pa.Array | None, order: Any) -> pa.Array:
    """A column of the rows as they came in, with new values over some of them."""
    n = under.num_rows
    base = under.column(name) if name in under.schema.names else pa.nulls(n, type_)
    both = [_as(base, type_)] + ([] if new is None else [new])
    return pa.concat_arrays(both).take(pa.array(order))


def _write(writer: TableWriter, columns: dict[str, pa.Array]) -> None:
    schema = writer.schema
    if schema.names:
        arrays = [_as(columns[n], schema.field(n).type) for n in schema.names]
        writer.write(pa.RecordBatch.from_arrays(arrays, schema=schema))


def _joined(parts: Sequence[Any]) -> Any:
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)


# --- figures ----------------------------------------------------------------------------------------------------------


def _sum(result: _Made, chosen: int, dropped: dict[str, int]) -> dict[str, Any]:
    """What closes the sum of the step, beside the answers that were refused."""
    if result.spec.mode == "replace":
        return {"unchanged": dropped}
    if result.spec.mode == "add":
        return {"added": {"changed copies": result.draws}}
    requested = sum(len(a) for a in result.asked)
    return {
        "not_chosen": result.stream.n - chosen,
        **({"not_asked": chosen - requested, "beyond": result.beyond} if result.spec.accept else {}),
        "added": {"further answers": result.draws - requested},
    }


def _figures(result: _Made, chosen: int) -> dict[str, Any]:
    asking = result.asking
    call_stats, account = asking.call_batch.call_stats, asking.call_batch.account
    sums = (
        account.cost(call_stats.new_tokens_in, call_stats.new_tokens_out),
        account.cost(call_stats.tokens_in, call_stats.tokens_out),
    )
    now, scratch = (format(s.normalize(), "f") if account.known else None for s in sums)
    names = [r.name for r in sieves(result.spec.rules)]
    dropped = {**dict.fromkeys(names, 0), **result.rules}
    return {
        "rows_in": result.stream.n,
        "chosen": chosen,
        "accepted": result._kept(),
        "dropped": dropped,
        **_sum(result, chosen, dropped),
        "redrawn": dict(asking.redrawn),
        **({"repairs": asking.repairs} if asking.repairs else {}),
        "calls": call_stats.asked,
        "calls_new": call_stats.new,
        "calls_cached": call_stats.cached,
        "calls_failed": call_stats.failed,
        "calls_passing": result.passing,
        "calls_refused": result.rules[CALL_FAILED] + result.rules[UNREADABLE] - result.passing,
        "tries_repeated": call_stats.retried,
        "tokens_in": call_stats.tokens_in,
        "tokens_out": call_stats.tokens_out,
        "usd": now,
        "usd_scratch": scratch,
    }
