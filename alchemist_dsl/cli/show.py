"""`alchemist show`: a plan, or one step of it: what it does, what it reads, its columns, and where its result lies."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alchemist_dsl.cli.options import RecipeOptions, format_option, recipe_options

if TYPE_CHECKING:
    from alchemist_runtime.schema.plan import Node, Plan, Prompt

    from alchemist_dsl.project.workspace import Project


@click.command()
@click.argument("plan", metavar="PLAN|RECIPE", type=click.Path(path_type=Path))
@click.argument("node", required=False)
@format_option()
@recipe_options()
def show(plan: Path, node: str | None, format_: str, options: RecipeOptions) -> None:
    """Show the plan in PLAN, or of RECIPE; with NODE, everything about that step."""
    from alchemist_dsl.cli.output import compiled_or_exit, exit_code, plan_or_exit
    from alchemist_dsl.project.folder import is_plan
    from alchemist_dsl.project.workspace import project_of

    if is_plan(plan):
        found = plan_or_exit(plan)
    else:
        result = compiled_or_exit(plan, warnings=False, **options.arguments())
        if result.plan is None:
            sys.exit(exit_code(result))
        found = result.plan
    _print(found, node, format_, project_of(plan))


def _print(plan: Plan, node: str | None, format_: str, project: Project) -> None:
    import json

    from alchemist_runtime.schema.plan import dump, to_json

    from alchemist_dsl.cli.compile import plan_lines, terminal_width

    if node is None:
        text = dump(plan).rstrip("\n") if format_ == "json" else "\n".join(plan_lines(plan, terminal_width()))
        click.echo(text)
        return
    displayed = find_node(plan, node)
    if format_ == "json":
        click.echo(json.dumps(to_json(displayed, without_none=True), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(node_lines(displayed, plan, project)))


def find_node(plan: Plan, name: str) -> Node:
    """The node of this name; exits with near names where there is none."""
    from difflib import get_close_matches

    from alchemist_runtime.schema.codes import USAGE

    names = [n.id for n in plan.nodes]
    if name in names:
        return plan.node(name)
    near = get_close_matches(name, names, 1, 0.5)
    help_ = f"did you mean `{near[0]}`?" if near else "its steps: " + ", ".join(f"`{n}`" for n in names)
    click.echo(f"error[A912 no-such-node]: the plan has no step `{name}`\nhelp: {help_}", err=True)
    sys.exit(USAGE)


def node_lines(node: Node, plan: Plan, project: Project) -> list[str]:
    """A node for people, one fact a line."""
    out = [f"{node.kind} {node.id} · {node.at.file}:{node.at.line}"]
    out += [f"  {line}" for line in (node.doc or "").splitlines()]
    out += ["", *_facts(node, plan), "", *_columns(node)]
    out += ["", *_figures(node), *_now(node, plan), *_stored(node, project)]
    return out


def _facts(node: Node, plan: Plan) -> Iterator[str]:
    """What the step says, each fact as the recipe would write it; texts in full."""
    from alchemist_dsl.explain.description import describe

    facts = {name: fact for name, fact in describe(plan, node, {}).items() if not fact.part and name != "##"}
    width = max(map(len, facts), default=0)
    for name, fact in facts.items():
        yield f"{name:<{width}}  {fact.text}"
        if fact.template is not None:
            yield from (f"  | {line}" for line in fact.template.splitlines())
    if command := getattr(node.spec, "command", None):
        yield f"{'command':<{width}}  {' '.join(command)}"
    if requested := getattr(node.spec, "prompt", None):
        yield from _prompt(plan.prompts[requested], plan)


def _prompt(requested: Prompt, plan: Plan) -> Iterator[str]:
    """The texts of the prompt that a step sends."""
    from alchemist_dsl.explain.description import prompt

    for name, fact in prompt(requested, plan).items():
        if fact.template is not None:
            yield f"prompt.{name}"
            yield from (f"  | {line}" for line in fact.template.splitlines())


def _columns(node: Node) -> Iterator[str]:
    for port, columns in node.columns.items():
        displayed = ", ".join(f"{name}: {type_}" for name, type_ in columns.items())
        yield f".{port:<7} {displayed}"


def _figures(node: Node) -> Iterator[str]:
    from alchemist_dsl.explain.wording import figure

    for name, e in node.estimate.items():
        yield f"{name:<10} {figure(name, e)} ({e.basis})"


def _now(node: Node, plan: Plan) -> Iterator[str]:
    from alchemist_dsl.explain.wording import reason

    doing = next((n for n in plan.now.nodes if n.id == node.id), None) if plan.now else None
    if doing is not None:
        why = "; ".join(reason(r) for r in doing.reasons)
        yield f"a run would {_VERBS[doing.action]}" + (f": {why}" if why else "")


_VERBS = {
    "reuse": "reuse its result",
    "build": "build it",
    "extend": "extend it, keeping every answer that is there",
    "skip": "leave it alone",
}


def _stored(node: Node, project: Project) -> Iterator[str]:
    from alchemist_runtime.schema.codes import RunError
    from alchemist_runtime.storage.store import closing, trained

    yield f"key      {node.key}"
    try:
        manifest = project.store.manifest(node.key)
    except RunError as error:
        yield f"result   {error.problem.headline}"
        return
    if manifest is not None:
        yield f"result   {project.relative(manifest.path)}"
        for port, facts in manifest.data.get("ports", {}).items():
            yield f"         .{port} {facts.get('rows', 0):,} rows"
        if "prepared" in manifest.figures:
            yield f"         {trained(manifest.figures['prepared'])}"
        elif "rows_in" in manifest.figures:
            why = closing(manifest.figures)
            yield f"         of {manifest.figures['rows_in']:,} rows" + (f": {why}" if why else "")
