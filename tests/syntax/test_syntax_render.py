"""How diagnostics look: alignment, clipping, colours, the forms for tools; and near names."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemist_dsl.diagnostics.model import Diagnostic, Edit, Label, Severity, near
from alchemist_dsl.diagnostics.render import render, sort_unique
from alchemist_dsl.source import SourceFile, Span


def one(text: str, start: int, end: int, **more: object) -> str:
    source = SourceFile("r.recipe", text)
    problem = Diagnostic("A103", "nothing is called `x`", source.span(start, end), **more)  # type: ignore[arg-type]
    return render([problem], {"r.recipe": source})


def under(shown: str) -> str:
    """What stands above the first underline."""
    lines = shown.splitlines()
    at = next(i for i, line in enumerate(lines) if "^" in line)
    first = lines[at].index("^")
    return lines[at - 1][first : first + lines[at].count("^")]


def test_the_whole_form() -> None:
    source = SourceFile("r.recipe", "filter clean {\n}\nmap m {\n  from = cleen\n}\n")
    other = SourceFile("lib/a.recipe", "teacher gpt {\n}\n")
    problem = Diagnostic(
        "A103",
        "nothing is called `cleen`",
        source.span(34, 39),
        "not this",
        (Label(source.span(7, 12), "did you mean this one?"), Label(other.span(0, 11), "or this")),
        note="names are case-sensitive",
        help="write `clean`",
        edit=Edit(source.span(34, 39), "clean"),
    )
    assert render([problem], {s.path: s for s in (source, other)}) == (
        "error[A103 unknown-name]: nothing is called `cleen`\n"
        " --> r.recipe:4:10\n"
        "4 |   from = cleen\n"
        "  |          ^^^^^ not this\n"
        "1 | filter clean {\n"
        "  |        ----- did you mean this one?\n"
        " ::: lib/a.recipe:1:1\n"
        "1 | teacher gpt {\n"
        "  | ----------- or this\n"
        "help: write `clean`                                                          fix\n"
        "note: names are case-sensitive\n"
    )


def test_wide_characters_and_tabs_are_aligned() -> None:
    shown = one("a = 日本語 x\n", 8, 9).splitlines()
    assert shown[3].index("^") == shown[2].index("x") + 3
    assert under(one("\ta\tb\n", 3, 4)) == "b"
    accent = one("e\u0301 = x\n", 5, 6).splitlines()
    assert accent[3].index("^") == accent[2].index("x") - 1


def test_long_lines_are_cut_around_the_place() -> None:
    text = "a" * 300 + " here " + "b" * 300 + "\n"
    shown = one(text, 301, 305)
    assert under(shown) == "here"
    assert all(len(line) <= 110 for line in shown.splitlines())
    assert "…" in shown


def test_control_characters_do_not_reach_the_terminal() -> None:
    source = SourceFile("r.recipe", "a = \x1b[31mred\n")
    problem = Diagnostic("A103", "nothing is called `\x1b[2J`", source.span(4, 12), help="\x07")
    assert "\x1b" not in render([problem], {"r.recipe": source}) + render([problem], {"r.recipe": source}, "concise")


def test_places_at_the_end() -> None:
    assert "^" in one("abc", 3, 3)
    assert "^" in one("", 0, 0)
    assert under(one("abc\ndef\n", 1, 6)) == "bc"


def test_a_file_that_is_not_there() -> None:
    problem = Diagnostic("A014", "the file is not UTF-8", Span("x", 0, 0), help="save it as UTF-8")
    assert render([problem], {}) == "error[A014 not-utf8]: the file is not UTF-8\n --> x\nhelp: save it as UTF-8\n"


def test_concise_is_one_line() -> None:
    source = SourceFile("r.recipe", "a = b\n")
    problem = Diagnostic("A505", "nothing reads `a`", source.span(0, 1), help="use it,\nor delete it")
    assert render([problem], {"r.recipe": source}, "concise") == (
        "r.recipe:1:1: warning[A505]: nothing reads `a`; use it, or delete it\n"
    )


def test_json() -> None:
    source = SourceFile("r.recipe", "a\nb = c\n")
    problem = Diagnostic("A103", "nothing", source.span(6, 7), edit=Edit(source.span(6, 7), "d", safe=False))
    (data,) = json.loads(render([problem], {"r.recipe": source}, "json"))
    assert data["code"] == "A103" and data["slug"] == "unknown-name" and data["severity"] == "error"
    place = {"file": "r.recipe", "start": 6, "end": 7, "line": 2, "column": 5, "end_line": 2, "end_column": 6}
    assert data["place"] == place
    assert data["edit"] == {"place": place, "text": "d", "safe": False}


def test_colours_only_where_asked() -> None:
    source = SourceFile("r.recipe", "a = b\n")
    problem = Diagnostic("A103", "nothing", source.span(4, 5), help="x", severity=Severity.WARNING)
    plain, colored = (render([problem], {"r.recipe": source}, color=on) for on in (False, True))
    assert "\x1b" not in plain and "\x1b[1;33m" in colored
    import re

    assert re.sub("\x1b\\[[0-9;]*m", "", colored) == plain


def test_paths_as_the_reader_writes_them() -> None:
    source = SourceFile("r.recipe", "a = b\n")
    problem = Diagnostic("A103", "nothing", source.span(4, 5))
    assert " --> up/r.recipe:1:5\n1 | a = b" in render([problem], {"r.recipe": source}, shown=lambda p: "up/" + p)


def test_sorted_once() -> None:
    a, b = SourceFile("b", "xy"), SourceFile("a", "xy")
    late, early = (Diagnostic("A103", "n", a.span(i, i + 1)) for i in (1, 0))
    other = Diagnostic("A101", "n", b.span(0, 1))
    assert sort_unique([late, other, early, late], {"b": a, "a": b}) == (early, late, other)


@given(st.text(max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_any_place_can_be_shown(text: str, start: int, length: int) -> None:
    start = min(start, len(text))
    shown = one(text, start, min(start + length, len(text)), label="x")
    assert "^" in shown


# --- near names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "candidates", "found"),
    [
        ("sorce", ["source", "schema"], ("source",)),
        ("Clean", ["clear", "clean"], ("clean",)),
        ("cleen", ["evolved", "clean", "pool"], ("clean",)),
        ("fliter", ["filter", "export"], ("filter",)),
        ("xyz", ["source", "schema"], ()),
        ("gpt5", ["gpt35", "gpt4", "evol"], ("gpt35", "gpt4")),
        ("a", [], ()),
        ("", ["a"], ()),
    ],
)
def test_near(name: str, candidates: list[str], found: tuple[str, ...]) -> None:
    assert near(name, candidates) == found


@given(st.text(max_size=12), st.lists(st.text(max_size=12), max_size=12))
def test_near_names_are_candidates(name: str, candidates: list[str]) -> None:
    found = near(name, candidates)
    assert len(found) <= 3 and set(found) <= set(candidates) - {name}
