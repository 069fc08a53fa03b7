"""Ways that order code: main guard, main function, logging, names, keyword-only parameters."""

from __future__ import annotations

import ast
import builtins
import re

from alchemist_runtime.teachers import _edits
from alchemist_runtime.teachers._edits import Edit, Source
from alchemist_runtime.teachers._facts import listed
from alchemist_runtime.teachers._ways import (
    Made,
    line_shared,
    plain_parameters,
    single,
)


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
        or line_shared(source, tail[0])
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
    known = set(dir(builtins))
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return bool(stored & known)


def logging_call(source: Source) -> Made:
    """A debug line at the start of the function."""
    f = single(source)
    if f is None or "logging" in source.text or "logger" in source.text:
        return None
    place = source.after_docstring(f)
    names = [x.arg for x in plain_parameters(f)][:3]
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
    f = single(source)
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
    f = single(source)
    if (
        f is None
        or not f.args.defaults
        or f.args.vararg
        or f.args.kwonlyargs
        or not plain_parameters(f)
        or len(f.args.defaults) > len(f.args.args)  # a positional-only one has a default too
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
