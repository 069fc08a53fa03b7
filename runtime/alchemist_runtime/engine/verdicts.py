"""Promises judged after the fact: `expect` in a step and the `check` blocks of a plan. Verdicts are pass, fail,
unknown.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from alchemist_runtime.schema.codes import Problem
from alchemist_runtime.schema.plan import Check, Expr, MixtureSpec, Node, Rule

if TYPE_CHECKING:
    from alchemist_runtime.engine.context import Context

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMBER: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: None if b == 0 else Fraction(a) / Fraction(b),
}

Ask = Callable[[Expr], Any]


def scalar(expr: Expr, ask: Ask) -> Any:
    """A value of an expression over totals; None where a part of it is unknown. `ask` answers total, ref calls and
    plan.
    """
    head, *rest = expr
    match head:
        case "lit":
            return _literal(*rest)
        case "cmp":
            a, b = scalar(rest[1], ask), scalar(rest[2], ask)
            return None if a is None or b is None else _COMPARE[rest[0]](a, b)
        case "num":
            a, b = scalar(rest[1], ask), scalar(rest[2], ask)
            return None if a is None or b is None else _NUMBER[rest[0]](a, b)
        case "and" | "or":
            return _logic(head, [scalar(e, ask) for e in rest[0]])
        case "not":
            value = scalar(rest[0], ask)
            return None if value is None else not value
        case "neg":
            value = scalar(rest[0], ask)
            return None if value is None else -value
        case "in":
            return _within(scalar(rest[0], ask), rest[1], ask)
        case _:
            return ask(expr)


def _literal(type_: str, value: Any) -> Any:
    if isinstance(value, str) and type_ not in ("text", "json"):
        return Fraction(value)
    return value


def _logic(head: str, values: list[Any]) -> Any:
    decided = head == "or"
    if decided in values:
        return decided
    return None if None in values else not decided


def _within(value: Any, where: Expr, ask: Ask) -> Any:
    if value is None:
        return None
    if where[0] == "interval":
        low, high = scalar(where[1], ask), scalar(where[2], ask)
        return None if low is None or high is None else low <= value <= high
    items = [scalar(e, ask) for e in where[1]]
    return True if value in items else (None if None in items else False)


# --- what a finished run knows ----------------------------------------------------------------------------------------


def broken_expectation(ctx: Context, node: Node, rule: Rule) -> Problem | None:
    """The problem where an `expect` of a step does not hold or cannot be evaluated."""
    verdict = scalar(rule.expr, lambda e: known(ctx, e, node))
    if verdict:
        return None
    word = "does not hold" if verdict is False else "could not be evaluated"
    manifest = ctx.manifest(node.id)
    rows = manifest.data["ports"].get("rows", {}).get("rows")
    return Problem(
        "A911" if verdict is False else "A902",
        f"`expect {rule.text}` of `{node.id}` {word}",
        node=node.id,
        note=f"it has {rows:,} rows" if rows is not None else None,
        help=f"look at the step with `alchemist run --upto {node.id}`, then fix the step or the expectation",
    )


def judge_check(ctx: Context, check: Check) -> tuple[str, str | None]:
    """Verdict of a check after the run, and the value of its left side where it compares."""
    verdict = scalar(check.expr, lambda e: known(ctx, e, None))
    displayed = None
    if check.expr[0] in ("cmp", "in"):
        value = scalar(check.expr[2] if check.expr[0] == "cmp" else check.expr[1], lambda e: known(ctx, e, None))
        displayed = None if value is None else _show(value)
    return ("unknown" if verdict is None else "pass" if verdict else "fail"), displayed


def _show(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    number = float(value)
    return f"{number:.4g}" if abs(number) < 1 else f"{number:,.2f}"


def known(ctx: Context, expr: Expr, node: Node | None) -> Any:
    """A total, a figure of a stream or of the plan, as the finished run has it; None where it is not known."""
    head, *rest = expr
    if head == "total" and node is not None:
        return _total(ctx, node, rest[0])
    if head == "plan":
        name = str(rest[0])
        found = ctx.plan.totals.get({"cost": "usd"}.get(name, name))
        return (
            None if found is None or (found.high or found.value) is None else Fraction(found.high or found.value or "0")
        )
    if head == "call":
        return _aggregate(ctx, rest[0], rest[1])
    return None


def _total(ctx: Context, node: Node, name: str) -> Any:
    manifest = ctx.manifest(node.id)
    if name == "rows":
        return manifest.port("rows")["rows"]
    if name.startswith("dropped."):
        dropped: dict[str, int] = manifest.figures.get("dropped", {})
        return dropped.get(str(name).removeprefix("dropped."), 0)
    value = manifest.figures.get(name)
    return value if isinstance(value, int) else None


def _aggregate(ctx: Context, function: str, args: Mapping[str, Expr]) -> Any:
    ref = args.get("x")
    if ref is None or ref[0] != "ref":
        return None
    _, name, port, origin = ref
    try:
        manifest = ctx.manifest(name)
    except (LookupError, KeyError):
        return None
    here = manifest.data["ports"].get(port)
    if function == "rows" and here is not None:
        return here["per_origin"].get(origin, 0) if origin else here["rows"]
    if function == "share" and here is not None:
        return _share(ctx, name, args.get("of"))
    if function == "drop_share":
        before = manifest.figures.get("rows_in")
        dropped = sum(manifest.figures.get("dropped", {}).values())
        return Fraction(dropped, before) if before else None
    if function in ("calls", "tokens"):
        value = manifest.figures.get(function)
        return value if isinstance(value, int) else None
    if function == "cost":
        value = manifest.figures.get("usd_scratch")
        return None if value is None else Fraction(str(value))
    return None


def _share(ctx: Context, mixture: str, of: Expr | None) -> Any:
    if of is None or of[0] != "ref":
        return None
    _, name, _, origin = of
    manifest = ctx.manifest(mixture)
    total = manifest.port("rows")["rows"]
    node = ctx.node(mixture)
    if isinstance(node.spec, MixtureSpec):
        wanted = f"{name}.{origin}" if origin else name
        for entry in manifest.figures.get("entries", []):
            if entry["name"] in (name, wanted):
                return Fraction(entry["rows"], total) if total else None
    by_origin = manifest.port("rows")["per_origin"]
    return Fraction(by_origin[name], total) if name in by_origin and total else None
