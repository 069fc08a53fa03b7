"""Variants: which ones a recipe has, what `any(…)` makes of them, and the changes of the chosen one to the
declarations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, product
from math import prod

from alchemist_runtime.schema.attributes import UNITS
from alchemist_runtime.schema.kinds import KINDS

from alchemist_dsl.checker.context import Context
from alchemist_dsl.checker.inheritance import merge
from alchemist_dsl.checker.load import declared_type, value_text
from alchemist_dsl.checker.names import Body, Decl, Found, Missing, Place, Placed, dotted, find, report_missing, span_of
from alchemist_dsl.checker.problems import did_you_mean, listed
from alchemist_dsl.checker.values import Values
from alchemist_dsl.diagnostics.model import Label, near
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

Change = Placed[ast.Assign]
_MOST = 10_000
#: Of a variant with more runs, not every one is looked at where all are asked for.
_ALL = 64
#: So many runs of one variant a message names.
_SHOWN = 12
#: Types whose values can be read without knowing the rows.
_PLAIN = frozenset(UNITS) - {"price"} | {"text", "bool", "choice", "name"}


def names(context: Context) -> tuple[str, ...]:
    """All names that `--variant` takes: a variant with `any(…)` stands for one run per combination."""
    return tuple(name for decl in _variants(context) for name in islice(_expanded(decl), _MOST))


def looked_at(context: Context) -> tuple[tuple[str, ...], frozenset[str]]:
    """Runs that between them stand for all: those of a variant with few; else so many that every value of its `any(…)`
    is in one. With them, the variants of which not every run is among them."""
    runs: list[str] = []
    crowded = set()
    for decl in _variants(context):
        choices = _choices(decl)
        if prod(map(len, choices)) <= _ALL:
            runs += _expanded(decl)
        else:
            crowded.add(decl.name)
            for i in range(max(map(len, choices))):
                runs.append(_run_name(decl.name, [c[i % len(c)] for c in choices]))
    return tuple(runs), frozenset(crowded)


def _variants(context: Context) -> list[Decl]:
    return [d for d in context.scope.decls.values() if d.kind == "variant"]


def _choices(decl: Decl) -> list[list[ast.Expr]]:
    found = []
    for change in decl.body.sets.values():
        options = _options(change.stmt.value)
        if options is not None:
            found.append(options)
    return found


def _options(expr: ast.Expr) -> list[ast.Expr] | None:
    if isinstance(expr, ast.Call) and expr.function.name == "any":
        return [a.value for a in expr.args]
    return None


def _check_options(context: Context, value: ast.Expr) -> bool:
    """Whether `any(…)` names runs, each once; true of every other value."""
    options = _options(value)
    if options is None:
        return True
    if not options:
        context.problems.add(
            "A208", "`any()` has no value, so there is no run", value.span, help="name what is tried: `any(1%, 5%)`"
        )
        return False
    seen: dict[str, ast.Expr] = {}
    for option in options:
        name = value_text(option)
        first = seen.setdefault(name, option)
        if first is not option:
            context.problems.add(
                "A208",
                f"`any` names `{name}` twice, and two runs cannot have one name",
                option.span,
                labels=(Label(first.span, "first"),),
                help="keep one",
            )
    return len(seen) == len(options)


def _expanded(decl: Decl) -> list[str] | tuple[str, ...]:
    choices = _choices(decl)
    if not choices:
        return (decl.name,)
    return [_run_name(decl.name, picks) for picks in islice(product(*choices), _MOST)]


def _run_name(name: str, picks: Sequence[ast.Expr]) -> str:
    return f"{name}[{','.join(map(_value_name, picks))}]"


def _value_name(value: ast.Expr) -> str:
    return value_text(value).strip('"')


# --- applying ---------------------------------------------------------------------------------------------------------


def apply(context: Context, variant: str | None) -> str | None:
    """Check the paths of all variants, and make the changes of the chosen one. Returns its name as the recipe spells
    it.
    """
    _inherit(context)
    chosen: list[Change] = []
    if variant is not None:
        wanted = variant.replace(" ", "")
        variant = next((n for n in names(context) if n.replace(" ", "") == wanted), variant)
    for decl in _variants(context):
        for change in decl.body.sets.values():
            if _check_options(context, change.stmt.value):
                _check_value(context, change)
    if variant is not None:
        chosen = _chosen(context, variant)
    for change in chosen:
        _apply(context, change)
    return variant


def _inherit(context: Context) -> None:
    """A variant that extends another makes its changes first."""
    done: dict[str, Body] = {}

    def body(decl: Decl, chain: tuple[str, ...]) -> Body:
        placed = decl.body.attrs.get("extends")
        if decl.key in done or placed is None or not isinstance(placed.stmt.value, ast.Name):
            return decl.body
        base = context.scope.decls.get(placed.stmt.value.name)
        if base is None or base.kind != "variant" or base.key in chain:
            return decl.body  # reported where all `extends` are
        made = Body(sets=dict(body(base, (*chain, decl.key)).sets))
        merge(made, decl.body, KINDS["variant"])
        done[decl.key] = made
        return made

    for decl in _variants(context):
        decl.body = body(decl, ())


def _chosen(context: Context, variant: str) -> list[Change]:
    wanted = variant.replace(" ", "")
    for decl in _variants(context):
        changes = list(decl.body.sets.values())
        origin = f"variant:{variant}"
        choices = _choices(decl)
        if not choices and decl.name == wanted:
            return [Placed(c.stmt, c.scope, origin) for c in changes]
        if decl.name == wanted:
            if all(choices):  # an empty `any()` is reported where it stands
                _several(context, decl)
            return []
        if not wanted.startswith(decl.name + "["):
            continue
        left = _picks(wanted.removeprefix(decl.name + "["), choices)
        if left is not None:
            return [
                Placed(
                    replace(c.stmt, value=left.pop(0)) if _options(c.stmt.value) is not None else c.stmt,
                    c.scope,
                    origin,
                )
                for c in changes
            ]
    known = names(context)
    close = near(variant, list(known), 3) or _runs_near(context, variant)
    context.problems.add(
        "A103",
        f"the recipe has no variant `{variant}`",
        Span(context.scope.path, 0, 0),
        help="did you mean " + listed(close, "or") + "?" if close else None,
        note=None if close else ("variants: " + listed(known[:8]) if known else "it declares none"),
    )
    return []


def _picks(named: str, choices: Sequence[Sequence[ast.Expr]]) -> list[ast.Expr] | None:
    """What the rest of a run's name chooses, `1%,5]` of `ratio[1%,5]`; None where it names no run."""
    if not choices:
        return [] if named == "" else None
    for option in choices[0]:
        start = _value_name(option).replace(" ", "") + (",]"[len(choices) == 1])
        if named.startswith(start):
            more = _picks(named.removeprefix(start), choices[1:])
            if more is not None:
                return [option, *more]
    return None


