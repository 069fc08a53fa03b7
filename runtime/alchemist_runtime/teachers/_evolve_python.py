"""Ways to evolve Python code. Each names what it asks for and returns code that does it; all but those that ask for another
behaviour leave what the code does as it was."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Final

from alchemist_runtime.teachers import _edits
from alchemist_runtime.teachers._edits import Edit, Source
from alchemist_runtime.teachers._facts import listed
from alchemist_runtime.teachers._python_scan import Function, arguments, own_nodes, recursive

Made = tuple[tuple[str, ...], str] | None


def _python(change: Callable[[Source], Made]) -> Callable[[str, str], Made]:
    def way(code: str, lang: str) -> Made:
        source = _edits.parse(code) if lang == "python" else None
        return change(source) if source is not None else None

    way.__doc__ = change.__doc__
    return way


def _single(source: Source) -> Function | None:
    """The only function at the top, which the code is about."""
    functions = _edits.top_functions(source.tree)
    classes = any(isinstance(n, ast.ClassDef) for n in source.tree.body)
    return (
        functions[0]
        if len(functions) == 1 and not classes and isinstance(functions[0], ast.FunctionDef)
        else None
    )


def _plain_parameters(f: Function) -> list[ast.arg]:
    """Positional parameters without a default, `self` aside."""
    a = f.args
    bare = [*a.posonlyargs, *a.args][: len(a.posonlyargs) + len(a.args) - len(a.defaults)]
    return [x for x in bare if x.arg not in ("self", "cls")]


def _is_generator(f: Function) -> bool:
    return any(isinstance(n, ast.Yield | ast.YieldFrom) for n in own_nodes(f))


# --- type hints ---------------------------------------------------------------------------------------------------------------

_DEFAULTS: Final = (int, str, float, bool)


def hints(source: Source) -> Made:
    """Annotations that follow from constants: of parameters by their defaults, of the result by what is returned."""
    f = _single(source)
    if f is None or any(x.annotation for x in arguments(f)) or f.returns is not None:
        return None
    edits = []
    a = f.args
    positional = [*a.posonlyargs, *a.args]
    pairs = list(zip(positional[len(positional) - len(a.defaults) :], a.defaults, strict=True))
    pairs += [(x, d) for x, d in zip(a.kwonlyargs, a.kw_defaults, strict=True) if d is not None]
    for x, d in pairs:
        if isinstance(d, ast.Constant) and type(d.value) in _DEFAULTS:
            edits.append(Edit(source.end(x), source.end(x), f": {type(d.value).__name__}"))
    result = _result_type(f)
    colon = source.colon(f)
    if result and colon:
        edits.append(Edit(colon, colon, f" -> {result}"))
    if not edits:
        return None
    what = "its result" if result and len(edits) == 1 else "what its defaults and results show"
    wordings = (
        f"Annotate `{f.name}` with type hints for {what}.",
        f"Add type hints to `{f.name}` where the type of {what if what == 'its result' else 'a value'} is certain.",
    )
    return wordings, _edits.apply(source.text, edits)


def _result_type(f: Function) -> str | None:
    """The type of everything that is returned, where the syntax alone shows it."""
    from alchemist_runtime.teachers._review import ends

    if _is_generator(f) or f.decorator_list:
        return None
    returns = [n for n in own_nodes(f) if isinstance(n, ast.Return)]
    if not returns:
        return None if ends(f.body) else "None"
    if not ends(f.body):
        return None
    lists = _always(f)
    found = {_type(n.value, lists) for n in returns}
    return found.pop() if len(found) == 1 else None


_OF_CALLS: Final = {
    "len": "int",
    "str": "str",
    "int": "int",
    "sorted": "list",
    "list": "list",
    "bool": "bool",
    "dict": "dict",
    "set": "set",
    "isinstance": "bool",
    "any": "bool",
    "all": "bool",
    "tuple": "tuple",
    "float": "float",
}


_DISPLAYS: Final = (ast.List, ast.ListComp, ast.Dict, ast.DictComp, ast.Set, ast.SetComp)


def _type(v: ast.expr | None, names: dict[str, str]) -> str | None:
    match v:
        case ast.Constant(value=value) if type(value) in _DEFAULTS:
            return type(value).__name__
        case ast.JoinedStr():
            return "str"
        case ast.List() | ast.ListComp():
            return "list"
        case ast.Dict() | ast.DictComp():
            return "dict"
        case ast.Set() | ast.SetComp():
            return "set"
        case ast.Tuple():
            return "tuple"
        case ast.UnaryOp(op=ast.Not()):
            return "bool"
        case ast.Compare(ops=ops) if all(
            isinstance(o, ast.In | ast.NotIn | ast.Is | ast.IsNot) for o in ops
        ):
            return "bool"
        case ast.Call(func=ast.Name(id=name)) if name not in names:
            return _OF_CALLS.get(name)
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str()), attr="join")):
            return "str"
        case ast.Name(id=name):
            return names.get(name) or None
    return None


def _always(f: Function) -> dict[str, str]:
    """Names bound here: the type of those that are bound once, to a display of one type, "" for all others."""
    seen = {x.arg: "" for x in arguments(f)}
    once: dict[str, bool] = {}
    for n in ast.walk(f):
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store | ast.Del):
            once[n.id] = n.id not in once and n.id not in seen
    seen |= dict.fromkeys(once, "")
    for n in own_nodes(f):
        if isinstance(n, ast.Assign) and len(n.targets) == 1 and isinstance(n.targets[0], ast.Name):
            name = n.targets[0].id
            if once.get(name) and isinstance(n.value, _DISPLAYS):
                seen[name] = _type(n.value, {}) or ""
    return seen


# --- checks, caches, generators -----------------------------------------------------------------------------------------------


def none_check(source: Source) -> Made:
    """A ValueError where the first parameter is None. Changes what happens for None alone."""
    f = _single(source)
    names = _plain_parameters(f) if f is not None else []
    if f is None or not names or _is_generator(f) or recursive(f, None):
        return None
    name = names[0].arg
    if any(isinstance(n, ast.Name) and n.id == name for test in ast.walk(f) for n in _truths(test)):
        return None  # `if not head` treats None as a case of its own
    if any(isinstance(n, ast.Constant) and n.value is None for n in ast.walk(f)):
        return None  # None may mean something here
    place = source.after_docstring(f)
    if place is None:
        return None
    line, indent = place
    step = "    " if len(indent) % 4 == 0 else indent
    text = (
        f'{indent}if {name} is None:\n{indent}{step}raise ValueError("`{name}` must not be None")'
    )
    wordings = (
        f"Raise a `ValueError` if `{name}` is None.",
        f"The function must refuse None for `{name}` with a `ValueError`.",
        f"Check first that `{name}` is not None, and raise a `ValueError` if it is.",
    )
    return wordings, _edits.apply(source.text, [_edits.insert(line, text)])


def _truths(n: ast.AST) -> list[ast.expr]:
    """The expressions that a node asks for their truth."""
    match n:
        case (
            ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.Assert(test=test)
        ):
            return [test]
        case ast.UnaryOp(op=ast.Not(), operand=test):
            return [test]
        case ast.BoolOp(values=values):
            return values
    return []


_PURE: Final = frozenset(
    ["abs", "min", "max", "sum", "int", "float", "len", "divmod", "pow", "round"]
)


def memoise(source: Source) -> Made:
    """lru_cache on a recursive function of numbers that does nothing but compute."""
    f = _single(source)
    if f is None or f.decorator_list or not recursive(f, None) or not _pure_numbers(f):
        return None
    taken = {n.id for n in ast.walk(source.tree) if isinstance(n, ast.Name)}
    if "lru_cache" in taken or "functools" in source.text:
        return None
    top = _edits.insert(_edits.import_line(source), "from functools import lru_cache\n\n")
    deco = _edits.insert(f.lineno, "@lru_cache(maxsize=None)")
    text = _edits.apply(source.text, [deco])
    text = _edits.apply(text, [top])
    wordings = (
        "Cache the results of repeated calls with `functools.lru_cache`.",
        f"Make `{f.name}` remember results that it has already computed, with `lru_cache`.",
        "Avoid computing the same value twice: memoise the recursion with `functools.lru_cache`.",
    )
    return wordings, text


def _pure_numbers(f: Function) -> bool:
    """Only numbers go in: parameters are compared with or computed with numbers; nothing but arithmetic and calls of itself."""
    names = {x.arg for x in _plain_parameters(f)}
    if not names or len(names) != len(arguments(f)):
        return False
    numeric: set[str] = set()
    for n in ast.walk(f):
        match n:
            case ast.Compare(
                left=ast.Name(id=name), comparators=[ast.Constant(value=int() | float())]
            ):
                numeric.add(name)
            case ast.BinOp(
                left=ast.Name(id=a),
                op=ast.Sub() | ast.FloorDiv() | ast.Mod(),
                right=ast.Constant() | ast.Name(),
            ):
                numeric.add(a)
                if isinstance(n.right, ast.Name):
                    numeric.add(n.right.id)
            case ast.Call(func=ast.Name(id=name)) if name == f.name or name in _PURE:
                pass
            case (
                ast.Call()
                | ast.Attribute()
                | ast.Subscript()
                | ast.Global()
                | ast.Nonlocal()
                | ast.List()
                | ast.Dict()
                | ast.Set()
            ):
                return False
            case (
                ast.Yield()
                | ast.YieldFrom()
                | ast.Await()
                | ast.Lambda()
                | ast.ListComp()
                | ast.GeneratorExp()
                | ast.Import()
            ):
                return False
    free = {n.id for n in ast.walk(f) if isinstance(n, ast.Name)}
    local = {n.id for n in ast.walk(f) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names <= numeric and free <= names | local | _PURE | {f.name}


def generator(source: Source) -> Made:
    """A list that is only appended to and returned becomes a generator; calls elsewhere are wrapped in list()."""
    f = _single(source)
    if f is None or _is_generator(f) or recursive(f, None) or f.returns is not None:
        return None
    last = f.body[-1]
    if not (isinstance(last, ast.Return) and isinstance(last.value, ast.Name)):
        return None
    name = last.value.id
    starts = [
        n
        for n in f.body
        if isinstance(n, ast.Assign)
        and len(n.targets) == 1
        and isinstance(n.targets[0], ast.Name)
        and n.targets[0].id == name
        and isinstance(n.value, ast.List)
        and not n.value.elts
    ]
    appends = [n for n in own_nodes(f) if _append(n, name)]
    uses = [n for n in ast.walk(f) if isinstance(n, ast.Name) and n.id == name]
    returns = [n for n in own_nodes(f) if isinstance(n, ast.Return)]
    if len(starts) != 1 or not appends or len(uses) != len(appends) + 2 or len(returns) != 1:
        return None
    if any(_line_shared(source, n) for n in (starts[0], last)) or "list" in {
        n.id
        for n in ast.walk(source.tree)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }:
        return None
    if f.body.index(starts[0]) + 1 == len(f.body) - 1 and not appends:
        return None
    edits = [_drop(source, n) for n in (starts[0], last)]
    for n in appends:
        assert isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)
        value = source.of(n.value.args[0])
        edits.append(
            Edit(
                source.start(n),
                source.end(n),
                f"yield {value}" if "\n" not in value else f"yield ({value})",
            )
        )
    inside = {id(n) for n in ast.walk(f)}
    refers = [
        n
        for n in ast.walk(source.tree)
        if isinstance(n, ast.Name) and n.id == f.name and id(n) not in inside
    ]
    calls = [
        n
        for n in ast.walk(source.tree)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == f.name
    ]
    if len(refers) != len(calls):
        return None
    for c in calls:
        edits += [
            Edit(source.start(c), source.start(c), "list("),
            Edit(source.end(c), source.end(c), ")"),
        ]
    wordings = (
        f"Make `{f.name}` a generator that yields its values one by one, with no list in between.",
        "Write it as a generator function, so that values are produced only as they are asked for.",
        "Do not build the whole list: yield each value as soon as it is known.",
    )
    return wordings, _edits.apply(source.text, edits).rstrip()


def _append(n: ast.AST, name: str) -> bool:
    return (
        isinstance(n, ast.Expr)
        and isinstance(n.value, ast.Call)
        and isinstance(n.value.func, ast.Attribute)
        and n.value.func.attr == "append"
        and isinstance(n.value.func.value, ast.Name)
        and n.value.func.value.id == name
        and len(n.value.args) == 1
        and not n.value.keywords
        and not isinstance(n.value.args[0], ast.Starred | ast.GeneratorExp)
    )


def _line_shared(source: Source, n: ast.stmt) -> bool:
    """Whether something else stands on the lines of a statement."""
    before = source.lines[n.lineno - 1][: source.start(n)[1]]
    after = source.lines[(n.end_lineno or n.lineno) - 1][source.end(n)[1] :]
    return bool(before.strip()) or (bool(after.strip()) and not after.strip().startswith("#"))


def _drop(source: Source, n: ast.stmt) -> Edit:
    """Takes a statement away with its line, and the comment above it."""
    start, end = n.lineno, n.end_lineno or n.lineno
    if source.lines[start - 2].strip().startswith("#"):
        start -= 1
    if end < len(source.lines):
        return Edit((start, 0), (end + 1, 0), "")
    return Edit((start, 0), (end, len(source.lines[end - 1])), "")


# --- documentation, examples --------------------------------------------------------------------------------------------------


def docstring(source: Source) -> Made:
    """A docstring with the parameters, where there is none."""
    f = _single(source)
    text = _edits.summary(f) if f is not None and not _edits.has_docstring(f) else None
    place = source.before_body(f) if f is not None and text else None
    if f is None or text is None or place is None:
        return None
    line, indent = place
    rows = [f'{indent}"""{text}']
    names = [x for x in arguments(f) if x.arg not in ("self", "cls")]
    if names:
        rows += ["", f"{indent}Args:"]
        rows += [f"{indent}    {_star(f, x)}{x.arg}: {_role(f, x, source)}" for x in names]
    values = [n for n in own_nodes(f) if isinstance(n, ast.Return) and n.value is not None]
    if values and not _is_generator(f):
        kind = _result_type(f)
        rows += [
            "",
            f"{indent}Returns:",
            f"{indent}    " + (f"The result, a `{kind}`." if kind else "The result."),
        ]
    if len(rows) == 1:
        return None
    rows.append(f'{indent}"""')
    wordings = (
        f"Give `{f.name}` a docstring that lists its parameters{' and its result' if values else ''}.",
        "Document the function in a Google-style docstring.",
        f"Add a docstring to `{f.name}` with a line for each parameter.",
    )
    return (wordings if names else wordings[1:2]), _edits.apply(
        source.text, [_edits.insert(line, "\n".join(rows))]
    )


