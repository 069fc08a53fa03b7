"""Reads golden cases of the parser: Markdown with a recipe and the text that a person gets for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from alchemist_dsl.diagnostics.render import render, sort_unique
from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.parse import parse

_CASE = re.compile(
    r"^## (?P<title>[^\n]+)\n(?P<words>.*?)^````recipe\n(?P<recipe>.*?)^````\n(?:\n````text\n(?P<text>.*?)^````\n)?",
    re.M | re.S,
)


@dataclass(frozen=True)
class Case:
    title: str
    recipe: str
    expected: str | None


def read_cases(path: Path) -> list[Case]:
    """All cases of a file, in order."""
    return [Case(m["title"], m["recipe"], m["text"]) for m in _CASE.finditer(path.read_text())]


def says(recipe: str) -> str:
    """What a person reads about a recipe's form."""
    source = SourceFile("r.recipe", recipe)
    _, problems = parse(source)
    sources = {source.path: source}
    text = render(sort_unique(problems, sources), sources)
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def rewrite(path: Path) -> None:
    """Put what is said now into the expected blocks."""

    def now(m: re.Match[str]) -> str:
        return f"## {m['title']}\n{m['words']}````recipe\n{m['recipe']}````\n\n````text\n{says(m['recipe'])}````\n"

    path.write_text(_CASE.sub(now, path.read_text()))
