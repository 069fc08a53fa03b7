"""Resolves references to streams and joins several streams into one: columns, origins, what may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.rows import optional

from alchemist_dsl import ir
from alchemist_dsl.checker import taint
from alchemist_dsl.checker.context import UNKNOWN, Context, Stream, shown
from alchemist_dsl.checker.names import (
    Found,
    Missing,
    Scope,
    dotted,
    find,
    path_of,
    report_missing,
    span_of,
    stream_kinds,
    wrong_kind,
)
from alchemist_dsl.checker.problems import did_you_mean, listed
from alchemist_dsl.checker.types import ANY, join
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast


def stream_ref(expr: ast.Expr, context: Context, scope: Scope, what: str) -> ir.RefV | None:
    """The stream that an expression names; None where an error was reported."""
    if isinstance(expr, ast.BadExpr):
        return None
    path = path_of(expr)
    if path is None:
        context.problems.add("A201", f"`{what}` needs the name of a stream", expr.span, help="for example `clean`")
        return None
    return stream_at(path, expr.span, context, scope, what)


def stream_at(path: Sequence[ast.Ident], span: Span, context: Context, scope: Scope, what: str) -> ir.RefV | None:
    """The stream of a path of names: a block, a port of it, or the part that came from one source."""
    found = find(path, scope)
    if isinstance(found, Missing):
        report_missing(found, stream_kinds(), context.problems)
        return None
    kind = KINDS[found.decl.kind]
    if not kind.stream:
        named = path[: len(path) - len(found.rest)]
        wrong_kind(what, stream_kinds(), found.decl, span_of(named), context.problems)
        return None
    return _port(found, span, context, scope)


def _port(found: Found, span: Span, context: Context, scope: Scope) -> ir.RefV | None:
    key, rest = found.decl.key, list(found.rest)
    ports = KINDS[found.decl.kind].ports
    port = "rows"
    if rest and rest[0].name in ports and (rest[0].name != "rest" or _sets_aside(key, context)):
        port = rest.pop(0).name
    if not rest:
        return ir.RefV(span, key, port)  # type: ignore[arg-type]
    origin = _origin(rest, scope) or _origin(rest, found.decl.scope)
    stream = context.streams.get((key, port), UNKNOWN)
    if stream.lost or (origin is not None and origin in stream.origins):
        return ir.RefV(span, key, port, origin or dotted(rest))  # type: ignore[arg-type]
    _no_port(found, rest, stream, context)
    return None


def _sets_aside(key: str, context: Context) -> bool:
    """Whether a step selects, so that it has the port `rest`; yes where it is not known yet."""
    return (key, "rest") in context.streams or (key, "rows") not in context.streams


def _origin(rest: Sequence[ast.Ident], scope: Scope) -> str | None:
    found = find(rest, scope)
    if isinstance(found, Found) and not found.rest and found.decl.kind == "source":
        return found.decl.key
    return None


def _no_port(found: Found, rest: Sequence[ast.Ident], stream: Stream, context: Context) -> None:
    kind, name = found.decl.kind, dotted(rest)
    ports = [p for p in KINDS[kind].ports if p not in ("rows", "rest")]
    known = [*ports, *sorted(stream.origins)]
    span = span_of(rest)
    text, edit = did_you_mean(name, known, span)
    note = None
    if name in ("dropped", "trace", "rest"):
        note = {
            "dropped": "only steps that refuse rows have `.dropped`",
            "trace": "only teacher steps have `.trace`",
            "rest": "only steps with `select` have `.rest`",
        }[name]
    elif known:
        note = f"it has {listed(known[:8])}"
    context.problems.add(
        "A117",
        f"`{found.decl.name}` ({kind}) has no port and no source `{name}`",
        span,
        help=text,
        edit=edit,
        note=note,
    )


def joined(refs: Sequence[ir.RefV], context: Context) -> Stream:
    """What is known of the rows of several streams, one after the other."""
    if not refs:
        return UNKNOWN
    if len(refs) == 1:
        return replace(context.stream(refs[0]), name=f"`{shown(refs[0])}`")
    every = [context.stream(r) for r in refs]
    # What is not available gives no rows, so its columns matter only where nothing else is there.
    there = [(r, s) for r, s in zip(refs, every, strict=True) if not s.missing]
    refs, streams = [r for r, _ in there] or list(refs), [s for _, s in there] or every
    columns: dict[str, str] = {}
    conflicts: dict[str, tuple[tuple[str, str], ...]] = {}
    open_ = any(s.open for s in streams)
    for ref, stream in zip(refs, streams, strict=True):
        conflicts.update(stream.conflicts)
        for name, type_ in stream.columns.items():
            _add_column(columns, conflicts, name, type_, shown(ref), refs, streams)
    for name in list(columns):
        if any(name not in s.columns for s in streams):
            columns[name] = optional(columns[name]) if columns[name] != ANY else ANY
    return Stream(
        columns,
        open=open_,
        origins=frozenset[str]().union(*(s.origins for s in every)),
        conflicts=conflicts,
        missing=all(s.missing for s in every),
        taints=taint.joined(s.taints for s in every),
        name=listed([shown(r) for r in refs][:3]) + ("…" if len(refs) > 3 else ""),
        lost=any(s.lost for s in every),
    )


def _add_column(
    columns: dict[str, str],
    conflicts: dict[str, tuple[tuple[str, str], ...]],
    name: str,
    type_: str,
    stream: str,
    refs: Sequence[ir.RefV],
    streams: Sequence[Stream],
) -> None:
    if name not in columns:
        columns[name] = type_
        return
    met = join(columns[name], type_)
    if met is not None:
        columns[name] = met
        return
    first = next((shown(r), s.columns[name]) for r, s in zip(refs, streams, strict=True) if name in s.columns)
    conflicts.setdefault(name, (first, (stream, type_)))
    columns[name] = ANY
