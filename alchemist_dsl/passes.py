"""Passes: small rewrites of a checked program, in the order of `PASSES`, before it is lowered to a plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Final

from alchemist_runtime.schema.expressions import walk
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import Node, Plan, TeacherStepSpec, to_json

from alchemist_dsl.checker.unsupported import unrun
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.ir import Attr, Block, ChoiceV, EntryV, ListV, Program, Qty, RecordV, RefV, TextV, Value
from alchemist_dsl.source import Span

if TYPE_CHECKING:
    from alchemist_dsl.checker.unsupported import Has

# --- needed ----------------------------------------------------------------------------------------------------------


def needed(program: Program, options: Options) -> tuple[Program, tuple[Diagnostic, ...]]:
    """Drop nodes and resources that no root reads. With `upto` those blocks are the only roots, and checks that they
    decide stay.
    """
    unknown = [name for name in options.upto if not _is_node(program.blocks.get(name))]
    if unknown:
        return program, tuple(_no_such_node(program, name) for name in unknown)
    kept = _closure(program, _roots(program, options))
    blocks = {name: block for name, block in program.blocks.items() if name in kept or _stays(block, program, kept)}
    return replace(program, blocks=blocks), ()


def _is_node(block: Block | None) -> bool:
    return block is not None and block.kind in NODE_KINDS


def _roots(program: Program, options: Options) -> tuple[str, ...]:
    if options.upto:
        return options.upto
    own = (b for b in program.blocks.values() if "." not in b.name)  # not of an import
    return tuple(b.name for b in own if KINDS[b.kind].root)


def _closure(program: Program, roots: tuple[str, ...]) -> set[str]:
    kept: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept.add(name)
            waiting.extend(reads(program.blocks[name], program))
    return kept


def _stays(block: Block, program: Program, kept: set[str]) -> bool:
    """Declarations stay; a check stays where all that it counts is there anyway."""
    if block.kind == "check":
        return "." not in block.name and all(name in kept for name in reads(block, program))
    return block.kind in ("recipe", "schema", "moved")


def _no_such_node(program: Program, name: str) -> Diagnostic:
    nodes = [b.name for b in program.blocks.values() if b.kind in NODE_KINDS and "." not in b.name]
    return Diagnostic(
        "A912",
        f"the recipe has no step `{name}`",
        Span(program.file.path, 0, 0),
        note="its steps: " + ", ".join(f"`{n}`" for n in nodes) if nodes else None,
    )


# --- reads -----------------------------------------------------------------------------------------------------------

#: Kinds that become nodes of a plan; the others are resources, declarations or promises.
NODE_KINDS = frozenset(name for name, kind in KINDS.items() if kind.is_step)


def references(value: Value) -> Iterator[RefV]:
    """Every reference in a value, in the order in which they are written."""
    match value:
        case RefV():
            yield value
        case ListV(items=items):
            for item in items:
                yield from references(item)
        case RecordV(fields=fields):
            for item in fields.values():
                yield from references(item)


def counted(tree: Any) -> Iterator[str]:
    """Names of the blocks whose streams an expression counts: `["ref", NODE, PORT, ORIGIN]`."""
    return (part[1] for part in walk(tree) if part[0] == "ref")


def reads(block: Block, program: Program) -> tuple[str, ...]:
    """Names of the blocks that this one needs, without repeats, in the order in which they are written.

    A step that asks with a prompt also reads the prompt's examples."""
    names: dict[str, None] = {}
    for ref in block.inputs:
        names[ref.target] = None
    for name, attr in block.attrs.items():
        if name != "extends":
            names.update(dict.fromkeys(ref.target for ref in references(attr.value)))
    for rule in block.rules:
        names.update(dict.fromkeys(counted(rule.expr.tree)))
    for target in tuple(names):
        used = program.blocks.get(target)
        if used is not None and used.kind == "prompt":
            names.update(dict.fromkeys(reads(used, program)))
    names.pop(block.name, None)
    return tuple(name for name in names if name in program.blocks)


# --- options ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Options:
    """`upto`: build only these blocks and what they read. `limit`: rows of lowest hash of each source."""

    upto: tuple[str, ...] = ()
    limit: int | None = None
    variant: str | None = None


# --- order -----------------------------------------------------------------------------------------------------------


