"""Findings in Python code, from its tree: each with its line and the points that it costs."""

from __future__ import annotations

import ast
import builtins
import itertools
import warnings
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.operators import _grammars
from alchemist_runtime.teachers import _edits
from alchemist_runtime.teachers._python_scan import FUNCTION, Function, own_nodes


@dataclass(frozen=True, slots=True)
class Finding:
    """`wrong` and `unclear` are the points that it costs in correctness and clarity."""

    line: int | None
    text: str
    wrong: int = 0
    unclear: int = 0

    def __str__(self) -> str:
        return f"Line {self.line}: {self.text}" if self.line else self.text


def in_python(code: str) -> list[Finding]:
    source = _edits.parse(code.strip("\n"))
    if source is None:
        if _grammars.module(code) is not None:
            return []  # a session or part of a body: nothing to hold against it
        return [_syntax(code)]
    out = _compiled(source.text)
    for check in (
        _undefined,
        _unused,
        _handlers,
        _defaults,
        _unreachable,
        _returns,
        _comparisons,
        _docs,
        _repeated,
        _shadowed,
    ):
        out += check(source.tree)
    return out + _lines(source)


def _syntax(code: str) -> Finding:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except SyntaxError as error:
        return Finding(error.lineno, f"The code does not parse: {error.msg}.", wrong=9)
    except (ValueError, MemoryError, RecursionError, OverflowError):
        pass
    return Finding(None, "The code does not parse.", wrong=9)


