"""Where names live: declarations of a file, its imports and parameters, and the merged statements of a block."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from alchemist_dsl import ir
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

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
