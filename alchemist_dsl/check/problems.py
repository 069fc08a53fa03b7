"""Collects the problems of one check: each place and message once, in the order of the files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from alchemist_dsl.diagnostics.model import Diagnostic, Edit, Label, Severity
from alchemist_dsl.diagnostics.suggest import near
from alchemist_dsl.source import Span


class Problems:
    """A sink for diagnostics. Adding the same problem twice keeps one."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, Span, str], Diagnostic] = {}
        self._said: set[str] = set()

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
        made = Diagnostic(code, headline, span, label, labels[:2], note, help, edit, severity)
        self._items.setdefault((code, span, headline), made)

    def take(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Report problems that another part found."""
        for item in diagnostics:
            self._items.setdefault((item.code, item.span, item.headline), item)

    def first(self, what: str) -> bool:
        """Whether this is the first time; for causes that show in many places."""
        new = what not in self._said
        self._said.add(what)
        return new

    def names_are_sound(self) -> bool:
        """Whether nothing was reported that may hide a use of a name: then unused things are really unused."""
        return not any(
            c[0][:2] in ("A0", "A1") or c[0] in ("A201", "A501", "A608", "A106")
            for c in self._items
            if c[0] != "A114"
        )

    def __len__(self) -> int:
        return len(self._items)

    def sorted(self, first: str) -> tuple[Diagnostic, ...]:
        """All problems by file (`first` before the others), place and code."""
        return tuple(
            sorted(
                self._items.values(),
                key=lambda d: (d.span.file != first, d.span.file, d.span.start, d.code, d.headline),
            )
        )


def did_you_mean(
    name: str, candidates: Iterable[str], span: Span | None = None
) -> tuple[str | None, Edit | None]:
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
