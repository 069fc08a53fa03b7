"""What `alchemist check` says of `test` blocks that cannot be right."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_tests import says

ROWS = '  given = [\n    { instruction = "a", response = "b" },\n  ]\n'

CASES = {
    "unknown step": (
        'test "t" {\n  step = claen\n  given = {}\n  expect rows == 1\n}\n',
        ["A103 2: nothing is called `claen`"],
    ),
    "no step": (
        'test "t" {\n  step = pairs\n  given = {}\n  expect rows == 1\n}\n',
        ["A110 2: a test needs a step, and `pairs` is a source"],
    ),
    "unknown column": (
        'test "t" {\n  step = clean\n  given = { instrction = "a" }\n  expect rows == 0\n}\n',
        ["A503 3: rows of `pairs` have no column `instrction`"],
    ),
    "identity": (
        'test "t" {\n  step = clean\n  given = { _id = "a" }\n  expect rows == 0\n}\n',
        ["A511 3: `_id` carries the identity of the row, which a test makes up itself"],
    ),
    "type of a column": (
        'test "t" {\n  step = clean\n  given = { response = 5 }\n  expect rows == 0\n}\n',
        ["A504 3: `response` is text, but this is a number"],
    ),
    "a turn without content": (
        'test "t" {\n  step = clean\n  given = { messages = [{ role = "user" }] }\n  expect rows == 0\n}\n',
        ["A504 3: a turn of `messages` has a `role` and a `content`"],
    ),
    "unknown input": (
        'test "t" {\n  step = clean\n  given = { pars = [{ response = "b" }] }\n  expect rows == 0\n}\n',
        ["A103 3: `clean` reads no `pars`"],
    ),
    "rows of a mixture without names": (
        'test "t" {\n  step = sft\n  given = [{ response = "b" }]\n  expect rows == 0\n}\n',
        ["A201 3: `sft` takes from `final` and `pool`, so `given` names where each row stands"],
    ),
    "a teacher without answers": (
        f'test "t" {{\n  step = marked\n{ROWS}  expect rows == 1\n}}\n',
        ['A106 1: `test "t"` needs `reply`: `marked` asks a teacher'],
    ),
    "an answer lacks fields": (
        f'test "t" {{\n  step = reviewed\n{ROWS}  reply = {{ correctness = 3, clarity = 4 }}\n  expect rows == 1\n}}\n',
        ["A406 6: the reply lacks `suggestions` or `refined`, which `alchemy.review` wants"],
    ),
    "an answer out of bounds": (
        f'test "t" {{\n  step = reviewed\n{ROWS}  reply = {{ correctness = 11, clarity = 4, suggestions = "", refined = "" }}\n  expect rows == 1\n}}\n',
        ["A504 6: `correctness` lies in 0..10; this is 11"],
    ),
    "an answer of another type": (
        f'test "t" {{\n  step = marked\n{ROWS}  reply = [{{ prompt = 3 }}]\n  expect rows == 1\n}}\n',
        ["A504 6: `prompt` is text, but this is a number"],
    ),
    "an answer is null": (
        f'test "t" {{\n  step = marked\n{ROWS}  reply = {{ prompt = null }}\n  expect rows == 1\n}}\n',
        ["A504 6: `prompt` is never null"],
    ),
    "an answer that nobody asks for": (
        f'test "t" {{\n  step = clean\n{ROWS}  reply = {{ prompt = "x" }}\n  expect rows == 1\n}}\n',
        ["A111 6: `clean` asks no teacher, so it needs no `reply`"],
    ),
    "benchmarks of the hub": (
        f'test "t" {{\n  step = final\n{ROWS}  expect rows == 1\n}}\n',
        ["A106 3: the items of `alchemy.humaneval` are not at hand, and a test fetches nothing"],
    ),
    "a rule that the step does not have": (
        f'test "t" {{\n  step = clean\n{ROWS}  expect dropped.to_short == 1\n}}\n',
        ["A509 6: the step has no rule `to_short`"],
    ),
    "a count that the step does not have": (
        f'test "t" {{\n  step = clean\n{ROWS}  expect trace == 1\n}}\n',
        ["A503 6: rows of `clean` have no column `trace`"],
    ),
    "counting another step": (
        f'test "t" {{\n  step = clean\n{ROWS}  expect rows(pool) == 1\n}}\n',
        ["A111 6: this test carries out `clean` alone, so `pool` cannot be counted"],
    ),
    "nothing expected": (f'test "t" {{\n  step = clean\n{ROWS}}}\n', ['A106 1: `test "t"` expects nothing']),
    "more rows than enter": (
        f'test "t" {{\n  step = clean\n{ROWS}  expect rows == 2\n}}\n',
        ["A215 6: this can never be true: `rows == 2`"],
    ),
    "more refused than enter": (
        f'test "t" {{\n  step = clean\n{ROWS}  expect dropped.too_short >= 2 and rows == 0\n}}\n',
        ["A215 6: this can never be true: `dropped.too_short >= 2 and rows == 0`"],
    ),
    "the only one of its group": (
        f'test "t" {{\n  step = pool\n{ROWS}  expect dropped.duplicate == 1\n}}\n',
        ["A215 6: this can never be true: `dropped.duplicate == 1`"],
    ),
    "a replacing step keeps all rows": (
        f'test "t" {{\n  step = marked\n{ROWS}  reply = {{ prompt = "x" }}\n  expect rows == 0\n}}\n',
        ["A215 7: this can never be true: `rows == 0`"],
    ),
    "no rows, and something of each": (
        f'test "t" {{\n  step = clean\n{ROWS}  expect rows == 0\n  expect response == "b"\n}}\n',
        ['A215 7: this can never be true: `response == "b"`'],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_mistakes_in_tests(name: str, tmp_path: Path) -> None:
    text, expected = CASES[name]
    assert says(text, tmp_path) == expected


def test_right_ones_pass(tmp_path: Path) -> None:
    good = (
        f'test "a" {{\n  step = clean\n{ROWS}  expect rows <= 1 and dropped == 1\n}}\n'
        f'test "b" {{\n  step = marked\n{ROWS}  reply = "raw"\n  expect rows == 1\n}}\n'
        'test "c" {\n  step = final\n  given = { reviewed = [{ instruction = "x" }], humaneval = [{ prompt = "y" }] }\n  expect rows == 1\n}\n'
        'test "d" {\n  step = clean\n  given = { messages = [{ role = "user", content = "x" }], origin = "pairs" }\n  expect rows == 0\n}\n'
        'test "e" {\n  step = sft\n  given = { final = [], pool = [{ response = "x" }] }\n  expect rows == 1\n}\n'
    )
    assert says(good, tmp_path) == []
