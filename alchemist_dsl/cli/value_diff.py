"""Values of a failed expectation for people: expected and got, one under the other or, where they have lines, side by
side.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

#: Room for a value on one line; longer texts are cut around the first difference.
ROOM: Final = 84
_COLUMN: Final = 44
_BEFORE: Final = 24


def shown(value: Any) -> str:
    """A value about as a recipe writes it."""
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return f"{value:.1f}"
    if isinstance(value, bytes):
        return value.hex()
    return json.dumps(value, ensure_ascii=False, default=str)


def compared(op: str | None, wanted: Any, got: Any) -> list[str]:
    """Lines that show what was expected and what came."""
    both = isinstance(wanted, str) and isinstance(got, str)
    if op in ("==", None) and both and ("\n" in wanted.strip("\n") or "\n" in got.strip("\n")):
        return list(_columns(wanted.split("\n"), got.split("\n")))
    expected, came = _expected(op, wanted), shown(got)
    at = _difference(expected, came) if op == "==" and both else None
    if at is None:
        return [f"expected  {_cut(expected, 0)[0]}", f"got       {_cut(came, 0)[0]}"]
    one, _ = _cut(expected, at)
    two, where = _cut(came, at)
    return [f"expected  {one}", f"got       {two}", f"          {' ' * where}^ here"]


def _expected(op: str | None, wanted: Any) -> str:
    if op in ("==", None):
        return shown(wanted)
    return f"anything but {shown(wanted)}" if op == "!=" else f"{op} {shown(wanted)}"


def _difference(a: str, b: str) -> int | None:
    """Where two texts first differ."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)


def _cut(text: str, at: int) -> tuple[str, int]:
    """A text that fits a line, with the place `at` in it."""
    text = _visible(text)
    if len(text) <= ROOM:
        return text, at
    start = max(0, min(at - _BEFORE, len(text) - ROOM + 1))
    piece = text[start : start + ROOM - 2]
    head, tail = "…" * (start > 0), "…" * (start + len(piece) < len(text))
    return head + piece + tail, at - start + len(head)


def cut(text: str) -> str:
    """A text that fits a line."""
    return _cut(text, 0)[0]


def _columns(wanted: Sequence[str], got: Sequence[str]) -> Iterator[str]:
    """Two columns of lines; `≠` where they differ, `<` where one is lacking, `>` where one is too many."""
    pairs = list(_paired(wanted, got))
    width = min(_COLUMN, max(len("expected"), *(len(a or "") for a, _ in pairs)))
    yield f"{'expected':<{width}} │ got"
    for a, b in pairs:
        sign = "│" if a == b else ">" if a is None else "<" if b is None else "≠"
        for i, (left, right) in enumerate(_wrapped(a or "", b or "")):
            yield f"{left:<{width}} {sign if i == 0 else '│'} {right}".rstrip()


def _paired(a: Sequence[str], b: Sequence[str]) -> Iterator[tuple[str | None, str | None]]:
    for tag, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            yield from zip(a[i:j], b[k:m], strict=True)
            continue
        for n in range(max(j - i, m - k)):
            yield (a[i + n] if i + n < j else None, b[k + n] if k + n < m else None)


def _wrapped(left: str, right: str) -> Iterator[tuple[str, str]]:
    """A pair of long lines in several pieces."""
    for at in range(0, max(len(left), len(right), 1), _COLUMN):
        yield _visible(left[at : at + _COLUMN]), _visible(right[at : at + _COLUMN])


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text.replace("\t", "→"))
