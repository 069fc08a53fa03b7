"""Resolves names: declarations, members of imports, ports and origins of streams."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from alchemist_runtime.schema.kinds import KINDS

from alchemist_dsl import ir
from alchemist_dsl.checker.problems import Problems, article, did_you_mean, either, listed
from alchemist_dsl.diagnostics.model import Edit, Label, near
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

Path = Sequence[ast.Ident]


@dataclass(frozen=True, slots=True)
class Found:
    """A declaration, and what follows its name: a port, or the name of a source."""

    decl: Decl
    rest: tuple[ast.Ident, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """Nothing is declared here. `alias`: the import whose member was asked for."""

    ident: ast.Ident
    scope: Scope
    alias: str | None = None
    silent: bool = False  # something that was reported already may have declared it
    alone: bool = False  # the name of an import stands alone
    dotted: bool = False  # `x` of `x.y`: it was meant as an import or a step


def path_of(expr: ast.Expr) -> tuple[ast.Ident, ...] | None:
    """The names of `a.b.c`; None for other expressions."""
    parts: list[ast.Ident] = []
    while isinstance(expr, ast.Member):
        parts.append(expr.name)
        expr = expr.base
    if not isinstance(expr, ast.Name):
        return None
    parts.append(ast.Ident(expr.span, expr.name))
    return tuple(reversed(parts))


def span_of(path: Path) -> Span:
    return path[0].span.to(path[-1].span)


def dotted(path: Path) -> str:
    return ".".join(i.name for i in path)


def find(path: Path, scope: Scope) -> Found | Missing:
    """The declaration that a path begins with. Marks the import that it goes through as used."""
    first = path[0]
    decl = scope.decls.get(first.name)
    if decl is not None:
        return Found(decl, tuple(path[1:]))
    alias = scope.aliases.get(first.name)
    if alias is None:
        lost = first.name in scope.lost or scope.lost_unnamed
        return Missing(first, scope, silent=lost, dotted=len(path) > 1)
    alias.used = True
    if alias.scope is None:
        return Missing(first, scope, silent=True)
    if len(path) == 1:
        return Missing(first, alias.scope, first.name, alone=True)
    member = alias.scope.decls.get(path[1].name)
    if member is not None:
        return Found(member, tuple(path[2:]))
    lost = path[1].name in alias.scope.lost or alias.scope.lost_unnamed
    return Missing(path[1], alias.scope, first.name, silent=lost)


def report_missing(missing: Missing, kinds: Iterable[str], problems: Problems) -> None:
    """Say that a name is unknown, with near names of the kinds that may stand here."""
    if missing.silent:
        return
    name, span = missing.ident.name, missing.ident.span
    of = set(kinds)
    candidates = {d.name: d for d in missing.scope.decls.values() if not of or d.kind in of}
    if missing.alone:
        members = either(list(candidates)[:3])
        problems.add(
            "A103",
            f"`{name}` is an import, not a block",
            span,
            help=f"write one of its blocks, for example `{name}.{next(iter(candidates))}`" if candidates else None,
            note=f"it has {members}" if members else None,
        )
    elif missing.alias is not None:
        text, edit = did_you_mean(name, candidates, span)
        problems.add(
            "A109",
            f"`{missing.alias}` ({missing.scope.path}) has no `{name}`",
            span,
            help=text,
            edit=edit,
            note=None if text or not candidates else "it has " + listed(list(candidates)[:8]),
        )
    else:
        _unknown(missing, candidates, of, problems)


def _unknown(missing: Missing, candidates: dict[str, Decl], kinds: set[str], problems: Problems) -> None:
    name, span = missing.ident.name, missing.ident.span
    found = near(name, list(candidates), 3)
    for alias, imported in missing.scope.aliases.items():
        if not found and imported.scope is not None and name in imported.scope.decls:
            member = imported.scope.decls[name]
            if not kinds or member.kind in kinds:
                problems.add("A103", f"nothing is called `{name}`", span, help=f"write `{alias}.{name}`")
                return
    labels: tuple[Label, ...] = ()
    if len(found) == 1:
        target = candidates[found[0]].block
        place = target.header if target.name is None else target.name.span
        labels = (Label(place, "did you mean this one?"),)
    text, edit = did_you_mean(name, found, span)
    if missing.dotted and not found:
        if not problems.first(f"import {missing.scope.path} {name}"):
            return
        aliases = near(name, list(missing.scope.aliases), 3)
        text = (
            f"did you mean {either(aliases)}?" if aliases else f'is an import missing? `import "std:{name}" as {name}`'
        )
        edit = Edit(span, aliases[0]) if len(aliases) == 1 else None
    if len(found) == 1:
        text = f"write `{found[0]}`"
    if not found and name in KINDS:
        text = f"`{name}` is a kind of block; write the name of one"
    problems.add("A103", f"nothing is called `{name}`", span, labels=labels, help=text, edit=edit)


def wrong_kind(what: str, wanted: Iterable[str], found: Decl, span: Span, problems: Problems) -> None:
    """Say that a name stands for a block of another kind."""
    kinds = list(wanted)
    target = found.block
    place = target.header if target.name is None else target.name.span
    candidates = [n for n, d in found.scope.decls.items() if d.kind in kinds]
    close = near(found.name, candidates, 3)
    need = article(kinds[0]) if len(kinds) == 1 else "a stream of rows"
    problems.add(
        "A110",
        f"`{what}` needs {need}, but `{found.name}` is {article(found.kind)}",
        span,
        labels=(Label(place, "declared here"),),
        help=(
            f"did you mean {either(close)}?"
            if close
            else (f"there is {either(candidates)}" if 0 < len(candidates) <= 3 else None)
        ),
    )


def stream_kinds() -> tuple[str, ...]:
    """Kinds whose names may stand where a stream may."""
    return tuple(name for name, kind in KINDS.items() if kind.stream)


# --- scope -----------------------------------------------------------------------------------------------------------

S = TypeVar("S", bound=ast.Statement, covariant=True)


@dataclass(slots=True)
class Place:
    """Which attribute a value belongs to: for messages."""

    name: str
    span: Span
    per: ast.Expr | None = None
    from_param: str | None = None
    default: bool = False


@dataclass(frozen=True, slots=True)
class Placed(Generic[S]):
    """A statement with the file whose names it uses and how it came here: written, variant:NAME, extends:NAME."""

    stmt: S
    scope: Scope
    origin: str = "written"


@dataclass(slots=True)
class Body:
    """The statements of a block by what they set, after merging."""

    attrs: dict[str, Placed[ast.Assign]] = field(default_factory=dict)
    blocks: dict[str, dict[str, Placed[ast.Assign] | Placed[ast.FieldDecl]]] = field(default_factory=dict)
    sets: dict[str, Placed[ast.Assign]] = field(default_factory=dict)
    rules: list[Placed[ast.RuleStmt]] = field(default_factory=list)
    fields: dict[str, Placed[ast.FieldDecl]] = field(default_factory=dict)
    block_spans: dict[str, ast.Block] = field(default_factory=dict)
    taken: set[tuple[str, str]] = field(default_factory=set)  # entries that a null has taken away
    bad: tuple[ast.BadStatement, ...] = ()
    base_lost: bool = False  # the block that it extends is not known
    wrong: bool = False  # an error was reported while its statements were collected

    @property
    def lost(self) -> bool:
        """Whether something of it could not be read, so that what seems to be missing may be there."""
        return bool(self.bad) or self.base_lost


@dataclass(slots=True)
class Decl:
    """A named block of a file. `key` is its name in `ir.Program.blocks`."""

    key: str
    kind: str
    name: str
    block: ast.Block
    scope: Scope
    body: Body
    origin: str = "written"
    bad: bool = False  # unknown kind, or a second block of the same name


@dataclass(slots=True)
class Param:
    """A parameter with the value that holds: its default, or one from outside."""

    name: str
    decl: ast.ParamDecl
    scope: Scope
    expr: ast.Expr | None = None  # None: no value, or one that was reported
    value: ir.Value | None = None
    origin: str = "default"
    any_choice: str | None = None


@dataclass(slots=True)
class Alias:
    """`import "…" as NAME`. `scope` is None where the file could not be read (already reported)."""

    name: str
    stmt: ast.Import
    scope: Scope | None
    used: bool = False


@dataclass(slots=True, eq=False)
class Scope:
    """The names of one recipe file, together with those of the file that it extends."""

    path: str
    prefix: str = ""  # "alchemy." before the names of an import's blocks in the program
    edition: int = 2026
    files: list[str] = field(default_factory=list)  # what it extends, base first, and itself
    aliases: dict[str, Alias] = field(default_factory=dict)
    params: dict[str, Param] = field(default_factory=dict)
    decls: dict[str, Decl] = field(default_factory=dict)
    unnamed: list[Decl] = field(default_factory=list)  # recipe, test, moved, and second ones of a name
    lost: set[str] = field(default_factory=set)  # names of items that did not parse
    lost_unnamed: bool = False
    base_lost: bool = False  # the file that it extends could not be read

    def all(self) -> list[Decl]:
        """Every block of the file in the order of the text."""
        found = [*self.decls.values(), *self.unnamed]
        return sorted(found, key=lambda d: (d.block.span.file != self.path, d.block.span.start))
