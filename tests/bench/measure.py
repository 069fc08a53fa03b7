"""Runs a command and says what it took: wall and CPU seconds of it and its children, and the most memory they held
together.
"""

from __future__ import annotations

import ctypes
import os
import resource
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Seconds between two looks at the memory; a look costs about a millisecond a process.
_LOOK = 0.1


@dataclass(frozen=True, slots=True)
class Usage:
    wall: float
    cpu: float
    peak_mib: float
    code: int
    output: str


def measure(
    command: Sequence[str | Path], cwd: Path, *, env: Mapping[str, str] | None = None, memory: bool = True
) -> Usage:
    """Run to the end. CPU seconds are those of the process and of all its descendants, also of those that it left
    behind.
    """
    _adopt_orphans()
    own = _children()
    log = cwd / ".bench-output"
    with log.open("wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(c) for c in command],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        peak = 0.0
        while True:
            # without a look at the memory, sleep in the kernel: polling would cost the process time
            pid, status, used = os.wait4(process.pid, os.WNOHANG if memory else 0)
            if pid:
                break
            peak = max(peak, _together(process.pid))
            time.sleep(_LOOK)
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    output = log.read_text(encoding="utf-8", errors="replace")
    log.unlink()
    cpu = _seconds(used) + sum(map(_seconds, _orphans(own)))
    return Usage(wall, cpu, max(peak, used.ru_maxrss / 1024), process.returncode, output)


def _adopt_orphans() -> None:
    """Let this process inherit what a child leaves behind (a fork server with its workers), so that their time
    counts.
    """
    if hasattr(os, "fork") and Path("/proc/self").exists():
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _orphans(own: set[int]) -> Iterator[resource.struct_rusage]:
    """Usage of the inherited processes, once they have ended. `own`: children that were there before, and may stay."""
    while inherited := _children() - own:
        for pid in inherited:
            try:
                yield os.wait4(pid, 0)[2]
            except ChildProcessError:
                own = own | {pid}


def _children() -> set[int]:
    """Processes whose parent is this one."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == os.getpid():
            found.add(int(stat.parent.name))
    return found


def _seconds(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def _together(root: int) -> float:
    """MiB of a process and its descendants, shared pages counted once; 0 where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    total, todo = 0.0, [root]
    while todo:
        pid = todo.pop()
        todo += children.get(pid, [])
        total += _mib(pid)
    return total


def _mib(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
