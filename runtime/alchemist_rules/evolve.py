"""Evolves a request together with its answer: every way changes the code so that it does what is newly asked."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.code import grammars

from alchemist_rules.evolve_tables import AROUND, BESIDE
from alchemist_rules.python_code import FUNCTION, Function, Python, own, parse
from alchemist_rules.snippet import NAMES, Draw, Snippet, edited, listed, snippet, text_of, tree

#: What is asked in addition, in several wordings, and the code that does it.
Made = tuple[tuple[str, ...], str]
Way = Callable[[Snippet], Made | None]
PythonWay = Callable[[Python, Function], Made | None]


@dataclass(frozen=True, slots=True)
class Evolution:
    instruction: str
    response: str
    way: str


def evolve(instruction: str, response: str, lang: str | None = None, sample: int = 0) -> Evolution | None:
    """One of the ways that fit, half of them such as change the algorithm or the data structure; None where none does.

    The response must be code alone, or text with one fenced block, which is then replaced in its place.
    """
    code = snippet(response, instruction, lang)
    if code is None or not instruction.strip() or code.session or not (code.alone or code.block):
        return None
    parsed = code.lang in grammars.PARSED and grammars.parses(code.code, code.lang)
    if not parsed or response.count(code.code) != 1:
        return None
    draw = Draw(instruction + "\0" + response, sample)
    for side in [DEEP, PLAIN] if draw.below(2) else [PLAIN, DEEP]:
        left = dict(side)
        while left:
            name = list(left)[draw.weighted([w for w, _ in left.values()])]
            new = _sound(left.pop(name)[1], code)
            if new is not None:
                return Evolution(_joined(instruction, draw.one(new[0])), response.replace(code.code, new[1]), name)
            if name == "debug" and (faulty := _faulty(code, draw)) is not None:
                return Evolution(f"{instruction.rstrip()}\n\n{faulty[0][0]}", faulty[1], name)
    return None


def _sound(way: Way, code: Snippet) -> Made | None:
    result = way(code)
    return result if result and result[1] != code.code and grammars.parses(result[1], code.lang) else None


def _joined(instruction: str, more: str) -> str:
    text = instruction.rstrip()
    text += "" if text[-1] in ".!?:;\"'`)}]" else "."
    return f"{text}\n{more}" if "\n" in text or text[-1] not in ".!?" else f"{text} {more}"


def _on_function(way: PythonWay) -> Way:
    """A way over the last Python function at the top that is not `main`, unless it yields or awaits."""
    yields = (ast.Yield, ast.YieldFrom, ast.Await, ast.AsyncFunctionDef)

    def run(code: Snippet) -> Made | None:
        py = parse(code.code) if code.lang == "python" else None
        found = [n for n in py.tree.body if isinstance(n, FUNCTION) and n.name != "main"] if py else []
        plain = py is not None and found and not any(isinstance(n, yields) for n in (found[-1], *own(found[-1])))
        return way(py, found[-1]) if py is not None and plain else None

    return run


_NOT_PLAIN: Final = (
    r"property|setter|getter|contextmanager|fixture|overload|abstract|classmethod|staticmethod|route|cached"
)


def _beside(name: str) -> PythonWay:
    (_, head, kinds, line, *_), asks, code = BESIDE[name]

    def way(py: Python, f: Function) -> Made | None:
        plain = [x.arg for x in (*f.args.posonlyargs, *f.args.args)]
        needed = plain[: len(plain) - len(f.args.defaults)]
        odd = any(re.search(_NOT_PLAIN, ast.unparse(d)) for d in f.decorator_list) or None in f.args.kw_defaults
        new = head.partition("(")[0].replace("STEM", f.name.strip("_"))
        clash = {new, "items", "item", line.rpartition(" ")[2]} & py.taken
        if odd or clash or not needed or needed[0] == "cls" or f.name.startswith("__"):
            return None
        if py.indent(f) or _kind(f) not in kinds.split() or (name == "cache" and not _hashable(f)):
            return None
        me = needed[0] == "self"
        if needed == ["self"]:
            call, key, items, me = f"item.{f.name}()", f"lambda item: item.{f.name}()", "objects", False
        elif len(needed) - me == 1:
            key, items = "self." * me + f.name, "values"
            call = f"{key}(item)"
        else:
            call, items = "self." * me + f"{f.name}(*item)", "tuples of arguments"
            key = f"lambda item: {call}"
        words = {"NAME": new, "STEM": f.name, "KIND": "method" if me else "function", "ITEMS": items}
        words |= {"CALL": call, "KEY": key}
        start = f"def {new}{'(self, ' if me else '('}{head.partition('(')[2]}:\n"
        text, *said = (re.sub(r"NAME|STEM|KIND|ITEMS|CALL|KEY", lambda m: words[m[0]], x) for x in (code, *asks))
        end = py.end(f)
        edit = (end, end, ("\n\n" if me else "\n\n\n") + start + text)
        return tuple(said), edited(py.raw, [*py.imports(line), edit])

    return way


def _around(name: str) -> PythonWay:
    (_, called, line, *_), asks, code = AROUND[name]
    before, _, body = code.rpartition("...\n")
    text = f"def {called}(function):\n{before}    @functools.wraps(function)\n    def wrapper(*args, **kwargs):\n{body}"
    text = text.replace("CALL", "function(*args, **kwargs)") + f"\n\n    return wrapper\n\n\n@{called}\n"

    def way(py: Python, f: Function) -> Made | None:
        clash = {called, "functools", line.rpartition(" ")[2]} & py.taken
        if clash or f.decorator_list or f.name.startswith("__"):
            return None
        at = py.head(f)
        gap = "\n\n" * (at > 0 and not py.raw[:at].endswith(b"\n\n"))
        edits = [*py.imports("import functools", line), (at, at, gap + text)]
        return tuple(a.replace("STEM", f.name) for a in asks), edited(py.raw, edits)

    return way


def _hashable(f: Function) -> bool:
    """Whether nothing in a function shows that an argument cannot be a key of a dictionary."""
    provided = "|".join(n.arg for n in ast.walk(f.args) if isinstance(n, ast.arg) and n.arg != "self")
    held = rf"\b(?:{provided})(?:\[|\.(?:append|items|keys|values|sort|shape|dtype|update|pop)\b)|\bin (?:{provided})\b"
    called = rf"\b(?:len|sum|set|list|sorted|min|max|iter|enumerate|zip|any|all|map)\((?:{provided})\b"
    return not provided or not re.search(f"{held}|{called}", ast.unparse(f))


_TRUTH: Final = re.compile(r"not |(?:True|False)$|(?:isinstance|issubclass|hasattr|callable|bool|any|all)\([^()]*\)$")
_MANY: Final = re.compile(
    r"[\[{]|\(.* for |lambda\b|(?:.*\.)?(?:list|dict|set|sorted|split|filter|map|zip|array|reversed|copy|[A-Z]\w*)\("
)


def _kind(f: Function) -> str:
    """What a function returns, as far as its returns show: `nothing`, `truth`, `many` (a container) or `one`."""
    text, kinds = ast.unparse(f), set()
    if re.search(r"(?i)\b\w*arrays?\b|array_like|dispatch", text):
        return "many"  # comparing arrays gives arrays
    grown = set(re.findall(r"\b(\w+)(?:\.(?:append|extend|add|update|insert)\(|\[[^\]]*\] [-+*/|&]?= )", text))
    values = {ast.unparse(n.targets[0]): n.value for n in own(f) if isinstance(n, ast.Assign)}
    for n in own(f):
        if not isinstance(n, ast.Return) or n.value is None:
            continue
        v = values.get(ast.unparse(n.value), n.value)
        displayed = ast.unparse(v)
        many = ast.unparse(n.value) in grown or _MANY.match(displayed)
        boolean = isinstance(v, ast.Compare) or _TRUTH.match(displayed)
        if displayed != "None":
            kinds.add("many" if many else "truth" if boolean else "one")
    return "nothing" if not kinds else kinds.pop() if len(kinds) == 1 else "many" if "many" in kinds else "one"


def _none_check(py: Python, f: Function) -> Made | None:
    """A ValueError where the first parameter is None. Changes what happens for None alone."""
    plain = [a.arg for a in (*f.args.posonlyargs, *f.args.args) if a.arg not in ("self", "cls")]
    first = py.first_line(f)
    if not plain or first is None or re.search(rf"\bNone\b|\b{f.name}\b[^\0]*\b{f.name}\b", ast.unparse(f)):
        return None
    tests = [n.test for n in ast.walk(f) if isinstance(n, ast.If | ast.While | ast.IfExp | ast.Assert)]
    tests += [n for n in ast.walk(f) if isinstance(n, ast.BoolOp | ast.UnaryOp)]
    name = plain[0]
    if any(re.search(rf"\b{name}\b", ast.unparse(t)) for t in tests if not isinstance(t, ast.Compare)):
        return None  # its truth is asked for: None may mean something
    asks = (
        f"Raise a `ValueError` if `{name}` is None.",
        f"`{f.name}` must refuse None for `{name}` with a `ValueError`.",
        f"Check first that `{name}` is not None, and raise a `ValueError` if it is.",
    )
    check = f'if {name} is None:\n    raise ValueError("`{name}` must not be None")'
    return asks, edited(py.raw, [py.before(first, check)])


def _keyword_only(py: Python, f: Function) -> Made | None:
    a = f.args
    if not a.defaults or a.vararg or a.kwonlyargs or len(a.defaults) > len(a.args) or f.decorator_list:
        return None
    bare = len(a.posonlyargs) + len(a.args) - len(a.defaults) - sum(x.arg == "self" for x in a.args[:1])
    calls = [n for n in ast.walk(py.tree) if isinstance(n, ast.Call) and ast.unparse(n.func).endswith(f.name)]
    if any(len(n.args) > bare or any(isinstance(x, ast.Starred) for x in n.args) for n in calls):
        return None
    first, provided = py.start(a.args[-len(a.defaults)]), listed([f"`{x.arg}`" for x in a.args[-len(a.defaults) :]])
    them = "it" if len(a.defaults) == 1 else "them"
    asks = (f"Let {provided} be given by keyword only.", f"Callers must name {provided} when they pass {them}.")
    return asks, edited(py.raw, [(first, first, "*, ")])


#: Operators and those that always give the other result.
_PAIRS: Final = (("<", ">="), (">", "<="), ("==", "!="), ("===", "!=="), ("in", "not in"), ("is", "is not"))
_OPPOSITE: Final = dict(_PAIRS) | {b: a for a, b in _PAIRS}


def _faulty(code: Snippet, draw: Draw) -> Made | None:
    """A copy of the code with one comparison turned round, to find and put right."""
    t = tree(code.code, code.lang) if code.lang not in ("json", "bash") else None
    if t is None or not 3 <= code.code.count("\n") < 40:
        return None
    spots = []
    for n in [n for n in t.nodes if n.type in ("if_statement", "if_expression")]:
        test = n.child_by_field_name("condition")
        while test is not None and test.type in ("parenthesized_expression", "condition_clause"):
            test = test.named_children[0] if test.named_child_count == 1 else None
        if test is not None and test.type in ("comparison_operator", "binary_expression") and len(test.children) == 3:
            spots += [c for c in test.children if not c.is_named and text_of(c) in _OPPOSITE]
    if not spots:
        return None
    at = spots[draw.below(len(spots))]
    good = text_of(at)
    bad = edited(t.raw, [(*t.span(at), _OPPOSITE[good])])
    fence, tag = "~~~" if "```" in code.code else "```", code.lang if code.lang in NAMES else ""
    asks = ("This attempt has a fault. Find it and give the correct code:", "Correct this faulty attempt, and say why:")
    ask = draw.one((*asks, "One operator in this attempt is wrong. Which one? Put it right:"))
    said = f"In line {t.line(at)}, `{_OPPOSITE[good]}` must be `{good}`:"
    return (f"{ask}\n\n{fence}{tag}\n{bad}\n{fence}",), f"{said}\n\n{fence}{tag}\n{code.code}\n{fence}"


#: Name -> (how likely it is drawn where it fits: the rarer it fits, the likelier; the way). `DEEP` changes the
#: algorithm or the data structure, `PLAIN` adds a requirement and leaves them; `debug`: see `_faulty`.
_TABLES: Final[dict[str, tuple[int, Way]]] = {
    name: (int(table[name][0][0]), _on_function(way(name)))
    for table, way in ((BESIDE, _beside), (AROUND, _around))
    for name in table
}
_PLAIN: Final = ("filter", "timed", "logged", "locked")
DEEP: Final[dict[str, tuple[int, Way]]] = {n: row for n, row in _TABLES.items() if n not in _PLAIN}
PLAIN: Final[dict[str, tuple[int, Way]]] = {
    **{n: _TABLES[n] for n in _PLAIN},
    "none check": (3, _on_function(_none_check)),
    "keyword only": (5, _on_function(_keyword_only)),
    "debug": (5, lambda _: None),
}
