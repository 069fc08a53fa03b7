"""What can be proven against Python code, each with the edit that mends it. A rule gives its fixes for one source."""

from __future__ import annotations

import ast
import builtins
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.teachers._rules import patterns
from alchemist_runtime.teachers._rules.pysource import Python, arguments, bound, docstring, names
from alchemist_runtime.teachers._rules.shown import Edit, listed, words


@dataclass(frozen=True, slots=True)
class Fix:
    """`wrong`: the points that the defect costs in correctness; the others cost one in clarity. No edits: no rule mends
    it.
    """

    line: int | None
    text: str
    edits: tuple[Edit, ...]
    wrong: int = 0


Rule = Callable[[Python], Iterator[Fix]]

#: (pattern, what takes its place, what is wrong, points of correctness); see `patterns`.
REWRITES: Final = (
    ("A is K", "{A} == {K}", "Identity with a literal depends on how Python stores it; compare by `==`.", 2),
    ("A is not K", "{A} != {K}", "Identity with a literal depends on how Python stores it; compare by `!=`.", 2),
    ("assert (A, B)", "assert {A}, {B}", "An assertion on a tuple always holds; drop the parentheses.", 2),
    ("A == None", "{A} is None", "None is compared by value; use `is`.", 0),
    ("A != None", "{A} is not None", "None is compared by value; use `is not`.", 0),
    ("not A in B", "{A} not in {B}", "The negation stands before the whole comparison; `not in` is one operator.", 0),
    ("not A is B", "{A} is not {B}", "The negation stands before the whole comparison; `is not` is one operator.", 0),
    (
        "if C:\n    return True\nelse:\n    return False",
        "return {C}",
        "The branches return what the condition already says.",
        0,
    ),
    ("if C:\n    return True\nreturn False", "return {C}", "The branches return what the condition already says.", 0),
    (
        "if C:\n    return False\nelse:\n    return True",
        "return not ({C})",
        "The branches return the opposite of the condition.",
        0,
    ),
    (
        "if C:\n    return False\nreturn True",
        "return not ({C})",
        "The branches return the opposite of the condition.",
        0,
    ),
    (
        "if C:\n    BODY\nelse:\n    REST",
        "if {C}:\n    {BODY}\n{REST}",
        "Control never passes the first branch, so the `else` is not needed.",
        0,
    ),
    ("if C:\n    BODY", "if {C}:\n    {BODY}", "The block stands on the line of its head.", 0),
    ("for T in I:\n    BODY", "for {T} in {I}:\n    {BODY}", "The block stands on the line of its head.", 0),
    ("while C:\n    BODY", "while {C}:\n    {BODY}", "The block stands on the line of its head.", 0),
    (
        "for X in I:\n    BODY",
        "for _ in {I}:\n    {BODY}",
        "The loop never reads its variable; it is usually called `_` then.",
        0,
    ),
    (
        "Z = A\nA = B\nB = Z",
        "{A}, {B} = {B}, {A}",
        "Two values are exchanged through a third; one assignment does it.",
        0,
    ),
    ("range(0, A)", "range({A})", "`range` begins at 0 by itself.", 0),
    ("open(A, 'r')", "open({A})", "`open` reads by default; the mode `r` adds nothing.", 0),
    *(
        (
            f"{f}([E for T in I{c}])",
            f"{f}({{E}} for {{T}} in {{I}}{d})",
            f"`{f}` takes the values one by one; it needs no list of them.",
            0,
        )
        for f in ("sum", "min", "max", "any", "all", "set")
        for c, d in (("", ""), (" if C", " if {C}"))
    ),
)
_OVERLOADING: Final = re.compile(
    r"\b(?:numpy|np|pandas|pd|sqlalchemy|peewee|django|polars|torch|tensorflow|pyspark|sympy)\b"
)


