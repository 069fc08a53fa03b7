"""A recipe as data (docs/schemas/recipe.json) -> its text. For programs and models that write recipes.

`python -m alchemist_dsl.migrate.recipe_data FILE.json` prints the recipe; `-` is standard input. The text is then
checked like any other.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from alchemist_runtime.schema.attributes import AttrType, spelled
from alchemist_runtime.schema.kinds import KINDS, NAMED_EXPRESSIONS

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
    parts += [block(b) for b in data["blocks"]]
    return "".join(parts)


def block(data: Mapping[str, Any]) -> str:
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
    for field, inner in value.items():
        displayed = _expression(inner) if free else _value(known.get(field, _LITERAL), inner)
        yield f"    {_name(field)} = {displayed}"
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
