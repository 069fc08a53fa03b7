"""What lowering one block may look at, and where it leaves the texts that expressions name by digest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from alchemist_runtime.schema.attributes import decimal
from alchemist_runtime.schema.expressions import expression
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import At, Expr, Method, Rule, Select, SetColumn, text_digest
from alchemist_runtime.schema.registry import Component, Family, Origin
from alchemist_runtime.schema.rows import SFT

from alchemist_dsl.ir import Block, BoolV, ChoiceV, ExprV, ListV, MethodV, Program, Qty, RuleV, TemplateV, TextV, Value
from alchemist_dsl.lowering.facts import Facts, SourceFacts
from alchemist_dsl.passes import Options
from alchemist_dsl.source import Span

Find = Callable[[Family, str], Component | None]


@dataclass(frozen=True, slots=True)
class Input:
    """An edge before its key is known."""

    node: str
    port: str = "rows"
    origin: str | None = None
    role: str = "from"


@dataclass(slots=True)
class Scope:
    """The program around a block. `texts` collects templates while nodes are lowered."""

    program: Program
    facts: Facts
    find: Find
    options: Options
    whole: Program | None = None  # before pruning: what reads a stream in the whole recipe decides its tokenizer
    texts: dict[str, str] = field(default_factory=dict)
    known: dict[str, SourceFacts] = field(default_factory=dict)

    def place(self, block: Block) -> SourceFacts:
        """Facts of a source or suite, asked for once."""
        if block.name not in self.known:
            self.known[block.name] = self.facts.source(block)
        return self.known[block.name]

    def at(self, span: Span) -> At:
        file = self.program.files.get(span.file, self.program.file)
        line, column = file.position(span.start)
        return At(file=span.file, line=line, column=column)

    def keep(self, template: str) -> str:
        """Keep a template's text; returns its digest."""
        digest = text_digest(template)
        self.texts[digest] = template
        return digest

    def template(self, value: TemplateV) -> Expr:
        return ["template", self.keep(value.text), sorted(value.reads)]

    def version(self, family: Family, name: str) -> int:
        found = self.find(family, name)
        return 1 if found is None else found.version

    def origin(self, teacher: Block) -> Origin:
        """What the answers of a teacher come from."""
        provider = text(teacher, "provider")
        found = self.find("teachers", provider) if provider else None
        return "server" if found is None else found.answers

    def component(self, family: Family, value: MethodV) -> Method:
        return Method(name=value.name, version=self.version(family, value.name), args=value.args)

    def stated(self, name: str) -> str | None:
        """A text of the `recipe` block."""
        recipe = self.program.recipe
        return None if recipe is None else text(recipe, name)

    def schema(self, block: Block) -> dict[str, str]:
        """Columns of the row schema that holds for a block: its own, the recipe's, or `sft`."""
        recipe = self.program.recipe
        for owner in (block, recipe):
            value = None if owner is None else owner.get("schema")
            target = getattr(value, "target", None)
            if target in self.program.blocks:
                return {f.name: f.type for f in self.program.blocks[target].fields}
        return dict(SFT)

    def rules(self, block: Block) -> list[Rule]:
        return [self.rule(r) for r in block.rules]

    def rule(self, rule: RuleV) -> Rule:
        return Rule(verb=rule.verb, name=rule_name(rule), expr=rule.expr.tree, text=rule.text, at=self.at(rule.span))

    def sets(self, block: Block) -> list[SetColumn]:
        """Assignments by column: their order says nothing."""
        ordered = sorted(block.sets, key=lambda s: s.column)
        return [SetColumn(column=s.column, type=s.expr.type, expr=s.expr.tree) for s in ordered]

    def select(self, block: Block) -> Select | None:
        value: Any = block.get("select")
        if value is None:
            return None
        return Select(
            fraction=None if value.share is None else str(value.share),
            count=value.count,
            where=None if value.where is None else value.where.tree,
            per=list(value.per),
            best=[e.tree for e in value.best],
            salt=salt(block),
        )