def _star(f: Function, x: ast.arg) -> str:
    return "*" if x is f.args.vararg else "**" if x is f.args.kwarg else ""


def _role(f: Function, x: ast.arg, source: Source) -> str:
    a = f.args
    positional = [*a.posonlyargs, *a.args]
    defaults = dict(
        zip(
            [p.arg for p in positional[len(positional) - len(a.defaults) :]],
            a.defaults,
            strict=True,
        )
    )
    defaults |= {
        k.arg: d for k, d in zip(a.kwonlyargs, a.kw_defaults, strict=True) if d is not None
    }
    if x is a.vararg:
        return "Any further positional arguments."
    if x is a.kwarg:
        return "Any further keyword arguments."
    words = " ".join(_edits.words(x.arg)) if len(x.arg) > 2 else ""
    text = f"The {words}." if words else "A value to work on."
    return f"{text[:-1]}; {source.of(defaults[x.arg])} by default." if x.arg in defaults else text


_EXAMPLE: Final = re.compile(r"^[ \t]*>>> (.+)\n[ \t]*(?!>>>|\.\.\.)(\S.*)$", re.M)


def example_checks(source: Source) -> Made:
    """Assertions from the examples in the docstring."""
    f = _single(source)
    if (
        f is None
        or not _edits.has_docstring(f)
        or any(isinstance(n, ast.Assert) for n in source.tree.body)
    ):
        return None
    rows = []
    for call, wanted in _EXAMPLE.findall(ast.get_docstring(f) or ""):
        try:
            tree = ast.parse(call.strip(), mode="eval").body
            ast.literal_eval(wanted.strip())
        except (SyntaxError, ValueError, MemoryError, RecursionError, TypeError):
            continue
        if (
            isinstance(tree, ast.Call)
            and isinstance(tree.func, ast.Name)
            and tree.func.id == f.name
        ):
            value = wanted.strip()
            rows.append(
                f"assert {call.strip()} {'is' if value in ('True', 'False', 'None') else '=='} {value}"
            )
    if not rows:
        return None
    wordings = (
        f"Check the examples of the docstring by {'an assertion' if len(rows) == 1 else 'assertions'} after the function.",
        "Turn the examples in the docstring into assertions that run with the code.",
    )
    return wordings, source.text.rstrip("\n") + "\n\n\n" + "\n".join(dict.fromkeys(rows))


