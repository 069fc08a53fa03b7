"""Runs the recipes of the pages of codes through `alchemist check`, with their files beside them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from alchemist_runtime.schema.codes import CODES

from alchemist_dsl.cli.check import Found, add
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.diagnostics.page import ROWS, Example, load, parse, path_of, with_says
from alchemist_dsl.diagnostics.render import render, sort_unique

RECIPE: Final = "r.recipe"


def found_in(example: Example, folder: Path) -> Found:
    """Check an example in an empty folder."""
    project = folder / "project"
    project.mkdir()
    (project / "recipe.lock").write_text("")  # ends the search for the root of the project
    for name, text in {**ROWS, **example.files}.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    (project / RECIPE).write_bytes(example.bytes)
    found = Found()
    add(project / RECIPE, _sets(example), None, found)
    found.diagnostics = list(sort_unique(found.diagnostics, found.sources))
    return found


def _sets(example: Example) -> dict[str, tuple[str, str]]:
    if not example.sets:
        return {}
    name, _, value = example.sets.partition("=")
    return {name: (value, "set")}


def diagnostics(example: Example) -> list[Diagnostic]:
    """What `check` says of an example."""
    with tempfile.TemporaryDirectory() as folder:
        return found_in(example, Path(folder)).diagnostics


def says(example: Example) -> str:
    """The messages of an example as text."""
    with tempfile.TemporaryDirectory() as folder:
        found = found_in(example, Path(folder))
        return render(found.diagnostics, found.sources)


def pages() -> dict[Path, str]:
    """Every page of a code as it should be: with the message that its wrong recipe gives now."""
    made = {}
    for code in CODES:
        path = path_of(code)
        text = path.read_text("utf-8")
        wrong = parse(code, text).wrong
        made[path] = text if wrong is None else with_says(text, says(wrong))
    return made


def wrong_pages() -> list[str]:
    """Pages whose wrong recipe does not give its code alone, or whose right recipe gives anything."""
    out = []
    for code in CODES:
        page = load(code)
        for name, example, wanted in (("wrong", page.wrong, {code}), ("right", page.right, set())):
            if example is not None:
                given = diagnostics(example)
                if {d.code for d in given} != wanted:
                    out.append(f"{code} {name}: " + "; ".join(f"{d.code} {d.headline}" for d in given))
    return out
