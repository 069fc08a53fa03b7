"""`extends` between blocks: every block with all that it takes from the block it extends."""

from __future__ import annotations

from collections.abc import Iterable

from alchemist_runtime.schema.attributes import AttrType, Kind
from alchemist_runtime.schema.kinds import KINDS, NAMED_EXPRESSIONS

from alchemist_dsl.checker.context import Context
from alchemist_dsl.checker.names import (
    Body,
    Decl,
    Found,
    Missing,
    Placed,
    Scope,
    dotted,
    find,
    path_of,
    report_missing,
    span_of,
    wrong_kind,
)
from alchemist_dsl.checker.problems import Problems, did_you_mean, listed
from alchemist_dsl.diagnostics.model import Edit, Label
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast


def resolve(context: Context) -> None:
    """Fill `context.bodies`."""
    for decl in context.decls.values():
        _body(decl, context)
    reported: set[Span] = set()
    for decl in context.decls.values():
        _took_nothing(decl, context, reported)
    for body in context.bodies.values():
        without_nulls(body)


def _took_nothing(decl: Decl, context: Context, reported: set[Span]) -> None:
    """Report what was to be taken away and is not there; a block that inherits the statement says nothing again."""
    body = context.bodies[decl.key]
    if body.base_lost or decl.bad or decl.kind == "variant":
        return
    kind = KINDS[decl.kind]
    for block, statement in took_nothing(body, kind):
        span = span_of(statement.path)
        if span in reported or body.lost or decl.scope.base_lost:
            continue
        reported.add(span)
        known = _there(body) if block is None else _entries(body, block)
        name = dotted(statement.path)
        text, edit = did_you_mean(name, [*known, *(kind.attributes if block is None else ())], span)
        where = f"`{decl.kind} {decl.name}`" if block is None else f"`{block}` of `{decl.name}`"
        context.problems.add(
            "A102",
            f"{where} has no `{name}` that could be removed",
            span,
            help=text,
            edit=edit,
            note=None if text or not known else "it has " + listed(known[:8]),
        )


def _there(body: Body) -> list[str]:
    """Names in a block that could be removed."""
    attrs = [name for name, placed in body.attrs.items() if not is_null(placed.stmt)]
    rules = [r.stmt.name.name for r in body.rules if r.stmt.name is not None]
    return [*attrs, *body.sets, *body.fields, *rules]


def _entries(body: Body, block: str) -> list[str]:
    return [name for name, placed in body.blocks[block].items() if not is_null(placed.stmt)]


def _body(decl: Decl, context: Context) -> Body:
    """Walk down the chain of bases, then lay them over each other from the base up."""
    if decl.key in context.bodies:
        return context.bodies[decl.key]
    chain = [decl]
    seen = {decl.key}
    while True:
        base = _base(chain[-1], context)
        if base is None:
            break
        if base.key in seen:
            _circle(chain[-1], base, context)
            break
        context.bases.add(base.key)
        chain.append(base)
        seen.add(base.key)
        if base.key in context.bodies:
            break
    for at in reversed(chain):
        context.bodies.setdefault(at.key, _merged(at, context))
    return context.bodies[decl.key]


def _merged(decl: Decl, context: Context) -> Body:
    base = _base(decl, context, silent=True)
    if base is None or base.key not in context.bodies:
        return inherited_as_is(decl.body)
    body = inherited(context.bodies[base.key], f"extends:{base.key}")
    body.base_lost = body.base_lost or bool(body.bad)  # what could not be read may have been there
    body.bad = ()
    merge(body, decl.body, KINDS[decl.kind])
    return body


def inherited_as_is(body: Body) -> Body:
    """A copy that passes may change without touching the declaration."""
    result = Body()
    result.attrs = dict(body.attrs)
    result.blocks = {n: dict(e) for n, e in body.blocks.items()}
    result.sets, result.rules, result.fields = dict(body.sets), list(body.rules), dict(body.fields)
    result.block_spans, result.bad, result.wrong = dict(body.block_spans), body.bad, body.wrong
    result.taken = set(body.taken)
    result.base_lost = body.base_lost
    return result


