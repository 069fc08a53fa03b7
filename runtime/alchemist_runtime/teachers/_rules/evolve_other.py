"""Ways to evolve code of other languages than Python, by kinds of tree-sitter nodes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from alchemist_runtime.teachers._rules.fixes_other import Tree, tree
from alchemist_runtime.teachers._rules.scan import FUNCTIONS, name_of, parameters
from alchemist_runtime.teachers._rules.shown import Shown, edited, text_of

if TYPE_CHECKING:
    from tree_sitter import Node

Made = tuple[tuple[str, ...], str] | None
Way = Callable[[Shown], Made]
_SCRIPT: Final = ("javascript", "typescript")


def _function(t: Tree | None) -> Node | None:
    """The only function that is not `main`."""
    found = [n for n in t.nodes if n.type in FUNCTIONS and name_of(n) not in ("main", "Main", "f", "")] if t else []
    return found[0] if len(found) == 1 else None


def while_loop(code: Shown) -> Made:
    """`for (a; b; c) { … }` becomes `a; while (b) { …; c }`, where nothing goes on by `continue`."""
    t = tree(code.code, code.lang) if code.lang in ("javascript", "typescript", "java", "c", "cpp") else None
    loops = t.of("for_statement") if t else []
    if t is None or len(loops) != 1:
        return None
    n = loops[0]
    body = n.child_by_field_name("body")
    start, test, step = (
        n.child_by_field_name(f)
        for f in (
            "init" if code.lang == "java" else "initializer",
            "condition",
            "increment" if code.lang == "javascript" or code.lang == "typescript" else "update",
        )
    )
    if (
        None in (body, start, test, step)
        or "\n" not in text_of(body)
        or re.search(r"\bcontinue\b|=>|\bfunction\b", text_of(n))
        or t.raw[t.row_start(t.span(n)[0]) : t.span(n)[0]].strip()
    ):
        return None
    pad, head = t.indent(t.span(n)[0]), text_of(start).rstrip(";")
    close = t.span(body)[1] - 1  # type: ignore[arg-type]
    first_inside = body.named_children[0] if body is not None and body.named_children else None
    inner = t.indent(t.span(first_inside)[0]) if first_inside else pad + "    "
    names = re.findall(r"(\w+)\s*=(?!=)", head)
    outside = (t.raw[: t.span(n)[0]] + t.raw[t.span(n)[1] :]).decode("utf-8", "replace")
    if any(re.search(rf"\b{x}\b", outside) for x in names) or t.raw[t.row_start(close) : close].strip():
        return None
    first = t.span(body)[0]  # type: ignore[arg-type]
    asks = (
        "Use a `while` loop in the place of the `for` loop.",
        "Write the loop as a `while` loop that counts by itself.",
    )
    at = t.row_start(close)
    return asks, edited(
        t.raw,
        [
            (t.span(n)[0], first, f"{head};\n{pad}while ({text_of(test).rstrip(';')}) "),
            (at, at, f"{inner}{text_of(step)};\n"),
        ],
    )


def _beside(asks: tuple[str, ...], name: str, template: str) -> Way:
    """A second JavaScript function after the only one, which takes one value and returns one."""

    def way(code: Shown) -> Made:
        t = tree(code.code, code.lang) if code.lang == "javascript" else None
        f = _function(t)
        if (
            t is None
            or f is None
            or f.type != "function_declaration"
            or len(parameters(f)) != 1
            or "return" not in text_of(f)
            or f.parent is None
            or f.parent.type != "program"
            or text_of(f).startswith("async")
        ):
            return None
        stem = name_of(f)
        new = name.replace("STEM", stem[:1].upper() + stem[1:])
        many = re.search(
            r"return (?:\[|\{|new |\w+\.(?:map|filter|sort|reverse|slice|split|concat)\()|= (?:\[\]|\{\})|=>",
            text_of(f),
        )
        if new in code.code or many or re.search(r"(?<!\.)\bprint|console\.log\([^)]*\);\s*\}\s*$", text_of(f)):
            return None
        end = t.span(f)[1]
        put = template.replace("NAME", new).replace("STEM", stem)
        return tuple(a.replace("NAME", new).replace("STEM", stem) for a in asks), edited(
            t.raw, [(end, end, "\n\n" + put)]
        )

    return way


def null_check(code: Shown) -> Made:
    """An error where the first parameter is null, in JavaScript and Java. Changes what happens for null alone."""
    t = tree(code.code, code.lang) if code.lang in ("javascript", "java") else None
    f = _function(t)
    body = f.child_by_field_name("body") if f is not None else None
    names = parameters(f) if f is not None else ()
    if (
        t is None
        or f is None
        or body is None
        or not body.named_children
        or not names
        or re.search(r"\bnull\b|\bundefined\b|\?\?|\?\.|Optional", code.code)
    ):
        return None
    name, first = names[0], body.named_children[0]
    holder = f.child_by_field_name("parameters")
    kind = holder.named_children[0] if holder is not None and holder.named_children else None
    at = t.row_start(t.span(first)[0])
    primitive = kind is not None and re.match(
        r"(?:final )?(?:int|long|double|float|char|boolean|byte|short)\s+\w+$", text_of(kind)
    )
    truth = rf"!\s*{name}\b|\((?:{name})\)\s*\{{|\b{name}\s*(?:&&|\|\||\?)"
    if (
        kind is None
        or primitive
        or "=" in text_of(kind)
        or re.search(truth, text_of(body))
        or t.raw[at : t.span(first)[0]].strip()
        or at <= t.span(body)[0]
    ):
        return None
    pad = t.indent(t.span(first)[0])
    one = "\t" if "\t" in pad else "  " if len(pad) in (2, 6) else "    "
    if code.lang == "java":
        check, error, missing = (
            (
                f'if ({name} == null) {{\n{pad}{one}throw new IllegalArgumentException("{name} must not be'
                f' null");\n{pad}}}'
            ),
            "an `IllegalArgumentException`",
            "null",
        )
    else:
        check, error, missing = (
            (
                f'if ({name} === null || {name} === undefined) {{\n{pad}{one}throw new TypeError("{name} is'
                f' missing");\n{pad}}}'
            ),
            "a `TypeError`",
            "null or missing",
        )
    asks = (f"Throw {error} if `{name}` is {missing}.", f"`{name_of(f)}` must refuse a missing `{name}` with {error}.")
    return asks, edited(t.raw, [(at, at, pad + check + "\n")])


def strict(code: Shown) -> Made:
    first, _, rest = code.code.partition("\n")
    if (
        code.lang != "bash"
        or not re.match(r"#!.*\bbash\b", first)
        or re.search(r"(?m)^\s*set -|\|\| true|grep|\$\?", code.code)
    ):
        return None
    asks = (
        "Stop at the first command that fails and at unset variables, with `set -euo pipefail`.",
        "The script must end as soon as a command fails, also inside a pipeline: use `set -euo pipefail`.",
    )
    return asks, f"{first}\nset -euo pipefail\n{rest}"


def usage(code: Shown) -> Made:
    """A message and exit status 1 where a script lacks the arguments that it reads."""
    first, _, rest = code.code.partition("\n")
    if (
        code.lang != "bash"
        or not first.startswith("#!")
        or re.search(r"\$#|\(\)\s*\{|\bfunction\b|\bshift\b|\$\{\d+[:+-]", code.code)
    ):
        return None
    used = [int(d) for d in re.findall(r"\$\{?([1-9])\b", re.sub(r"'[^']*'", "", code.code))]
    if not used:
        return None
    n = max(used)
    many = f"{n} argument{'s' * (n > 1)}"
    check = f'if [ "$#" -lt {n} ]; then\n    echo "Usage: $0 needs {many}" >&2\n    exit 1\nfi'
    asks = (
        f"Print a usage message and exit with status 1 when fewer than {many} {'is' if n == 1 else 'are'} given.",
        f"Check first that the script got its {many}, and explain its usage if not.",
    )
    return asks, f"{first}\n\n{check}\n{rest if rest.startswith(chr(10)) else chr(10) + rest}"


DEEP: Final[dict[str, tuple[int, Way]]] = {
    "while loop": (3, while_loop),
    "grouping in a Map": (
        2,
        _beside(
            (
                (
                    "Add a function `NAME` that groups the values of an array by what `STEM` returns for them, in a"
                    " `Map` of arrays."
                ),
            ),
            "groupBySTEM",
            "function NAME(items) {\n  const groups = new Map();\n  for (const item of items) {\n    const key ="
            " STEM(item);\n    if (!groups.has(key)) {\n      groups.set(key, []);\n    }\n   "
            " groups.get(key).push(item);\n  }\n  return groups;\n}",
        ),
    ),
    "cache in a Map": (
        2,
        _beside(
            (
                (
                    "Add a function `NAME` for many values with repetitions: a `Map` shall keep the results of `STEM`"
                    " that are known."
                ),
            ),
            "eachSTEM",
            "function NAME(items) {\n  const known = new Map();\n  return items.map((item) => {\n    if"
            " (!known.has(item)) {\n      known.set(item, STEM(item));\n    }\n    return known.get(item);\n  });\n}",
        ),
    ),
}
PLAIN: Final[dict[str, tuple[int, Way]]] = {
    "null check": (3, null_check),
    "strict shell": (3, strict),
    "usage check": (3, usage),
}
