"""Expressions of a plan: their form, a walk over their parts, and how they are written in a recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Annotated, Any, Final

from alchemist_runtime.schema.attributes import decimal
from alchemist_runtime.schema.functions import AGGREGATES, FUNCTIONS

#: A typed expression tree. A call's arguments are always by parameter name (a variadic parameter holds a ["list", …]).
#:   ["lit", TYPE, VALUE]           VALUE as JSON; exact numbers as strings in lowest terms; ["lit", "null", null]
#:   ["col", NAME]                  a column of the row as it came in (also _id, origin, rule, before, …)
#:   ["out", NAME]                  a field of the teacher's answer
#:   ["field", E, NAME]             a field of a record or of json
#:   ["item", E, E]                 an element, from 0, negative from the end
#:   ["call", FUNCTION, {PARAM: E}]
#:   ["not", E]  ["neg", E]  ["and", [E…]]  ["or", [E…]]
#:   ["cmp", "==" "!=" "<" "<=" ">" ">=", A, B]  ["num", "+" "-" "*" "/", A, B]  ["cat", A, B] (text)
#:   ["in", A, B]                   B a ["list", [E…]] or an ["interval", LO, HI] (closed)
#:   ["list", [E…]]  ["record", {NAME: E}]
#:   ["template", DIGEST, [NAMES]]  the template `texts[DIGEST]` rendered over these columns of the row
#: and in `expect` and `check` also
#:   ["total", NAME]                "rows" or "tokens" of the step itself, "dropped.RULE"
#:   ["ref", NODE, PORT, ORIGIN]    a stream, argument of rows(…), share(…)
#:   ["plan", NAME]                 "cost", "calls", …
_PARTS: Final[dict[str, tuple[type, ...]]] = {
    "lit": (str, object),
    "col": (str,),
    "out": (str,),
    "field": (list, str),
    "item": (list, list),
    "call": (str, dict),
    "not": (list,),
    "neg": (list,),
    "and": (list,),
    "or": (list,),
    "cmp": (str, list, list),
    "num": (str, list, list),
    "cat": (list, list),
    "in": (list, list),
    "list": (list,),
    "record": (dict,),
    "interval": (object, object),
    "template": (str, list),
    "total": (str,),
    "plan": (str,),
    "ref": (str, str, object),
}
#: Those that have no expressions inside.
_LEAVES: Final = frozenset({"lit", "col", "out", "total", "plan", "ref", "template"})


def is_expression(value: Any) -> bool:
    """Whether a value has the form of an expression; its parts are not looked at."""
    if not isinstance(value, list) or not value or not isinstance(value[0], str):
        return False
    parts = _PARTS.get(value[0])
    return parts is not None and len(value) == len(parts) + 1 and all(map(isinstance, value[1:], parts))


def walk(value: Any) -> Iterator[list[Any]]:
    """Every expression in a value, from outside in and from left to right: in an expression, or in lists and dicts that
    hold expressions."""
    if is_expression(value):
        yield value
        if value[0] in _LEAVES:
            return
        value = value[1:]
    if isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from walk(part)


def columns_read(value: Any) -> frozenset[str]:
    """Names of the columns that the expressions in a value read, those of their templates included."""
    found: set[str] = set()
    for part in walk(value):
        match part:
            case ["col", name]:
                found.add(name)
            case ["template", _, names]:
                found.update(names)
    return frozenset(found - {"out"})


def _checked(expr: list[Any]) -> list[Any]:
    """An expression as it is. ValueError where it, or a part of it, is none."""
    todo: list[Any] = [expr]
    while todo:
        tree = todo.pop()
        if not is_expression(tree):
            raise ValueError(f"{str(tree)[:60]} is no expression")
        if tree[0] in _LEAVES:
            continue
        for part in tree[1:]:
            if isinstance(part, dict):
                todo += part.values()
            elif isinstance(part, list):
                todo += part if tree[0] in ("and", "or", "list") else [part]
    return expr


class _Checked:
    """Has pydantic look at expressions when a plan is read; importing the plan does not import pydantic."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core.core_schema import no_info_after_validator_function

        return no_info_after_validator_function(_checked, handler(source))


Expr = Annotated[list[Any], _Checked()]


# --- as a recipe writes them ------------------------------------------------------------------------------------------


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
