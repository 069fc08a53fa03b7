"""The way of a recipe on one screen: text, checked program, passes, plan with keys, estimates, verdicts, actions.

Pure: what it may know of the world comes in as values (`facts`, `state`) and as functions (`find`, `read`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from alchemist_runtime.schema.codes import CODES
from alchemist_runtime.schema.expressions import Expr, walk
from alchemist_runtime.schema.plan import Check, Plan, digest, portable

from alchemist_dsl.checker import check
from alchemist_dsl.diagnostics.model import Diagnostic, Label, Severity
from alchemist_dsl.estimate.checks import money, shortages, with_verdicts
from alchemist_dsl.estimate.figures import figures, with_estimates
from alchemist_dsl.estimate.training import too_large
from alchemist_dsl.explain.staleness import State, now
from alchemist_dsl.ir import Program
from alchemist_dsl.lowering.canonical import Ingredients
from alchemist_dsl.lowering.facts import Facts, SourceFacts
from alchemist_dsl.lowering.lower import lower
from alchemist_dsl.lowering.scope import Find, Scope
from alchemist_dsl.passes import PASSES, Options, carried_out, verify_plan, verify_program
from alchemist_dsl.source import SourceFile, Span

PLAIN: Final = Options()
_NO_HUB: Final = "A309"
Read = Callable[[str], bytes | None]
Listing = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Compilation:
    """What came of a recipe. `ingredients`: of every node's key, by node. `sources`: files by path, for messages.
    `whole`: the checked program before anything was left out of it. `places`: what was known of sources and suites."""

    plan: Plan | None
    program: Program | None
    diagnostics: tuple[Diagnostic, ...] = ()
    ingredients: Mapping[str, Ingredients] = field(default_factory=dict)
    sources: Mapping[str, SourceFile] = field(default_factory=dict)
    whole: Program | None = None
    places: Mapping[str, SourceFacts] = field(default_factory=dict)


def compile_text(
    file: SourceFile,
    read: Read,
    *,
    listing: Listing | None = None,
    find: Find,
    facts: Facts,
    outside: Mapping[str, tuple[str, str]] | None = None,
    options: Options = PLAIN,
    state: Callable[[Plan], State | None] = lambda plan: None,
) -> Compilation:
    """From a recipe's text to its plan. There is a plan unless an error was found before it; `now` only with a
    state.
    """
    program, found = check(
        file, read, sets=outside or {}, variant=options.variant, columns=facts.columns, listing=listing
    )
    sources = {file.path: file} if program is None else program.files
    if program is None or has_errors(found):
        return Compilation(None, program, tuple(found), sources=sources)
    result = compile_program(program, find, facts, options)
    plan = result.plan
    if plan is not None and (known := state(plan)) is not None:
        plan = replace(plan, now=now(plan, result.ingredients, known, options.upto or None))
    return replace(result, plan=plan, diagnostics=(*found, *result.diagnostics), sources=sources, whole=program)


def compile_program(
    program: Program, find: Find, facts: Facts, options: Options = PLAIN, *, verify: bool = False
) -> Compilation:
    """The portable plan of a checked program. `verify` holds every step against the specification of legal plans."""
    found: list[Diagnostic] = []
    whole = program
    for step in PASSES:
        program, more = step(program, options)
        found += more
        if verify:
            verify_program(program, step.__name__)
    scope = Scope(program, facts, find, options, whole)
    if not has_errors(found):  # a place may be asked of the hub: only for a recipe that is right
        found += _places(scope)
    if has_errors(found):
        return Compilation(None, program, tuple(found))
    plan, ingredients = lower(scope)
    expected = figures(plan, facts.measured, scope.known)
    plan = with_verdicts(with_estimates(plan, expected), expected)
    plan = replace(plan, digest=digest(portable(plan)))
    if verify:
        verify_plan(plan)
    found += [d for c in plan.checks for d in _verdict(c, plan, program)]
    found += too_large(plan, program)
    if options.limit is None:  # a try with few rows finds out what it fills when it gets there
        found += shortages(plan, expected, program)
    return Compilation(plan, program, tuple(found), ingredients, places=scope.known)


def _places(scope: Scope) -> list[Diagnostic]:
    """Problems with the places of sources and suites, and with models: no such file, package, revision, model.

    That the hub does not answer stops nothing where only steps that this version does not carry out would read from it.
    """
    from alchemist_runtime.schema.catalog import has

    found = [
        (block, problem) for block in scope.program.of("source", "suite") for problem in scope.place(block).problems
    ]
    starts = [(b, scope.facts.base(b)) for b in scope.program.of("train", "teacher")]
    found += [(block, problem) for block, problem in starts if problem is not None]
    if not any(problem.code == _NO_HUB for _, problem in found):
        return [problem for _, problem in found]
    read = carried_out(scope.program, has, scope.options.upto)
    return [problem for block, problem in found if problem.code != _NO_HUB or block.name in read]


def _verdict(check: Check, plan: Plan, program: Program) -> list[Diagnostic]:
    """A broken promise, and one that nobody can judge because a price is missing. What needs a run first is no problem
    yet.
    """
    span = _span(check, program)
    if check.verdict == "fail":
        headline = f"check `{check.id}` failed: {_compared(check)}"
        severe = Severity.WARNING if check.severity == "warn" else None
        note = _spent(plan) if _of_money(check.expr) else None
        return [Diagnostic("A901", headline, span, note=note, severity=severe)]
    unpriced = sorted({t.name for t in plan.teachers.values() if t.price is None})
    if check.verdict == "unknown" and unpriced and _of_money(check.expr):
        return [
            Diagnostic(
                "A702",
                f"the cost of `{unpriced[0]}` is unknown, so the check `{check.id}` cannot be judged",
                span,
                labels=_declared(unpriced[0], program),
                help="add `price { … }` with `input = …` and `output = …`, or `price = free` for a local model",
                severity=Severity.WARNING if check.severity == "warn" else None,
            )
        ]
    return []


def _spent(plan: Plan) -> str | None:
    """Which steps the money goes to, dearest first: at most three."""
    found = [(Fraction(e.high), n.id) for n in plan.nodes if (e := n.estimate.get("usd")) and e.high]
    dear = sorted((f for f in found if f[0] > 0), reverse=True)[:3]
    if not dear:
        return None
    return "from scratch, at most: " + ", ".join(f"`{name}` ${money(usd)}" for usd, name in dear)


def _declared(name: str, program: Program) -> tuple[Label, ...]:
    block = program.blocks.get(name)
    return () if block is None else (Label(block.name_span, "declared here, without a price"),)


def _compared(check: Check) -> str:
    return check.text if check.value is None else f"{check.text}, and it is {check.value}"


def _of_money(tree: Expr) -> bool:
    return any(part[0] in ("plan", "call") and part[1] == "cost" for part in walk(tree))


def _span(check: Check, program: Program) -> Span:
    for block in program.of("check"):
        for rule in block.rules:
            file = program.files.get(rule.span.file)
            at = (check.at.line, check.at.column)
            if file is not None and check.at.file == rule.span.file and file.position(rule.span.start) == at:
                return rule.span
    return Span(check.at.file, 0, 0)


def severity(problem: Diagnostic) -> Severity:
    """How severe a problem is: its own word, else that of its code."""
    return problem.severity or Severity(CODES[problem.code].severity)


def has_errors(problems: Sequence[Diagnostic]) -> bool:
    return any(severity(p) == Severity.ERROR for p in problems)
