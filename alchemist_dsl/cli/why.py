"""`alchemist why`: every ingredient of a step's key, what differs from the last run, and what would run again because of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from alchemist_runtime.plan import Node, NowNode, Plan

    from alchemist_dsl.project import Compiled
    from alchemist_dsl.state import Remembered


@click.command()
@click.argument("node")
@click.argument("recipe", required=False, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    help="Form of what is printed.",
)
@click.option("--set", "sets", metavar="NAME=VALUE", multiple=True, help="Value of a parameter.")
@click.option("--variant", metavar="NAME", help="A variant of the recipe.")
def why(
    node: str, recipe: Path | None, format_: str, sets: tuple[str, ...], variant: str | None
) -> None:
    """Say why a run of RECIPE would build or reuse NODE. RECIPE may be left out where the folder holds only one."""
    from alchemist_runtime.errors import USAGE

    from alchemist_dsl.cli.compiling import compiled_or_exit, exit_code, only_recipe
    from alchemist_dsl.cli.show import find_node

    found = recipe or only_recipe(Path())
    if found is None:
        click.echo(
            "error: this folder does not hold exactly one recipe; name it: `alchemist why NODE RECIPE`",
            err=True,
        )
        sys.exit(USAGE)
    made = compiled_or_exit(found, warnings=False, sets=sets, variant=variant)
    if made.plan is None:
        sys.exit(exit_code(made))
    shown = find_node(made.plan, node)
    if format_ == "json":
        import json

        click.echo(
            json.dumps(data(made, made.plan, shown), indent=2, sort_keys=True, ensure_ascii=False)
        )
    else:
        click.echo("\n".join(lines(made, made.plan, shown)))


def data(made: Compiled, plan: Plan, node: Node) -> dict[str, Any]:
    """The same as JSON: action, reasons, ingredients now and before, and the nodes that would follow."""
    last = _last(made, plan, node)
    doing = _doing(plan, node)
    return {
        "node": node.id,
        "key": node.key,
        "action": doing.action if doing else None,
        "reasons": [r.model_dump(exclude_none=True) for r in doing.reasons] if doing else [],
        "ingredients": dict(made.ingredients[node.id]),
        "before": None
        if last is None
        else {"key": last.key, "run": last.run, "ingredients": dict(last.ingredients)},
        "then": following(plan, node),
    }


def lines(made: Compiled, plan: Plan, node: Node) -> list[str]:
    """The answer for people."""
    last = _last(made, plan, node)
    return [
        *_verdict(plan, node, last),
        "",
        "what its result is made of:",
        *_ingredients(
            made.ingredients[node.id], {} if last is None else last.ingredients, plan, node
        ),
        "",
        *_then(plan, node),
    ]


def _doing(plan: Plan, node: Node) -> NowNode | None:
    return next((n for n in plan.now.nodes if n.id == node.id), None) if plan.now else None


def _last(made: Compiled, plan: Plan, node: Node) -> Remembered | None:
    from alchemist_dsl.project import last_records, read_runs

    return last_records(read_runs(made.project), plan).get(node.id)


def _verdict(plan: Plan, node: Node, last: Remembered | None) -> Iterator[str]:
    from alchemist_dsl.explain import reason, short

    doing = _doing(plan, node)
    action = doing.action if doing else "build"
    head = {
        "reuse": "is there: a run would take it as it is",
        "skip": _skipped(plan, node),
        "build": "would be built",
        "extend": "would be extended; every answer that is there is kept",
    }[action]
    yield f"{node.kind} `{node.id}` {head}"
    for r in doing.reasons if doing else []:
        yield f"  because {reason(r)}"
    if last is None:
        yield f"  key {short(node.key)}; no earlier run of it is on record"
    elif last.key == node.key:
        yield f"  key {short(node.key)}, the same as in run {last.run}"
    else:
        yield f"  key {short(last.key)} in run {last.run}, {short(node.key)} now"


def _skipped(plan: Plan, node: Node) -> str:
    from alchemist_runtime.plan import not_run

    if not node.runnable:
        return "would not be run: this version does not carry it out"
    there = {n.id for n in plan.now.nodes if n.action == "reuse"} if plan.now else set()
    stuck = not_run(plan.nodes, lambda n: n.id in there)
    needed = next((e.node for e in node.inputs if e.node in stuck), None)
    if needed is not None:
        return f"would not be run: it needs `{needed}`, which is not run"
    return "is not needed: nothing that would run reads it"


def _ingredients(
    now: Mapping[str, Any], before: Mapping[str, Any], plan: Plan, node: Node
) -> Iterator[str]:
    from alchemist_dsl.explain import path_words, value_words

    for path in sorted({*now, *before} - {"kind"}, key=_position):
        new, old = now.get(path), before.get(path)
        changed = bool(before) and new != old
        mark = (
            "~"
            if changed and path in now and path in before
            else "+"
            if changed and path in now
            else "-"
            if changed
            else " "
        )
        if path.startswith("input."):
            text = _input(path, new or old or {}, plan, node)
            yield f"  {mark} {text}" + (" (changed)" if mark == "~" else "")
            continue
        shown = value_words(path, new if path in now else old)
        was = f"  (was {value_words(path, old)})" if mark == "~" else ""
        yield f"  {mark} {path_words(path)}: {shown}{was}"


def _position(path: str) -> tuple[int, str]:
    """What a person wrote first, then inputs, then versions."""
    first = path.partition(".")[0]
    late = {
        "input": 1,
        "file": 2,
        "module": 2,
        "revision": 2,
        "version": 4,
        "operator_version": 4,
        "kind": -1,
    }
    return late.get(first, 3 if first in ("seed", "salt", "source_salt") else 0), path


def _input(path: str, edge: Mapping[str, Any], plan: Plan, node: Node) -> str:
    from alchemist_dsl.explain import short

    role = path.removeprefix("input.").rpartition(".")[0]
    names = [e.node for e in node.inputs if e.key == edge.get("key")]
    name = names[0] if names else f"a step that had the key {short(str(edge.get('key')))}"
    port = "" if edge.get("port") in (None, "rows") else f".{edge['port']}"
    origin = f".{edge['origin']}" if edge.get("origin") else ""
    return f"`{role}` reads {name}{port}{origin}"


def following(plan: Plan, node: Node) -> list[str]:
    """The nodes that read this one, directly or not, and that a run would build."""
    after = {node.id}
    for other in plan.nodes:
        if any(e.node in after for e in other.inputs):
            after.add(other.id)
    doing = {n.id: n.action for n in plan.now.nodes} if plan.now else {}
    return [
        n.id
        for n in plan.nodes
        if n.id in after - {node.id} and doing.get(n.id) in ("build", "extend")
    ]


def _then(plan: Plan, node: Node) -> Iterator[str]:
    after = following(plan, node)
    doing = _doing(plan, node)
    if doing is not None and doing.action == "reuse":
        return
    if after:
        yield "and then, because they read it: " + ", ".join(after)
    else:
        yield "nothing else would run because of it"
