"""`alchemist show`: a plan, or one step of it: what it does, what it reads, its columns, and where its result lies."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from alchemist_runtime.schema.plan import Node, Plan

    from alchemist_dsl.project.workspace import Project


@click.command()
@click.argument("plan", metavar="PLAN|RECIPE", type=click.Path(path_type=Path))
@click.argument("node", required=False)
@click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Form of what is printed."
)
@click.option("--set", "sets", metavar="NAME=VALUE", multiple=True, help="Value of a parameter.")
@click.option("--variant", metavar="NAME", help="A variant of the recipe.")
def show(plan: Path, node: str | None, format_: str, sets: tuple[str, ...], variant: str | None) -> None:
    """Show the plan in PLAN, or of RECIPE; with NODE, everything about that step."""
    from alchemist_dsl.cli.compiling import compiled_or_exit, exit_code, is_plan, plan_or_exit
    from alchemist_dsl.project.workspace import project_of

    if is_plan(plan):
        found = plan_or_exit(plan)
    else:
        made = compiled_or_exit(plan, warnings=False, sets=sets, variant=variant)
        if made.plan is None:
            sys.exit(exit_code(made))
        found = made.plan
    _print(found, node, format_, project_of(plan))


def _print(plan: Plan, node: str | None, format_: str, project: Project) -> None:
    from alchemist_runtime.schema.plan import dump

    from alchemist_dsl.cli.compile import plan_lines, terminal_width

    if node is None:
        text = dump(plan).rstrip("\n") if format_ == "json" else "\n".join(plan_lines(plan, terminal_width()))
        click.echo(text)
        return
    shown = find_node(plan, node)
    if format_ == "json":
        click.echo(shown.model_dump_json(indent=2, exclude_none=True))
    else:
        click.echo("\n".join(node_lines(shown, plan, project)))


def find_node(plan: Plan, name: str) -> Node:
    """The node of this name; exits with near names where there is none."""
    from difflib import get_close_matches

    from alchemist_runtime.schema.errors import USAGE

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
    out += ["", *_reads(node), *_spec(node, plan), "", *_columns(node)]
    out += ["", *_figures(node), *_now(node, plan), *_stored(node, project)]
    return out


def _reads(node: Node) -> Iterator[str]:
    for edge in node.inputs:
        port = "" if edge.port == "rows" else f".{edge.port}"
        origin = f".{edge.origin}" if edge.origin else ""
        yield f"reads    {edge.node}{port}{origin} ({edge.role})"


def _spec(node: Node, plan: Plan) -> Iterator[str]:
    """What the spec says beyond its defaults, in words."""
    from alchemist_dsl.explain.expressions import expression

    data = node.spec.model_dump(exclude_defaults=True, exclude={"kind", "rules", "sets", "schema_columns"})
    for name, value in data.items():
        if value not in (None, [], {}):
            yield f"{name:<8} {_words(name, value)}"
    for s in getattr(node.spec, "sets", []):
        yield f"set      {s.column} = {expression(s.expr)}"
    for rule in getattr(node.spec, "rules", []):
        named = "" if rule.name == expression(rule.expr) else f" as {rule.name}"
        yield f"rule     {rule.verb} {rule.text}{named}"
    for digest in _texts(node, plan):
        yield f"text     {digest[3:15]}"
        yield from (f"  | {line}" for line in plan.texts[digest].splitlines())


def _texts(node: Node, plan: Plan) -> list[str]:
    from alchemist_runtime.schema.plan import TeacherStepSpec

    spec = node.spec
    if isinstance(spec, TeacherStepSpec):
        prompt = plan.prompts[spec.prompt]
        return [d for d in (prompt.system, prompt.user, prompt.prefill) if d]
    named = [getattr(spec, n, None) for n in ("system", "instruction", "response")]
    return [e[1] for e in named if e and e[0] == "template" and e[1] in plan.texts]


def _words(name: str, value: Any) -> str:
    """A value of a spec, as the recipe would write it where it can."""
    from alchemist_dsl.explain.expressions import expression, is_tree
    from alchemist_dsl.explain.wording import amount, percent, plain

    match value:
        case _ if is_tree(value):
            return expression(value)
        case {"name": method, "args": dict(args)}:
            return f"{method}({', '.join(f'{k} = {plain(v)}' for k, v in args.items())})"
        case {"name": entry, "rules": rules}:
            return f"{entry} = {' or '.join(rules)}"
        case {"name": method} if name in ("reader", "init", "method", "methods", "schedule"):
            return f"{method}()"
        case {"path": path, "digest": _}:
            return str(path)
        case {"unit": _, "value": _}:
            return plain(value)
        case {"amount": kind, "name": entry}:
            return f"{entry} = {amount(kind, value.get('value'))}"
        case {"fraction": share}:
            return " ".join([percent(share), *(["per", *value["per"]] if value.get("per") else [])])
        case str() if name in ("max_failed", "sound", "eval_share"):
            return percent(value)
        case list():
            return (" " if name == "command" else ", ").join(_words(name, v) for v in value)
        case dict():
            return ", ".join(f"{k} = {_words(k, v)}" for k, v in value.items() if v not in (None, [], {}))
        case _:
            return plain(value)


def _columns(node: Node) -> Iterator[str]:
    for port, columns in node.columns.items():
        shown = ", ".join(f"{name}: {type_}" for name, type_ in columns.items())
        yield f".{port:<7} {shown}"


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
    from alchemist_runtime.schema.errors import RunError
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
