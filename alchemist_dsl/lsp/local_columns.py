"""What local files say of a recipe: the columns of their records. Looked up again after a few seconds, never per
keystroke.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from alchemist_dsl import ir
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.lowering.facts import SourceFacts
from alchemist_dsl.project import lockfile as locks
from alchemist_dsl.project.facts_on_disk import FileCache, Resources, matches, merged
from alchemist_dsl.project.folder import LOCK, STATE, Folder, library, read_file
from alchemist_dsl.source import Span

_SECONDS: Final = 5.0
#: Files above this size are not read for the editor's sake, unless somebody has read them before.
_LARGEST: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class _Known:
    at: float
    facts: SourceFacts
    spans: tuple[Span, ...]


@dataclass(slots=True)
class LocalFacts:
    """Facts of one project. `compilation` is the side that estimates ask."""

    folder: Folder
    _known: dict[tuple[Any, ...], _Known] = field(default_factory=dict)
    _resources: Resources | None = None

    def forget(self) -> None:
        """Look at everything again."""
        self._known.clear()
        self._resources = None

    def columns(self, block: ir.Block) -> Mapping[str, str] | None:
        """Columns of the records of a source or suite of local files; None where nobody knows them."""
        if not _local(block):
            return None
        return merged([f.columns for f in self.source(block).files])

    def problems(self, program: ir.Program) -> list[Diagnostic]:
        """Patterns that match no file, files that cannot be read, bases that are no model."""
        blocks = program.blocks.values()
        bases = (self.resources.base(b) for b in blocks if b.kind == "train")
        places = (p for b in blocks if _local(b) for p in self.source(b).problems)
        return [*places, *(p for p in bases if p is not None)]

    def source(self, block: ir.Block) -> SourceFacts:
        """Files of a source, with problems at the places that hold now."""
        patterns = tuple(t for t in _patterns(block))
        spans = tuple(p.span for p in patterns)
        key = (block.span.file, tuple(p.value for p in patterns), getattr(block.get("format"), "name", None))
        found = self._known.get(key)
        if found is None or time.monotonic() - found.at > _SECONDS:
            facts = self._look(block) if self._small(patterns) else SourceFacts()
            found = self._known[key] = _Known(time.monotonic(), facts, spans)
        moved = dict(zip(found.spans, spans, strict=True))
        return replace(found.facts, problems=tuple(_moved(p, moved) for p in found.facts.problems))

    def _look(self, block: ir.Block) -> SourceFacts:
        found = self.resources.source(block)
        self.resources.cache.save()
        return found

    def _small(self, patterns: tuple[ir.TextV, ...]) -> bool:
        for pattern in patterns:
            folder = self.resources.folder(pattern.span.file)
            for path in matches(folder, pattern.value):
                try:
                    if (folder / path).stat().st_size > _LARGEST:
                        return False
                except OSError:
                    continue
        return True

    @property
    def resources(self) -> Resources:
        if self._resources is None:
            root = self.folder.root
            try:
                lock = locks.loads(read_file(root / LOCK, root).decode("utf-8"))
            except (OSError, ValueError):
                lock = locks.Lock()
            self._resources = Resources(root, lock, FileCache(root / STATE / "files"), std=library())
        return self._resources


def _local(block: ir.Block) -> bool:
    return (
        block.kind in ("source", "suite")
        and block.get("files") is not None
        and block.get("hub") is None
        and block.get("missing") is None
    )


def _patterns(block: ir.Block) -> list[ir.TextV]:
    value = block.get("files")
    items = value.items if isinstance(value, ir.ListV) else (value,)
    return [v for v in items if isinstance(v, ir.TextV)]


def _moved(problem: Diagnostic, spans: Mapping[Span, Span]) -> Diagnostic:
    edit = problem.edit
    if edit is not None:
        edit = replace(edit, span=spans.get(edit.span, edit.span))
    return replace(problem, span=spans.get(problem.span, problem.span), edit=edit)
