"""What is under the cursor: kinds, attributes, names with their rows, columns, functions, numbers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema import catalog
from alchemist_runtime.schema.attributes import UNITS, Attribute, AttrType, Kind, spelled, written
from alchemist_runtime.schema.functions import AGGREGATES, FUNCTIONS, Function
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.registry import Component

from alchemist_dsl import ir
from alchemist_dsl.checker.expressions import column_type, row_variables
from alchemist_dsl.checker.load import value_text
from alchemist_dsl.checker.names import Decl
from alchemist_dsl.lsp.analysis import NO_SIGHT, Analysis
from alchemist_dsl.lsp.context import variables
from alchemist_dsl.lsp.names import Occurrence, Symbol, enclosing, is_column_name, statement_at, top_block
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast


@dataclass(frozen=True, slots=True)
class Shown:
    """Markdown, and what it is about. `step`: key of a block whose estimate may be added."""

    text: str
    span: Span
    step: str | None = None


def hover(analysis: Analysis, offset: int) -> Shown | None:
    """What to say about the thing at an offset."""
    occurrence = analysis.names.at(analysis.source.path, offset)
    if occurrence is not None:
        return _of_symbol(analysis, occurrence)
    block = top_block(analysis.tree, offset)
    if block is None:
        return None
    if _within(block.kind.span, offset) and block.kind.name in KINDS:
        return Shown(kind_text(block.kind.name, KINDS[block.kind.name]), block.kind.span)
    return _in_block(analysis, block, offset) if block.kind.name in KINDS else None


def _within(span: Span, offset: int) -> bool:
    return span.start <= offset <= span.end


# --- names ------------------------------------------------------------------------------------------------------------


def _of_symbol(analysis: Analysis, occurrence: Occurrence) -> Shown:
    symbol = occurrence.symbol
    match symbol.what:
        case "block":
            decl = declared(analysis, symbol)
            text = _block_text(analysis, decl) if decl is not None else symbol.name
            return Shown(text, occurrence.span, decl.key if decl is not None else None)
        case "alias":
            alias = analysis.scope.aliases.get(symbol.name)
            return Shown(_alias_text(alias.stmt if alias is not None else None, symbol), occurrence.span)
        case "param":
            return Shown(_param_text(analysis, symbol), occurrence.span)
        case _:
            return Shown(_part_text(analysis, symbol), occurrence.span)


def declared(analysis: Analysis, symbol: Symbol) -> Decl | None:
    """The declaration of a block's name, in whatever file it stands."""
    for scope in analysis.context.loader.scopes.values():
        if symbol.span.file in scope.files:
            found = scope.decls.get(symbol.name)
            if found is not None:
                return found
    return None


def _block_text(analysis: Analysis, decl: Decl) -> str:
    kind = KINDS[decl.kind]
    parts = [code(f"{decl.kind} {decl.name}"), decl.block.doc or kind.doc]
    result = analysis.context.blocks.get(decl.key)
    if result is not None:
        parts += _facts(result)
    if kind.stream:
        for port in kind.ports:
            stream = analysis.context.streams.get((decl.key, port))
            if stream is not None and not stream.lost:
                name = decl.name if port == "rows" else f"{decl.name}.{port}"
                if port == "rows":
                    parts.append(table(stream.columns, stream.open))
                else:
                    extra = [c for c in stream.columns if c not in _rows(analysis, decl)]
                    parts.append(f"`{name}`" + (f" has also {', '.join(f'`{c}`' for c in extra)}" if extra else ""))
    return "\n\n".join(parts)


def _rows(analysis: Analysis, decl: Decl) -> dict[str, str]:
    stream = analysis.context.streams.get((decl.key, "rows"))
    return dict(stream.columns) if stream is not None else {}


def _facts(block: ir.Block) -> Iterator[str]:
    """What is worth a line of a block that has no rows of its own."""
    if block.kind == "prompt":
        for name, fields in (("asks with", block.input_fields), ("gets back", block.output_fields)):
            if fields:
                yield f"{name}: " + ", ".join(f"`{f.name}: {f.type}`" for f in fields)
    if block.kind == "teacher":
        model = block.get("model")
        if isinstance(model, ir.TextV):
            yield f"`{model.value}`"
    if block.kind in ("filter", "relabel", "generate") and block.rules:
        rules = [f"- {r.verb} `{r.text}`" + (f" as `{r.name}`" if r.name != r.text else "") for r in block.rules]
        yield "\n".join(rules[:20])


