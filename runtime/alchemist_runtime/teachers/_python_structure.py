"""How Python code is built: classes, errors, parameters, and the expressions it leans on."""

from __future__ import annotations

import ast
from collections import Counter

from alchemist_runtime.teachers._facts import Facts, number_word, plural
from alchemist_runtime.teachers._python_scan import (
    COMPS,
    FUNCTION,
    LOOPS,
    Function,
    Scan,
    called,
    dotted,
    has_decorator,
    is_docstring,
    own_nodes,
)


def structure(s: Scan, calls: Counter[str], out: Facts) -> None:
    _class_facts(s, out)
    _comprehensions(s, out)
    depth = loop_depth(s.tree)
    if depth >= 3:
        out.also("uses three levels of nested loops", "nests loops three deep")
    elif depth == 2:
        out.also("uses nested loops", "loops inside a loop")
    if s.kinds[ast.While] and depth == 1:
        out.also("runs a `while` loop", "repeats with a `while` loop")
    _errors(s, out)
    if any(_opens(n, s) for n in s.nodes if isinstance(n, ast.With)):
        out.say("opens files in a `with` block", "reads or writes files in a `with` block")
    elif s.kinds[ast.With]:
        out.also("uses a `with` block", "relies on a context manager")
    if calls["input"]:
        out.say("asks the user for input", "reads what the user types")
    if "sys.argv" in {dotted(n, s) for n in s.nodes if isinstance(n, ast.Attribute)}:
        out.say("reads its command-line arguments", "takes arguments from the command line")
    if len(s.functions) == 1:
        _function_facts(s.functions[0][0], s, out)
    elif any(g is not f for f, _ in s.functions for g in own_nodes(f) if isinstance(g, FUNCTION)):
        out.also("keeps a helper function inside", "nests a helper function")
    _expressions(s, calls, out)


