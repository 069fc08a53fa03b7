"""Named places where a test may kill the process or fill the disk: `ALCHEMIST_FAULT=kill@STEP:write:2`."""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter

_SEEN: Counter[str] = Counter()


def point(step: str, place: str) -> None:
    """Pass a place in a step. `ALCHEMIST_FAULT` holds `ACTION@STEP:PLACE:N`, N the count of passes from 1; ACTION is
    `kill` (SIGKILL, as a power cut would), `full` (no space left) or `interrupt` (SIGINT, as Ctrl-C)."""
    fault = os.environ.get("ALCHEMIST_FAULT")
    if not fault:
        return
    name = f"{step}:{place}"
    _SEEN[name] += 1
    action, _, where = fault.partition("@")
    if where not in (f"{name}:{_SEEN[name]}", f"*:{place}:{_SEEN[name]}"):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    elif action == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
