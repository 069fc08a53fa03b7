"""Broken recipes: parsing never raises, one cause gives one message, and what is whole stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.schema.codes import CODES
from hypothesis import example, given
from hypothesis import strategies as st

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.diagnostics.render import render
from alchemist_dsl.source import SourceFile, Span
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.grammar import load
from alchemist_dsl.syntax.parse import decode, parse, parse_value
from alchemist_dsl.syntax.trivia import Tokens, scan

PAPER = (Path(__file__).parent / "paper.recipe").read_text()


def spans(node: Any) -> Iterator[Span]:
    """Every span of a tree or of problems."""
    if isinstance(node, Span):
        yield node
    elif isinstance(node, tuple | list):
        for one in node:
            yield from spans(one)
    elif hasattr(node, "__dataclass_fields__"):
        for name in node.__dataclass_fields__:
            yield from spans(getattr(node, name))


def sound(text: str) -> tuple[ast.File, tuple[Diagnostic, ...]]:
    """Parse any text and hold what must be true of every result."""
    source = SourceFile("x", text)
    file, problems = parse(source)
    for span in (*spans(file), *spans(problems)):
        assert 0 <= span.start <= span.end <= len(text) and span.file == "x"
    assert list(problems) == sorted(problems, key=lambda d: (d.span.start, d.code))
    assert all(d.code in CODES and d.headline and "\n" not in d.headline for d in problems)
    for form in ("text", "concise", "json"):
        render(problems, {"x": source}, form)  # type: ignore[arg-type]
    return file, problems


# --- any text ---------------------------------------------------------------------------------------------------------


@given(st.text())
@example('"')
@example('"""')
@example('x = jinja"""')
@example("\x00\ud800\u2028\u202e")
@example("<<<<<<< a\n=======\n>>>>>>> b\n")
@example("a {" * 50)
@example("$")
@example("1" * 5000)
@example("x: " + "list<" * 200)
def test_any_text(text: str) -> None:
    sound(text)
    parse_value(text, "x")


FRAGMENTS = [
    "edition 2026\n",
    "filter a {\n",
    "}\n",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "=",
    "\n",
    "  ",
    " ",
    ",",
    '"',
    '"""',
    "jinja",
    "'",
    "from",
    "keep",
    "set",
    "as",
    "per",
    "5%",
    "200M tokens",
    "1.2.3",
    "a",
    "b.c",
    "# c\n",
    "## d\n",
    "and",
    "not",
    "in",
    "..",
    ":",
    "==",
    "é",
    "\t",
    ";",
    "//",
    "&&",
    "$",
    "\\",
    "<<<<<<< x\n",
    "=======\n",
    ">>>>>>> y\n",
    "test",
    "param",
    "import",
    "<",
    ">",
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join))
def test_any_pieces_of_recipes(text: str) -> None:
    sound(text)


@given(st.integers(0, len(PAPER)), st.integers(0, 60), st.text(max_size=4) | st.sampled_from(FRAGMENTS))
def test_any_cut_in_a_recipe(at: int, length: int, instead: str) -> None:
    sound(PAPER[:at] + instead + PAPER[at + length :])


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    file, problems = decode("x", data)
    assert (file is None) == bool(problems)
    if file is not None:
        assert "\r" not in file.text
        sound(file.text)


# --- one cause, one message -------------------------------------------------------------------------------------------


def tokens() -> Tokens:
    return scan(SourceFile("x", PAPER), load())


def share_of_at_most(two: int, counts: Counter[int]) -> float:
    wrong = {n: c for n, c in counts.items() if n}
    return sum(c for n, c in wrong.items() if n <= two) / sum(wrong.values())


def test_deleting_any_token() -> None:
    found = tokens()
    counts: Counter[int] = Counter()
    for kind, start, end in zip(found.kinds, found.starts, found.ends, strict=True):
        if kind not in ("NEWLINE", "$END"):
            counts[len(sound(PAPER[:start] + PAPER[end:])[1])] += 1
    assert share_of_at_most(2, counts) >= 0.98
    assert share_of_at_most(1, counts) >= 0.95


@pytest.mark.parametrize("what", ['"', "\n"])
def test_deleting_any_quote_or_line_end(what: str) -> None:
    counts = Counter(
        len(sound(PAPER[:at] + " " * (what == "\n") + PAPER[at + 1 :])[1]) for at, c in enumerate(PAPER) if c == what
    )
    assert share_of_at_most(2, counts) >= 0.98


def test_doubling_any_token() -> None:
    found = tokens()
    counts = Counter(
        len(sound(f"{PAPER[:end]} {PAPER[start:]}")[1])
        for kind, start, end in zip(found.kinds, found.starts, found.ends, strict=True)
        if kind not in ("NEWLINE", "$END")
    )
    assert share_of_at_most(2, counts) >= 0.98


