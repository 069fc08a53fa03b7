"""The tables of the language -> entries of the reference: kinds, attributes, methods and functions with their types in
words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema import catalog
from alchemist_runtime.schema.attributes import RESERVED, UNITS, Amount, Attribute, AttrType, Kind, spelled
from alchemist_runtime.schema.functions import AGGREGATES, FUNCTIONS, Function
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.rows import IDENTITY_TYPES, SFT, required

from alchemist_dsl.checker.calls import Parameter, method_names, parameters
from alchemist_dsl.checker.values import NOUNS
from alchemist_dsl.syntax.decode import COUNT_WORDS, SUFFIXES, TIMES

# --- vocabulary ------------------------------------------------------------------------------------------------------

#: Words that mean something where a line of the file's top level begins, and are names elsewhere.
_TOP: Final = ("edition", "import", "param")
_VALUES: Final = ("true", "false", "null")
_OPERATORS: Final = ("and", "or", "not", "in")


def _types() -> list[str]:
    from alchemist_dsl.checker.load import TYPES

    columns = (*SFT.values(), *IDENTITY_TYPES.values())
    return sorted({*TYPES, *(required(type_) for type_ in columns)})


def vocabulary() -> dict[str, list[str]]:
    """Lists of words by part of speech; each in an order that a change of the tables leaves alone."""
    return {
        "kinds": sorted(KINDS),
        "blocks": sorted({b for kind in KINDS.values() for b in kind.blocks}),
        "attributes": sorted({name for kind in KINDS.values() for name in kind.attributes}),
        "functions": sorted({*FUNCTIONS, *AGGREGATES}),
        "types": _types(),
        "top": list(_TOP),
        "statements": sorted(RESERVED - {*_VALUES, *_OPERATORS}),
        "operators": list(_OPERATORS),
        "values": list(_VALUES),
        "units": list(COUNT_WORDS),
        "suffixes": list(SUFFIXES),
        "times": list(TIMES),
    }


# --- words -----------------------------------------------------------------------------------------------------------

#: What stands in a block beside attributes: how it is written, and what it does.
STATEMENTS: Final = {
    "set": ("set COLUMN = EXPRESSION", "A new or changed column; it reads the row as it came in."),
    "keep": ("keep CONDITION as NAME", "Refuses rows where the condition does not hold."),
    "drop": ("drop CONDITION as NAME", "Refuses rows where the condition holds."),
    "expect": ("expect CONDITION", "A promise about the result: `rows`, `tokens`, `dropped.RULE`."),
    "field": ("NAME: TYPE", "A column with its type; `?` after the type lets it be null."),
}
#: The same where they mean something else.
_STATEMENTS_OF: Final = {
    ("variant", "set"): (
        "set BLOCK.ATTRIBUTE = VALUE",
        "What is different in this variant: an attribute, an entry, a `param.NAME`.",
    ),
    ("check", "expect"): (
        "expect CONDITION as NAME",
        "A promise about the plan or the result: `plan.cost <= $300`, `share(sft, chat) >= 4%`.",
    ),
    ("test", "expect"): (
        "expect CONDITION",
        "What holds for every row that leaves the step, or for `rows` and `dropped.RULE`.",
    ),
}
#: Sub-blocks, how their entries are written, and what they are.
SUB_BLOCKS: Final = {
    "take": (
        "take { STREAM = AMOUNT }",
        "How much of each stream: `5%`, `20k rows`, `2M tokens`, `3x`, `14 parts`, `all`, `rest`.",
    ),
    "classes": (
        "classes { NAME = RULE }",
        "Options of the multiple choice, each one rule of the step or a list of them.",
    ),
    "input": (
        "input { NAME: TYPE }",
        "What the prompt is filled with: columns of the row of the same names, or what `map` says.",
    ),
    "output": ("output { NAME: TYPE }", "The fields of the answer; a single text is the whole reply."),
}
PORTS: Final = {
    "rows": "its rows; the name alone means them",
    "dropped": "the rows that it refused, with `rule` and `reason`",
    "trace": "one row for each accepted answer: `before`, `out`, `after`",
    "rest": "the rows that `select` did not choose",
    "train": "the rows to learn from",
    "eval": "the rows that are held out",
}
_AFFECTS: Final = {
    "data": "",
    "cost": "Changes the cost, not the data.",
    "speed": "Changes the speed, not the data.",
    "doc": "Changes no data.",
}


@dataclass(frozen=True, slots=True)
class Method:
    """A method that an attribute takes: its signature, what it does, and whether this version carries it out."""

    signature: str
    doc: str
    runs: bool = True


def attribute_type(attribute: Attribute) -> str:
    """The type of an attribute in words."""
    return type_words(attribute.type)


def type_words(type_: AttrType) -> str:
    match type_.name:
        case "alt":
            return _alternatives(type_.of)
        case "list":
            inner = type_words(type_.of[0])
            return f"{inner}, or a list of such"
        case "choice":
            return _either(tuple(map(spelled, type_.names)))
        case "ref":
            named = type_.names not in (("any",), ("same",))
            word = " or ".join(type_.names) if named else ""
            return f"name of a {word} block" if word else _name_of(type_)
        case "stream":
            return "stream"
        case "select":
            return "share, number of rows, or condition"
        case "expr":
            return "expression"
        case "record" if type_.fields:
            return "record of " + ", ".join(f"`{f.name}` ({type_words(f.type)})" for f in type_.fields)
        case "method" if type_.methods:
            return _either(tuple(m.name + "(…)" * bool(m.params) for m in type_.methods))
        case "method":
            return _either(tuple(f"{name}(…)" for name in method_names(type_)))
        case "int" | "real":
            return _noun(type_.name) + _bounds(type_)
        case name:
            return _noun(name)


def _alternatives(types: tuple[AttrType, ...]) -> str:
    """Alternatives as a reader needs them: all words in one list, a whole number is a number, a list holds its
    element.
    """
    words = tuple(w for t in types for w in _words(t))
    listed = [one for t in types if t.name == "list" for one in t.of[0].alternatives]
    real = any(t.name == "real" for t in types)
    others = [type_words(t) for t in types if not _words(t) and not (real and t.name == "int") and t not in listed]
    return " or ".join([_either(words), *others] if words else others)


def _words(type_: AttrType) -> tuple[str, ...]:
    """Words that a value may start with: choices, and methods of the kind table."""
    if type_.name == "choice":
        return tuple(map(spelled, type_.names))
    return tuple(m.name + "(…)" * bool(m.params) for m in type_.methods)


def _name_of(type_: AttrType) -> str:
    return "name of a block of the same kind" if type_.names == ("same",) else "name of a block"


def _noun(name: str) -> str:
    noun = NOUNS[name][0]
    for article in ("a ", "the ", "an "):
        noun = noun.removeprefix(article)
    return noun


def _bounds(type_: AttrType) -> str:
    match type_.low, type_.high:
        case None, None:
            return ""
        case low, None:
            return f" from {low}"
        case None, high:
            return f" up to {high}"
        case low, high:
            return f" {low} to {high}"
    return ""


def _either(names: tuple[str, ...]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + f" or {quoted[-1]}"


def about(name: str, attribute: Attribute) -> str:
    """What an attribute means, and that it changes no data where it does not."""
    affects = "" if name == "extends" else _AFFECTS[attribute.affects]
    return " ".join(filter(None, (attribute.doc, affects)))


# --- methods ----------------------------------------------------------------------------------------------------------


def methods_of(attribute: Attribute) -> tuple[Method, ...]:
    """The methods that an attribute takes, with their parameters."""
    return tuple(_methods(attribute.type))


def _methods(type_: AttrType) -> Iterator[Method]:
    for inner in type_.of:
        yield from _methods(inner)
    if type_.name != "method":
        return
    for name in method_names(type_):
        params = parameters(name, type_) or ()
        text = ", ".join(map(_parameter, params))
        component = catalog.find(type_.family, name) if type_.family else None
        runs = type_.family is None or component is not None
        yield Method(f"{name}({text})", component.doc if component else "", runs)


def _parameter(param: Parameter) -> str:
    displayed = f"{param.name}: {_short(param.type)}"
    return displayed if param.default is ... else f"{displayed} = {value(param.default, param.type.name)}"


def _short(type_: AttrType) -> str:
    """A type as signatures write it: `int(1..32)`."""
    match type_.name:
        case "alt":
            return " | ".join(_short(t) for t in type_.of)
        case "list":
            return f"list<{_short(type_.of[0])}>"
        case "int" | "real" if type_.low is not None or type_.high is not None:
            low, high = ("" if b is None else _number(b) for b in (type_.low, type_.high))
            return f"{type_.name}({low}..{high})"
        case "ref":
            return " or ".join(type_.names)
        case name:
            return name


def _number(number: Fraction) -> str:
    return str(number) if number.denominator == 1 else f"{float(number):g}"


def value(default: Any, type_: str = "") -> str:
    """A default in plan form as a recipe writes it."""
    match default:
        case None:
            return "null"
        case bool():
            return "true" if default else "false"
        case {"unit": unit, "value": number}:
            return value(number, unit)
        case list() | tuple():
            return "[" + ", ".join(map(value, default)) + "]"
        case str() if type_ in ("", "text") or not default[:1].isdigit():
            return f'"{default}"'
        case _:
            return str(Amount(type_ if type_ in UNITS else "real", Fraction(default)))


# --- functions --------------------------------------------------------------------------------------------------------


def signature(function: Function) -> str:
    """`head(x: text, n: int) -> text`"""
    params = ", ".join(
        f"{'*' if p.variadic else ''}{p.name}: {p.type}"
        + ("" if p.default is ... else f" = {value(p.default, p.type)}")
        for p in function.params
    )
    return f"{function.name}({params}) -> {function.result}"


def notes(function: Function) -> list[str]:
    """What else a reader must know of a function."""
    out = []
    if function.unit:
        out.append(f"Counts {function.unit}: compares with a bare number and with {function.unit}.")
    if FUNCTIONS.get(function.name) is not function:
        out.append("Stands in `expect` only.")
    elif not function.null_aware:
        out.append("Null in an argument gives null.")
    return out


# --- kinds ------------------------------------------------------------------------------------------------------------


def header(name: str, kind: Kind) -> str:
    """How a block of a kind begins."""
    match kind.name:
        case "none":
            return f"{name} {{ … }}"
        case "text":
            return f'{name} "…" {{ … }}'
        case _:
            return f"{name} NAME {{ … }}"


def statements(name: str, kind: Kind) -> list[tuple[str, str]]:
    """What may stand in a block beside its attributes: (how it is written, what it does)."""
    out = []
    for word, plain in STATEMENTS.items():
        if word in kind.statements:
            out.append(_STATEMENTS_OF.get((name, word), plain))
    return out + [SUB_BLOCKS[block] for block in kind.blocks]


def ports(kind: Kind) -> list[tuple[str, str]]:
    return [(port, PORTS[port]) for port in kind.ports]


def kinds_with(attribute: str) -> Mapping[str, Attribute]:
    """The kinds that have an attribute of this name."""
    return {k: kind.attributes[attribute] for k, kind in KINDS.items() if attribute in kind.attributes}
