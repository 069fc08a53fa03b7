"""Ways to evolve a Python function. Each gives what is asked in addition, in several wordings, and the source that does
it.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Callable
from typing import Final

from alchemist_runtime.teachers._rules import patterns
from alchemist_runtime.teachers._rules.fixes_python import truth
from alchemist_runtime.teachers._rules.pysource import FUNCTION, Function, Python, arguments, names, own
from alchemist_runtime.teachers._rules.shown import Edit, edited, listed

Made = tuple[tuple[str, ...], str] | None
Way = Callable[[Python, Function], Made]


def _import(py: Python, lines: str) -> list[Edit]:
    """The lines put in before the first import or definition; nothing for those that are there."""
    at = py.head()
    gap = "\n" if re.match(rb"import|from", py.raw[at:]) else "\n\n\n"
    new = [x for x in lines.split("\n") if x and x not in py.lines]
    return [(at, at, "\n".join(new) + gap)] if new else []


def _above(py: Python, f: Function, text: str) -> Edit:
    """Definitions put in before a function, two empty lines before them."""
    at = py.before(f, "")[0]
    return at, at, "\n\n" * (at > 0 and not py.raw[:at].endswith(b"\n\n")) + text


def _merged(edits: list[Edit]) -> list[Edit]:
    """Insertions at the same place joined in their order."""
    out: dict[tuple[int, int], str] = {}
    for a, b, text in edits:
        out[a, b] = out.get((a, b), "") + text
    return [(a, b, text) for (a, b), text in out.items()]


def _generates(f: Function) -> bool:
    kinds = (ast.Yield, ast.YieldFrom, ast.Await)
    return isinstance(f, ast.AsyncFunctionDef) or any(isinstance(n, kinds) for n in own(f))


# --- another algorithm inside the function ----------------------------------------------------------------------------

#: way -> (weight, what is asked, import, (pattern, what takes its place)…); see `patterns`. T are the names of a loop.
_REWRITES: Final = {
    "comprehension": (
        40,
        (
            "Build the list by a comprehension and not by a loop.",
            "Use a list comprehension in the place of the loop that appends.",
        ),
        "",
        (
            ("X = []\nfor T in I:\n    X.append(E)", "{X} = [{E} for {T} in {I}]"),
            ("X = []\nfor T in I:\n    if C:\n        X.append(E)", "{X} = [{E} for {T} in {I} if {C}]"),
        ),
    ),
    "explicit loop": (
        40,
        (
            "Write the comprehension out as a loop that appends.",
            "Do without a list comprehension: collect the values in a plain loop.",
        ),
        "",
        (
            ("X = [E for T in I]", "{X} = []\nfor {T} in {I}:\n    {X}.append({E})"),
            ("X = [E for T in I if C]", "{X} = []\nfor {T} in {I}:\n    if {C}:\n        {X}.append({E})"),
            ("return [E for T in I]", "found = []\nfor {T} in {I}:\n    found.append({E})\nreturn found"),
            (
                "return [E for T in I if C]",
                "found = []\nfor {T} in {I}:\n    if {C}:\n        found.append({E})\nreturn found",
            ),
        ),
    ),
    "iterator": (
        12,
        (
            "Use no `for` loop: take the values from an explicit iterator with `next`.",
            "Drive the loop by hand, with `iter`, `next` and `StopIteration`.",
        ),
        "",
        (
            (
                "for T in I:\n    BODY",
                (
                    "values = iter({I})\nwhile True:\n    try:\n        {T} = next(values)\n    except StopIteration:\n"
                    "        break\n    {BODY}"
                ),
            ),
        ),
    ),
    "string join": (
        40,
        (
            "Do not grow a string in the loop: use `join`, so that it takes linear time.",
            "Join the pieces of the text in one call of `join`.",
        ),
        "",
        (
            ("X = ''\nfor T in I:\n    X += E", '{X} = "".join({E} for {T} in {I})'),
            ("X = ''\nfor T in I:\n    if C:\n        X += E", '{X} = "".join({E} for {T} in {I} if {C})'),
        ),
    ),
    "counter": (
        40,
        ("Count with `collections.Counter` in the place of a plain dictionary.", "Let a `Counter` keep the counts."),
        "from collections import Counter",
        (
            ("X = {}\nfor T in I:\n    X[E] = X.get(E, 0) + 1", "{X} = Counter({E} for {T} in {I})"),
            (
                "X = {}\nfor T in I:\n    if E in X:\n        X[E] += 1\n    else:\n        X[E] = 1",
                "{X} = Counter({E} for {T} in {I})",
            ),
        ),
    ),
    "product": (
        40,
        (
            "Walk over all pairs in one loop, with `itertools.product`.",
            "Flatten the two nested loops into one over `itertools.product`.",
        ),
        "from itertools import product",
        (
            (
                "for X in range(A):\n    for Y in range(B):\n        BODY",
                "for {X}, {Y} in product(range({A}), range({B})):\n    {BODY}",
            ),
        ),
    ),
    "reduce": (
        40,
        (
            "Fold the values with `functools.reduce` in the place of the loop.",
            "Write the loop in a functional style, with `functools.reduce`.",
        ),
        "from functools import reduce",
        tuple(
            (
                f"X = K\nfor Y in I:\n    X {op}= E",
                f"{{X}} = reduce(lambda {{X}}, {{Y}}: {{X}} {op} ({{E}}), {{I}}, {{K}})",
            )
            for op in "+*-^|"
        ),
    ),
    "quantifier": (
        40,
        (
            "Say it with `any` or `all` in the place of the loop.",
            "Replace the loop that returns early by a call of `any` or `all`.",
        ),
        "",
        (
            ("for T in I:\n    if C:\n        return True\nreturn False", "return any({C} for {T} in {I})"),
            ("for T in I:\n    if C:\n        return False\nreturn True", "return all(not ({C}) for {T} in {I})"),
        ),
    ),
}


def _rewriting(name: str) -> Way:
    _, asks, line, table = _REWRITES[name]

    def way(py: Python, f: Function) -> Made:
        new = {"explicit loop": "found", "iterator": "values"}.get(name, line.rpartition(" ")[2])
        kinds = {"iterator": ast.For, "explicit loop": ast.ListComp}.get(name, ast.Module)
        many = sum(isinstance(n, kinds) for n in ast.walk(f)) > 1  # what is asked for would not hold
        for pattern, text in table if new not in py.taken and not many else ():
            for nodes, found in patterns.matches(py, pattern):
                if py.around(nodes[0]) is f and _apart(py, nodes, found, text):
                    edit = patterns.rewritten(py, nodes, found, text)
                    if edit is not None and max(map(len, edit[2].split("\n"))) <= 100:
                        return asks, edited(py.raw, [*_import(py, line), edit])
        return None

    return way


def _apart(py: Python, nodes: list[ast.stmt] | list[ast.expr], found: patterns.Found, text: str) -> bool:
    """Whether the names of the rewrite do not meet: the result is not read on the way, the loop's names are of the loop
    alone.
    """
    parts = {k: names(v) for k, v in found.items() if isinstance(v, ast.expr)}
    loop = parts.get("T", parts.get("Y", [])) if "[{E}" in text or "(" in text else []
    if any(isinstance(n, ast.Yield | ast.YieldFrom | ast.Await | ast.NamedExpr) for v in nodes for n in ast.walk(v)):
        return False
    if "product" in text:
        body = found["BODY"]
        changed = {*parts["X"], *(names(body, ast.Store) if isinstance(body, list) else [])}
        bound = found["B"]
        inner = ast.walk(bound) if isinstance(bound, ast.expr) else []
        calls = any(isinstance(n, ast.Call) and ast.unparse(n.func) != "len" for n in inner)
        ends = any(isinstance(n, ast.Break) for s in nodes for n in ast.walk(s))
        return not (changed & set(parts["B"]) or calls or ends)
    if "iter(" in text:
        return len(nodes[0].body) > 0 and not nodes[0].orelse  # type: ignore[union-attr]
    if "X" in parts and any(parts["X"][0] in parts.get(k, []) for k in "EICT"):
        return False
    if "Counter" in text and isinstance(x := found["X"], ast.Name):
        return names(py.around(nodes[0]), ast.Store).count(x.id) == 1
    return all(patterns.only_here(py, nodes, n) for n in loop)


def recursion(py: Python, f: Function) -> Made:
    """A `while` loop becomes an inner function that calls itself with the changed values."""
    loops = [n for n in ast.walk(f) if isinstance(n, ast.While | ast.For)]
    if (
        len(loops) != 1
        or not isinstance(loops[0], ast.While)
        or loops[0] not in f.body
        or loops[0].orelse
        or _generates(f)
        or "step" in py.taken
    ):
        return None
    n = loops[0]
    plain = (
        ast.Assign,
        ast.AugAssign,
        ast.If,
        ast.Expr,
        ast.expr,
        ast.operator,
        ast.unaryop,
        ast.cmpop,
        ast.boolop,
        ast.expr_context,
    )
    scopes = (ast.Lambda, ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.SetComp, ast.NamedExpr)
    inner = [x for s in n.body for x in ast.walk(s)]
    changed = list(dict.fromkeys(names(n.body, ast.Store)))
    before = {a.arg for a in arguments(f)} | set(names(f.body[: f.body.index(n)], ast.Store))
    if (
        any(not isinstance(x, plain) or isinstance(x, scopes) for x in inner)
        or not 1 <= len(changed) <= 4
        or not set(changed) <= before
    ):
        return None
    if not py.own_lines(n.body[0]) or "\n" in py.of(n.test):
        return None
    pad, step, row = py.indent(n), py.indent(n.body[0]), ", ".join(changed)
    head = f"def step({row}):\n{step}if not ({py.of(n.test)}):\n{step}{step[len(pad) :]}return {row}"
    end, colon = py.end(n.body[-1]), py.raw.index(b":", py.end(n.test)) + 1
    tail = f"\n{step}return step({row})\n\n{pad}{row} = step({row})"
    asks = (
        f"Replace the loop of `{f.name}` by recursion.",
        "Use recursion and no loop.",
        "Solve it without `while`: an inner function shall call itself.",
    )
    return asks, edited(py.raw, [(py.start(n), colon, head), (end, end, tail)])


def named_tuple(py: Python, f: Function) -> Made:
    returns = [n for n in own(f) if isinstance(n, ast.Return)]
    shapes = {
        tuple(e.id if isinstance(e, ast.Name) else "" for e in r.value.elts) if isinstance(r.value, ast.Tuple) else ()
        for r in returns
    }
    fields = shapes.pop() if len(shapes) == 1 else ()
    kind = "".join(w.capitalize() for w in f.name.split("_")) + "Result"
    odd = any(not n or n.startswith("_") or keyword.iskeyword(n) for n in fields) or len(set(fields)) != len(fields)
    if len(fields) < 2 or odd or {kind, "namedtuple"} & py.taken or f.returns:
        return None
    made = ", ".join(f'"{n}"' for n in fields)
    edits = [py.swap(r.value, f"{kind}({', '.join(fields)})") for r in returns if r.value is not None]
    line, top = ("from collections import namedtuple", f'{kind} = namedtuple("{kind}", [{made}])\n\n\n')
    shown = listed([f"`{n}`" for n in fields])
    asks = (
        f"Return a named tuple `{kind}` with the fields {shown}.",
        f"Let callers reach the parts of the result by name: {shown}, in a named tuple `{kind}`.",
    )
    return asks, edited(py.raw, _merged([*_import(py, line), *edits, _above(py, f, top)]))


# --- a second function beside it --------------------------------------------------------------------------------------

_NOT_PLAIN: Final = re.compile(
    r"property|setter|getter|contextmanager|fixture|overload|abstract|classmethod|staticmethod|route|app\.|cached"
)

#: way -> (weight, name, what its function returns, import, what is asked, code). In the code CALL is the call for
#: `item`, KEY a function of an item, SELF what comes before the items; in the wordings ITEMS says what they are.
_BESIDE: Final = {
    "grouping": (
        8,
        "group_by_STEM",
        "one truth",
        "",
        (
            "Add a KIND `NAME` that groups ITEMS by what `STEM` returns for them, in a dictionary of lists.",
            (
                "Also write a KIND `NAME`: it takes an iterable of ITEMS and returns a dictionary from each result of"
                " `STEM` to the list of those that gave it."
            ),
        ),
        '''\
def NAME(SELFitems):
    """Group the items by what `STEM` returns for them."""
    groups = {}
    for item in items:
        groups.setdefault(CALL, []).append(item)
    return groups''',
    ),
    "heap": (
        9,
        "top_by_STEM",
        "one",
        "import heapq",
        (
            (
                "Add a KIND `NAME` that finds, among many ITEMS, the `count` with the largest results of `STEM`, with a"
                " heap and without sorting all of them."
            ),
            (
                "Also write a KIND `NAME` that keeps only those `count` of many ITEMS for which `STEM` returns the"
                " most, by means of `heapq`."
            ),
        ),
        '''\
def NAME(SELFitems, count):
    """The `count` items for which `STEM` returns the most, the largest first."""
    return heapq.nlargest(count, items, key=KEY)''',
    ),
    "thread pool": (
        3,
        "STEM_in_parallel",
        "nothing one truth many",
        "from concurrent.futures import ThreadPoolExecutor",
        (
            (
                "Add a KIND `NAME` that calls `STEM` for many ITEMS in a pool of threads and keeps the order of the"
                " results."
            ),
            "Also write a KIND `NAME` that applies `STEM` to many ITEMS concurrently, with a `ThreadPoolExecutor`.",
        ),
        '''\
def NAME(SELFitems):
    """What `STEM` returns for each of the items, computed by a pool of threads."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(KEY, items))''',
    ),
    "cache": (
        4,
        "STEM_once_each",
        "one truth many",
        "",
        (
            (
                "Add a KIND `NAME` that takes a list of hashable ITEMS, calls `STEM` only once for equal ones and"
                " returns all results in order."
            ),
            (
                "Also write a KIND `NAME` for many hashable ITEMS with repetitions: a dictionary shall keep the results"
                " of `STEM` that are known."
            ),
        ),
        '''\
def NAME(SELFitems):
    """What `STEM` returns for each of the items, called once for equal ones."""
    known = {}
    for item in items:
        if item not in known:
            known[item] = CALL
    return [known[item] for item in items]''',
    ),
    "binary search": (
        12,
        "first_with_STEM",
        "one",
        "",
        (
            (
                "Add a KIND `NAME` that finds by binary search the first index in a list of ITEMS for which `STEM`"
                " returns at least `bound`; the list is in the order of these results."
            ),
            (
                "Also write a KIND `NAME`: given a list of ITEMS in ascending order of what `STEM` returns for them, it"
                " searches in logarithmic time where `bound` is reached."
            ),
        ),
        '''\
def NAME(SELFitems, bound):
    """The first index at which `STEM` returns at least `bound`; `items` ascend by it."""
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        item = items[middle]
        if CALL < bound:
            low = middle + 1
        else:
            high = middle
    return low''',
    ),
    "work queue": (
        2,
        "STEM_worker",
        "nothing one truth many",
        "",
        (
            "Add a KIND `NAME` that takes ITEMS from a `queue.Queue`, calls `STEM` for each and ends at None.",
            (
                "Also write a KIND `NAME` for a thread of its own: it works through a queue of ITEMS with `STEM` until"
                " it gets None."
            ),
        ),
        '''\
def NAME(SELFitems):
    """Call `STEM` for what comes out of the queue, until None comes."""
    while (item := items.get()) is not None:
        CALL
        items.task_done()
    items.task_done()''',
    ),
    "filter": (
        20,
        "where_STEM",
        "truth",
        "",
        (
            "Add a KIND `NAME` that keeps those of many ITEMS for which `STEM` returns something true.",
            "Also write a KIND `NAME` that filters ITEMS by the truth of what `STEM` returns.",
        ),
        '''\
def NAME(SELFitems):
    """The items for which `STEM` returns something true."""
    return [item for item in items if CALL]''',
    ),
}


