"""Checks comprehension tasks: the port they learn from, the standard task of that port, and the classes of a choice."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.rows import DROPPED_COLUMNS

from alchemist_dsl import ir
from alchemist_dsl.checker import taint
from alchemist_dsl.checker.block_checker import Building, checks
from alchemist_dsl.checker.columns import TURNS, read_rules
from alchemist_dsl.checker.context import Context
from alchemist_dsl.checker.expressions import row_variables
from alchemist_dsl.checker.inheritance import inherited, merge
from alchemist_dsl.checker.names import Decl, Found, dotted, find, path_of
from alchemist_dsl.checker.problems import did_you_mean, listed
from alchemist_dsl.checker.sources import selected
from alchemist_dsl.checker.streams import joined
from alchemist_dsl.checker.teacher_steps import UNREADABLE
from alchemist_dsl.checker.templates import Variables
from alchemist_dsl.diagnostics.model import Label
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

#: The library's templates, by standard task.
_LIBRARY: Final = {"evolution": "evolution_task", "filtering": "filtering_task", "review": "review_task"}
#: What the templates of a multiple choice see beside the columns of the port.
CHOICE_VARIABLES: Final[dict[str, str]] = {
    "options": "list<text>",
    "letters": "list<text>",
    "letter": "text",
    "answer": "text",
    "classes": "list<text>",
}
_TEMPLATES: Final = ("instruction", "response")


# --- the standard task, decided on the statements before anything is typed --------------------------------------------


def standard_bases(context: Context) -> None:
    """Lay every task without templates over the library's task for its port."""
    for scope in list(context.loader.scopes.values()):
        for decl in list(scope.decls.values()):
            if decl.kind == "task" and "learn" in decl.body.attrs and not _has_templates(decl):
                _lay(decl, context)


def _has_templates(decl: Decl) -> bool:
    """Whether a task brings a template, itself or by what it extends."""
    seen: set[str] = set()
    at: Decl | None = decl
    while at is not None and at.key not in seen:
        seen.add(at.key)
        if any(n in at.body.attrs for n in _TEMPLATES):
            return True
        placed = at.body.attrs.get("extends")
        path = path_of(placed.stmt.value) if placed is not None else None
        found = find(path, placed.scope) if placed is not None and path else None
        at = found.decl if isinstance(found, Found) else None
    return False


def _lay(decl: Decl, context: Context) -> None:
    kind = standard(decl)
    if kind is None:
        return
    library = context.loader.load_std("alchemy", decl.block.header, "alchemy")
    base = library.decls.get(_LIBRARY[kind]) if library is not None else None
    if base is None or base.kind != "task":
        return
    body = inherited(base.body, f"extends:{base.key}")
    body.bad, body.wrong = (), False
    merge(body, decl.body, KINDS["task"])
    decl.body = body


def standard(decl: Decl) -> str | None:
    """The standard task of the ports that a task learns from; None where there is none or they differ."""
    placed = decl.body.attrs.get("learn")
    if placed is None:
        return None
    value = placed.stmt.value
    found = {_of_port(v, decl) for v in (value.items if isinstance(value, ast.ListExpr) else (value,))}
    return found.pop() if len(found) == 1 else None


def _of_port(expr: ast.Expr, decl: Decl) -> str | None:
    path = path_of(expr)
    placed = decl.body.attrs["learn"]
    found = find(path, placed.scope) if path else None
    if not isinstance(found, Found) or not found.rest:
        return None
    port, step = found.rest[0].name, found.decl
    if port == "dropped":
        return "filtering"
    if port != "trace":
        return None
    if (step.kind == "relabel" and not step.body.sets) or "instruction" in step.body.sets:
        return "evolution"
    prompt = step.body.attrs.get("prompt")
    path = path_of(prompt.stmt.value) if prompt is not None else None
    requested = find(path, prompt.scope) if prompt is not None and path else None
    outputs = requested.decl.body.blocks.get("output", {}) if isinstance(requested, Found) else {}
    return "review" if {"correctness", "clarity"} <= set(outputs) else None