def rewrites(py: Python) -> Iterator[Fix]:
    for pattern, text, said, wrong in REWRITES:
        for nodes, found in patterns.matches(py, pattern):
            edit = patterns.rewritten(py, nodes, found, text) if _allowed(py, pattern, nodes, found) else None
            if edit is not None:
                yield Fix(nodes[0].lineno, said, (edit,), wrong)


def _allowed(py: Python, pattern: str, nodes: list[ast.stmt] | list[ast.expr], found: patterns.Found) -> bool:
    """What a pattern cannot say: the conditions under which its rewrite means the same."""
    first, body = nodes[0], found.get("BODY")
    if "None" in pattern:
        return not _OVERLOADING.search(py.text)
    if isinstance(k := found.get("K"), ast.Constant):
        return type(k.value) in (int, str, float, bytes)
    if "return True" in pattern:
        negated = pattern.index("False") < pattern.index("True")
        return negated or (isinstance(c := found["C"], ast.expr) and truth(c))
    if "REST" in pattern and isinstance(body, list):
        return isinstance(body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break) and bool(
            re.match(r"\s*else\b", py.lines[body[-1].end_lineno or 0])
        )
    if isinstance(x := found.get("X"), ast.Name):
        return only_target(py, x) and "_" not in py.taken and not x.id.startswith("_")
    if isinstance(body, list):
        return body[0].lineno == first.lineno
    if isinstance(z := found.get("Z"), ast.Name):
        return patterns.only_here(py, nodes, z.id)
    if isinstance(first, ast.Call) and isinstance(first.func, ast.Name):
        calls = any(isinstance(x, ast.Call | ast.NamedExpr | ast.Await) for x in ast.walk(first.args[0]))
        return first.func.id not in (bound(py.tree) or {first.func.id}) and not (
            first.func.id in ("any", "all") and calls
        )
    return True


def only_target(py: Python, x: ast.Name) -> bool:
    return names(py.tree).count(x.id) == 1 and x.id not in py.formatted


def truth(n: ast.expr) -> bool:
    """Whether an expression is True or False, whatever its operands are."""
    match n:
        case ast.Compare(ops=[ast.In() | ast.NotIn() | ast.Is() | ast.IsNot()]):
            return True
        case ast.Compare(left=ast.BinOp(op=ast.Mod()), ops=[ast.Eq() | ast.NotEq()], comparators=[ast.Constant()]):
            return True
        case ast.UnaryOp(op=ast.Not()):
            return True
        case ast.BoolOp(values=values):
            return all(truth(v) for v in values)
        case ast.Call(func=ast.Name(id=name)):
            return name in ("isinstance", "issubclass", "hasattr", "callable", "bool", "any", "all")
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in ("startswith", "endswith", "isdigit", "isalpha", "isupper", "islower", "isalnum")
    return False


