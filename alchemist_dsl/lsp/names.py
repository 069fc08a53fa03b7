"""Every name of a recipe and of what it imports, with the declaration that it means: what navigation and renaming stand
on.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from alchemist_runtime.schema.attributes import AttrType
from alchemist_runtime.schema.functions import AGGREGATES
from alchemist_runtime.schema.kinds import KINDS

from alchemist_dsl import ir
from alchemist_dsl.checker.load import Loader
from alchemist_dsl.checker.names import Decl, Found, Scope, find, path_of
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.lowering.facts import SourceFacts
from alchemist_dsl.lsp.context import variables
from alchemist_dsl.project import lockfile as locks
from alchemist_dsl.project.facts_on_disk import FileCache, Resources, matches, merged
from alchemist_dsl.project.folder import LOCK, STATE, Folder, library, read_file
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

What = Literal["block", "alias", "param", "rule", "class", "input", "output", "field"]
Path = tuple[ast.Ident, ...]

_ANYTHING: Final = AttrType("literal")
_EXPRESSION: Final = AttrType("expr")
_EXPRESSIONS: Final = frozenset({"expr", "condition", "select"})
_REFERENCES: Final = frozenset({"ref", "stream"})


@dataclass(frozen=True, slots=True)
class Symbol:
    """What a name stands for. Two symbols are one where their declarations stand in the same place."""

    what: What
    name: str
    span: Span  # of the name where it is declared first; a base file comes before the file that extends it
    kind: str = ""  # of a block
    owner: str = ""  # block of a rule, class or field

    @property
    def identity(self) -> tuple[str, str, int]:
        return self.what, self.span.file, self.span.start


@dataclass(frozen=True, slots=True)
class Occurrence:
    span: Span
    symbol: Symbol
    declares: bool = False


class Names:
    """All occurrences of a loaded recipe, by file and place."""

    def __init__(self, loader: Loader) -> None:
        self.by_file: dict[str, list[Occurrence]] = {}
        table = _Table(loader)
        walked: set[str] = set()
        for scope in loader.scopes.values():
            for path in scope.files:
                if path not in walked:
                    walked.add(path)
                    found = _Walk(table, scope).file(loader.trees[path])
                    self.by_file[path] = sorted(set(found), key=lambda o: o.span.start)

    def at(self, file: str, offset: int) -> Occurrence | None:
        """The occurrence at an offset, also right behind its last character."""
        found = self.by_file.get(file, [])
        number = bisect_right(found, offset, key=lambda o: o.span.start)
        for occurrence in reversed(found[max(0, number - 2) : number]):
            if occurrence.span.start <= offset <= occurrence.span.end:
                return occurrence
        return None

    def of(self, symbol: Symbol) -> Iterator[Occurrence]:
        """All occurrences of a symbol."""
        for found in self.by_file.values():
            for occurrence in found:
                if occurrence.symbol.identity == symbol.identity:
                    yield occurrence


class _Table:
    """The declarations of every scope; the first of a name holds, so a base file comes before what extends it."""

    def __init__(self, loader: Loader) -> None:
        self.blocks: dict[tuple[int, str], list[ast.Block]] = {}
        self.scopes: dict[int, Scope] = {}
        self.aliases: dict[tuple[int, str], Symbol] = {}
        self.params: dict[tuple[int, str], Symbol] = {}
        for scope in loader.scopes.values():
            self.scopes[id(scope)] = scope
            for path in scope.files:
                for item in loader.trees[path].items:
                    self._add(scope, item)

    def _add(self, scope: Scope, item: ast.Item) -> None:
        match item:
            case ast.Block(name=ast.Ident(name=name)) if item.kind.name in KINDS:
                self.blocks.setdefault((id(scope), name), []).append(item)
            case ast.Import(alias=alias):
                result = Symbol("alias", alias.name, alias.span)
                self.aliases.setdefault((id(scope), alias.name), result)
            case ast.ParamDecl(name=name):
                self.params.setdefault((id(scope), name.name), Symbol("param", name.name, name.span))

    def block(self, scope: Scope, name: str) -> Symbol | None:
        found = self.blocks.get((id(scope), name))
        if not found or not isinstance(found[0].name, ast.Ident):
            return None
        return Symbol("block", name, found[0].name.span, found[0].kind.name)

    def written(self, decl: Decl) -> list[ast.Block]:
        """The blocks of a declaration, base file first."""
        return self.blocks.get((id(decl.scope), decl.name), [decl.block])

    def base(self, decl: Decl) -> Decl | None:
        """The block that a declaration extends."""
        placed = decl.body.attrs.get("extends")
        path = path_of(placed.stmt.value) if placed is not None else None
        found = find(path, placed.scope) if placed is not None and path else None
        return found.decl if isinstance(found, Found) else None

    def bases(self, decl: Decl) -> list[Decl]:
        """The declaration and what it extends, the innermost base last."""
        chain = [decl]
        while (base := self.base(chain[-1])) is not None and base not in chain:
            chain.append(base)
        return chain

    def rule(self, decl: Decl, name: str) -> Symbol | None:
        """The first rule of a name, in the innermost base that has one."""
        for at in reversed(self.bases(decl)):
            for block in self.written(at):
                for statement in block.body:
                    if (
                        isinstance(statement, ast.RuleStmt)
                        and statement.name is not None
                        and statement.name.name == name
                    ):
                        return Symbol("rule", name, statement.name.span, owner=at.name)
        return None

    def class_(self, decl: Decl, name: str) -> Symbol | None:
        for at in reversed(self.bases(decl)):
            for ident in _entries(self.written(at), "classes"):
                if ident.name == name:
                    return Symbol("class", name, ident.span, owner=at.name)
        return None

    def field(self, decl: Decl, group: What, name: str) -> Symbol | None:
        """A field of a prompt's input or output, or of a schema."""
        for at in reversed(self.bases(decl)):
            for block in self.written(at):
                bodies = [block.body] if group == "field" else _inner(block, group)
                for body in bodies:
                    for statement in body:
                        if isinstance(statement, ast.FieldDecl) and statement.name.name == name:
                            return Symbol(group, name, statement.name.span, owner=at.name)
        return None

    def reference(self, decl: Decl, attribute: str) -> Decl | None:
        """The block that an attribute names, own or inherited."""
        for at in self.bases(decl):
            placed = at.body.attrs.get(attribute)
            if placed is not None:
                path = path_of(placed.stmt.value)
                found = find(path, placed.scope) if path else None
                return found.decl if isinstance(found, Found) else None
        return None