def _runs_near(context: Context, variant: str) -> list[str]:
    """Runs of a variant whose own name is near, where what stands in the brackets was left out or is far from all."""
    by_name = {d.name: d for d in _variants(context)}
    name = variant.partition("[")[0]
    close = [name] if name in by_name else near(name, list(by_name), 3)
    return [run for name in close for run in islice(_expanded(by_name[name]), 3)][:3]


def _several(context: Context, decl: Decl) -> None:
    runs = _expanded(decl)
    context.problems.add(
        "A122",
        f"the variant `{decl.name}` stands for {prod(map(len, _choices(decl))):,} runs",
        decl.block.header,
        help=f"name one: {listed(list(runs)[:3], 'or')}",
        note=f"all: {listed(list(runs)[:_SHOWN])}" if 3 < len(runs) <= _SHOWN else None,
    )


def _target(context: Context, change: Change) -> tuple[Decl, tuple[ast.Ident, ...]] | None:
    path, scope = change.stmt.path, change.scope
    found = find(path, scope)
    if isinstance(found, Missing):
        report_missing(found, (), context.problems)
        return None
    assert isinstance(found, Found)
    if not found.rest:
        context.problems.add(
            "A111",
            f"`{dotted(path)}` is a whole block; a variant sets an attribute of it",
            span_of(path),
            help=f"for example `set {dotted(path)}.{next(iter(KINDS[found.decl.kind].attributes))} = …`",
        )
        return None
    return found.decl, found.rest


