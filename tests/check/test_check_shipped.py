"""The recipes that ship with the product have no error, and no block of the library is poisoned."""

from __future__ import annotations

from pathlib import Path

import pytest
from alchemist_runtime.schema.codes import CODES

from alchemist_dsl.checker import check
from alchemist_dsl.source import SourceFile

RECIPES = Path(__file__).parents[2] / "recipes"


def read(path: str) -> bytes | None:
    file = RECIPES / "std" / f"{path[4:]}.recipe" if path.startswith("std:") else RECIPES.parent / path
    return file.read_bytes() if file.is_file() else None


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.recipe")), ids=lambda p: p.stem)
def test_no_error(path: Path) -> None:
    name = path.relative_to(RECIPES.parent).as_posix()
    program, problems = check(SourceFile(name, path.read_text()), read)
    assert program is not None
    errors = [d for d in problems if str(d.severity or CODES[d.code].severity) == "error"]
    assert errors == []
    assert [b.name for b in program.blocks.values() if b.poisoned] == []
    for variant in program.variants:
        _, more = check(SourceFile(name, path.read_text()), read, variant=variant)
        assert [d.headline for d in more if CODES[d.code].severity == "error"] == []
