"""The state of one check: what is declared, what is known of every stream, and where problems go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from alchemist_dsl import ir
from alchemist_dsl.checker.names import Body, Decl, Scope
from alchemist_dsl.checker.problems import Problems
from alchemist_dsl.checker.taint import Taints
from alchemist_dsl.source import Span
from alchemist_dsl.syntax.format import one_line

if TYPE_CHECKING:
    from alchemist_dsl.checker.expressions import Env
    from alchemist_dsl.checker.load import Loader
    from alchemist_dsl.checker.templates import Variables

Columns = Callable[[ir.Block], Mapping[str, str] | None]


@dataclass(frozen=True, slots=True)
class Stream:
    """What is known of the rows of a port before they are read."""

    columns: Mapping[str, str]
    open: bool = False  # more columns may be there
    origins: frozenset[str] = frozenset()  # sources whose rows it holds
    conflicts: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)  # column: (stream, type)…
    missing: bool = False  # all of its rows come from sources that are not available
    taints: Taints = ()  # text that no decontamination has searched
    name: str = ""  # as messages call it
    lost: bool = False  # something that was reported hides what it holds


UNKNOWN = Stream({}, open=True, lost=True)


@dataclass(frozen=True, slots=True)
class Room:
    """What the expressions and the templates of a block may read."""

    env: Env
    variables: Variables | None = None


@dataclass(slots=True)
class Context:
    """One check. Filled in by the passes in the order of `check.__init__`."""

    problems: Problems
    loader: Loader
    scope: Scope
    columns: Columns
    decls: dict[str, Decl] = field(default_factory=dict)  # by key
    bodies: dict[str, Body] = field(default_factory=dict)  # with what they extend, by key
    order: tuple[str, ...] = ()
    cyclic: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()  # blocks that another one reads
    bases: set[str] = field(default_factory=set)  # blocks that another one extends
    blocks: dict[str, ir.Block] = field(default_factory=dict)
    streams: dict[tuple[str, str], Stream] = field(default_factory=dict)
    rooms: dict[str, Room] = field(default_factory=dict)  # by key of the block
    texts: dict[str, str] = field(default_factory=dict)
    schema_types: dict[str, dict[str, str]] = field(default_factory=dict)

    def own(self, decl: Decl) -> bool:
        """Whether a block belongs to the recipe itself or the file it extends, not to an import."""
        return decl.scope is self.scope

    def stream(self, ref: ir.RefV) -> Stream:
        """What is known of the stream of a reference."""
        found = self.streams.get((ref.target, ref.port), UNKNOWN)
        if ref.origin is None:
            return found
        return replace(
            found,
            origins=frozenset({ref.origin}),
            taints=tuple(t for t in found.taints if t.writer not in found.origins - {ref.origin}),
            missing=self._source_missing(ref.origin),
            name=f"`{shown(ref)}`",
        )

    def _source_missing(self, origin: str) -> bool:
        found = self.streams.get((origin, "rows"))
        return found is not None and found.missing

    def slice(self, span: Span) -> str:
        """The text of a span on one line, however it is laid out."""
        file = self.loader.files.get(span.file)
        return one_line(file.text[span.start : span.end]) if file is not None else ""


def shown(ref: ir.RefV) -> str:
    """A reference as it is written: `clean.dropped`."""
    port = "" if ref.port == "rows" else f".{ref.port}"
    return ref.target + port + (f".{ref.origin}" if ref.origin else "")
