"""Algorithmic ideas that a Python tree proves: recursion, memoisation, tables, search, sorting, counting, stacks, queues."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence

from alchemist_runtime.teachers._facts import Facts
from alchemist_runtime.teachers._python_scan import (
    LOOPS,
    Scan,
    called,
    has_decorator,
    own_nodes,
    recursive,
)


def ideas(s: Scan, calls: Counter[str], out: Facts) -> None:
    loops = [n for n in s.nodes if isinstance(n, LOOPS)]
    if "recursive" not in out.adjectives and any(recursive(f, c) for f, c in s.functions):
        out.say(
            "works recursively",
            "calls itself recursively" if out.unit == "method" else "relies on recursion",
        )
    if memo := memoised(s):
        out.say(*memo)
    if table := _table(s, loops):
        out.say(*table)
    if any(_binary_search(n) for n in loops):
        out.say(
            "searches by halving the interval at each step", "narrows the range by binary search"
        )
    elif any(name.startswith("bisect.") for name in calls):
        out.say("finds positions with `bisect`", "uses binary search from the `bisect` module")
    if any(_two_pointers(n) for n in loops):
        out.say("moves two pointers towards each other", "closes in with one index from each end")
    if any(_euclid(n) for n in loops):
        out.say(
            "applies Euclid's algorithm with repeated remainders", "uses the Euclidean algorithm"
        )
    if any(_bubble(n) for n in loops):
        out.say("sorts by swapping neighbouring elements", "sorts in place by adjacent swaps")
    _sorting(s, calls, out)
    if any(name.startswith("heapq.") for name in calls):
        out.say("keeps a heap with `heapq`", "works with a priority queue from `heapq`")
    _counting(s, calls, out)
    _stack_queue(s, calls, loops, out)
    if any(name.startswith("re.") for name in calls):
        out.say("uses a regular expression", "matches text with a regular expression")
    if any(isinstance(n, ast.Subscript) and _reverse_slice(n) for n in s.nodes):
        out.say("reverses a sequence by slicing", "uses a reversing slice")
    if _bitwise(s):
        out.say("works with bitwise operators", "uses bit manipulation")
    if calls["functools.reduce"] or calls["reduce"]:
        out.say("folds values with `reduce`")
    mapped = [n for n in ("map", "filter") if calls[n]]
    if mapped:
        out.say(
            "applies " + " and ".join(f"`{n}`" for n in mapped),
            "uses " + " and ".join(f"`{n}`" for n in mapped),
        )
    if s.kinds[ast.Match]:
        out.say("branches with a match statement", "uses structural pattern matching")


def memoised(s: Scan) -> tuple[str, ...]:
    for f, _ in s.functions:
        if has_decorator(f, s, "lru_cache", "cache", "cached_property"):
            name = next(
                n for n in ("lru_cache", "cached_property", "cache") if has_decorator(f, s, n)
            )
            return (
                f"caches results with `{name}`",
                f"is memoised with `{name}`"
                if name != "cached_property"
                else "computes a cached property once",
            )
        if not s.kinds[ast.In]:
            continue
        stored = {
            n.targets[0].value.id
            for n in own_nodes(f)
            if isinstance(n, ast.Assign)
            and isinstance(n.targets[0], ast.Subscript)
            and isinstance(n.targets[0].value, ast.Name)
        }
        for n in own_nodes(f):
            if isinstance(n, ast.If) and _looked_up(n) in stored and _looked_up(n) is not None:
                return ("remembers earlier results in a dictionary", "memoises its results by hand")
    return ()


def _looked_up(n: ast.If) -> str | None:
    """`if key in memo: return memo[key]` gives memo."""
    t = n.test
    if not (isinstance(t, ast.Compare) and len(t.ops) == 1 and isinstance(t.ops[0], ast.In)):
        return None
    where = t.comparators[0]
    for b in n.body:
        v = b.value if isinstance(b, ast.Return) else None
        if (
            isinstance(where, ast.Name)
            and isinstance(v, ast.Subscript)
            and isinstance(v.value, ast.Name)
            and v.value.id == where.id
            and ast.dump(v.slice) == ast.dump(t.left)
        ):
            return where.id
    return None


def _table(s: Scan, loops: Sequence[ast.AST]) -> tuple[str, ...]:
    """A list made here whose entries are computed, in a loop, from other entries of the same list."""
    made = {
        n.targets[0].id: n.value
        for n in s.nodes
        if isinstance(n, ast.Assign)
        and isinstance(n.targets[0], ast.Name)
        and isinstance(n.value, ast.BinOp | ast.ListComp | ast.List)
    }
    made = {
        k: v
        for k, v in made.items()
        if not isinstance(v, ast.BinOp)
        or isinstance(v.left, ast.List)
        or isinstance(v.right, ast.List)
    }
    for loop in loops:
        for n in ast.walk(loop):
            target = n.targets[0] if isinstance(n, ast.Assign) else None
            if not isinstance(target, ast.Subscript) or not isinstance(n, ast.Assign):
                continue
            name = _root(target)
            if name not in made or isinstance(n.value, ast.Subscript):
                continue
            reads = [
                r
                for r in ast.walk(n.value)
                if isinstance(r, ast.Subscript) and _root(r) == name and _offset(r)
            ]
            if not reads:
                continue
            two = isinstance(target.value, ast.Subscript)
            chosen = any(
                isinstance(c, ast.Call)
                and isinstance(c.func, ast.Name)
                and c.func.id in ("min", "max")
                for c in ast.walk(n.value)
            )
            if two or chosen or len({ast.dump(r) for r in reads}) > 1:
                return (
                    "fills a dynamic-programming table",
                    "uses dynamic programming over a table",
                )
            return (
                "builds a table from its earlier entries",
                "fills a list from its own earlier entries",
            )
    return ()


def _root(n: ast.expr) -> str | None:
    while isinstance(n, ast.Subscript):
        n = n.value
    return n.id if isinstance(n, ast.Name) else None


def _offset(n: ast.expr) -> bool:
    """Whether an index along the way is an expression such as i - 1."""
    while isinstance(n, ast.Subscript):
        if isinstance(n.slice, ast.BinOp) and isinstance(n.slice.op, ast.Sub | ast.Add):
            return True
        n = n.value
    return False


def _binary_search(loop: ast.AST) -> bool:
    if not (isinstance(loop, ast.While) and isinstance(loop.test, ast.Compare)):
        return False
    ends = {n.id for n in ast.walk(loop.test) if isinstance(n, ast.Name)}
    mids = {
        n.targets[0].id
        for n in ast.walk(loop)
        if isinstance(n, ast.Assign)
        and isinstance(n.targets[0], ast.Name)
        and _halves(n.value, ends)
    }
    moved = {
        n.targets[0].id
        for n in ast.walk(loop)
        if isinstance(n, ast.Assign)
        and isinstance(n.targets[0], ast.Name)
        and n.targets[0].id in ends
        and any(isinstance(m, ast.Name) and m.id in mids for m in ast.walk(n.value))
    }
    return len(moved) >= 2


def _halves(v: ast.expr, ends: set[str]) -> bool:
    half = any(
        isinstance(n, ast.BinOp)
        and isinstance(n.right, ast.Constant)
        and (
            (isinstance(n.op, ast.FloorDiv | ast.Div) and n.right.value == 2)
            or (isinstance(n.op, ast.RShift) and n.right.value == 1)
        )
        for n in ast.walk(v)
    )
    return half and len({n.id for n in ast.walk(v) if isinstance(n, ast.Name)} & ends) >= 2


def _two_pointers(loop: ast.AST) -> bool:
    if not (isinstance(loop, ast.While) and isinstance(loop.test, ast.Compare)):
        return False
    ends = {n.id for n in ast.walk(loop.test) if isinstance(n, ast.Name)}
    steps: dict[str, set[type]] = {}
    for n in ast.walk(loop):
        if (
            isinstance(n, ast.AugAssign)
            and isinstance(n.target, ast.Name)
            and isinstance(n.value, ast.Constant)
        ):
            steps.setdefault(n.target.id, set()).add(type(n.op))
    up = {k for k, ops in steps.items() if ops == {ast.Add}} & ends
    down = {k for k, ops in steps.items() if ops == {ast.Sub}} & ends
    return bool(up and down)


def _euclid(loop: ast.AST) -> bool:
    """`a, b = b, a % b` in a while loop."""
    if not isinstance(loop, ast.While):
        return False
    for n in loop.body:
        if not (
            isinstance(n, ast.Assign)
            and isinstance(n.targets[0], ast.Tuple)
            and isinstance(n.value, ast.Tuple)
        ):
            continue
        left, right = n.targets[0].elts, n.value.elts
        if len(left) == len(right) == 2 and all(isinstance(e, ast.Name) for e in left):
            a, b = (e.id for e in left if isinstance(e, ast.Name))
            rest = right[1]
            if (
                isinstance(right[0], ast.Name)
                and right[0].id == b
                and isinstance(rest, ast.BinOp)
                and isinstance(rest.op, ast.Mod)
                and [getattr(rest.left, "id", 0), getattr(rest.right, "id", 0)] == [a, b]
            ):
                return True
    return False


def _bubble(loop: ast.AST) -> bool:
    """Inside nested loops, neighbours are compared and swapped."""
    inner = [n for n in ast.walk(loop) if isinstance(n, LOOPS) and n is not loop]
    for n in (m for i in inner for m in ast.walk(i) if isinstance(m, ast.If)):
        pair = {ast.dump(x) for x in ast.walk(n.test) if isinstance(x, ast.Subscript)}
        if len(pair) != 2 or not any(isinstance(x, ast.BinOp) for x in ast.walk(n.test)):
            continue
        for b in n.body:
            if (
                isinstance(b, ast.Assign)
                and isinstance(b.targets[0], ast.Tuple)
                and isinstance(b.value, ast.Tuple)
            ):
                left = [ast.dump(e).replace("Store()", "Load()") for e in b.targets[0].elts]
                right = [ast.dump(e) for e in b.value.elts]
                if set(left) == pair and left == right[::-1]:
                    return True
    return False


def _sorting(s: Scan, calls: Counter[str], out: Facts) -> None:
    sorts = [c for c in s.calls if called(c, s) in ("sorted", ".sort")]
    if not sorts:
        return
    words = {k.arg for c in sorts for k in c.keywords}
    falling = any(
        k.arg == "reverse" and isinstance(k.value, ast.Constant) and k.value.value is True
        for c in sorts
        for k in c.keywords
    )
    if "key" in words:
        out.say("sorts by a key function", "orders items with a custom sort key")
    elif falling:
        out.say("sorts in descending order", "orders values from largest to smallest")
    elif calls["sorted"]:
        out.say("sorts with the built-in `sorted`", "relies on the built-in `sorted`")
    else:
        out.say("sorts in place with `sort`", "uses the `sort` method")


def _counting(s: Scan, calls: Counter[str], out: Facts) -> None:
    if calls["collections.Counter"]:
        out.say("counts with `Counter`", "tallies items in a `Counter`")
        return
    counted = {
        n.target.value.id
        for n in s.nodes
        if isinstance(n, ast.AugAssign)
        and isinstance(n.op, ast.Add)
        and isinstance(n.target, ast.Subscript)
        and isinstance(n.target.value, ast.Name)
        and isinstance(n.value, ast.Constant)
        and n.value.value == 1
    }
    got = any(_adds_one(n) for n in s.nodes)
    empty = _assigned(
        s,
        lambda v: (
            (isinstance(v, ast.Dict) and not v.keys)
            or (isinstance(v, ast.Call) and called(v, s) in ("dict", "collections.defaultdict"))
        ),
    )
    if got or counted & empty:
        out.say("counts occurrences in a dictionary", "tallies values in a dictionary")
    elif calls["collections.defaultdict"]:
        out.say("groups values in a `defaultdict`" if calls[".append"] else "uses a `defaultdict`")
    sets = _assigned(s, lambda v: isinstance(v, ast.Call) and called(v, s) == "set" and not v.args)
    added = {
        c.func.value.id
        for c in s.calls
        if isinstance(c.func, ast.Attribute)
        and c.func.attr == "add"
        and isinstance(c.func.value, ast.Name)
    }
    asked = {
        x.id
        for n in s.nodes
        if isinstance(n, ast.Compare) and any(isinstance(o, ast.In | ast.NotIn) for o in n.ops)
        for x in n.comparators
        if isinstance(x, ast.Name)
    }
    if sets & added & asked:
        out.say("remembers what it has seen in a set", "keeps a set of what came before")


def _adds_one(n: ast.AST) -> bool:
    """`d[k] = d.get(k, 0) + 1`"""
    if not (
        isinstance(n, ast.Assign)
        and isinstance(n.targets[0], ast.Subscript)
        and isinstance(n.value, ast.BinOp)
    ):
        return False
    name = _root(n.targets[0])
    return isinstance(n.value.op, ast.Add) and any(
        isinstance(c, ast.Call)
        and isinstance(c.func, ast.Attribute)
        and c.func.attr == "get"
        and len(c.args) == 2
        and _root(c.func.value) == name is not None
        for c in ast.walk(n.value)
    )


def _assigned(s: Scan, test) -> set[str]:  # type: ignore[no-untyped-def]
    return {
        n.targets[0].id
        for n in s.nodes
        if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name) and test(n.value)
    } | {
        n.target.id
        for n in s.nodes
        if isinstance(n, ast.AnnAssign)
        and isinstance(n.target, ast.Name)
        and n.value is not None
        and test(n.value)
    }


def _stack_queue(s: Scan, calls: Counter[str], loops: Sequence[ast.AST], out: Facts) -> None:
    def on(attr: str, args: int | None, where: Sequence[ast.AST]) -> set[str]:
        return {
            n.func.value.id
            for w in where
            for n in ast.walk(w)
            if isinstance(n, ast.Call)
            and isinstance(n.func, ast.Attribute)
            and n.func.attr == attr
            and isinstance(n.func.value, ast.Name)
            and (args is None or len(n.args) == args)
        }

    if not (calls[".popleft"] or calls[".pop"] or calls["queue.Queue"] or calls["asyncio.Queue"]):
        return
    everywhere: Sequence[ast.AST] = [s.tree]
    if on("popleft", 0, loops) & on("append", 1, everywhere):
        out.say(
            "works through a queue built on `deque`", "processes items from a `deque` as a queue"
        )
    elif on("pop", 0, loops) & on("append", 1, everywhere):
        out.say("works with a stack", "keeps a list as a stack")
    elif calls["queue.Queue"] or calls["asyncio.Queue"]:
        out.say("passes work through a queue")


def _reverse_slice(n: ast.Subscript) -> bool:
    x = n.slice
    return (
        isinstance(x, ast.Slice)
        and x.lower is None
        and x.upper is None
        and isinstance(x.step, ast.UnaryOp)
        and isinstance(x.step.op, ast.USub)
        and isinstance(x.step.operand, ast.Constant)
        and x.step.operand.value == 1
    )


def _bitwise(s: Scan) -> bool:
    """Shifts, ~, or & | ^ with a number: sets and flags have the bare operators too."""
    for n in s.nodes:
        if isinstance(n, ast.BinOp) and isinstance(n.op, ast.LShift | ast.RShift):
            return True
        if (
            isinstance(n, ast.BinOp)
            and isinstance(n.op, ast.BitAnd | ast.BitOr | ast.BitXor)
            and any(
                isinstance(x, ast.Constant) and isinstance(x.value, int) for x in (n.left, n.right)
            )
        ):
            return True
    return False
