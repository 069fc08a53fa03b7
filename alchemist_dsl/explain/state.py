"""What a project remembers of earlier runs, as a value: which keys are finished, and what every node was last made
of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Finished = Literal["complete", "incomplete"]


@dataclass(frozen=True, slots=True)
class Remembered:
    """A node in the record of a run."""

    run: str
    key: str
    ingredients: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)  # of a source: path -> digest


@dataclass(frozen=True, slots=True)
class Past:
    """What a key once stood for."""

    node: str
    made: Remembered


@dataclass(frozen=True, slots=True)
class State:
    """`stored`: by key, what lies in the store. `last`: by node, the newest record of it. `moved`: exports that lie
    elsewhere now. `views`: by node, those whose rows its result shows without holding them. `again`: nodes that are
    made again though their results are there, with how many of their rows are asked again."""

    stored: Mapping[str, Finished] = field(default_factory=dict)
    last: Mapping[str, Remembered] = field(default_factory=dict)
    moved: frozenset[str] = frozenset()
    forced: frozenset[str] = frozenset()
    run: str | None = None
    views: Mapping[str, frozenset[str]] = field(default_factory=dict)
    again: Mapping[str, int] = field(default_factory=dict)


NO_STATE = State()
