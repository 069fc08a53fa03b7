"""The Python interface: what the commands do, as functions with typed results. Nothing is printed, nobody is asked.

`docs/python.md` is its page; `from alchemist_dsl import check, compile, diff, run` imports this module.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from alchemist_runtime.engine import local
from alchemist_runtime.engine.context import Options
from alchemist_runtime.schema.codes import RunError

from alchemist_dsl.comparison.model import Diff
from alchemist_dsl.diagnostics.model import Diagnostic, severity
from alchemist_dsl.diagnostics.render import render
from alchemist_dsl.project.folder import outside_values
from alchemist_dsl.project.operands import Settings, compared, comparison
from alchemist_dsl.project.running import Checked, Ran, check_file, judged, prepare, record
from alchemist_dsl.project.workspace import Compiled, add_facts, compile_recipe

__all__ = ["Checked", "Compiled", "Diff", "Ran", "RecipeError", "RunError", "check", "compile", "diff", "run"]

Params = Mapping[str, Any]


class RecipeError(ValueError):
    """A recipe has errors: one line for each, and the `diagnostics` themselves."""

    def __init__(self, text: str, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(text)
        self.diagnostics = diagnostics


def check(recipe: str | Path, *, params: Params | None = None, variant: str | None = None) -> Checked:
    """Check a recipe without network and without running anything.

    `params`: values of parameters. Raises OSError where the recipe cannot be read; what is wrong with it is in
    `diagnostics`."""
    return check_file(Path(recipe), outside_values(_sets(params)), variant)


def compile(
    recipe: str | Path,
    *,
    params: Params | None = None,
    variant: str | None = None,
    upto: Iterable[str] = (),
    limit: int | None = None,
    locked: bool = False,
) -> Compiled:
    """Compile a recipe to its plan, with estimates and with what a run on this machine would do.

    `upto`: only these steps and what they need. `limit`: only so many rows of each source. `locked`: what differs from
    `recipe.lock` is an error. Writes nothing. Raises OSError where the recipe cannot be read; what is wrong with it is
    in `diagnostics`, and `plan` is None then."""
    return compile_recipe(recipe, sets=_sets(params), variant=variant, upto=upto, limit=limit, locked=locked)


def run(
    recipe: str | Path,
    *,
    params: Params | None = None,
    variant: str | None = None,
    upto: Iterable[str] = (),
    limit: int | None = None,
    locked: bool = False,
    budget: int | str | Fraction | None = None,
    hosts: Iterable[str] = (),
    replay: str | Path | None = None,
    processes: int | None = None,
    keep_going: bool = False,
) -> Ran:
    """Carry a recipe out: build what is missing, train, judge the checks.

    `budget`: the most that it may spend, in dollars; without one, a step that costs money needs a `budget` of its own.
    `hosts`: servers that may get the key which the recipe names for them. `replay`: answers from this file only.
    `processes`: of a training, instead of the recipe's. `keep_going`: after a step that fails, build what does not need
    it. Raises RecipeError where the recipe is wrong or a check of it fails before the run, RunError where nobody agreed
    to a cost or a key, or a step fails; what was finished is kept, and the same call goes on from there."""
    targets = tuple(upto)
    compiled = compile_recipe(
        recipe, sets=_sets(params), variant=variant, limit=limit, upto=targets, locked=locked, pin=True
    )
    problems = [d for d in compiled.diagnostics if severity(d) == "error"]
    if compiled.plan is None or problems:
        raise RecipeError(render(problems, compiled.sources, "concise"), problems)
    if limit is None and not locked:
        add_facts(compiled)
    options = Options(
        budget=None if budget is None else str(Fraction(budget)),
        replay=None if replay is None else Path(replay),
        processes=processes,
        limited=limit is not None,
        keep_going=keep_going,
    )
    ctx = prepare(compiled, options, upto=targets, hosts=tuple(hosts))
    result = local.run(ctx, list(targets) or None, ingredients=compiled.ingredients)
    record(compiled, ctx, result, locked=locked)
    return judged(ctx, result)


def diff(before: str, after: str | None = None, *, params: Params | None = None, variant: str | None = None) -> Diff:
    """Compare two versions by meaning: rows, calls, dollars, what trains again.

    A side is the path of a recipe or of a plan, `REVISION:path`, or a git revision for all recipes that changed since.
    Without `after`, `before` is compared with what lies in the working tree. Raises BadOperand, a ValueError, where
    they make no comparison."""
    sides = (before,) if after is None else (before, after)
    found = comparison(sides, Settings(tuple(_sets(params)), None, variant))
    return compared(found, lambda text: warnings.warn(text, stacklevel=2))


def _sets(params: Params | None) -> list[str]:
    return [f"{name}={_text(value)}" for name, value in (params or {}).items()]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
