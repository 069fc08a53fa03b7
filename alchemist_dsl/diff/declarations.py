"""Blocks as they are written: what only looks different, and changes of blocks that are no steps of the plan."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from alchemist_dsl.diff.model import Category, Declaration
from alchemist_dsl.diff.side import Declared, Side, declared

#: Kinds whose changes show in the steps, in the figures, in `checks` or in the recipe's own line.
_ELSEWHERE: Final = frozenset({"recipe", "teacher", "prompt", "check"})
#: Of these blocks no run makes anything by itself.
_NO_RUN: Final = frozenset({"test", "variant", "moved", "schema"})
_COMMENT: Final = re.compile(r"^\s*#.*\n?", re.MULTILINE)


def written(side: Side) -> Mapping[str, str]:
    """The text of every block of a side's own files."""
    return {name: block.text for name, block in declared(side).items()}


def compared(before: Side, after: Side, steps: set[str]) -> list[Declaration]:
    """Blocks beside the steps of the plans that came, went or changed."""
    old, new = declared(before), declared(after)
    if before.program is None or after.program is None:
        return []
    out = []
    for name in dict.fromkeys((*new, *old)):
        b, a = old.get(name), new.get(name)
        some = a or b
        assert some is not None
        if name in steps or some.kind in _ELSEWHERE or (b and a and b.text == a.text):
            continue
        out.append(_one(b, a, some))
    return out


def _one(b: Declared | None, a: Declared | None, some: Declared) -> Declaration:
    status = "added" if b is None else "removed" if a is None else "changed"
    old, new = ("" if d is None else canonical(d.text) for d in (b, a))
    category: Category = "cosmetic" if old == new else "metadata"
    lines = [
        line
        for line in difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    ]
    name = "" if some.name.startswith("(") else some.name.removeprefix(f"{some.kind} ")
    return Declaration.model_validate(
        {"name": name, "kind": some.kind, "status": status, "category": category, "lines": lines}
    )


@lru_cache(maxsize=256)
def canonical(text: str) -> str:
    """A block in the layout that `git diff` compares, in which line breaks and spaces are always the same, without
    lines that are only a comment."""
    from alchemist_dsl.source import SourceFile
    from alchemist_dsl.syntax.format import canonical as laid_out

    made = laid_out(SourceFile("block", f"edition 2026\n{text}\n"))
    return _COMMENT.sub("", made)
