"""Carries out one step of a plan over given rows in a store of its own, and judges what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from alchemist_runtime.calls.dispatch import ClientPool
from alchemist_runtime.engine import local
from alchemist_runtime.engine.context import Context, Silent
from alchemist_runtime.engine.expressions import Scope
from alchemist_runtime.engine.filter_map import batches, truth
from alchemist_runtime.engine.mock import Mock, Said
from alchemist_runtime.engine.streams import arrow_type
from alchemist_runtime.engine.turns import TURN_TYPES, split_columns
from alchemist_runtime.engine.verdicts import known
from alchemist_runtime.engine.views import Part, port
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.expressions import columns_read, expression, is_expression
from alchemist_runtime.schema.plan import Expr, Plan
from alchemist_runtime.schema.rows import IDENTITY_TYPES, MESSAGES
from alchemist_runtime.storage.store import Store

_TURN: Final = pa.list_(arrow_type("messages").value_type)


@dataclass(frozen=True, slots=True)
class Given:
    """The rows of one port of a node that is not carried out. Rows have all columns of `types`, and `origin`."""

    node: str
    port: str
    types: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Miss:
    """Where an expectation does not hold. `row`: among those that leave, from 1; `root`: the given row that it goes
    back to.
    """

    text: str  # of the part that does not hold
    op: str | None = None  # of a comparison: == != < …
    got: Any = None
    wanted: Any = None
    row: int | None = None
    root: tuple[str, int] | None = None  # node, number from 1
    reads: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None  # instead of values


@dataclass
class Trial:
    """A step that was carried out. Close it when everything is judged."""

    ctx: Context
    step: str
    roots: Mapping[bytes, tuple[str, int]]
    mock: Mock | None = None
    warnings: Sequence[Problem] = ()

    # --- figures ------------------------------------------------------------------------------------------------------

    def total(self, name: str) -> Any:
        """A count of the step: rows, dropped, dropped.RULE, trace, calls, tokens; None where it has no such count."""
        manifest = self.ctx.manifest(self.step)
        if name in ("rows", "dropped", "trace"):
            found = manifest.data["ports"].get(name)
            return None if found is None else found["rows"]
        return known(self.ctx, ["total", name], self.ctx.node(self.step))

    def summary(self) -> dict[str, Any]:
        """How many rows left, were refused, by which rules, and how many answers were accepted."""
        counts = {n: v for n in ("rows", "dropped", "trace") if (v := self.total(n)) is not None}
        rules = self.ctx.manifest(self.step).figures.get("dropped", {})
        return {**counts, "rules": {n: v for n, v in rules.items() if v}}

    # --- judging ------------------------------------------------------------------------------------------------------

    def judge(self, expr: Expr, text: str) -> list[Miss]:
        """Where an expectation does not hold: nothing if it holds. One over columns holds for every row that leaves."""
        if expr[0] == "and":
            return [miss for part in expr[1] for miss in self.judge(part, expression(part))]
        reduced = self._counted(expr, text)
        if columns_read(reduced):
            return list(self._over_rows(reduced, text))
        scope = self.ctx.scope(_one_row(), {})
        return list(self._missed(scope, reduced, text, np.flatnonzero(~truth(scope(reduced)))))

    def _counted(self, expr: Expr, text: str) -> Expr:
        """The expression with its counts put in. RunError where the step has no such count."""
        head, *rest = expr
        if head in ("lit", "col", "out", "template"):
            return expr
        if head == "total" or (head == "call" and _counts(rest[1])):
            value = self.total(rest[0]) if head == "total" else known(self.ctx, expr, self.ctx.node(self.step))
            if value is None:
                raise RunError(_unknown(text))
            whole = not isinstance(value, Fraction) or value.denominator == 1
            return ["lit", "int", int(value)] if whole else ["lit", "real", str(value)]
        return [head, *(self._part(p, text) for p in rest)]

    def _part(self, part: Any, text: str) -> Any:
        if isinstance(part, dict):
            return {k: self._part(v, text) for k, v in part.items()}
        if isinstance(part, list):
            if is_expression(part):
                return self._counted(part, text)
            return [self._part(p, text) for p in part]
        return part

    def _over_rows(self, expr: Expr, text: str) -> Iterator[Miss]:
        stream = self.ctx.open(self.step)
        if not stream.n:
            yield Miss(text, reason="no row left the step, so there is none for which it could hold")
            return
        at = 0
        for batch in batches(stream, [expr, ["col", "_root"]]):
            scope = self.ctx.scope(batch, stream.types)
            wrong = np.flatnonzero(~truth(scope(expr)))
            yield from self._missed(scope, expr, text, wrong, at)
            at += batch.num_rows

    def _missed(self, scope: Scope, expr: Expr, text: str, wrong: Any, first: int | None = None) -> Iterator[Miss]:
        if not len(wrong):
            return
        values = _sides(scope, expr)
        reads = {n: _python(scope(["col", n])) for n in sorted(columns_read(expr) - {"_root"})}
        sides = () if values is None else expr[2:]
        displayed = set(reads) - {side[1] for side in sides if side[0] == "col"}
        for i in wrong.tolist():
            row = None if first is None else first + i + 1
            root = None
            if first is not None:
                root = self.roots.get(scope.batch.column("_root")[i].as_py() or b"")
            op, got, wanted = (None, None, None) if values is None else values(i)
            seen = {n: v[i] for n, v in reads.items() if n in displayed}
            yield Miss(text, op, got, wanted, row, root, seen)

    def unused(self) -> int:
        """Answers of a list that no question got."""
        return 0 if self.mock is None else self.mock.left

    def close(self) -> None:
        """End what the evaluation started."""
        local.close(self.ctx)


def _counts(args: Mapping[str, Any]) -> bool:
    return any(isinstance(v, list) and v[:1] == ["ref"] for v in args.values())


def _one_row() -> pa.RecordBatch:
    """What an expression over counts alone is evaluated over."""
    return pa.RecordBatch.from_arrays([pa.nulls(1)], names=["_"])


def _python(array: pa.Array) -> list[Any]:
    found: list[Any] = array.to_pylist()
    return found


def _sides(scope: Scope, expr: Expr) -> Any:
    """For a comparison: what each side comes to in a row, the computed side first. None for other conditions."""
    if expr[0] != "cmp":
        return None
    op, left, right = expr[1:]
    if left[0] == "lit" and right[0] != "lit":
        left, right, op = right, left, _TURNED.get(op, op)
    a, b = _python(scope(left)), _python(scope(right))
    return lambda i: (op, a[i], b[i])


_TURNED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _unknown(text: str) -> Problem:
    return Problem(
        "A902",
        f"`expect {text}` could not be evaluated: the step has no such count",
        help="count `rows`, `dropped`, `dropped.RULE` or `trace`",
    )


# --- carrying out -----------------------------------------------------------------------------------------------------


def carry_out(
    plan: Plan, step: str, given: Sequence[Given], replies: Said | Sequence[Said] | None, *, project: Path, state: Path
) -> Trial:
    """The step of a plan over given rows, in a store under `state`. RunError where it cannot be carried out."""
    heard = Silent()
    ctx = Context(_quiet(plan), project, state, Store(state), progress=heard)
    if not ctx.node(step).runnable:
        raise RunError(_not_run(step))
    mock = None
    if replies is not None:
        mock = Mock(step, replies)
        _seat(ctx, mock)
    roots: dict[bytes, tuple[str, int]] = {}
    try:
        for name in dict.fromkeys(g.node for g in given):
            _put(ctx, name, [g for g in given if g.node == name], roots)
        local.run(ctx, [step])
    except BaseException:
        local.close(ctx)
        raise
    return Trial(ctx, step, roots, mock, heard.warnings)


def _not_run(step: str) -> Problem:
    return Problem(
        "A807",
        f"this version does not run `{step}`, so it cannot be tested",
        node=step,
        help="`alchemist check` says what of it is not run yet",
    )


def _quiet(plan: Plan) -> Plan:
    """The plan with teachers that neither wait nor cost: a mock answers at once, one question after the other."""
    teachers = {
        name: replace(t, rate=[], concurrency=1, retries=0, batch=False, api_key_env=None)
        for name, t in plan.teachers.items()
    }
    return replace(plan, teachers=teachers, now=None)


def _seat(ctx: Context, mock: Mock) -> None:
    teachers = ClientPool(ctx.state)
    for spec in ctx.plan.teachers.values():
        teachers.seat(spec, mock)
    ctx.services["teachers"] = teachers


def _put(ctx: Context, name: str, ports: Sequence[Given], roots: dict[bytes, tuple[str, int]]) -> None:
    """Write given rows into the store as what a node left, with an identity made of their place."""
    node = ctx.node(name)
    with ctx.store.building(node.key, name) as out:
        for provided in ports:
            table, types = _table(provided, roots)
            part = Part(stored=out.write_table(provided.port, table))
            port(ctx, node, out, provided.port, [part], types)
        if not any(g.port == "rows" for g in ports):  # whoever asks for rows asks for none
            part = Part(stored=out.write_table("rows", _table(Given(name, "rows", {}, ()), {})[0]))
            port(ctx, node, out, "rows", [part], dict(IDENTITY_TYPES))
        out.finish(kind=node.kind, content_key=node.key, seconds=0.0)


def _table(given: Given, roots: dict[bytes, tuple[str, int]]) -> tuple[pa.Table, dict[str, str]]:
    ids = []
    for number in range(1, len(given.rows) + 1):
        ids.append(_identity(given, number))
        roots[ids[-1]] = (given.node, number)
    types = {n: t for n, t in given.types.items() if n not in IDENTITY_TYPES}
    columns: dict[str, Any] = {
        "_id": pa.array(ids, arrow_type("id")),
        "_parent": pa.nulls(len(ids), arrow_type("id")),
        "_root": pa.array(ids, arrow_type("id")),
        "origin": pa.array([r["origin"] for r in given.rows], pa.string()),
        "made_by": pa.array([given.node] * len(ids), pa.string()),
    }
    for name, type_ in types.items():
        columns[name] = pa.array([r.get(name) for r in given.rows], arrow_type(type_))
    if any(MESSAGES in r for r in given.rows):
        said = pa.array([r.get(MESSAGES) for r in given.rows], _TURN)
        for name, array in split_columns(said).items():
            columns[name] = _over(columns.get(name), array)
            types[name] = TURN_TYPES[name]
    return pa.table(columns), {**IDENTITY_TYPES, **types}


def _over(under: pa.Array | None, array: pa.Array) -> pa.Array:
    """A turn column from conversations, and what was given apart where a row has none."""
    import pyarrow.compute as pc

    return array if under is None or pa.types.is_nested(array.type) else pc.coalesce(array, under)


def _identity(given: Given, number: int) -> bytes:
    place = f"given {given.node} {given.port} {number}"
    return hashlib.blake2b(place.encode(), digest_size=16).digest()