def _beside(name: str) -> Way:
    _, called, kinds, line, asks, code = _BESIDE[name]

    def way(py: Python, f: Function) -> Made:
        found = _call(py, f)
        new = called.replace("STEM", f.name.strip("_"))
        if (
            found is None
            or _kind(f) not in kinds.split()
            or not _fits(name, f)
            or {new, "items", "item", line.rpartition(" ")[2]} & py.taken
        ):
            return None
        call, before, items, key = found
        words = {
            "NAME": new,
            "STEM": f.name,
            "KIND": "method" if before else "function",
            "ITEMS": items,
            "CALL": call,
            "KEY": key,
            "SELF": before,
        }
        text, *shown = (re.sub(r"NAME|STEM|KIND|ITEMS|CALL|KEY|SELF", lambda m: words[m[0]], x) for x in (code, *asks))
        end = py.end(f)
        return tuple(shown), edited(py.raw, [*_import(py, line), (end, end, ("\n\n" if before else "\n\n\n") + text)])

    return way


def _call(py: Python, f: Function) -> tuple[str, str, str, str] | None:
    """How to call a function for an item: the call, the parameters before the items, what an item is, a function of one
    item.
    """
    a = f.args
    plain = [x.arg for x in (*a.posonlyargs, *a.args)]
    needed = plain[: len(plain) - len(a.defaults)]
    me = needed[:1] == ["self"]
    count = len(needed) - me
    odd = any(_NOT_PLAIN.search(ast.unparse(d)) for d in f.decorator_list) or any(d is None for d in a.kw_defaults)
    if odd or _generates(f) or f.name.startswith("__") or needed[:1] == ["cls"] or py.indent(f) or not needed:
        return None
    name = f"self.{f.name}" if me and count else f.name
    if not count:
        return f"item.{f.name}()", "", "objects", f"lambda item: item.{f.name}()"
    if count == 1:
        return f"{name}(item)", "self, " * me, "values", name
    return f"{name}(*item)", "self, " * me, "tuples of arguments", f"lambda item: {name}(*item)"