def _base(decl: Decl, context: Context, *, silent: bool = False) -> Decl | None:
    placed = decl.body.attrs.get("extends")
    if placed is None or decl.kind == "recipe" or isinstance(placed.stmt.value, ast.Null):
        return None
    if isinstance(placed.stmt.value, ast.BadExpr):
        decl.body.base_lost = True
        return None
    if "extends" not in KINDS[decl.kind].attributes:
        return None
    path = path_of(placed.stmt.value)
    if path is None:
        if not silent:
            context.problems.add("A201", "`extends` takes the name of a block of the same kind", placed.stmt.value.span)
            decl.body.wrong = decl.body.base_lost = True
        return None
    if decl.kind == "schema" and len(path) == 1 and path[0].name == "sft":
        return None
    found = find(path, placed.scope)
    if isinstance(found, Missing):
        if not silent:
            report_missing(found, (decl.kind,), context.problems)
            decl.body.wrong = decl.body.base_lost = True
        return None
    assert isinstance(found, Found)
    if found.decl.kind != decl.kind or found.rest:
        if not silent:
            wrong_kind("extends", (decl.kind,), found.decl, span_of(path), context.problems)
            decl.body.wrong = decl.body.base_lost = True
        return None
    return found.decl


def _circle(decl: Decl, base: Decl, context: Context) -> None:
    one, two = decl.body.attrs["extends"], base.body.attrs["extends"]
    context.problems.add(
        "A501",
        f"`{decl.name}` extends itself" if decl is base else "these blocks extend each other",
        one.stmt.value.span,
        labels=(Label(two.stmt.value.span, "and back here"),) if decl is not base else (),
    )
    for at in (decl, base):
        at.body.wrong = at.body.base_lost = True


# --- merge -----------------------------------------------------------------------------------------------------------

Entry = Placed[ast.Assign] | Placed[ast.FieldDecl]


def collect(block: ast.Block, kind: Kind, scope: Scope, problems: Problems, origin: str = "written") -> Body:
    """The body of a block, with statements reported that its kind does not take or that stand twice."""
    return _Collector(block, kind, scope, problems, origin).run()


