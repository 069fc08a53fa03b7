"""Finds the parts of a syntax tree that stand around an offset."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from alchemist_runtime.schema.attributes import AttrType
from alchemist_runtime.schema.kinds import KINDS

from alchemist_dsl import ir
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.lowering.facts import SourceFacts
from alchemist_dsl.project import lockfile as locks
from alchemist_dsl.project.facts_on_disk import FileCache, Resources, matches, merged
from alchemist_dsl.project.folder import LOCK, STATE, Folder, library, read_file
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

_EXPRESSIONS = frozenset({"expr", "condition", "select"})


def top_block(tree: ast.File, offset: int) -> ast.Block | None:
    """The top-level block around an offset."""
    for item in tree.items:
        if isinstance(item, ast.Block) and within(item.span, offset):
            return item
    return None


def statement_at(block: ast.Block, offset: int) -> tuple[ast.Statement, ast.Block | None] | None:
    """The statement around an offset with the sub-block that it stands in; a sub-block itself at its header."""
    for statement in block.body:
        if within(statement.span, offset):
            if isinstance(statement, ast.Block) and not within(statement.header, offset):
                inner = statement_at(statement, offset)
                return None if inner is None else (inner[0], statement)
            return statement, None
    return None


def enclosing(statement: ast.Statement, offset: int) -> tuple[ast.Expr, ...]:
    """The expressions of a statement around an offset, from outside in."""
    roots: tuple[ast.Expr | None, ...] = ()
    match statement:
        case ast.Assign(value=value, per=per):
            roots = (value, per)
        case ast.RuleStmt(condition=condition):
            roots = (condition,)
    for root in roots:
        if root is not None and within(root.span, offset):
            return (root, *_deeper(root, offset))
    return ()


def _deeper(expr: ast.Expr, offset: int) -> tuple[ast.Expr, ...]:
    for part in parts(expr):
        if within(part.span, offset):
            return (part, *_deeper(part, offset))
    return ()


def parts(expr: ast.Expr) -> Iterator[ast.Expr]:
    """The expressions right inside an expression."""
    match expr:
        case ast.Member(base=base):
            yield base
        case ast.Index(base=base, index=index):
            yield from (base, index)
        case ast.Call(args=args):
            yield from (a.value for a in args)
        case ast.ListExpr(items=items):
            yield from items
        case ast.Record(fields=fields):
            yield from (f.value for f in fields)
        case ast.Interval(low=low, high=high):
            yield from (low, high)
        case ast.Unary(operand=operand):
            yield operand
        case ast.Binary(left=left, right=right):
            yield from (left, right)


def every(expr: ast.Expr) -> Iterator[ast.Expr]:
    """An expression and all of its parts."""
    yield expr
    for part in parts(expr):
        yield from every(part)


def within(span: Span, offset: int) -> bool:
    return span.start <= offset <= span.end


def is_column_name(block: ast.Block, statement: ast.Statement) -> bool:
    """Whether bare names in a statement are columns of the row."""
    if block.kind.name == "check":
        return False
    match statement:
        case ast.RuleStmt(verb=verb):
            return verb != "expect" or block.kind.name == "test"
        case ast.Assign(set=True):
            return block.kind.name != "variant"
        case ast.Assign(path=path):
            kind = KINDS.get(block.kind.name)
            known = kind.attributes.get(path[0].name) if kind is not None else None
            return known is not None and _reads_rows(known.type)
        case _:
            return False


def _reads_rows(type_: AttrType) -> bool:
    return any(t.name in _EXPRESSIONS or (t.name == "list" and _reads_rows(t.of[0])) for t in type_.alternatives)


# --- local columns ---------------------------------------------------------------------------------------------------

_SECONDS: Final = 5.0
#: Files above this size are not read for the editor's sake, unless somebody has read them before.
_LARGEST: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class _Known:
    at: float
    facts: SourceFacts
    spans: tuple[Span, ...]


@dataclass(slots=True)
class LocalFacts:
    """Facts of one project. `compilation` is the side that estimates ask."""

    folder: Folder
    _known: dict[tuple[Any, ...], _Known] = field(default_factory=dict)
    _resources: Resources | None = None

    def forget(self) -> None:
        """Look at everything again."""
        self._known.clear()
        self._resources = None

    def columns(self, block: ir.Block) -> Mapping[str, str] | None:
        """Columns of the records of a source or suite of local files; None where nobody knows them."""
        if not _local(block):
            return None
        return merged([f.columns for f in self.source(block).files])

    def problems(self, program: ir.Program) -> list[Diagnostic]:
        """Patterns that match no file, files that cannot be read, bases that are no model."""
        blocks = program.blocks.values()
        bases = (self.resources.base(b) for b in blocks if b.kind == "train")
        places = (p for b in blocks if _local(b) for p in self.source(b).problems)
        return [*places, *(p for p in bases if p is not None)]

    def source(self, block: ir.Block) -> SourceFacts:
        """Files of a source, with problems at the places that hold now."""
        patterns = tuple(t for t in _patterns(block))
        spans = tuple(p.span for p in patterns)
        key = (block.span.file, tuple(p.value for p in patterns), getattr(block.get("format"), "name", None))
        found = self._known.get(key)
        if found is None or time.monotonic() - found.at > _SECONDS:
            facts = self._look(block) if self._small(patterns) else SourceFacts()
            found = self._known[key] = _Known(time.monotonic(), facts, spans)
        moved = dict(zip(found.spans, spans, strict=True))
        return replace(found.facts, problems=tuple(_moved(p, moved) for p in found.facts.problems))

    def _look(self, block: ir.Block) -> SourceFacts:
        found = self.resources.source(block)
        self.resources.cache.save()
        return found

    def _small(self, patterns: tuple[ir.TextV, ...]) -> bool:
        for pattern in patterns:
            folder = self.resources.folder(pattern.span.file)
            for path in matches(folder, pattern.value):
                try:
                    if (folder / path).stat().st_size > _LARGEST:
                        return False
                except OSError:
                    continue
        return True

    @property
    def resources(self) -> Resources:
        if self._resources is None:
            root = self.folder.root
            try:
                lock = locks.loads(read_file(root / LOCK, root).decode("utf-8"))
            except (OSError, ValueError):
                lock = locks.Lock()
            self._resources = Resources(root, lock, FileCache(root / STATE / "files"), std=library())
        return self._resources


def _local(block: ir.Block) -> bool:
    return (
        block.kind in ("source", "suite")
        and block.get("files") is not None
        and block.get("hub") is None
        and block.get("missing") is None
    )


def _patterns(block: ir.Block) -> list[ir.TextV]:
    value = block.get("files")
    items = value.items if isinstance(value, ir.ListV) else (value,)
    return [v for v in items if isinstance(v, ir.TextV)]


def _moved(problem: Diagnostic, spans: Mapping[Span, Span]) -> Diagnostic:
    edit = problem.edit
    if edit is not None:
        edit = replace(edit, span=spans.get(edit.span, edit.span))
    return replace(problem, span=spans.get(problem.span, problem.span), edit=edit)
