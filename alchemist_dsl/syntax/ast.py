"""The syntax tree: exactly what was written, every node with its span, nothing resolved. Frozen."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal as Lit

from alchemist_dsl.source import Span


@dataclass(frozen=True, slots=True)
class Ident:
    """A name. `quoted`: it stands in quotes, as a header or a parameter of an address may."""

    span: Span
    name: str
    quoted: bool = False


# --- values and expressions (one grammar for both) --------------------------------------------------------------------

#: A name of `units.UNITS`; "int" and "real" have no unit. A price is written as money `per` a count (statement level).
QuantityKind = str


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit. `value` is exact and in base units: 5% = 1/20, 2k = 2000, 15m = 900 (seconds), 1MiB =
    1048576 (bytes), rates per second. `unit` of a rate is what is counted: "calls" (bare `500/min`) or "tokens". `text`
    as written.
    """

    span: Span
    kind: QuantityKind
    value: Fraction
    text: str
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A string, a raw text block or a template. `value` is unescaped or dedented."""

    span: Span
    value: str
    form: Lit["string", "block", "template"] = "string"
    #: For blocks: offset in the file of the first character of every line of `value` (what the dedent left), so that a
    #: place inside a template maps back exactly.
    line_offsets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Bool:
    span: Span
    value: bool


@dataclass(frozen=True, slots=True)
class Null:
    span: Span


@dataclass(frozen=True, slots=True)
class Name:
    """A bare name: a reference, a column, an enum value, a type of amount (`all`, `rest`)."""

    span: Span
    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """`base.name`: a member of an import, a port, a field, `param.x`, `out.field`."""

    span: Span
    base: Expr
    name: Ident


@dataclass(frozen=True, slots=True)
class Index:
    """`base[index]`: an element, or a column whose name is reserved: `row["keep"]`."""

    span: Span
    base: Expr
    index: Expr


@dataclass(frozen=True, slots=True)
class Argument:
    span: Span
    name: Ident | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Call:
    span: Span
    function: Ident
    args: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class ListExpr:
    span: Span
    items: tuple[Expr, ...]
    trailing_comma: bool = False


@dataclass(frozen=True, slots=True)
class RecordField:
    span: Span
    name: Ident
    value: Expr


@dataclass(frozen=True, slots=True)
class Record:
    span: Span
    fields: tuple[RecordField, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    span: Span
    low: Expr
    high: Expr


@dataclass(frozen=True, slots=True)
class Unary:
    span: Span
    op: Lit["not", "-"]
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic, comparison, logic, membership. `op` of `not in` is "not in"."""

    span: Span
    op: Lit["+", "-", "*", "/", "==", "!=", "<", "<=", ">", ">=", "and", "or", "in", "not in"]
    left: Expr
    right: Expr
    op_span: Span


@dataclass(frozen=True, slots=True)
class BadExpr:
    """A value that did not parse; already reported, silences what derives from it."""

    span: Span


Expr = (
    Quantity
    | Text
    | Bool
    | Null
    | Name
    | Member
    | Index
    | Call
    | ListExpr
    | Record
    | Interval
    | Unary
    | Binary
    | BadExpr
)

# --- types ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TypeExpr:
    """`text`, `int(0..10)`, `list<text>`, `text?`, `enum("a","b")`, a schema's name. `text` is the canonical
    spelling.
    """

    span: Span
    text: str
    base: str
    args: tuple[TypeExpr, ...] = ()  # of list<T>
    values: tuple[str, ...] = ()  # of enum
    low: Fraction | None = None
    high: Fraction | None = None
    nullable: bool = False


# --- statements -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assign:
    """`path = value [per …]`; `set` marks the form that starts with `set`."""

    span: Span
    path: tuple[Ident, ...]
    value: Expr
    per: Expr | None = None  # a Name or Member (column), or a Quantity (count)
    set: bool = False
    doc: str | None = None


@dataclass(frozen=True, slots=True)
class FieldDecl:
    span: Span
    name: Ident
    type: TypeExpr
    default: Expr | None = None
    doc: str | None = None


@dataclass(frozen=True, slots=True)
class RuleStmt:
    span: Span
    verb: Lit["keep", "drop", "expect"]
    condition: Expr
    name: Ident | None = None
    doc: str | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """`kind [name] { … }`. A test's name is a Text. `header` spans kind and name."""

    span: Span
    header: Span
    kind: Ident
    name: Ident | Text | None
    body: tuple[Statement, ...]
    doc: str | None = None


@dataclass(frozen=True, slots=True)
class BadStatement:
    """A line that did not parse; already reported. `path` is what could be read of its left side."""

    span: Span
    path: tuple[Ident, ...] = ()


Statement = Assign | FieldDecl | RuleStmt | Block | BadStatement

# --- file -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Edition:
    span: Span
    year: int


@dataclass(frozen=True, slots=True)
class Import:
    span: Span
    path: Text
    alias: Ident


@dataclass(frozen=True, slots=True)
class ParamDecl:
    span: Span
    name: Ident
    type: TypeExpr
    default: Expr | None = None
    doc: str | None = None


@dataclass(frozen=True, slots=True)
class BadItem:
    """A top-level item that did not parse at all; already reported. Names that it may have declared are not
    "unknown".
    """

    span: Span
    name: str | None = None
    kind: str | None = None


Item = Import | ParamDecl | Block | BadItem


@dataclass(frozen=True, slots=True)
class Comment:
    """`# …` or `## …` with its place; the formatter puts it back."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class File:
    span: Span
    edition: Edition | None
    items: tuple[Item, ...]
    comments: tuple[Comment, ...] = ()