def _alias_text(statement: ast.Import | None, symbol: Symbol) -> str:
    path = statement.path.value if statement is not None else ""
    return code(f'import "{path}" as {symbol.name}')


def _param_text(analysis: Analysis, symbol: Symbol) -> str:
    found = analysis.scope.params.get(symbol.name)
    if found is None:
        return code(f"param {symbol.name}")
    value = analysis.program.params.get(found.scope.prefix + symbol.name)
    default = found.decl.default
    head = f"param {symbol.name}: {found.decl.type.text}"
    if default is not None:
        head += f" = {value_text(default)}"
    parts = [code(head), found.decl.doc or ""]
    if value is not None:
        parts.append(f"Here `{value.text}` ({value.origin}).")
    return "\n\n".join(p for p in parts if p)


def _part_text(analysis: Analysis, symbol: Symbol) -> str:
    """Rules, classes and fields: as they are declared."""
    file = analysis.file(symbol.span.file)
    line = file.line(file.position(symbol.span.start)[0]).strip() if file is not None else symbol.name
    what = {
        "rule": "A rule of `{}`.",
        "class": "A class of `{}`.",
        "input": "An input of the prompt `{}`.",
        "output": "What `{}` gets back.",
        "field": "A column of the schema `{}`.",
    }[symbol.what]
    return "\n\n".join([code(line), what.format(symbol.owner)])


# --- inside a block ---------------------------------------------------------------------------------------------------


def _in_block(analysis: Analysis, block: ast.Block, offset: int) -> Shown | None:
    found = statement_at(block, offset)
    if found is None:
        return None
    statement, sub = found
    if isinstance(statement, ast.Block):
        return _attribute(block.kind.name, statement.kind)
    if isinstance(statement, ast.Assign) and not statement.set and _within(statement.path[0].span, offset):
        return _attribute(block.kind.name, statement.path[0]) if sub is None else None
    if isinstance(statement, ast.FieldDecl):
        return None
    return _in_value(analysis, block, statement, offset)


def _attribute(kind: str, name: ast.Ident) -> Shown | None:
    attribute = KINDS[kind].attributes.get(name.name) if kind in KINDS else None
    if attribute is None:
        return None
    return Shown(attribute_text(kind, name.name, attribute), name.span)


def _in_value(analysis: Analysis, block: ast.Block, statement: ast.Statement, offset: int) -> Shown | None:
    chain = enclosing(statement, offset)
    if not chain:
        return None
    node = chain[-1]
    match node:
        case ast.Quantity():
            return Shown(_quantity(node), node.span)
        case ast.Call(function=function) if _within(function.span, offset):
            return _call(block, statement, function)
        case ast.Text(form="template"):
            return _variable(analysis, block, statement, node, offset)
        case ast.Name() | ast.Member():
            return _name(analysis, block, statement, chain)
        case _:
            return None


def _quantity(node: ast.Quantity) -> str:
    unit = UNITS[node.kind].doc
    if node.kind == "rate":
        what = node.unit or "calls"
        return f"`{node.text}`: {number(node.value * 60)} {what} a minute"
    if node.kind == "percent":
        return f"`{node.text}` = {node.value}, {unit}"
    return f"`{node.text}` = {number(node.value)}" + (f" {unit}" if unit else "")


def _call(block: ast.Block, statement: ast.Statement, function: ast.Ident) -> Shown | None:
    text = None
    if isinstance(statement, ast.Assign) and not statement.set:
        attribute = KINDS[block.kind.name].attributes.get(statement.path[0].name)
        for one in attribute.type.alternatives if attribute is not None else ():
            text = text or method_text(one.of[0] if one.name == "list" else one, function.name)
    text = text or function_text(function.name, block.kind.name == "check")
    return None if text is None else Shown(text, function.span)


