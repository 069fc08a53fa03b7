"""Ways that document: type hints that follow from constants, docstrings, assertions from examples."""

from __future__ import annotations

import ast
import re
from typing import Final

from alchemist_runtime.teachers import _edits
from alchemist_runtime.teachers._edits import Edit, Source
from alchemist_runtime.teachers._findings import ends
from alchemist_runtime.teachers._python_scan import Function, arguments, own_nodes
from alchemist_runtime.teachers._ways import (
    Made,
    is_generator,
    single,
)

_DEFAULTS: Final = (int, str, float, bool)


def hints(source: Source) -> Made:
    """Annotations that follow from constants: of parameters by their defaults, of the result by what is returned."""
    f = single(source)
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
    result = result_type(f)
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


def result_type(f: Function) -> str | None:
    """The type of everything that is returned, where the syntax alone shows it."""
    if is_generator(f) or f.decorator_list:
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


def docstring(source: Source) -> Made:
    """A docstring with the parameters, where there is none."""
    f = single(source)
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
    if values and not is_generator(f):
        kind = result_type(f)
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
    f = single(source)
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
