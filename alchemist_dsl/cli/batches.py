"""`alchemist batches`: the Batch API's batches that a project has in flight, how far each is, and cancelling them."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alchemist_dsl.cli.options import RecipeOptions, recipe_options

if TYPE_CHECKING:
    from alchemist_runtime.calls.batch_api import InFlight

    from alchemist_dsl.project.workspace import Compiled


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@click.option("--cancel", metavar="BATCH", multiple=True, help="Cancel this batch; `all` for each of RECIPE.")
@click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Form of what is printed."
)
@recipe_options()
def batches(recipe: Path | None, cancel: tuple[str, ...], format_: str, options: RecipeOptions) -> None:
    """List the batches that RECIPE has in flight, with their status at the server; cancel them with --cancel.

    What a batch had answered before it was cancelled is billed, and the next run uses it. RECIPE may be left out where
    the folder holds only one."""
    from alchemist_dsl.cli.output import compiled_or_exit, exit_code, only_recipe

    found = recipe or only_recipe(Path())
    if found is None:
        raise click.UsageError("this folder does not hold exactly one recipe; name it: `alchemist batches RECIPE`")
    made = compiled_or_exit(found, warnings=False, **options.arguments())
    if made.plan is None:
        sys.exit(exit_code(made))
    shown = _in_flight(made, cancel)
    if format_ == "json":
        import json

        click.echo(json.dumps({"batches": [_data(b) for b in shown]}, indent=2))
    else:
        for line in _lines(str(found), shown):
            click.echo(line)
    if any(b.record.batch in cancel or "all" in cancel for b in shown if not b.known):
        sys.exit(3)


def _in_flight(made: Compiled, cancel: Collection[str]) -> list[InFlight]:
    from alchemist_runtime.calls import batch_api
    from alchemist_runtime.schema.plan import TeacherStepSpec

    assert made.plan is not None
    teachers = {
        n.id: t
        for n in made.plan.nodes
        if isinstance(n.spec, TeacherStepSpec) and (t := made.plan.teachers[n.spec.teacher]).provider == "openai"
    }
    folder = made.project.state / "batches"
    records = batch_api.Folder(folder).records()
    known = {r.batch for r in records if r.batch and r.node in teachers}
    if unknown := sorted(set(cancel) - known - {"all"}):
        raise click.UsageError(
            f"no step of this recipe has a batch `{unknown[0]}` in flight; `alchemist batches` lists them"
        )
    chosen = known if "all" in cancel else set(cancel)
    return asyncio.run(batch_api.in_flight(folder, teachers, chosen))


def _lines(recipe: str, shown: Sequence[InFlight]) -> Iterator[str]:
    from alchemist_dsl.cli.compile import terminal_width
    from alchemist_dsl.explain.wording import grid

    if not shown:
        yield "no batch is in flight"
        return
    rows = [
        (b.record.batch or "-", b.record.node, f"{len(b.record.keys):,}", _age(b.record.made), b.status) for b in shown
    ]
    yield from grid(("batch", "step", "calls", "submitted", "status"), rows, terminal_width(), right={2})
    yield ""
    if any(b.ended for b in shown):
        yield f"`alchemist run {recipe}` reads the answers of those that have ended"
    if any(b.known and not b.ended for b in shown):
        yield (
            f"`alchemist batches {recipe} --cancel BATCH` cancels one; what it has answered by then is billed, and the"
            " next run uses it"
        )


def _age(made: float) -> str:
    """How long ago, in the largest whole unit."""
    seconds = max(0.0, time.time() - made)
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if n := int(seconds // size):
            return f"{n} {unit}{'s' if n != 1 else ''} ago"
    return "just now"


def _data(b: InFlight) -> dict[str, Any]:
    r = b.record
    return {
        "batch": r.batch,
        "step": r.node,
        "server": r.url,
        "calls": len(r.keys),
        "submitted": r.made,
        "status": b.status,
        "known": b.known,
        "ended": b.ended,
    }
