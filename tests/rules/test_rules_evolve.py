"""Evolutions: the code does what is newly asked (it is run), kinds spread evenly, half of them change the algorithm or
the data.
"""

from __future__ import annotations

import ast
import os
from collections import Counter

import pytest
from alchemist_rules.evolve import DEEP, PLAIN, evolve
from alchemist_rules.snippet import Snippet
from alchemist_runtime.code.functions import parses
from hypothesis import given
from hypothesis import strategies as st

EVEN = "def even(items):\n    found = []\n    for item in items:\n        if item % 2 == 0:\n            found.append(item)\n    return found"
GCD = "def gcd(a, b):\n    while b:\n        a, b = b, a % b\n    return a"
SIZE = "def size(word):\n    return len(word)"
HAS = "def has(items, bound):\n    for item in items:\n        if item > bound:\n            return True\n    return False"
POWER = "def power(base, exponent=2):\n    return base ** exponent"
ALL = DEEP | PLAIN


def made(way: str, code: str, lang: str = "python"):
    return ALL[way][1](Snippet(lang, code))


def run(code: str) -> dict:
    names: dict = {"__name__": "code"}
    exec(compile(code, "code", "exec"), names)
    return names


# way -> (code, what must stand in the new code, an expression over it, its value)
WAYS = {
    "grouping": (SIZE, "setdefault", "group_by_size(['a', 'bb', 'c'])", {1: ["a", "c"], 2: ["bb"]}),
    "heap": (SIZE, "heapq.nlargest", "top_by_size(['a', 'bbb', 'cc'], 2)", ["bbb", "cc"]),
    "lazy": (SIZE, "yield size(item)", "list(each_size(['a', 'bbb']))", [1, 3]),
    "cache": (
        "calls = []\n\ndef size(word):\n    calls.append(word)\n    return word.count('')",
        "known[item]",
        "(size_once_each(['a', 'bb', 'a']), len(calls))",
        ([2, 3, 2], 2),
    ),
    "binary search": (SIZE, "high = middle", "[first_with_size(['a', 'bb', 'cccc'], n) for n in (1, 3, 9)]", [0, 2, 3]),
    "work queue": (
        "done = []\n\ndef note(a, b):\n    done.append(a + b)",
        ".get()",
        "[(q := __import__('queue').Queue(), [q.put(x) for x in ((1, 2), (3, 4), None)], note_worker(q), done)][0][3]",
        [3, 7],
    ),
    "call history": (SIZE, "deque(maxlen=10)", "(size('abc'), list(size.calls))", (3, [(("abc",), {})])),
    "timed": (SIZE, "perf_counter", "size('abc')", 3),
    "logged": (SIZE, "logging.getLogger", "size('abc')", 3),
    "locked": (SIZE, "with lock", "size('abc')", 3),
    "filter": ("def is_even(n):\n    return n % 2 == 0", "if is_even(item)", "where_is_even([1, 2])", [2]),
    "none check": (EVEN, "must not be None", "even([2])", [2]),
    "keyword only": (POWER, "*, exponent=2", "power(3, exponent=3)", 27),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_way_does_what_it_asks_for(way):
    code, mark, expression, value = WAYS[way]
    asks, new = made(way, code)
    assert mark in new and mark not in code and asks
    assert eval(expression, run(new)) == value


def test_every_python_way_is_tested():
    assert {*WAYS, "debug"} == set(ALL)
    assert len(DEEP) >= len(PLAIN) >= 5


NEAR = [
    ("grouping", EVEN),  # lists cannot be keys
    ("heap", "def f(a):\n    return {a: 1}"),
    ("none check", "def f(a):\n    if not a:\n        return 1\n    return a"),
    ("keyword only", POWER + "\n\nprint(power(2, 3))"),
    ("cache", "def f(a):\n    return len(a)"),
    ("heap", "def f(a):\n    return np.array(a).T"),
    ("heap", "def f(a):\n    b = g(a)\n    b.append(1)\n    return b"),
    ("cache", "def f(a):\n    return a['x']"),
    ("filter", "def f(a):\n    return a + 1"),
    ("lazy", "def f(a):\n    yield a"),
    ("timed", "def timed(f):\n    return f\n\ndef g(a):\n    return a"),
]


@pytest.mark.parametrize("way, code", NEAR)
def test_what_a_way_must_leave_alone(way, code):
    assert made(way, code) is None


def test_methods_are_called_through_their_object():
    code = "def area(self, factor):\n    return self.side * factor"
    _, new = made("grouping", code)
    shape = type("Shape", (), {**{k: v for k, v in run(new).items() if callable(v)}, "side": 2})()
    assert shape.group_by_area([1, 2, 1]) == {2: [1, 1], 4: [2]}
    _, new = made("heap", "def area(self):\n    return self.side")
    assert "lambda item: item.area()" in new


JS = "function twice(n) {\n  if (n < 0) {\n    return 0;\n  }\n  return 2 * n;\n}"
JAVA = "public static int total(int[] items) {\n    int sum = 0;\n    for (int i = 0; i < items.length; i++) {\n        sum += items[i];\n    }\n    return sum;\n}"
SH = '#!/bin/bash\n\nfor f in "$1"/*; do\n  echo "$f"\ndone'


def test_a_faulty_attempt_has_one_fault_and_the_answer_names_it():
    for i in range(40):
        out = evolve("Say whether one is over the bound.", HAS, sample=i)
        if out.way == "debug":
            break
    attempt = out.instruction.partition("```python\n")[2].rpartition("\n```")[0]
    changed = [(n, b) for n, (a, b) in enumerate(zip(HAS.split("\n"), attempt.split("\n"), strict=True), 1) if a != b]
    assert changed == [(3, "        if item <= bound:")]
    assert out.response.startswith("In line 3, `<=` must be `>`:\n\n```python\n" + HAS)


def test_instruction_and_response_change_together():
    out = evolve("Find the even numbers", EVEN)
    assert out.instruction.startswith("Find the even numbers") and out.response != EVEN
    assert len({evolve("Do it.", code, sample=i).way for code in (EVEN, SIZE) for i in range(40)}) >= 11
    assert evolve("Find them.", EVEN, sample=4) == evolve("Find them.", EVEN, sample=4)


def test_the_text_around_a_fence_stays():
    text = f"Sure:\n\n```python\n{EVEN}\n```\n\nIt finds them."
    outs = [evolve("Find them.", text, sample=i) for i in range(12)]
    outs = [o for o in outs if o.way != "debug"]
    assert outs and all(o.response.startswith("Sure:\n\n```python\n") for o in outs)
    assert all(o.response.endswith("\n```\n\nIt finds them.") for o in outs)


@pytest.mark.parametrize(
    "instruction, response",
    [
        ("What is it?", "It is a number."),
        ("", EVEN),
        ("Write it.", "def f(:\n    return 1"),
        ("Count.", "SELECT COUNT(*) FROM t;"),
        ("What does it show?", ">>> 1 + 1\n2"),
        ("Two of them.", "```python\na = f()\n```\n```python\nb = f()\n```"),
    ],
)
def test_what_no_rule_evolves(instruction, response):
    assert evolve(instruction, response) is None


@given(st.text(max_size=60), st.text(max_size=200) | st.sampled_from([EVEN, JS, SH, JAVA]), st.integers(0, 3))
def test_any_text_may_come(instruction, response, sample):
    out = evolve(instruction, response, sample=sample)
    assert out is None or (out.instruction != instruction and out.response != response)


def test_library_code_is_evolved_evenly_into_code_that_compiles(library):
    outs = [evolve("Write the function.", text, sample=i) for text in library for i in range(2)]
    outs = [o for o in outs if o]
    for o in outs:
        text = o.response if o.way != "debug" else o.response.partition("python\n")[2].rpartition("\n")[0]
        compile(text.strip("~`"), "code", "exec")
    ways = Counter(o.way for o in outs)
    deep = sum(n for w, n in ways.items() if w in DEEP) / len(outs)
    assert len(outs) > 150 and len([w for w, n in ways.items() if n >= len(outs) / 50]) >= 12
    assert max(ways.values()) <= 0.15 * len(outs) and 0.4 <= deep <= 0.7, ways


def test_every_way_leaves_library_code_that_compiles(library):
    for text in library[:: 3 if os.environ.get("ALCHEMIST_TEST_ALL") else 9]:
        for way in ALL:
            if done := made(way, text):
                assert done[1] != text
                ast.parse(done[1])


def test_real_rows_evolve(data):
    rows = data("gpteacher_codegen.json")[:800:2]
    outs = [o for r in rows if (o := evolve(r["instruction"], r["response"]))]
    assert len(outs) > len(rows) / 4 and len({o.way for o in outs}) >= 10
    assert all(parses(o.response) for o in outs)
