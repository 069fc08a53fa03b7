"""Bundled recipe -> what the checker makes of it with one token deleted, doubled or replaced, and what is wrong with
that.
"""

from __future__ import annotations

import os
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from alchemist_runtime.schema import catalog

from alchemist_dsl.checker import Checked, examine
from alchemist_dsl.compiler import compile_text
from alchemist_dsl.diagnostics.model import Diagnostic, severity
from alchemist_dsl.diagnostics.render import FORMATS, render
from alchemist_dsl.project.facts_on_disk import FileCache, Resources
from alchemist_dsl.project.folder import Folder, library
from alchemist_dsl.project.lockfile import Lock
from alchemist_dsl.source import SourceFile, Span
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.grammar import load
from alchemist_dsl.syntax.parse import parse
from alchemist_dsl.syntax.trivia import END, scan

ROOT = Path(__file__).parents[2]
RECIPES = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "recipes").rglob("*.recipe"))
CHOSEN = 2000  # of all mutants, in the default run
SEED = 2026
WAYS = ("delete", "double", "replace")
#: How many messages one fault may give.
FEW = 2


@dataclass(frozen=True, slots=True)
class Mutant:
    """A recipe with one token changed. `at`: where, in both texts."""

    recipe: str
    way: str
    at: int
    text: str
    blank: bool  # only a line's end is gone


@dataclass(slots=True)
class Outcome:
    """What came of the mutants of one recipe. `messages`: of those that are wrong, how many gave how many."""

    recipe: str
    mutants: int = 0
    messages: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)  # crashes, places that are none: with the mutant
    many: list[str] = field(default_factory=list)  # more than a few messages

    @property
    def wrong(self) -> int:
        return self.messages.total()

    @property
    def few(self) -> int:
        return sum(count for number, count in self.messages.items() if number <= FEW)


def mutants(recipe: str) -> Iterator[Mutant]:
    """All mutants of a recipe, in an order that only its text decides."""
    text = (ROOT / recipe).read_text()
    found = scan(SourceFile(recipe, text), load())
    tokens = [t for t in zip(found.kinds, found.starts, found.ends, strict=True) if t[0] != END]
    for number, (kind, start, end) in enumerate(tokens):
        blank = kind == "NEWLINE"
        yield Mutant(recipe, "delete", start, text[:start] + text[end:], blank)
        if not blank:  # an empty line more is no mistake
            doubled = f"{text[:end]} {text[start:]}"
            yield Mutant(recipe, "double", start, doubled, False)
        others = random.Random(f"{SEED}:{recipe}:{number}")
        while (other := others.choice(tokens))[0] == kind:
            pass
        instead = text[other[1] : other[2]]
        yield Mutant(recipe, "replace", start, text[:start] + instead + text[end:], False)


def chosen(every: bool) -> dict[str, list[int] | None]:
    """Numbers of the mutants to look at, by recipe; None for all."""
    if every:
        return dict.fromkeys(RECIPES)
    whole = [(r, n) for r in RECIPES for n in range(sum(1 for _ in mutants(r)))]
    out: dict[str, list[int] | None] = {r: [] for r in RECIPES}
    for recipe, number in random.Random(SEED).sample(whole, CHOSEN):
        numbers = out[recipe]
        assert numbers is not None
        numbers.append(number)
    return out


# --- one recipe -------------------------------------------------------------------------------------------------------


def outcome(recipe: str, numbers: list[int] | None) -> Outcome:
    """Check mutants of one recipe."""
    teacher_client = _desk()
    wanted = None if numbers is None else set(numbers)
    whole = teacher_client.check(recipe, (ROOT / recipe).read_text())
    known = Counter(_said(d, whole.program.files) for d in whole.diagnostics)
    out = Outcome(recipe)
    for number, mutant in enumerate(mutants(recipe)):
        if wanted is None or number in wanted:
            out.mutants += 1
            try:
                _look(teacher_client, mutant, known, out)
            except Exception:
                out.faults.append(f"{_shown(mutant)}\n{traceback.format_exc()}")
    return out