def _variable(
    analysis: Analysis, block: ast.Block, statement: ast.Statement, text: ast.Text, offset: int
) -> Shown | None:
    decl = declaration(analysis, block)
    sight = analysis.sight(decl.key) if decl is not None else NO_SIGHT
    over_row = isinstance(statement, ast.Assign) and statement.set
    known = row_variables(sight.stream) if over_row or sight.variables is None else sight.variables
    for name, span in variables(text):
        if _within(span, offset):
            type_ = known.types.get(name)
            return None if type_ is None else Shown(f"`{name}: {type_}`\n\nA {known.noun} of {known.what}.", span)
    return None


def _name(analysis: Analysis, block: ast.Block, statement: ast.Statement, chain: tuple[ast.Expr, ...]) -> Shown | None:
    """A column, or one of the names that an attribute takes."""
    node = chain[-1]
    if not isinstance(node, ast.Name):
        return None
    decl = declaration(analysis, block)
    sight = analysis.sight(decl.key) if decl is not None else NO_SIGHT
    if is_column_name(block, statement) and sight.stream is not None:
        type_ = column_type(sight.stream, node.name)
        if type_ is not None:
            origin = f"A column of {sight.stream.name}." if sight.stream.name else "A column."
            return Shown(f"`{node.name}: {type_}`\n\n{origin}", node.span)
    if isinstance(statement, ast.Assign):
        attribute = KINDS[block.kind.name].attributes.get(statement.path[0].name)
        for one in attribute.type.alternatives if attribute is not None else ():
            text = method_text(one.of[0] if one.name == "list" else one, node.name)
            if text is not None:
                return Shown(text, node.span)
    return None


def declaration(analysis: Analysis, block: ast.Block) -> Decl | None:
    """The declaration that a block of the document makes."""
    match block.name:
        case ast.Ident(name=name) | ast.Text(value=name):
            return analysis.decl(block.kind.name, name)
        case _:
            return analysis.decl(block.kind.name, "")


# --- markdown --------------------------------------------------------------------------------------------------------

_AFFECTS: Final = {
    "cost": "Changes what it costs, not the data: nothing runs again.",
    "speed": "Changes how fast it goes, not the data: nothing runs again.",
    "doc": "Changes no data: nothing runs again.",
}
_PORTS: Final = {
    "dropped": "the rows that it refused, with `rule` and `reason`",
    "trace": "one row per accepted answer: `before`, `out`, `after`",
    "rest": "the rows that `select` did not choose",
    "train": "the rows to learn from",
    "eval": "the rows that are held out",
    "rows": "its rows",
}
#: Rows of a table that are shown before it is cut.
_MOST: Final = 40


def code(text: str) -> str:
    return f"```recipe\n{text}\n```"


def kind_text(name: str, kind: Kind) -> str:
    """What a kind of block is and takes."""
    parts = [code(f"{name} {'NAME ' if kind.name == 'required' else ''}{{ … }}"), kind.doc]
    needed = [f"`{n}`" for n, a in kind.attributes.items() if a.required]
    if needed:
        parts.append("Needs " + ", ".join(needed) + ".")
    ports = [f"`.{p}`: {_PORTS[p]}" for p in kind.ports if p != "rows"]
    if ports:
        parts.append("Ports: " + "; ".join(ports) + ".")
    if not kind.runnable:
        parts.append("This version compiles it and does not run it yet.")
    return "\n\n".join(parts)


def attribute_text(kind: str, name: str, attribute: Attribute) -> str:
    """What an attribute means, takes and defaults to."""
    head = f"{name}: {readable(attribute.type)}"
    if attribute.default is not None:
        head += f" = {attribute.default_text}"
    parts = [code(head), attribute.doc]
    if attribute.required:
        parts.append(f"Every `{kind}` needs it.")
    if attribute.affects in _AFFECTS:
        parts.append(_AFFECTS[attribute.affects])
    return "\n\n".join(parts)


