"""Checks one recipe of the file system, without network and without running anything."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from alchemist_dsl.checker import check
from alchemist_dsl.diagnostics.model import Diagnostic, severity
from alchemist_dsl.ir import Block, Program
from alchemist_dsl.project.folder import Folder, folder_of, read_recipe
from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.decode import decode

if TYPE_CHECKING:
    from alchemist_dsl.project.facts_on_disk import Resources


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a check. `program`: what the recipe means, None where that is not known. `sources`: files by their
    paths in the project `root`, for messages."""

    program: Program | None
    diagnostics: tuple[Diagnostic, ...]
    sources: Mapping[str, SourceFile] = field(default_factory=dict)
    root: Path = Path()

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings do not count."""
        return not any(severity(d) == "error" for d in self.diagnostics)


def check_file(
    path: Path, outside: Mapping[str, tuple[str, str]], variant: str | None = None, *, look: bool = True
) -> Checked:
    """Check a recipe; `-` is standard input. `outside`: values of parameters, name -> (text, where from).

    `look`: also at the local files that it reads.

    Raises OSError where the recipe cannot be read."""
    stdin = str(path) == "-"
    data = sys.stdin.buffer.read() if stdin else read_recipe(path)
    folder = folder_of(Path.cwd() / "-" if stdin else path)
    name = "-" if stdin else folder.relative(path.resolve())
    file, problems = decode(name, data)
    if file is None:
        return Checked(None, problems, {name: SourceFile(name, "")}, folder.root)
    facts = _Facts(folder)
    root = folder.relative(Path.cwd()) if stdin else ""
    program, problems = check(
        file,
        folder.read,
        root="" if root == "." else root,
        sets=outside,
        variant=variant,
        columns=facts.columns if look else None,
        listing=folder.listing,
    )
    if program is not None and look:
        problems = (*problems, *facts.problems(program))
    facts.save()
    return Checked(program, problems, {name: file, **(program.files if program else {})}, folder.root)


class _Facts:
    """Columns of local files, from the lock or their first records. What reads files is loaded when a source has
    some.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._resources: Resources | None = None

    def columns(self, block: Block) -> Mapping[str, str] | None:
        if block.get("files") is None or block.get("hub") is not None:
            return None
        return self._open().columns(block)

    def problems(self, program: Program) -> list[Diagnostic]:
        """Patterns that match no file, files that cannot be read, models that are none."""
        from alchemist_dsl.lowering.resources import own_model

        blocks = program.blocks.values()
        places = (b for b in blocks if b.kind in ("source", "suite"))
        local = (b for b in places if b.get("files") is not None and b.get("hub") is None)
        bases = (self._open().base(b) for b in blocks if own_model(b) is not None)
        return [p for b in local for p in self._open().source(b).problems] + [p for p in bases if p]

    def save(self) -> None:
        if self._resources is not None:
            self._resources.cache.save()

    def _open(self) -> Resources:
        if self._resources is None:
            from alchemist_dsl.project import lockfile as locks
            from alchemist_dsl.project.facts_on_disk import FileCache, Resources
            from alchemist_dsl.project.folder import LOCK, STATE, library, read_file

            root = self.folder.root
            try:
                lock = locks.loads(read_file(root / LOCK, root).decode("utf-8"))
            except (OSError, ValueError):
                lock = locks.Lock()  # `compile` says what is wrong with it
            self._resources = Resources(root, lock, FileCache(root / STATE / "files"), std=library())
        return self._resources
