"""What a comparison of two results found, as values: steps, their ports, columns, origins, rules, and samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from alchemist_runtime.schema.codes import Problem

#: `unknown`: a side has no result that could be read. `rowless`: the step leaves no rows that could be compared.
State = Literal["same", "changed", "added", "removed", "unknown", "rowless"]
Outcome = Literal["same", "different", "incomplete"]
Side = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A row that was found: of a changed row the columns that differ, of any other row what it says."""

    id: str  # hex digits, or the text of a foreign id
    copy: int  # which occurrence of the id, from 0
    origin: str | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class ColumnDiff:
    """A column whose values, type or presence differs. `changed` counts rows of both sides in which its value
    differs.
    """

    name: str
    before: str | None  # its type; None: this side does not have it
    after: str | None
    changed: int = 0
    unread: str | None = None  # why its values could not be compared


@dataclass(frozen=True, slots=True)
class GroupDiff:
    """Counts of the rows of one origin, or of one rule. A changed row counts where it stands now."""

    name: str
    before: int
    after: int
    added: int = 0
    removed: int = 0
    changed: int = 0


@dataclass(frozen=True, slots=True)
class PortDiff:
    """The rows of a port (of an export: of a split), matched by id and occurrence. None rows: this side has no such
    port.
    """

    port: str
    before: int | None
    after: int | None
    added: int = 0
    removed: int = 0
    changed: int = 0
    reordered: bool = False  # the rows that both have stand in another order
    columns: tuple[ColumnDiff, ...] = ()
    origins: tuple[GroupDiff, ...] = ()
    rules: tuple[GroupDiff, ...] = ()
    samples: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)  # added removed changed
    read: bool = True  # False: equal by digest, no row was read

    @property
    def same(self) -> bool:
        """Whether both sides hold the same rows with the same values in the same order."""
        rows = self.before == self.after and not (self.added or self.removed or self.changed)
        return rows and not self.reordered and not self.columns


@dataclass(frozen=True, slots=True)
class Move:
    """Rows that one side passes on and the other side refuses. `rule` refused them."""

    rule: str
    to: Literal["dropped", "rows"]
    rows: int
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """A result that is not in the store: that of `step`, or of `needs` whose rows it shows."""

    side: Side
    step: str
    needs: str


@dataclass(frozen=True, slots=True)
class StepDiff:
    """A step on both sides, or on one. `note` says what was not compared, and why."""

    before: str | None
    after: str | None
    kind: str
    state: State
    ports: tuple[PortDiff, ...] = ()
    moves: tuple[Move, ...] = ()
    missing: tuple[Missing, ...] = ()
    problem: Problem | None = None  # a result that is there and cannot be read
    note: str | None = None

    @property
    def name(self) -> str:
        return self.after or self.before or ""

    @property
    def incomplete(self) -> bool:
        """Whether something of it could not be read, so that nobody may say that nothing changed."""
        unread = any(c.unread for p in self.ports for c in p.columns)
        return self.state == "unknown" or bool(self.missing) or unread


@dataclass(frozen=True, slots=True)
class Made:
    """Where the results of one side come from: enough to say how to make one that is missing."""

    recipe: str | None = None
    variant: str | None = None


@dataclass(frozen=True, slots=True)
class DataDiff:
    """Two results, step by step."""

    steps: tuple[StepDiff, ...]
    before: Made = Made()
    after: Made = Made()

    @property
    def outcome(self) -> Outcome:
        """`incomplete` where any step could not be compared, whatever the others say."""
        if any(s.incomplete for s in self.steps):
            return "incomplete"
        states = {s.state for s in self.steps}
        return "different" if states & {"changed", "added", "removed"} else "same"
