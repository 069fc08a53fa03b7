"""A sample of a data comparison as lines: before and after in one text with word-level marks, long texts cut to what
differs.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from alchemist_dsl.diff.words import Piece, word_diff

if TYPE_CHECKING:
    from alchemist_runtime.engine.compare import Sample

RED, GREEN, YELLOW, BOLD, DIM = "31", "32", "33", "1", "2"
#: Characters of equal text that stay before and after a change, and of a text that is shown whole.
AROUND: Final = 40
#: Lines that one value of a sample takes at most.
MOST_LINES: Final = 6
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours a text, where colours are on."""

    on: bool

    def __call__(self, tone: str | None, text: str) -> str:
        return f"\x1b[{tone}m{text}\x1b[0m" if self.on and tone and text else text


def safe(text: str) -> str:
    """A text out of data that may go to a terminal: nothing in it steers one."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


def worded(value: Any) -> str:
    """A value as a person reads it: text as it is, everything else as JSON."""
    if isinstance(value, str):
        return value
    return "null" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def called(sample: Sample) -> str:
    """A row for people: the start of its id, which copy it is, where it came from."""
    shown = sample.id if len(sample.id) <= 16 else f"{sample.id[:12]}…"
    copy = f" copy {sample.copy + 1}" if sample.copy else ""
    return safe(f"{shown}{copy}" + (f"  {sample.origin}" if sample.origin else ""))


def unseen(samples: Iterable[Sample], kind: str, seen: set[object]) -> list[Sample]:
    """The samples that no earlier step has shown; they are added to what was seen."""
    fresh = [s for s in samples if _told(s, kind) not in seen]
    seen |= {_told(s, kind) for s in fresh}
    return fresh


def moved(samples: Iterable[Sample], seen: set[object]) -> None:
    """Take note of rows that were shown as going from one port to another."""
    seen |= {(kind, s.id) for s in samples for kind in ("added", "removed")}


def _told(sample: Sample, kind: str) -> tuple[object, ...]:
    """What is equal for two samples that tell a reader the same."""
    if kind == "changed":
        return kind, sample.id, worded([sample.before, sample.after])
    return kind, sample.id


def sample_lines(sample: Sample, kind: str, width: int, paint: Paint) -> Iterator[str]:
    """The columns of a sample, each in a few lines of at most `width` columns."""
    for name, pieces in columns(sample, kind):
        head = f"{safe(name)}: "
        yield from _wrapped(head, cut(pieces), width - 1, paint)  # room for an ellipsis


def columns(sample: Sample, kind: str) -> Iterator[tuple[str, list[Piece]]]:
    """Each column of a sample as pieces: of a changed row what differs, else what the row says."""
    before, after = sample.before or {}, sample.after or {}
    why = [n for n in ("rule", "reason") if n in after or n in before]
    for name in dict.fromkeys([*why, *after, *before]):
        if name in before and name in after and kind == "changed":
            old, new = worded(before[name]), worded(after[name])
            if old == new:  # another type, the same words
                old, new = (f"{type(v[name]).__name__} {w}" for v, w in ((before, old), (after, new)))
            yield name, word_diff(old, new)
        else:
            value = after.get(name, before.get(name))
            if value is not None:
                yield name, [("same", worded(value))]


def cut(pieces: list[Piece], around: int = AROUND) -> list[Piece]:
    """The pieces, their equal text cut to what stands around a change, long changes to their ends; line ends are
    shown.
    """
    out: list[Piece] = []
    for i, (mark, text) in enumerate(pieces):
        text = safe(text)
        most = around * (5 if mark != "same" or len(pieces) == 1 else 2)
        if len(text) > most + 5:
            tail = text[-around:] if i < len(pieces) - 1 else ""
            head = text[: most - len(tail)] if i > 0 or len(pieces) == 1 or mark != "same" else ""
            text = f"{head}…{tail}"
        out.append((mark, text.replace("\n", "⏎ ").replace("\t", "  ")))
    return out


def _wrapped(head: str, pieces: Iterable[Piece], width: int, paint: Paint) -> Iterator[str]:
    """Pieces in lines: marks and colours take part in no break, and no line is wider than asked for."""
    indent = "  "
    line, used, lines = paint(DIM, head), cells(head), 0
    for tone, word in _words(pieces, paint.on):
        while word:
            room = width - used
            whole = cells(word.rstrip())
            if whole > room and used > len(indent) and whole <= width - len(indent):
                room = 0  # it has a line of its own
            part = word if whole <= room else word[: _fitting(word, room)]
            if part:
                line, used, word = line + paint(tone, part), used + cells(part), word[len(part) :]
            if word:
                lines += 1
                if lines == MOST_LINES:
                    yield line.rstrip() + paint(DIM, "…")
                    return
                yield line.rstrip()
                line, used = indent, len(indent)
    yield line.rstrip()


def cells(text: str) -> int:
    """Columns that a text takes on a terminal: two for a wide sign, none for one that joins another."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def _cells(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def _fitting(text: str, room: int) -> int:
    """How many signs of a text fit."""
    for n, sign in enumerate(text):
        room -= _cells(sign)
        if room < 0:
            return n
    return len(text)


def _words(pieces: Iterable[Piece], coloured: bool) -> Iterator[tuple[str | None, str]]:
    """Words with the white space behind them, marked where there are no colours."""
    for mark, text in pieces:
        tone = {"added": GREEN, "removed": RED}.get(mark)
        if not coloured and tone:
            text = f"{{+{text}+}}" if mark == "added" else f"[-{text}-]"
        for word in re.findall(r"\S+\s*|\s+", text):
            yield tone, word