# --- the block --------------------------------------------------------------------------------------------------------


@checks("task")
def task(b: Building) -> None:
    """A comprehension task."""
    if _template_only(b):
        b.variables = Variables({}, open=True)
        b.done.add("learn")
        b.rest()
        return
    b.read_from("learn", "learn")
    decided = standard(b.decl)
    classes = "classes" in b.body.blocks
    choice = classes or decided == "filtering"
    own = row_variables(b.stream)
    if choice:
        own = replace(own, types={**own.types, **CHOICE_VARIABLES})
    b.variables = own
    b.rest()
    selected(b)
    b.extra["rules"] = read_rules(b, b.env, replace(b.env, stream=None, totals=()))
    templates: list[str] = [n for n in _TEMPLATES if n in b.attrs]
    standard_one = any(b.body.attrs[n].origin.endswith("." + _LIBRARY[decided]) for n in templates if decided)
    if decided == "filtering" and (choice or standard_one):
        b.extra["standard_task"] = "filtering"
    elif standard_one:
        b.extra["standard_task"] = decided
    _complete(b, templates)
    _not_from_leaks(b)
    b.extra["classes"] = _classes(b)
    _sound(b)
    columns = {**TURNS, "lang": "text?"}
    b.stream = replace(b.stream, columns=columns, open=False, conflicts={}, taints=_told(b))
    b.publish("rows", columns, open=False)
    b.publish("dropped", {**columns, **DROPPED_COLUMNS}, open=False)


def _told(b: Building) -> taint.Taints:
    """Text that the templates take from the rows that the task tells of."""
    reported = joined(b.inputs, b.context) if b.inputs else b.stream
    written = {n: b.get(n) for n in ("system", *_TEMPLATES)}
    reads = {n: {*v.reads} - {*CHOICE_VARIABLES} for n, v in written.items() if isinstance(v, ir.TemplateV)}
    return taint.told_by(reported.taints, reads, reported.columns)


def _template_only(b: Building) -> bool:
    """A task of a library that only holds templates to extend."""
    imported = bool(b.decl.scope.prefix)
    return imported and "learn" not in b.body.attrs and all(n in b.body.attrs for n in _TEMPLATES)


def _complete(b: Building, templates: list[str]) -> None:
    lacking = [n for n in _TEMPLATES if n not in templates and n not in b.body.attrs]
    if not lacking or not b.ok or not b.inputs or b.incomplete:
        return
    if any(b.context.blocks[r.target].poisoned for r in b.inputs if r.target in b.context.blocks):
        b.ok = False
        return
    if len(lacking) == 1:
        b.error("A106", f"{b.title} needs `{lacking[0]}`", b.header, help=f'for example `{lacking[0]} = jinja"""…"""`')
        return
    displayed = b.context.slice(b.inputs[0].span)
    b.error(
        "A510",
        f"there is no standard task for `{displayed}`",
        b.inputs[0].span,
        note=(
            "standard tasks: the `.trace` of a step that changes the instruction, the `.trace` of a review with "
            "`correctness` and `clarity`, and any `.dropped`"
        ),
        help='write templates: `instruction = jinja"""…"""` and `response = jinja"""…"""`',
    )


def _not_from_leaks(b: Building) -> None:
    for ref in b.inputs:
        block = b.context.blocks.get(ref.target)
        if ref.port == "dropped" and block is not None and block.kind == "decontaminate":
            b.error(
                "A506",
                f"`{ref.target}.dropped` holds the rows that leak a benchmark, and this task would train on them",
                ref.span,
                labels=(Label(block.name_span, "decontaminated here"),),
                help="learn from the `.dropped` of a filter or a dedup instead",
            )


