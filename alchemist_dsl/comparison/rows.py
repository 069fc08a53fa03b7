"""What `diff --data` says as data: two results step by step, in the words of `alchemist_runtime.engine.compare`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)


class RowSample(Part):
    """A row. `before`, `after`: of a changed row the columns that differ, of any other row what it says."""

    id: str
    occurrence: int = 0  # which copy of the row it is, from 0
    origin: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class Sides(Part):
    """A number or a type on both sides; None: that side has no such thing."""

    before: int | str | None = None
    after: int | str | None = None


class ColumnRows(Part):
    """A column that differs: `changed` counts the rows of both sides in which its value does."""

    name: str
    type: Sides
    changed: int = 0
    unread: str | None = None  # why its values could not be compared


class GroupRows(Part):
    """Rows of one origin, or refused by one rule."""

    name: str
    before: int
    after: int
    added: int = 0
    removed: int = 0
    changed: int = 0


class PortRows(Part):
    """The rows of a port, or of a split of an export, matched by id."""

    port: str
    same: bool
    rows: Sides
    added: int = 0
    removed: int = 0
    changed: int = 0
    reordered: bool = False  # the rows of both sides stand in another order
    read: bool = True  # False: known without a look at the rows
    columns: list[ColumnRows] = []
    origins: list[GroupRows] = []
    rules: list[GroupRows] = []
    samples: dict[Literal["added", "removed", "changed"], list[RowSample]] = {}


class MovedRows(Part):
    """Rows that one side passes on and the other refuses by a rule. `to`: where they are after the change."""

    rule: str
    to: Literal["dropped", "rows"]
    rows: int
    samples: list[RowSample] = []


class MissingResult(Part):
    """A result that is not in the store: of `step`, or of `needs`, in which rows of it lie."""

    side: Literal["before", "after"]
    step: str
    needs: str


class ResultProblem(Part):
    """Why a result that is there cannot be read."""

    code: str
    slug: str
    headline: str
    place: str | None = None
    help: str | None = None


class StepRows(Part):
    """The results of a step. What is not `compared` may differ or not: nobody knows."""

    before: str | None = None
    after: str | None = None
    kind: str
    state: Literal["same", "changed", "added", "removed", "unknown", "rowless"]
    compared: bool
    ports: list[PortRows] = []
    moves: list[MovedRows] = []
    missing: list[MissingResult] = []
    problem: ResultProblem | None = None
    note: str | None = None


class RowsDiff(Part):
    """The results of two versions of a recipe, of two exported folders, or of two files."""

    path: str | None = None  # of the recipe
    outcome: Literal["same", "different", "incomplete"]
    steps: list[StepRows] = []
