"""Checks `test` blocks: the step, the rows that enter it, the mock answers, and what is expected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema.rows import MESSAGES, ORIGIN, nullable, required

from alchemist_dsl import ir
from alchemist_dsl.check.block_checker import Building
from alchemist_dsl.check.columns import read_rules
from alchemist_dsl.check.context import UNKNOWN, Stream
from alchemist_dsl.check.expressions import column_type
from alchemist_dsl.check.problems import article, did_you_mean, either, listed
from alchemist_dsl.check.test_rows import (
    MAIN,
    Inlet,
    Unfit,
    by_name,
    identity,
    inlets,
    plain,
    rows_by_label,
    rows_of,
    suite_columns,
)
from alchemist_dsl.check.types import ANY, family, fields
from alchemist_dsl.diagnostics.model import Label

TESTED: Final = ("map", "filter", "dedup", "decontaminate", "relabel", "generate", "task", "mixture")
_ASKING: Final = ("relabel", "generate")
#: Reasons beside its own rules under which a step counts rows that it refuses.
_OWN_RULES: Final[Mapping[str, tuple[str, ...]]] = {
    "dedup": ("duplicate",),
    "relabel": ("unreadable", "no_input"),
    "generate": ("unreadable", "no_input"),
    "task": ("empty",),
}
#: What a test may count: rows that leave, rows refused, accepted answers, calls, tokens of a mixture.
_COUNTS: Final[Mapping[str, tuple[str, ...]]] = {
    "filter": ("rows", "dropped"),
    "dedup": ("rows", "dropped"),
    "decontaminate": ("rows", "dropped"),
    "relabel": ("rows", "dropped", "trace", "calls"),
    "generate": ("rows", "dropped", "trace", "calls"),
    "task": ("rows", "dropped"),
    "mixture": ("rows", "tokens"),
}


def test(b: Building) -> None:
    """A unit test of one step."""
    step = b.attribute("step")
    b.rest()
    target = b.world.decls.get(step.target) if isinstance(step, ir.RefV) else None
    if target is None or not isinstance(step, ir.RefV):
        b.ok = False
        return
    if target.kind not in TESTED:
        b.error(
            "A110",
            f"a test needs a step, and `{target.name}` is {article(target.kind)}",
            step.span,
            help="steps are " + listed(TESTED, "and"),
        )
        return
    block = b.world.blocks.get(step.target)
    _expectations(b, step, target.kind)
    if block is None or block.poisoned:
        return
    found = inlets(block)
    _reply(b, block)
    _given(b, block, found)
    if b.ok:
        _offline(b, block, found)
    if b.ok:
        _reachable(b, block, found)


# --- expect -----------------------------------------------------------------------------------------------------------


def _expectations(b: Building, step: ir.RefV, kind: str) -> None:
    rules = [
        r.stmt.name.name if r.stmt.name else b.world.slice(r.stmt.condition.span)
        for r in b.world.bodies[step.target].rules
        if r.stmt.verb != "expect"
    ]
    b.env = replace(
        b.env,
        stream=b.world.streams.get((step.target, "rows"), UNKNOWN),
        totals=(*rules, *_OWN_RULES.get(kind, ())),
        rules_lost=b.world.bodies[step.target].lost,
        counts=_COUNTS.get(kind, ("rows",)),
        streams=True,
    )
    b.extra["rules"] = read_rules(b, b.env, b.env)
    block = b.world.blocks.get(step.target)
    reads = set() if block is None else {i.ref.target for i in inlets(block)}
    for ref in b.env.refs:
        if ref.target != step.target and not (kind == "mixture" and ref.target in reads):
            b.error(
                "A111",
                f"this test carries out `{step.target}` alone, so `{ref.target}` cannot be counted",
                ref.span,
                help=f"count `{step.target}` and its ports, or write a test of `{ref.target}`",
            )
    if not b.extra["rules"] and not b.body.rules and not b.incomplete and b.ok:
        b.error("A106", f"{b.title} expects nothing", b.header, help="for example `expect rows == 1`")


# --- given ------------------------------------------------------------------------------------------------------------


def _given(b: Building, block: ir.Block, found: tuple[Inlet, ...]) -> None:
    """Rows enter an input that the step has, with columns and types that its rows could have."""
    given = b.get("given")
    named = by_name(given)
    labels = [i.label for i in found]
    for label in named.fields if named is not None else ():
        if label not in labels and named is not None:
            span = named.places.get(label, named.span)
            text, edit = did_you_mean(label, labels, span)
            help_ = text or f"it reads {listed(labels)}"
            b.error("A103", f"`{block.name}` reads no `{label}`", span, help=help_, edit=edit)
    if named is None and block.kind == "mixture" and len(found) > 1 and rows_of(given):
        b.error(
            "A201",
            f"`{block.name}` takes from {listed(labels)}, so `given` names where each row stands",
            given.span if given is not None else b.header,
            help=f"write `given = {{ {labels[0]} = [ … ], {labels[1]} = [ … ] }}`",
        )
        return
    for label, rows in rows_by_label(given, found).items():
        inlet = next((i for i in found if i.label == label), None)
        for row in rows if inlet is not None else ():
            assert inlet is not None
            _row(b, row, _stream(b, inlet), inlet)


def _stream(b: Building, inlet: Inlet) -> Stream:
    block = b.world.blocks.get(inlet.ref.target)
    if block is not None and block.kind == "suite":
        return Stream(suite_columns(block), open=True, name=f"`{block.name}`")
    return b.world.stream(inlet.ref)


def _row(b: Building, row: ir.RecordV, stream: Stream, inlet: Inlet) -> None:
    for name, value in row.fields.items():
        span = row.places.get(name, value.span)
        type_ = stream.columns.get(name) or _standing(stream, name)
        if identity(name):
            b.error("A511", f"`{name}` carries the identity of the row, which a test makes up itself", span)
        elif type_ is None and not stream.open and name not in stream.conflicts:
            text, edit = did_you_mean(name, [*stream.columns, ORIGIN], span)
            b.error(
                "A503",
                f"rows of {stream.name or f'`{inlet.ref.target}`'} have no column `{name}`",
                span,
                help=text or "columns: " + ", ".join(stream.columns),
                edit=edit,
            )
        elif type_ is not None:
            _fits(b, value, type_, name)


def _standing(stream: Stream, name: str) -> str | None:
    """The type of a column that every row may have beside those of its stream."""
    if name == ORIGIN:
        return "text"
    return column_type(stream, name) if name == MESSAGES else None


def _fits(b: Building, value: ir.Value, type_: str, name: str) -> None:
    if family(type_) in (ANY, "id"):
        return
    try:
        plain(value, type_, name)
    except Unfit as unfit:
        b.error("A504", unfit.headline, unfit.span)


# --- reply ------------------------------------------------------------------------------------------------------------


def _reply(b: Building, block: ir.Block) -> None:
    """A teacher step has mock answers, and each has the fields of the prompt's output; a text is sent as it is."""
    reply = b.get("reply")
    if block.kind not in _ASKING:
        if reply is not None:
            b.error("A111", f"`{block.name}` asks no teacher, so it needs no `reply`", b.attrs["reply"].name_span)
        return
    ref = block.get("prompt")
    prompt = b.world.blocks.get(ref.target) if isinstance(ref, ir.RefV) else None
    if prompt is None or prompt.poisoned:
        return
    if reply is None:
        if "reply" not in b.body.attrs and not b.incomplete:
            example = ", ".join(f"{f.name} = {_example(f.type)}" for f in prompt.output_fields)
            b.error(
                "A106",
                f"{b.title} needs `reply`: `{block.name}` asks a teacher",
                b.header,
                help=f"what a mock teacher answers, for example `reply = {{ {example} }}`",
            )
        return
    for record in reply.items if isinstance(reply, ir.ListV) else (reply,):
        if isinstance(record, ir.RecordV):
            _answer(b, record, prompt)


