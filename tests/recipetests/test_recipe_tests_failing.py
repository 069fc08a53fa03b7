"""What a person sees of tests that fail: the whole output is a golden file; JUnit XML and JSON say the same."""

from __future__ import annotations

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
from recipe_tests import HERE, alchemist, came_of, copied, timeless

from alchemist_dsl.cli.test_report import ROOM, compared

GOLDEN = HERE / "failing.txt"


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    return copied("failing.recipe", tmp_path)


def test_the_output_of_failing_tests(failing: Path) -> None:
    done = alchemist("test", failing.name, "--junit", "out.xml", cwd=failing.parent)
    made = timeless(done.stdout)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(made)
    assert (made, done.stderr, done.returncode) == (GOLDEN.read_text(), "", 1)


def test_junit_names_file_and_line_of_every_test(failing: Path) -> None:
    alchemist("test", failing.name, "--junit", "out.xml", cwd=failing.parent)
    root = ElementTree.parse(failing.parent / "out.xml").getroot()
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors")) == ("testsuites", "8", "5", "2")
    (suite,) = root
    assert suite.get("name") == "failing.recipe"
    lines = failing.read_text().splitlines()
    for case in suite:
        line = lines[int(case.get("line", "0")) - 1]
        assert line == f'test "{case.get("name")}" {{'
        assert case.get("file") == "failing.recipe"
        assert float(case.get("time", "-1")) >= 0
    by_name = {c.get("name"): c for c in suite}
    failure = by_name["counts"].find("failure")
    assert failure is not None and failure.text is not None
    assert failure.get("message") == "expect rows == 2 (and 2 more)"
    assert "failing.recipe:46:3\n  expect dropped.too_short < 1\n    expected  < 1\n    got       1" in failure.text
    error = by_name["an answer too few"].find("error")
    assert error is not None and error.get("type") == "A712"
    assert [c.tag for c in by_name["this one holds"]] == []


def test_json_has_values_and_places(failing: Path) -> None:
    done = alchemist("test", failing.name, "--format", "json", cwd=failing.parent)
    said = json.loads(done.stdout)
    assert (said["passed"], said["failed"], said["errors"], done.returncode) == (1, 5, 2, 1)
    tests = {t["name"]: t for t in said["recipes"][0]["tests"]}
    miss = tests["one line"]["failures"][1]["misses"][0]
    assert (miss["expected"], miss["got"], miss["row"], miss["given_row"]) == (
        "def dp(graph): ...",
        "def bf(graph): ...",
        1,
        1,
    )
    assert tests["many rows"]["failures"][1]["misses"][1]["given_row"] == 3
    assert tests["an answer too few"]["problems"][0]["code"] == "A712"


def test_characters_that_xml_cannot_hold(tmp_path: Path) -> None:
    text = (HERE / "failing.recipe").read_text()
    head = text.partition('test "counts"')[0]
    recipe = copied("failing.recipe", tmp_path)
    recipe.write_text(
        head
        + 'test "a bell & <b>" {\n  step = clean\n'
        + '  given = { instruction = "\\u0007", response = "long enough ]]>" }\n'
        + '  expect instruction == "no"\n}\n'
    )
    done = alchemist("test", recipe.name, "--junit", "out.xml", cwd=tmp_path)
    assert done.returncode == 1
    case = ElementTree.parse(tmp_path / "out.xml").getroot()[0][0]
    assert case.get("name") == "a bell & <b>"
    assert "\x07" not in done.stdout


def test_an_error_of_a_row_is_not_a_failure(tmp_path: Path) -> None:
    """A condition that cannot be evaluated is neither true nor false."""
    recipe = copied("failing.recipe", tmp_path)
    head = recipe.read_text().partition('test "counts"')[0].replace("data/a.jsonl", "data/*.jsonl")
    one = came_of(
        head.replace('files = "data/*.jsonl"', 'hub = "owner/unknown"')
        + 'test "t" {\n  step = clean\n  given = { instruction = "a", response = "long enough" }\n'
        + "  expect never_there == 1\n  expect rows == 1\n}\n",
        tmp_path,
    )
    (result,) = one.results
    assert (result.outcome, [p.code for _, p in result.problems]) == ("error", ["A503"])


# --- expected and got -------------------------------------------------------------------------------------------------


def test_long_texts_are_cut_around_the_difference() -> None:
    a, b = "x" * 300 + "left" + "y" * 300, "x" * 300 + "right" + "y" * 300
    expected, got, mark = compared("==", a, b)
    assert len(expected) <= ROOM + 10 and len(got) <= ROOM + 10
    assert "left" in expected and "right" in got
    assert got[mark.index("^")] == "r"


def test_lines_stand_side_by_side() -> None:
    shown = compared("==", "one\ntwo\nthree", "one\n2\nthree\nfour")
    assert shown == ["expected │ got", "one      │ one", "two      ≠ 2", "three    │ three", "         > four"]


def test_a_lacking_line_and_a_long_one() -> None:
    shown = compared("==", "a\nb", "a" * 50)
    assert shown == ["expected │ got", "a        ≠ " + "a" * 44, "         │ " + "a" * 6, "b        <"]


@pytest.mark.parametrize(
    ("op", "wanted", "got", "lines"),
    [
        ("==", None, "x", ["expected  null", 'got       "x"']),
        ("!=", 3, 3, ["expected  anything but 3", "got       3"]),
        (">=", 0.5, 0.25, ["expected  >= 0.5", "got       0.25"]),
        ("==", True, False, ["expected  true", "got       false"]),
        ("==", "ab", "ac", ['expected  "ab"', 'got       "ac"', "            ^ here"]),
    ],
)
def test_values(op: str, wanted: object, got: object, lines: list[str]) -> None:
    assert compared(op, wanted, got) == lines