class _Collector:
    def __init__(self, block: ast.Block, kind: Kind, scope: Scope, problems: Problems, origin: str) -> None:
        self.block, self.kind, self.scope, self.problems = block, kind, scope, problems
        self.origin = origin
        self.body = Body()
        self.rule_names: dict[str, ast.Ident] = {}
        self.title = title(block)

    def run(self) -> Body:
        before = len(self.problems)
        for statement in self.block.body:
            match statement:
                case ast.Assign(set=True):
                    self._set(statement)
                case ast.Assign():
                    self._attr(statement)
                case ast.RuleStmt():
                    self._rule(statement)
                case ast.FieldDecl():
                    self._field(statement)
                case ast.Block():
                    self._sub_block(statement)
                case ast.BadStatement():
                    self.body.bad += (statement,)
        self.body.wrong = len(self.problems) > before or bool(self.body.bad)
        return self.body

    def _lost(self, statement: ast.Statement) -> None:
        """A statement that was reported and left out: what it was meant to say is not known to be missing."""
        path = statement.path if isinstance(statement, ast.Assign) else ()
        if isinstance(statement, ast.Block):
            path = (statement.kind,)
        self.body.bad += (ast.BadStatement(statement.span, path),)

    def _place(self, statement: ast.Assign) -> Placed[ast.Assign]:
        return Placed(statement, self.scope, self.origin)

    def _attr(self, statement: ast.Assign) -> None:
        if len(statement.path) > 1:
            self._dotted(statement)
            return
        name = statement.path[0]
        if name.quoted:
            self._quoted(statement)
            return
        old = self.body.attrs.get(name.name)
        if old is not None:
            self._again(name, old.stmt, statement)
        elif name.name in self.body.blocks:
            self.problems.add(
                "A105",
                f"`{name.name}` is set twice in {self.title}",
                name.span,
                label="again",
                labels=(Label(self.body.block_spans[name.name].header, "first, as a block"),),
            )
        else:
            self.body.attrs[name.name] = self._place(statement)

    def _quoted(self, statement: ast.Assign) -> None:
        self._lost(statement)
        name = statement.path[0]
        self.problems.add(
            "A111",
            f'`"{name.name}"` cannot be set here: names of attributes and entries stand without quotes',
            name.span,
            note="names in quotes stand in `extra`, `query` and `headers_env` of a teacher",
        )

    def _again(self, name: ast.Ident, old: ast.Assign, new: ast.Assign) -> None:
        one, two = brief(old.value), brief(new.value)
        differ = f"; the two values differ ({one}, {two})" if one and two and one != two else ""
        self.problems.add(
            "A105",
            f"`{name.name}` is set twice in {self.title}",
            name.span,
            label="again",
            labels=(Label(old.path[-1].span, "first"),),
            help="keep one" + differ,
        )

    def _dotted(self, statement: ast.Assign) -> None:
        self._lost(statement)
        span = statement.path[0].span.to(statement.path[-1].span)
        first = statement.path[0].name
        rest = ".".join(i.name for i in statement.path[1:])
        known = first in self.kind.blocks or _is_record(self.kind, first)
        varies = "set" in self.kind.statements and self.block.kind.name == "variant"
        at = Span(span.file, span.start, span.start)
        self.problems.add(
            "A111",
            (
                f"{self.title} changes an attribute with `set`"
                if varies
                else f"a path with dots cannot be set in {self.title}"
            ),
            span,
            help=(
                f"write `set {first}.{rest} = …`"
                if varies
                else f"write it as a block: `{first} {{ {rest} = … }}`"
                if known
                else None
            ),
            edit=Edit(at, "set ") if varies else None,
        )

    def _set(self, statement: ast.Assign) -> None:
        if "set" not in self.kind.statements:
            self._misplaced(
                statement, "set", f"columns are set in {listed(sorted(_kinds_with('set') - {'variant'}), 'or')} blocks"
            )
            return
        path = ".".join(i.name for i in statement.path)
        if len(statement.path) > 1 and self.block.kind.name != "variant":
            self._lost(statement)
            span = statement.path[0].span.to(statement.path[-1].span)
            self.problems.add(
                "A111",
                f"`set` takes the name of a column, and `{path}` is a path",
                span,
                note="only variants set paths",
            )
            return
        old = self.body.sets.get(path)
        if old is not None:
            self._again(ast.Ident(statement.path[-1].span, path), old.stmt, statement)
        else:
            self.body.sets[path] = self._place(statement)

    def _rule(self, statement: ast.RuleStmt) -> None:
        if statement.verb not in self.kind.statements:
            where = listed(sorted(_kinds_with(statement.verb)), "or")
            self._misplaced(statement, statement.verb, f"`{statement.verb}` stands in {where} blocks")
            return
        if statement.name is not None:
            first = self.rule_names.setdefault(statement.name.name, statement.name)
            if first is not statement.name:
                self.problems.add(
                    "A105",
                    f"two rules of {self.title} are called `{statement.name.name}`",
                    statement.name.span,
                    label="again",
                    labels=(Label(first.span, "first"),),
                    help="rows are counted by the name of the rule, so give each its own",
                )
                return
        self.body.rules.append(Placed(statement, self.scope, self.origin))

    def _field(self, statement: ast.FieldDecl) -> None:
        name = statement.name.name
        if "field" not in self.kind.statements:
            self._lost(statement)
            inside = "`input` or `output`" if self.block.kind.name == "prompt" else None
            known = name in self.kind.attributes
            self.problems.add(
                "A009" if known else "A111",
                (
                    "attributes are set with `=`; `:` declares the type of a field"
                    if known
                    else f"a typed field does not belong in {self.title}"
                ),
                statement.name.span,
                help=f"put it into {inside}" if inside and not known else None,
            )
            return
        _add_field(self.body.fields, statement, self.scope, self.origin, self.problems, self.title)

    def _sub_block(self, block: ast.Block) -> None:
        name = block.kind.name
        if name not in self.kind.blocks and not _is_record(self.kind, name):
            self._stray_block(block)
            return
        if name in self.body.blocks or name in self.body.attrs:
            old = self.body.block_spans.get(name)
            first = old.header if old else self.body.attrs[name].stmt.path[0].span
            self.problems.add(
                "A105",
                f"`{name}` is set twice in {self.title}",
                block.header,
                label="again",
                labels=(Label(first, "first"),),
            )
            return
        if block.name is not None:
            self.problems.add(
                "A115", f"`{name}` of {self.title} has no name of its own", block.name.span, help=f"write `{name} {{`"
            )
        self.body.block_spans[name] = block
        typed = name in ("input", "output")
        free = name in self.kind.attributes and name not in NAMED_EXPRESSIONS
        free = free and not _record(self.kind, name).fields
        self.body.blocks[name] = self._entries(block, typed=typed, free=free)

    def _stray_block(self, block: ast.Block) -> None:
        self._lost(block)
        name = block.kind.name
        if name in KINDS:
            self.problems.add(
                "A111",
                f"a `{name}` block cannot stand inside {self.title}",
                block.header,
                help="move it out to the top level",
            )
            return
        blocks = [*self.kind.blocks, *(n for n in self.kind.attributes if _is_record(self.kind, n))]
        if name in self.kind.attributes:
            self.problems.add(
                "A201", f"`{name}` is not a block; it is set with `=`", block.header, help=f"write `{name} = …`"
            )
            return
        text, edit = did_you_mean(name, blocks, block.kind.span)
        self.problems.add("A102", f"{self.title} has no block `{name}`", block.kind.span, help=text, edit=edit)

    def _entries(self, block: ast.Block, *, typed: bool, free: bool) -> dict[str, Entry]:
        """What stands in a sub-block. `free`: its names are not the language's, and it may hold others."""
        entries: dict[str, Entry] = {}
        name = block.kind.name
        for statement in block.body:
            if free and isinstance(statement, ast.Block) and statement.name is None:
                statement = self._as_record(statement)
            match statement:
                case ast.Assign(set=False) if not typed and statement.path[0].quoted and not free:
                    self._quoted(statement)
                case ast.Assign(set=False) if not typed:
                    path = ".".join(i.name for i in statement.path)
                    old = entries.get(path)
                    if old is not None and isinstance(old.stmt, ast.Assign):
                        ident = ast.Ident(statement.path[-1].span, path)
                        self._again(ident, old.stmt, statement)
                    else:
                        entries[path] = self._place(statement)
                case ast.FieldDecl() if typed:
                    _add_field(entries, statement, self.scope, self.origin, self.problems, f"`{name}`")
                case ast.BadStatement():
                    self.body.bad += (statement,)
                case ast.Assign() if typed:
                    self._lost(statement)
                    field = statement.path[0]
                    self.problems.add(
                        "A111",
                        f"`{name}` declares fields with a type",
                        statement.span,
                        help=f"for example `{field.name}: text`",
                    )
                case ast.FieldDecl():
                    self._lost(statement)
                    self.problems.add(
                        "A009",
                        f"an entry of `{name}` is set with `=`; `:` declares the type of a field",
                        statement.name.span,
                    )
                case _:
                    self._no_entry(block, statement, typed)
        return entries

    def _as_record(self, block: ast.Block) -> ast.Assign:
        """A block inside of one as the entry that it says: `a { b = 1 }` is `a = { b = 1 }`."""
        fields = [
            ast.RecordField(p.stmt.span, ast.Ident(p.stmt.path[-1].span, name), p.stmt.value)
            for name, p in self._entries(block, typed=False, free=True).items()
            if isinstance(p.stmt, ast.Assign)
        ]
        return ast.Assign(block.span, (block.kind,), ast.Record(block.span, tuple(fields)))

    def _no_entry(self, block: ast.Block, statement: ast.Statement, typed: bool) -> None:
        """A rule, a column or a block where entries or fields stand."""
        self._lost(statement)
        name, span = block.kind.name, statement.span
        what: str
        match statement:
            case ast.RuleStmt(verb=verb):
                what, span = verb, Span(span.file, span.start, span.start + len(verb))
            case ast.Block(kind=kind, header=header):
                what, span = kind.name, header
            case _:
                what, span = "set", Span(span.file, span.start, span.start + len("set"))
        holds = "typed fields, `NAME: TYPE`" if typed else "entries, `NAME = VALUE`"
        self.problems.add(
            "A111",
            f"`{what}` does not belong in `{name}`, which holds {holds}",
            span,
            help=f"move it out, behind the `}}` of `{name}`",
        )

    def _misplaced(self, statement: ast.Statement, what: str, note: str) -> None:
        self._lost(statement)
        self.problems.add("A111", f"`{what}` does not belong in {self.title}", statement.span, note=note or None)


