"""Figures of the house, for docs/log.md: `python tests/house/figures.py`.

Lines and files of source, files loose in the packages' roots, decisions by the kind of a block, files that name one
attribute, and circles of imports, those inside functions counted too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "runtime")]

from alchemist_runtime.schema.kinds import KINDS  # noqa: E402

#: An attribute of one kind, and how it is written in sources.
ATTRIBUTE = "weight_decay"


def sources() -> Iterator[tuple[str, Path]]:
    """Every module of the packages: its dotted name and its file."""
    for base in (ROOT, ROOT / "runtime"):
        for package in sorted(base.glob("alchemist_*")):
            for path in sorted(package.rglob("*.py")):
                parts = path.relative_to(base).with_suffix("").parts
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def decisions(tree: ast.Module) -> int:
    """Places that decide by the kind of a block: comparisons with and cases of a kind's name or its spec, and tables keyed
    by them."""
    specs = {f"{kind.title().replace('_', '')}Spec" for kind in KINDS} | {"TeacherStepSpec"}

    def kind(node: ast.expr | None) -> bool:
        match node:
            case ast.Constant(value=str(name)):
                return name in KINDS
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return name in specs
            case ast.Tuple(elts=parts) | ast.Set(elts=parts):
                return any(map(kind, parts))
            case _:
                return False

    found = 0
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, comparators=others) if "kind" in ast.unparse(node):
                found += any(map(kind, (left, *others)))
            case ast.Call(func=ast.Name(id="isinstance"), args=[_, type_]):
                found += kind(type_) or (isinstance(type_, ast.BinOp) and any(map(kind, (type_.left, type_.right))))
            case ast.MatchValue(value=value):
                found += kind(value)
            case ast.MatchClass(cls=cls):
                found += kind(cls)
            case ast.Dict(keys=keys):
                found += sum(map(kind, keys)) if sum(map(kind, keys)) > 1 else 0
    return found


def imports(name: str, tree: ast.Module, known: Mapping[str, Path]) -> set[str]:
    """The modules of ours that a module imports, also inside its functions; not those for type checkers alone."""
    found: set[str] = set()
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in known else node.module for a in node.names
            }
    return (found & known.keys()) - {name}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other (Tarjan's strongly connected components of more than one)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    out: list[list[str]] = []

    def visit(v: str) -> None:
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in sorted(graph[v]):
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in stack:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            group = stack[stack.index(v) :]
            del stack[stack.index(v) :]
            if len(group) > 1:
                out.append(sorted(group))

    sys.setrecursionlimit(10_000)
    for v in sorted(graph):
        if v not in index:
            visit(v)
    return out


def main() -> None:
    known = dict(sources())
    texts = {name: path.read_text() for name, path in known.items()}
    trees = {name: ast.parse(text) for name, text in texts.items()}
    by_kind = {name: n for name, tree in trees.items() if (n := decisions(tree))}
    named = [n for n, text in texts.items() if ATTRIBUTE in text and ".migrate" not in n]
    loose = [
        p
        for base in (ROOT, ROOT / "runtime")
        for p in base.glob("alchemist_[dr]*/*.py")
        if p.parent.name != "alchemist_rules"
    ]
    found = circles({name: imports(name, tree, known) for name, tree in trees.items()})
    print(f"source lines                       {sum(t.count(chr(10)) for t in texts.values()):,}")
    print(f"source files                       {len(texts)}")
    print(f"files loose in the packages' roots {len(loose)}")
    print(f"decisions by kind                  {sum(by_kind.values())} in {len(by_kind)} files")
    print(f"files that name {ATTRIBUTE}       {len(named)}")
    print(f"circles between files              {len(found)}")
    for group in found:
        print("  " + " ".join(group))


if __name__ == "__main__":
    main()