def test_deleting_any_line() -> None:
    lines = PAPER.splitlines(keepends=True)
    counts = Counter(len(sound("".join(lines[:i] + lines[i + 1 :]))[1]) for i in range(len(lines)))
    assert share_of_at_most(2, counts) >= 0.9


# --- what is whole stays ----------------------------------------------------------------------------------------------


def names(file: ast.File) -> list[str | None]:
    return [
        i.name.name if isinstance(i, ast.Block) and isinstance(i.name, ast.Ident) else getattr(i, "name", None)
        for i in file.items
    ]


def test_a_mistake_leaves_the_other_blocks_alone() -> None:
    whole = [i for i in sound(PAPER)[0].items if isinstance(i, ast.Block)]
    for broken in whole:
        at = broken.header.end + 2
        file, problems = sound(PAPER[:at] + "\n  from 3 ] oops\n" + PAPER[at:])
        assert problems
        kept = [PAPER[i.header.start : i.header.end] for i in whole if i is not broken and i.span.end < at]
        text = PAPER[:at] + "\n  from 3 ] oops\n" + PAPER[at:]
        shown = [text[i.header.start : i.header.end] for i in file.items if isinstance(i, ast.Block)]
        assert set(kept) <= set(shown) and len(shown) == len(whole)


def test_the_rest_of_a_block_is_read() -> None:
    file, problems = sound("edition 2026\nfilter a {\n  from b\n  keep c\n  x = = 3\n  keep d\n}\n")
    (block,) = file.items
    assert isinstance(block, ast.Block) and len(problems) == 2
    kinds = [type(s).__name__ for s in block.body]
    assert kinds == ["BadStatement", "RuleStmt", "BadStatement", "RuleStmt"]
    bad = block.body[0]
    assert isinstance(bad, ast.BadStatement) and [i.name for i in bad.path] == ["from"]


def test_a_bad_number_leaves_its_attribute() -> None:
    file, (problem,) = sound("edition 2026\nmixture a {\n  total = 5Mtokens\n}\n")
    (block,) = file.items
    assert isinstance(block, ast.Block) and isinstance(block.body[0], ast.Assign)
    assert isinstance(block.body[0].value, ast.BadExpr) and problem.code == "A011"


def test_a_broken_header_keeps_kind_and_name() -> None:
    file, _ = sound("edition 2026\nfilter clean (x) {\n  from = pool\n}\nmap m {\n  from = clean\n}\n")
    bad, whole = file.items
    assert isinstance(bad, ast.BadItem) and (bad.kind, bad.name) == ("filter", "clean")
    assert isinstance(whole, ast.Block)


def test_a_bad_parameter_keeps_its_name() -> None:
    file, _ = sound("edition 2026\nparam share = 5%\nimport 3 as lib\n")
    assert [(i.kind, i.name) for i in file.items if isinstance(i, ast.BadItem)] == [
        ("param", "share"),
        ("import", "lib"),
    ]


def test_a_bad_record_is_no_record() -> None:
    file, problems = sound('edition 2026\ntest "t" {\n  given = [{ a = 1, b 2 }, { a = 1 }]\n}\n')
    (block,) = file.items
    assert isinstance(block, ast.Block) and isinstance(block.body[0], ast.Assign) and len(problems) == 1
    given_rows = block.body[0].value
    assert isinstance(given_rows, ast.ListExpr)
    assert [type(r).__name__ for r in given_rows.items] == ["BadExpr", "Record"]


@pytest.mark.parametrize("unit", ["(", "not ", "-", "a + ", "a.b", "[", "{ a = ", "list<"])
def test_deep_nesting_is_told_and_cut(unit: str) -> None:
    """What reads the tree recursively is safe: no tree is deeper than it can take."""
    closers = {"(": ")", "[": "]", "{ a = ": "}"}.get(unit, "")
    count = 3000
    body = f"x: {unit * count}text{'>' * count}" if unit == "list<" else f"x = {unit * count}a{closers * count}"
    file, problems = sound(f"edition 2026\nfilter f {{\n{body if unit != 'a.b' else 'x = a' + '.b' * count}\n}}\n")
    assert len(problems) == 1 and "nested" in problems[0].headline
    assert hash(file) is not None and repr(file)


def test_edits_mend() -> None:
    """Applying every safe edit of the ten mistakes leaves fewer problems, and in the end none that an edit was safe
    for.
    """
    text = (
        'edition 2026\nimport "std:alchemy"\nsource e {\n  hub "x/y"\n  files = \'a\'\n  limit = 5Mrows\n}\n'
        "filter c {\n  from = [\n    e\n    f,\n  keep b = 3\n  timeout = 90 s\n"
    )
    for _ in range(12):
        problems = sound(text)[1]
        edits = sorted((d.edit for d in problems if d.edit and d.edit.safe), key=lambda e: -e.span.start)
        if not edits:
            break
        text = text[: edits[0].span.start] + edits[0].text + text[edits[0].span.end :]
    assert not sound(text)[1], text
