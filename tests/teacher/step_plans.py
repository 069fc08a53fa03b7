"""Plans with a source, a teacher and steps, built by hand, and a run over them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alchemist_runtime.engine.context import Context, Options
from alchemist_runtime.engine.local import run
from alchemist_runtime.engine.streams import Stream
from alchemist_runtime.schema import plan as p
from alchemist_runtime.schema.plan import to_json
from alchemist_runtime.storage.store import Manifest, Store

AT = p.At(file="r.recipe", line=1, column=1)
Inputs = Sequence[tuple[str, str, str]]  # node, port, role

ASK = "{{ instruction }} || {{ response }}"
OUT_PROMPT: p.Expr = ["cat", ["cat", ["out", "prompt"], ["lit", "text", "\n"]], ["col", "instruction"]]


def source(rows: Sequence[Mapping[str, Any]], root: Path, name: str = "a") -> p.SourceSpec:
    path = root / f"{name}.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    file = {"path": path.name, "format": "jsonl"}
    return p.SourceSpec(name=name, salt=name, reader=p.Method(name="files"), files=[file])


def step(kind: str = "relabel", **more: Any) -> p.TeacherStepSpec:
    """A relabel step: the answer goes before the instruction."""
    spec = p.RelabelSpec if kind == "relabel" else p.GenerateSpec
    given: dict[str, Any] = {
        "teacher": "t",
        "prompt": "ask",
        "mode": "replace",
        "sets": [p.SetColumn(column="instruction", type="text", expr=OUT_PROMPT)],
        "inputs": {"instruction": ["col", "instruction"], "response": ["col", "response"]},
        "salt": "step",
    }
    return spec(**{**given, **more})


def rule(verb: Any, name: str, expr: p.Expr) -> p.Rule:
    return p.Rule(verb=verb, name=name, expr=expr, text=f"…{name}…")


def make_plan(
    nodes: Sequence[tuple[str, Inputs, Any]],
    teacher: p.Teacher,
    outputs: Mapping[str, str] | None = None,
    *,
    seed: int = 3,
    user: str = ASK,
    texts: Mapping[str, str] | None = None,
    **prompt: Any,
) -> p.Plan:
    made: list[p.Node] = []
    keys: dict[str, str] = {}
    asked = p.Prompt(
        name="ask",
        inputs=prompt.pop("inputs", {"instruction": "text", "response": "text"}),
        outputs=dict(outputs or {"prompt": "text"}),
        user=p.text_digest(user),
        **prompt,
    )
    ingredients = [teacher.identity_key, to_json(asked), user, seed]
    for name, inputs, spec in nodes:
        own = p.digest([name, to_json(spec), ingredients])
        keys[name] = p.digest([own, [[keys[n], port, role] for n, port, role in inputs]])
        edges = [p.Edge(node=n, port=port, role=role, key=keys[n]) for n, port, role in inputs]
        made.append(
            p.Node(id=name, kind=spec.kind, at=AT, inputs=edges, spec=spec, key=keys[name], meta_key="", own_key=own)
        )
    return p.Plan(
        edition=2026,
        recipe={"path": "r.recipe"},
        seed=seed,
        nodes=made,
        teachers={"t": teacher},
        prompts={"ask": asked},
        texts={p.text_digest(user): user, **(texts or {})},
    )


def context(plan: p.Plan, root: Path, **options: Any) -> Context:
    state = root / ".alchemist"
    return Context(plan, root, state, Store(state), options=Options(**options))


def carry_out(plan: p.Plan, root: Path, **options: Any) -> Context:
    """Run a plan; a fresh context to look at what is there."""
    run(context(plan, root, **options))
    return context(plan, root)


def rows(ctx: Context, node: str, port: str = "rows") -> list[dict[str, Any]]:
    stream: Stream = ctx.open(node, port)
    return stream.table(list(stream.types)).to_pylist()


def figures(ctx: Context, node: str) -> Mapping[str, Any]:
    manifest: Manifest = ctx.manifest(node)
    return manifest.figures


if __name__ == "__main__":  # PLAN ROOT: carry a plan out in a process of its own, which a test may kill
    import sys

    carry_out(p.from_json(p.Plan, json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2]))
