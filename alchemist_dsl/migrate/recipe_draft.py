"""The one form between every tool's configuration and a recipe: sources with amounts, a mixture, a training,
remarks.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema.attributes import RESERVED, AttrType, spelled
from alchemist_runtime.schema.kinds import KINDS, NAMED_EXPRESSIONS, TAKEN

from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.format import format_text

_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Names of ports and of what is read here as a word of its own.
_SPOKEN_FOR: Final = RESERVED | TAKEN | {"dropped", "trace", "sft", "dataset", "rows"}


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment in a block, above one of its attributes or, without one, at its end."""

    text: str
    at: str = ""


@dataclass(slots=True)
class Source:
    """A source: `attrs` and `sets` as data of a recipe; `amount` is how much of it is taken, None is all."""

    name: str
    attrs: dict[str, Any] = field(default_factory=dict)
    sets: dict[str, Any] = field(default_factory=dict)
    amount: str | None = None
    remarks: list[Remark] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """A recipe to be. `train` is None where the configuration names no model: then the data is exported."""

    title: str
    seed: int | None = None
    sources: list[Source] = field(default_factory=list)
    mixture: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] | None = None
    train_name: str = "model"
    remarks: dict[str, list[Remark]] = field(default_factory=dict)  # of recipe, mixture, train

    def remark(self, block: str, text: str, at: str = "") -> None:
        self.remarks.setdefault(block, []).append(Remark(text, at))


def named(text: str, taken: Container[str]) -> str:
    """A name for a block after a text, one that is not taken: `allenai/tulu-3` gives `tulu_3`."""
    last = [p for p in re.split(r"[\\/]", text) if p.strip(".")] or ["data"]
    stem = re.sub(r"\.(jsonl?|ndjson|csv|tsv|parquet|arrow)(\.gz|\.zst)?$", "", last[-1].lower())
    name = re.sub(r"[^a-z0-9]+", "_", stem).strip("_")[:40].strip("_") or "data"
    name = name if _WORD.fullmatch(name) else f"data_{name}"
    name = f"{name}_set" if name in _SPOKEN_FOR else name
    number, found = 2, name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def column(name: str) -> str:
    """A column in an expression."""
    if _WORD.fullmatch(name) and name not in RESERVED | {"param", "out", "row"}:
        return name
    import json

    return f"row[{json.dumps(name, ensure_ascii=False)}]"


# --- write -----------------------------------------------------------------------------------------------------------

_WIDTH: Final = 96
MIXTURE: Final = "sft"
EXPORT: Final = "dataset"


def write(draft: Draft, head: str) -> str:
    """The recipe. `head` is the comment that it opens with."""
    parts = [f"edition {EDITION}\n", "\n".join(_comment(head, "")) + "\n"]
    parts += [_block(b, remarks) for b, remarks in _blocks(draft)]
    return format_text(SourceFile("-", "\n".join(parts)))[0]


def _blocks(draft: Draft) -> Iterator[tuple[dict[str, Any], Iterable[Remark]]]:
    remarks = draft.remarks
    recipe: dict[str, Any] = {"kind": "recipe", "title": draft.title}
    if draft.seed is not None:
        recipe["seed"] = draft.seed
    yield recipe, remarks.get("recipe", ())
    for source in draft.sources:
        result = {"kind": "source", "name": source.name, **source.attrs}
        yield result | ({"set": source.sets} if source.sets else {}), source.remarks
    stream = draft.sources[0].name
    mixture = _mixture(draft)
    if mixture is not None:
        stream = MIXTURE
        yield mixture, remarks.get("mixture", ())
    else:
        remarks = {**remarks, "train": [*remarks.get("mixture", ()), *remarks.get("train", ())]}
    if draft.train is None:
        yield (
            {"kind": "export", "name": EXPORT, "data": stream, "path": f"out/{draft.train_name}"},
            remarks.get("train", ()),
        )
    else:
        yield {"kind": "train", "name": draft.train_name, "data": stream, **draft.train}, remarks.get("train", ())


def _mixture(draft: Draft) -> dict[str, Any] | None:
    """The mixture; None where one source is taken whole."""
    head = {"kind": "mixture", "name": MIXTURE, **draft.mixture}
    sources = draft.sources
    if all(s.amount is None for s in sources):
        return None if len(sources) == 1 else {**head, "from": [s.name for s in sources]}
    return {**head, "take": {s.name: s.amount or "all" for s in sources}}


