"""The folder of a project as the light commands need it: where it is, its recipes, the shipped library, outside values.

Loads nothing but the standard library, so that `check` stays quick.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOCK: Final = "recipe.lock"
STATE: Final = ".alchemist"
STD: Final = "std:"


@dataclass(frozen=True, slots=True)
class Folder:
    """The root of a project: the nearest folder upward with `recipe.lock` or `.git`, else the recipe's own."""

    root: Path

    def relative(self, path: Path) -> str:
        """A path as plans and messages name it: from the root, with `/`."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def read(self, path: str) -> bytes | None:
        """The bytes of a recipe of the project, or of the library: `std:NAME`; None if there is none."""
        std = path.startswith(STD)
        file = library() / f"{path.removeprefix(STD)}.recipe" if std else self.root / path
        try:
            return file.read_bytes()
        except OSError:
            return None

    def listing(self, folder: str) -> Sequence[str]:
        """Names beside a file that is not there, for suggestions."""
        if folder == STD:
            return sorted(f.stem for f in library().glob("*.recipe"))
        try:
            return sorted(p.name for p in (self.root / folder).iterdir())
        except OSError:
            return ()


def folder_of(recipe: Path) -> Folder:
    """The project folder of a recipe."""
    own = recipe.resolve().parent
    for at in (own, *own.parents):
        if (at / LOCK).exists() or (at / ".git").exists():
            return Folder(at)
    return Folder(own)


def library() -> Path:
    """The folder of the shipped library: in the package, else in the checkout."""
    packaged = Path(__file__).parent / "_recipes" / "std"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "recipes" / "std"
