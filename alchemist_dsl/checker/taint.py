"""Follows text through the graph: which columns of a stream hold text that no decontamination has searched since it was
written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from alchemist_runtime.schema.rows import DROPPED_COLUMNS, IDENTITY, MESSAGES

from alchemist_dsl.checker.types import family

if TYPE_CHECKING:
    from alchemist_dsl.ir import SetV

TURNS: Final = frozenset({"system", "instruction", "response", "history"})
#: Columns that hold no text of a row, but names of things in the recipe.
_NAMES: Final = frozenset({"lang", *IDENTITY, *DROPPED_COLUMNS})
_NO_TEXT: Final = frozenset({"number", "bool", "id", "null"})


@dataclass(frozen=True, slots=True)
class Taint:
    """Text of one step that no decontamination has searched yet.

    `path`: the streams that it came by, that of the step first. It stands in `columns`, or with `others` in all but
    these.
    """

    writer: str
    path: tuple[str, ...]
    columns: frozenset[str] = frozenset()
    others: bool = False

    def holds(self, name: str) -> bool:
        return (name in self.columns) != self.others

    @property
    def turns(self) -> bool:
        """Whether it stands in a turn, so that it is exported and trained on."""
        return any(map(self.holds, TURNS))

    def put(self, names: Iterable[str], there: bool) -> Taint:
        """The taint where these columns hold it, or do not."""
        named = frozenset(names)
        kept = self.columns | named if there != self.others else self.columns - named
        return replace(self, columns=kept)

    def only(self, names: Iterable[str]) -> Taint:
        return replace(self, columns=frozenset(names), others=False)

    def merged(self, other: Taint) -> Taint:
        """The taint where it stands here or there."""
        if not other.others:
            return self.put(other.columns, there=True)
        if not self.others:
            return replace(self, columns=other.columns - self.columns, others=True)
        return replace(self, columns=self.columns & other.columns)


Taints = tuple[Taint, ...]


def joined(streams: Iterable[Iterable[Taint]]) -> Taints:
    """Of several streams, one after the other."""
    found: dict[str, Taint] = {}
    for taint in (t for taints in streams for t in taints):
        have = found.get(taint.writer)
        found[taint.writer] = taint if have is None else have.merged(taint)
    return _live(found.values())


def _live(taints: Iterable[Taint]) -> Taints:
    return tuple(t for t in taints if t.others or t.columns)


def passed(taints: Taints, stream: str) -> Taints:
    """The same text one stream further."""
    return tuple(t if t.path[-1:] == (stream,) else replace(t, path=(*t.path, stream)) for t in taints)


def searched(taints: Taints, on: Iterable[str]) -> Taints:
    """What is left by a decontamination that reads these columns. Who searches one turn of what a step wrote has chosen
    to leave its others aside; what another step wrote is not searched by that."""
    wide = _flat(on)
    left = (t.put(wide | TURNS if any(map(t.holds, wide)) else wide, there=False) for t in taints)
    return _live(left)


def set_by(taints: Taints, sets: Sequence[SetV], types: Mapping[str, str], *, partly: bool) -> Taints:
    """What assignments carry from column to column. `partly`: some rows stay as they were."""
    out = []
    for taint in taints:
        result = taint
        for s in sets:
            there = any(taint.holds(c) for c in _carriers(s.expr.reads, types))
            if there or not partly:
                result = result.put(_flat([s.column]), there)
        out.append(result)
    return _live(out)


def told_by(taints: Taints, templates: Mapping[str, Iterable[str]], types: Mapping[str, str]) -> Taints:
    """What templates, column -> names that it reads, bring into new rows."""
    read = {column: [*_carriers(names, types)] for column, names in templates.items()}
    return _live(t.only(c for c, names in read.items() if any(map(t.holds, names))) for t in taints)


def answered(taints: Taints, teacher: str | None) -> Taints:
    """Of what a teacher step writes about rows: of their turns, and of the model that writes; rules have seen only the
    row.
    """
    of_row = tuple(t for t in taints if t.turns)
    return of_row if teacher is None else joined([(Taint(teacher, (), others=True),), of_row])


def _flat(names: Iterable[str]) -> frozenset[str]:
    found = frozenset(names)
    return found | TURNS if MESSAGES in found else found


def _carriers(names: Iterable[str], types: Mapping[str, str]) -> Iterator[str]:
    """The columns among these that may hold text of a row."""
    for name in _flat(names):
        type_ = types.get(name, "text")
        if name not in _NAMES and family(type_) not in _NO_TEXT and not type_.startswith("enum("):
            yield name
