"""A recipe in another layout or order is compared as the same: nothing but its look differs."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemist_dsl.comparison.model import RecipeDiff
from alchemist_dsl.project.operands import Settings, compared, comparison
from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.format import canonical

RECIPES = Path(__file__).parents[2] / "recipes"
NAMES = sorted(p.relative_to(RECIPES).as_posix() for p in RECIPES.rglob("*.recipe") if p.parent.name != "std")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("layouts") / "recipes"
    shutil.copytree(RECIPES, place)
    (place.parent / ".git").mkdir()  # the root of the project, as in this repository
    return place


def permuted(text: str, draw: random.Random) -> str:
    """The same blocks and attributes in another order, with comments between them. Rules keep their places."""
    text = canonical(SourceFile("r.recipe", text))
    lines = text.split("\n")
    heads = [i for i, line in enumerate(lines) if re.match(r"[a-z]+( \S.*)? \{$", line)]
    for n, at in enumerate(heads):
        while lines[at - 1].startswith("#"):
            at -= 1
        heads[n] = at
    ends = [*heads[1:], len(lines)]
    head = "\n".join(lines[: heads[0]]) + "\n"
    blocks = ["\n".join(lines[i:j]).strip("\n") for i, j in zip(heads, ends, strict=True)]
    draw.shuffle(blocks)
    return head + "\n\n".join(_block(b, draw) for b in blocks) + "\n"


def _block(text: str, draw: random.Random) -> str:
    lines = text.split("\n")
    start = next(i for i, line in enumerate(lines) if line.endswith("{"))
    if lines[-1] != "}" or lines[start].startswith(("test", "variant")):  # what no run reads is compared as it stands
        return text
    found = list(_statements(lines[start + 1 : -1]))
    places = [i for i, s in enumerate(found) if re.match(r"  \w+ = ", s[-1] if len(s) == 1 else s[0])]
    taken = [found[i] for i in places]
    draw.shuffle(taken)
    for i, statement in zip(places, taken, strict=True):
        found[i] = statement
    body = [line for s in found for line in (*s, *([""] if draw.random() < 0.2 else []))]
    return "\n".join([*lines[: start + 1], *(["  # as it comes"] if draw.random() < 0.3 else []), *body, "}"])


def _statements(lines: list[str]) -> Iterator[list[str]]:
    """Lines of a block as statements: what is indented deeper, and a closing bracket, belong to the one before."""
    now: list[str] = []
    for line in lines:
        new = re.match(r"  [^ \])}]", line) is not None
        if new and now:
            yield now
            now = []
        now.append(line)
    if now:
        yield now


def between(folder: Path, name: str, text: str) -> RecipeDiff | None:
    other = Path(name).with_name("changed_" + Path(name).name)
    (folder / other).write_text(text)
    with chdir(folder):
        made = compared(comparison([name, str(other)], Settings()))
    return made.recipes[0] if made.recipes else None


@given(name=st.sampled_from(NAMES), draw=st.randoms(use_true_random=False))
@settings(max_examples=25)  # each compiles a project
def test_order_and_comments_are_at_most_cosmetic(folder: Path, name: str, draw: random.Random) -> None:
    text = permuted((folder / name).read_text(), draw)
    made = between(folder, name, text)
    if made is not None:
        moved = [d for d in made.declarations if d.category == "metadata"]  # no run reads them: in order
        assert made.category in ("same", "cosmetic") or moved, (made.nodes, made.messages)
        for d in moved:
            assert sorted(x[1:] for x in d.lines if x[0] == "+") == sorted(x[1:] for x in d.lines if x[0] == "-")
        assert not made.resources and not made.params and not made.recipe
        assert all(n.category == "cosmetic" and not n.changes for n in made.nodes)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_laid_out_otherwise(folder: Path, name: str) -> None:
    text = (folder / name).read_text()
    assert between(folder, name, text) is None
    loose = re.sub(r"^(  \w+) = (?=[^\"\n]*$)", r"\1   =  ", text, flags=re.M).replace("\n}\n", "\n\n}\n\n")
    made = between(folder, name, loose)
    assert made is not None and made.category == "cosmetic", made and made.messages
    assert not made.resources and not made.params and not made.recipe
