"""What a run tells while it goes on: one small protocol, and the version that says nothing."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol

import pyarrow as pa

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


# --- memory ----------------------------------------------------------------------------------------------------------


def give_back() -> None:
    """Return what the allocators keep for later. Costs some milliseconds a step; kept, it adds up to a gigabyte."""
    pa.default_memory_pool().release_unused()
    _trim()()


@cache
def _trim() -> Callable[[], object]:
    """glibc's `malloc_trim`; nothing where there is none."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda: None
    return lambda: trim(0)
