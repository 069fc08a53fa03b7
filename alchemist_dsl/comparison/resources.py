"""What steps refer to by name, teachers and prompts: told once, with the steps that use them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Final

from alchemist_runtime.schema.plan import Plan

from alchemist_dsl.comparison.effects import worst
from alchemist_dsl.comparison.model import Category, Change, Declaration, ResourceDiff
from alchemist_dsl.comparison.side import Declared, Side, declared
from alchemist_dsl.comparison.words import Piece, word_diff
from alchemist_dsl.explain.description import Fact, Facts, prompt, teacher
from alchemist_dsl.explain.staleness import without


def resources_between(old: Plan, new: Plan) -> Iterator[ResourceDiff]:
    """Teachers and prompts by name, once each, with the steps that use them; one that is only called otherwise is
    one.
    """
    teachers = (
        {k: t.identity_key for k, t in old.teachers.items()},
        {k: t.identity_key for k, t in new.teachers.items()},
    )
    for before, after in _by_name(*teachers):
        yield from _resource(
            "teacher",
            (before, after),
            None if before is None else teacher(old.teachers[before]),
            None if after is None else teacher(new.teachers[after]),
            _users(old if after is None else new, "teacher", after or before),
        )
    prompts = {k: p.key for k, p in old.prompts.items()}, {k: p.key for k, p in new.prompts.items()}
    for before, after in _by_name(*prompts):
        yield from _resource(
            "prompt",
            (before, after),
            None if before is None else prompt(old.prompts[before], old),
            None if after is None else prompt(new.prompts[after], new),
            _users(old if after is None else new, "prompt", after or before),
        )


def _by_name(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[tuple[str | None, str | None]]:
    """Names on both sides: the same one, else of an equal key, else of one side alone. `old`, `new`: keys by name."""
    left = {key: name for name, key in old.items() if name not in new}
    for name, key in new.items():
        yield (name if name in old else left.pop(key, None)), name
    yield from ((name, None) for name in left.values())


def _resource(
    kind: str, names: tuple[str | None, str | None], old: Facts | None, new: Facts | None, users: list[str]
) -> Iterator[ResourceDiff]:
    before, after = names
    found = [] if old is None or new is None else changes(old, new)
    if before == after and not found:
        return
    status = "added" if old is None else "removed" if new is None else "changed"
    category: Category = worst([c.category for c in found]) if found else "metadata"
    yield ResourceDiff.model_validate(
        {
            "id": after or before,
            "before_id": before if after is not None and before not in (None, after) else None,
            "kind": kind,
            "status": status,
            "category": category,
            "changes": found,
            "used_by": users,
        }
    )


def _users(plan: Plan, kind: str, name: str | None) -> list[str]:
    return [n.id for n in plan.nodes if getattr(n.spec, kind, None) == name]


# --- declarations ----------------------------------------------------------------------------------------------------

#: Kinds whose changes show in the steps, in the figures, in `checks` or in the recipe's own line.
_ELSEWHERE: Final = frozenset({"recipe", "teacher", "prompt", "check"})
_COMMENT: Final = re.compile(r"^\s*#.*\n?", re.MULTILINE)


def block_texts(side: Side) -> Mapping[str, str]:
    """The text of every block of a side's own files."""
    return {name: block.text for name, block in declared(side).items()}


def declaration_changes(before: Side, after: Side, steps: set[str]) -> list[Declaration]:
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

    result = laid_out(SourceFile("block", f"edition 2026\n{text}\n"))
    return _COMMENT.sub("", result)


# --- changes ---------------------------------------------------------------------------------------------------------

CHARS_PER_TOKEN: Final = 4
#: A change to what decides no byte.
_META: Final = frozenset({"cost", "speed", "doc"})


def changes(before: Facts, after: Facts) -> list[Change]:
    """Every value that differs, in the order of the tables; what a changed method took as arguments stands with it."""
    names = list(dict.fromkeys((*before, *after)))
    found = [n for n in names if _data(before.get(n)) != _data(after.get(n))]
    displayed = [n for n in found if not _is_part_of_change(n, found, before, after)]
    return [
        _change(n, before.get(n), after.get(n))
        for n in displayed
        if not n.endswith(".order") or _reordered(n, before, after)
    ]


def _is_part_of_change(name: str, found: Sequence[str], before: Facts, after: Facts) -> bool:
    """Whether a part of something stands already in the text of the whole, which changed too."""
    part = any(name in side and side[name].part for side in (before, after))
    return part and name.rpartition(".")[0] in found


def _data(value: Fact | None) -> object:
    return None if value is None else [value.data]


def _change(path: str, before: Fact | None, after: Fact | None) -> Change:
    some = after or before
    assert some is not None
    category: Category = "metadata" if some.affects in _META else "breaking"
    added, removed = _items(before, after)
    words, tokens = _words(before, after)
    return Change(
        path=path,
        before=None if before is None else before.text,
        after=None if after is None else after.text,
        relative=_relative(before, after),
        added=added,
        removed=removed,
        words=words,
        tokens=tokens,
        category=category,
    )


def _relative(before: Fact | None, after: Fact | None) -> str | None:
    old, new = (None if v is None else v.number for v in (before, after))
    if old is None or new is None or old == 0:
        return None
    return str((new - old) / old)


def relative_words(relative: str) -> str:
    """`+25%`, `-3.5%`, or how many times as much where that says more."""
    share = Fraction(relative)
    if share >= 2:
        times = float(share + 1)
        return f"{times:,.3g} times" if times < 1000 else f"{times:,.0f} times"
    text = f"{float(share) * 100:+.1f}".removesuffix(".0")
    return f"{text}%"


def _items(before: Fact | None, after: Fact | None) -> tuple[list[str], list[str]]:
    """What came and went of a set or a sequence; of one that is only in another order, nothing."""
    if (before is None or before.items is None) and (after is None or after.items is None):
        return [], []
    old = list(before.items or ()) if before is not None else []
    new = list(after.items or ()) if after is not None else []
    return without(new, old), without(old, new)


def _words(before: Fact | None, after: Fact | None) -> tuple[list[Piece], tuple[int, int] | None]:
    """A text as words that stayed, came and went. A text of which only a digest is known is no text."""
    old, new = (None if v is None else v.template for v in (before, after))
    if old is None and new is None:
        return [], None
    if (before is not None and old is None) or (after is not None and new is None):
        return [], None
    return word_diff(old or "", new or ""), (tokens(old or ""), tokens(new or ""))


def tokens(text: str) -> int:
    """Tokens of a text, at four characters each."""
    return -(-len(text) // CHARS_PER_TOKEN)


def _reordered(name: str, before: Facts, after: Facts) -> bool:
    """Whether what is on both sides stands in another order. An order that only follows from what came or went is no
    change.
    """
    old, new = (t[name].data if name in t else [] for t in (before, after))
    return [r for r in old if r in new] != [r for r in new if r in old]
