"""What a kind of block declares: its attributes with their types, units, defaults and what they affect."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, replace
from fractions import Fraction
from inspect import get_annotations
from typing import Any, Final, Literal, TypeVar, cast, dataclass_transform

# --- units -----------------------------------------------------------------------------------------------------------

_NUMBER: Final = r"[0-9]+(_[0-9]+)*(\.[0-9]+)?"
_COUNT: Final = f"{_NUMBER}[kMB]?"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of amounts, or `int` and `real`, which have none."""

    noun: str  # what an amount of it is, in a sentence
    example: str
    #: How a bare number is written with it; empty where a number alone does not say what is meant.
    form: str = ""
    pattern: str = ""  # of an amount as a recipe writes it, where an attribute takes it
    doc: str = ""  # what it measures
    whole: bool = False
    counts: bool = False  # written as a word behind the number: `500 rows`
    param: bool = False  # a parameter may be declared with it


def _counting(name: str, doc: str = "", *, attribute: bool = False, param: bool = False, example: str) -> Unit:
    pattern = f"{_COUNT} {name}?" if attribute else ""
    noun = f"a number of {'characters' if name == 'chars' else name}"
    form = f"{{}} {name}" if attribute else ""
    return Unit(noun, example, form, pattern, doc or name, whole=True, counts=True, param=param)


UNITS: Final[dict[str, Unit]] = {
    "int": Unit("a whole number", "2", whole=True, param=True),
    "real": Unit("a number", "0.5", param=True),
    "percent": Unit("a share", "5%", "{}%", f"{_NUMBER}%", "a share", param=True),
    "multiplier": Unit("a multiplier", "3x", "{}x", f"{_NUMBER}x", "times its own size", param=True),
    "parts": Unit("a weight", "3 parts", doc="a weight beside the other parts"),
    "money": Unit("money", "$20", "${}", rf"\${_COUNT}", "dollars", param=True),
    "price": Unit(
        "a price", "$30 per 1M tokens", "${} per 1M tokens", rf"\${_COUNT} per {_COUNT} tokens", "dollars per tokens"
    ),
    "bytes": Unit("a size in bytes", "512MiB", "", f"{_NUMBER}[KMGT]i?B", "bytes", whole=True, param=True),
    "duration": Unit("a duration", "90s", "{}s", f"{_NUMBER}(ms|s|m|h|d)", "seconds", param=True),
    "rate": Unit("a rate", "500/min", "{}/min", f"{_COUNT}( tokens| calls)?/(s|min|h)", param=True),
    "rows": _counting("rows", attribute=True, param=True, example="500 rows"),
    "packs": _counting("packs", "packs of rows", attribute=True, param=True, example="16 packs"),
    "tokens": _counting("tokens", attribute=True, param=True, example="2k tokens"),
    "chars": _counting("chars", "characters", example="800 chars"),
    "words": _counting("words", example="60 words"),
    "lines": _counting("lines", example="12 lines"),
    "steps": _counting("steps", "optimiser steps", attribute=True, example="100 steps"),
    "calls": _counting("calls", "teacher calls", example="4 calls"),
}
#: Words that may stand behind a number.
COUNTS: Final = tuple(name for name, unit in UNITS.items() if unit.counts)
#: Sizes and times by the letters that stand behind a number, in bytes and in seconds.
BYTES: Final = {f"{p}{i}B": (1024 if i else 1000) ** n for i in ("", "i") for n, p in enumerate("KMGT", 1)}
DURATIONS: Final = {
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}


@dataclass(frozen=True, slots=True)
class Amount:
    """An exact number in base units: 5% is 1/20, 2k rows 2000, 15m 900 seconds, a rate is per second.

    `kind`: a name of `UNITS`. `unit`: what a rate counts, `calls` or `tokens`."""

    kind: str
    value: Fraction
    unit: str | None = None

    def __str__(self) -> str:
        """As a recipe writes it."""
        match self.kind:
            case "percent":
                return f"{_decimal(self.value * 100)}%"
            case "duration":
                name = next(n for n in ("h", "m", "s", "ms") if (self.value / DURATIONS[n]).denominator == 1)
                return f"{_decimal(self.value / DURATIONS[name])}{name}"
            case "bytes" if self.value:
                name = next((n for n in ("GB", "GiB", "MB", "MiB") if self.value % BYTES[n] == 0), "")
                return f"{self.value / BYTES.get(name, 1)}{name}"
            case _:
                return (UNITS[self.kind].form or "{}").format(_decimal(self.value))


