"""Aligned tables of text for terminals."""

from __future__ import annotations

from collections.abc import Sequence


def grid(head: Sequence[str], rows: Sequence[Sequence[str]], width: int, right: set[int]) -> list[str]:
    """An aligned table without frames. The widest text column is folded so that a line fits."""
    table = [list(head), *[list(r) for r in rows]]
    used = [i for i in range(len(head)) if any(r[i] for r in table[1:]) or head[i]]
    widths = {i: max(len(r[i]) for r in table) for i in used}
    room = width - 2 * (len(used) - 1)
    widest = max((i for i in used if i not in right and i != used[0]), key=lambda i: widths[i], default=used[0])
    over = sum(widths.values()) - room
    if over > 0:
        widths[widest] = max(12, widths[widest] - over)
    out = []
    for number, row in enumerate(table):
        folded = fold(row[widest], widths[widest])
        for k, part in enumerate(folded):
            cells = []
            for i in used:
                text = part if i == widest else (row[i] if k == 0 else "")
                cells.append(text.rjust(widths[i]) if i in right else text.ljust(widths[i]))
            out.append("  ".join(cells).rstrip())
        if number == 0:
            out.append("  ".join("─" * widths[i] for i in used))
    return out


def fold(text: str, width: int) -> list[str]:
    """A text in lines of at most `width`, broken at spaces where it can be."""
    out, line = [], ""
    for word in text.split(" "):
        while len(word) > width:
            if line:
                out.append(line)
                line = ""
            out.append(word[:width])
            word = word[width:]
        if line and len(line) + 1 + len(word) > width:
            out.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*out, line]