def _add_field(
    into: dict[str, Placed[ast.FieldDecl]] | dict[str, Entry],
    statement: ast.FieldDecl,
    scope: Scope,
    origin: str,
    problems: Problems,
    where: str,
) -> None:
    name = statement.name.name
    old = into.get(name)
    if old is not None and isinstance(old.stmt, ast.FieldDecl):
        problems.add(
            "A105",
            f"the field `{name}` is declared twice in {where}",
            statement.name.span,
            label="again",
            labels=(Label(old.stmt.name.span, "first"),),
        )
        return
    into[name] = Placed(statement, scope, origin)


def _kinds_with(statement: str) -> set[str]:
    return {name for name, kind in KINDS.items() if statement in kind.statements}


def _is_record(kind: Kind, name: str) -> bool:
    attribute = kind.attributes.get(name)
    if attribute is None:
        return False
    return any(a.name == "record" for a in attribute.type.alternatives)


def _record(kind: Kind, name: str) -> AttrType:
    alternatives = kind.attributes[name].type.alternatives
    return next(a for a in alternatives if a.name == "record")


def title(block: ast.Block) -> str:
    """How messages call a block: `filter clean`."""
    match block.name:
        case ast.Ident(name=name):
            return f"`{block.kind.name} {name}`"
        case ast.Text(value=value):
            return f'`{block.kind.name} "{value}"`'
        case _:
            return f"`{block.kind.name}`"