def _fits(name: str, f: Function) -> bool:
    """Whether nothing in a function speaks against a way: what threads would share, arguments that cannot be keys."""
    changes = (ast.Global, ast.Nonlocal)
    if name == "thread pool":
        stores = any(isinstance(n, ast.Attribute | ast.Subscript) and isinstance(n.ctx, ast.Store) for n in own(f))
        return not stores and not any(isinstance(n, changes) for n in own(f))
    if name in ("cache", "bounded cache"):
        given = "|".join(a.arg for a in arguments(f) if a.arg not in ("self", "cls"))
        container = (
            rf"\b(?:{given})(?:\[|\.(?:append|items|keys|values|sort|shape|dtype|update|pop)\b)|\bin (?:{given})\b"
        )
        called = rf"\b(?:len|sum|set|list|sorted|min|max|iter|enumerate|zip|any|all|map)\((?:{given})\b"
        return not given or not re.search(f"{container}|{called}", ast.unparse(f))
    return True


_MANY: Final = re.compile(r"(?:^|\.)(?:list|dict|set|sorted|split|filter|map|zip|array|reversed|copy|[A-Z]\w*)$")


def _kind(f: Function) -> str:
    """What a function returns, as far as its returns show: `nothing`, `truth`, `many` (a container) or `one`."""
    kinds = set()
    made = {
        n.targets[0].id: n.value for n in own(f) if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name)
    }
    text = ast.unparse(f)
    grown = set(re.findall(r"\b(\w+)(?:\.(?:append|extend|add|update|insert)\(|\[[^\]]*\] [-+*/|&]?= )", text))
    if re.search(r"(?i)\b\w*arrays?\b|array_like|dispatch", text):
        return "many"  # comparing arrays gives arrays
    containers = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp, ast.Lambda)
    for n in own(f):
        v = n.value if isinstance(n, ast.Return) else None
        v = made.get(v.id, v) if isinstance(v, ast.Name) else v
        if v is not None and not (isinstance(v, ast.Constant) and v.value is None):
            many = isinstance(v, containers) or (
                isinstance(n, ast.Return) and isinstance(n.value, ast.Name) and n.value.id in grown
            )
            many |= isinstance(v, ast.Call) and bool(_MANY.search(ast.unparse(v.func)))
            boolean = truth(v) or isinstance(v, ast.Compare) or (isinstance(v, ast.Constant) and type(v.value) is bool)
            kinds.add("many" if many else "truth" if boolean else "one")
    return kinds.pop() if len(kinds) == 1 else "many" if "many" in kinds else "one" if kinds else "nothing"