def _compiled(text: str) -> list[Finding]:
    """What the parser takes and the compiler refuses, as a `return` outside of a function."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, "code", "exec", dont_inherit=True)
    except SyntaxError as error:
        return [Finding(error.lineno, f"The code does not compile: {error.msg}.", wrong=6)]
    except (ValueError, MemoryError, RecursionError, OverflowError):
        pass
    return []


_KNOWN: Final = frozenset(dir(builtins)) | {
    "__file__",
    "__name__",
    "__doc__",
    "__path__",
    "__spec__",
    "__class__",
    "__package__",
}


def _undefined(tree: ast.Module) -> list[Finding]:
    """Names that are read and nowhere bound, in no scope: so no doubt about scopes can make a false finding."""
    bound: set[str] = set()
    read: dict[str, int] = {}
    for n in ast.walk(tree):
        match n:
            case ast.Name(id=name, ctx=ast.Load()):
                read[name] = min(n.lineno, read.get(name, n.lineno))
            case ast.Name(id=name) | ast.arg(arg=name):
                bound.add(name)
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                bound.add(name)
            case ast.ImportFrom(names=names) | ast.Import(names=names):
                if any(a.name == "*" for a in names):
                    return []
                bound |= {(a.asname or a.name).partition(".")[0] for a in names}
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                bound.add(name)
            case ast.MatchMapping(rest=str(name)):
                bound.add(name)
            case ast.Global(names=names):
                bound |= set(names)
    if read.keys() & {"exec", "globals", "locals"}:
        return []
    missing = [n for n in read if n not in bound and n not in _KNOWN]
    return [
        Finding(
            read[n], f"`{n}` is defined nowhere; import or define it.", wrong=3 if i == 0 else 1
        )
        for i, n in enumerate(sorted(missing, key=lambda n: (read[n], n))[:3])
    ]


def _unused(tree: ast.Module) -> list[Finding]:
    out = []
    used = {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Store)
    }
    exported = {
        n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    }
    for n in tree.body:
        if isinstance(n, ast.Import | ast.ImportFrom) and getattr(n, "module", "") != "__future__":
            for a in n.names:
                name = (a.asname or a.name).partition(".")[0]
                if name not in used and name != "*" and name not in exported:
                    out.append(
                        Finding(
                            n.lineno, f"The import of `{name}` is not used; drop it.", unclear=1
                        )
                    )
    for f in _functions(tree):
        out += _unused_locals(f)
    return out[:2]


def _functions(tree: ast.Module) -> list[Function]:
    return [n for n in ast.walk(tree) if isinstance(n, FUNCTION)]


def _unused_locals(f: Function) -> list[Finding]:
    nodes = list(ast.walk(f))
    if any(isinstance(n, ast.Global | ast.Nonlocal) for n in nodes):
        return []
    read = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Store)}
    read |= {
        n.target.id
        for n in nodes
        if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)
    }
    if "locals" in read:
        return []
    out = []
    for n in own_nodes(f):
        if isinstance(n, ast.Assign) and len(n.targets) == 1 and isinstance(n.targets[0], ast.Name):
            name = n.targets[0].id
            if name not in read and not name.startswith("_"):
                out.append(Finding(n.lineno, f"`{name}` is set but never read.", unclear=1))
    return out


def _handlers(tree: ast.Module) -> list[Finding]:
    out = []
    for n in ast.walk(tree):
        if isinstance(n, ast.ExceptHandler) and n.type is None:
            out.append(
                Finding(
                    n.lineno,
                    "A bare `except` also catches the keyboard interrupt; name the exceptions.",
                    wrong=1,
                )
            )
        elif (
            isinstance(n, ast.ExceptHandler)
            and len(n.body) == 1
            and isinstance(n.body[0], ast.Pass)
        ):
            out.append(
                Finding(n.lineno, "The handler swallows the error without a word.", unclear=1)
            )
        elif isinstance(n, ast.Assert) and isinstance(n.test, ast.Tuple) and n.test.elts:
            out.append(
                Finding(
                    n.lineno,
                    "An assertion on a tuple is always true; drop the parentheses.",
                    wrong=2,
                )
            )
    return out


def _defaults(tree: ast.Module) -> list[Finding]:
    out = []
    for f in _functions(tree):
        for d in [*f.args.defaults, *(k for k in f.args.kw_defaults if k)]:
            made = (
                isinstance(d, ast.Call)
                and isinstance(d.func, ast.Name)
                and d.func.id in ("list", "dict", "set")
            )
            if isinstance(d, ast.List | ast.Dict | ast.Set) or made:
                out.append(
                    Finding(
                        d.lineno,
                        f"The default of `{f.name}` is one object shared by all calls; use None.",
                        wrong=2,
                    )
                )
    return out


_ENDS: Final = (ast.Return, ast.Raise, ast.Break, ast.Continue)


def _unreachable(tree: ast.Module) -> list[Finding]:
    for n in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(n, name, None)
            if isinstance(block, list):
                for a, b in itertools.pairwise(block):
                    if isinstance(a, _ENDS):
                        return [Finding(b.lineno, "This statement is never reached.", wrong=1)]
    return []


def _returns(tree: ast.Module) -> list[Finding]:
    """Functions that return a value on some paths and run off their end on others."""
    out = []
    for f in _functions(tree):
        own = list(own_nodes(f))
        if any(isinstance(n, ast.Yield | ast.YieldFrom) for n in own):
            continue
        values = [
            n
            for n in own
            if isinstance(n, ast.Return) and n.value is not None and not _none(n.value)
        ]
        if values and not ends(f.body):
            out.append(
                Finding(
                    f.lineno,
                    f"`{f.name}` returns a value on some paths and nothing on others.",
                    wrong=1,
                )
            )
    return out


def _none(v: ast.expr) -> bool:
    return isinstance(v, ast.Constant) and v.value is None


def ends(block: list[ast.stmt]) -> bool:
    """Whether control never runs off the end of a block."""
    if not block:
        return False
    match block[-1]:
        case ast.Return() | ast.Raise():
            return True
        case ast.If(body=a, orelse=b):
            return ends(a) and ends(b)
        case ast.With(body=a) | ast.AsyncWith(body=a):
            return ends(a)
        case ast.Try(body=a, handlers=handlers, orelse=b, finalbody=c):
            return ends(c) or ((ends(b) if b else ends(a)) and all(ends(h.body) for h in handlers))
        case ast.While(test=ast.Constant(value=value), body=a) if value:
            return not any(isinstance(n, ast.Break) for s in a for n in ast.walk(s))
        case ast.Match(cases=cases):
            last = cases[-1].pattern
            return (
                isinstance(last, ast.MatchAs)
                and last.pattern is None
                and all(ends(c.body) for c in cases)
            )
        case ast.For(body=a, orelse=b):
            return (
                bool(b)
                and ends(b)
                and not any(isinstance(n, ast.Break) for s in a for n in ast.walk(s))
            )
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="sys"), attr="exit"))):
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id="exit" | "quit"))):
            return True
    return False


def _comparisons(tree: ast.Module) -> list[Finding]:
    out = []
    for n in ast.walk(tree):
        if not isinstance(n, ast.Compare) or len(n.ops) != 1:
            continue
        op, right = n.ops[0], n.comparators[0]
        if isinstance(op, ast.Eq | ast.NotEq) and _none(right):
            word = "is" if isinstance(op, ast.Eq) else "is not"
            out.append(Finding(n.lineno, f"Compare with None by `{word}`.", unclear=1))
        elif (
            isinstance(op, ast.Eq | ast.NotEq)
            and isinstance(right, ast.Constant)
            and isinstance(right.value, bool)
        ):
            out.append(
                Finding(
                    n.lineno,
                    f"Use the condition itself; the comparison with {right.value} adds nothing.",
                    unclear=1,
                )
            )
        elif (
            isinstance(op, ast.Is | ast.IsNot)
            and isinstance(right, ast.Constant)
            and isinstance(right.value, int | str)
            and not isinstance(right.value, bool)
        ):
            out.append(
                Finding(
                    n.lineno, "`is` compares identity; use `==` with a number or a text.", wrong=2
                )
            )
    return out[:2]


def _docs(tree: ast.Module) -> list[Finding]:
    for f in _edits.top_functions(tree):
        size = (f.end_lineno or 0) - f.lineno
        if (
            not _edits.has_docstring(f)
            and size >= 4
            and not f.name.startswith("_")
            and f.name != "main"
        ):
            return [
                Finding(
                    f.lineno, f"Say in a docstring what `{f.name}` takes and gives back.", unclear=0
                )
            ]
    return []


def _repeated(tree: ast.Module) -> list[Finding]:
    seen: dict[str, int] = {}
    for n in tree.body:
        if isinstance(n, (*FUNCTION, ast.ClassDef)) and not n.decorator_list:
            if n.name in seen:
                return [
                    Finding(
                        n.lineno,
                        f"`{n.name}` is defined a second time; the first, in line {seen[n.name]}, is lost.",
                        wrong=1,
                    )
                ]
            seen[n.name] = n.lineno
    return []


_SHADOWS: Final = frozenset(
    [
        "list",
        "dict",
        "set",
        "str",
        "int",
        "float",
        "sum",
        "max",
        "min",
        "input",
        "type",
        "id",
        "len",
        "file",
        "object",
        "map",
        "filter",
        "sorted",
        "tuple",
        "range",
    ]
)


def _shadowed(tree: ast.Module) -> list[Finding]:
    out: dict[str, int] = {}
    for n in ast.walk(tree):
        name = (
            n.id
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            else n.arg
            if isinstance(n, ast.arg)
            else None
        )
        if name in _SHADOWS:
            out.setdefault(name, n.lineno)  # type: ignore[attr-defined]
    return [
        Finding(line, f"`{name}` hides the built-in of that name; choose another one.", unclear=1)
        for name, line in list(out.items())[:1]
    ]


def _lines(source: _edits.Source) -> list[Finding]:
    for i, row in enumerate(source.lines, 1):
        if len(row) > 100:
            return [Finding(i, f"The line has {len(row)} characters; break it up.")]
    for f in _functions(source.tree):
        size = (f.end_lineno or 0) - f.lineno + 1
        if size > 60:
            return [
                Finding(
                    f.lineno,
                    f"`{f.name}` has {size} lines; split it into smaller functions.",
                    unclear=1,
                )
            ]
    return []