def _inner(block: ast.Block, name: str) -> list[tuple[ast.Statement, ...]]:
    return [s.body for s in block.body if isinstance(s, ast.Block) and s.kind.name == name]


def _entries(blocks: list[ast.Block], name: str) -> Iterator[ast.Ident]:
    for block in blocks:
        for body in _inner(block, name):
            for statement in body:
                if isinstance(statement, ast.Assign) and len(statement.path) == 1:
                    yield statement.path[0]


class _Walk:
    """One file on its way to occurrences."""

    def __init__(self, table: _Table, scope: Scope) -> None:
        self.table, self.scope = table, scope
        self.found: list[Occurrence] = []
        self.decl: Decl | None = None  # of the block that is walked
        self.block: ast.Block | None = None

    def file(self, tree: ast.File) -> list[Occurrence]:
        for item in tree.items:
            match item:
                case ast.Import(alias=alias):
                    self.add(self.table.aliases.get((id(self.scope), alias.name)), alias.span, True)
                case ast.ParamDecl():
                    self.add(self.table.params.get((id(self.scope), item.name.name)), item.name.span, True)
                    if item.default is not None:
                        self.value(item.default, _ANYTHING)
                case ast.Block() if item.kind.name in KINDS:
                    self._block(item)
        return self.found

    def add(self, symbol: Symbol | None, span: Span, declares: bool = False) -> None:
        if symbol is not None:
            self.found.append(Occurrence(span, symbol, declares))

    # --- statements ---------------------------------------------------------------------------------------------------

    def _block(self, block: ast.Block) -> None:
        self.block, self.decl = block, self._declared(block)
        if isinstance(block.name, ast.Ident):
            self.add(self.table.block(self.scope, block.name.name), block.name.span, True)
        for statement in block.body:
            match statement:
                case ast.Assign(set=True):
                    self._set(statement)
                case ast.Assign():
                    self._attribute(statement)
                case ast.RuleStmt():
                    self._rule(statement)
                case ast.FieldDecl():
                    self._field(statement, "field")
                case ast.Block():
                    self._sub_block(statement)

    def _declared(self, block: ast.Block) -> Decl | None:
        if isinstance(block.name, ast.Ident):
            return self.scope.decls.get(block.name.name)
        return next((d for d in self.scope.unnamed if d.block is block), None)

    def _attribute(self, statement: ast.Assign) -> None:
        assert self.block is not None
        name = statement.path[0]
        known = KINDS[self.block.kind.name].attributes.get(name.name)
        if known is None:
            if isinstance(statement.value, ast.Null) and self.decl is not None:
                self.add(self.table.rule(self.decl, name.name), name.span)
            self.value(statement.value, _ANYTHING)
        elif self.block.kind.name == "moved" and name.name == "to":
            self._path(statement.value)
        else:
            self.value(statement.value, known.type, name.name)
        if statement.per is not None:
            self.expression(statement.per)

    def _set(self, statement: ast.Assign) -> None:
        assert self.block is not None
        if self.block.kind.name != "variant":
            self.value(statement.value, _EXPRESSION)
            return
        self.value(statement.value, self._changed(statement.path))

    def _changed(self, path: Path) -> AttrType:
        """The names on the left of a variant's `set`, and the type of what is set."""
        if path[0].name == "param" and len(path) > 1:
            self.add(self.table.params.get((id(self.scope), path[1].name)), path[1].span)
            return _ANYTHING
        found = self.resolve(path)
        if found is None or not found.rest:
            return _ANYTHING
        decl, rest = found.decl, found.rest
        attribute = KINDS[decl.kind].attributes.get(rest[0].name)
        if len(rest) == 1:
            if attribute is not None:
                return attribute.type
            self.add(self.table.rule(decl, rest[0].name), rest[0].span)
        elif rest[0].name == "take":
            self.resolve(rest[1:])
        elif rest[0].name == "classes":
            self.add(self.table.class_(decl, rest[1].name), rest[1].span)
        return _ANYTHING

    def _rule(self, statement: ast.RuleStmt) -> None:
        if statement.name is not None and self.decl is not None and statement.verb != "expect":
            self.add(self.table.rule(self.decl, statement.name.name), statement.name.span, True)
        self.expression(statement.condition)

    def _field(self, statement: ast.FieldDecl, group: What) -> None:
        if self.decl is not None:
            found = self.table.field(self.decl, group, statement.name.name)
            self.add(found, statement.name.span, True)
        type_ = statement.type
        symbol = self.table.block(self.scope, type_.base)
        if symbol is not None and symbol.kind == "schema":
            start = type_.span.start
            self.add(symbol, Span(type_.span.file, start, start + len(type_.base)))

    def _sub_block(self, block: ast.Block) -> None:
        assert self.block is not None
        name = block.kind.name
        known = KINDS[self.block.kind.name].attributes.get(name)
        for statement in block.body:
            match statement:
                case ast.FieldDecl() if name in ("input", "output"):
                    self._field(statement, "input" if name == "input" else "output")
                case ast.Assign() if name == "take":
                    self.resolve(statement.path)
                    self.value(statement.value, _ANYTHING)
                case ast.Assign() if name == "classes":
                    if self.decl is not None:
                        found = self.table.class_(self.decl, statement.path[0].name)
                        self.add(found, statement.path[0].span, True)
                    self._rules_named(statement.value)
                case ast.Assign() if name == "map":
                    self._mapped(statement.path[0], statement.value)
                case ast.Assign() if known is not None:
                    self.value(statement.value, _field_type(known.type, statement.path[0].name))

    def _rules_named(self, value: ast.Expr) -> None:
        """Rules that a class of a task stands for: of the steps whose refused rows it learns from."""
        steps = self._learnt()
        for item in value.items if isinstance(value, ast.ListExpr) else (value,):
            if isinstance(item, ast.Name):
                found = (self.table.rule(step, item.name) for step in steps)
                self.add(next((s for s in found if s is not None), None), item.span)

    def _learnt(self) -> list[Decl]:
        for decl in self.table.bases(self.decl) if self.decl is not None else []:
            placed = decl.body.attrs.get("learn")
            if placed is not None:
                value = placed.stmt.value
                items = value.items if isinstance(value, ast.ListExpr) else (value,)
                paths = [p for i in items if (p := path_of(i))]
                found = [find(p, placed.scope) for p in paths]
                return [f.decl for f in found if isinstance(f, Found)]
        return []

    def _mapped(self, name: ast.Ident, value: ast.Expr) -> None:
        prompt = self.table.reference(self.decl, "prompt") if self.decl is not None else None
        if prompt is not None:
            self.add(self.table.field(prompt, "input", name.name), name.span)
        self.expression(value)

    # --- values -------------------------------------------------------------------------------------------------------

    def value(self, expr: ast.Expr, type_: AttrType, attribute: str = "") -> None:
        """The names in a value that is read under a type."""
        kinds = {t.name for t in type_.alternatives}
        match expr:
            case ast.ListExpr(items=items):
                inner = type_.of[0] if type_.name == "list" else type_
                for item in items:
                    self.value(item, inner, attribute)
            case ast.Record(fields=parts):
                for part in parts:
                    if attribute == "map":
                        self._mapped(part.name, part.value)
                    else:
                        self.value(part.value, _field_type(type_, part.name.name))
            case ast.Name() | ast.Member() if self._is_param(expr):
                self.expression(expr)
            case ast.Name() | ast.Member() if (_of(type_) | kinds) & _REFERENCES:
                self._path(expr)
            case ast.Text(form="template"):
                self._template(expr)
            case ast.Call(args=args) if not (_of(type_) | kinds) & _EXPRESSIONS:
                for argument in args:  # a method: `leakage(suite)`, or `any(…)` of a variant
                    self.value(argument.value, AttrType("stream"))
            case _ if (_of(type_) | kinds) & _EXPRESSIONS:
                self.expression(expr)

    def _is_param(self, expr: ast.Expr) -> bool:
        path = path_of(expr)
        return path is not None and len(path) == 2 and path[0].name == "param"

    def _path(self, expr: ast.Expr) -> None:
        path = path_of(expr)
        if path is not None:
            self.resolve(path)

    def resolve(self, path: Path) -> Found | None:
        """The declaration of a path, its parts noted: an import, a block, the source whose rows are meant."""
        found = find(path, self.scope)
        if not isinstance(found, Found):
            self.add(self.table.aliases.get((id(self.scope), path[0].name)), path[0].span)
            return None
        at = 0
        if self.scope.decls.get(path[0].name) is not found.decl:
            self.add(self.table.aliases.get((id(self.scope), path[0].name)), path[0].span)
            at = 1
        self.add(self.table.block(found.decl.scope, found.decl.name), path[at].span)
        rest = found.rest
        if rest and rest[0].name in KINDS[found.decl.kind].ports:
            rest = rest[1:]
        if rest and KINDS[found.decl.kind].stream:
            self._origin(rest, found)
        return found

    def _origin(self, rest: Path, found: Found) -> None:
        for scope in (self.scope, found.decl.scope):
            source = find(rest, scope)
            if isinstance(source, Found) and source.decl.kind == "source":
                self.add(self.table.block(source.decl.scope, source.decl.name), rest[-1].span)
                return

    def expression(self, expr: ast.Expr) -> None:
        """The names in an expression: parameters, fields of the answer, rules, and streams in promises."""
        for node in every(expr):
            match node:
                case ast.Member(base=ast.Name(name=base), name=name):
                    self._member(base, name)
                case ast.Call(function=ast.Ident(name=called), args=args) if called in AGGREGATES and self._promises:
                    for argument in args:
                        self._path(argument.value)
                case ast.Text(form="template"):
                    self._template(node)

    @property
    def _promises(self) -> bool:
        return self.block is not None and self.block.kind.name == "check"

    def _member(self, base: str, name: ast.Ident) -> None:
        if base == "param":
            self.add(self.table.params.get((id(self.scope), name.name)), name.span)
        elif base == "out" and self.decl is not None:
            prompt = self.table.reference(self.decl, "prompt")
            if prompt is not None:
                self.add(self.table.field(prompt, "output", name.name), name.span)
        elif base == "dropped" and self.decl is not None:
            step = self.table.reference(self.decl, "step") or self.decl
            self.add(self.table.rule(step, name.name), name.span)

    def _template(self, text: ast.Text) -> None:
        if self.decl is None or self.decl.kind != "prompt":
            return
        for name, span in variables(text):
            self.add(self.table.field(self.decl, "input", name), span)


def _of(type_: AttrType) -> set[str]:
    """Names of the types of the elements, where a list is one alternative."""
    return {inner.name for t in type_.alternatives if t.name == "list" for inner in t.of[0].alternatives}


def _field_type(type_: AttrType, name: str) -> AttrType:
    for one in type_.alternatives:
        for part in one.fields:
            if part.name == name:
                return part.type
    return _ANYTHING


# --- tree queries ----------------------------------------------------------------------------------------------------


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