def _decimal(number: Fraction) -> str:
    return str(number) if number.denominator == 1 else f"{float(number):g}"


def decimal(value: Fraction) -> str:
    """A real or a sum of money: as a decimal where there is a finite one, else in lowest terms."""
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return str(value)
    places = max(twos, fives)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    text = digits if places == 0 else f"{digits[:-places]}.{digits[-places:]}"
    return f"-{text}" if value < 0 else text


# --- attributes ------------------------------------------------------------------------------------------------------

Affects = Literal["data", "cost", "speed", "doc"]
C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class AttrType:
    """A type, or alternatives (`name` is "alt"), and the value of `ir` that it becomes:

    text -> TextV · bool -> BoolV · int, real and the units of `units.py` -> Qty (in base units) · choice -> ChoiceV ·
    template -> TemplateV · expr, condition -> ExprV · select -> SelectV · ref, stream -> RefV · method -> MethodV ·
    list -> ListV (a single value is a list of one) · record -> RecordV
    """

    name: str
    of: tuple[AttrType, ...] = ()  # alternatives, or the element of a list
    names: tuple[str, ...] = ()  # of a choice; kinds of a ref
    low: Fraction | None = None
    high: Fraction | None = None
    fields: tuple[Field, ...] = ()  # of a record
    methods: tuple[Signature, ...] = ()
    family: str | None = None  # of a method: where its components live

    @property
    def alternatives(self) -> tuple[AttrType, ...]:
        return self.of if self.name == "alt" else (self,)

    def __or__(self, other: AttrType) -> AttrType:
        """The alternatives of both; methods side by side are one type."""
        *rest, last = self.alternatives
        if last.methods and other.methods:
            both = AttrType("method", methods=last.methods + other.methods)
            return AttrType("alt", (*rest, both)) if rest else both
        return AttrType("alt", self.alternatives + other.alternatives)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record type, or a parameter of a method."""

    name: str
    type: AttrType
    default: Default = None


@dataclass(frozen=True, slots=True)
class Signature:
    """A method that the language itself declares: `cosine(warmup: percent = 0%)`."""

    name: str
    params: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A method with the arguments that a default names."""

    name: str
    args: tuple[tuple[str, Amount], ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{n} = {v}' for n, v in self.args)})"


#: A text, or a name where the type has such a choice; a tuple is a list, of columns where expressions are expected.
Default = bool | str | Amount | Call | tuple["Default", ...] | None


TEXT, TEMPLATE, BOOL, NAME = (AttrType(n) for n in ("text", "template", "bool", "name"))
EXPR, SELECT, STREAM = (AttrType(n) for n in ("expr", "select", "stream"))
PERCENT, ROWS, PACKS, TOKENS, STEPS, MULTIPLIER, MONEY, PRICE, DURATION, RATE = (
    AttrType(n)
    for n in ("percent", "rows", "packs", "tokens", "steps", "multiplier", "money", "price", "duration", "rate")
)


def integer(low: int | None = None, high: int | None = None) -> AttrType:
    return AttrType("int", low=_bound(low), high=_bound(high))


def real(low: int | None = None, high: int | None = None) -> AttrType:
    return AttrType("real", low=_bound(low), high=_bound(high))


def _bound(value: int | None) -> Fraction | None:
    return None if value is None else Fraction(value)


def choice(*names: str) -> AttrType:
    return AttrType("choice", names=names)


def ref(*kinds: str) -> AttrType:
    """The name of a block of one of these kinds; `any`, or `same` as the block itself."""
    return AttrType("ref", names=kinds)


def list_of(element: AttrType) -> AttrType:
    return AttrType("list", (element,))


def record(**fields: AttrType) -> AttrType:
    """A record of these fields; without fields, of any."""
    return AttrType("record", fields=tuple(Field(n, t) for n, t in fields.items()))


def signature(name: str, **params: tuple[AttrType, Default] | AttrType) -> AttrType:
    """A method by its parameters, each a type or a type with its default."""
    fields = tuple(Field(n, *p) if isinstance(p, tuple) else Field(n, p) for n, p in params.items())
    return AttrType("method", methods=(Signature(name, fields),))


def component(family: str) -> AttrType:
    """A component of a family, as a method with the parameters of its function."""
    return AttrType("method", family=family)


def percent(number: int) -> Amount:
    return Amount("percent", Fraction(number, 100))


def whole(number: int) -> Amount:
    return Amount("int", Fraction(number))


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a kind. `key_default`: the first published default; keys leave out for ever what equals it."""

    type: AttrType
    doc: str
    default: Default = None
    required: bool = False
    affects: Affects = "data"
    order: Literal["sequence", "set"] = "sequence"
    since: int = 2026
    key_default: Default = None
    unsupported: str | None = None  # a choice that checks and compiles, and that nothing carries out

    @property
    def frozen_default(self) -> Default:
        return self.default if self.key_default is None else self.key_default

    @property
    def _each(self) -> tuple[AttrType, ...]:
        """The alternatives of its type, of a list those of an element."""
        return self.type.of[0].alternatives if self.type.name == "list" else self.type.alternatives

    @property
    def family(self) -> str | None:
        """The family of the components that it names."""
        return next((t.family for t in self._each if t.family), None)

    @property
    def refers(self) -> bool:
        """Whether it names blocks or streams."""
        return any(t.name in ("ref", "stream") for t in self._each)

    @property
    def default_text(self) -> str | None:
        """The default as a recipe writes it; None where there is none."""
        return None if self.default is None else written(self.default, self.type)


def written(value: Default, type_: AttrType) -> str:
    """A default as a recipe writes it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case tuple():
            return f"[{', '.join(written(v, type_.of[0]) for v in value)}]"
        case str():
            return spelled(value) if is_name(value, type_) else f'"{value}"'
        case _:
            return str(value)


def is_name(value: str, type_: AttrType) -> bool:
    """Whether a default is the name of a choice or of a column, and no text."""
    return type_.name == "expr" or any(value in t.names for t in type_.alternatives)


#: Words that are not names, because they mean something in the language itself.
RESERVED: Final = frozenset(
    {"set", "keep", "drop", "expect", "as", "per", "and", "or", "not", "in", "true", "false", "null"}
)


def spelled(name: str) -> str:
    """A choice as it is written: one that is a reserved word stands in quotes, `on_long = "drop"`."""
    return f'"{name}"' if name in RESERVED else name


# --- kinds ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """`statements`: which statements beside attributes a block takes: set, keep, drop, expect, field, and sub-block
    names.
    """

    doc: str
    attributes: dict[str, Attribute]
    spec: type  # what the plan holds of a block; for kinds that become no part of a plan only their attributes
    statements: frozenset[str] = frozenset()
    blocks: tuple[str, ...] = ()  # sub-blocks that are not attributes: take, classes, input, output
    name: Literal["required", "optional", "none", "text"] = "required"
    stream: bool = False  # its name may stand where a stream may
    ports: tuple[str, ...] = ()
    root: bool = False  # built by `run` without being asked for
    sink: bool = False  # its rows leave the recipe
    reads: bool = False  # files, a dataset of the hub or a package
    writes: bool = False  # files, with an exporter
    makes_ids: bool = False  # all of its rows are new ones
    keeps: bool = False  # the rows of its ports are rows of its input as they came in
    counts: tuple[str, ...] = ()  # what a unit test of it may count; empty: it cannot be tested
    refuses: tuple[str, ...] = ()  # reasons beside its own rules under which it counts rows that it leaves out
    run: str | None = None  # what builds a node of it, "module:function" of the engine; None: nothing does
    draws: bool = False  # the seed is part of its key
    operator_version: int = 1

    @property
    def is_step(self) -> bool:
        """Whether a block becomes a node of the plan."""
        return "kind" in {f.name for f in fields(self.spec)}

    @property
    def asks(self) -> bool:
        """Whether it calls a teacher."""
        return "teacher" in self.attributes

    @property
    def changes(self) -> bool:
        """Whether its rows are those of its input with changes, or copies of them, as `mode` says."""
        return "mode" in self.attributes

    @property
    def runnable(self) -> bool:
        """Whether this version carries it out, where there is something to carry out."""
        return self.run is not None or not self.is_step


#: Every kind by its name, in the order of declaration; `kinds.KINDS` when all are declared.
DECLARED: Final[dict[str, Kind]] = {}
_DERIVED: Final = object()
#: The choice of the names in the field's annotation, `Literal["ffd", "wrapped"]`.
CHOICE: Final = AttrType("choice")


@dataclass(frozen=True, slots=True)
class _Declared:
    attribute: Attribute
    stored: Any


def attr(type_: AttrType, doc: str, default: Default = None, *, stored: Any = _DERIVED, **properties: Any) -> Any:
    """Declare an attribute in the class of a kind; with an annotation it is a field of the plan too.

    `default`: what holds where nothing is written. `stored`: what the plan holds then, where that does not follow from
    `default` and the annotation. `properties`: further fields of `Attribute`."""
    return _Declared(Attribute(type_, doc, default, **properties), stored)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def spec(cls: C) -> C:
    """Make a class with attributes a dataclass of the plan; `__attributes__` holds what it and its bases declare."""
    attributes = dict(getattr(cls, "__attributes__", {}))
    types = get_annotations(cls)
    for name, declared in [(n, d) for n, d in vars(cls).items() if isinstance(d, _Declared)]:
        attribute, annotation = declared.attribute, str(types.get(name, ""))
        if attribute.type is CHOICE:
            names = literal_eval(f"({annotation.removeprefix('Literal').strip('[]')},)")
            attribute = replace(attribute, type=choice(*names))
        attributes[name.rstrip("_")] = attribute
        default = _stored(attribute, annotation) if declared.stored is _DERIVED else declared.stored
        if annotation and default is not MISSING:
            setattr(cls, name, field(default_factory=default) if isinstance(default, type) else default)
        else:
            delattr(cls, name)
    cls.__attributes__ = attributes  # type: ignore[attr-defined]
    return cast(C, dataclass(frozen=True, kw_only=True)(cls))


def _stored(attribute: Attribute, annotation: str) -> Any:
    """What a plan holds where nothing is written; a type for a new one of it, MISSING where the plan always says it."""
    match attribute.default:
        case Amount(value=value):
            return int(value) if annotation == "int" else str(value)
        case bool() | str() as value:
            return value if annotation != "Method" else MISSING
        case None if not attribute.required:
            empty = {"list": list, "dict": dict}.get(annotation.partition("[")[0], MISSING)
            return None if annotation.endswith("| None") else empty
        case _:
            return MISSING


@dataclass_transform(kw_only_default=True, frozen_default=True)
def kind(doc: str, **properties: Any) -> Callable[[C], C]:
    """Declare a kind of block by the class that describes it in plans; the default of its `kind` is its name.

    `properties`: further fields of `Kind`."""

    def declare(cls: C) -> C:
        made = spec(cls)
        DECLARED[made.kind] = Kind(doc, made.__attributes__, made, **properties)  # type: ignore[attr-defined]
        return made

    return declare


class ByKind(dict[str, F]):
    """Functions by the kinds of block that they are for."""

    def of(self, *kinds: str) -> Callable[[F], F]:
        """Mark the function of these kinds: `@CHECKS.of("map")`."""

        def mark(function: F) -> F:
            self.update(dict.fromkeys(kinds, function))
            return function

        return mark
