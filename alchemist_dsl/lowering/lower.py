"""From the checked program to the nodes of a plan: a dict of kinds to functions, edges, teachers, prompts, texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import Check, Edge, Node, Param, Plan, Prompt, Teacher, digest, to_json

from alchemist_dsl.checker.unsupported import unrun
from alchemist_dsl.ir import Block, ParamValue, Program, RefV
from alchemist_dsl.lowering import keys, steps
from alchemist_dsl.lowering.canonical import Ingredients
from alchemist_dsl.lowering.scope import Input, Scope, inputs, items, plan_prompt, plan_teacher, text
from alchemist_dsl.passes import NODE_KINDS, counted


def lower(scope: Scope) -> tuple[Plan, dict[str, Ingredients]]:
    """The plan of an ordered, pruned program, without estimates; and the ingredients of every node's key."""
    program = scope.program
    nodes: list[Node] = []
    result: dict[str, Ingredients] = {}
    known: dict[str, str] = {}
    for block in program.blocks.values():
        if block.kind in NODE_KINDS:
            node, result[block.name] = _node(block, scope, known)
            known[node.id] = node.key
            nodes.append(node)
    plan = Plan(
        edition=program.edition,
        title=scope.stated("title"),
        recipe=_origin(program),
        variant=program.variant,
        seed=steps.seed(scope),
        license=scope.stated("license"),
        tokenizer=steps.tokenizer(None, scope),
        params=[_param(p) for p in program.params.values()],
        teachers=_teachers(scope, known),
        prompts=_prompts(scope),
        nodes=nodes,
        checks=_checks(scope),
    )
    return replace(plan, texts=_texts(plan, scope)), result


def _node(block: Block, scope: Scope, known: Mapping[str, str]) -> tuple[Node, Ingredients]:
    edges = edges_of(block, scope.program)
    ingredients = keys.own_ingredients(block, scope)
    ingredients |= keys.input_ingredients(edges, known, block)
    node = Node(
        id=block.name,
        kind=block.kind,
        doc=block.doc,
        at=scope.at(block.span),
        inputs=[_edge(e, known[e.node]) for e in edges],
        spec=steps.LOWER.get(block.kind, steps.lowered)(block, scope),
        key=keys.node_key(ingredients),
        own_key=keys.own_key(ingredients),
        meta_key=keys.meta_key(block, scope.program),
        runnable=_runnable(block, scope),
        columns=_columns(block, scope.program),
    )
    return node, ingredients


def edges_of(block: Block, program: Program) -> tuple[Input, ...]:
    """A block's streams, then the models, suites and examples that it refers to."""
    if block.kind == "mixture":
        return tuple(
            Input(e.stream.target, e.stream.port, e.stream.origin, f"take.{e.name}") for e in steps.entries(block)
        ) + tuple(_referred(block, program))
    return inputs(block) + tuple(_referred(block, program))


def _referred(block: Block, program: Program) -> Iterator[Input]:
    seen = {(ref.target, role) for ref, role in zip(block.inputs, block.roles, strict=True)}
    for name, role in (("base", "model"), ("model", "model"), ("suites", "suites"), ("tokenizer", "tokenizer")):
        for value in items(block.get(name)):
            if isinstance(value, RefV) and (value.target, role) not in seen:
                yield Input(value.target, role=role)


def _edge(edge: Input, key: str) -> Edge:
    port: Any = edge.port
    return Edge(node=edge.node, port=port, origin=edge.origin, role=edge.role, key=key)


def _columns(block: Block, program: Program) -> dict[str, dict[str, str]]:
    ports = KINDS[block.kind].ports
    found = {port: program.schemas.get((block.name, port)) for port in ports}
    return {port: dict(schema.columns) for port, schema in found.items() if schema is not None}


def _runnable(block: Block, scope: Scope) -> bool:
    """Whether this version carries a node out: what it says, and the components that do the work."""

    def has(family: Any, name: str) -> bool:
        return scope.find(family, name) is not None

    reasons = unrun(block, scope.program.blocks, has)
    return next(reasons, None) is None and all(has(f, n) for f, n in keys.components(block))


# --- the rest of the plan ---------------------------------------------------------------------------------------------


def _origin(program: Program) -> dict[str, Any]:
    from alchemist_runtime.schema.plan import text_digest

    imports = {(i.path, i.digest) for i in program.imports}
    return {
        "path": program.file.path,
        "digest": text_digest(program.file.text),
        "imports": [{"path": path, "digest": d} for path, d in sorted(imports)],
    }


def _param(param: ParamValue) -> Param:
    return Param(name=param.name, type=param.type, value=param.text, origin=param.origin)


def _teachers(scope: Scope, known: Mapping[str, str]) -> dict[str, Teacher]:
    """The teachers; the answers of one that the recipe trains are kept under the key of its training."""
    out = {}
    for block in _of_kind(scope.program, "teacher"):
        identity = keys.teacher_identity(block, scope)
        if isinstance(model := block.get("model"), RefV):
            identity["teacher.model"] = {"train": known[model.target]}
        teacher = plan_teacher(block, scope)
        out[block.name] = replace(teacher, identity_of=identity, identity_key=digest(identity))
    return out


def _prompts(scope: Scope) -> dict[str, Prompt]:
    out = {}
    for block in _of_kind(scope.program, "prompt"):
        key = digest(keys.prompt_ingredients(block))
        out[block.name] = replace(plan_prompt(block, scope), key=key)
    return out


def _of_kind(program: Program, kind: str) -> list[Block]:
    return sorted((b for b in program.blocks.values() if b.kind == kind), key=lambda b: b.name)


def _checks(scope: Scope) -> list[Check]:
    return [check for block in _of_kind(scope.program, "check") for check in _promises(block, scope)]


def _promises(block: Block, scope: Scope) -> Iterator[Check]:
    """One check for each `expect` of a block; a block's second promise is called `NAME.2`."""
    severity: Any = text(block, "severity") or "error"
    for i, rule in enumerate(block.rules, 1):
        yield Check(
            id=block.name if i == 1 else f"{block.name}.{i}",
            at=scope.at(rule.span),
            severity=severity,
            expr=rule.expr.tree,
            text=rule.text,
            reads=sorted(set(counted(rule.expr.tree))),
        )


def _texts(plan: Plan, scope: Scope) -> dict[str, str]:
    """The templates that the plan names by digest, and no others."""
    known = {**scope.program.texts, **scope.texts}
    data = to_json([plan.nodes, plan.prompts])
    named = sorted({d for d in _digests(data) if d in known})
    return {d: known[d] for d in named}


def _digests(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value.startswith("b2:"):
            yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _digests(part)
    elif isinstance(value, list):
        for part in value:
            yield from _digests(part)
