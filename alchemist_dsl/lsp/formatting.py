"""The layout of a document as the fewest edits of whole lines, so that cursors and folds stay where they are."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Final

from lsprotocol import types as lsp

from alchemist_dsl.lsp.positions import Converter
from alchemist_dsl.source import SourceFile

#: Changed lines up to which they are compared one by one.
_MOST: Final = 2000


def edits(source: SourceFile, converter: Converter) -> list[lsp.TextEdit]:
    """Edits that bring a document into its one layout; none where it stands in it."""
    from alchemist_dsl.syntax.format import format_text

    text, _ = format_text(source)
    if text == source.text:
        return []
    old, new = _lines(source.text), _lines(text)
    same = _common(old, new)
    end = _common(old[same:][::-1], new[same:][::-1])
    left, right = old[same : len(old) - end], new[same : len(new) - end]
    if max(len(left), len(right)) > _MOST:
        return [_edit(source, converter, same, same + len(left), right)]
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    return [
        _edit(source, converter, same + i, same + j, right[a:b])
        for tag, i, j, a, b in matcher.get_opcodes()
        if tag != "equal"
    ]


def _lines(text: str) -> list[str]:
    *whole, rest = text.split("\n")
    return [line + "\n" for line in whole] + ([rest] if rest else [])


def _common(one: list[str], two: list[str]) -> int:
    count = 0
    for a, b in zip(one, two, strict=False):
        if a != b:
            break
        count += 1
    return count


def _edit(source: SourceFile, converter: Converter, first: int, last: int, new: list[str]) -> lsp.TextEdit:
    starts = (*source.starts, len(source.text))
    start, end = starts[min(first, len(starts) - 1)], starts[min(last, len(starts) - 1)]
    return lsp.TextEdit(converter.range(source, start, end), "".join(new))