def salt(block: Block) -> str:
    """Salt of a block's draws and new ids; the pass `salts` has filled it in."""
    value: Any = block.get("salt")
    return block.name if value is None else str(value.value)


def rule_name(rule: RuleV) -> str:
    """The name under which a rule's rows are counted: its own, or its expression in one spelling, so that spaces say
    nothing.
    """
    return expression(rule.expr.tree) if rule.name == rule.text else rule.name


def inputs(block: Block) -> tuple[Input, ...]:
    """The streams that a block reads, as edges without keys."""
    return tuple(
        Input(ref.target, ref.port, ref.origin, role) for ref, role in zip(block.inputs, block.roles, strict=True)
    )


# --- values ----------------------------------------------------------------------------------------------------------


def text(block: Block, name: str) -> str | None:
    """A text or the name of a choice, None where it is not set."""
    match block.get(name):
        case TextV(value=value):
            return value
        case ChoiceV(name=value):
            return value
        case _:
            return None


def texts(block: Block, name: str) -> list[str]:
    """A list of texts or choices; a single one is a list of one."""
    return [t for t in map(_text, items(block.get(name))) if t is not None]


def _text(value: Value) -> str | None:
    match value:
        case TextV(value=t) | ChoiceV(name=t):
            return t
        case _:
            return None


def items(value: Value | None) -> tuple[Value, ...]:
    """The elements of a list; a single value is a list of one, nothing is an empty one."""
    match value:
        case None:
            return ()
        case ListV(items=inner):
            return inner
        case _:
            return (value,)


def quantity(block: Block, name: str) -> Qty | None:
    match block.get(name):
        case Qty() as found:
            return found
        case _:
            return None


def whole(block: Block, name: str) -> int | None:
    """A whole number without its unit, None where it is not set."""
    found = quantity(block, name)
    return None if found is None else int(found.value)


def flag(block: Block, name: str) -> bool:
    match block.get(name):
        case BoolV(value=value):
            return value
        case _:
            return False


def trees(block: Block, name: str) -> list[list[Any]]:
    """Expression trees of a list of expressions."""
    return [v.tree for v in items(block.get(name)) if isinstance(v, ExprV)]


def method(block: Block, name: str) -> MethodV:
    """A component with its arguments; a bare name is a component without."""
    match block.get(name):
        case MethodV() as found:
            return found
        case ChoiceV(span=span, name=bare):
            return MethodV(span, bare, {})
        case _:
            raise LookupError(f"{block.kind} {block.name} has no {name}")


def declared(block: Block, spec: type, **special: Any) -> dict[str, Any]:
    """The fields of a spec that are attributes of the block's kind, as the plan writes them by the field's type.

    What is not set has the spec's default. `special`: fields that follow from more than the attribute of their name."""
    types = {f.name: str(f.type) for f in fields(spec)}
    named = types.keys() & KINDS[block.kind].attributes.keys() - special.keys()
    return {n: planned(v, types[n]) for n in named if (v := block.get(n)) is not None} | special


def planned(value: Value, type_: str) -> Any:
    """A value as the plan writes it in a field of this type: exact numbers as texts, amounts with their unit."""
    if type_.startswith("list["):
        return [planned(v, type_[5:]) for v in items(value)]
    match value:
        case MethodV(name=name, args=args):
            return Method(name=name, args=args)
        case TextV(value=name) | ChoiceV(name=name):
            return Method(name=name) if type_.startswith("Method") else name
        case BoolV(value=is_set):
            return is_set
        case ExprV(tree=tree):
            return tree
        case Qty(kind=kind, value=number):
            number_text = str(number) if kind == "percent" else decimal(number)
            if type_.startswith("dict["):
                is_whole = number.denominator == 1 and kind != "percent"
                return {"unit": kind, "value": int(number) if is_whole else str(number)}
            return int(number) if type_.startswith("int") else number_text
        case _:
            raise TypeError(f"{value} has no plain form")