def unused_import(py: Python) -> Iterator[Fix]:
    texts = {n.value for n in ast.walk(py.tree) if isinstance(n, ast.Constant)}
    used = {*names(py.tree, ast.Load), *(t for t in texts if isinstance(t, str))}
    imports = [n for n in py.tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    if bound(py.tree) is None or len(imports) == len(py.tree.body) or ">>>" in py.text:
        return
    for n in imports:
        loose = [a for a in n.names if (a.asname or a.name).partition(".")[0] not in used]
        plain = py.own_lines(n) and not any("." in a.name and not a.asname for a in n.names)
        if loose and plain and getattr(n, "module", "") != "__future__":
            kept = ast.unparse(n).partition("import ")[0] + "import "
            rest = ", ".join(ast.unparse(ast.Import([a]))[7:] for a in n.names if a not in loose)
            shown = listed([f"`{a.asname or a.name}`" for a in loose])
            edit = py.swap(n, kept + rest) if rest else py.without(n)
            yield Fix(n.lineno, f"{shown} {'is' if len(loose) == 1 else 'are'} imported and never used.", (edit,))


def bare_except(py: Python) -> Iterator[Fix]:
    for n in py.nodes:
        if (
            isinstance(n, ast.ExceptHandler)
            and n.type is None
            and not any(isinstance(x, ast.Raise) for x in ast.walk(n))
        ):
            at = py.start(n) + len("except")
            yield Fix(
                n.lineno,
                "A bare `except` also catches the keyboard interrupt and the exit; catch `Exception`.",
                ((at, at, " Exception"),),
                wrong=1,
            )


def mutable_default(py: Python) -> Iterator[Fix]:
    for f in py.functions:
        plain = [*f.args.posonlyargs, *f.args.args]
        first = py.first_line(f)
        for a, d in zip(plain[len(plain) - len(f.args.defaults) :], f.args.defaults, strict=True):
            made = isinstance(d, ast.List | ast.Dict | ast.Set) or ast.unparse(d) in ("list()", "dict()", "set()")
            if made and a.annotation is None and first is not None:
                check = py.before(first, f"if {a.arg} is None:\n    {a.arg} = {py.of(d)}")
                yield Fix(
                    d.lineno,
                    f"The default of `{a.arg}` is one object that all calls share; make it in each call.",
                    (py.swap(d, "None"), check),
                    wrong=2,
                )


def single_quoted(py: Python) -> Iterator[Fix]:
    for n in py.nodes:
        if isinstance(n, ast.FunctionDef | ast.ClassDef) and docstring(n):
            s = n.body[0]
            if found := re.fullmatch(r"(?!\"\"|'')([\"'])([^\"'\\\n]+)\1", py.of(s)):
                text = "The docstring stands in single quotes; three double quotes are usual, for one line too."
                yield Fix(s.lineno, text, (py.swap(s, f'"""{found[2]}"""'),))


_BETTER: Final = {
    "list": "items",
    "dict": "mapping",
    "set": "members",
    "sum": "total",
    "max": "largest",
    "min": "smallest",
    "str": "text",
    "input": "entered",
    "type": "kind",
    "id": "identifier",
    "len": "length",
    "map": "mapping",
    "filter": "chosen",
    "tuple": "pair",
    "range": "bounds",
    "int": "number",
    "next": "following",
    "all": "everything",
    "dir": "folder",
    "hash": "digest",
    "bin": "digits",
    "iter": "iterator",
    "format": "layout",
}


def shadowed(py: Python) -> Iterator[Fix]:
    """Variables, not parameters, with the name of a built-in get another one, everywhere in their scope."""
    held = {a.arg for f in py.functions for a in arguments(f)} | py.formatted
    uses = [n for n in py.nodes if isinstance(n, ast.Name) and n.id in _BETTER]
    if any(isinstance(n, ast.Global | ast.Nonlocal | ast.ClassDef | ast.Lambda) for n in py.nodes):
        return
    for name in dict.fromkeys(n.id for n in uses if isinstance(n.ctx, ast.Store)):
        mine = [n for n in uses if n.id == name]
        first = min(mine, key=lambda n: (n.lineno, n.col_offset))
        holder = py.parent[first]
        value = getattr(holder, "value", getattr(holder, "iter", None))
        early = not isinstance(first.ctx, ast.Store) or isinstance(holder, ast.comprehension)
        if early or name in held or _BETTER[name] in py.taken or len({py.around(n) for n in mine}) > 1:
            continue
        if not isinstance(value, ast.AST) or name not in names(value):
            yield Fix(
                first.lineno,
                f"`{name}` hides the built-in of that name; `{_BETTER[name]}` does not.",
                tuple(py.swap(n, _BETTER[name]) for n in mine),
            )


# --- names that are nowhere bound -------------------------------------------------------------------------------------

_MODULES: Final = (
    "math re os sys json random time string itertools functools collections copy csv glob heapq bisect shutil socket"
    " statistics subprocess threading requests pickle operator logging sqlite3 hashlib argparse"
)
_FROM: Final = {
    "collections": "Counter defaultdict deque namedtuple OrderedDict",
    "typing": "List Dict Optional Tuple Any Union Set Callable",
    "itertools": "permutations combinations product chain groupby",
    "functools": "reduce lru_cache partial wraps",
    "io": "StringIO",
    "pathlib": "Path",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "dataclasses": "dataclass",
    "math": "sqrt",
    "enum": "Enum",
    "abc": "ABC abstractmethod",
    "bs4": "BeautifulSoup",
    "flask": "Flask",
    "random": "randint",
}
_IMPORTS: Final = {
    **{m: f"import {m}" for m in words(_MODULES)},
    **{n: f"from {m} import {n}" for m, found in _FROM.items() for n in words(found)},
    "np": "import numpy as np",
    "pd": "import pandas as pd",
    "plt": "import matplotlib.pyplot as plt",
}


def undefined(py: Python) -> Iterator[Fix]:
    """Names that are read and bound in no scope: so no doubt about scopes can make a false finding."""
    known = bound(py.tree)
    given = set(dir(builtins)) | {"__file__", "__path__", "__class__", "__annotations__"}
    at: dict[str, int] = {}
    for n in ast.walk(py.tree) if known is not None else ():
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and n.id not in given | (known or set()):
            at[n.id] = min(n.lineno, at.get(n.id, n.lineno))
    order = sorted(at, key=lambda name: (at[name], name))
    found = [name for name in order if name in _IMPORTS]
    if found:
        lines = list(dict.fromkeys(_IMPORTS[name] for name in found))
        shown = listed([f"`{name}`" for name in found])
        spot = py.head()
        gap = "" if re.match(r"import|from", py.raw[spot:].decode("utf-8", "replace")) else "\n"
        text = (
            f"{shown} {'is' if len(found) == 1 else 'are'} used and never imported; add"
            f" {listed([f'`{x}`' for x in lines])}."
        )
        yield Fix(at[found[0]], text, ((spot, spot, "\n".join(lines) + "\n" + gap),), wrong=3)
    for name in [name for name in order if name not in _IMPORTS][:3]:
        yield Fix(at[name], f"`{name}` is used and defined nowhere in the code.", (), wrong=3)


# --- layout: the tokens stay as they are ------------------------------------------------------------------------------

_SPACED: Final = frozenset(words("= == != <= >= < > += -= *= /= //= %= **= &= |= ^= >>= <<= -> :="))


def spacing(py: Python) -> Iterator[Fix]:
    """No space around `=`, a comparison or an assignment, none after a comma."""
    edits: list[Edit] = []
    lines: list[int] = []
    depth = 0
    for before, token, after in zip(py.tokens, py.tokens[1:], py.tokens[2:], strict=False):
        if token.type != tokenize.OP:
            continue
        depth += (token.string in "([{") - (token.string in ")]}")
        spots = []
        if token.string in _SPACED and (token.string != "=" or not depth):
            spots = [py.place(*token.start)] if before.end == token.start and before.string not in "([," else []
            spots += [py.place(*token.end)] if after.start == token.end and after.type != tokenize.NEWLINE else []
        elif (
            token.string == ","
            and after.start == token.end
            and after.type in (tokenize.NAME, tokenize.NUMBER, tokenize.STRING)
        ):
            spots = [py.place(*token.end)]
        edits += [(s, s, " ") for s in spots]
        lines += [token.start[0]] * bool(spots)
    if edits:
        yield Fix(
            lines[0],
            f"{in_lines(lines, 'lacks', 'lack')} the spaces that PEP 8 puts around operators and after commas.",
            tuple(edits),
        )


def in_lines(lines: list[int], one: str, many: str) -> str:
    count = len(set(lines))
    return f"This line {one}" if count == 1 else f"{count} lines, from here on, {many}"


def semicolons(py: Python) -> Iterator[Fix]:
    edits: list[Edit] = []
    lines: list[int] = []
    for token, after in zip(py.tokens, py.tokens[1:], strict=False):
        if token.type == tokenize.OP and token.string == ";":
            row = py.lines[token.start[0] - 1]
            if re.match(r"\s*(?:if|for|while|with|else|elif|try|except|finally|def|class)\b", row):
                return
            last = after.type in (tokenize.NEWLINE, tokenize.COMMENT)
            end = token.end if last else after.start
            new = "" if last else "\n" + row[: len(row) - len(row.lstrip())]
            edits.append((py.place(*token.start), py.place(*end), new))
            lines.append(token.start[0])
    if edits:
        yield Fix(lines[0], "Semicolons end or join the statements; put each on a line of its own.", tuple(edits))


def parentheses(py: Python) -> Iterator[Fix]:
    """`if (x):`, `return (x)`."""
    for words_, n in ((w, n) for node in py.nodes for w, n in _parenthesised(node)):
        a, b, row = py.start(n), py.end(n), py.line_start(n.lineno)
        before, after = (py.raw[row:a].decode("utf-8", "replace"), py.raw[b:].decode("utf-8", "replace"))
        head = re.search(rf"\b({words_}) ?\( *$", before)
        tail = re.match(r" *\)[ \t]*(?=\n|$)" if words_ == "return" else r" *\) *(?=:)", after)
        if head and tail and "\n" not in py.of(n) and not isinstance(n, ast.Tuple | ast.NamedExpr | ast.Yield):
            start = row + len(before[: head.end(1)].encode())
            said = f"The parentheses after `{head[1]}` are not needed."
            yield Fix(n.lineno, said, ((start, a, " "), (b, b + len(tail[0]), "")))


def _parenthesised(n: ast.AST) -> list[tuple[str, ast.expr]]:
    if isinstance(n, ast.If | ast.While):
        return [("(?:el)?if" if isinstance(n, ast.If) else "while", n.test)]
    return [("return", n.value)] if isinstance(n, ast.Return) and n.value is not None else []


def blank(py: Python) -> Iterator[Fix]:
    """White space at line ends, outside of strings."""
    held = {
        i
        for n in ast.walk(py.tree)
        if isinstance(n, ast.Constant | ast.JoinedStr)
        for i in range(n.lineno, n.end_lineno or 0)
    }
    found = [
        i
        for i, row in enumerate(py.lines, 1)
        if row != row.rstrip(" \t") and i not in held and row.rstrip()[-1:] != "\\"
    ]
    if found:
        edits = tuple(
            (py.place(i, len(py.lines[i - 1].rstrip(" \t"))), py.place(i, len(py.lines[i - 1])), "") for i in found
        )
        yield Fix(found[0], f"{in_lines(found, 'ends', 'end')} in white space.", edits)


#: The weightier first; where two would change the same place, the first one holds.
RULES: Final[tuple[Rule, ...]] = (
    undefined,
    mutable_default,
    bare_except,
    rewrites,
    shadowed,
    unused_import,
    single_quoted,
    semicolons,
    parentheses,
    spacing,
    blank,
)


# --- code that does not parse -----------------------------------------------------------------------------------------


def repaired(code: str, error: SyntaxError) -> str | None:
    """The code with what its first error misses put in, if it then parses: a colon, a bracket, the parentheses of
    `print`.
    """
    line, rows = error.lineno or 0, code.split("\n")
    if not 0 < line <= len(rows):
        return None
    row = rows[line - 1].rstrip()
    tries: list[str] = []
    if error.msg.startswith("Missing parentheses in call to 'print'"):
        return _parsed(re.sub(r"(?m)^([^\n#'\"]*?\b)print[ \t]+(?!\()([^\n#;]+?)[ \t]*$", r"\1print(\2)", code))
    if error.msg == "expected ':'":
        tries = [row + ":"]
    elif found := re.match(r"'([(\[{])' was never closed", error.msg):
        close = {"(": ")", "[": "]", "{": "}"}[found[1]]
        tries = [row[:-1] + close + ":", row + close] if row.endswith(":") else [row + close]
    made = (_parsed("\n".join([*rows[: line - 1], t, *rows[line:]])) for t in tries)
    return next((m for m in made if m), None)


def _parsed(code: str) -> str | None:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return code