def _sound(b: Building) -> None:
    sound = b.get("sound")
    if not isinstance(sound, ir.Qty) or sound.value == 0:
        return
    refused = [r for r in b.inputs if r.port == "dropped"]
    if not refused:
        if b.attrs["sound"].origin != "default" and b.inputs and b.ok:
            b.error(
                "A111",
                "`sound` mixes in rows that a step kept, so it goes with a `.dropped` port",
                b.attrs["sound"].name_span,
            )
        return
    for ref in refused:
        b.add_input(ir.RefV(b.attrs["sound"].value.span, ref.target, "rows", ref.origin), "sound")


# --- classes ----------------------------------------------------------------------------------------------------------


def _rules(b: Building) -> dict[str, Span] | None:
    """Rules of the steps that were learned from, with their places; None where they are not known."""
    found: dict[str, Span] = {}
    for ref in b.inputs:
        if ref.port != "dropped":
            continue
        decl = b.context.decls.get(ref.target)
        if decl is None or decl.kind == "source":
            return None
        if b.context.bodies[ref.target].lost:
            return None
        for placed in b.context.bodies[ref.target].rules:
            rule = placed.stmt
            if rule.verb != "expect":
                name = rule.name.name if rule.name is not None else b.context.slice(rule.condition.span)
                found[name] = rule.name.span if rule.name is not None else rule.span
        for reason in KINDS[decl.kind].refuses[:1]:
            found.setdefault(reason, ref.span)
    return found


def _classes(b: Building) -> tuple[ir.ClassV, ...]:
    rules = _rules(b)
    entries = b.body.blocks.get("classes")
    if entries is None:
        if b.extra.get("standard_task") != "filtering" or not rules or not b.ok:
            return ()
        return tuple(ir.ClassV(n, (n,), b.header) for n in rules if n != UNREADABLE)
    result: list[ir.ClassV] = []
    taken: dict[str, Span] = {}
    for name, placed in entries.items():
        if not isinstance(placed.stmt, ast.Assign):
            continue
        value = placed.stmt.value
        items = value.items if isinstance(value, ast.ListExpr) else (value,)
        names = [n for i in items if (n := _rule(b, i, rules, taken)) is not None]
        result.append(ir.ClassV(name, tuple(names), placed.stmt.span))
    _unclassed(b, rules or {}, taken)
    if not result and not b.incomplete:
        b.error("A106", "`classes` is empty", b.body.block_spans["classes"].header)
    return tuple(result)


def _rule(b: Building, expr: ast.Expr, rules: dict[str, Span] | None, taken: dict[str, Span]) -> str | None:
    path = path_of(expr)
    name = dotted(path) if path else expr.value if isinstance(expr, ast.Text) else None
    if name is None:
        if not isinstance(expr, ast.BadExpr):
            b.error("A201", "a class is one or more names of rules", expr.span)
        b.ok = False
        return None
    if rules is not None and name not in rules:
        if b.ok or b.inputs:
            text, edit = did_you_mean(name, rules, expr.span)
            b.error(
                "A509",
                f"{_steps(b)} no rule `{name}`",
                expr.span,
                help=text or (f"rules: {listed(list(rules)[:8])}" if rules else None),
                edit=edit,
            )
        return None
    if name in taken:
        b.error("A105", f"the rule `{name}` stands in two classes", expr.span, labels=(Label(taken[name], "first"),))
        return None
    taken[name] = expr.span
    return name


def _steps(b: Building) -> str:
    names = list(dict.fromkeys(r.target for r in b.inputs if r.port == "dropped"))
    if not names:
        return "the learned port has"
    return listed(names[:2]) + (" has" if len(names) == 1 else " have")


def _unclassed(b: Building, rules: dict[str, Span], taken: dict[str, Span]) -> None:
    if not b.ok:
        return
    header = b.body.block_spans["classes"].header
    for name, span in rules.items():
        if name not in taken and name not in (UNREADABLE, "duplicate"):
            b.problem(
                "A508",
                f"the rule `{name}` stands in no class of {b.title}",
                header,
                labels=(Label(span, "this rule"),),
                help="rows that it refuses make no task; put it into a class, or give it one of its own",
            )
