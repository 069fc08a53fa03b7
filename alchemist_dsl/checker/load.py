"""Reads a recipe with everything that it imports or extends into scopes: one per file, names not resolved yet."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from alchemist_runtime.schema.attributes import UNITS, AttrType
from alchemist_runtime.schema.kinds import KINDS, TAKEN
from alchemist_runtime.schema.plan import text_digest

from alchemist_dsl import ir
from alchemist_dsl.checker.context import Context
from alchemist_dsl.checker.inheritance import collect, merge
from alchemist_dsl.checker.names import Alias, Body, Decl, Param, Place, Scope
from alchemist_dsl.checker.problems import Problems, article, did_you_mean, listed
from alchemist_dsl.checker.values import NOUNS, Values
from alchemist_dsl.diagnostics.model import Diagnostic, Edit, Label, near
from alchemist_dsl.ir import ImportedFile
from alchemist_dsl.source import SourceFile, Span
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.decode import decode
from alchemist_dsl.syntax.parse import parse, parse_value

Read = Callable[[str], bytes | None]
Listing = Callable[[str], Sequence[str]]
Parse = Callable[[SourceFile], tuple[ast.File, tuple[Diagnostic, ...]]]

STD = "std:"
#: Files that import or extend each other in a row.
LONGEST_CHAIN = 32
#: Controls of writing direction that make a line look like another one.
_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069]")
#: In what could not be read: a file that it takes the rest from.
_NAMES_A_BASE = re.compile(r'extends|\.recipe"')


@dataclass(slots=True)
class Loader:
    """Loads files once each. `folder` of a file decides what its imports are relative to."""

    read: Read
    listing: Listing
    root: str
    problems: Problems
    parse: Parse = parse
    files: dict[str, SourceFile] = field(default_factory=dict)
    trees: dict[str, ast.File] = field(default_factory=dict)
    scopes: dict[str, Scope] = field(default_factory=dict)
    imports: list[ImportedFile] = field(default_factory=list)

    def load_root(self, file: SourceFile) -> Scope:
        """The scope of the recipe itself."""
        self.files[file.path] = file
        scope = Scope(file.path)
        self.scopes[file.path] = scope
        self._fill(scope, file, (file.path,))
        return scope

    def load_std(self, name: str, span: Span, alias: str) -> Scope | None:
        """The scope of a library file that something uses without an import."""
        path = STD + name
        if path in self.scopes:
            return self.scopes[path]
        file = self._open(path, span)
        return None if file is None else self._import(file, alias, ())

    # --- one file -----------------------------------------------------------------------------------------------------

    def _fill(self, scope: Scope, file: SourceFile, chain: tuple[str, ...]) -> None:
        tree = self._parse(file)
        base = _extended(tree, file)
        if isinstance(base, ast.Text):
            self._extend(scope, base, file, chain)
        elif base is not None:
            scope.lost_unnamed = scope.base_lost = True
        scope.files.append(file.path)
        if tree.edition is not None and file.path == scope.path:
            scope.edition = tree.edition.year
        for item in tree.items:
            if isinstance(item, ast.Import):
                self._add_import(scope, item, file, chain)
        for item in tree.items:
            match item:
                case ast.ParamDecl():
                    self._add_param(scope, item)
                case ast.Block():
                    self._add_block(scope, item)
                case ast.BadItem(name=str(name)):
                    scope.lost.add(name)
                case ast.BadItem():
                    scope.lost_unnamed = True
                case _:
                    pass

    def _parse(self, file: SourceFile) -> ast.File:
        if file.path not in self.trees:
            tree, found = self.parse(file)
            self.problems.take_syntax(found, file)
            for hidden in _HIDDEN.finditer(file.text):
                self._hidden(hidden, file)
            self.trees[file.path] = tree
        return self.trees[file.path]

    def _hidden(self, found: re.Match[str], file: SourceFile) -> None:
        mark = found[0]
        self.problems.add(
            "A021",
            f"U+{ord(mark):04X} ({unicodedata.name(mark).lower()}) changes the order in which this line is shown",
            file.span(found.start(), found.end()),
            help=f"delete it; where a text needs it, a string in quotes says `\\u{ord(mark):04x}`",
        )

    def _extend(self, scope: Scope, path: ast.Text, file: SourceFile, chain: tuple[str, ...]) -> None:
        """Take everything of a base file first; what this file writes then goes over it."""
        base = self._locate(path, file, "extends")
        if base is None:
            scope.lost_unnamed = scope.base_lost = True
            return
        if self._no_way(path.span, base.path, chain):
            return
        self.imports.append(ImportedFile(base.path, "", text_digest(base.text)))
        self._fill(scope, base, (*chain, base.path))

    # --- imports ------------------------------------------------------------------------------------------------------

    def _add_import(self, scope: Scope, item: ast.Import, file: SourceFile, chain: tuple[str, ...]) -> None:
        name = item.alias.name
        old = scope.aliases.get(name)
        if old is not None and old.stmt.span.file == item.span.file:
            self._twice(name, item.alias.span, old.stmt.alias.span)
            return
        target = self._locate(item.path, file, "import")
        result: Scope | None = None
        if target is not None and not self._no_way(item.path.span, target.path, chain):
            result = self._import(target, f"{scope.prefix}{name}", chain)
        scope.aliases[name] = Alias(name, item, result, used=result is None)

    def _import(self, file: SourceFile, alias: str, chain: tuple[str, ...]) -> Scope:
        if file.path not in self.scopes:
            result = Scope(file.path, alias + ".")
            self.scopes[file.path] = result
            self.imports.append(ImportedFile(file.path, alias, text_digest(file.text)))
            self._fill(result, file, (*chain, file.path))
        return self.scopes[file.path]

    def _no_way(self, span: Span, path: str, chain: tuple[str, ...]) -> bool:
        """Whether a file may not be taken: it is being read already, or the way to it is too long. That is reported."""
        if path in chain:
            self._cycle(span, path, chain)
        elif len(chain) >= LONGEST_CHAIN:
            self.problems.add(
                "A020",
                f"{LONGEST_CHAIN} files import or extend each other in a row",
                span,
                note=" -> ".join((*chain[:2], "…", *chain[-1:], path)),
                help="import from the recipe itself what it needs of the files behind",
            )
        else:
            return False
        return True

    def _cycle(self, span: Span, path: str, chain: tuple[str, ...]) -> None:
        circle = [*chain[chain.index(path) :], path]
        self.problems.add(
            "A108",
            "files import each other in a cycle",
            span,
            note=" -> ".join(circle),
            help="move what both need into a third file",
        )

    def _locate(self, text: ast.Text, file: SourceFile, what: str) -> SourceFile | None:
        """The file of an import path, reported where there is none."""
        path = text.value
        if path.startswith(STD):
            return self._open(path, text.span)
        folder = self._folder(file.path)
        if folder is None or path.startswith("/") or "\\" in path or ":" in path:
            self._outside(text, what)
            return None
        full = posixpath.normpath(posixpath.join(folder, path))
        if full.startswith("../") or full == "..":
            self._outside(text, what)
            return None
        return self._open(full, text.span, path)

    def _outside(self, text: ast.Text, what: str) -> None:
        self.problems.add(
            "A113",
            f"`{text.value}` lies outside the project",
            text.span,
            help="copy the file into the project; only `std:` files come from elsewhere",
            note=None if what == "import" else "a file can extend files of its project only",
        )

    def _folder(self, path: str) -> str | None:
        if path.startswith(STD):
            return None
        if self.root and len(self.files) and path == next(iter(self.files)):
            return self.root
        return posixpath.dirname(path)

    def _open(self, path: str, span: Span, written: str | None = None) -> SourceFile | None:
        if path in self.files:
            return self.files[path]
        try:
            data = self.read(path)
        except OSError as error:
            self.problems.add("A113", f"`{written or path}` may not be read: {error.strerror}", span)
            return None
        if data is None:
            self._not_found(path, written or path, span)
            return None
        decoded, found = decode(path, data)
        self.problems.take(found)
        file = decoded if decoded is not None else SourceFile(path, "")
        self.files[path] = file
        return file

    def _not_found(self, path: str, written: str, span: Span) -> None:
        folder, name = posixpath.split(path)
        others = [n for n in self.listing(STD if path.startswith(STD) else folder) if n != name]
        recipes = [n for n in others if n.endswith(".recipe") or path.startswith(STD)]
        found = near(name.removeprefix(STD), recipes, 3)
        places = [written.removesuffix(name) + n if not path.startswith(STD) else STD + n for n in found]
        where = "the shipped library" if path.startswith(STD) else f"looked in {folder or '.'}"
        self.problems.add(
            "A107",
            f"no file `{path}`",
            span,
            label=where,
            edit=Edit(span, f'"{places[0]}"') if len(places) == 1 else None,
            help="did you mean " + " or ".join(f'"{p}"' for p in places) + "?" if places else None,
        )

    # --- declarations -------------------------------------------------------------------------------------------------

    def _add_param(self, scope: Scope, item: ast.ParamDecl) -> None:
        old = scope.params.get(item.name.name)
        if old is not None and old.decl.span.file == item.span.file:
            self._twice(item.name.name, item.name.span, old.decl.name.span)
            return
        scope.params[item.name.name] = Param(item.name.name, item, scope)

    def _add_block(self, scope: Scope, block: ast.Block) -> None:
        kind = KINDS.get(block.kind.name)
        if kind is None:
            self._unknown_kind(scope, block)
            return
        name = self._name(block)
        if name is None and kind.name == "required":  # whoever reads it names what is not there
            scope.lost_unnamed = True
        body = collect(block, kind, scope, self.problems)
        if name is None:
            self._add_unnamed(scope, block, body)
            return
        decl = Decl(scope.prefix + name.name, block.kind.name, name.name, block, scope, body)
        self._check_name(scope, decl, name.span)
        old = scope.decls.get(name.name)
        if old is None:
            scope.decls[name.name] = decl
        elif old.block.span.file != block.span.file and old.kind == decl.kind:
            merge(old.body, body, kind)
            body.wrong = body.wrong or old.body.wrong
            decl.body = old.body
            scope.decls[name.name] = decl
        else:
            self._twice(name.name, name.span, _name_span(old.block))
            decl.bad = True
            decl.key += f" ({len(scope.unnamed) + 2})"
            scope.unnamed.append(decl)

    def _add_unnamed(self, scope: Scope, block: ast.Block, body: Body) -> None:
        kind = block.kind.name
        number = len(scope.unnamed)
        key = f"{kind} ({number})" if kind != "recipe" else "(recipe)"
        name = block.name.value if isinstance(block.name, ast.Text) else kind
        if isinstance(block.name, ast.Text):
            key = f"test {block.name.value}"
        for old in scope.unnamed:
            if kind == "recipe" and old.kind == "recipe":
                if old.block.span.file == block.span.file:
                    self._twice("recipe", block.header, old.block.header)
                    return
                merge(old.body, body, KINDS["recipe"])
                old.block = block
                return
            if kind == "test" and old.kind == "test" and old.name == name:
                self._twice(name, block.header, old.block.header)
                key += f" ({number})"
        nameless = KINDS[kind].name == "required"
        scope.unnamed.append(Decl(scope.prefix + key, kind, name, block, scope, body, bad=nameless))

    def _name(self, block: ast.Block) -> ast.Ident | None:
        kind = KINDS[block.kind.name]
        named = block.name
        if kind.name in ("required", "optional") and isinstance(named, ast.Ident):
            return named
        if kind.name == "required" and not isinstance(named, ast.Ident):
            self.problems.add(
                "A112",
                f"{article(block.kind.name)} needs a name",
                block.header,
                help=f"for example `{block.kind.name} my_{block.kind.name} {{`",
            )
        elif kind.name == "text" and not isinstance(named, ast.Text):
            self.problems.add(
                "A112",
                f"{article(block.kind.name)} needs a sentence in quotes as its name",
                block.header,
                help=f'for example `{block.kind.name} "an empty answer is dropped" {{`',
            )
        elif kind.name == "none" and named is not None:
            self.problems.add("A115", f"a `{block.kind.name}` block has no name", named.span)
        return None

    def _check_name(self, scope: Scope, decl: Decl, span: Span) -> None:
        if decl.name in TAKEN or (decl.kind == "source" and decl.name in ("dropped", "trace", "rows")):
            why = (
                "it would hide the port of the same name"
                if decl.name not in TAKEN
                else "the word means something else in the language"
            )
            self.problems.add(
                "A115",
                f"{article(decl.kind)} may not be called `{decl.name}`",
                span,
                note=why,
                help=f"choose another name, for example `{decl.name}_{decl.kind}`",
            )
        alias = scope.aliases.get(decl.name)
        if alias is not None:
            self._twice(decl.name, span, alias.stmt.alias.span)

    def _unknown_kind(self, scope: Scope, block: ast.Block) -> None:
        found, edit = did_you_mean(block.kind.name, KINDS, block.kind.span)
        self.problems.add(
            "A101",
            f"there is no block kind `{block.kind.name}`",
            block.kind.span,
            help=found or (_kind_first(block) if block.name is None else None),
            edit=edit,
            note=None if found else "kinds: " + ", ".join(KINDS),
        )
        if isinstance(block.name, ast.Ident):
            scope.lost.add(block.name.name)
        else:
            scope.lost_unnamed = True

    def _twice(self, name: str, span: Span, first: Span) -> None:
        self.problems.add("A104", f"`{name}` is declared twice", span, label="again", labels=(Label(first, "first"),))


def _kind_first(block: ast.Block) -> str:
    return f"is it the name? Its kind comes first: `KIND {block.kind.name} {{`"


def _extended(tree: ast.File, file: SourceFile) -> ast.Text | ast.BadExpr | None:
    """The base of a file; a bad value where it was meant to have one that cannot be read."""
    recipes = [i for i in tree.items if isinstance(i, ast.Block) and i.kind.name == "recipe"]
    for statement in (s for block in recipes for s in block.body):
        if isinstance(statement, ast.Assign) and [i.name for i in statement.path] == ["extends"]:
            value = statement.value
            return value if isinstance(value, ast.Text | ast.BadExpr) else None
    for item in (*(i for i in tree.items if i not in recipes), *(s for r in recipes for s in r.body)):
        unread = isinstance(item, ast.BadItem | ast.BadStatement)
        strange = isinstance(item, ast.Block) and item.kind.name not in KINDS
        if (unread or strange) and _NAMES_A_BASE.search(file.text, item.span.start, item.span.end):
            return ast.BadExpr(item.span)
    return None


def _name_span(block: ast.Block) -> Span:
    return block.header if block.name is None else block.name.span


# --- params ----------------------------------------------------------------------------------------------------------

TYPES: Final = ("text", "bool", *(n for n, u in UNITS.items() if u.param), "prob", "json", "list", "enum")
_PLACES: Final = {"set": "--set", "environment": "environment", "file": "--params"}


def resolve(context: Context, outside: Mapping[str, tuple[str, str]]) -> dict[str, ir.ParamValue]:
    """Values of all parameters by name; those of imports under their prefix."""
    lines = _outside_lines(context, outside)
    found: dict[str, ir.ParamValue] = {}
    known: dict[str, Param] = {}
    for scope in context.loader.scopes.values():
        for param in scope.params.values():
            known[scope.prefix + param.name] = param
    for name, line in lines.items():
        if name not in known:
            _unknown(context, name, line, known)
    for name, param in known.items():
        value = _value(context, param, lines.get(name))
        if value is not None:
            found[name] = replace(value, name=name)
    return found


class Line:
    """A value from outside with its place in the file that stands for the command line or the environment."""

    def __init__(self, text: str, origin: str, name_span: Span, span: Span, shown: str) -> None:
        self.text, self.origin, self.name_span, self.span, self.shown = (text, origin, name_span, span, shown)


def _outside_lines(context: Context, outside: Mapping[str, tuple[str, str]]) -> dict[str, Line]:
    texts: dict[str, str] = {}
    lines: dict[str, Line] = {}
    for name, (text, origin) in outside.items():
        path = _PLACES.get(origin, origin)
        before = texts.get(path, "")
        lead = {"--set": "--set ", "environment": "ALCHEMIST_PARAM_"}.get(path, "")
        shown_name = name.upper() if path == "environment" else name
        written = text.replace("\n", " ")
        line = f"{lead}{shown_name}={written}"
        at = len(before) + len(lead)
        name_span = Span(path, at, at + len(shown_name))
        span = Span(path, name_span.end + 1, name_span.end + 1 + len(written))
        lines[name] = Line(text, origin, name_span, span, line)
        texts[path] = before + line + "\n"
    for path, text in texts.items():
        context.loader.files[path] = SourceFile(path, text)
    return lines


def _unknown(context: Context, name: str, line: Line, known: Mapping[str, Param]) -> None:
    text, _ = did_you_mean(name, known)
    note = "parameters: " + listed(list(known)) if known and not text else None
    context.problems.add(
        "A116",
        f"the recipe has no parameter `{name}`",
        line.name_span,
        help=text or (None if known else "it declares none"),
        note=note,
    )


def _value(context: Context, param: Param, line: Line | None) -> ir.ParamValue | None:
    decl = param.decl
    type_ = declared_type(decl.type)
    if type_ is None:
        unknown_type(decl.type, context.problems, TYPES)
        return None
    expr, origin = param.expr, param.origin
    if expr is None:
        expr, origin = decl.default, "default"
    if expr is not None and not (line is not None and origin == "variant"):
        value = _checked(context, param.scope, expr, type_, decl)
        if value is None:
            param.expr = None
            return None
    if line is not None:
        expr = _from_outside(context, param, line, type_)
        origin = line.origin
        if expr is None:
            param.expr = None
            return None
        value = _checked(context, param.scope, expr, type_, decl)
    elif expr is None:
        value = _without(context, decl)
        expr = ast.Null(decl.span)
        if value is None:
            param.expr = None
            return None
    assert value is not None and expr is not None
    param.expr, param.value, param.origin = expr, value, origin
    return ir.ParamValue(decl.name.name, decl.type.text, value, origin, value_text(expr), expr.span)


def _without(context: Context, decl: ast.ParamDecl) -> ir.Value | None:
    if decl.type.nullable:
        return ir.NullV(decl.span)
    example = _example(decl.type)
    context.problems.add(
        "A212",
        f"the parameter `{decl.name.name}` has no default and was given no value",
        decl.name.span,
        help=f"pass one, for example `--set {decl.name.name}={example}`",
    )
    return None


def _checked(context: Context, scope: Scope, expr: ast.Expr, type_: AttrType, decl: ast.ParamDecl) -> ir.Value | None:
    if isinstance(expr, ast.Null) and decl.type.nullable:
        return ir.NullV(expr.span)
    place = Place(decl.name.name, expr.span, from_param="")
    return Values(context, scope).read(expr, type_, place)


def _from_outside(context: Context, param: Param, line: Line, type_: AttrType) -> ast.Expr | None:
    """The value of a text from outside: by the same grammar; a text needs no quotes."""
    expr: ast.Expr | None
    quoted = line.text.startswith('"')
    if type_.name in ("text", "choice") and not quoted:
        expr = ast.Text(line.span, line.text)
    else:
        expr, problems = parse_value(line.text, "value")
        if problems:
            expr = None
    if expr is not None:
        from alchemist_dsl.checker.values import relocated

        expr = relocated(expr, line.span)
        scratch = Problems()
        value = _checked(replace(context, problems=scratch), param.scope, expr, type_, param.decl)
        if value is not None:
            return expr
    _bad_override(context, param.decl, line, type_)
    return None


def _bad_override(context: Context, decl: ast.ParamDecl, line: Line, type_: AttrType) -> None:
    example = _example(decl.type)
    name = decl.name.name
    displayed = f"--set {name}={example}" if line.origin == "set" else f"{name} = {example}"
    what = decl.type.text
    named = (
        article(what) if what in ("percent", "multiplier", "duration", "rate") else NOUNS.get(type_.name, (what,))[0]
    )
    if decl.type.low is not None or decl.type.high is not None:
        named += f" of `{what}`"
    if type_.name == "choice":
        named = "one of " + ", ".join(type_.names)
    context.problems.add(
        "A207",
        f"`{line.shown}` is not {named}",
        line.span,
        labels=(Label(decl.type.span, "declared here"),),
        help=f"for example `{displayed}`",
    )


def _example(type_: ast.TypeExpr) -> str:
    if type_.base == "enum" and type_.values:
        return type_.values[0]
    found = {"list": "[1, 2]", "prob": "0.5", "json": "{ a = 1 }", "text": "hello"}.get(type_.base)
    return found or NOUNS.get(type_.base, ("", "1"))[1]


def declared_type(type_: ast.TypeExpr) -> AttrType | None:
    """The attribute type of a parameter's declared type; None where nothing is called so."""
    if type_.base in TYPES and type_.base in ("text", "bool", *UNITS):
        return AttrType(type_.base, low=type_.low, high=type_.high)
    if type_.base == "prob":
        return AttrType("real", low=Fraction(0), high=Fraction(1))
    if type_.base == "enum":
        return AttrType("choice", names=type_.values)
    if type_.base == "json":
        return AttrType("literal")
    if type_.base == "list" and type_.args:
        inner = declared_type(type_.args[0])
        return None if inner is None else AttrType("list", (inner,))
    return None