def loop_depth(tree: ast.AST) -> int:
    best = 0
    todo: list[tuple[ast.AST, int]] = [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        if isinstance(node, (*FUNCTION, ast.ClassDef, ast.Lambda)):
            depth = 0
        if isinstance(node, LOOPS):
            depth += 1
            best = max(best, depth)
        todo.extend((c, depth) for c in ast.iter_child_nodes(node))
    return best


def _class_facts(s: Scan, out: Facts) -> None:
    if len(s.classes) != 1:
        return
    c = s.classes[0]
    methods = [f for f in c.body if isinstance(f, FUNCTION)]
    plain = [f for f in methods if not f.name.startswith("__")]
    bases = [dotted(b, s).rpartition(".")[2] for b in c.bases]
    known = {
        "object",
        "ABC",
        "Enum",
        "IntEnum",
        "NamedTuple",
        "TypedDict",
        "Protocol",
        "TestCase",
        "Generic",
        "",
        "Exception",
    }
    parents = [b for b in bases if b not in known]
    if parents:
        out.say(f"inherits from `{parents[0]}`", f"extends `{parents[0]}`")
    if any(has_decorator(f, s, "property") for f in methods):
        out.say(
            "offers properties"
            if sum(has_decorator(f, s, "property") for f in methods) > 1
            else "offers a property",
            "exposes values through properties",
        )
    if any(has_decorator(f, s, "classmethod") for f in methods):
        out.say("has a class method", "offers an alternative constructor or other class method")
    if any(has_decorator(f, s, "staticmethod") for f in methods):
        out.say("has a static method", "groups a static method with the class")
    special = {f.name for f in methods} & {
        "__eq__",
        "__lt__",
        "__add__",
        "__len__",
        "__getitem__",
        "__iter__",
        "__call__",
        "__hash__",
        "__contains__",
    }
    if special:
        first = sorted(special)[0]
        out.say(f"defines `{first}`", f"implements `{first}`")
    if {f.name for f in methods} & {"__repr__", "__str__"}:
        out.also("has its own text representation", "defines how it prints")
    if len(plain) >= 2:
        out.also(
            f"offers {number_word(len(plain))} methods",
            f"has {number_word(len(plain))} methods besides the special ones"
            if len(plain) != len(methods)
            else f"has {number_word(len(plain))} methods",
        )
    elif plain and len(methods) > 1:
        out.also(f"offers the method `{plain[0].name}`")


def _comprehensions(s: Scan, out: Facts) -> None:
    names = {ast.ListComp: "list", ast.DictComp: "dictionary", ast.SetComp: "set"}
    returned = {type(n.value) for n in s.nodes if isinstance(n, ast.Return)}
    for kind in COMPS:
        if not s.kinds[kind]:
            continue
        name = names[kind]
        if kind in returned:
            out.say(
                f"returns a {name} comprehension", f"builds its result in a {name} comprehension"
            )
        else:
            out.say(f"uses a {name} comprehension", f"relies on a {name} comprehension")
        return
    if s.kinds[ast.GeneratorExp]:
        out.say("uses a generator expression", "feeds a generator expression to a function")


def _errors(s: Scan, out: Facts) -> None:
    raised = [_raised(n) for n in s.nodes if isinstance(n, ast.Raise) and n.exc is not None]
    under = {
        _raised(r)
        for n in s.nodes
        if isinstance(n, ast.If)
        for r in n.body
        if isinstance(r, ast.Raise)
    }
    names = [r for r in dict.fromkeys(raised) if r]
    if names:
        if names[0] in under:
            out.say(
                f"raises `{names[0]}` when a check fails",
                f"raises `{names[0]}` after a check",
            )
        else:
            out.say(f"raises `{names[0]}`")
    caught = [h for n in s.nodes if isinstance(n, ast.Try) for h in n.handlers]
    if caught:
        types = [h.type.id for h in caught if isinstance(h.type, ast.Name)]
        if len(types) == 1 and len(caught) == 1:
            out.say(f"catches `{types[0]}`", f"handles `{types[0]}`")
        else:
            out.say("handles exceptions", "catches errors with try and except")
    if any(n.finalbody for n in s.nodes if isinstance(n, ast.Try)):
        out.also("cleans up in a `finally` clause")


def _raised(n: ast.Raise) -> str | None:
    x = n.exc.func if isinstance(n.exc, ast.Call) else n.exc
    return x.id if isinstance(x, ast.Name) and x.id[:1].isupper() else None


def _opens(n: ast.With, s: Scan) -> bool:
    return any(
        isinstance(i.context_expr, ast.Call) and called(i.context_expr, s) in ("open", ".open")
        for i in n.items
    )


def _function_facts(f: Function, s: Scan, out: Facts) -> None:
    a = f.args
    names = [x.arg for x in [*a.posonlyargs, *a.args] if x.arg not in ("self", "cls")]
    if a.vararg and a.kwarg:
        out.also("accepts any positional and keyword arguments", "takes `*args` and `**kwargs`")
    elif a.vararg:
        out.also("accepts any number of arguments", "takes a variable number of arguments")
    elif a.kwarg:
        out.also("accepts arbitrary keyword arguments")
    if a.kwonlyargs:
        out.also("has keyword-only parameters", "takes some options by keyword only")
    if a.defaults:
        out.also(
            "gives a default to a parameter"
            if len(a.defaults) == 1
            else "gives defaults to its parameters"
        )
    returns = [n for n in own_nodes(f) if isinstance(n, ast.Return)]
    body = [n for n in f.body if not is_docstring(n)]
    if len(body) == 1 and isinstance(body[0], ast.Return) and body[0].value is not None:
        out.also(
            "computes its result in a single return expression", "is a single return statement"
        )
    if returns and all(_truth(n.value) for n in returns):
        out.also("answers with True or False", "returns a truth value")
    elif sum(1 for n in returns if n.value is not None) >= 3:
        out.also("returns early in several cases", "has several return points")
    if (
        body
        and isinstance(body[0], ast.If)
        and any(isinstance(n, ast.Return) for n in body[0].body)
        and len(body) > 1
    ):
        out.also("settles a special case first", "starts with a guard clause")
    if returns and all(isinstance(n.value, ast.Tuple) for n in returns):
        out.also("returns several values as a tuple")
    if 1 <= len(names) <= 3:
        listed = " and ".join(
            [", ".join(f"`{n}`" for n in names[:-1])] * (len(names) > 1) + [f"`{names[-1]}`"]
        )
        out.also(f"takes {listed}", f"works from the {plural('parameter', len(names))} {listed}")
    elif len(names) > 3:
        out.also(f"takes {number_word(len(names))} parameters")


def _truth(v: ast.expr | None) -> bool:
    if isinstance(v, ast.Constant):
        return isinstance(v.value, bool)
    if isinstance(v, ast.UnaryOp):
        return isinstance(v.op, ast.Not)
    if isinstance(v, ast.BoolOp):
        return all(_truth(x) for x in v.values)
    return isinstance(v, ast.Compare)


def _expressions(s: Scan, calls: Counter[str], out: Facts) -> None:
    if _chain(s) >= 3:
        out.also("decides in an if/elif chain", "goes through its cases in an if/elif chain")
    if s.kinds[ast.NamedExpr]:
        out.also("uses an assignment expression")
    if s.kinds[ast.Lambda]:
        out.also("uses a lambda function", "passes a small lambda")
    if s.kinds[ast.Await]:
        out.also("awaits its calls", "waits for other coroutines")
    if any(n.startswith("math.") for n in calls):
        out.also("computes with the `math` module")
    for name in ("zip", "enumerate", "any", "all", "sum", "max", "min", "isinstance", "range"):
        if calls[name]:
            out.also(f"uses `{name}`", f"relies on the built-in `{name}`")
            break
    if calls["str.join"] and calls[".split"]:
        out.also("uses `split` and `join`", "takes text apart and joins it again")
    elif calls["str.join"]:
        out.also("joins strings", "puts text together with `join`")
    elif calls[".split"]:
        out.also("uses `split`", "relies on `split`")
    if calls["str.format"] or s.kinds[ast.JoinedStr]:
        out.also(
            "formats text with f-strings"
            if s.kinds[ast.JoinedStr]
            else "formats text with `format`"
        )
    if s.kinds[ast.IfExp]:
        out.also("uses a conditional expression", "chooses a value by a conditional expression")
    if any(
        isinstance(n, ast.BinOp)
        and isinstance(n.op, ast.Mod)
        and not isinstance(n.left, ast.Constant)
        for n in s.nodes
    ):
        out.also("works with remainders", "tests remainders with the modulo operator")
    if any(_appends(n) for n in s.nodes if isinstance(n, ast.For)):
        out.also("uses `append` in a loop", "appends values one by one")
    if s.kinds[ast.Subscript] and any(isinstance(n, ast.Slice) for n in s.nodes):
        out.also("uses slices", "takes slices of a sequence")
    literals = {type(n.value) for n in s.tree.body if isinstance(n, ast.Assign)}
    if ast.Dict in literals:
        out.also("spells its data out in a dictionary", "holds its data in a dictionary literal")
    elif ast.List in literals:
        out.also("spells its data out in a list", "holds its data in a list literal")
    if s.kinds[ast.For]:
        out.also("loops with `for`", "walks through its data in a `for` loop")
    if s.kinds[ast.If]:
        out.also("branches on a condition", "decides with an `if`")


def _appends(loop: ast.For) -> bool:
    return any(
        isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "append"
        for n in ast.walk(loop)
    )


def _chain(s: Scan) -> int:
    best = 0
    for n in s.nodes:
        length, at = 1, n
        while isinstance(at, ast.If) and len(at.orelse) == 1 and isinstance(at.orelse[0], ast.If):
            at, length = at.orelse[0], length + 1
        best = max(best, length)
    return best
