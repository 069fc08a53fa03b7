"""What `set` and rules do to the columns of a row, and the types that fields may declare."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from alchemist_runtime.schema.rows import IDENTITY, MESSAGES, optional, required

from alchemist_dsl import ir
from alchemist_dsl.checker.block_checker import Building
from alchemist_dsl.checker.context import Context
from alchemist_dsl.checker.expressions import Env, condition, expression, row_variables
from alchemist_dsl.checker.load import unknown_type
from alchemist_dsl.checker.names import Found, Placed, Scope, find
from alchemist_dsl.checker.templates import template_span
from alchemist_dsl.checker.types import ANY, NULL, bounded, family, fits, join, noun, record
from alchemist_dsl.diagnostics.model import Edit, near
from alchemist_dsl.syntax import ast

#: What a conversation gives.
TURNS: Final[dict[str, str]] = {"system": "text?", "instruction": "text", "response": "text", "history": "messages?"}
#: Columns whose type the language fixes.
FIXED: Final[dict[str, str]] = {
    **{n: required(t) for n, t in TURNS.items()},
    "messages": "messages",
    "lang": "text",
    "tools": "json",
    "template_args": "json",
}


def read_sets(b: Building, env: Env) -> tuple[tuple[ir.SetV, ...], dict[str, str]]:
    """The assignments of a block, and the types that they give to columns (unknown where they are wrong)."""
    result: list[ir.SetV] = []
    types: dict[str, str] = {}
    for name, placed in b.body.sets.items():
        statement = placed.stmt
        span = statement.path[-1].span
        if name in IDENTITY or name.startswith("_"):
            b.error(
                "A511", f"`{name}` carries the identity of the row and cannot be set", span, note="lineage rests on it"
            )
            continue
        if statement.per is not None:
            b.error("A111", "`set` takes no `per`", statement.per.span)
        here = b.env_in(placed.scope) if env is b.env else _in(env, placed.scope)
        literal_braces(b, statement.value, here)
        expr = expression(statement.value, here)
        if expr is None:
            b.ok = False
            types[name] = FIXED.get(name, ANY)
            continue
        if not _fits_column(b, name, expr, statement):
            types[name] = FIXED[name]
            continue
        expr = _as_json(name, expr, env.stream.columns if env.stream is not None else {})
        type_ = expr.type if expr.type != NULL else optional(FIXED.get(name, "text"))
        types[name] = bounded(type_)
        result.append(ir.SetV(name, expr, span))
    return tuple(result), types


def _in(env: Env, scope: Scope) -> Env:
    return env if scope is env.scope else replace(env, scope=scope)


def _fits_column(b: Building, name: str, expr: ir.ExprV, statement: ast.Assign) -> bool:
    wanted = FIXED.get(name)
    if wanted is None or fits(expr.type, wanted) or wanted == "json":
        return True
    help_, edit = None, None
    if family(wanted) == "text" and family(expr.type) != "list":
        help_, edit = f"write `text({expr.text})`", Edit(expr.span, f"text({expr.text})")
    elif wanted == "messages":
        help_, edit = f"write `turns({expr.text})`", Edit(expr.span, f"turns({expr.text})")
    b.error(
        "A504",
        f"`{name}` is {noun(wanted)}, but this is {noun(expr.type)}",
        statement.value.span,
        help=help_,
        edit=edit,
    )
    return False


def _as_json(name: str, expr: ir.ExprV, columns: Mapping[str, str]) -> ir.ExprV:
    """A record, list, number or truth value that is set into a column of JSON becomes JSON; a text is taken as it
    is.
    """
    wanted = FIXED.get(name, columns.get(name, ANY))
    if family(wanted) != "json" or family(expr.type) in ("json", "text", "null", "any"):
        return expr
    return replace(expr, type="json")


def columns_of_one_type(b: Building, sets: tuple[ir.SetV, ...]) -> None:
    """Report assignments that some rows get and others do not, where the column would hold two types."""
    for s in sets:
        have = b.stream.columns.get(s.column, ANY)
        if join(have, bounded(s.expr.type)) is None:
            b.error(
                "A504",
                f"`{s.column}` holds `{have}` in the rows that keep it, but this is `{s.expr.type}`",
                s.expr.span,
                help="set a column of another name, or change the column of all rows first",
            )


def with_sets(columns: Mapping[str, str], types: Mapping[str, str], *, partly: bool = False) -> dict[str, str]:
    """The columns after assignments. `partly`: some rows stay as they were."""
    out = dict(columns)
    flat = dict(types)
    if MESSAGES in flat:
        del flat[MESSAGES]
        for name, type_ in TURNS.items():
            flat.setdefault(name, type_)
    for name, type_ in flat.items():
        if not partly:
            out[name] = type_
        elif name in out:
            out[name] = join(out[name], type_) or ANY
        else:
            out[name] = optional(type_) if type_ != ANY else ANY
    return out


def read_rules(b: Building, env: Env, totals: Env) -> tuple[ir.RuleV, ...]:
    """The rules of a block in order. `expect` speaks of the block's own totals, the others of a row."""
    result: list[ir.RuleV] = []
    names: dict[str, None] = {}
    for placed in b.body.rules:
        rule = placed.stmt
        text = b.context.slice(rule.condition.span)
        name = rule.name.name if rule.name is not None else text
        if rule.verb != "expect" and name in names:
            b.error("A105", f"two rules of {b.title} are the same", rule.condition.span, help="delete one")
            continue
        names[name] = None
        base = totals if rule.verb == "expect" else env
        expr = condition(rule.condition, _in(base, placed.scope), f"`{rule.verb}`")
        if expr is None:
            b.ok = False
            continue
        if rule.verb == "expect":
            never_true(b, expr)
        result.append(ir.RuleV(rule.verb, name, expr, text, rule.span))
    return tuple(result)