#: way -> (weight, name, where its source must match, import, what is asked, what stands before the wrapper, code of the
#: wrapper).
_DECORATORS: Final = {
    "call history": (
        3,
        "recorded",
        "",
        "from collections import deque",
        (
            "Remember the arguments of the last ten calls of `STEM` in a bounded `deque`, by a decorator.",
            (
                "Write a decorator `recorded` that keeps the last ten calls in a double-ended queue, as `STEM.calls`,"
                " and apply it to `STEM`."
            ),
        ),
        "",
        """\
        wrapper.calls.append((args, kwargs))
        return CALL

    wrapper.calls = deque(maxlen=10)""",
    ),
    "bounded cache": (
        4,
        "remembering",
        r"\breturn [^\n]",
        "from collections import OrderedDict",
        (
            (
                "Keep the results of the 100 latest different calls of `STEM` in an `OrderedDict`, by a decorator; all"
                " arguments are hashable."
            ),
            (
                "Write a decorator `remembering` that stores at most 100 results and forgets the one unused for"
                " longest, and apply it to `STEM`, whose arguments are hashable."
            ),
        ),
        "    known = OrderedDict()\n\n",
        """\
        key = args, tuple(sorted(kwargs.items()))
        if key in known:
            known.move_to_end(key)
            return known[key]
        known[key] = CALL
        if len(known) > 100:
            known.popitem(last=False)
        return known[key]""",
    ),
    "timed": (
        1,
        "timed",
        "",
        "import time",
        (
            "Write a decorator `timed` that prints how long a call takes, and apply it to `STEM`.",
            "Measure the running time of each call of `STEM` with a decorator, and print it.",
        ),
        "",
        """\
        begin = time.perf_counter()
        try:
            return CALL
        finally:
            print(f"{function.__name__}: {time.perf_counter() - begin:.6f} s")""",
    ),
    "logged": (
        1,
        "logged",
        "",
        "import logging",
        (
            "Log each call of `STEM` with its arguments at debug level, by a decorator.",
            (
                "Write a decorator `logged` that sends the arguments of each call to the `logging` module, and apply it"
                " to `STEM`."
            ),
        ),
        "",
        """\
        logging.getLogger(__name__).debug("%s %r %r", function.__name__, args, kwargs)
        return CALL""",
    ),
    "retried": (
        6,
        "retried",
        r"\b(?:open|connect|urlopen|read|write|recv|send|stat|listdir|socket|requests?)\b",
        "import time",
        (
            "Call `STEM` up to three times where it raises an `OSError`, with a growing pause, by a decorator.",
            (
                "Write a decorator `retried` that repeats a call after an `OSError`, at most twice, and apply it to"
                " `STEM`."
            ),
        ),
        "",
        """\
        for pause in (0.1, 0.4):
            try:
                return CALL
            except OSError:
                time.sleep(pause)
        return CALL""",
    ),
    "locked": (
        1,
        "locked",
        "",
        "import threading",
        (
            "Make sure by a lock that no two threads run `STEM` at the same time.",
            "Write a decorator `locked`, so that only one thread at a time is inside `STEM`.",
        ),
        "    lock = threading.RLock()\n\n",
        """\
        with lock:
            return CALL""",
    ),
}


