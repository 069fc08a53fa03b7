"""A specification of legal programs and plans, checked between passes under test. A violation is our bug, never a
user's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import Node, Plan, TeacherStepSpec, to_json

from alchemist_dsl.ir import Program
from alchemist_dsl.passes.needed import reads


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
    for named in _texts(to_json(plan.nodes)):
        _rule(named in plan.texts, f"no text {named}")
    for check in plan.checks:
        _rule(all(name in keys for name in check.reads), f"check `{check.id}` counts {check.reads}")


def _spec(node: Node, plan: Plan) -> None:
    if isinstance(node.spec, TeacherStepSpec):
        _rule(node.spec.teacher in plan.teachers, f"`{node.id}`: no teacher `{node.spec.teacher}`")
        _rule(node.spec.prompt in plan.prompts, f"`{node.id}`: no prompt `{node.spec.prompt}`")
    if node.spec.kind == "mixture":
        _rule(all(0 <= t.edge < len(node.inputs) for t in node.spec.take), f"`{node.id}`: lost edges")


def _texts(value: Any) -> Iterator[str]:
    """Digests of `["template", DIGEST, NAMES]`."""
    if isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        if len(value) == 3 and value[0] == "template" and isinstance(value[1], str):
            yield value[1]
        else:
            for part in value:
                yield from _texts(part)


def _rule(holds: bool, otherwise: str) -> None:
    if not holds:
        raise IllegalPlan(otherwise)
