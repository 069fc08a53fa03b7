"""What a person sees while a run goes on: a live table on a terminal, plain lines elsewhere, and the log in both
cases.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from alchemist_runtime.schema.codes import Problem

#: Seconds between two progress lines of a step off a terminal.
QUIET = 10.0
#: What is said of a step that a run leaves out.
LEFT = {"not run": "this version compiles it but does not run it", "waits": "left out: it needs a step that is not run"}


def amount(n: int | float | None) -> str:
    """A count for people: 12,345."""
    return "" if n is None else f"{n:,}"


def took(seconds: float) -> str:
    """A duration for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def facts(figures: Mapping[str, Any]) -> str:
    """The figures of a finished step in words."""
    from alchemist_runtime.storage.store import closing, left_out, trained

    words = []
    rows, before = figures.get("rows"), figures.get("rows_in")
    if "prepared" in figures:
        words.append(trained(figures["prepared"]))
    elif rows is not None:
        words.append(f"{rows:,} of {before:,} rows" if before and rows < before else f"{rows:,} rows")
    why = closing(figures)
    if why:
        words.append(f"left out {why}" if left_out(figures) else why)
    if "calls_new" in figures or "calls_cached" in figures:
        words.append(f"{figures.get('calls_new', 0):,} calls, {figures.get('calls_cached', 0):,} from the cache")
    if figures.get("last_loss") is not None:
        words.append(f"loss {figures['first_loss']:.3f} to {figures['last_loss']:.3f}")
    return "; ".join(words)


class Sink(Protocol):
    """What lines are written to: a stream, or a log that opens on the first line."""

    def write(self, text: str, /) -> Any: ...
    def flush(self) -> Any: ...


@dataclass
class Lines:
    """Plain lines on a stream; what a log file and a pipe get."""

    stream: Sink
    started: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    stopping: set[str] = field(default_factory=set)
    chatty: bool = True

    def say(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()

    def start(self, node: str, kind: str, action: str) -> None:
        self.started[node] = self.last[node] = time.monotonic()
        if action in LEFT:
            self.say(f"{node}: {kind}: {LEFT[action]}")

    def advance(self, node: str, done: int, total: int | None, unit: str, note: str = "") -> None:
        now = time.monotonic()
        stopping = note.startswith("stopping")  # someone has pressed Ctrl-C and waits
        if now - self.last.get(node, 0.0) < QUIET and not (stopping and node not in self.stopping):
            return
        if stopping:
            self.stopping.add(node)
        self.last[node] = now
        of = f" of {total:,}" if total else ""
        self.say(f"{node}: {done:,}{of} {unit}{', ' + note if note else ''}")

    def finish(self, node: str, figures: Mapping[str, Any], seconds: float) -> None:
        self.say(f"{node}: {facts(figures) or 'done'} ({took(seconds)})")

    def warn(self, problem: Problem) -> None:
        self.say(f"warning[{problem.code} {problem.slug}]: {problem.headline}")
        for name, said in (("note", problem.note), ("help", problem.help)):
            if said:
                self.say(f"{name}: {said}")


class Live:
    """A table that rich redraws: one line a step."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self.console = Console(stderr=True, highlight=False)
        self.lines: dict[str, tuple[str, str, str]] = {}
        self.done = 0
        self.total = total
        self.warnings: list[Problem] = []
        self.live = RichLive(console=self.console, refresh_per_second=8, transient=True, get_renderable=self._draw)

    def __enter__(self) -> Live:
        self.live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.__exit__(kind, value, trace)

    def _draw(self) -> Any:
        from rich.table import Table

        widest = max((len(name) for name in self.lines), default=0)
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True, width=min(widest + 2, self.console.width // 3))
        table.add_column(style="dim", no_wrap=True, width=13)
        table.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
        for name, (mark, kind, text) in list(self.lines.items())[-(self.console.height - 2) :]:
            table.add_row(f"{mark} {name}", kind, text)
        return table

    def start(self, node: str, kind: str, action: str) -> None:
        mark = "[yellow]-[/]" if action in LEFT else "[cyan]›[/]"
        note = LEFT.get(action, "")
        self.lines[node] = (mark, kind, note)

    def advance(self, node: str, done: int, total: int | None, unit: str, note: str = "") -> None:
        kind = self.lines.get(node, ("", "", ""))[1]
        self.lines[node] = ("[cyan]›[/]", kind, f"{bar(done, total)}{done:,} {unit}{'  ' + note if note else ''}")

    def finish(self, node: str, figures: Mapping[str, Any], seconds: float) -> None:
        kind = self.lines.get(node, ("", "", ""))[1]
        self.lines[node] = ("[green]✓[/]", kind, f"{facts(figures)}  [dim]{took(seconds)}[/]")

    def warn(self, problem: Problem) -> None:
        self.warnings.append(problem)


def bar(done: int, total: int | None, width: int = 16) -> str:
    """A progress bar of text; nothing where the total is not known."""
    if not total:
        return ""
    full = min(width, width * done // total)
    return "━" * full + "[dim]" + "─" * (width - full) + "[/]" + f" {min(100, 100 * done // total):3d}%  "


@dataclass
class Both:
    """Tells two displays the same: the person's and the log."""

    first: Any
    second: Any

    def start(self, node: str, kind: str, action: str) -> None:
        self.first.start(node, kind, action)
        self.second.start(node, kind, action)

    def advance(self, node: str, done: int, total: int | None, unit: str, note: str = "") -> None:
        self.first.advance(node, done, total, unit, note)
        self.second.advance(node, done, total, unit, note)

    def finish(self, node: str, figures: Mapping[str, Any], seconds: float) -> None:
        self.first.finish(node, figures, seconds)
        self.second.finish(node, figures, seconds)

    def warn(self, problem: Problem) -> None:
        self.first.warn(problem)
        self.second.warn(problem)


def open_log(state: Path, run: str) -> IO[str]:
    """The log of a run: `.alchemist/logs/RUN.log`."""
    folder = state / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / f"{run}.log").open("w", encoding="utf-8")