def unknown_type(type_: ast.TypeExpr, problems: Problems, known: Sequence[str]) -> None:
    """Report a type that does not exist."""
    base = type_
    while base.base == "list" and base.args:
        base = base.args[0]
    text, edit = did_you_mean(base.base, known, base.span)
    problems.add(
        "A103", f"there is no type `{base.base}`", base.span, help=text or "types: " + ", ".join(known), edit=edit
    )


def value_text(expr: ast.Expr) -> str:
    """A value as it would be written, in one form for equal texts."""
    match expr:
        case ast.Quantity(text=text):
            return text
        case ast.Text(value=value):
            import json

            return json.dumps(value, ensure_ascii=False)
        case ast.Bool(value=flag):
            return "true" if flag else "false"
        case ast.Null():
            return "null"
        case ast.Name(name=name):
            return name
        case ast.ListExpr(items=items):
            return "[" + ", ".join(value_text(i) for i in items) + "]"
        case ast.Record(fields=fields):
            return "{ " + ", ".join(f"{f.name.name} = {value_text(f.value)}" for f in fields) + " }"
        case ast.Unary(op="-", operand=operand):
            return "-" + value_text(operand)
        case ast.Interval(low=low, high=high):
            return f"{value_text(low)}..{value_text(high)}"
        case _:
            return "…"