def _example(type_: str) -> str:
    if required(type_).startswith("enum("):
        return required(type_)[5:-1].partition(",")[0]
    kinds = {"number": "1", "bool": "true", "list": "[]", "record": "{}", "messages": "[]"}
    return kinds.get(family(type_), '"…"')


def _answer(b: Building, record: ir.RecordV, prompt: ir.Block) -> None:
    known = {f.name: f.type for f in prompt.output_fields}
    good = True
    for name, value in record.fields.items():
        if name not in known:
            text, edit = did_you_mean(name, known, record.places.get(name))
            good = False
            b.error(
                "A406",
                f"the reply of `{prompt.name}` has no field `{name}`",
                record.places.get(name, value.span),
                help=text or f"it has {listed(list(known))}",
                edit=edit,
            )
            continue
        why = _misfit(value, known[name], name)
        if why is not None:
            good = False
            b.error("A504", why.headline, why.span, help=_HOW_RAW)
    lacking = [n for n, t in known.items() if n not in record.fields and not nullable(t)]
    if lacking and good:
        b.error(
            "A406",
            f"the reply lacks {either(lacking)}, which `{prompt.name}` wants",
            record.span,
            labels=(Label(prompt.name_span, "declared here"),),
            help=_HOW_RAW,
        )


_HOW_RAW: Final = 'to see what happens to an unreadable answer, write it as a text: `reply = "…"`'