class _TeacherClient:
    """What stays the same from mutant to mutant: the other files, their trees, the columns of local files."""

    def __init__(self) -> None:
        self.folder = Folder(ROOT)
        self.bytes: dict[str, bytes | None] = {}
        self.trees: dict[str, tuple[ast.File, tuple[Diagnostic, ...]]] = {}
        cache_file = Path(tempfile.mkdtemp()) / "files"
        self.facts = Resources(ROOT, Lock(), FileCache(cache_file), std=library())

    def read(self, path: str) -> bytes | None:
        if path not in self.bytes:
            self.bytes[path] = self.folder.read(path)
        return self.bytes[path]

    def check(self, recipe: str, text: str) -> Checked:
        def parsed(file: SourceFile) -> tuple[ast.File, tuple[Diagnostic, ...]]:
            if file.path == recipe:
                return parse(file)
            if file.path not in self.trees:
                self.trees[file.path] = parse(file)
            return self.trees[file.path]

        return examine(
            SourceFile(recipe, text), self.read, listing=self.folder.listing, parse=parsed, columns=self.facts.columns
        )

    def compile(self, recipe: str, text: str) -> None:
        compile_text(
            SourceFile(recipe, text), self.read, listing=self.folder.listing, find=catalog.find, facts=self.facts
        )


@cache
def _desk() -> _TeacherClient:
    return _TeacherClient()


def _look(teacher_client: _TeacherClient, mutant: Mutant, known: Counter[tuple[str, str]], out: Outcome) -> None:
    checked = teacher_client.check(mutant.recipe, mutant.text)
    files = checked.program.files
    rest, new = known.copy(), []
    for problem in checked.diagnostics:
        said = _said(problem, files)
        rest[said] -= 1
        if rest[said] < 0:
            new.append(problem)
    for span in (s for d in checked.diagnostics for s in _spans(d)):
        if span.file not in files or not 0 <= span.start <= span.end <= len(files[span.file].text):
            out.faults.append(f"{_shown(mutant)}\n  a place that is none: {span}")
    for form in FORMATS:
        assert render(new, files, form) or not new
    if not any(severity(d) == "error" for d in new):
        if not mutant.blank and not any(severity(d) == "error" for d in checked.diagnostics):
            teacher_client.compile(mutant.recipe, mutant.text)
        return
    out.messages[len(new)] += 1
    if len(new) > FEW:
        out.many.append(f"{_shown(mutant)}\n{render(new[:6], files, 'concise')}")


def _said(problem: Diagnostic, files: Mapping[str, SourceFile]) -> tuple[str, str]:
    """What makes a message one that the whole recipe gives too. That a writer's rows reach a sink unchecked (A507) is
    told at the first sink, so where that one is broken the same warning about the same writer stands at the next."""
    if problem.code == "A507":
        writer = problem.labels[0].span
        return problem.code, files[writer.file].text[writer.start : writer.end]
    return problem.code, problem.headline


def _spans(problem: Diagnostic) -> Iterator[Span]:
    yield problem.span
    yield from (label.span for label in problem.labels)
    if problem.edit is not None:
        yield problem.edit.span


def _shown(mutant: Mutant) -> str:
    line, column = SourceFile(mutant.recipe, mutant.text).position(mutant.at)
    lines = mutant.text.split("\n")[line - 1 : line + 1]
    return f"{mutant.recipe}:{line}:{column} {mutant.way}: {' | '.join(lines)}"


# --- all recipes, on all cores ----------------------------------------------------------------------------------------


def outcomes(every: bool) -> dict[str, Outcome]:
    """What came of the mutants of every recipe."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    work = sorted(chosen(every).items(), key=lambda w: -(ROOT / w[0]).stat().st_size)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        done: Sequence[Outcome] = list(pool.map(outcome, [r for r, _ in work], [n for _, n in work]))
    return {o.recipe: o for o in done}
