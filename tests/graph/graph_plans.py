"""Plans of any shape for the drawings: random ones, and those of bundled recipes in a project of their own."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from alchemist_runtime.schema.plan import (
    At,
    Edge,
    Estimate,
    EvaluateSpec,
    FilterSpec,
    Method,
    MixtureSpec,
    Node,
    Now,
    NowNode,
    Plan,
    Reason,
    SourceSpec,
    Spec,
    Take,
)
from hypothesis import strategies as st

from alchemist_dsl.graph.model import Graph, graph_of
from alchemist_dsl.project.workspace import compile_recipe

ROOT = Path(__file__).resolve().parents[2]

PLAIN = st.from_regex(r"[a-z][a-z0-9_]{0,9}(\.[a-z][a-z0-9_]{0,9})?", fullmatch=True)
#: Names that no recipe holds; a plan file may be written by anything.
ODD = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp", "Mn", "Me", "Cf")), min_size=1, max_size=8
).filter(lambda t: not t.isspace() and "," not in t and ";" not in t and "." not in t)


def spec_of(kind: str, inputs: list[Edge]) -> Spec:
    match kind:
        case "source":
            return SourceSpec(name="s", salt="s", reader=Method(name="files"))
        case "mixture":
            take = [Take(name=f"t{i}", edge=i, amount="share", value="1/8") for i in range(len(inputs))]
            return MixtureSpec(unit="rows", take=take)
        case "evaluate":
            return EvaluateSpec(suites=[])
        case _:
            return FilterSpec(rules=[])


@st.composite
def edges(draw: st.DrawFn, before: list[str], kind: str) -> list[Edge]:
    """Inputs of a node: each stream once, in any role."""
    count = draw(st.integers(0 if kind == "source" else 1, 0 if kind == "source" else 5))
    found: dict[tuple[str, str, str | None], Edge] = {}
    for _ in range(count if before else 0):
        node = draw(st.sampled_from(before))
        port = draw(st.sampled_from(["rows", "rows", "rows", "dropped", "trace"]))
        origin = draw(st.sampled_from([None, None, None, before[0]]))
        role = draw(st.sampled_from(["from", "from", "against", "learn", "sound", "data"]))
        role = f"take.{node}" if kind == "mixture" else role
        found[node, port, origin] = Edge(node=node, port=port, origin=origin, role=role, key="b2:0")
    return list(found.values())


@st.composite
def plans(draw: st.DrawFn, names: st.SearchStrategy[str] = PLAIN, most: int = 14) -> Plan:
    """A plan in topological order, with or without what a run would do."""
    ids = draw(st.lists(names, min_size=1, max_size=most, unique=True))
    nodes: list[Node] = []
    for name in ids:
        kinds = ["source"] if not nodes else ["source", "filter", "filter", "mixture", "evaluate"]
        kind = draw(st.sampled_from(kinds))
        inputs = draw(edges([n.id for n in nodes if n.kind != "evaluate"], kind))
        high = str(draw(st.integers(0, 10**9)))
        basis = draw(st.sampled_from(["exact", "declared", "unknown"]))
        rows = Estimate() if basis == "unknown" else Estimate(low="0", value=high, high=high, basis=basis)
        nodes.append(
            Node(
                id=name,
                kind=kind,
                at=At(file="r.recipe", line=1, column=1),
                inputs=inputs,
                spec=spec_of(kind, inputs),
                key="b2:0",
                meta_key="b2:0",
                runnable=kind != "evaluate",
                estimate={"rows": rows},
            )
        )
    actions = st.sampled_from(["reuse", "build", "extend", "skip"])
    now = [NowNode(id=n.id, action=draw(actions), reasons=[Reason(code="forced")]) for n in nodes]
    return Plan(
        edition=2026,
        recipe={"path": "r.recipe"},
        nodes=nodes,
        digest="b2:" + "0" * 64,
        now=draw(st.sampled_from([None, Now(nodes=now)])),
    )


def streams(plan: Plan) -> Counter[tuple[str, str, str, str | None]]:
    """Every input of a plan: what reads what, port and origin."""
    return Counter((e.node, n.id, e.port, e.origin) for n in plan.nodes for e in n.inputs)


def links(plan: Plan) -> set[tuple[str, str]]:
    return {(e.node, n.id) for n in plan.nodes for e in n.inputs}


def bundled(name: str, place: Path) -> Graph:
    """The graph of a bundled recipe in a new project, where nothing was ever built and nothing is known of the hub."""
    if not (place / "recipes").exists():
        shutil.copytree(ROOT / "recipes", place / "recipes")
        (place / "recipe.lock").touch()
    made = compile_recipe(place / "recipes" / f"{name}.recipe")
    assert made.plan is not None
    return graph_of(made.plan)
