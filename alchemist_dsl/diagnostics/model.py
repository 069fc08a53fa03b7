"""A diagnostic as a value: what is wrong, where, why, and the edit that mends it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from alchemist_runtime.schema.codes import CODES

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


def severity(diagnostic: Diagnostic) -> Severity:
    """Its own severity, else that of its code."""
    return diagnostic.severity or Severity(CODES[diagnostic.code].severity)


#: What looks like an API key or like a password in an address: it stands in the recipe, and goes no further.
_KEY: Final = re.compile(r"\b(?:sk-|hf_|gh[pousr]_|gsk_|AKIA|AIza|xox[bap]-)[\w\-]{12,}|(?<=://)[^/@\s\"]+(?=@)")


def masked(text: str) -> str:
    """A text with every key in it as asterisks, as long as before."""
    return _KEY.sub(lambda key: "*" * len(key[0]), text)


def plain(text: str) -> str:
    """Text that a terminal may be sent: a recipe's control characters and keys do not reach it."""
    text = masked(text)
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