def _block(block: Mapping[str, Any], remarks: Iterable[Remark]) -> str:
    """The text of a block with its remarks: above the attribute that they speak of, else at its end."""
    lines = block_text(block).splitlines()
    for remark in remarks:
        start = (f"  {remark.at} = ", f"  {remark.at} {{", f"  set {remark.at} = ")
        at = next((i for i, line in enumerate(lines) if remark.at and line.startswith(start)), len(lines) - 1)
        lines[at:at] = _comment(remark.text, "  ")
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str) -> list[str]:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    width = _WIDTH - len(indent)
    return [f"{indent}# {part}" for part in textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)]


# --- amounts ---------------------------------------------------------------------------------------------------------

#: What is smaller is nothing: numbers of recipes have no exponent below this.
_LEAST = Decimal("1e-100")


def real(number: float) -> str:
    """A real as people write it: `2e-5`, `0.03`, `1.5`."""
    exact = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    if abs(exact) < _LEAST:
        return "0"
    if exact and abs(exact) < Decimal("0.001"):
        digits, exponent = f"{exact.normalize():e}".split("e")
        return f"{digits}e{int(exponent)}"
    return plain(exact)


def plain(number: Decimal) -> str:
    """A decimal without exponent and without zeros at its end, to twelve places."""
    text = f"{round(number, 12):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float | Fraction) -> str:
    """A share as a percent, exact where decimals can be, else to four places."""
    return f"{plain(_decimal(share, 100))}%"


def times(share: float | Fraction) -> str:
    """A share as a multiplier of a set's own size."""
    return f"{plain(_decimal(share, 1))}x"


def _decimal(share: float | Fraction, factor: int) -> Decimal:
    if isinstance(share, Fraction):
        exact = Decimal(share.numerator * factor) / Decimal(share.denominator)
        return exact if Fraction(exact) == share * factor else round(exact, 4)
    return Decimal(repr(share)) * factor


def counted(number: int, unit: str) -> str:
    """`9_500 rows`, `1 row`."""
    return f"{number:_} {unit.removesuffix('s') if number == 1 else unit}"


# --- recipe data -----------------------------------------------------------------------------------------------------

EDITION: Final = 2026
_FIELDS: Final = ("input", "output")
#: The type of an entry that nobody declares: a string is a text.
_LITERAL: Final = AttrType("text")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class DataError(ValueError):
    """The data is not built like a recipe; the message says where."""


def parts_of(kind: str) -> tuple[str, ...]:
    """The keys of a block's data beside its attributes."""
    known = KINDS[kind]
    keys = [word for word in ("set",) if word in known.statements]
    keys += ["rules"] * bool(known.statements & {"keep", "drop", "expect"})
    keys += ["fields"] * ("field" in known.statements)
    return (*keys, *known.blocks)


def recipe(data: Mapping[str, Any]) -> str:
    """The text of a recipe. DataError where the data has another form."""
    if data.get("edition") != EDITION:
        raise DataError(f"`edition` is {EDITION}, not {data.get('edition')!r}")
    parts = [f"edition {EDITION}\n"]
    parts += [f"import {_text(path)} as {_name(n)}\n" for n, path in data.get("imports", {}).items()]
    for name, param in data.get("params", {}).items():
        default = f" = {param['default']}" if "default" in param else ""
        parts.append(f"{_doc(param)}param {_name(name)}: {param['type']}{default}\n")
    parts += [block_text(b) for b in data["blocks"]]
    return "".join(parts)


def block_text(data: Mapping[str, Any]) -> str:
    """The text of one block."""
    kind = data.get("kind")
    if kind not in KINDS:
        raise DataError(f"there is no kind {kind!r}")
    form = KINDS[kind].name
    name = data.get("name", "")
    if (form == "none") is bool(name):
        raise DataError(f"a block of kind `{kind}` has {'no' if form == 'none' else 'a'} name")
    head = {"none": kind, "text": f"{kind} {_text(name)}"}.get(form) or f"{kind} {_name(name)}"
    return f"{_doc(data)}{head} {{\n" + "".join(f"{line}\n" for line in _body(kind, data)) + "}\n"


def _doc(data: Mapping[str, Any]) -> str:
    return "".join(f"## {line}\n" for line in data.get("doc", "").splitlines())


def _body(kind: str, data: Mapping[str, Any]) -> Iterator[str]:
    known = KINDS[kind]
    rest = data.keys() - known.attributes.keys() - set(parts_of(kind)) - {"kind", "name", "doc"}
    if rest:
        raise DataError(f"a block of kind `{kind}` has no `{min(rest)}`")
    for name, attribute in known.attributes.items():
        if name in data:
            yield from _attribute(name, attribute.type, data[name])
    for part in parts_of(kind):
        if part in data:
            yield from _part(part, data[part])