def brief(value: ast.Expr) -> str:
    """A short value as written, for messages; empty for long ones."""
    match value:
        case ast.Quantity(text=text):
            return text
        case ast.Name(name=name):
            return name
        case ast.Bool(value=flag):
            return "true" if flag else "false"
        case ast.Text(value=text) if len(text) <= 24 and "\n" not in text:
            return f'"{text}"'
        case _:
            return ""


# --- inheritance ------------------------------------------------------------------------------------------------------


def merge(base: Body, inner: Body, kind: Kind) -> None:
    """Lay `inner` over `base`, which changes. Null takes away; a rule of a known name replaces that rule in its
    place.
    """
    for name, placed in inner.attrs.items():
        null = isinstance(placed.stmt.value, ast.Null) and name not in kind.attributes
        if null and _take_away(base, name):
            continue
        base.blocks.pop(name, None)
        base.attrs[name] = placed
    for name, entries in inner.blocks.items():
        base.attrs.pop(name, None)
        base.block_spans[name] = inner.block_spans[name]
        known = base.blocks.get(name, {})
        base.taken |= {(name, entry) for entry, p in entries.items() if is_null(p.stmt) and entry in known}
        base.blocks[name] = {**known, **entries}
    base.taken |= inner.taken
    base.sets.update(inner.sets)
    base.fields.update(inner.fields)
    _merge_rules(base.rules, inner.rules)
    base.bad += inner.bad
    base.base_lost = base.base_lost or inner.base_lost
    base.wrong = base.wrong or inner.wrong


def _take_away(base: Body, name: str) -> bool:
    """Remove the rule, column or field of a name; False where there is none."""
    for rule in base.rules:
        if rule.stmt.name is not None and rule.stmt.name.name == name:
            base.rules.remove(rule)
            return True
    return base.sets.pop(name, None) is not None or base.fields.pop(name, None) is not None


def _merge_rules(base: list[Placed[ast.RuleStmt]], inner: Iterable[Placed[ast.RuleStmt]]) -> None:
    places = {r.stmt.name.name: i for i, r in enumerate(base) if r.stmt.name is not None}
    for rule in inner:
        at = places.get(rule.stmt.name.name) if rule.stmt.name is not None else None
        if at is None:
            base.append(rule)
        else:
            base[at] = rule


def inherited(body: Body, origin: str) -> Body:
    """A copy of a body whose statements say where they come from."""

    def mark(placed: Placed[ast.Assign]) -> Placed[ast.Assign]:
        return Placed(placed.stmt, placed.scope, origin)

    return Body(
        attrs={n: mark(p) for n, p in body.attrs.items()},
        blocks={
            n: {k: Placed(p.stmt, p.scope, origin) for k, p in entries.items()}  # type: ignore[misc]
            for n, entries in body.blocks.items()
        },
        sets={n: mark(p) for n, p in body.sets.items()},
        rules=[Placed(p.stmt, p.scope, origin) for p in body.rules],
        fields={n: Placed(p.stmt, p.scope, origin) for n, p in body.fields.items()},
        block_spans=dict(body.block_spans),
        taken=set(body.taken),
        bad=body.bad,
        base_lost=body.base_lost,
        wrong=body.wrong,
    )


def is_null(statement: ast.Assign | ast.FieldDecl) -> bool:
    """Whether a statement takes away."""
    return isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Null)


def took_nothing(body: Body, kind: Kind) -> list[tuple[str | None, ast.Assign]]:
    """Statements `NAME = null` for which there was nothing to take away, each with the sub-block it stands in."""
    out: list[tuple[str | None, ast.Assign]] = [
        (None, p.stmt)
        for name, p in body.attrs.items()
        if is_null(p.stmt) and name not in kind.attributes and name not in kind.blocks
    ]
    for block in kind.blocks:
        for entry, placed in body.blocks.get(block, {}).items():
            statement = placed.stmt
            found = (block, entry) in body.taken
            if isinstance(statement, ast.Assign) and is_null(statement) and not found:
                out.append((block, statement))
    return out


def without_nulls(body: Body) -> None:
    """Drop attributes and entries that are null: taken away, so that their defaults hold."""
    body.attrs = {n: p for n, p in body.attrs.items() if not is_null(p.stmt)}
    for name, entries in body.blocks.items():
        body.blocks[name] = {n: p for n, p in entries.items() if not is_null(p.stmt)}