def _decorated(name: str) -> Way:
    _, called, where, line, asks, before, body = _DECORATORS[name]
    text = (
        f"def {called}(function):\n{before}    @functools.wraps(function)\n    def wrapper(*args,"
        f" **kwargs):\n{body}\n\n    return wrapper\n\n\n@{called}\n"
    )

    def way(py: Python, f: Function) -> Made:
        odd = (
            _generates(f)
            or f.decorator_list
            or f.name.startswith("__")
            or not re.search(where, py.of(f))
            or not _fits(name, f)
        )
        if odd or {called, "functools", line.rpartition(" ")[2]} & py.taken:
            return None
        edits = [
            *_import(py, f"import functools\n{line}"),
            _above(py, f, text.replace("CALL", "function(*args, **kwargs)")),
        ]
        return tuple(a.replace("STEM", f.name) for a in asks), edited(py.raw, _merged(edits))

    return way


# --- requirements that leave the algorithm as it is -------------------------------------------------------------------


def none_check(py: Python, f: Function) -> Made:
    """A ValueError where the first parameter is None. Changes what happens for None alone."""
    plain = [a.arg for a in (*f.args.posonlyargs, *f.args.args) if a.arg not in ("self", "cls")]
    first = py.first_line(f)
    if not plain or first is None or _generates(f) or "None" in ast.unparse(f) or f.name in names(f.body):
        return None
    name = plain[0]
    asked = [n.test for n in ast.walk(f) if isinstance(n, ast.If | ast.While | ast.IfExp | ast.Assert)]
    asked += [n for n in ast.walk(f) if isinstance(n, ast.BoolOp | ast.UnaryOp)]
    if any(name in names(t) for t in asked if not isinstance(t, ast.Compare)):
        return None  # its truth is asked for: None may mean something
    asks = (
        f"Raise a `ValueError` if `{name}` is None.",
        f"`{f.name}` must refuse None for `{name}` with a `ValueError`.",
        f"Check first that `{name}` is not None, and raise a `ValueError` if it is.",
    )
    return asks, edited(
        py.raw, [py.before(first, f'if {name} is None:\n    raise ValueError("`{name}` must not be None")')]
    )


