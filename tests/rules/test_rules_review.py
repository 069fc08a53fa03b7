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
from alchemist_runtime.code.functions import parses
from alchemist_runtime.teachers._rules import pysource
from alchemist_runtime.teachers._rules.review import NOTHING, review
from alchemist_runtime.teachers._rules.shown import shown
from hypothesis import given, settings
from hypothesis import strategies as st

SOUND = 'def area(radius):\n    """Compute the area of a circle."""\n    return 3.14 * radius * radius'

# finding -> (its words, code that has it, the code refined, code that has it not)
PYTHON = {
    "undefined": (
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
        "already says",
        "def f(a):\n    if a in 'xy':\n        return True\n    return False",
        "def f(a):\n    return a in 'xy'",
        "def f(a):\n    if a:\n        return True\n    return False",
    ),
    "else": (
        "`else` is not needed",
        "def f(a):\n    if a:\n        return 1\n    else:\n        a = 2\n    return a",
        "def f(a):\n    if a:\n        return 1\n    a = 2\n    return a",
        "def f(a):\n    if a:\n        return 1\n    elif a is None:\n        return 3\n    else:\n        return 2",
    ),
    "loop variable": (
        "never reads its variable",
        "for i in range(3):\n    print('x')",
        "for _ in range(3):\n    print('x')",
        "for i in range(3):\n    print(f'{i}')",
    ),
    "swap": (
        "exchanged",
        "def f(a, b):\n    c = a\n    a = b\n    b = c\n    return a, b",
        "def f(a, b):\n    a, b = b, a\n    return a, b",
        "def f(a, b):\n    c = a\n    a = b\n    b = c\n    return a, b, c",
    ),
    "range": ("begins at 0", "x = list(range(0, 9))", "x = list(range(9))", "x = list(range(0, 9, 2))"),
    "open": (
        "reads by default",
        "with open('a', 'r') as f:\n    f.read()",
        "with open('a') as f:\n    f.read()",
        "with open('a', 'w') as f:\n    f.close()",
    ),
    "list": (
        "needs no list",
        "def f(a):\n    return sum([x * x for x in a])",
        "def f(a):\n    return sum(x * x for x in a)",
        "def f(a):\n    return any([x() for x in a])",
    ),
    "shadowed": (
        "hides the built-in",
        "def f(a):\n    sum = 0\n    for x in a:\n        sum += x\n    return sum",
        "def f(a):\n    total = 0\n    for x in a:\n        total += x\n    return total",
        "def f(sum):\n    return sum",
    ),
    "import": (
        "never used",
        "import os, re\nx = re.compile('a')",
        "import re\nx = re.compile('a')",
        "import os\n__all__ = ['os']",
    ),
    "docstring": (
        "single quotes",
        "def f(a):\n    'Do.'\n    return a",
        'def f(a):\n    """Do."""\n    return a',
        "def f(a):\n    return 'Do.'",
    ),
    "semicolons": ("Semicolons", "a = 1; b = 2;", "a = 1\nb = 2", "a = ';'"),
    "parentheses": (
        "parentheses after `if`",
        "a = 1\nif (a > 0):\n    a = 2",
        "a = 1\nif a > 0:\n    a = 2",
        "a = 1\nif (a > 0) and (a < 9):\n    a = 2",
    ),
    "spacing": (
        "spaces that PEP 8",
        "a=[1,2]\nb = a==[3]",
        "a = [1, 2]\nb = a == [3]",
        "def f(a, *, b=1):\n    return a[1:2], b",
    ),
    "white space": ("ends in white space", "a = 1  \nb = 2", "a = 1\nb = 2", 'a = """x  \n"""'),
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
    "var": (
        "javascript",
        "`var` is visible",
        "function f() {\n  var a = 1;\n  return a;\n}",
        "function f() {\n  const a = 1;\n  return a;\n}",
        "function f(b) {\n  if (b) {\n    var a = 1;\n  }\n  return a;\n}",
    ),
    "quotes": (
        "bash",
        "falls apart",
        "if [ -e $1 ]; then\n  ls\nfi",
        'if [ -e "$1" ]; then\n  ls\nfi',
        "if [[ -e $1 ]]; then\n  ls\nfi",
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
    some = review("def f(a):\n    return g(a) == None", "Write it.", "python")
    assert some.refined == "def f(a):\n    return g(a) is None"
    assert some.suggestions[-1] == "The refined code leaves open: `g` is used and defined nowhere in the code."


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


def test_a_part_of_a_class_or_module_is_not_blamed_for_what_the_rest_defines():
    part = "def unshare_mask(self):\n    return _copy(self._mask)"
    assert review(part, "Write the method `unshare_mask(self)` of the Python class `MaskedArray`.").correctness == 10
    cut = "def decompress(data):\n    return Decompressor().all(data)"
    assert review(cut, "Write the Python function `decompress(data)` for the module `bz2`.").correctness == 10
    assert review(cut, "Use Decompressor:\nclass Decompressor: ...").correctness == 10
    assert review(cut, "Write a Python function that decompresses data.").correctness == 7


def test_the_request_counts():
    wrong = review(SOUND, "Write a Java method that gives the area of a circle.")
    assert wrong.correctness == 4 and "asks for Java" in wrong.suggestions[0]
    assert review(SOUND, "Convert this Java method to another language.").correctness == 10
    named = review(SOUND, "Write a function named circle_area.")
    assert named.correctness == 6 and named.refined == SOUND.replace("def area", "def circle_area")
    assert review(SOUND, "Write a function named area.").correctness == 10
    none = review("It is 3.14 times the square.", "Write a function for the area.")
    assert (none.correctness, none.refined) == (0, "It is 3.14 times the square.")


def test_lines_of_the_same_finding_are_told_together():
    made = review("a = x() == None\nb = 1\nc = y() == None\nx = y = print", lang="python")
    assert made.suggestions == ("Lines 1 and 3: None is compared by value; use `is`.",)
    assert (made.correctness, made.clarity) == (10, review("a = 1", lang="python").clarity - 3 + 2)


def test_code_is_found_in_fences_and_prose():
    assert review(f"Here you are:\n```python\n{SOUND}\n```\nIt is exact.").refined == SOUND
    prose = f"You can compute the area of a circle with this:\n\n{SOUND}"
    assert review(prose, lang="python").refined == SOUND


# --- real code --------------------------------------------------------------------------------------------------------

#: Words of a claim -> the rules of ruff that say the same. What ruff has no rule for is held by the tree alone.
RUFF = {
    "never imported|defined nowhere": "F821",
    "all calls share": "B006",
    "bare `except`": "E722",
    "Identity": "F632",
    "None is compared": "E711",
    "negation": "E71[34]",
    "already says|opposite": "SIM103",
    "`else` is not": "RET50|RET51",
    "line of its head": "E701",
    "never reads": "B007",
    "needs no list": "C4",
    "begins at": "PIE808",
    "reads by default": "UP015",
    "hides the built-in": "A001",
    "never used": "F401",
    "docstring stands": "D300|Q002",
    "Semicolons": "E70[23]",
    "spaces that PEP": "E2[23]",
    "white space": "W29",
    "always holds": "F631",
}


def layout_only(made) -> bool:
    words = r"white space|spaces that PEP|Semicolons|parentheses|line of its head|single quotes"
    return all(re.search(words, s) for s in made.suggestions if s != NOTHING)


def test_every_claim_about_real_python_is_confirmed_by_ruff(data, library, tmp_path):
    rows = [(r["text"], r["code"].replace("\r\n", "\n")) for r in data("mbpp_11_260.jsonl")[::3]]
    rows += [(r["instruction"], r["response"]) for r in data("gpteacher_codegen.json")[::15]]
    rows += [("Write the function for the module.", text) for text in library[::2]]
    claims = []
    for i, (request, response) in enumerate(rows):
        code = shown(response, request)
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
    assert len(claims) > 60
    false = [c for c in claims if not re.search(c[1], found.get(c[0], ""))]
    assert not false, false


def test_refined_code_of_real_rows_parses(data):
    rows = data("gpteacher_codegen.json")[:900:4] + data("codealpaca_2k.json")[::9]
    marks, changed = set(), 0
    for r in rows:
        response = r.get("response") or r["output"]
        made, code = review(response, r["instruction"]), shown(response, r["instruction"])
        if made is not None and code is not None:
            marks.add((made.correctness, made.clarity))
            changed += made.refined != code.code
            assert parses(made.refined, code.lang) or not parses(code.code, code.lang)
    assert len(marks) >= 8 and changed > 60


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=300) | st.text(alphabet="if x==1:;(\n ) return\t,", max_size=80),
    st.sampled_from([None, "python", "javascript", "java", "bash", "json"]),
)
def test_any_text_can_be_reviewed(text, lang):
    made = review(text, text, lang)
    if made is not None:
        assert 0 <= made.correctness <= 10 and 0 <= made.clarity <= 10
        assert made.suggestions and all("\n" not in s for s in made.suggestions)
        source = pysource.parse(text.strip("\n")) if lang == "python" else None
        if source is not None and layout_only(made):
            assert ast.dump(ast.parse(made.refined)) == ast.dump(source.tree)
