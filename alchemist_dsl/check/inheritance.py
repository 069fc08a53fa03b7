"""`extends` between blocks: every block with all that it takes from the block it extends."""

from __future__ import annotations

from alchemist_runtime.schema.kinds import KINDS

from alchemist_dsl.check.context import World
from alchemist_dsl.check.merge import inherited, is_null, merge, took_nothing, without_nulls
from alchemist_dsl.check.names import Found, Missing, dotted, find, path_of, report_missing, span_of, wrong_kind
from alchemist_dsl.check.problems import did_you_mean, listed
from alchemist_dsl.check.scope import Body, Decl
from alchemist_dsl.diagnostics.model import Label
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast


def resolve(world: World) -> None:
    """Fill `world.bodies`."""
    for decl in world.decls.values():
        _body(decl, world)
    told: set[Span] = set()
    for decl in world.decls.values():
        _took_nothing(decl, world, told)
    for body in world.bodies.values():
        without_nulls(body)


def _took_nothing(decl: Decl, world: World, told: set[Span]) -> None:
    """Report what was to be taken away and is not there; a block that inherits the statement says nothing again."""
    body = world.bodies[decl.key]
    if body.base_lost or decl.bad or decl.kind == "variant":
        return
    kind = KINDS[decl.kind]
    for block, statement in took_nothing(body, kind):
        span = span_of(statement.path)
        if span in told or body.lost or decl.scope.base_lost:
            continue
        told.add(span)
        known = _there(body) if block is None else _entries(body, block)
        name = dotted(statement.path)
        text, edit = did_you_mean(name, [*known, *(kind.attributes if block is None else ())], span)
        where = f"`{decl.kind} {decl.name}`" if block is None else f"`{block}` of `{decl.name}`"
        world.problems.add(
            "A102",
            f"{where} has no `{name}` that could be taken away",
            span,
            help=text,
            edit=edit,
            note=None if text or not known else "it has " + listed(known[:8]),
        )


def _there(body: Body) -> list[str]:
    """Names in a block that could be taken away."""
    attrs = [name for name, placed in body.attrs.items() if not is_null(placed.stmt)]
    rules = [r.stmt.name.name for r in body.rules if r.stmt.name is not None]
    return [*attrs, *body.sets, *body.fields, *rules]


def _entries(body: Body, block: str) -> list[str]:
    return [name for name, placed in body.blocks[block].items() if not is_null(placed.stmt)]


def _body(decl: Decl, world: World) -> Body:
    """Walk down the chain of bases, then lay them over each other from the base up."""
    if decl.key in world.bodies:
        return world.bodies[decl.key]
    chain = [decl]
    seen = {decl.key}
    while True:
        base = _base(chain[-1], world)
        if base is None:
            break
        if base.key in seen:
            _circle(chain[-1], base, world)
            break
        world.bases.add(base.key)
        chain.append(base)
        seen.add(base.key)
        if base.key in world.bodies:
            break
    for at in reversed(chain):
        world.bodies.setdefault(at.key, _merged(at, world))
    return world.bodies[decl.key]


def _merged(decl: Decl, world: World) -> Body:
    base = _base(decl, world, silent=True)
    if base is None or base.key not in world.bodies:
        return inherited_as_is(decl.body)
    body = inherited(world.bodies[base.key], f"extends:{base.key}")
    body.base_lost = body.base_lost or bool(body.bad)  # what could not be read may have been there
    body.bad = ()
    merge(body, decl.body, KINDS[decl.kind])
    return body


def inherited_as_is(body: Body) -> Body:
    """A copy that passes may change without touching the declaration."""
    made = Body()
    made.attrs = dict(body.attrs)
    made.blocks = {n: dict(e) for n, e in body.blocks.items()}
    made.sets, made.rules, made.fields = dict(body.sets), list(body.rules), dict(body.fields)
    made.block_spans, made.bad, made.wrong = dict(body.block_spans), body.bad, body.wrong
    made.taken = set(body.taken)
    made.base_lost = body.base_lost
    return made


def _base(decl: Decl, world: World, *, silent: bool = False) -> Decl | None:
    placed = decl.body.attrs.get("extends")
    if placed is None or decl.kind == "recipe" or isinstance(placed.stmt.value, ast.Null):
        return None
    if isinstance(placed.stmt.value, ast.BadExpr):
        decl.body.base_lost = True
        return None
    if "extends" not in KINDS[decl.kind].attributes:
        return None
    path = path_of(placed.stmt.value)
    if path is None:
        if not silent:
            world.problems.add("A201", "`extends` takes the name of a block of the same kind", placed.stmt.value.span)
            decl.body.wrong = decl.body.base_lost = True
        return None
    if decl.kind == "schema" and len(path) == 1 and path[0].name == "sft":
        return None
    found = find(path, placed.scope)
    if isinstance(found, Missing):
        if not silent:
            report_missing(found, (decl.kind,), world.problems)
            decl.body.wrong = decl.body.base_lost = True
        return None
    assert isinstance(found, Found)
    if found.decl.kind != decl.kind or found.rest:
        if not silent:
            wrong_kind("extends", (decl.kind,), found.decl, span_of(path), world.problems)
            decl.body.wrong = decl.body.base_lost = True
        return None
    return found.decl


def _circle(decl: Decl, base: Decl, world: World) -> None:
    one, two = decl.body.attrs["extends"], base.body.attrs["extends"]
    world.problems.add(
        "A501",
        f"`{decl.name}` extends itself" if decl is base else "these blocks extend each other",
        one.stmt.value.span,
        labels=(Label(two.stmt.value.span, "and back here"),) if decl is not base else (),
    )
    for at in (decl, base):
        at.body.wrong = at.body.base_lost = True