def keyword_only(py: Python, f: Function) -> Made:
    a = f.args
    if not a.defaults or a.vararg or a.kwonlyargs or len(a.defaults) > len(a.args) or f.decorator_list:
        return None
    bare = len(a.posonlyargs) + len(a.args) - len(a.defaults) - sum(x.arg == "self" for x in a.args[:1])
    calls = [
        n for n in ast.walk(py.tree) if isinstance(n, ast.Call) and ast.unparse(n.func).rpartition(".")[2] == f.name
    ]
    if any(len(n.args) > bare or any(isinstance(x, ast.Starred) for x in n.args) for n in calls):
        return None
    first = py.start(a.args[len(a.args) - len(a.defaults)])
    shown = listed([f"`{x.arg}`" for x in a.args[-len(a.defaults) :]])
    asks = (
        f"Let {shown} be given by keyword only.",
        f"Callers must name {shown} when they pass {'it' if len(a.defaults) == 1 else 'them'}.",
    )
    return asks, edited(py.raw, [(first, first, "*, ")])


def own_error(py: Python, f: Function) -> Made:
    """An exception class of its own in the place of the built-in one that it raises."""
    raised = [
        n.exc.func
        for n in own(f)
        if isinstance(n, ast.Raise) and isinstance(n.exc, ast.Call) and isinstance(n.exc.func, ast.Name)
    ]
    bases = {r.id for r in raised} & {"ValueError", "TypeError", "KeyError", "RuntimeError", "IndexError"}
    kind = "".join(w.capitalize() for w in f.name.split("_")) + "Error"
    if len(bases) != 1 or kind in py.taken or not kind.isidentifier():
        return None
    base = bases.pop()
    head = f'class {kind}({base}):\n    """Raised by `{f.name}`."""\n\n\n'
    asks = (
        f"Raise an exception of your own, `{kind}`, in the place of `{base}` and derived from it.",
        f"Callers must be able to tell its `{base}` from others: define `{kind}` as a kind of it.",
    )
    return asks, edited(py.raw, [_above(py, f, head), *(py.swap(r, kind) for r in raised if r.id == base)])