# --- layout -------------------------------------------------------------------------------------------------------------------


def _indented(lines: list[str]) -> list[str]:
    return ["    " + row if row.strip() else "" for row in lines]


def _long_strings(source: Source, start: int) -> bool:
    """Whether a string runs over several lines from a line on: to indent it would change it."""
    return any(
        isinstance(n, ast.Constant | ast.JoinedStr)
        and n.lineno != n.end_lineno
        and (n.end_lineno or 0) >= start
        for n in ast.walk(source.tree)
        if isinstance(n, ast.expr)
    )


def guard(source: Source) -> Made:
    """Statements after the definitions move under a main guard."""
    body = source.tree.body
    defs = [
        i
        for i, n in enumerate(body)
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    if not defs or defs[-1] + 1 >= len(body):
        return None
    tail = body[defs[-1] + 1 :]
    if (
        any(isinstance(n, ast.Import | ast.ImportFrom | ast.Global) for n in tail)
        or "__name__" in source.text
    ):
        return None
    used = {n.id for d in defs for n in ast.walk(body[d]) if isinstance(n, ast.Name)}
    bound = {
        n.id
        for t in tail
        for n in ast.walk(t)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    last = body[defs[-1]]
    start = (last.end_lineno or 0) + 1
    if (
        bound & used
        or _long_strings(source, start)
        or _line_shared(source, tail[0])
        or tail[0].lineno < start
    ):
        return None
    rows = source.lines[start - 1 :]
    while rows and not rows[0].strip():
        rows = rows[1:]
    rows = [*source.lines[: start - 1], "", "", 'if __name__ == "__main__":', *_indented(rows)]
    wordings = (
        "Run the example only when the file is started as a script, not when it is imported.",
        'Keep what runs at the end under an `if __name__ == "__main__":` guard.',
        "The module must be importable without running its example.",
    )
    return wordings, "\n".join(rows).rstrip()


def main_function(source: Source) -> Made:
    """A script without functions moves into main()."""
    body = source.tree.body
    nodes = list(ast.walk(source.tree))
    if any(
        isinstance(
            n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda | ast.Global
        )
        for n in nodes
    ):
        return None
    names = {n.id for n in nodes if isinstance(n, ast.Name)}
    if names & {"main", "globals", "locals", "vars", "exec", "eval", "dir"} or "__name__" in names:
        return None
    first = next(
        (
            i
            for i, n in enumerate(body)
            if not isinstance(n, ast.Import | ast.ImportFrom)
            and not (i == 0 and _edits.has_docstring(source.tree))
        ),
        len(body),
    )
    rest = body[first:]
    if len(rest) < 3 or any(
        isinstance(n, ast.Import | ast.ImportFrom | ast.Await) for s in rest for n in ast.walk(s)
    ):
        return None
    start = (body[first - 1].end_lineno or 0) + 1 if first else 1
    if (
        _long_strings(source, start)
        or rest[0].lineno < start
        or any(isinstance(n, ast.Delete) for n in nodes)
    ):
        return None
    shadowed = {
        n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    } & _imported(source.tree)
    rows = source.lines[start - 1 :]
    while rows and not rows[0].strip():
        rows = rows[1:]
    if shadowed or not rows or rows[0].startswith("#!") or _unbound_builtins(nodes):
        return None
    head = source.lines[: start - 1]
    text = [*head, *(["", ""] if head else []), "def main():", *_indented(rows)]
    text = "\n".join(text).rstrip().split("\n")
    text += ["", "", 'if __name__ == "__main__":', "    main()"]
    wordings = (
        "Put the code into a `main` function and call it under a main guard.",
        "Organise the script around a `main` function that runs only when the file is started directly.",
        "Wrap the whole script in a function called `main`.",
    )
    return wordings, "\n".join(text)


def _imported(tree: ast.Module) -> set[str]:
    return {
        (a.asname or a.name).partition(".")[0]
        for n in ast.walk(tree)
        if isinstance(n, ast.Import | ast.ImportFrom)
        for a in n.names
    }


def _unbound_builtins(nodes: list[ast.AST]) -> bool:
    """Whether a built-in is bound and called as well, as in `sum = sum(xs)`: that works at the top and fails in a function."""
    import builtins

    known = set(dir(builtins))
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return bool(stored & known)


def logging_call(source: Source) -> Made:
    """A debug line at the start of the function."""
    f = _single(source)
    if f is None or "logging" in source.text or "logger" in source.text:
        return None
    place = source.after_docstring(f)
    names = [x.arg for x in _plain_parameters(f)][:3]
    if place is None or len(f.body) < 2:
        return None
    line, indent = place
    shown = ", ".join(f"{n}=%r" for n in names)
    values = "".join(f", {n}" for n in names)
    call = f'{indent}logger.debug("{f.name}({shown})"{values})'
    text = _edits.apply(source.text, [_edits.insert(line, call)])
    again = _edits.parse(text)
    if again is None:
        return None
    at = _edits.import_line(again)
    at = max(
        [
            at,
            *(
                (n.end_lineno or 0) + 1
                for n in again.tree.body
                if isinstance(n, ast.Import | ast.ImportFrom) and n.lineno < f.lineno
            ),
        ]
    )
    gap = (
        "\n\n"
        if again.lines[at - 1].strip()
        else "\n"
        if at < len(again.lines) and again.lines[at].strip()
        else ""
    )
    head = "import logging\n\nlogger = logging.getLogger(__name__)" + gap
    wordings = (
        f"Log every call of `{f.name}` with its arguments at debug level, with the `logging` module.",
        "Add a debug message by the standard `logging` module at the start of the function.",
    )
    return (wordings if names else wordings[1:]), _edits.apply(text, [_edits.insert(at, head)])


def rename(source: Source) -> Made:
    """A function in camel case gets a name in snake case, everywhere."""
    f = _single(source)
    if f is None or not re.fullmatch(r"[a-z]+(?:[A-Z][a-z0-9]*)+", f.name):
        return None
    new = "_".join(w.lower() for w in _edits.words(f.name))
    names = [n for n in ast.walk(source.tree) if isinstance(n, ast.Name) and n.id == f.name]
    everything = {n.id for n in ast.walk(source.tree) if isinstance(n, ast.Name)} | {
        x.arg for x in ast.walk(source.tree) if isinstance(x, ast.arg)
    }
    if new in everything or any(isinstance(n.ctx, ast.Store) for n in names):
        return None
    if len(re.findall(rf"\b{f.name}\b", source.text)) != len(names) + 1:
        return None  # also in a string, a comment or an attribute
    row = source.lines[f.lineno - 1]
    at = row.index(f.name, row.index("def"))
    edits = [Edit((f.lineno, at), (f.lineno, at + len(f.name)), new)]
    edits += [Edit(source.start(n), source.end(n), new) for n in names]
    wordings = (
        f"Name the function `{new}`, in snake case.",
        f"Follow PEP 8 in the names: call the function `{new}`.",
    )
    return wordings, _edits.apply(source.text, edits)


def keyword_only(source: Source) -> Made:
    """Parameters with defaults become keyword-only, if no call here passes them by place."""
    f = _single(source)
    if (
        f is None
        or not f.args.defaults
        or f.args.vararg
        or f.args.kwonlyargs
        or not _plain_parameters(f)
    ):
        return None
    bare = len(f.args.posonlyargs) + len(f.args.args) - len(f.args.defaults)
    for n in ast.walk(source.tree):
        if (
            isinstance(n, ast.Call)
            and isinstance(n.func, ast.Name)
            and n.func.id == f.name
            and (len(n.args) > bare or any(isinstance(x, ast.Starred) for x in n.args))
        ):
            return None
    first = f.args.args[len(f.args.args) - len(f.args.defaults)]
    names = listed([f"`{x.arg}`" for x in f.args.args[-len(f.args.defaults) :]])
    wordings = (
        f"Let {names} be given by keyword only.",
        f"Callers must name {names} when they pass {'it' if len(f.args.defaults) == 1 else 'them'}.",
    )
    return wordings, _edits.apply(
        source.text, [Edit(source.start(first), source.start(first), "*, ")]
    )


WAYS: Final = {
    "type hints": _python(hints),
    "none check": _python(none_check),
    "memoise": _python(memoise),
    "generator": _python(generator),
    "docstring": _python(docstring),
    "example checks": _python(example_checks),
    "main guard": _python(guard),
    "main function": _python(main_function),
    "logging": _python(logging_call),
    "snake case": _python(rename),
    "keyword only": _python(keyword_only),
}
