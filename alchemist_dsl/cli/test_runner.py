"""Carries out the tests of one recipe, each in a temporary store of its own, and keeps what came of them as values."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from alchemist_runtime.engine.step_test import Miss, Trial
    from alchemist_runtime.schema.codes import Problem

    from alchemist_dsl.diagnostics.model import Diagnostic
    from alchemist_dsl.ir import Block, Program
    from alchemist_dsl.lowering.unittests import Case
    from alchemist_dsl.project.facts_on_disk import Resources
    from alchemist_dsl.project.workspace import Project
    from alchemist_dsl.source import SourceFile, Span


@dataclass(frozen=True, slots=True)
class At:
    """A place in a recipe, its path from the project."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An expectation that does not hold, and where."""

    at: At
    text: str  # as written
    misses: tuple[Miss, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one test."""

    name: str
    step: str
    at: At
    seconds: float = 0.0
    given: int = 0
    summary: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)  # node -> name of the input
    failures: tuple[Failure, ...] = ()
    problems: tuple[tuple[At, Problem], ...] = ()  # why it could not be carried out
    notes: tuple[str, ...] = ()

    @property
    def outcome(self) -> Literal["passed", "failed", "error"]:
        return "failed" if self.failures else "error" if self.problems else "passed"


@dataclass(frozen=True, slots=True)
class Tested:
    """The tests of one recipe. `wrong`: it has errors, so none of its tests was carried out."""

    recipe: str
    project: Project
    diagnostics: tuple[Diagnostic, ...] = ()
    sources: Mapping[str, SourceFile] = field(default_factory=dict)
    wrong: bool = False
    results: tuple[Result, ...] = ()
    found: tuple[str, ...] = ()  # names of all tests, of those left out too


def run_tests(path: Path, pattern: str | None = None) -> Tested:
    """Check a recipe and carry out its tests, or those whose name or step contains a pattern. OSError for the file
    itself.
    """
    from alchemist_dsl.compiler import has_errors
    from alchemist_dsl.lowering.unittests import name_of, tests
    from alchemist_dsl.project.workspace import open_recipe

    project, displayed, data = open_recipe(path)
    program, diagnostics, sources, resources = _checked(project, displayed, data)
    if program is None or has_errors(diagnostics):
        return Tested(displayed, project, diagnostics, sources, wrong=True)
    blocks = tests(program)
    chosen = [b for b in blocks if pattern is None or _named(b, pattern)]
    return Tested(
        recipe=displayed,
        project=project,
        diagnostics=diagnostics,
        sources=sources,
        results=tuple(_carry_out(b, program, resources, project) for b in chosen),
        found=tuple(name_of(b) for b in blocks),
    )


def _named(block: Block, pattern: str) -> bool:
    from alchemist_dsl.lowering.unittests import name_of

    step = block.get("step")
    names = (name_of(block), getattr(step, "target", ""))
    return any(pattern.lower() in name.lower() for name in names)


def _checked(
    project: Project, shown: str, data: bytes
) -> tuple[Program | None, tuple[Diagnostic, ...], Mapping[str, SourceFile], Resources]:
    """The checked program, with the columns of local files and of the lock; nothing is fetched."""
    from alchemist_dsl.checker import check
    from alchemist_dsl.project.facts_on_disk import FileCache, Resources
    from alchemist_dsl.project.folder import library, outside_values
    from alchemist_dsl.project.workspace import read_lock
    from alchemist_dsl.source import SourceFile
    from alchemist_dsl.syntax.decode import decode

    lock, problems = read_lock(project)
    resources = Resources(project.root, lock, FileCache(project.state / "files"), std=library())
    file, unreadable = decode(shown, data)
    if file is None:
        return None, unreadable, {shown: SourceFile(shown, "")}, resources
    program, found = check(
        file, project.read, sets=outside_values(), columns=resources.columns, listing=project.listing
    )
    resources.cache.save()
    sources = {file.path: file} if program is None else program.files
    return program, (*problems, *found), sources, resources


# --- one test ---------------------------------------------------------------------------------------------------------


def _carry_out(block: Block, program: Program, resources: Resources, project: Project) -> Result:
    from alchemist_runtime.engine.step_test import Given, carry_out
    from alchemist_runtime.schema import catalog
    from alchemist_runtime.schema.codes import RunError

    from alchemist_dsl.cli.run import as_run_error
    from alchemist_dsl.lowering.unittests import case

    begun = time.perf_counter()
    built = case(block, program, resources, catalog.find)
    at = _at(built.span, program)
    result = Result(
        name=built.name,
        step=built.step,
        at=at,
        given=sum(len(p.rows) for p in built.given),
        labels={p.node: p.label for p in built.given},
    )
    provided = [Given(p.node, p.port, p.types, p.rows) for p in built.given]
    with tempfile.TemporaryDirectory(prefix="alchemist-test-") as folder:
        try:
            trial = carry_out(built.plan, built.step, provided, built.replies, project=project.root, state=Path(folder))
        except (RunError, OSError) as error:
            return _ended(
                result, begun, problems=((at, as_run_error(error, "the temporary folder of the test").problem),)
            )
        try:
            return _judged(result, begun, built, block, program, trial)
        finally:
            trial.close()


def _judged(result: Result, begun: float, built: Case, block: Block, program: Program, trial: Trial) -> Result:
    from alchemist_runtime.schema.codes import RunError

    failures: list[Failure] = []
    problems: list[tuple[At, Problem]] = []
    for rule in built.rules:
        at = _at(rule.span, program)
        try:
            misses = trial.judge(rule.expr.tree, rule.text)
        except RunError as error:
            problems.append((at, error.problem))
            continue
        if misses:
            failures.append(Failure(at, f"expect {rule.text}", tuple(misses)))
    if trial.unused():
        failures.append(_unused(built, block, program, trial))
    return _ended(
        result,
        begun,
        summary=trial.summary(),
        failures=tuple(failures),
        problems=tuple(problems),
        notes=tuple(p.headline for p in trial.warnings),
    )


def _unused(result: Case, block: Block, program: Program, trial: Trial) -> Failure:
    """Answers that nobody asked for: the test expects more calls than there are."""
    from alchemist_runtime.engine.step_test import Miss

    had, left = len(result.replies), trial.unused()
    reason = f"it has {had} answers, and `{result.step}` asked {had - left} time{'' if had - left == 1 else 's'}"
    return Failure(_at(block.attrs["reply"].name_span, program), "reply", (Miss("reply", reason=reason),))


def _ended(result: Result, begun: float, **facts: Any) -> Result:
    from dataclasses import replace

    return replace(result, seconds=time.perf_counter() - begun, **facts)


def _at(span: Span, program: Program) -> At:
    file = program.files.get(span.file, program.file)
    return At(span.file, *file.position(span.start))
