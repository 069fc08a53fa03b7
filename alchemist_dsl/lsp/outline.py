"""The structure of a document: blocks with their rules, fields and entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from lsprotocol import types as lsp

from alchemist_dsl.lsp.positions import Converter
from alchemist_dsl.source import SourceFile, Span
from alchemist_dsl.syntax import ast

S = lsp.SymbolKind
_KINDS: Final = {
    "recipe": S.Package,
    "schema": S.Struct,
    "source": S.File,
    "suite": S.File,
    "teacher": S.Interface,
    "prompt": S.String,
    "mixture": S.Array,
    "export": S.Object,
    "train": S.Object,
    "evaluate": S.Object,
    "measure": S.Object,
    "check": S.Boolean,
    "test": S.Event,
    "variant": S.Enum,
    "moved": S.Null,
}


def symbols(source: SourceFile, tree: ast.File, converter: Converter) -> list[lsp.DocumentSymbol]:
    """The top-level items of a document."""
    return [s for item in tree.items if (s := _item(source, item, converter)) is not None]


def _item(source: SourceFile, item: ast.Item, converter: Converter) -> lsp.DocumentSymbol | None:
    def made(
        name: str,
        kind: lsp.SymbolKind,
        span: Span,
        chosen: Span,
        detail: str = "",
        children: Sequence[lsp.DocumentSymbol] = (),
    ) -> lsp.DocumentSymbol:
        return lsp.DocumentSymbol(
            name or "…",
            kind,
            converter.span(source, span),
            converter.span(source, chosen),
            detail=detail or None,
            children=list(children),
        )

    def inside(statements: Sequence[ast.Statement]) -> Iterator[lsp.DocumentSymbol]:
        for statement in statements:
            match statement:
                case ast.RuleStmt(verb=verb, name=named, condition=condition, span=span):
                    text = source.text[condition.span.start : condition.span.end]
                    shown = named.name if named is not None else " ".join(text.split())
                    chosen = named.span if named is not None else condition.span
                    yield made(shown, S.Event, span, chosen, verb)
                case ast.FieldDecl(name=named, type=type_, span=span):
                    yield made(named.name, S.Field, span, named.span, type_.text)
                case ast.Assign(set=True, path=path, span=span):
                    name = ".".join(i.name for i in path)
                    yield made(name, S.Field, span, path[0].span.to(path[-1].span), "set")
                case ast.Block(kind=kind, body=body, span=span, header=header):
                    yield made(kind.name, S.Namespace, span, header, "", [*inside(body), *entries(body)])

    def entries(statements: Sequence[ast.Statement]) -> Iterator[lsp.DocumentSymbol]:
        for statement in statements:
            if isinstance(statement, ast.Assign) and not statement.set:
                value = source.text[statement.value.span.start : statement.value.span.end]
                detail = value if len(value) <= 40 and "\n" not in value else ""
                name = ".".join(i.name for i in statement.path)
                chosen = statement.path[0].span.to(statement.path[-1].span)
                yield made(name, S.Property, statement.span, chosen, detail)

    match item:
        case ast.Block(kind=kind, name=name, body=body, span=span, header=header):
            title = ""
            chosen = header
            match name:
                case ast.Ident(name=text, span=at) | ast.Text(value=text, span=at):
                    title, chosen = text, at
            return made(
                title or kind.name, _KINDS.get(kind.name, S.Function), span, chosen, kind.name, list(inside(body))
            )
        case ast.ParamDecl(name=named, type=type_, span=span):
            return made(named.name, S.Variable, span, named.span, type_.text)
        case ast.Import(alias=alias, path=path, span=span):
            return made(alias.name, S.Module, span, alias.span, path.value)
        case ast.BadItem(name=str(lost), kind=word, span=span):
            return made(lost, S.Null, span, span, word or "")
        case _:
            return None
