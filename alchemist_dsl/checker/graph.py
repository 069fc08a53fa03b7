"""The graph of blocks: what reads what, in which order they are checked, circles, and steps that nothing reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alchemist_runtime.schema.attributes import AttrType
from alchemist_runtime.schema.kinds import KINDS

from alchemist_dsl.checker.context import Context
from alchemist_dsl.checker.names import Decl, Found, Scope, find, path_of
from alchemist_dsl.checker.problems import listed
from alchemist_dsl.diagnostics.model import Label
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast


@dataclass(frozen=True, slots=True)
class Need:
    """A block reads another one; `span` is where it says so."""

    target: str
    span: Span


def needs(decl: Decl, context: Context) -> list[Need]:
    """What a block reads, in the order in which it is written. Reports nothing."""
    body = context.bodies[decl.key]
    kind = KINDS[decl.kind]
    found: list[Need] = []
    for name, placed in body.attrs.items():
        attribute = kind.attributes.get(name)
        if attribute is None or name == "extends" or decl.kind in ("test", "moved"):
            continue
        if _refers(attribute.type):
            found.extend(_targets(placed.stmt.value, placed.scope))
    for entry in body.blocks.get("take", {}).values():
        if isinstance(entry.stmt, ast.Assign):
            target = find(entry.stmt.path, entry.scope)
            if isinstance(target, Found):
                span = entry.stmt.path[0].span.to(entry.stmt.path[-1].span)
                found.append(Need(target.decl.key, span))
    if decl.kind == "check":
        for rule in body.rules:
            found.extend(_called(rule.stmt.condition, rule.scope))
    return found


def _refers(type_: AttrType) -> bool:
    return type_.name in ("ref", "stream") or any(_refers(t) for t in type_.of) or _named(type_)


def _named(type_: AttrType) -> bool:
    """Whether methods of an attribute take blocks as arguments: `leakage(humaneval)`."""
    return type_.family == "metrics"


def _targets(expr: ast.Expr, scope: Scope) -> Iterator[Need]:
    if isinstance(expr, ast.ListExpr):
        for item in expr.items:
            yield from _targets(item, scope)
        return
    if isinstance(expr, ast.Call):
        for argument in expr.args:
            yield from _targets(argument.value, scope)
        return
    path = path_of(expr)
    if path is not None and path[0].name != "param":
        found = find(path, scope)
        if isinstance(found, Found):
            yield Need(found.decl.key, expr.span)


def _called(expr: ast.Expr, scope: Scope) -> Iterator[Need]:
    """Streams that a promise counts: the arguments of its calls."""
    waiting = [expr]
    while waiting:
        at = waiting.pop()
        match at:
            case ast.Call(args=args):
                for argument in args:
                    yield from _targets(argument.value, scope)
                    waiting.append(argument.value)
            case ast.Binary(left=left, right=right):
                waiting += [left, right]
            case ast.Unary(operand=operand):
                waiting.append(operand)
            case _:
                pass


def arrange(context: Context) -> None:
    """Set the order in which blocks are checked, every one after what it reads; report circles."""
    edges = {key: needs(decl, context) for key, decl in context.decls.items()}
    order: list[str] = []
    state: dict[str, int] = {}  # 1: on the way, 2: done
    cyclic: set[str] = set()
    for root in edges:
        if root in state:
            continue
        state[root] = 1
        path: list[tuple[str, Iterator[Need]]] = [(root, iter(edges[root]))]
        taken: list[Need] = []
        while path:
            key, rest = path[-1]
            need = next(rest, None)
            if need is None:
                state[key] = 2
                order.append(key)
                path.pop()
                if taken:
                    taken.pop()
                continue
            seen = state.get(need.target)
            if seen is None and need.target in edges:
                state[need.target] = 1
                taken.append(need)
                path.append((need.target, iter(edges[need.target])))
            elif seen == 1:
                keys = [k for k, _ in path]
                start = keys.index(need.target)
                circle = keys[start:]
                if not cyclic & set(circle):
                    _report_circle(context, circle, [*taken[start:], need])
                cyclic |= set(circle)
    context.order = tuple(order)
    context.read = frozenset(n.target for k, found in edges.items() for n in found if context.decls[k].kind != "test")
    context.cyclic = frozenset(cyclic)


def _report_circle(context: Context, circle: list[str], needs_: list[Need]) -> None:
    """`needs_[i]` is where `circle[i]` says that it reads the next one."""
    first, last = needs_[0], needs_[-1]
    if len(circle) == 1:
        context.problems.add("A501", f"`{circle[0]}` needs itself", first.span, help="read another stream here")
        return
    names = [context.decls[k].name for k in circle]
    note = None
    if len(circle) > 2:
        note = " needs ".join([*names, names[0]])
    inside = set(circle)
    others = [n.target for n in needs(context.decls[circle[0]], context) if n.target not in inside] + [
        n.target for k in circle[1:] for n in needs(context.decls[k], context) if n.target not in inside
    ]
    streams = [o for o in dict.fromkeys(others) if KINDS[context.decls[o].kind].stream]
    context.problems.add(
        "A501",
        "these steps need each other",
        first.span,
        label=f"{names[0]} needs {names[1]}",
        labels=(Label(last.span, f"{names[-1]} needs {names[0]}"),),
        note=note,
        help=(
            f"break the cycle; did you mean {listed(streams[:2], 'or')} here?"
            if streams and KINDS[context.decls[circle[1]].kind].stream
            else "break the cycle: one of them must read something else"
        ),
    )


def _varied(context: Context) -> Iterator[str]:
    """What only a variant reads."""
    for decl in context.scope.decls.values():
        for placed in decl.body.sets.values() if decl.kind == "variant" else ():
            yield from (need.target for need in _targets(placed.stmt.value, placed.scope))


def unused(context: Context) -> None:
    """Warn of own steps that nothing reads, or once if nothing at all is asked for."""
    if not context.problems.names_are_sound():
        return
    own = [d for d in context.scope.decls.values() if not d.bad]
    steps = [d for d in own if KINDS[d.kind].stream and d.kind != "suite"]
    roots = [d for d in own if KINDS[d.kind].root]
    if not [d for d in roots if d.kind != "check"]:
        if steps:
            context.problems.add(
                "A502",
                "nothing in this recipe is exported, trained or measured",
                steps[-1].block.header,
                label="so `run` builds nothing",
                help=f"add an `export` or a `train` block that reads `{steps[-1].name}`",
            )
        return
    varied = set(_varied(context))
    for decl in steps:
        if decl.key in context.read or decl.key in context.bases or decl.key in varied:
            continue
        if decl.block.span.file != context.scope.path:
            continue  # a file may leave out what the one that it extends uses
        named = decl.block.name
        cost = ", and it would pay a teacher" if KINDS[decl.kind].asks else ""
        context.problems.add(
            "A505",
            f"nothing reads `{decl.name}`{cost}",
            decl.block.header if named is None else named.span,
            help="use it in a mixture, export it, or delete it; it will not be built",
        )