def rule_names(b: Building) -> tuple[str, ...]:
    """Names under which the rules of a block count rows."""
    found = []
    for placed in b.body.rules:
        rule = placed.stmt
        if rule.verb != "expect":
            found.append(rule.name.name if rule.name else b.context.slice(rule.condition.span))
    return tuple(found)


_SHARES: Final = frozenset({"share", "drop_share"})


def never_true(b: Building, expr: ir.ExprV) -> None:
    """Report an expectation that no run can meet: fewer than no rows, more than all of them."""
    tree = expr.tree
    if tree[0] != "cmp" or tree[3][0] != "lit" or tree[3][1] not in ("int", "real", "percent", "money"):
        return
    from fractions import Fraction

    limit = Fraction(str(tree[3][2]))
    low, high = Fraction(0), None
    counted = tree[2]
    if counted[0] == "call" and counted[1] in _SHARES:
        high = Fraction(1)
    elif counted[0] not in ("total", "plan") and not (
        counted[0] == "call" and counted[1] in ("rows", "tokens", "calls", "cost", "chars", "words", "lines")
    ):
        return
    op = tree[1]
    never = (
        (op == "<" and limit <= low)
        or (op == "<=" and limit < low)
        or (op == "==" and (limit < low or (high is not None and limit > high)))
        or (high is not None and ((op == ">" and limit >= high) or (op == ">=" and limit > high)))
    )
    if never:
        bounds = "lies between 0% and 100%" if high is not None else "is never below 0"
        b.error("A215", f"this can never be true: `{expr.text}`", expr.span, note=f"the left side {bounds}")


# --- declared fields --------------------------------------------------------------------------------------------------

_COLUMN_TYPES: Final = frozenset(["text", "int", "real", "bool", "prob", "percent", "money", "json", "messages", "id"])


