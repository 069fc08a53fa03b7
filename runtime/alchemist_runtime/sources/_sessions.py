"""Sessions at the Python prompt, from the examples in docstrings: the lines that are typed, and what the prompt
answers.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import doctest

#: A session that shows more is cut into a first part of so many examples.
EXAMPLES = 12
_OPTION = re.compile(r"\s*#\s*doctest:.*$", re.M)
#: Outputs that differ from run to run, or are not shown as they are.
_UNSURE = re.compile(r"\bmay vary\b|\brandom\b|\b0x[0-9a-f]{6,}\b|\.\.\.|#doctest|\+SKIP", re.I)
_BUILTIN = frozenset(dir(builtins))


@dataclass(frozen=True, slots=True)
class Session:
    line: int  # in the docstring, from 0
    typed: str
    shown: str


def sessions(docstring: str) -> Iterator[Session]:
    """The sessions of a docstring: runs of examples that need nothing from an earlier run, each with some output."""
    for run in _independent(_runs(docstring)):
        kept = run[:EXAMPLES]
        if not any(e.want for e in kept) or any(_unsure(e) for e in kept):
            continue
        typed = "".join(_source(e) for e in kept).rstrip("\n")
        shown = "".join(_prompted(_source(e)) + _output(e) for e in kept).rstrip("\n")
        yield Session(kept[0].lineno, typed, shown)


def _runs(docstring: str) -> list[list[doctest.Example]]:
    """Examples that follow each other without prose between them."""
    import doctest  # slow to import, and compilers only read this component's signature

    try:
        pieces = doctest.DocTestParser().parse(docstring)
    except ValueError:  # an example that is not indented as doctest wants it
        return []
    runs: list[list[doctest.Example]] = [[]]
    for piece in pieces:
        if isinstance(piece, doctest.Example):
            runs[-1].append(piece)
        elif piece.strip() and runs[-1]:
            runs.append([])
    return [r for r in runs if r]


def _independent(runs: list[list[doctest.Example]]) -> list[list[doctest.Example]]:
    """Runs that use a name bound by an earlier one are joined with it."""
    out: list[list[doctest.Example]] = []
    bound: list[frozenset[str]] = []
    for run in runs:
        used, binds = _names(run)
        first = next((i for i, names in enumerate(bound) if names & used), None)
        if first is None:
            out.append(run)
            bound.append(binds)
            continue
        out[first:] = [[e for r in out[first:] for e in r] + run]
        bound[first:] = [frozenset().union(*bound[first:], binds)]
    return out


def _names(run: list[doctest.Example]) -> tuple[frozenset[str], frozenset[str]]:
    """Names that a run uses before it binds them, and names that it binds."""
    used: set[str] = set()
    bound: set[str] = set()
    for example in run:
        try:
            tree = ast.parse(example.source)
        except SyntaxError:
            continue
        names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
        used |= {n.id for n in names if isinstance(n.ctx, ast.Load)} - bound
        bound |= {n.id for n in names if isinstance(n.ctx, ast.Store)}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                bound.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                bound |= {(a.asname or a.name).partition(".")[0] for a in node.names}
    return frozenset(used - _BUILTIN), frozenset(bound)


def _unsure(example: doctest.Example) -> bool:
    want = example.want
    if want.startswith("Traceback"):
        want = want.rpartition("\n  ...")[2] if "..." in want.splitlines()[-1] else ""
    return bool(_UNSURE.search(want) or re.search(r"may vary|\+SKIP|random", example.source))


def _source(example: doctest.Example) -> str:
    return _OPTION.sub("", example.source)


def _prompted(source: str) -> str:
    first, *rest = source.rstrip("\n").split("\n")
    lines = [f">>> {first}", *(f"... {x}" if x.strip() else "..." for x in rest)]
    return "\n".join(lines) + "\n"


def _output(example: doctest.Example) -> str:
    return example.want.replace("<BLANKLINE>", "")
