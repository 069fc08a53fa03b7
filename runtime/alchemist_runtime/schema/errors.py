"""What can go wrong while a plan is carried out, as values that a person can act on."""

from __future__ import annotations

from dataclasses import dataclass, field

from alchemist_runtime.schema.codes import CODES

#: Exit codes of the command line (docs/language.md, "Exit codes").
OK, SAID_NO, USAGE, NOT_CARRIED_OUT, BUG, INTERRUPTED = 0, 1, 2, 3, 4, 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One message: a complete headline, a stable code, where it is, why, and a way out."""

    code: str  # "A302", a key of schema.codes.CODES
    headline: str
    node: str | None = None  # the block it concerns; the caller adds file, line and column from the plan
    place: str | None = None  # a place outside the recipe: "data/a.jsonl:17"
    note: str | None = None
    help: str | None = None
    severity: str = "error"
    entry: str | None = None  # the entry of a mixture that it concerns

    @property
    def slug(self) -> str:
        """The code in words: "no-files"."""
        return CODES[self.code].slug


class RunError(Exception):
    """A step could not be carried out; `exit_code` says whether the user is wrong (1) or the world (3).

    `damaged`: the key of the stored result that turned out not to be whole; the engine makes it again."""

    def __init__(self, problem: Problem, *, exit_code: int = NOT_CARRIED_OUT, damaged: str | None = None) -> None:
        super().__init__(f"{problem.code} {problem.headline}")
        self.problem = problem
        self.exit_code = exit_code
        self.damaged = damaged


@dataclass(slots=True)
class Warnings:
    """Collects problems that do not stop a run."""

    items: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        self.items.append(problem)