def _misfit(value: ir.Value, type_: str, name: str) -> Unfit | None:
    if isinstance(value, ir.NullV):
        return None if nullable(type_) or family(type_) == ANY else Unfit(value.span, f"`{name}` is never null")
    try:
        plain(value, type_, name)
    except Unfit as unfit:
        return unfit
    if isinstance(value, ir.Qty) and not _within(value.value, type_):
        bounds = required(type_).partition("(")[2][:-1] or "0..1"
        return Unfit(value.span, f"`{name}` lies in {bounds}; this is {value.text}")
    options = _options(type_)
    if isinstance(value, ir.TextV) and options and value.value not in options:
        return Unfit(value.span, f"`{name}` is one of {either(options)}")
    if isinstance(value, ir.RecordV):
        for field, of in fields(type_).items():
            inner = value.fields.get(field)
            if inner is None:
                if not nullable(of):
                    return Unfit(value.span, f"`{name}` lacks `{field}`")
            elif (found := _misfit(inner, of, f"{name}.{field}")) is not None:
                return found
    return None


_BOUNDS: Final = re.compile(r"\w+\(\s*(-?[\d._]*)\s*\.\.\s*(-?[\d._]*)\s*\)")


def _within(value: Fraction, type_: str) -> bool:
    base = required(type_)
    found = _BOUNDS.fullmatch("prob(0..1)" if base == "prob" else base)
    if found is None:
        return True
    low, high = (Fraction(t.replace("_", "")) if t else None for t in found.groups())
    return (low is None or value >= low) and (high is None or value <= high)


def _options(type_: str) -> list[str]:
    base = required(type_)
    return re.findall(r'"((?:[^"\\]|\\.)*)"', base) if base.startswith("enum(") else []


# --- what a test needs to be carried out ------------------------------------------------------------------------------


def _offline(b: Building, block: ir.Block, found: tuple[Inlet, ...]) -> None:
    """A decontamination compares with something that is at hand: given items, or a local file of the suite."""
    against = [i for i in found if i.role == "against"]
    given = set(by_name(b.get("given")).fields) if by_name(b.get("given")) else set()  # type: ignore[union-attr]
    if not against or any(i.label in given or _local(b, i) for i in against):
        return
    label = against[0].label
    main = next((i.label for i in found if i.role == "from"), "rows")
    b.error(
        "A106",
        f"the items of {listed([i.ref.target for i in against][:3])} are not at hand, and a test fetches nothing",
        b.attrs["given"].name_span if "given" in b.attrs else b.header,
        help=f"give some of them by name: `given = {{ {main} = [ … ], {label} = [ … ] }}`",
    )


