"""What a run tells while it goes on: one small protocol, and the version that says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from alchemist_runtime.schema.errors import Problem


class Progress(Protocol):
    """`figures` are what a person wants to see of a step: rows, calls, dollars, loss."""

    def start(self, node: str, kind: str, action: str) -> None: ...
    def advance(self, node: str, done: int, total: int | None, unit: str, note: str = "") -> None: ...
    def finish(self, node: str, figures: Mapping[str, Any], seconds: float) -> None: ...
    def warn(self, problem: Problem) -> None: ...


class Silent:
    """Keeps the warnings, shows nothing."""

    def __init__(self) -> None:
        self.warnings: list[Problem] = []

    def start(self, node: str, kind: str, action: str) -> None: ...
    def advance(self, node: str, done: int, total: int | None, unit: str, note: str = "") -> None: ...
    def finish(self, node: str, figures: Mapping[str, Any], seconds: float) -> None: ...
    def warn(self, problem: Problem) -> None:
        self.warnings.append(problem)