def order(program: Program, options: Options) -> tuple[Program, tuple[Diagnostic, ...]]:
    """Sort the blocks topologically. The checker has already refused cycles."""
    waits = {name: set(reads(block, program)) for name, block in program.blocks.items()}
    readers: dict[str, list[str]] = {name: [] for name in waits}
    for name, targets in waits.items():
        for target in targets:
            readers[target].append(name)
    ready = [name for name, targets in waits.items() if not targets]
    heapify(ready)
    sorted_names: list[str] = []
    while ready:
        name = heappop(ready)
        sorted_names.append(name)
        for reader in readers[name]:
            waits[reader].discard(name)
            if not waits[reader]:
                heappush(ready, reader)
    blocks = {name: program.blocks[name] for name in sorted_names}
    return replace(program, blocks=blocks), ()


# --- salts -----------------------------------------------------------------------------------------------------------


def salts(program: Program, options: Options) -> tuple[Program, tuple[Diagnostic, ...]]:
    """Fill in `salt`: as written, else the oldest name that `moved` blocks lead back to, else the name."""
    before = _moves(program)
    blocks = {
        name: _salted(block, _first_name(name, before)) if "salt" in KINDS[block.kind].attributes else block
        for name, block in program.blocks.items()
    }
    return replace(program, blocks=blocks), ()


def _salted(block: Block, name: str) -> Block:
    if block.get("salt") is not None:
        return block
    salt = Attr("salt", TextV(block.name_span, name), block.name_span, "default")
    return replace(block, attrs={**block.attrs, "salt": salt})


def _moves(program: Program) -> dict[str, str]:
    """New name -> old name."""
    moved = program.of("moved")
    pairs = ((_name(b.get("to")), _name(b.get("from"))) for b in moved)
    return {new: old for new, old in pairs if new and old}


def _name(value: Value | None) -> str | None:
    match value:
        case TextV(value=name) | ChoiceV(name=name):
            return name
        case _:
            return getattr(value, "target", None)


def _first_name(name: str, before: dict[str, str]) -> str:
    seen = {name}
    while name in before and before[name] not in seen:
        name = before[name]
        seen.add(name)
    return name


# --- demand ----------------------------------------------------------------------------------------------------------


def demand(program: Program, options: Options) -> tuple[Program, tuple[Diagnostic, ...]]:
    """Fill in `accept` where it is not written: what one entry of one mixture takes, if nothing else reads the step.

    Only an amount that is known before any row is: rows, or a share of a total in rows. Where a step stands between
    that may leave rows out, nobody knows how many it needs."""
    whole, _ = needed(program, Options())  # what `upto` leaves out reads all the same
    blocks = dict(program.blocks)
    for mixture in whole.of("mixture"):
        for entry, rows in _amounts(mixture):
            step = _source_of(entry.stream, whole, mixture)
            if step is not None:
                value = Qty(entry.span, "rows", Fraction(rows), f"{rows} rows")
                accept = Attr("accept", value, entry.span, "default")
                blocks[step.name] = replace(step, attrs={**step.attrs, "accept": accept})
    return replace(program, blocks=blocks), ()


def _amounts(mixture: Block) -> Iterator[tuple[EntryV, int]]:
    """Entries with the most rows that they can take, where that is known."""
    total, redraw = mixture.get("total"), mixture.get("redraw")
    if redraw is not None and getattr(redraw, "name", "") == "per_epoch":
        return  # every epoch draws others
    whole = total.value if isinstance(total, Qty) and total.kind == "rows" else None
    if any(e.missing for e in mixture.entries):
        whole = None  # the others grow
    for entry in mixture.entries:
        if entry.value and entry.amount == "rows":
            yield entry, math.ceil(entry.value)
        elif entry.value and entry.amount == "share" and whole is not None:
            yield entry, math.ceil(entry.value * whole)


def _source_of(stream: RefV, program: Program, reader: Block) -> Block | None:
    """The teacher step that an entry draws on, through steps that pass every row on; None where something else reads it
    too.
    """
    if stream.port != "rows" or stream.origin is not None:
        return None
    block = program.blocks[stream.target]
    if not _only_reader(block, reader, program):
        return None
    if block.declared.asks and block.word("mode") == "only":
        known = block.get("accept") is not None or any(r.verb == "expect" for r in block.rules)
        return None if known else block
    passes = block.word("mode") == "replace" and not block.declared.makes_ids
    if passes and not block.rules and len(block.inputs) == 1:
        return _source_of(block.inputs[0], program, block)
    return None


