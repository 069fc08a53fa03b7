"""What a recipe means: names resolved, parameters and variants applied, defaults filled in, every value with its place.

Made by `check`, read by `lower`, `keys`, `estimate` and `diff`. Expressions are already the typed trees of the plan
(`alchemist_runtime.schema.plan.Expr`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from alchemist_runtime.schema.attributes import Kind
from alchemist_runtime.schema.kinds import KINDS

from alchemist_dsl.source import SourceFile, Span

# --- values -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Qty:
    """A number with its unit kind (`syntax.ast.QuantityKind`), exact, in base units. `per`: prices, as (kind,
    count).
    """

    span: Span
    kind: str
    value: Fraction
    text: str
    unit: str | None = None
    per: tuple[str, Fraction] | None = None


@dataclass(frozen=True, slots=True)
class TextV:
    span: Span
    value: str


@dataclass(frozen=True, slots=True)
class BoolV:
    span: Span
    value: bool


@dataclass(frozen=True, slots=True)
class NullV:
    span: Span


@dataclass(frozen=True, slots=True)
class ChoiceV:
    """One of the names an attribute takes: `cosine`, `replace`, `all`."""

    span: Span
    name: str


@dataclass(frozen=True, slots=True)
class RefV:
    """A declaration, or a port of one: `clean`, `clean.dropped`, `pool.evol`. `target` is a key of Program.blocks."""

    span: Span
    target: str
    port: Literal["rows", "dropped", "trace", "rest", "train", "eval"] = "rows"
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class TemplateV:
    """A jinja template. `reads` are its undeclared variables; places map through `line_offsets` as in `ast.Text`.
    `taken`: where the text does not stand in the recipe, what it was taken from, as `("file", path)` or `("training",
    name)`.
    """

    span: Span
    text: str
    reads: tuple[str, ...]
    taken: tuple[Literal["file", "training"], str] | None = None


@dataclass(frozen=True, slots=True)
class IntervalV:
    span: Span
    low: Qty
    high: Qty


@dataclass(frozen=True, slots=True)
class MethodV:
    """A component with its arguments: `minhash(ngram = 5)`. `args` has every parameter, defaults filled in, in plan
    form (ints and bools as JSON, exact numbers as strings); `given` names those that were written."""

    span: Span
    name: str
    args: dict[str, Any]
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ExprV:
    """A typed expression: `tree` as in the plan, `type` a column type, `reads` the columns that it reads."""

    span: Span
    tree: list[Any]
    type: str
    reads: frozenset[str]
    text: str  # as written


@dataclass(frozen=True, slots=True)
class SelectV:
    """`select = AMOUNT [per COLUMN]` with `best` joined in. One of `share`, `count`, `where`."""

    span: Span
    share: Fraction | None = None
    count: int | None = None
    where: ExprV | None = None
    per: tuple[str, ...] = ()
    best: tuple[ExprV, ...] = ()


@dataclass(frozen=True, slots=True)
class ListV:
    span: Span
    items: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class RecordV:
    span: Span
    fields: dict[str, Value]
    places: dict[str, Span] = field(default_factory=dict, compare=False)  # of the fields' names


Value = (
    Qty | TextV | BoolV | NullV | ChoiceV | RefV | TemplateV | IntervalV | MethodV | ExprV | SelectV | ListV | RecordV
)


@dataclass(frozen=True, slots=True)
class Attr:
    """An attribute with its value. `origin`: written | default | param:NAME | variant:NAME | extends:NAME."""

    name: str
    value: Value
    name_span: Span
    origin: str = "written"


@dataclass(frozen=True, slots=True)
class SetV:
    """`set column = …` of a step."""

    column: str
    expr: ExprV
    span: Span


@dataclass(frozen=True, slots=True)
class RuleV:
    verb: Literal["keep", "drop", "expect"]
    name: str  # its `as` name, else its text
    expr: ExprV
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class FieldV:
    name: str
    type: str  # column type, canonical text
    span: Span


@dataclass(frozen=True, slots=True)
class EntryV:
    """An entry of `take`: a stream and its amount. `amount` as in plan.Take; the value in base units."""

    name: str
    stream: RefV
    amount: Literal["share", "parts", "rest", "rows", "tokens", "all", "multiplier"]
    value: Fraction | None
    span: Span
    missing: bool = False


@dataclass(frozen=True, slots=True)
class ClassV:
    """A class of a multiple-choice task."""

    name: str
    rules: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class RowSchema:
    """Columns of a stream. `open`: more columns may be there that nobody knows before the data is read."""

    columns: dict[str, str]
    open: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """A declaration after all checks. `name` is its key in Program.blocks: "clean", or "alchemy.relabel" for an
    import's.
    """

    kind: str
    name: str
    span: Span
    name_span: Span
    doc: str | None = None
    attrs: dict[str, Attr] = field(default_factory=dict)  # sub-blocks price, split … are RecordV attributes
    inputs: tuple[RefV, ...] = ()  # the streams that it reads, in the order in which they are written; see `roles`
    roles: tuple[str, ...] = ()  # role of each input, as in plan.Edge.role
    sets: tuple[SetV, ...] = ()
    rules: tuple[RuleV, ...] = ()
    fields: tuple[FieldV, ...] = ()  # of a schema
    input_fields: tuple[FieldV, ...] = ()  # of a prompt
    output_fields: tuple[FieldV, ...] = ()
    prompt_inputs: dict[str, ExprV] = field(
        default_factory=dict
    )  # teacher steps: prompt input -> expression over the row
    entries: tuple[EntryV, ...] = ()  # of a mixture
    classes: tuple[ClassV, ...] = ()  # of a task
    standard_task: str | None = None  # evolution | filtering | review, decided by the port
    poisoned: bool = False  # an error was reported in it; what derives from it stays silent

    @property
    def declared(self) -> Kind:
        """What its kind declares."""
        return KINDS[self.kind]

    def word(self, name: str) -> str:
        """The name of the choice that an attribute is; empty where it is none."""
        value = self.get(name)
        return value.name if isinstance(value, ChoiceV) else ""

    def streams(self, *roles: str) -> list[RefV]:
        """The streams that it reads in these roles, in order."""
        return [r for r, role in zip(self.inputs, self.roles, strict=True) if role in roles]

    def get(self, name: str) -> Value | None:
        """Value of an attribute, None where it is neither written nor defaulted, or null."""
        attr = self.attrs.get(name)
        return None if attr is None or isinstance(attr.value, NullV) else attr.value


@dataclass(frozen=True, slots=True)
class ParamValue:
    name: str
    type: str
    value: Value
    origin: str  # default | set | file | environment | variant
    text: str  # canonical text of the value
    span: Span


@dataclass(frozen=True, slots=True)
class ImportedFile:
    path: str  # "std:alchemy" or relative to the project
    alias: str
    digest: str


@dataclass(frozen=True, slots=True)
class Program:
    """A checked recipe with everything that it imports."""

    file: SourceFile
    files: dict[str, SourceFile]  # by path: the recipe's own and the imported ones
    edition: int
    imports: tuple[ImportedFile, ...]
    params: dict[str, ParamValue]
    blocks: dict[str, Block]  # own blocks in order of declaration, then imported ones
    schemas: dict[tuple[str, str], RowSchema]  # (block, port)
    #: Digest -> text of every template that stands in an expression as ["template", DIGEST, NAMES].
    texts: dict[str, str] = field(default_factory=dict)
    variants: tuple[str, ...] = ()  # runs of its variants that between them read every value
    crowded: frozenset[str] = frozenset()  # variants with more runs than are named there
    variant: str | None = None

    def of(self, *kinds: str) -> list[Block]:
        """The blocks of these kinds, in order."""
        return [b for b in self.blocks.values() if b.kind in kinds]

    @property
    def recipe(self) -> Block | None:
        return next(iter(self.of("recipe")), None)