def guard(py: Python, f: Function) -> Made:
    """Statements after the definitions move under a main guard."""
    body = py.tree.body
    last = max(i for i, n in enumerate(body) if isinstance(n, (*FUNCTION, ast.ClassDef)))
    tail = body[last + 1 :]
    inside = {n for d in body[: last + 1] if isinstance(d, (*FUNCTION, ast.ClassDef)) for n in names(d)}
    long = any(
        isinstance(x, ast.Constant | ast.JoinedStr) and x.lineno != x.end_lineno for t in tail for x in ast.walk(t)
    )
    imports = any(isinstance(n, ast.Import | ast.ImportFrom) for n in tail)
    if (
        not tail
        or imports
        or long
        or "__name__" in py.text
        or set(names(tail, ast.Store)) & inside
        or not py.own_lines(tail[0])
    ):
        return None
    first = (body[last].end_lineno or 0) + 1
    rows = "\n".join(py.lines[first - 1 :]).strip("\n").split("\n")
    text = "\n".join(["", "", 'if __name__ == "__main__":', *("    " + r if r.strip() else "" for r in rows)])
    asks = (
        "Run the example only when the file is started as a script, not when it is imported.",
        'Keep what runs at the end under an `if __name__ == "__main__":` guard.',
        "The module must be importable without running its example.",
    )
    return asks, "\n".join(py.lines[: first - 1]) + "\n" + text


#: Name -> (weight in the draw, way); see `evolve`.
DEEP: Final[dict[str, tuple[int, Way]]] = {
    **{n: (row[0], _rewriting(n)) for n, row in _REWRITES.items()},
    **{n: (row[0], _beside(n)) for n, row in _BESIDE.items() if n != "filter"},
    **{n: (_DECORATORS[n][0], _decorated(n)) for n in ("call history", "bounded cache")},
    "recursion": (40, recursion),
    "named tuple": (40, named_tuple),
}
PLAIN: Final[dict[str, tuple[int, Way]]] = {
    **{n: (_DECORATORS[n][0], _decorated(n)) for n in ("timed", "logged", "retried", "locked")},
    "filter": (_BESIDE["filter"][0], _beside("filter")),
    "none check": (3, none_check),
    "keyword only": (5, keyword_only),
    "own error": (8, own_error),
    "main guard": (4, guard),
}
