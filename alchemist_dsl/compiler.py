"""The way of a recipe on one screen: text, checked program, passes, plan with keys, estimates, verdicts, actions.

Pure: what it may know of the world comes in as values (`facts`, `state`) and as functions (`find`, `read`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from alchemist_runtime.plan import Plan, digest, portable

from alchemist_dsl.canon import Ingredients
from alchemist_dsl.diagnostics.codes import CODES
from alchemist_dsl.diagnostics.model import Diagnostic, Severity
from alchemist_dsl.facts import Facts
from alchemist_dsl.ir import Program
from alchemist_dsl.lower import lower
from alchemist_dsl.lowering.scope import Find, Scope
from alchemist_dsl.passes import PASSES, Options
from alchemist_dsl.passes.verify import verify_plan, verify_program

PLAIN: Final = Options()


@dataclass(frozen=True, slots=True)
class Compilation:
    """What came of a recipe. `ingredients`: of every node's key, by node."""

    plan: Plan | None
    program: Program | None
    diagnostics: tuple[Diagnostic, ...] = ()
    ingredients: dict[str, Ingredients] = field(default_factory=dict)


def compile_program(
    program: Program,
    find: Find,
    facts: Facts,
    options: Options = Options(),
    *,
    verify: bool = False,
) -> Compilation:
    """The portable plan of a checked program."""
    found: list[Diagnostic] = []
    for step in PASSES:
        program, more = step(program, options)
        found += more
        if verify:
            verify_program(program, step.__name__)
        if has_errors(found):
            return Compilation(None, program, tuple(found))
    scope = Scope(program, facts, find, options)
    found += _places(scope)
    if has_errors(found):
        return Compilation(None, program, tuple(found))
    plan, ingredients = lower(scope)
    plan = plan.model_copy(update={"digest": digest(portable(plan))})
    if verify:
        verify_plan(plan)
    return Compilation(plan, program, tuple(found), ingredients)


def _places(scope: Scope) -> list[Diagnostic]:
    """Problems with the places of sources and suites: no such file, package, revision."""
    placed = (b for b in scope.program.blocks.values() if b.kind in ("source", "suite"))
    return [problem for block in placed for problem in scope.place(block).problems]


def severity(problem: Diagnostic) -> Severity:
    return problem.severity or Severity(CODES[problem.code].severity)


def has_errors(problems: list[Diagnostic]) -> bool:
    return any(severity(p) == Severity.ERROR for p in problems)