def read_fields(
    entries: Mapping[str, Placed[ast.FieldDecl]] | Mapping[str, object], b: Building
) -> tuple[ir.FieldV, ...]:
    """Typed fields of a schema or a prompt."""
    result = []
    for name, placed in entries.items():
        if not isinstance(placed, Placed) or not isinstance(placed.stmt, ast.FieldDecl):
            continue
        statement = placed.stmt
        if statement.default is not None:
            b.error("A118", "fields have no defaults in this version", statement.default.span)
        type_ = column_type_of(statement.type, placed.scope, b.context)
        if type_ is None:
            unknown_type(statement.type, b.context.problems, (*sorted(_COLUMN_TYPES), "list", "enum"))
            b.ok = False
            type_ = ANY
        result.append(ir.FieldV(name, type_, statement.name.span))
    return tuple(result)


def column_type_of(type_: ast.TypeExpr, scope: Scope, context: Context) -> str | None:
    """The column type that a declared type means; None where nothing is called so."""
    if type_.base in _COLUMN_TYPES or type_.base == "enum":
        return type_.text
    if type_.base == "list":
        inner = column_type_of(type_.args[0], scope, context) if type_.args else ANY
        result = None if inner is None else f"list<{inner}>"
    else:
        found = find([ast.Ident(type_.span, type_.base)], scope)
        schema = isinstance(found, Found) and found.decl.kind == "schema"
        columns = context.schema_types.get(found.decl.key) if isinstance(found, Found) and schema else None
        result = record(columns) if columns else None
    if result is None:
        return None
    return optional(result) if type_.nullable else result


def field_columns(fields: tuple[ir.FieldV, ...]) -> dict[str, str]:
    """Fields as columns, without the bounds of numbers."""
    return {f.name: bounded(f.type) for f in fields}


# --- braces ----------------------------------------------------------------------------------------------------------

_READ: Final = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)[^{}]*\}\}")

_HOW: Final = 'write a template: `jinja"""`, the text on lines of its own, `"""`'


def literal_braces(b: Building, value: ast.Expr, env: Env) -> None:
    """Report plain texts of an assignment whose `{{ name }}` means a column of the row, or could."""
    for text in _texts(value):
        for found in _READ.finditer(text.value):
            name = found[1]
            if name == "out" and env.out is not None:
                _report(b, text, found, None, 'join texts: `"…" + out.FIELD`; a template reads the columns of the row')
                break
            if _means_a_column(name, env):
                edit = _as_template(b, text) if text is value else None
                block = text.form == "block"
                help_ = "put `jinja` before the quotes" if block else _HOW
                _report(b, text, found, edit, help_)
                break


def _texts(value: ast.Expr) -> Iterator[ast.Text]:
    """Texts that become part of the column."""
    match value:
        case ast.Text(form="string" | "block"):
            yield value
        case ast.Binary(op="+", left=left, right=right):
            yield from _texts(left)
            yield from _texts(right)
        case ast.Call(function=ast.Ident(name="coalesce"), args=args):
            for argument in args:
                yield from _texts(argument.value)
        case _:
            pass


def _means_a_column(name: str, env: Env) -> bool:
    known = row_variables(env.stream)
    return known.open or name in known.types or bool(near(name, known.types, 1))


def _report(b: Building, text: ast.Text, found: re.Match[str], edit: Edit | None, help_: str) -> None:
    b.problem(
        "A410",
        f"`{' '.join(found[0].split())}` stays as it is written: the text around it is no template",
        template_span(text, found.start(), len(found[0])),
        help=help_,
        edit=edit,
    )


def _as_template(b: Building, text: ast.Text) -> Edit | None:
    """The same text as a template; None where its own quotes are in the way."""
    if text.form == "block":
        start = text.span.start
        return Edit(type(text.span)(text.span.file, start, start), "jinja", safe=False)
    file = b.context.loader.files.get(text.span.file)
    if file is None or '"""' in text.value or file.text[text.span.end :][:1] not in ("\n", ""):
        return None
    line = file.text[file.text.rfind("\n", 0, text.span.start) + 1 : text.span.start]
    indent = line[: len(line) - len(line.lstrip())] + "  "
    lines = "".join(f"{indent}{one}\n" if one else "\n" for one in text.value.split("\n"))
    return Edit(text.span, f'jinja"""\n{lines}{indent}"""', safe=False)
