"""Types expressions and turns them into the trees of the plan: columns, literals, paths, calls, comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from alchemist_runtime.schema.expressions import walk
from alchemist_runtime.schema.plan import text_digest
from alchemist_runtime.schema.rows import COPY, IDENTITY_TYPES, MESSAGES, optional, required

from alchemist_dsl import ir
from alchemist_dsl.checker import calls, streams
from alchemist_dsl.checker.context import Context, Stream
from alchemist_dsl.checker.names import Scope, path_of
from alchemist_dsl.checker.problems import did_you_mean, either, listed
from alchemist_dsl.checker.templates import Variables, check_template
from alchemist_dsl.checker.types import ANY, BAD, NULL, TURN, Typed, element, family, fields, join, noun, record
from alchemist_dsl.diagnostics.model import Edit, Label, near
from alchemist_dsl.ir import Block, ExprV, ListV, SelectV, Value
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

#: Counts: whole numbers of one thing, which do not mix.
COUNTS = frozenset({"chars", "words", "lines", "tokens", "rows", "packs", "calls", "steps"})
_DEEPEST = 120


@dataclass(slots=True)
class Env:
    """What an expression may read, and what was found while it was typed."""

    context: Context
    scope: Scope
    stream: Stream | None = None  # the row
    out: Mapping[str, str] | None = None  # fields of the teacher's answer
    out_places: Mapping[str, Span] = field(default_factory=dict)
    out_of: str = ""
    totals: tuple[str, ...] | None = None  # `rows`, `tokens` and `dropped.RULE` of a step with these rules
    rules_lost: bool = False  # there may be more rules than `totals` knows
    counts: tuple[str, ...] = ("rows", "tokens")  # totals that are called by one name
    streams: bool = False  # rows(x), share(a, b) …
    plan: bool = False  # plan.cost, plan.calls
    attribute: str | None = None  # whose value this is; some functions stand in one attribute only
    refs: list[ir.RefV] = field(default_factory=list)


PLAN_FIGURES = {
    "cost": ("money", None),
    "calls": ("int", "calls"),
    "tokens": ("int", "tokens"),
    "rows": ("int", "rows"),
}


class Typer:
    """Types one expression. `ok` turns false with the first error; `reads` collects the columns."""

    def __init__(self, env: Env) -> None:
        self.env = env
        self.problems = env.context.problems
        self.ok = True
        self.reads: set[str] = set()
        self.depth = 0

    def type(self, expr: ast.Expr) -> Typed:
        """The typed tree of an expression."""
        self.depth += 1
        try:
            if self.depth > _DEEPEST:
                return self.fail("A118", "this expression is nested too deeply", expr.span)
            return self._type(expr)
        finally:
            self.depth -= 1

    def fail(self, code: str, headline: str, span: Span, **kw: Any) -> Typed:
        """Report an error; what stands here is unknown from now on."""
        self.ok = False
        self.problems.add(code, headline, span, **kw)
        return BAD

    def bad(self) -> Typed:
        """What stands here was reported already."""
        self.ok = False
        return BAD

    def _type(self, expr: ast.Expr) -> Typed:
        match expr:
            case ast.Quantity():
                return self._quantity(expr)
            case ast.Text():
                return self._text(expr)
            case ast.Bool(value=flag):
                return Typed(["lit", "bool", flag], "bool")
            case ast.Null():
                return Typed(["lit", "null", None], NULL)
            case ast.Name(name=name, span=span):
                return self._name(name, span)
            case ast.Member():
                return self._member(expr)
            case ast.Index():
                return self._index(expr)
            case ast.Call():
                return calls.call(self, expr)
            case ast.Unary():
                return streams.unary(self, expr)
            case ast.Binary():
                return streams.binary(self, expr)
            case ast.ListExpr(items=items):
                return self._list(items)
            case ast.Record(fields=parts):
                for part in parts:
                    if part.name.quoted and not part.name.name.isidentifier():
                        return self.fail("A210", f'`"{part.name.name}"` is no name of a field', part.name.span)
                result = {f.name.name: self.type(f.value) for f in parts}
                trees = {n: t.tree for n, t in result.items()}
                return Typed(["record", trees], record({n: t.type for n, t in result.items()}))
            case ast.Interval():
                return self.fail(
                    "A210",
                    "an interval stands to the right of `in`",
                    expr.span,
                    help="for example `chars(response) in 50..8000`",
                )
            case ast.BadExpr():
                return self.bad()

    # --- literals -----------------------------------------------------------------------------------------------------

    def _quantity(self, expr: ast.Quantity) -> Typed:
        kind, value = expr.kind, expr.value
        if kind in COUNTS or kind in ("int", "bytes"):
            if value.denominator != 1:
                return self.fail("A206", f"`{expr.text}` is not a whole number", expr.span)
            return Typed(["lit", "int", int(value)], "int", None if kind == "int" else kind)
        if kind in ("real", "percent", "money"):
            return Typed(["lit", kind, str(value)], kind)
        if kind == "duration":
            return Typed(["lit", "real", str(value)], "real", kind)
        return self.fail("A210", f"`{expr.text}` has no place in an expression", expr.span)

    def _text(self, expr: ast.Text) -> Typed:
        if expr.form != "template":
            return Typed(["lit", "text", expr.value], "text")
        names = self.template(expr)
        if names is None:
            return Typed(BAD.tree, "text")
        digest = text_digest(expr.value)
        self.env.context.texts[digest] = expr.value
        return Typed(["template", digest, list(names)], "text")

    def template(self, text: ast.Text) -> tuple[str, ...] | None:
        """The columns that a template over the row reads."""
        names = check_template(text, row_variables(self.env.stream), self.problems)
        if names is None:
            self.ok = False
            return None
        self.reads.update(names)
        return names

    def _list(self, items: tuple[ast.Expr, ...]) -> Typed:
        typed = [self.type(i) for i in items]
        met: str | None = NULL
        for item in typed:
            met = join(met, item.type) if met is not None else None
        units = {t.unit for t in typed}
        return Typed(
            ["list", [t.tree for t in typed]],
            f"list<{met or ANY}>" if typed else f"list<{ANY}>",
            units.pop() if len(units) == 1 else None,
        )

    # --- names --------------------------------------------------------------------------------------------------------

    def _name(self, name: str, span: Span, *, of_row: bool = False) -> Typed:
        """A column or a total; `of_row`: certainly a column, as in `row["rows"]`."""
        env = self.env
        counted = env.totals is not None and name in env.counts and not of_row
        if env.stream is not None and not counted:
            type_ = column_type(env.stream, name)
            if type_ is not None:
                return self.column(name, type_, span)
        if counted:
            unit = name if name in ("tokens", "calls") else "rows"
            return Typed(["total", name], "int", unit)
        if name in ("out", "param", "row", "plan") or (name == "dropped" and env.totals is not None):
            more = {"out": self.env.out or {}, "param": self.env.scope.params, "plan": PLAN_FIGURES}
            known = [f"{name}.{n}" for n in more.get(name, {})]
            return self.fail(
                "A210",
                f"`{name}` needs a dot and a name after it",
                span,
                help=f"for example {either(known[:3])}" if known else None,
            )
        if env.stream is None:
            return self._no_row(name, span)
        if env.stream.open:
            return self.column(name, ANY, span)
        return self.unknown_column(name, span)

    def column(self, name: str, type_: str, span: Span) -> Typed:
        """A column of the row, reported where the streams that are read disagree about its type."""
        assert self.env.stream is not None
        conflict = self.env.stream.conflicts.get(name)
        if conflict:
            reported = "; ".join(f"`{stream}` has {noun(t)} (`{t}`)" for stream, t in conflict[:2])
            return self.fail("A504", f"`{name}` has two types here: {reported}", span)
        self.reads.add(name)
        return Typed(["col", name], type_)

    def unknown_column(self, name: str, span: Span) -> Typed:
        """Report a column that the rows do not have."""
        stream = self.env.stream
        assert stream is not None
        known = readable(stream)
        found = near(name, known, 3)
        displayed = ", ".join(stream.columns)
        text = None
        if name in self.env.scope.params:
            text = f"for the parameter write `param.{name}`"
        elif self.env.out is not None and name in self.env.out:
            text = f"for the field of the answer write `out.{name}`"
        elif name in self.env.scope.decls and (not found or name in stream.origins):
            text = f'`{name}` is a block; its name as a text is `"{name}"`'
        elif found:
            text = f"did you mean {listed(found, 'or')}? Columns: {displayed}"
        return self.fail(
            "A503",
            f"rows of {stream.name or 'this step'} have no column `{name}`",
            span,
            help=text or f"columns: {displayed}",
            edit=(
                Edit(span, found[0])
                if len(found) == 1 and name not in self.env.scope.params and name not in self.env.scope.decls
                else None
            ),
        )

    def _no_row(self, name: str, span: Span) -> Typed:
        if name in self.env.scope.decls and self.env.streams:
            return self.fail("A210", f"`{name}` is a block, not a number", span, help=f"for example `rows({name})`")
        return self.fail(
            "A103",
            f"nothing is called `{name}` here",
            span,
            help=(
                "count a stream, for example `rows(clean)`, or read the plan: `plan.cost`"
                if self.env.streams
                else (
                    "`expect` speaks of the step's totals: `rows`, `tokens`, `dropped.RULE`"
                    if self.env.totals is not None
                    else None
                )
            ),
        )

    def _member(self, expr: ast.Member) -> Typed:
        name = expr.name.name
        if isinstance(expr.base, ast.Name):
            special = self._special(expr.base.name, expr)
            if special is not None:
                return special
        base = self.type(expr.base)
        return self.field(base, name, expr.name.span)

    def _special(self, base: str, expr: ast.Member) -> Typed | None:
        name, env = expr.name, self.env
        match base:
            case "param":
                return self._param(name)
            case "out" if not self._traced():
                return self._out(name, expr.span)
            case "row" if env.stream is not None:
                return self._name(name.name, name.span, of_row=True)
            case "plan":
                return self._plan(name, expr.span)
            case "dropped" if env.totals is not None:
                return self._dropped(name)
            case _:
                return None

    def _traced(self) -> bool:
        """Whether `out` is a column here: rows of a `.trace`, read by a step that asks nobody."""
        env = self.env
        return env.out is None and env.stream is not None and "out" in env.stream.columns

    def _param(self, name: ast.Ident) -> Typed:
        found = self.env.scope.params.get(name.name)
        if found is None:
            if self.env.scope.lost_unnamed or name.name in self.env.scope.lost:
                return self.bad()
            text, edit = did_you_mean(name.name, self.env.scope.params, name.span)
            return self.fail("A116", f"there is no parameter `{name.name}`", name.span, help=text, edit=edit)
        if found.expr is None:
            return self.bad()
        if isinstance(found.expr, ast.Name):
            return Typed(["lit", "text", found.expr.name], "text")
        return self.type(found.expr)

    def _out(self, name: ast.Ident, span: Span) -> Typed:
        env = self.env
        if env.out is None:
            return self.fail(
                "A210", "there is no answer of a teacher here", span, note="`out` is read in teacher steps"
            )
        type_ = env.out.get(name.name)
        if type_ is not None:
            return Typed(["out", name.name], type_)
        if not env.out and not env.out_of:
            return self.bad()
        text, edit = did_you_mean(name.name, env.out, name.span)
        labels: tuple[Label, ...] = ()
        if edit is not None and edit.text in env.out_places:
            labels = (Label(env.out_places[edit.text], "did you mean this one?"),)
            text = f"write `out.{edit.text}`"
        return self.fail(
            "A406",
            f"the teacher's reply has no field `{name.name}`",
            name.span,
            labels=labels,
            help=text or (f"`{env.out_of}` gives {listed(list(env.out))}" if env.out else None),
            edit=edit,
        )

    def _plan(self, name: ast.Ident, span: Span) -> Typed:
        if not self.env.plan:
            return self.fail("A210", "`plan` is read in `check` blocks only", span)
        figure = PLAN_FIGURES.get(name.name)
        if figure is None:
            text, edit = did_you_mean(name.name, PLAN_FIGURES, name.span)
            return self.fail(
                "A103",
                f"the plan has no figure `{name.name}`",
                name.span,
                help=text or "figures: " + ", ".join(PLAN_FIGURES),
                edit=edit,
            )
        return Typed(["plan", name.name], figure[0], figure[1])

    def _dropped(self, name: ast.Ident) -> Typed:
        rules = self.env.totals or ()
        if name.name not in rules and self.env.rules_lost:
            return self.bad()
        if name.name not in rules:
            text, edit = did_you_mean(name.name, rules, name.span)
            return self.fail(
                "A509",
                f"the step has no rule `{name.name}`",
                name.span,
                help=text or (f"its rules: {listed(list(rules)[:8])}" if rules else None),
                edit=edit,
            )
        return Typed(["total", f"dropped.{name.name}"], "int", "rows")

    # --- parts --------------------------------------------------------------------------------------------------------

    def field(self, base: Typed, name: str, span: Span) -> Typed:
        """A field of a record or of json."""
        kind = family(base.type)
        if kind == ANY:
            return Typed(["field", base.tree, name], ANY)
        if kind == "json":
            return Typed(["field", base.tree, name], "json?")
        if kind == "record":
            parts = fields(base.type)
            if name in parts:
                null = required(base.type) != base.type
                return Typed(["field", base.tree, name], optional(parts[name]) if null else parts[name])
            if self.env.stream is not None and self.env.stream.open:
                return Typed(["field", base.tree, name], ANY)
            text, edit = did_you_mean(name, parts, span)
            return self.fail(
                "A503", f"there is no field `{name}`", span, help=text or "fields: " + ", ".join(parts), edit=edit
            )
        text = None
        if kind == "text":
            text = f"for a JSON text write `json(…).{name}`"
        elif kind in ("list", "messages"):
            text = "take an element first, for example `[0]`"
        return self.fail("A210", f"{noun(base.type)} has no fields", span, help=text)

    def _index(self, expr: ast.Index) -> Typed:
        index = expr.index
        if isinstance(expr.base, ast.Name) and expr.base.name == "row" and self.env.stream is not None:
            if isinstance(index, ast.Text):
                return self._name(index.value, index.span, of_row=True)
            return self.fail("A210", "`row[…]` takes the name of a column in quotes", index.span)
        base = self.type(expr.base)
        if isinstance(index, ast.Text):
            return self.field(base, index.value, index.span)
        at = self.type(index)
        if family(at.type) not in ("number", ANY) or at.type not in ("int", "int?", ANY):
            return self.fail("A210", f"an index is a whole number, but this is {noun(at.type)}", index.span)
        kind = family(base.type)
        if kind == ANY:
            return Typed(["item", base.tree, at.tree], ANY)
        if kind == "json":
            return Typed(["item", base.tree, at.tree], "json?")
        if kind == "messages":
            return Typed(["item", base.tree, at.tree], optional(TURN))
        if kind == "list":
            return Typed(["item", base.tree, at.tree], optional(element(base.type) or ANY))
        return self.fail("A210", f"{noun(base.type)} has no elements", expr.span)


def column_type(stream: Stream, name: str) -> str | None:
    """The type of a readable column, None where it is not known to be there."""
    found = stream.columns.get(name) or IDENTITY_TYPES.get(name)
    if found is not None:
        return found
    if name in stream.conflicts:
        return ANY
    if name == MESSAGES and "instruction" in stream.columns:
        return "messages"
    if name == COPY:
        return "int?"
    return None


def readable(stream: Stream) -> list[str]:
    """Names of the columns that an expression may read."""
    extra = [MESSAGES] if "instruction" in stream.columns else []
    return [*stream.columns, *extra, *IDENTITY_TYPES]


def row_variables(stream: Stream | None) -> Variables:
    """What a template over the row may read."""
    if stream is None:
        return Variables({}, what="this place", noun="variable")
    types = {name: column_type(stream, name) or ANY for name in readable(stream)}
    return Variables(types, stream.open, f"rows of {stream.name or 'this step'}")


# --- entry ------------------------------------------------------------------------------------------------------------


def expression(expr: ast.Expr, env: Env) -> ir.ExprV | None:
    """Type an expression; None where an error was reported."""
    typer = Typer(env)
    result = typer.type(expr)
    if not typer.ok:
        return None
    return ir.ExprV(expr.span, result.tree, result.type, frozenset(typer.reads), env.context.slice(expr.span))


def condition(expr: ast.Expr, env: Env, what: str) -> ir.ExprV | None:
    """Type an expression that must be true or false; None where an error was reported."""
    result = expression(expr, env)
    if result is None or family(result.type) in ("bool", ANY, NULL):
        return result
    text = None
    if family(result.type) == "text":
        text = f'for example `{result.text} == "…"`'
    elif family(result.type) == "number":
        text = f"compare it, for example `{result.text} > 0`"
    env.context.problems.add("A211", f"{what} needs a condition, but this is {noun(result.type)}", expr.span, help=text)
    return None


def exact(value: Fraction | float | int) -> str:
    """An exact number as plans write it."""
    return str(value if isinstance(value, Fraction) else Fraction(str(value)))


__all__ = ["BAD", "COUNTS", "Env", "Typed", "Typer", "column_type", "condition", "exact", "expression", "path_of"]


# --- expression walk -------------------------------------------------------------------------------------------------


def expressions(block: Block) -> Iterator[ExprV]:
    """Every expression of a block that decides bytes."""
    yield from (s.expr for s in block.sets)
    yield from (r.expr for r in block.rules if r.verb != "expect")
    yield from block.prompt_inputs.values()
    for attr in block.attrs.values():
        yield from _inside(attr.value)


def _inside(value: Value) -> Iterator[ExprV]:
    match value:
        case ExprV():
            yield value
        case SelectV(where=where, best=best):
            yield from (e for e in (where, *best) if e is not None)
        case ListV(items=items):
            for item in items:
                yield from _inside(item)


def called(tree: Any) -> Iterator[str]:
    """Names of the functions that an expression calls."""
    return (part[1] for part in walk(tree) if part[0] == "call")