def _part(part: str, data: Any) -> Iterator[str]:
    match part:
        case "set":
            for column, value in data.items():
                yield f"  set {_path(column)} = {_expression(value)}"
        case "rules":
            yield from map(_rule, data)
        case "fields":
            for name, type_ in data.items():
                yield f"  {_name(name)}: {type_}"
        case _:
            yield f"  {part} {{"
            for name, value in data.items():
                yield f"    {_name(name)}: {value}" if part in _FIELDS else f"    {_path(name)} = {_amount(value)}"
            yield "  }"


def _rule(rule: Mapping[str, Any]) -> str:
    verb = next((v for v in ("keep", "drop", "expect") if v in rule), None)
    if verb is None:
        raise DataError("a rule is one of `keep`, `drop` and `expect`")
    return f"  {verb} {rule[verb]}" + (f" as {_name(rule['as'])}" if "as" in rule else "")


def _amount(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(value) + "]"
    return "null" if value is None else str(value)


# --- values -----------------------------------------------------------------------------------------------------------


def _attribute(name: str, type_: AttrType, value: Any) -> Iterator[str]:
    """The lines of an attribute. Records with known fields are blocks, since prices are written nowhere else."""
    known = _fields(type_)
    free = name in NAMED_EXPRESSIONS
    if not isinstance(value, Mapping) or value.keys() == {"recipe"} or not (known or free):
        yield f"  {name} = {_value(type_, value)}"
        return
    yield f"  {name} {{"
    for key, inner in value.items():
        displayed = _expression(inner) if free else _value(known.get(key, _LITERAL), inner)
        yield f"    {_name(key)} = {displayed}"
    yield "  }"


def _fields(type_: AttrType) -> dict[str, AttrType]:
    """The fields of the record that a type may be."""
    return {f.name: f.type for t in _leaves(type_) if t.name == "record" for f in t.fields}


def _value(type_: AttrType, value: Any) -> str:
    """A value as its type writes it: texts in quotes, everything else in the words of the language."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case {"recipe": str(text)} if len(value) == 1:
            return text
        case {"template": str(text)} if len(value) == 1:
            return _template(text)
        case list():
            inner = next((t.of[0] for t in type_.alternatives if t.name == "list"), type_)
            return "[" + ", ".join(_value(inner, v) for v in value) + "]"
        case Mapping():
            return _record(type_, value)
        case str():
            return _string(type_, value)
    raise DataError(f"{value!r} is no value of a recipe")


def _record(type_: AttrType, value: Mapping[str, Any]) -> str:
    types = _fields(type_)
    fields = (
        f"{_name(n) if types or _NAME.fullmatch(n) else _text(n)} = {_value(types.get(n, _LITERAL), v)}"
        for n, v in value.items()
    )
    return "{ " + ", ".join(fields) + " }"


def _leaves(type_: AttrType) -> Iterator[AttrType]:
    """The alternatives of a type, with the element of a list for the list."""
    for one in type_.alternatives:
        yield from _leaves(one.of[0]) if one.name == "list" else (one,)


def _string(type_: AttrType, value: str) -> str:
    leaves = list(_leaves(type_))
    if any(t.name == "choice" and value in t.names for t in leaves):
        return spelled(value)
    names = {t.name for t in leaves}
    if "template" in names and ("text" not in names or "\n" in value):
        return _template(value)
    return _text(value) if names & {"text", "template"} else value


def _expression(value: Any) -> str:
    match value:
        case None | bool() | int() | float() | {"recipe": _} | {"template": _}:
            return _value(_LITERAL, value)
        case str():
            return value
    raise DataError(f"{value!r} is no expression")


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _template(text: str) -> str:
    """A text block: nothing in it is escaped, and a longer run of quotes holds shorter ones."""
    longest = max((len(run) for run in re.findall('"+', text)), default=0)
    quotes = '"' * max(3, longest + 1)
    lines = [f"    {line}" if line else "" for line in text.split("\n")]
    return "\n".join([f"jinja{quotes}", *lines, f"    {quotes}"])


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise DataError(f"{name!r} is no name")
    return name


def _path(path: str) -> str:
    return ".".join(map(_name, path.split(".")))


def main() -> None:
    """Print the recipe that a file of data says."""
    source = sys.argv[1] if len(sys.argv) == 2 else "-"
    with sys.stdin if source == "-" else open(source, encoding="utf-8") as file:  # noqa: PTH123 (one of two streams)
        data = json.load(file)
    try:
        print(recipe(data), end="")
    except (DataError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f"error: {source}: {error}")


if __name__ == "__main__":
    main()
