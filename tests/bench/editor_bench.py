"""The writing of recipes: from a keystroke to diagnostics in the language server, and `check` of long recipes."""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from make_recipe import recipe
from measure import measure, median

TESTS = Path(__file__).resolve().parents[1]
#: Lines of a recipe, and the CPU seconds that its `check` may take; beyond, linear.
LENGTHS = ((1_000, None), (10_000, 2.5), (100_000, 25.0))
KEYSTROKES = 60
GOAL_MS = 50


def editor(alchemist: Callable[..., list[str | Path]], runs: int) -> None:
    """Print both figures; nothing is asserted."""
    _keystrokes(500)
    _checks(alchemist, runs)


def _keystrokes(lines: int) -> None:
    print(
        f"\nLanguage server: {KEYSTROKES} keystrokes in a recipe of {lines} lines, each until its diagnostics are there"
    )
    if importlib.util.find_spec("pygls") is None:
        print("  missing: pygls is not installed (extra `lsp`)")
        return
    sys.path.insert(0, str(TESTS / "lsp"))
    from editor import Editor

    with tempfile.TemporaryDirectory(prefix="alchemist-bench-") as folder:
        root = Path(folder).resolve()
        (root / ".git").mkdir()
        client = Editor(root)
        try:
            client.open("bench.recipe", recipe(lines))
            first = time.perf_counter()
            client.diagnostics("bench.recipe")
            first = time.perf_counter() - first
            took, cpu = _type(client)
        finally:
            client.close()
    took.sort()
    worst = took[int(len(took) * 0.95)]
    print(
        f"  median {statistics.median(took) * 1e3:.0f} ms, 95% within {worst * 1e3:.0f} ms (goal: {GOAL_MS} ms); "
        f"CPU of the server {cpu * 1e3:.0f} ms a keystroke; first diagnostics after {first * 1e3:.0f} ms"
    )


def _type(client: object) -> tuple[list[float], float]:
    """Seconds of every keystroke, and the server's CPU seconds for one."""
    from editor import Editor

    assert isinstance(client, Editor)
    process = client.client._server
    assert process is not None
    for number in range(4):  # so that everything is loaded
        _stroke(client, 81 - number % 2)
    begun = _cpu(process.pid)
    took = [_stroke(client, 81 - number % 2) for number in range(KEYSTROKES)]
    return took, (_cpu(process.pid) - begun) / KEYSTROKES


def _stroke(client: object, number: int) -> float:
    from editor import Editor

    assert isinstance(client, Editor)
    start = time.perf_counter()
    other = 161 - number
    client.replace("bench.recipe", f"chars(response) < {other}", f"chars(response) < {number}")
    client.diagnostics("bench.recipe")
    return time.perf_counter() - start


def _cpu(pid: int) -> float:
    """CPU seconds of a process; 0 where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _checks(alchemist: Callable[..., list[str | Path]], runs: int) -> None:
    print(f"\nCheck of long recipes: seconds of the whole process, median of {runs}")
    print(f"  {'lines':>8} {'CPU s':>7} {'goal':>6} {'wall s':>7} {'peak MiB':>9} {'µs a line':>10}")
    with tempfile.TemporaryDirectory(prefix="alchemist-bench-") as folder:
        root = Path(folder)
        (root / ".git").mkdir()
        for lines, goal in LENGTHS:
            text = recipe(lines)
            (root / "bench.recipe").write_text(text, encoding="utf-8")
            used = [measure(alchemist("check", "bench.recipe", "--format", "concise"), root) for _ in range(runs)]
            cpu, wall = median([u.cpu for u in used]), median([u.wall for u in used])
            count = text.count("\n")
            shown = "" if goal is None else f"{goal:.1f}"
            failed = "  fails" if any(u.code for u in used) else ""
            print(
                f"  {count:8,} {cpu:7.2f} {shown:>6} {wall:7.2f} {max(u.peak_mib for u in used):9,.0f} "
                f"{cpu / count * 1e6:10.0f}{failed}",
                flush=True,
            )