def _check_value(context: Context, change: Change) -> None:
    """Report paths that lead nowhere, and plain values of the wrong type, also in variants that are not chosen."""
    path, scope = change.stmt.path, change.scope
    if path[0].name == "param":
        _check_param(context, change)
        return
    target = _target(context, change)
    if target is None:
        return
    decl, rest = target
    kind = KINDS[decl.kind]
    attribute = kind.attributes.get(rest[0].name)
    if len(rest) == 1 and attribute is not None:
        type_ = attribute.type
        if any(t.name not in _PLAIN for t in type_.alternatives) or isinstance(change.stmt.value, ast.Null):
            return
        for option in _options(change.stmt.value) or [change.stmt.value]:
            Values(context, scope).read(option, type_, Place(rest[0].name, option.span, change.stmt.per))
        return
    if len(rest) > 1 and (rest[0].name in kind.blocks or attribute is not None):
        _check_entry(context, change, decl, rest)
        return
    if "extends" in decl.body.attrs and isinstance(change.stmt.value, ast.Null):
        return  # it may take away what comes from the base: known where the variant is chosen
    if len(rest) == 1 and (_rule(decl, rest[0].name) or rest[0].name in decl.body.sets):
        return
    known = [*kind.attributes, *kind.blocks]
    text, edit = did_you_mean(rest[0].name, known, rest[0].span)
    context.problems.add(
        "A102", f"`{decl.kind} {decl.name}` has no attribute `{rest[0].name}`", rest[0].span, help=text, edit=edit
    )


def _check_entry(context: Context, change: Change, decl: Decl, rest: tuple[ast.Ident, ...]) -> None:
    """A variant cannot take away an entry that is not there; with `extends`, that shows where it is chosen."""
    block, name = rest[0].name, dotted(rest[1:])
    known = decl.body.blocks.get(block, {})
    if not isinstance(change.stmt.value, ast.Null) or name in known:
        return
    if block not in KINDS[decl.kind].blocks or "extends" in decl.body.attrs:
        return
    span = span_of(rest[1:])
    text, edit = did_you_mean(name, known, span)
    context.problems.add(
        "A102",
        f"`{block}` of `{decl.name}` has no `{name}` that could be removed",
        span,
        help=text,
        edit=edit,
        note=None if text or not known else "it has " + listed(list(known)[:8]),
    )


def _rule(decl: Decl, name: str) -> bool:
    return any(r.stmt.name is not None and r.stmt.name.name == name for r in decl.body.rules)


def _check_param(context: Context, change: Change) -> None:
    path = change.stmt.path
    param = change.scope.params.get(path[1].name) if len(path) == 2 else None
    if param is None:
        name = path[-1]
        text, edit = did_you_mean(name.name, change.scope.params, name.span)
        context.problems.add("A116", f"there is no parameter `{name.name}`", name.span, help=text, edit=edit)
        return
    type_ = declared_type(param.decl.type)
    if type_ is not None:
        for option in _options(change.stmt.value) or [change.stmt.value]:
            Values(context, change.scope).read(option, type_, Place(param.name, option.span, from_param=None))


def _apply(context: Context, change: Change) -> None:
    path, value = change.stmt.path, change.stmt.value
    if path[0].name == "param":
        param = change.scope.params.get(path[1].name) if len(path) == 2 else None
        if param is not None:
            param.expr, param.origin = value, "variant"
        return
    found = find(path, change.scope)
    if not isinstance(found, Found) or not found.rest:
        return
    decl, rest = found.decl, found.rest
    kind = KINDS[decl.kind]
    inner = Body()
    if len(rest) == 1:
        statement = replace(change.stmt, path=rest, set=False)
        is_set = rest[0].name in decl.body.sets
        if is_set and not isinstance(value, ast.Null):
            inner.sets[rest[0].name] = Placed(replace(statement, set=True), change.scope, change.origin)
        else:
            inner.attrs[rest[0].name] = Placed(statement, change.scope, change.origin)
    else:
        statement = replace(change.stmt, path=rest[1:], set=False)
        inner.blocks[rest[0].name] = {dotted(rest[1:]): Placed(statement, change.scope, change.origin)}
        inner.block_spans[rest[0].name] = decl.body.block_spans.get(rest[0].name, decl.block)
    merge(decl.body, inner, kind)
