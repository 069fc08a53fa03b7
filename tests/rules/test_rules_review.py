"""Reviews: every claim is checked by something else than the rules (ruff, the compiler, the tree), every refinement by
its tree.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys

import pytest
from alchemist_rules import python_code
from alchemist_rules.review import NOTHING, review
from alchemist_rules.snippet import snippet
from alchemist_runtime.code.functions import parses
from hypothesis import given
from hypothesis import strategies as st

SOUND = 'def area(radius):\n    """Compute the area of a circle."""\n    return 3.14 * radius * radius'

# finding -> (its words, code that has it, the code refined, code that has it not)
PYTHON = {
    "unimported": (
        "never imported",
        "def f(a):\n    return math.sqrt(a)",
        "import math\n\ndef f(a):\n    return math.sqrt(a)",
        "from math import *\ndef f(a):\n    return sqrt(a)",
    ),
    "identity": ("Identity with a literal", "x = a() is 3", "x = a() == 3", "x = 3 is None"),
    "tuple assertion": ("always holds", "assert (1, 'x')", "assert 1, 'x'", "assert 1, 'x'"),
    "default": (
        "all calls share",
        "def f(a=[]):\n    return a",
        "def f(a=None):\n    if a is None:\n        a = []\n    return a",
        "def f(a=()):\n    return a",
    ),
    "bare except": (
        "bare `except`",
        "try:\n    f = 1\nexcept:\n    f = 2",
        "try:\n    f = 1\nexcept Exception:\n    f = 2",
        "try:\n    f = 1\nexcept:\n    raise",
    ),
    "none": (
        "None is compared",
        "def f(a):\n    return a == None",
        "def f(a):\n    return a is None",
        "import numpy as np\ndef f(a):\n    return np.sum(a) == None",
    ),
    "not in": (
        "negation",
        "def f(a, b):\n    return not a in b",
        "def f(a, b):\n    return a not in b",
        "def f(a, b):\n    return not a == b",
    ),
    "condition": (
        "Return the test",
        "def f(a):\n    if a in 'xy':\n        return True\n    else:\n        return False",
        "def f(a):\n    return a in 'xy'",
        "def f(a):\n    if a:\n        return True\n    else:\n        return False",
    ),
    "opposite": (
        "Return the negated test",
        "def f(a):\n    if a:\n        return False\n    else:\n        return True",
        "def f(a):\n    return not (a)",
        "def f(a):\n    if a:\n        return False\n    else:\n        return 1",
    ),
    "is not": (
        "write `is not`",
        "def f(a, b):\n    return not a is b",
        "def f(a, b):\n    return a is not b",
        "def f(a, b):\n    return not a == b",
    ),
    "else": (
        "`else` is not needed",
        "def f(a):\n    if a:\n        return 1\n    else:\n        a = 2\n    return a",
        "def f(a):\n    if a:\n        return 1\n    a = 2\n    return a",
        "def f(a):\n    if a:\n        return 1\n    elif a is None:\n        return 3\n    else:\n        return 2",
    ),
    "range": ("begins at 0", "x = list(range(0, 9))", "x = list(range(9))", "x = list(range(0, 9, 2))"),
    "list": (
        "needs no list",
        "def f(a):\n    return sum([x * x for x in a])",
        "def f(a):\n    return sum(x * x for x in a)",
        "def f(a):\n    return any([x() for x in a])",
    ),
    "docstring": (
        "single quotes",
        "def f(a):\n    'Do.'\n    return a",
        'def f(a):\n    """Do."""\n    return a',
        "def f(a):\n    return 'Do.'",
    ),
    "print": ("does not parse", "print 'a'", "print('a')", "print('a')"),
    "colon": ("does not parse", "def f(a)\n    return a", "def f(a):\n    return a", "def f(a):\n    return a"),
    "bracket": ("does not parse", "x = max(1, 2", "x = max(1, 2)", "x = max(1, 2)"),
}
OTHERS = {
    "java text": (
        "java",
        "must be a string",
        "class A { String s = 'ab' + 1; }",
        'class A { String s = "ab" + 1; }',
        "class A { char c = 'a'; }",
    ),
    "braces": (
        "c",
        "has no braces",
        "int f(int a) {\n    if (a)\n        return 1;\n    return 2;\n}",
        "int f(int a) {\n    if (a) {\n        return 1;\n    }\n    return 2;\n}",
        "int f(int a) {\n    if (a) {\n        return 1;\n    }\n    return 2;\n}",
    ),
    "closing": (
        "javascript",
        "closing brace",
        "function f(a) {\n    return a;}",
        "function f(a) {\n    return a;\n}",
        "const a = [1].map((x) => { return x; });",
    ),
    "missing token": (
        "java",
        "does not parse",
        "class A { int f() { return 1 } }",
        "class A { int f() { return 1; } }",
        "class A { int f() { return 1; } }",
    ),
    "comma": ("json", "does not parse", '{"a": [1, 2,]}', '{"a": [1, 2]}', '{"a": [1, 2]}'),
}
CASES = {k: ("python", *v) for k, v in PYTHON.items()} | OTHERS


@pytest.mark.parametrize("name", CASES)
def test_a_finding_is_mended_and_a_near_miss_is_none(name):
    lang, words, bad, refined, good = CASES[name]
    made = review(bad, lang=lang)
    assert any(words in s for s in made.suggestions), made
    assert made.refined == refined
    near = review(good, lang=lang)
    assert not any(words in s for s in near.suggestions)
    assert not any(words in s for s in review(refined, lang=lang).suggestions)


def test_what_no_rule_mends_is_said_to_stay():
    made = review("def f(a:\n    return a +", lang="python")
    assert made.correctness == 1 and made.refined == "def f(a:\n    return a +"
    assert "No rule mends this, so the code below is as it was." in made.suggestions
    some = review("def f(a):\n    return a == None\nreturn f", "Write it.", "python")
    assert (some.correctness, some.refined) == (4, "def f(a):\n    return a is None\nreturn f")
    assert some.suggestions[-1] == "The refined code leaves open: The code does not compile: 'return' outside function."


def test_sound_code_has_full_marks_and_is_said_to_stay():
    made = review(SOUND, "Write a Python function that gives the area of a circle.")
    assert made == type(made)(10, 10, (NOTHING,), SOUND)


@pytest.mark.parametrize(
    "response, request_",
    [
        ("It is 3.14 times the square.", "What is the area?"),
        (">>> 1 + 1\n2", "What does the prompt show?"),
        ("SELECT name FROM staff;", "Write a query."),
        ("def twice(n)\n  n * 2\nend", "Write a Ruby function."),
    ],
)
def test_what_rules_cannot_judge_gets_no_marks(response, request_):
    assert review(response, request_) is None


def test_a_part_of_a_class_or_module_is_not_blamed_for_what_the_rest_imports():
    part = "def size(self):\n    return math.ceil(self._size)"
    assert review(part, "Write the method `size(self)` of the Python class `Box`.").correctness == 10
    cut = "def size(data):\n    return math.ceil(data)"
    assert review(cut, "Write the Python function `size(data)` for the module `boxes`.").correctness == 10
    assert review(cut, "Write a Python function that rounds up.").correctness == 7
    assert review("def size(math):\n    return math.ceil(1)", "Write it.").correctness == 10


def test_lines_of_the_same_finding_are_told_together():
    made = review("a = x() == None\nb = 1\nc = y() == None\nx = y = print", lang="python")
    assert made.suggestions == ("Lines 1 and 3: None is compared by value; use `is`.",)
    assert (made.correctness, made.clarity) == (10, review("a = 1", lang="python").clarity - 3 + 2)


def test_code_is_found_in_fences_and_prose():
    assert review(f"Here you are:\n```python\n{SOUND}\n```\nIt is exact.").refined == SOUND
    prose = f"You can compute the area of a circle with this:\n\n{SOUND}"
    assert review(prose, lang="python") is None  # where the code begins is not known
    assert review(prose.replace(":\n", ": see\n").replace("return", "return ("), lang="python") is None


# --- real code --------------------------------------------------------------------------------------------------------

#: Words of a claim -> the rules of ruff that say the same. What ruff has no rule for is held by the tree alone.
RUFF = {
    "never imported": "F821",
    "all calls share": "B006",
    "bare `except`": "E722",
    "Identity": "F632",
    "None is compared": "E711",
    "negation": "E71[34]",
    "Return the": "SIM103",
    "`else` is not": "RET50|RET51",
    "needs no list": "C4",
    "begins at": "PIE808",
    "docstring stands": "D300|Q002",
    "always holds": "F631",
}


def layout_only(made) -> bool:
    return all("single quotes" in s for s in made.suggestions if s != NOTHING)


def test_every_claim_about_real_python_is_confirmed_by_ruff(data, library, tmp_path):
    rows = [(r["text"], r["code"].replace("\r\n", "\n")) for r in data("mbpp_11_260.jsonl")[::2]]
    rows += [(r["instruction"], r["response"]) for r in data("gpteacher_codegen.json")[::6]]
    rows += [("Write the function for the module.", text) for text in library[::2]]
    claims = []
    for i, (request, response) in enumerate(rows):
        code = snippet(response, request)
        made = review(response, request) if code and code.lang == "python" else None
        if made is None or not parses(code.code, "python"):
            continue
        said = made.suggestions != (NOTHING,)
        stays = any("as it was" in s for s in made.suggestions)
        assert (made.refined != code.code) == (said and not stays)
        assert parses(made.refined, "python")
        if layout_only(made):
            assert ast.dump(ast.parse(made.refined)) == ast.dump(ast.parse(code.code))
        (tmp_path / f"f{i}.py").write_text(code.code + "\n")
        for s in made.suggestions:
            rule = next((r for words, r in RUFF.items() if re.search(words, s)), None)
            if rule and s.startswith("Line"):
                claims.append((f"f{i}.py", rule, s))
    select = "E,F,W,B,SIM,RET,C4,PIE,UP,D300,Q002,A001"
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--preview",
        "--no-cache",
        "--output-format",
        "json",
    ]
    ran = subprocess.run(
        [*command, "--target-version", "py311", "--select", select, str(tmp_path)], capture_output=True, text=True
    )
    found: dict[str, str] = {}
    for x in json.loads(ran.stdout):
        name = x["filename"].rpartition("/")[2]
        found[name] = found.get(name, "") + f" {x['code']}"
    assert len(claims) > 40
    false = [c for c in claims if not re.search(c[1], found.get(c[0], ""))]
    assert not false, false


def test_refined_code_of_real_rows_parses(data):
    rows = data("gpteacher_codegen.json")[:900:4] + data("codealpaca_2k.json")[::9]
    marks, changed = set(), 0
    for r in rows:
        response = r.get("response") or r["output"]
        made, code = review(response, r["instruction"]), snippet(response, r["instruction"])
        if made is not None and code is not None:
            marks.add((made.correctness, made.clarity))
            changed += made.refined != code.code
            assert parses(made.refined, code.lang) or not parses(code.code, code.lang)
    assert len(marks) >= 8 and changed > 60


@given(
    st.text(max_size=300) | st.text(alphabet="if x==1:;(\n ) return\t,", max_size=80),
    st.sampled_from([None, "python", "javascript", "java", "bash", "json"]),
)
def test_any_text_can_be_reviewed(text, lang):
    made = review(text, text, lang)
    if made is not None:
        assert 0 <= made.correctness <= 10 and 0 <= made.clarity <= 10
        assert made.suggestions and all("\n" not in s for s in made.suggestions)
        source = python_code.parse(text.strip("\n")) if lang == "python" else None
        if source is not None and layout_only(made):
            assert ast.dump(ast.parse(made.refined)) == ast.dump(source.tree)
