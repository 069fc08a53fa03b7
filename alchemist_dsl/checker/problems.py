"""Collects the problems of one check: each place and message once, in the order of the files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from alchemist_dsl.diagnostics.model import Diagnostic, Edit, Label, Severity, near
from alchemist_dsl.source import SourceFile, Span

#: Mistakes of form after which the rest of their line does not mean what it says.
_BREAK_A_LINE: Final = frozenset(
    ["A001", "A002", "A003", "A004", "A005", "A006", "A007", "A009", "A016", "A017", "A018"]
)


class Problems:
    """A sink for diagnostics. Adding the same problem twice keeps one."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, Span, str], Diagnostic] = {}
        self._said: set[str] = set()
        self._broken: dict[str, list[tuple[int, int]]] = {}  # lines, by file

    def add(
        self,
        code: str,
        headline: str,
        span: Span,
        *,
        label: str = "",
        labels: tuple[Label, ...] = (),
        note: str | None = None,
        help: str | None = None,
        edit: Edit | None = None,
        severity: Severity | None = None,
    ) -> None:
        """Report one problem."""
        result = Diagnostic(code, headline, span, label, labels[:2], note, help, edit, severity)
        self._items.setdefault((code, span, headline), result)

    def take(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Report problems that another part found."""
        for item in diagnostics:
            self._items.setdefault((item.code, item.span, item.headline), item)

    def take_syntax(self, diagnostics: Iterable[Diagnostic], file: SourceFile) -> None:
        """Report what the parser found. On a line that it could not read, nothing else is reported: it would be an
        echo.
        """
        found = tuple(diagnostics)
        self.take(found)
        for item in found:
            if item.code in _BREAK_A_LINE:
                start = file.text.rfind("\n", 0, item.span.start) + 1
                end = file.text.find("\n", item.span.start)
                line = start, len(file.text) if end < 0 else end
                self._broken.setdefault(file.path, []).append(line)

    def _echo(self, item: Diagnostic) -> bool:
        lines = self._broken.get(item.span.file)
        if lines is None or item.code.startswith("A0"):
            return False
        return any(start <= item.span.start <= end for start, end in lines)

    def first(self, what: str) -> bool:
        """Whether this is the first time; for causes that show in many places."""
        new = what not in self._said
        self._said.add(what)
        return new

    def names_are_sound(self) -> bool:
        """Whether nothing was reported that may hide a use of a name: then unused things are really unused."""
        return not any(
            c[0][:2] in ("A0", "A1") or c[0] in ("A201", "A501", "A608", "A106") for c in self._items if c[0] != "A114"
        )

    def __len__(self) -> int:
        return len(self._items)

    def sorted(self, first: str) -> tuple[Diagnostic, ...]:
        """All problems by file (`first` before the others), place and code."""
        return tuple(
            sorted(
                (d for d in self._items.values() if not self._echo(d)),
                key=lambda d: (d.span.file != first, d.span.file, d.span.start, d.code, d.headline),
            )
        )


def did_you_mean(name: str, candidates: Iterable[str], span: Span | None = None) -> tuple[str | None, Edit | None]:
    """Help and edit that offer the near names: `did you mean …?`; nothing where none is near."""
    found = near(name, list(candidates), 3)
    if not found:
        return None, None
    text = f"did you mean {either(found)}?"
    edit = Edit(span, found[0]) if span is not None and len(found) == 1 else None
    return text, edit


def either(names: Sequence[str]) -> str:
    """`a`, `b` or `c`."""
    return listed(names, "or")


def listed(names: Sequence[str], word: str = "and") -> str:
    """`a`, `b` and `c`."""
    quoted = [f"`{n}`" for n in names]
    if len(quoted) < 2:
        return "".join(quoted)
    return ", ".join(quoted[:-1]) + f" {word} {quoted[-1]}"


def article(noun: str) -> str:
    """a or an before a noun."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"
