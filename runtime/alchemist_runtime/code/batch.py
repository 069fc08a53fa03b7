"""What a worker process does: a function about code over many rows. It imports no Arrow, so that a worker starts at
once.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from alchemist_runtime.code import functions

#: Stands for "the first argument itself", so that a whole text need not travel back or be kept twice.
ITSELF: Final = ("itself",)


def over(name: str, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The function of `operators/code.py` over some rows; a result that is the first argument itself is a mark."""
    function: Callable[..., Any] = getattr(functions, name)
    return [_call(function, row) for row in rows]


def _call(function: Callable[..., Any], row: tuple[Any, ...]) -> Any:
    value = function(*row)
    return ITSELF if isinstance(value, str) and value == row[0] else value


def leave_with_parent() -> None:
    """End this worker when the run that started it is gone, killed say: nobody else would tell it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_after, args=(parent.sentinel,), daemon=True).start()


def _leave_after(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