def _local(b: Building, inlet: Inlet) -> bool:
    block = b.world.blocks.get(inlet.ref.target)
    return block is not None and block.kind == "suite" and block.get("files") is not None and block.get("hub") is None


# --- what can never be true -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Range:
    """The least and the most that a count of a step can be, given these rows."""

    low: int
    high: int | None


def _reachable(b: Building, block: ir.Block, found: tuple[Inlet, ...]) -> None:
    """Report expectations that no outcome of the step can meet."""
    by_label = rows_by_label(b.get("given"), found)
    given = sum(len(by_label.get(i.label, ())) for i in found if i.role in MAIN)
    rules: tuple[ir.RuleV, ...] = b.extra["rules"]
    columns = [r for r in rules if _reads_rows(r.expr.tree)]
    none = next((r for r in rules if r.expr.tree == _NO_ROWS), None)
    for rule in rules:
        why = _never(rule.expr.tree, block, given)
        if why is None and none is not None and rule in columns:
            why = "the test also expects that no row leaves the step"
        if why is not None:
            b.error("A215", f"this can never be true: `{rule.expr.text}`", rule.expr.span, note=why)


_NO_ROWS: Final = ["cmp", "==", ["total", "rows"], ["lit", "int", 0]]


def _reads_rows(tree: Any) -> bool:
    if isinstance(tree, dict):
        return any(_reads_rows(v) for v in tree.values())
    if not isinstance(tree, list) or not tree or tree[0] == "lit":
        return False
    return tree[0] in ("col", "template") or any(_reads_rows(p) for p in tree[1:])


def _never(tree: list[Any], block: ir.Block, given: int) -> str | None:
    if tree[0] == "and":
        return next((w for t in tree[1] if (w := _never(t, block, given))), None)
    if tree[0] != "cmp" or tree[2][0] != "total" or tree[3][0] != "lit":
        return None
    span = _counted(str(tree[2][1]), block, given)
    wanted = tree[3][2]
    if span is None or not isinstance(wanted, int):
        return None
    low, high = span.low, span.high
    never = {
        "==": wanted < low or (high is not None and wanted > high),
        "!=": low == high == wanted,
        "<": low >= wanted,
        "<=": low > wanted,
        ">": high is not None and high <= wanted,
        ">=": high is not None and high < wanted,
    }[str(tree[1])]
    if not never:
        return None
    name = str(tree[2][1])
    rows = f"{given} row{'' if given == 1 else 's'} enter{'s' if given == 1 else ''}"
    at = f"is {low}" if low == high else f"lies in {low}..{high if high is not None else ''}"
    return f"{rows} `{block.name}`, so `{name}` {at}"


def _counted(name: str, block: ir.Block, given: int) -> _Range | None:
    """The range of a total, where the kind of step fixes one."""
    kind, mode = block.kind, block.get("mode")
    mode_ = mode.name if isinstance(mode, ir.ChoiceV) else ""
    if kind in ("filter", "dedup", "decontaminate"):
        least = 1 if kind == "dedup" and given and name == "rows" else 0
        most = given - 1 if kind == "dedup" and given and name != "rows" else given
        return _Range(least, most)
    if kind == "map" and name == "rows":
        return _Range(given * (2 if mode_ == "add" else 1), given * (2 if mode_ == "add" else 1))
    if kind in _ASKING:
        samples = block.get("samples")
        answers = given * (int(samples.value) if isinstance(samples, ir.Qty) else 1)
        if name == "calls":
            return _Range(0, None)
        if name != "rows" or mode_ == "only":
            return _Range(0, answers)
        return _Range(given, given * (2 if mode_ == "add" else 1))
    return None
