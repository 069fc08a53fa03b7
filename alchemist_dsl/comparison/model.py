"""What a semantic diff says, as plain versioned JSON: the border to text, Markdown, editors and CI.

Exact numbers are strings as in the plan; figures are the plan's estimates, each with its range and its basis.
"""

from __future__ import annotations

from typing import Any, Literal

from alchemist_runtime.schema.plan import At, Estimate
from pydantic import BaseModel, ConfigDict

DIFF_FORMAT = "1.0"

#: What a change means for a step, from harmless to not; `breaking` wherever nothing milder can be proved.
Category = Literal["same", "cosmetic", "metadata", "extending", "narrowing", "breaking"]
Status = Literal["added", "removed", "changed", "same", "unreadable"]
#: How the two sides of a step were found to be the same step.
Match = Literal["name", "key", "moved", "similar"]
Mark = Literal["same", "added", "removed"]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)


class Pair(Part):
    """A figure before and after; None where there is no such step or figure on that side."""

    before: Estimate | None = None
    after: Estimate | None = None
    delta: Estimate | None = None  # None where one of the two is unknown


class Change(Part):
    """One attribute, rule, assignment, entry or input that differs. None: it is not there on that side."""

    path: str  # select, rule.too_short, set.lang, take.math, from, file.data/a.jsonl, price.input
    before: str | None = None  # as the recipe would write it
    after: str | None = None
    relative: str | None = None  # (after - before) / before, exact
    added: list[str] = []  # of sets and sequences
    removed: list[str] = []
    words: list[tuple[Mark, str]] = []  # of texts
    tokens: tuple[int, int] | None = None  # of texts, characters / 4
    category: Category = "breaking"


class NodeDiff(Part):
    """A step that was added, removed or changed, or whose inputs changed."""

    id: str  # its name after; before, where it was removed
    kind: str
    status: Literal["added", "removed", "changed"]
    at: At | None = None
    before_id: str | None = None  # its other name
    match: Match | None = None
    category: Category
    direct: bool = True  # False: only what it reads changed
    because: list[str] = []  # the changed steps that it reads
    may_stop: str | None = None  # why its content may turn out equal, so that nothing behind it runs again
    changes: list[Change] = []
    rows: Pair = Pair()
    calls: Pair = Pair()
    tokens: Pair = Pair()  # sent and received, of teacher steps; of training: what it learns from, all epochs
    usd: Pair = Pair()  # from scratch
    gpu_hours: Pair = Pair()
    action: Literal["reuse", "build", "extend", "skip"] | None = None  # of a run here, or after the base's
    calls_new: Estimate | None = None
    calls_cached: Estimate | None = None
    usd_now: Estimate | None = None
    notes: list[str] = []

    @property
    def trains(self) -> bool:
        """Whether it takes hours of a GPU."""
        return self.gpu_hours != Pair()


class ResourceDiff(Part):
    """A teacher or a prompt that changed: once, however many steps use it."""

    id: str
    before_id: str | None = None  # its other name
    kind: Literal["teacher", "prompt"]
    status: Literal["added", "removed", "changed"]
    category: Category
    changes: list[Change] = []
    used_by: list[str] = []


class Entry(Part):
    """One side of a mixture's entry."""

    amount: str  # as written
    rows: Estimate | None = None
    share: str | None = None  # of the mixture's rows, exact


class MixtureRow(Part):
    name: str
    before: Entry | None = None
    after: Entry | None = None


class MixtureDiff(Part):
    id: str
    rows: Pair
    entries: list[MixtureRow]


class CheckDiff(Part):
    """A promise on both sides. `verdict` as in the plan: an unknown one is neither kept nor broken."""

    id: str
    before: dict[str, str] | None = None  # text, verdict, value
    after: dict[str, str] | None = None


class Relaxed(Part):
    """A safeguard that the change weakens: shown first, and in red."""

    kind: Literal["decontamination", "licence"]
    headline: str
    node: str | None = None
    at: At | None = None


class Declaration(Part):
    """A block that is no step of the plan: a test, a variant, a step that nothing reads."""

    name: str
    kind: str
    status: Literal["added", "removed", "changed"]
    category: Category
    lines: list[str] = []  # + and - lines of its canonical text


class Totals(Part):
    """Sums over the steps. `usd_scratch` does not depend on anybody's cache, `usd_now` is what a run would pay."""

    usd_scratch: Pair = Pair()
    calls: Pair = Pair()
    tokens: Pair = Pair()
    training_tokens: Pair = Pair()
    gpu_hours: Pair = Pair()
    calls_new: Estimate = Estimate()
    calls_cached: Estimate = Estimate()
    usd_now: Estimate = Estimate()
    retrains: list[str] = []
    unbuilt: list[str] = []  # steps that did not change, ask a teacher and have no result here: `now` counts them


class RecipeDiff(Part):
    """Two sides of one recipe."""

    path: str
    before_path: str | None = None  # where it was renamed, or another file was asked for
    before: str | None = None  # what the sides are called: a revision, a file
    after: str | None = None
    status: Status
    category: Category = "same"
    relaxed: list[Relaxed] = []
    params: list[Change] = []
    recipe: list[Change] = []  # seed, title, licence, tokenizer
    nodes: list[NodeDiff] = []
    resources: list[ResourceDiff] = []
    declarations: list[Declaration] = []
    mixtures: list[MixtureDiff] = []
    checks: list[CheckDiff] = []
    unchanged: int = 0  # steps that are the same on both sides
    totals: Totals = Totals()
    now: Literal["here", "base"] = (
        "base"  # what `to run now` counts from: this machine's store and cache, or a complete run of the base
    )
    assumed: list[str] = []  # data files that git and the lock of a side do not know: taken as they lie here now
    diagnostics: list[dict[str, Any]] = []  # of a side that does not compile
    messages: list[str] = []  # the same for people
    lines: list[str] = []  # then: a line diff


class Diff(Part):
    """A whole comparison: one recipe or all that changed."""

    diff_format: str = DIFF_FORMAT
    before: str
    after: str
    changed: bool
    recipes: list[RecipeDiff] = []
    same: int = 0  # recipes that were compared and are the same
    totals: Totals = Totals()


# --- rows ------------------------------------------------------------------------------------------------------------


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
