"""Turns the value of an attribute into a typed value, by the types of the kind table; says what is wrong and what would
be right.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from alchemist_runtime.schema.attributes import RESERVED, UNITS, AttrType, spelled

from alchemist_dsl import ir
from alchemist_dsl.checker import calls
from alchemist_dsl.checker.context import Context
from alchemist_dsl.checker.expressions import Env, condition, expression
from alchemist_dsl.checker.names import Missing, Place, Scope, find, path_of, report_missing, span_of, wrong_kind
from alchemist_dsl.checker.problems import did_you_mean, either
from alchemist_dsl.checker.streams import stream_ref
from alchemist_dsl.checker.templates import Variables, check_template
from alchemist_dsl.diagnostics.model import Edit
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

SECRET: Final = re.compile(
    r"^(sk-[A-Za-z0-9_\-]{16,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|gsk_[A-Za-z0-9]{16,}"
    r"|AKIA[A-Z0-9]{12,}|AIza[A-Za-z0-9_\-]{20,}|xox[bap]-[A-Za-z0-9\-]{10,})$|^[a-z][a-z0-9+.\-]*://[^/\s]*@"
)


FILE_NAME: Final = re.compile(r"[\w./\-]+\.(jinja2?|j2)")


@dataclass(slots=True)
class Values:
    """Reads values in one block. `env` types expressions once the rows are known."""

    context: Context
    scope: Scope
    env: Env | None = None
    variables: Variables | None = None  # what templates of this block may read
    params: bool = True  # whether `param.x` may stand here

    # --- entry --------------------------------------------------------------------------------------------------------

    def read(self, expr: ast.Expr, type_: AttrType, place: Place) -> ir.Value | None:
        """The value of an expression under a type; None where an error was reported."""
        if isinstance(expr, ast.BadExpr):
            return None
        expr = folded(expr)
        name = param_name(expr)
        if name is not None and type_.name not in ("select", "condition", "expr"):
            value = self._param(name)
            if value is None:
                return None
            return self.read(value, type_, replace(place, from_param=name.name))
        if isinstance(expr, ast.Call) and expr.function.name == "any":
            self._any(expr)
            return None
        chosen = alternative(type_, expr, place)
        if chosen is None and unreadable(expr):
            return None
        if chosen is None:
            self._mismatch(expr, type_, place)
            return None
        return self._one(expr, chosen, place)

    def _param(self, name: ast.Ident) -> ast.Expr | None:
        """The value of a parameter, placed where it is used."""
        found = self.scope.params.get(name.name)
        if found is None:
            if not (self.scope.lost_unnamed or name.name in self.scope.lost):
                text, edit = did_you_mean(name.name, self.scope.params, name.span)
                self.context.problems.add(
                    "A116", f"there is no parameter `{name.name}`", name.span, help=text, edit=edit
                )
            return None
        return None if found.expr is None else relocated(found.expr, name.span)

    def _any(self, expr: ast.Call) -> None:
        self.context.problems.add(
            "A122",
            "`any(…)` makes one run for each of its values, and only a variant can do that",
            expr.span,
            help='write `variant grid { set BLOCK.attribute = any(…) }`, then `--variant "grid[…]"`',
        )

    # --- one type -----------------------------------------------------------------------------------------------------

    def _one(self, expr: ast.Expr, type_: AttrType, place: Place) -> ir.Value | None:
        if type_.name in UNITS:
            assert isinstance(expr, ast.Quantity)
            return self._number(expr, type_, place)
        readers: dict[str, Callable[[Any, AttrType, Place], ir.Value | None]] = {
            "text": self._text,
            "template": self._template,
            "bool": self._bool,
            "choice": self._choice,
            "ref": self._ref,
            "stream": self._stream,
            "name": self._name,
            "list": self._list,
            "record": self._record,
            "method": self._method,
            "select": self._select,
            "condition": self._condition,
            "expr": self._expr,
            "literal": self._literal,
        }
        return readers[type_.name](expr, type_, place)

    def _text(self, expr: ast.Text, _type: AttrType, place: Place) -> ir.Value | None:
        if SECRET.match(expr.value):
            self.context.problems.add(
                "A707",
                f"`{place.name}` holds what looks like an API key",
                expr.span,
                label="keys never stand in a recipe",
                note="whoever reads the recipe or its history can use the key: withdraw it",
                help='name an environment variable instead: `api_key_env = "OPENAI_API_KEY"`',
            )
            return None
        return ir.TextV(expr.span, expr.value)

    def _template(self, expr: ast.Text, _type: AttrType, place: Place) -> ir.Value | None:
        if expr.form == "string" and FILE_NAME.fullmatch(expr.value):
            self.context.problems.add(
                "A411",
                f"`{place.name}` takes a template itself, and `{expr.value}` is the name of a file",
                expr.span,
                help=f'write its text here: `{place.name} = jinja"""…"""`',
            )
            return None
        if self.variables is None:
            return ir.TemplateV(expr.span, expr.value, ())
        reads = check_template(expr, self.variables, self.context.problems)
        return None if reads is None else ir.TemplateV(expr.span, expr.value, reads)

    def _bool(self, expr: ast.Bool, _type: AttrType, _place: Place) -> ir.Value:
        return ir.BoolV(expr.span, expr.value)

    def _number(self, expr: ast.Quantity, type_: AttrType, place: Place) -> ir.Value | None:
        value, name = expr.value, type_.name
        if name == "price":
            return self._price(expr, place)
        if UNITS[name].whole and value.denominator != 1:
            self._report("A206", f"`{place.name}` is {NOUNS[name][0]}, and `{expr.text}` is not whole", expr)
            return None
        if name == "percent" and not 0 <= value <= 1:
            self._share_out_ofrange_of(expr, place)
            return None
        if (type_.low is not None and value < type_.low) or (type_.high is not None and value > type_.high):
            self._report("A204", f"`{place.name}` lies {range_of(type_)}; this is {expr.text}", expr)
            return None
        if value < 0 and name != "real" and type_.low is None:
            self._report("A204", f"`{place.name}` cannot be negative; this is {expr.text}", expr)
            return None
        kind = "real" if name == "real" else expr.kind
        return ir.Qty(expr.span, kind, value, expr.text, expr.unit)

    def _price(self, expr: ast.Quantity, place: Place) -> ir.Value | None:
        per = place.per
        assert isinstance(per, ast.Quantity)
        if per.kind != "tokens" or per.value <= 0:
            self._report("A202", "a price is money per tokens", per, help=f"write `{expr.text} per 1M tokens`")
            return None
        text = f"{expr.text} per {per.text}"
        return ir.Qty(expr.span.to(per.span), "money", expr.value, text, None, (per.kind, per.value))

    def _share_out_ofrange_of(self, expr: ast.Quantity, place: Place) -> None:
        help_ = None
        if expr.value > 1 and place.name == "select":
            times = expr.value
            displayed = f"{times}x" if times.denominator == 1 else f"{float(times):g}x"
            help_ = f"for more data than there is, write a multiplier in the mixture: `{displayed}`"
        what = "a share of rows" if place.name in ("select", "sound", "eval_share") else "a share"
        self._report("A203", f"{what} lies between 0% and 100%; this is {expr.text}", expr, help=help_)

    def _choice(self, expr: ast.Expr, type_: AttrType, place: Place) -> ir.Value | None:
        name = choice_name(expr)
        assert name is not None
        if name in type_.names:
            return ir.ChoiceV(expr.span, name)
        text, edit = did_you_mean(name, type_.names, expr.span)
        self.context.problems.add(
            "A213",
            f"`{place.name}` does not know `{name}`",
            expr.span,
            help=text or f"it is {either(tuple(map(spelled, type_.names)))}",
            edit=edit,
        )
        return None

    def _ref(self, expr: ast.Expr, type_: AttrType, place: Place) -> ir.Value | None:
        path = path_of(expr)
        assert path is not None
        any_kind = type_.names in (("any",), ("same",))
        kinds = () if any_kind else type_.names
        found = find(path, self.scope)
        if isinstance(found, Missing):
            if kinds == ("schema",) and expr_name(expr) == "sft":
                return ir.RefV(expr.span, "sft")
            report_missing(found, kinds, self.context.problems)
            return None
        if kinds and found.decl.kind not in kinds:
            if kinds == ("schema",) and expr_name(expr) == "sft":
                return ir.RefV(expr.span, "sft")
            named = path[: len(path) - len(found.rest)]
            wrong_kind(place.name, kinds, found.decl, span_of(named), self.context.problems)
            return None
        if found.rest:
            self.context.problems.add(
                "A117",
                f"`{place.name}` takes a whole {found.decl.kind}, not a part of it",
                span_of(found.rest),
                help=f"write `{found.decl.name}`",
            )
            return None
        return ir.RefV(expr.span, found.decl.key)

    def _stream(self, expr: ast.Expr, _type: AttrType, place: Place) -> ir.Value | None:
        return stream_ref(expr, self.context, self.scope, place.name)

    def _name(self, expr: ast.Expr, _type: AttrType, _place: Place) -> ir.Value | None:
        path = path_of(expr)
        assert path is not None
        return ir.TextV(expr.span, ".".join(i.name for i in path))

    def _list(self, expr: ast.Expr, type_: AttrType, place: Place) -> ir.Value | None:
        items = expr.items if isinstance(expr, ast.ListExpr) else (expr,)
        result = [self.read(i, type_.of[0], place) for i in items]
        if any(m is None for m in result):
            return None
        return ir.ListV(expr.span, tuple(m for m in result if m is not None))

    def _record(self, expr: ast.Record, type_: AttrType, place: Place) -> ir.Value | None:
        entries: dict[str, tuple[Span, ast.Expr, ast.Expr | None]] = {
            f.name.name: (f.name.span, f.value, None) for f in expr.fields
        }
        return self.record(entries, type_, place, expr.span)

    def record(
        self, entries: dict[str, tuple[Span, ast.Expr, ast.Expr | None]], type_: AttrType, place: Place, span: Span
    ) -> ir.Value | None:
        """A record from its entries: name -> (its place, value, per)."""
        known = {f.name: f.type for f in type_.fields}
        fields: dict[str, ir.Value] = {}
        good = True
        for name, (at, value, per) in entries.items():
            if known and name not in known:
                text, edit = did_you_mean(name, known, at)
                self.context.problems.add(
                    "A102",
                    f"`{place.name}` has no `{name}`",
                    at,
                    help=text or f"it has {either(list(known))}",
                    edit=edit,
                )
                good = False
                continue
            if per is not None and name not in known:
                self.context.problems.add("A111", f"`{name}` takes no `per`", per.span)
                good = False
                continue
            result = self.read(value, known.get(name, LITERAL), Place(name, at, per))
            if result is None:
                good = False
            else:
                fields[name] = result
        if known and good and not fields:
            self.context.problems.add("A106", f"`{place.name}` is empty", span, help=f"it has {either(list(known))}")
            return None
        places = {name: at for name, (at, _, _) in entries.items()}
        return ir.RecordV(span, fields, places) if good else None

    def _method(self, expr: ast.Expr, type_: AttrType, place: Place) -> ir.Value | None:
        return calls.method(self, expr, type_, place.name)

    def _literal(self, expr: ast.Expr, _type: AttrType, place: Place) -> ir.Value | None:
        match expr:
            case ast.Null(span=span):
                return ir.NullV(span)
            case ast.Quantity():
                return ir.Qty(expr.span, expr.kind, expr.value, expr.text, expr.unit)
            case ast.Text():
                return self._text(expr, LITERAL, place)
            case ast.Bool():
                return self._bool(expr, LITERAL, place)
            case ast.ListExpr():
                return self._list(expr, LITERALS, place)
            case ast.Record():
                return self._record(expr, LITERAL, place)
            case _:
                self._report("A201", f"`{place.name}` needs a value, but this is {describe(expr)}", expr)
                return None

    # --- expressions --------------------------------------------------------------------------------------------------

    def _expr(self, expr: ast.Expr, _type: AttrType, place: Place) -> ir.Value | None:
        return expression(expr, replace(self._env(), attribute=place.name))

    def _condition(self, expr: ast.Expr, _type: AttrType, place: Place) -> ir.Value | None:
        return condition(expr, self._env(), f"`{place.name}`")

    def _env(self) -> Env:
        return self.env if self.env is not None else Env(self.context, self.scope)

    def _select(self, expr: ast.Expr, _type: AttrType, place: Place) -> ir.Value | None:
        name = param_name(expr)
        if name is not None:
            value = self._param(name)
            if value is None:
                return None
            expr, place = value, replace(place, from_param=name.name)
        per = self._per(place)
        if per is None:
            return None
        match expr:
            case ast.Quantity(kind="percent"):
                share = self._number(expr, PERCENT, place)
                assert share is None or isinstance(share, ir.Qty)
                return None if share is None else ir.SelectV(expr.span, share=share.value, per=per)
            case ast.Quantity(kind="rows"):
                count = self._number(expr, ROWS, place)
                assert count is None or isinstance(count, ir.Qty)
                return None if count is None else ir.SelectV(expr.span, count=int(count.value), per=per)
            case ast.Quantity() | ast.Text() | ast.ListExpr() | ast.Record() | ast.Null() | ast.Interval():
                self._mismatch(expr, SELECT, place)
                return None
        if per:
            self._report("A210", "`per` goes with a share or a count, and this is a condition", expr)
            return None
        where = condition(expr, self._env(), "`select`")
        return None if where is None else ir.SelectV(expr.span, where=where)

    def _per(self, place: Place) -> tuple[str, ...] | None:
        if place.per is None:
            return ()
        result = expression(place.per, self._env())
        if result is None:
            return None
        if result.tree[0] != "col":
            self.context.problems.add(
                "A503", "`per` takes the name of a column", place.per.span, help="for example `per origin`"
            )
            return None
        return (str(result.tree[1]),)

    # --- messages -----------------------------------------------------------------------------------------------------

    def _report(self, code: str, headline: str, expr: ast.Expr, **kw: Any) -> None:
        self.context.problems.add(code, headline, expr.span, **kw)

    def _mismatch(self, expr: ast.Expr, type_: AttrType, place: Place) -> None:
        """A value of another type or unit than the attribute takes."""
        name = place.name
        via = f" (from `param.{place.from_param}`)" if place.from_param else ""
        wanted = nouns(type_)
        if isinstance(expr, ast.Quantity) and self._wrong_unit(expr, type_, place, wanted, via):
            return
        help_, edit = example(expr, type_, name)
        self.context.problems.add(
            "A201",
            f"`{name}` is {wanted}, but this is {describe(expr)}{via}",
            expr.span,
            help=help_,
            edit=edit if not via else None,
        )

    def _wrong_unit(self, expr: ast.Quantity, type_: AttrType, place: Place, wanted: str, via: str) -> bool:
        numeric = [t.name for t in type_.alternatives if t.name in UNITS]
        if type_.name == "list" and type_.of[0].name in UNITS:
            numeric = [type_.of[0].name]
        if type_.name == "select":
            numeric = ["percent", "rows"]
        if not numeric:
            return False
        name = place.name
        if "duration" in numeric and expr.kind == "int" and expr.text.endswith("M"):
            fixed = expr.text[:-1] + "m"
            count = next((w for w, n in NUMBER_WORDS.items() if str(n) == expr.text[:-1]), expr.text[:-1])
            self._report(
                "A205",
                f"`M` means million; `{name}` is a duration",
                expr,
                help=f"write `{fixed}` for {count} minute{'s' * (count != 'one')}",
                edit=Edit(expr.span, fixed) if not via else None,
            )
            return True
        if numeric == ["price"] and expr.kind == "money":
            text = f"{expr.text} per 1M tokens"
            self._report(
                "A202",
                f"`{name}` is a price, but this is money without what it buys",
                expr,
                help=f"write `{text}`",
                edit=Edit(expr.span, text, safe=False),
            )
            return True
        if expr.kind == "real" and "int" in numeric and "real" not in numeric:
            self._report("A206", f"`{name}` is a whole number, and `{expr.text}` is not", expr)
            return True
        help_, edit = with_unit(expr, numeric)
        has = "has no unit" if expr.kind in ("int", "real") else f"is {NOUNS[expr.kind][0]}"
        self._report(
            "A202",
            f"`{name}` is {wanted}, but `{expr.text}` {has}{via}",
            expr,
            help=help_,
            edit=edit if not via else None,
        )
        return True


LITERAL: Final = AttrType("literal")
LITERALS: Final = AttrType("list", (LITERAL,))
PERCENT: Final = AttrType("percent")
ROWS: Final = AttrType("rows")
SELECT: Final = AttrType("select")


# --- value messages --------------------------------------------------------------------------------------------------

#: What a type is called in messages, and an example of it.
NOUNS: Final = {
    "text": ("text", '"…"'),
    "template": ("a template", 'jinja"""…"""'),
    "bool": ("true or false", "true"),
    **{name: (unit.noun, unit.example) for name, unit in UNITS.items()},
    "ref": ("the name of a block", "…"),
    "stream": ("the name of a stream", "clean"),
    "method": ("a method", "exact()"),
    "list": ("a list", "[…]"),
    "record": ("a record", "{ a = 1 }"),
    "name": ("a name", "clean"),
    "choice": ("one of a few names", "…"),
    "literal": ("a value", "1"),
}
NUMBER_WORDS: Final = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
}


def alternative(type_: AttrType, expr: ast.Expr, place: Place) -> AttrType | None:
    """The alternative that a value is meant for: one that knows its name, else one of its shape."""
    fitting = [t for t in type_.alternatives if accepts(t, expr, place)]
    if isinstance(expr, ast.Text) and {"template", "text"} <= {t.name for t in fitting}:
        # a plain text is a template where it says so, and else the name of something
        wanted = "template" if any(mark in expr.value for mark in ("{{", "{%")) else "text"
        fitting = [t for t in fitting if t.name == wanted]
    name = choice_name(expr) or (expr.function.name if isinstance(expr, ast.Call) else None)
    if len(fitting) > 1 and name is not None:
        for one in fitting:
            if name in one.names or (one.name == "method" and name in calls.method_names(one)):
                return one
    return fitting[0] if fitting else None


def accepts(type_: AttrType, expr: ast.Expr, place: Place) -> bool:
    """Whether an expression has the shape of a type; ranges and names are looked at later."""
    name = type_.name
    match name:
        case "expr" | "condition" | "select" | "literal":
            return True
        case "text":
            return isinstance(expr, ast.Text) and expr.form != "template"
        case "template":
            return isinstance(expr, ast.Text)
        case "bool":
            return isinstance(expr, ast.Bool)
        case "choice":
            found = choice_name(expr)
            if found is None:
                return False
            if isinstance(expr, ast.Text) and place.from_param is None:
                return found in type_.names and found in RESERVED
            return found in type_.names or isinstance(expr, ast.Name | ast.Text)
        case "ref" | "stream" | "name":
            return path_of(expr) is not None
        case "method":
            return isinstance(expr, ast.Call | ast.Name)
        case "list":
            if isinstance(expr, ast.ListExpr):
                return True
            return accepts_any(type_.of[0], expr, place)
        case "record":
            return isinstance(expr, ast.Record)
    return isinstance(expr, ast.Quantity) and _number_fits(name, expr, place)


def accepts_any(type_: AttrType, expr: ast.Expr, place: Place) -> bool:
    """Whether one of the alternatives accepts the expression."""
    return any(accepts(t, expr, place) for t in type_.alternatives)


def _number_fits(name: str, expr: ast.Quantity, place: Place) -> bool:
    if name == "price":
        return expr.kind == "money" and isinstance(place.per, ast.Quantity)
    if name == "real":
        return expr.kind in ("int", "real")
    return expr.kind == name


def choice_name(expr: ast.Expr) -> str | None:
    """The name that stands for a choice: bare, as a text, or as a call without arguments."""
    match expr:
        case ast.Name(name=name):
            return name
        case ast.Text(value=value):
            return value
        case ast.Call(function=function, args=()):
            return function.name
        case _:
            return None


def unreadable(expr: ast.Expr) -> bool:
    """Whether a part of a calculation could not be read, which was reported."""
    waiting = [expr]
    while waiting:
        match waiting.pop():
            case ast.BadExpr():
                return True
            case ast.Binary(left=left, right=right):
                waiting += [left, right]
            case ast.Unary(operand=operand):
                waiting.append(operand)
            case _:
                pass
    return False


def expr_name(expr: ast.Expr) -> str | None:
    return expr.name if isinstance(expr, ast.Name) else None


def param_name(expr: ast.Expr) -> ast.Ident | None:
    """`x` of `param.x`."""
    if isinstance(expr, ast.Member) and isinstance(expr.base, ast.Name) and expr.base.name == "param":
        return expr.name
    return None


def folded(expr: ast.Expr) -> ast.Expr:
    """`-5` as one number."""
    if isinstance(expr, ast.Unary) and expr.op == "-" and isinstance(expr.operand, ast.Quantity):
        inner = expr.operand
        return replace(inner, span=expr.span, value=-inner.value, text="-" + inner.text)
    return expr


def relocated(expr: ast.Expr, span: Span) -> ast.Expr:
    """A copy of a value whose place is another one: where a parameter is used."""
    if isinstance(expr, ast.ListExpr):
        return replace(expr, span=span, items=tuple(relocated(i, span) for i in expr.items))
    if isinstance(expr, ast.Text):
        return replace(expr, span=span, line_offsets=())
    return replace(expr, span=span)


def nouns(type_: AttrType) -> str:
    """A type in words: "a number of rows or a number of tokens"."""
    if type_.name == "select":
        return "a share, a count of rows or a condition"
    if type_.name == "list":
        return nouns(type_.of[0])
    words: dict[str, None] = {}
    for one in type_.alternatives:
        if one.name == "choice":
            words[either(tuple(map(spelled, one.names)))] = None
        elif one.name == "ref" and one.names not in (("any",), ("same",)):
            words["the name of a " + " or ".join(one.names)] = None
        elif one.name == "int" and any(t.name == "real" for t in type_.alternatives):
            continue
        elif one.name == "list":
            words[nouns(one)] = None
        else:
            words[NOUNS[one.name][0]] = None
    return " or ".join(words)


def describe(expr: ast.Expr) -> str:
    """What an expression is, in words."""
    match expr:
        case ast.Quantity(kind="percent"):
            return "a percent"
        case ast.Quantity(kind=kind):
            return NOUNS[kind][0]
        case ast.Text(form="template"):
            return "a template"
        case ast.Text():
            return "text"
        case ast.Bool():
            return "true or false"
        case ast.Null():
            return "null"
        case ast.Name(name=name):
            return f"the name `{name}`"
        case ast.Member() | ast.Index():
            return "a name"
        case ast.Call(function=function):
            return f"a call of `{function.name}`"
        case ast.ListExpr():
            return "a list"
        case ast.Record():
            return "a record"
        case ast.Interval():
            return "an interval"
        case _:
            return "a calculation"


def range_of(type_: AttrType) -> str:
    if type_.low is None:
        return f"at or below {type_.high}"
    if type_.high is None:
        return f"at or above {type_.low}"
    return f"between {type_.low} and {type_.high}"


def with_unit(expr: ast.Quantity, numeric: list[str]) -> tuple[str | None, Edit | None]:
    """The number as it would be right."""
    if expr.kind == "percent" and "real" in numeric:
        text = f"{float(expr.value):g}"
        return f"write `{text}`", Edit(expr.span, text)
    if expr.kind not in ("int", "real"):
        return f"for example `{NOUNS[numeric[0]][1]}`", None
    whole = expr.value.denominator == 1
    if "percent" in numeric and 0 < expr.value < 1:
        text = f"{float(expr.value * 100):g}%"
        return f"write `{text}`", Edit(expr.span, text)
    usable = [
        UNITS[n].form.format(expr.text)
        for n in numeric
        if UNITS[n].form and (whole or not UNITS[n].whole) and not (n == "percent" and expr.value > 100)
    ]
    if not usable:
        return None, None
    edit = Edit(expr.span, usable[0], safe=False) if len(usable) == 1 else None
    return "write " + either(usable), edit


def example(expr: ast.Expr, type_: AttrType, name: str) -> tuple[str | None, Edit | None]:
    first = type_.of[0] if type_.name == "list" else type_.alternatives[0]
    names = {t.name for t in type_.alternatives} | {first.name}
    if isinstance(expr, ast.Text) and expr.form == "string":
        value = expr.value.strip()
        if names & {"int", "real"}:
            number = NUMBER_WORDS.get(value.lower(), value)
            if re.fullmatch(r"[0-9]+(\.[0-9]+)?", str(number)):
                return f"write `{name} = {number}`", Edit(expr.span, str(number))
        if names & (UNITS.keys() | {"bool", "stream", "ref", "choice"}) and re.fullmatch(
            r"[A-Za-z0-9_.%$/]+( [a-z]+)?", value
        ):
            choices = [n for t in type_.alternatives for n in t.names if t.name == "choice"]
            safe = value in choices or value in ("true", "false")
            return f"write it without quotes: `{value}`", Edit(expr.span, value, safe=safe)
    if isinstance(expr, ast.Name) and names & {"text", "template"}:
        return f'write it in quotes: `"{expr.name}"`', Edit(expr.span, f'"{expr.name}"')
    if names & {"text", "template"} and isinstance(expr, ast.Binary):
        return "text is written in quotes", None
    if first.name == "ref" and isinstance(expr, ast.Text) and first.names not in (("any",), ("same",)):
        kind = first.names[0]
        return f"declare one, `{kind} NAME {{ … }}`, and write its name", None
    if first.name == "choice":
        return f"it is {either(tuple(map(spelled, first.names)))}", None
    example = NOUNS.get(first.name, ("", "…"))[1]
    return (f"for example `{name} = {example}`" if "…" not in example[:1] else None), None
