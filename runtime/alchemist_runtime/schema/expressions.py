"""Expressions as a plan holds them: nested JSON lists, validated when a plan is read."""

from __future__ import annotations

from typing import Annotated, Any

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
_PARTS: dict[str, tuple[type, ...]] = {
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
_SEVERAL = frozenset({"and", "or", "list"})


def _tree(expr: list[Any]) -> list[Any]:
    """An expression as it is. ValueError where it is none."""
    todo: list[Any] = [expr]
    while todo:
        tree = todo.pop()
        kind = tree[0] if isinstance(tree, list) and tree and isinstance(tree[0], str) else ""
        parts = _PARTS.get(kind)
        if parts is None or len(tree) != len(parts) + 1:
            raise ValueError(f"{str(tree)[:60]} is no expression")
        if not all(map(isinstance, tree[1:], parts)):
            raise ValueError(f"a part of {str(tree)[:60]} is no expression")
        if kind in ("lit", "template"):
            continue
        for part in tree[1:]:
            if isinstance(part, dict):
                todo += part.values()
            elif isinstance(part, list):
                todo += part if kind in _SEVERAL else [part]
    return expr


class _Checked:
    """Has pydantic look at expressions when a plan is read; importing the plan does not import pydantic."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core.core_schema import no_info_after_validator_function

        return no_info_after_validator_function(_tree, handler(source))


Expr = Annotated[list[Any], _Checked()]
