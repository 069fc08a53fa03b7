"""One block on its way from statements to a checked block: reads attributes once, collects inputs, says what is
missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from alchemist_runtime.schema.attributes import Amount, Attribute, AttrType, ByKind, Call, Default, is_name
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.rows import SFT

from alchemist_dsl import ir
from alchemist_dsl.checker.context import UNKNOWN, Context, Stream
from alchemist_dsl.checker.expressions import Env
from alchemist_dsl.checker.inheritance import title
from alchemist_dsl.checker.names import Body, Decl, Place, Placed, Scope
from alchemist_dsl.checker.problems import did_you_mean
from alchemist_dsl.checker.streams import joined
from alchemist_dsl.checker.taint import passed
from alchemist_dsl.checker.templates import Variables
from alchemist_dsl.checker.values import NOUNS, Values, nouns, param_name
from alchemist_dsl.diagnostics.model import Edit, near
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

_KEY_NAMES = frozenset({"api_key", "apikey", "key", "token", "secret", "password", "api_token"})


Check = Callable[["Building"], None]
#: By kind what reads its blocks; the others have inputs and attributes alone.
CHECKS: ByKind[Check] = ByKind()
checks = CHECKS.of


class Building:
    """The state of one block while it is checked. `ok` turns false with the first error in it."""

    def __init__(self, decl: Decl, context: Context) -> None:
        self.decl, self.context = decl, context
        self.body: Body = context.bodies[decl.key]
        self.kind = KINDS[decl.kind]
        self.title = title(decl.block)
        self.ok = not (self.body.wrong or decl.bad)
        self.attrs: dict[str, ir.Attr] = {}
        self.done: set[str] = {"extends"}
        self.inputs: list[ir.RefV] = []
        self.roles: list[str] = []
        self.stream: Stream = UNKNOWN
        self.env = Env(context, decl.scope)
        self.variables: Variables | None = None
        self.extra: dict[str, Any] = {}
        self.meant: set[str] = set()  # attributes that were written under another name

    @property
    def abstract(self) -> bool:
        """Whether it is there to be extended only: others take from it, and nothing reads its rows."""
        key = self.decl.key
        return key in self.context.bases and key not in self.context.read

    @property
    def incomplete(self) -> bool:
        """Whether something of it could not be read, so that what seems to be missing may be there."""
        nameless = self.decl.bad and self.decl.block.name is None  # it may go over one of its base
        return self.body.lost or self.decl.scope.base_lost or nameless

    @property
    def header(self) -> Span:
        return self.decl.block.header

    @property
    def name_span(self) -> Span:
        named = self.decl.block.name
        return self.decl.block.header if named is None else named.span

    def problem(self, code: str, headline: str, span: Span, **kw: Any) -> None:
        """Report an error or a warning in this block."""
        self.context.problems.add(code, headline, span, **kw)

    def error(self, code: str, headline: str, span: Span, **kw: Any) -> None:
        """Report an error, after which nothing that derives from this block is reported."""
        self.ok = False
        self.problem(code, headline, span, **kw)

    def values(self, scope: Scope) -> Values:
        """A reader of values that knows the rows of this block."""
        return Values(self.context, scope, self.env_in(scope), self.variables)

    def env_in(self, scope: Scope) -> Env:
        return self.env if scope is self.env.scope else replace(self.env, scope=scope)

    # --- attributes ---------------------------------------------------------------------------------------------------

    def unknown_attributes(self) -> None:
        """Report attributes that the kind does not have."""
        for name, placed in self.body.attrs.items():
            if name in self.kind.attributes:
                continue
            self.done.add(name)
            span = placed.stmt.path[0].span
            if name.lower() in _KEY_NAMES and self.decl.kind == "teacher":
                self._key(name, placed.stmt, span)
                continue
            if name in self.kind.blocks:
                self.error("A201", f"`{name}` is a block, not a value", span, help=f"write `{name} {{ … }}`")
                continue
            self._unknown(name, placed, span)

    def _unknown(self, name: str, placed: Placed[ast.Assign], span: Span) -> None:
        text, edit = did_you_mean(name, self.kind.attributes, span)
        self.meant.update(near(name, self.kind.attributes, 3))
        habit = meant(name, self.kind.attributes)
        if habit is not None and habit not in self.body.attrs and edit is None:
            text, edit = f"here it is called `{habit}`", Edit(span, habit, safe=False)
            self.meant = {*self.meant, habit}
        inside = self._block_of(name)
        if text is None and inside is not None:
            if self.context.problems.first(f"entries of {inside} in {self.decl.key}"):
                text = f"entries of `{inside}` stand in a block: `{inside} {{ {name} = … }}`"
                self.error("A102", f"{self.title} has no attribute `{name}`", span, help=text)
            self.ok = False
            return
        elsewhere = [k for k, kind in KINDS.items() if name in kind.attributes]
        column = name in SFT or not 0 < len(elsewhere) <= 3
        if text is None and "set" in self.kind.statements and column:
            text, edit = f"for a column write `set {name} = …`", Edit(span, f"set {name}")
        note = None
        if text is None and 0 < len(elsewhere) <= 3:
            note = "it is an attribute of " + ", ".join(f"`{k}`" for k in elsewhere)
        self.error("A102", f"{self.title} has no attribute `{name}`", span, help=text, edit=edit, note=note)

    def _block_of(self, name: str) -> str | None:
        """The sub-block in which a name would stand, where that is not written."""
        for block in ("take", "classes"):
            if block in self.kind.blocks and block not in self.body.blocks and "from" not in self.body.attrs:
                return block
        for attribute, declared in self.kind.attributes.items():
            for one in declared.type.alternatives:
                if any(f.name == name for f in one.fields) and attribute not in self.body.blocks:
                    return attribute
        return None

    def _key(self, name: str, statement: ast.Assign, span: Span) -> None:
        self.error(
            "A707",
            "an API key never stands in a recipe",
            span,
            help='name the environment variable that holds it: `api_key_env = "OPENAI_API_KEY"`',
            note="whoever reads the recipe or its history could use the key",
        )

    def attribute(self, name: str) -> ir.Value | None:
        """The value of an attribute, from what is written or its default; read once."""
        if name in self.done:
            found = self.attrs.get(name)
            return None if found is None or isinstance(found.value, ir.NullV) else found.value
        self.done.add(name)
        attribute = self.kind.attributes[name]
        if name in self.body.blocks:
            return self._block_attribute(name, attribute.type)
        placed = self.body.attrs.get(name)
        if placed is None:
            return self._absent(name, attribute)
        return self._written(name, attribute, placed)

    def _written(self, name: str, attribute: Attribute, placed: Placed[ast.Assign]) -> ir.Value | None:
        statement = placed.stmt
        name_span = statement.path[-1].span
        type_ = attribute.type
        used = param_name(statement.value)
        if used is not None and self._null_param(placed, used):
            return self._absent(name, attribute)
        if statement.per is not None and not _takes_per(type_):
            self.error("A111", f"`{name}` takes no `per`", statement.per.span)
            return None
        place = Place(name, name_span, statement.per)
        value = self.values(placed.scope).read(statement.value, type_, place)
        if value is None:
            self.ok = False
            return None
        origin = f"param:{used.name}" if used is not None else placed.origin
        self.attrs[name] = ir.Attr(name, value, name_span, origin)
        return value

    def _null_param(self, placed: Placed[ast.Assign], used: ast.Ident) -> bool:
        found = placed.scope.params.get(used.name)
        return found is not None and isinstance(found.expr, ast.Null)

    def _absent(self, name: str, attribute: Attribute) -> ir.Value | None:
        if attribute.default is not None:
            return self._default(name, attribute)
        if attribute.required and self.abstract:
            self.ok = False
        elif attribute.required and not self._lost(name):
            self.error("A106", f"{self.title} needs `{name}`", self.header, help=_how(name, attribute))
        return None

    def _lost(self, name: str) -> bool:
        """Whether something that could not be read may have set the attribute."""
        written = name in self.body.attrs or name in self.meant
        return self.incomplete or written or self.abstract

    def _default(self, name: str, attribute: Attribute) -> ir.Value | None:
        span = self.name_span
        if name in ("on", "against") and self.stream is UNKNOWN:
            return None
        place = Place(name, span, default=True)
        value = self.values(self.decl.scope).read(
            syntax_of(attribute.default, attribute.type, span), attribute.type, place
        )
        if value is None:
            self.ok = False
            return None
        self.attrs[name] = ir.Attr(name, value, span, "default")
        return value

    def _block_attribute(self, name: str, type_: AttrType) -> ir.Value | None:
        entries: dict[str, tuple[Span, ast.Expr, ast.Expr | None]] = {}
        origin, scope = "written", self.decl.scope
        for entry, placed in self.body.blocks[name].items():
            assert isinstance(placed.stmt, ast.Assign)
            path = placed.stmt.path
            if len(path) > 1:
                whole, rest = path[0].name, ".".join(i.name for i in path[1:])
                self.error(
                    "A111",
                    f"a path with dots cannot be set in `{name}`",
                    path[0].span.to(path[-1].span),
                    help=f"write it as a whole: `{whole} = {{ {rest} = … }}`",
                )
                continue
            entries[entry] = (placed.stmt.path[-1].span, placed.stmt.value, placed.stmt.per)
            origin, scope = placed.origin, placed.scope
        record = next(t for t in type_.alternatives if t.name == "record")
        span = self.body.block_spans[name].header
        value = self.values(scope).record(entries, record, Place(name, span), span)
        if value is None:
            self.ok = False
            return None
        self.attrs[name] = ir.Attr(name, value, span, origin)
        return value

    def get(self, name: str) -> ir.Value | None:
        """An attribute that was read already; None where it is not there or null."""
        found = self.attrs.get(name)
        return None if found is None or isinstance(found.value, ir.NullV) else found.value

    def read(self) -> None:
        """Read the inputs and all attributes; the rows of every port are those of the input."""
        if "from" in self.kind.attributes and self.kind.stream:
            self.read_from()
        self.rest()
        for port in self.kind.ports:
            self.publish(port, self.stream.columns)

    def rest(self) -> None:
        """Read all attributes that were not read yet."""
        for name in self.kind.attributes:
            self.attribute(name)

    # --- streams ------------------------------------------------------------------------------------------------------

    def read_streams(self, name: str, role: str) -> tuple[ir.RefV, ...]:
        """The streams of an attribute, added to the inputs of the block."""
        value = self.attribute(name)
        refs: tuple[ir.RefV, ...] = ()
        if isinstance(value, ir.ListV):
            refs = tuple(i for i in value.items if isinstance(i, ir.RefV))
        elif isinstance(value, ir.RefV):
            refs = (value,)
        for ref in refs:
            self.add_input(ref, role)
        return refs

    def add_input(self, ref: ir.RefV, role: str) -> None:
        self.inputs.append(ref)
        self.roles.append(role)

    def read_from(self, name: str = "from", role: str = "from") -> None:
        """Read the input streams; what is known of their rows is `stream` from now on."""
        refs = self.read_streams(name, role)
        if refs and self.decl.key not in self.context.cyclic:
            self.stream = joined(refs, self.context)
        else:
            self.stream = UNKNOWN
        self.env = replace(self.env, stream=self.stream)

    def publish(self, port: str, columns: Mapping[str, str], **changes: Any) -> None:
        """Say what is known of the rows of a port."""
        name = self.decl.key + ("" if port == "rows" else f".{port}")
        base = self.stream
        open_ = base.open or self.incomplete
        facts: dict[str, Any] = {
            "open": open_,
            "origins": base.origins,
            "conflicts": {c: t for c, t in base.conflicts.items() if c in columns},
            "missing": base.missing,
            "taints": base.taints,
            "lost": base.lost or self.incomplete,
        }
        facts.update(changes)
        facts["taints"] = passed(facts["taints"], name)
        self.context.streams[(self.decl.key, port)] = Stream(columns, name=f"`{name}`", **facts)

    # --- the result ---------------------------------------------------------------------------------------------------

    def finish(self) -> ir.Block:
        """The checked block."""
        return ir.Block(
            kind=self.decl.kind,
            name=self.decl.key,
            span=self.decl.block.span,
            name_span=self.name_span,
            doc=self.decl.block.doc,
            attrs={n: self.attrs[n] for n in self.kind.attributes if n in self.attrs},
            inputs=tuple(self.inputs),
            roles=tuple(self.roles),
            poisoned=not self.ok,
            **self.extra,
        )


def syntax_of(value: Default, type_: AttrType, span: Span) -> ast.Expr:
    """A default as if it stood at a place of the recipe."""
    match value:
        case Amount(kind=kind, value=number):
            return ast.Quantity(span, kind, number, str(value))
        case Call(name=name, args=args):
            amounts = ((n, ast.Quantity(span, a.kind, a.value, str(a))) for n, a in args)
            return ast.Call(
                span, ast.Ident(span, name), tuple(ast.Argument(span, ast.Ident(span, n), a) for n, a in amounts)
            )
        case bool():
            return ast.Bool(span, value)
        case tuple():
            return ast.ListExpr(span, tuple(syntax_of(v, type_.of[0], span) for v in value))
        case str() if is_name(value, type_):
            return ast.Name(span, value)
        case str():
            return ast.Text(span, value)
        case _:
            return ast.Null(span)


def _takes_per(type_: AttrType) -> bool:
    return any(t.name in ("select", "price") for t in type_.alternatives)


def _how(name: str, attribute: Attribute) -> str:
    """How a missing attribute is written."""
    type_ = attribute.type
    first = type_.of[0] if type_.name == "list" else type_.alternatives[0]
    if first.name == "choice":
        return f"for example `{name} = {first.names[0]}`"
    if first.name == "ref":
        return f"write `{name} = NAME`, {nouns(type_)}"
    example = NOUNS.get(first.name, ("", "…"))[1]
    if first.name == "method":
        from alchemist_dsl.checker.calls import method_names

        known = method_names(first)
        example = f"{known[0]}()" if known else example
    return f"for example `{name} = {example}`"


# --- aliases ---------------------------------------------------------------------------------------------------------

#: Name elsewhere -> names here; the first that the kind has is meant.
_ELSEWHERE: Final[dict[str, tuple[str, ...]]] = {
    "batch_size": ("batch",),
    "per_device_train_batch_size": ("micro_batch", "batch"),
    "micro_batch_size": ("micro_batch",),
    "lr": ("learning_rate",),
    "num_epochs": ("epochs",),
    "num_train_epochs": ("epochs",),
    "max_steps": ("steps",),
    "max_seq_length": ("max_length",),
    "max_seq_len": ("max_length",),
    "seq_len": ("max_length",),
    "sequence_len": ("max_length",),
    "lr_scheduler_type": ("schedule",),
    "lr_scheduler": ("schedule",),
    "scheduler": ("schedule",),
    "model_name_or_path": ("base", "model"),
    "base_model": ("base", "model"),
    "model": ("base",),
    "name": ("title",),
    "file": ("files",),
    "path": ("files",),
    "data_files": ("files",),
    "dataset": ("data", "hub", "from"),
    "repo": ("hub",),
    "repo_id": ("hub",),
    "dataset_name": ("hub", "data"),
    "input": ("from", "data"),
    "inputs": ("from", "data"),
    "source": ("from", "data"),
    "sources": ("from", "data"),
    "from": ("data", "learn"),
    "data": ("from", "learn"),
    "output": ("path",),
    "output_dir": ("path",),
    "licence": ("license",),
    "subset": ("config",),
    "columns": ("on",),
    "key": ("on",),
    "benchmarks": ("against", "suites"),
    "suites": ("against",),
    "shards": ("split",),
    "ratio": ("select",),
    "sample": ("select",),
    "fraction": ("select",),
    "n": ("samples",),
    "num_samples": ("samples",),
    "max_new_tokens": ("max_tokens",),
    "system_prompt": ("system",),
    "user_prompt": ("user",),
    "template": ("user",),
    "api_base": ("base_url",),
    "endpoint": ("base_url",),
    "gradient_clip": ("max_grad_norm",),
    "size": ("total", "limit"),
}


def meant(name: str, attributes: Iterable[str]) -> str | None:
    """The attribute of a kind that goes by another name elsewhere."""
    known = set(attributes)
    return next((a for a in _ELSEWHERE.get(name.lower(), ()) if a in known), None)