def _only_reader(block: Block, reader: Block, program: Program) -> bool:
    """Whether only one block reads another, and once; a unit test brings rows of its own."""
    readers = [
        b.name
        for b in program.blocks.values()
        if b.kind not in ("test", "moved", "variant") and block.name in reads(b, program)
    ]
    streams = [*(e.stream for e in reader.entries), *(() if reader.entries else reader.inputs)]
    return readers == [reader.name] and sum(s.target == block.name for s in streams) == 1


# --- carried ---------------------------------------------------------------------------------------------------------


def carried_out(program: Program, has: Has, upto: Sequence[str] = ()) -> set[str]:
    """Names of the blocks that a run can carry out and that a sink of the run needs, or one of `upto`."""
    needs = {name: reads(block, program) for name, block in program.blocks.items()}
    stuck = {n for n, b in program.blocks.items() if next(unrun(b, program.blocks, has), None)}
    waiting = list(stuck)
    while waiting:
        gone = waiting.pop()
        after = {name for name, read in needs.items() if gone in read} - stuck
        stuck |= after
        waiting.extend(after)
    kept: set[str] = set()
    roots = upto or [n for n, b in program.blocks.items() if KINDS[b.kind].root]
    ends = [n for n in roots if n not in stuck]
    while ends:
        name = ends.pop()
        if name not in kept:
            kept.add(name)
            ends.extend(needs[name])
    return kept


# --- their order ----------------------------------------------------------------------------------------------------

Pass = Callable[[Program, Options], tuple[Program, tuple[Diagnostic, ...]]]

#: `salts`: every draw and every made id has a salt that survives renames · `demand`: teacher steps are asked for as
#: many rows as a mixture takes · `needed`: only what the roots read stays · `order`: every block after the blocks that
#: it reads, ties by name.
PASSES: Final[tuple[Pass, ...]] = (salts, demand, needed, order)


# --- verify ----------------------------------------------------------------------------------------------------------


class IllegalPlan(AssertionError):
    """A pass broke a rule that the next one rests on."""


def verify_program(program: Program, after: str) -> None:
    """Every block under its name, every reference declared; after `order` also every block after what it reads."""
    seen: set[str] = set()
    for name, block in program.blocks.items():
        _rule(block.name == name, f"{after}: `{name}` holds the block `{block.name}`")
        _rule(block.kind in KINDS, f"{after}: `{name}` is of the unknown kind `{block.kind}`")
        _rule(len(block.inputs) == len(block.roles), f"{after}: `{name}` has inputs without a role")
        if after == "order":
            late = set(reads(block, program)) - seen
            _rule(not late, f"order: `{name}` stands before {sorted(late)}")
        seen.add(name)


def verify_plan(plan: Plan) -> None:
    """Edges lead back to existing ports with the right keys; everything that is named is there."""
    keys: dict[str, Node] = {}
    for node in plan.nodes:
        _rule(node.id not in keys, f"`{node.id}` stands twice")
        _rule(node.spec.kind == node.kind, f"`{node.id}`: spec of another kind")
        for edge in node.inputs:
            source = keys.get(edge.node)
            _rule(source is not None, f"`{node.id}` reads `{edge.node}`, which does not stand before it")
            assert source is not None
            _rule(edge.key == source.key, f"`{node.id}` reads another `{edge.node}`")
            streams = edge.role not in ("model", "tokenizer")
            _rule(not streams or edge.port in KINDS[source.kind].ports, f"`{node.id}` reads `{edge.node}.{edge.port}`")
        _spec(node, plan)
        keys[node.id] = node
    for part in walk(to_json(plan.nodes)):
        _rule(part[0] != "template" or part[1] in plan.texts, f"no text {part[1]}")
    for check in plan.checks:
        _rule(all(name in keys for name in check.reads), f"check `{check.id}` counts {check.reads}")


def _spec(node: Node, plan: Plan) -> None:
    if isinstance(node.spec, TeacherStepSpec):
        _rule(node.spec.teacher in plan.teachers, f"`{node.id}`: no teacher `{node.spec.teacher}`")
        _rule(node.spec.prompt in plan.prompts, f"`{node.id}`: no prompt `{node.spec.prompt}`")
    if node.spec.kind == "mixture":
        _rule(all(0 <= t.edge < len(node.inputs) for t in node.spec.take), f"`{node.id}`: lost edges")


def _rule(holds: bool, otherwise: str) -> None:
    if not holds:
        raise IllegalPlan(otherwise)