def readable(type_: AttrType) -> str:
    """A type of the kind table in the words of the language."""
    match type_.name:
        case "alt":
            return " | ".join(readable(t) for t in type_.of)
        case "list":
            return f"one or a list of {readable(type_.of[0])}"
        case "choice":
            return " | ".join(map(spelled, type_.names))
        case "ref":
            named = type_.names not in (("any",), ("same",))
            return " or ".join(type_.names) + " block" if named else "block"
        case "record" if type_.fields:
            return "{ " + ", ".join(f"{f.name}: {readable(f.type)}" for f in type_.fields) + " }"
        case "method" if type_.methods:
            return " | ".join(f"{m.name}({', '.join(f.name for f in m.params)})" for m in type_.methods)
        case "method":
            return "method"
        case "select":
            return "share, rows or condition"
        case "int" | "real" if type_.low is not None or type_.high is not None:
            low, high = ("" if b is None else str(b) for b in (type_.low, type_.high))
            return f"{type_.name}({low}..{high})"
        case name:
            return name


# --- functions and methods --------------------------------------------------------------------------------------------


def signature(function: Function) -> str:
    """`head(x: text, n: int) -> text`"""
    params = ", ".join(
        f"{'*' if p.variadic else ''}{p.name}: {p.type}" + ("" if p.default is ... else f" = {plain(p.default)}")
        for p in function.params
    )
    return f"{function.name}({params}) -> {function.result}"


def function_text(name: str, promises: bool = False) -> str | None:
    """What a function computes. `promises`: in `check`, where some count streams."""
    function = (AGGREGATES.get(name) if promises else None) or FUNCTIONS.get(name) or AGGREGATES.get(name)
    if function is None:
        return None
    parts = [code(signature(function)), function.doc]
    if function.unit is not None:
        parts.append(f"Counts {function.unit}: compares with a bare number and with {function.unit}.")
    return "\n\n".join(parts)


def component(type_: AttrType, name: str) -> Component | None:
    """The component behind a method of an attribute; None for methods of the kind table."""
    if type_.family is None or name not in catalog.names(type_.family):  # type: ignore[arg-type]
        return None
    return catalog.find(type_.family, name)


def method_text(type_: AttrType, name: str) -> str | None:
    """What a method of an attribute does, with its parameters."""
    found = component(type_, name)
    if found is not None:
        params = ", ".join(
            p.name + ": " + p.type + ("" if p.default is ... else f" = {plain(p.default)}") for p in found.params
        )
        return "\n\n".join([code(f"{name}({params})"), found.doc])
    for method in type_.methods:
        if method.name == name:
            params = ", ".join(
                f"{f.name}: {readable(f.type)}" + ("" if f.default is None else f" = {written(f.default, f.type)}")
                for f in method.params
            )
            return code(f"{name}({params})")
    return None


def filter_doc(function: Any) -> str:
    """The first line of a jinja filter's documentation."""
    return " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())


def plain(value: Any) -> str:
    """A default of a signature as a recipe writes it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str() if not value.replace(".", "").replace("/", "").isdigit():
            return f'"{value}"'
        case list():
            return "[" + ", ".join(plain(v) for v in value) + "]"
        case _:
            return str(value)


# --- rows -------------------------------------------------------------------------------------------------------------


def table(columns: Mapping[str, str], open_: bool = False) -> str:
    """Columns and types as a Markdown table."""
    if not columns:
        return "Its columns are known when the data is read." if open_ else "It has no columns."
    lines = ["| column | type |", "|---|---|"]
    some = list(columns.items())[:_MOST]
    lines += [f"| `{name}` | `{type_.replace('|', chr(92) + '|')}` |" for name, type_ in some]
    if len(columns) > len(some):
        lines.append(f"| … | {len(columns) - len(some)} more |")
    if open_:
        lines.append("| … | more, known when the data is read |")
    return "\n".join(lines)


def number(value: Fraction) -> str:
    """An exact number for people."""
    if value.denominator == 1:
        return f"{value.numerator:,}"
    displayed = f"{float(value):,.10g}"
    return displayed if Fraction(displayed.replace(",", "")) == value else f"{value} ≈ {displayed}"


def percent(value: Fraction) -> str:
    """A share for people, to a hundredth of a percent."""
    displayed = f"{float(value * 100):.2f}".rstrip("0").rstrip(".")
    exact = Fraction(displayed) == value * 100
    return f"{'' if exact else '≈ '}{displayed}%"


def is_kind(name: str) -> bool:
    return name in KINDS
