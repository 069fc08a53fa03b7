"""From `test` blocks to what a runner needs: the plan of one step over given rows, the mock answers, the
expectations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from alchemist_runtime.schema.plan import Plan, to_json

from alchemist_dsl.checker.unittests import (
    Inlet,
    Unfit,
    answer,
    column_types,
    inlets,
    row,
    rows_by_label,
    suite_columns,
)
from alchemist_dsl.ir import Attr, Block, ChoiceV, ListV, Program, RecordV, RefV, RowSchema, RuleV, TextV, Value
from alchemist_dsl.lowering.facts import Facts
from alchemist_dsl.lowering.lower import lower
from alchemist_dsl.lowering.scope import Find, Scope
from alchemist_dsl.passes import Options, order, salts
from alchemist_dsl.source import Span

#: Attributes that a test takes away: it works on every given row, whatever a run would choose, and costs nothing.
_IGNORED: Final = frozenset({"select", "best", "budget"})


@dataclass(frozen=True, slots=True)
class Port:
    """Rows that stand where another block's port would be. Every row has the columns of `types`, and `origin`."""

    node: str
    port: str
    types: Mapping[str, str]
    rows: tuple[Mapping[str, Any], ...]
    label: str  # as the test calls it


@dataclass(frozen=True, slots=True)
class Case:
    """One test, ready to be carried out."""

    name: str
    step: str
    kind: str
    span: Span  # of its name
    plan: Plan
    given: tuple[Port, ...]
    replies: Any  # a record or text for every call, a list of them in order, None without a teacher
    rules: tuple[RuleV, ...]


def tests(program: Program) -> tuple[Block, ...]:
    """The recipe's own `test` blocks in the order of the text; not those of imports."""
    own = [b for b in program.of("test") if b.name.startswith("test ")]
    return tuple(sorted(own, key=lambda b: (b.span.file != program.file.path, b.span.start)))


def name_of(block: Block) -> str:
    return block.name.removeprefix("test ")


def case(block: Block, program: Program, facts: Facts, find: Find) -> Case:
    """A test block of a program without errors."""
    salted, _ = salts(program, Options())
    step = salted.blocks[_target(block, "step")]
    found = inlets(step)
    provided = tuple(_ports(block, found, salted))
    small = _alone(step, found, salted)
    scope = Scope(small, facts, find, Options(), salted)
    plan, _ = lower(scope)
    return Case(
        name=name_of(block),
        step=step.name,
        kind=step.kind,
        span=block.name_span,
        plan=_without_tokenizer(plan, block),
        given=provided,
        replies=_replies(block.get("reply")),
        rules=block.rules,
    )


def _target(block: Block, name: str) -> str:
    value = block.get(name)
    return value.target if isinstance(value, RefV) else ""


# --- the rows ---------------------------------------------------------------------------------------------------------


def _ports(block: Block, found: Sequence[Inlet], program: Program) -> Iterator[Port]:
    """The rows of every port that the step reads; a local suite that the test says nothing of is read as it is."""
    by_label = rows_by_label(block.get("given"), tuple(found))
    ports: dict[tuple[str, str], list[Inlet]] = {}
    for inlet in found:
        ports.setdefault((inlet.ref.target, inlet.ref.port), []).append(inlet)
    for (target, port), mine in ports.items():
        records = [(r, i) for i in mine for r in by_label.get(i.label, ())]
        source = program.blocks[target]
        if source.kind == "suite" and not records and _local(source):
            continue
        schema = program.schemas.get((target, port), RowSchema({}, open=True))
        if source.kind == "suite":
            schema = RowSchema(suite_columns(source), open=True)
        types = column_types(schema, [r for r, _ in records])
        rows = tuple(_row(r, types, i) for r, i in records)
        yield Port(target, port, types, rows, mine[0].label)


def _local(suite: Block) -> bool:
    return suite.get("files") is not None and suite.get("hub") is None


def _row(record: RecordV, types: Mapping[str, str], inlet: Inlet) -> dict[str, Any]:
    try:
        return row(record, types, inlet.ref.origin or inlet.ref.target)
    except Unfit as unfit:  # the checker has refused it
        raise AssertionError(unfit.headline) from unfit


def _replies(value: Value | None) -> Any:
    match value:
        case None:
            return None
        case ListV(items=items):
            return [_reply(v) for v in items]
        case _:
            return _reply(value)


def _reply(value: Value) -> Any:
    return value.value if isinstance(value, TextV) else answer(value) if isinstance(value, RecordV) else {}


# --- the step alone ---------------------------------------------------------------------------------------------------


def _alone(step: Block, found: Sequence[Inlet], program: Program) -> Program:
    """The step with what it asks; in the place of its streams stand sources that read nothing."""
    kept: dict[str, Block] = {n: b for n, b in program.blocks.items() if b.kind in ("recipe", "schema")}
    for inlet in found:
        source = program.blocks[inlet.ref.target]
        kept[source.name] = source if source.kind == "suite" else _stand_in(source)
    for name in ("teacher", "prompt"):
        requested = program.blocks.get(_target(step, name))
        if requested is not None:
            kept[requested.name] = _mocked(requested) if name == "teacher" else requested
    kept[step.name] = _bare(step)
    small, _ = order(replace(program, blocks=kept), Options())
    return small


def _stand_in(block: Block) -> Block:
    at = block.name_span
    why = Attr("missing", TextV(at, "a test gives its rows"), at)
    return Block("source", block.name, block.span, at, attrs={"missing": why})


def _bare(step: Block) -> Block:
    """Without selection, and without the promises that it makes of real data; a trained model is not asked."""
    pairs = [
        (ref, role) for ref, role in zip(step.inputs, step.roles, strict=True) if role not in ("model", "tokenizer")
    ]
    return replace(
        step,
        attrs={n: a for n, a in step.attrs.items() if n not in _IGNORED},
        rules=tuple(r for r in step.rules if r.verb != "expect"),
        inputs=tuple(r for r, _ in pairs),
        roles=tuple(r for _, r in pairs),
    )


def _mocked(teacher: Block) -> Block:
    """A teacher that is always at hand: a mock answers in its place."""
    provider = teacher.attrs["provider"]
    attrs = {n: a for n, a in teacher.attrs.items() if not isinstance(a.value, RefV)}
    attrs["provider"] = replace(provider, value=ChoiceV(provider.value.span, "rules"))
    return replace(teacher, attrs=attrs, inputs=(), roles=())


def _without_tokenizer(plan: Plan, block: Block) -> Plan:
    """A tokenizer is loaded only where something counts tokens."""
    specs = [to_json(n.spec) for n in plan.nodes]
    reads = _calls_tokens(specs) or _calls_tokens([r.expr.tree for r in block.rules])
    return plan if reads else replace(plan, tokenizer=None)


def _calls_tokens(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_calls_tokens(v) for v in value.values())
    if isinstance(value, list):
        return value[:2] == ["call", "tokens"] or any(_calls_tokens(v) for v in value)
    return False
