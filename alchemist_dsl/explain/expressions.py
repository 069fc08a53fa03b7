"""Expressions as they would be written in a recipe: one spelling for each tree, whatever the author typed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema.attributes import decimal
from alchemist_runtime.schema.functions import AGGREGATES, FUNCTIONS
from alchemist_runtime.schema.plan import Expr

_HEADS: Final = frozenset(
    {
        "lit",
        "col",
        "out",
        "field",
        "item",
        "call",
        "not",
        "neg",
        "and",
        "or",
        "cmp",
        "num",
        "cat",
        "in",
        "list",
        "record",
        "interval",
        "template",
        "total",
        "ref",
        "plan",
    }
)


def is_tree(value: Any) -> bool:
    """Whether a value is an expression tree."""
    return isinstance(value, list) and len(value) > 1 and isinstance(value[0], str) and value[0] in _HEADS


def expression(e: Expr) -> str:
    """An expression as it would be written in a recipe."""
    match e:
        case ["lit", kind, value]:
            return _literal(kind, value)
        case ["col" | "total", name]:
            return str(name)
        case ["out", name]:
            return f"out.{name}"
        case ["plan", name]:
            return f"plan.{name}"
        case ["field", base, name]:
            return f"{_inner(base)}.{name}"
        case ["item", base, index]:
            return f"{_inner(base)}[{expression(index)}]"
        case ["call", name, args]:
            return f"{name}({_arguments(name, args)})"
        case ["not", inner]:
            return f"not {_inner(inner)}"
        case ["neg", inner]:
            return f"-{_inner(inner)}"
        case ["and" | "or" as word, parts]:
            return f" {word} ".join(_inner(p) for p in parts)
        case ["cmp" | "num", op, a, b]:
            return f"{_inner(a)} {op} {_inner(b)}"
        case ["cat", a, b]:
            return f"{_inner(a)} + {_inner(b)}"
        case ["in", a, b]:
            return f"{_inner(a)} in {expression(b)}"
        case ["interval", low, high]:
            return f"{expression(low)}..{expression(high)}"
        case ["list", parts]:
            return "[" + ", ".join(expression(p) for p in parts) + "]"
        case ["record", fields]:
            return "{ " + ", ".join(f"{k} = {expression(v)}" for k, v in fields.items()) + " }"
        case ["template", digest, names]:
            return f"template {digest[3:15]} over {', '.join(names)}"
        case ["ref", node, port, origin]:
            return ".".join([node, *([] if port == "rows" else [port]), *([origin] if origin else [])])
        case _:
            return json.dumps(e, ensure_ascii=False)


def _arguments(name: str, args: Mapping[str, Expr]) -> str:
    """Arguments in the order of the parameters: the first bare, a variadic one spread, others by name."""
    function = FUNCTIONS.get(name) or AGGREGATES.get(name)
    order = [p.name for p in function.params] if function is not None else sorted(args)
    spread = {p.name for p in function.params if p.variadic} if function is not None else set()
    out: list[str] = []
    for i, param in enumerate(p for p in order if p in args):
        value = args[param]
        if param in spread and value[0] == "list":
            out += map(expression, value[1])
        else:
            out.append(expression(value) if i == 0 else f"{param} = {expression(value)}")
    return ", ".join(out)


def _inner(e: Expr) -> str:
    """A part in brackets where it would read wrongly without."""
    text = expression(e)
    return f"({text})" if e and e[0] in ("and", "or", "cmp", "num", "cat", "in", "not", "neg") else text


def _literal(kind: str, value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str() if kind == "percent":
            return f"{decimal(Fraction(value) * 100)}%"
        case str() if kind == "money":
            return f"${decimal(Fraction(value))}"
        case str() if kind in ("text", "text?"):
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)
