"""A diagnostic as a value: what is wrong, where, why, and the edit that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from alchemist_dsl.source import Span


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Label:
    """A secondary place: "declared here"."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace `span` by `text`. Safe edits may be applied by a tool without asking."""

    span: Span
    text: str
    safe: bool = True


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem. `headline` is complete alone; at most two labels, one note, one help."""

    code: str  # "A103", a key of diagnostics.codes.CODES, which holds the slug and the severity
    headline: str
    span: Span
    label: str = ""
    labels: tuple[Label, ...] = ()
    note: str | None = None
    help: str | None = None
    edit: Edit | None = None
    severity: Severity | None = None  # None: that of the code
