"""A diagnostic as a value: what is wrong, where, why, and the edit that mends it."""

from __future__ import annotations

import re
from collections.abc import Iterable
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


def printable(text: str) -> str:
    """Text that a terminal may be sent: a recipe's control characters and keys do not reach it."""
    text = masked(text)
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


# --- suggest ---------------------------------------------------------------------------------------------------------

_ENOUGH: Final = 0.6
_LONGEST: Final = 64


def near(name: str, candidates: Iterable[str], limit: int = 3) -> tuple[str, ...]:
    """The candidates that a person who typed `name` most likely meant, best first; often none."""
    unique = dict.fromkeys(c for c in candidates if c != name)
    folded = name.casefold()
    same = [c for c in unique if c.casefold() == folded]
    if same:
        return tuple(same[:limit])
    if len(name) > _LONGEST:
        return ()
    scored = [(_similarity(folded, c.casefold()), c) for c in unique]
    good = [(s, c) for s, c in scored if s >= _ENOUGH]
    best = max((s for s, _ in good), default=0.0)
    # Beside a very near name a faint one only distracts.
    good = [(s, c) for s, c in good if s >= best - 0.2]
    good.sort(key=lambda sc: (-sc[0], sc[1]))
    return tuple(c for _, c in good[:limit])


def _similarity(a: str, b: str) -> float:
    longest = max(len(a), len(b))
    if longest == 0 or abs(len(a) - len(b)) > (1 - _ENOUGH) * longest or len(b) > _LONGEST:
        return 0.0
    return 1 - _distance(a, b) / longest


def _distance(a: str, b: str) -> int:
    """Optimal string alignment: insert, delete, replace, or swap two neighbours."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
