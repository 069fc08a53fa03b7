"""Reviews by rule: findings with lines, marks that follow from them, and refined code that provably does the same."""

from __future__ import annotations

import ast

import pytest
from alchemist_runtime.operators.code import parses
from alchemist_runtime.teachers._refine import normal, refine
from alchemist_runtime.teachers._review import NOTHING, review
from hypothesis import given, settings
from hypothesis import strategies as st

SOUND = '''def area(radius):
    """Compute the area of a circle."""
    return 3.14 * radius * radius
'''

# finding -> (its words, its line, code that has it, code that has not)
FINDINGS = {
    "syntax": ("does not parse", 1, "def f(a:\n    return a", "def f(a):\n    return a"),
    "outside": ("does not compile", 2, "x = 1\nreturn x", "def f(x):\n    return x"),
    "undefined": ("`math` is defined nowhere", 2, "def f(a):\n    return math.sqrt(a)", "import math\ndef f(a):\n    return math.sqrt(a)"),
    "star import": ("defined nowhere", None, None, "from math import *\ndef f(a):\n    return sqrt(a)"),
    "unused variable": ("`rest` is set but never read", 2, "def f(a):\n    rest = a + 1\n    return a", "def f(a):\n    rest = a + 1\n    return rest"),
    "unused import": ("import of `os` is not used", 1, "import os\ndef f(a):\n    return a", "import os\ndef f(a):\n    return os.path.join(a)"),
    "bare except": ("bare `except`", 4, "def f(a):\n    try:\n        return a()\n    except:\n        return 0", "def f(a):\n    try:\n        return a()\n    except ValueError:\n        return 0"),
    "mutable default": ("shared by all calls", 1, "def f(a=[]):\n    return a", "def f(a=()):\n    return a"),
    "unreachable": ("never reached", 3, "def f(a):\n    return a\n    print(a)", "def f(a):\n    print(a)\n    return a"),
    "missing return": ("nothing on others", 1, "def f(a):\n    if a:\n        return 1", "def f(a):\n    if a:\n        return 1\n    return 2"),
    "none by equality": ("Compare with None", 2, "def f(a):\n    return a == None", "def f(a):\n    return a is None"),
    "identity of a number": ("compares identity", 2, "def f(a):\n    return a is 3", "def f(a):\n    return a is None"),
    "tuple assertion": ("always true", 1, "assert (1, 'x')", "assert 1, 'x'"),
    "second definition": ("second time", 3, "def f(a):\n    return a\ndef f(b):\n    return b", "def f(a):\n    return a\ndef g(b):\n    return b"),
    "shadowed": ("hides the built-in", 1, "def f(list):\n    return list", "def f(items):\n    return items"),
    "long line": ("break it up", 1, "value = [" + "1, " * 60 + "]", "value = [1]"),
}  # fmt: skip


@pytest.mark.parametrize("name", FINDINGS)
def test_finding_and_near_miss(name):
    words, line, bad, good = FINDINGS[name]
    if bad is not None:
        found = [s for s in review(bad, lang="python").suggestions if words in s]
        assert found and found[0].startswith(f"Line {line}: ")
    assert not any(words in s for s in review(good, lang="python").suggestions)


@pytest.mark.parametrize(
    "code",
    [
        "def f(a):\n    while True:\n        if a:\n            return 1",
        "def f(a):\n    try:\n        return a()\n    finally:\n        print(a)",
        "def f(a):\n    with a:\n        return 1",
        "def f(a):\n    match a:\n        case 1:\n            return 1\n        case _:\n            return 2",
        "def f(a):\n    if a:\n        return 1\n    else:\n        raise ValueError(a)",
        "def f(a):\n    for x in a:\n        yield x\n    return 3",
        "def f(a):\n    if a:\n        return\n    print(a)",
    ],
)
def test_functions_that_always_return_are_not_blamed(code):
    assert not any("nothing on others" in s for s in review(code, lang="python").suggestions)


def test_sound_code_has_full_marks_and_nothing_to_change():
    made = review(SOUND, "Write a Python function that gives the area of a circle.")
    assert (made.correctness, made.clarity, made.suggestions, made.refined) == (
        10,
        10,
        (NOTHING,),
        SOUND.strip("\n"),
    )


def test_marks_fall_with_the_weight_of_findings():
    broken = review("def f(a:\n    return a", lang="python")
    doubtful = review("def f(a=[]):\n    return a", lang="python")
    assert broken.correctness == 1 < doubtful.correctness == 8 < 10
    assert len(review("def f(list, dict=[]):\n    try:\n        x = 1\n    except:\n        pass\n    return y == None", lang="python").suggestions) == 4  # fmt: skip


def test_the_request_counts():
    wrong = review(SOUND, "Write a Java method that gives the area of a circle.")
    assert wrong.correctness == 4 and "asks for Java" in wrong.suggestions[0]
    assert review(SOUND, "Convert this Java method to another language.").correctness == 10
    assert review(SOUND, "Write a function named circle_area.").correctness == 6
    assert review(SOUND, "Write a function named area.").correctness == 10
    assert review("It is 3.14 times the square.", "Write a function for the area.").correctness == 0
    assert review("It is 3.14 times the square.", "What is the area?").correctness == 5


@pytest.mark.parametrize(
    "lang, bad, words",
    [
        ("javascript", "var x = f(1);\ng(x);", "`const` or `let`"),
        ("javascript", "function f( { return 1; }", "does not parse"),
        ("c", "int main() {\n  char s[9];\n  gets(s);\n  return 0;\n}", "`fgets`"),
        ("cpp", "using namespace std;\nint main() { cout << 1; }", "namespace"),
        ("sql", "SELECT * FROM t;", "Name the columns"),
        ("java", "int f(int n) {\n  return n;}", "closing brace"),
    ],
)
def test_other_languages(lang, bad, words):
    assert any(words in s for s in review(bad, lang=lang).suggestions)


def test_code_is_found_in_fences_and_prose():
    assert review(
        "Here you are:\n```python\n" + SOUND + "```\nIt is exact."
    ).refined == SOUND.strip("\n")
    prose = "You can compute the area of a circle with this:\n\n" + SOUND
    assert review(prose, lang="python").refined == SOUND.strip("\n")


# --- refining -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before, after",
    [
        ("if x == None:\n    f()", "if x is None:\n    f()"),
        ("y = x != None", "y = x is not None"),
        ("ok = not a in b", "ok = a not in b"),
        ("ok = not (a in b)", "ok = a not in b"),
        ("ok = not a is b", "ok = a is not b"),
        ("ok = not a in b and c == None", "ok = a not in b and c is None"),
        ("x = 1   \n\n\n\n\n\ny = 2\n", "x = 1\n\n\ny = 2"),
        (
            "def count_words(text):\n    return len(text)",
            'def count_words(text):\n    """Count words."""\n    return len(text)',
        ),
        (
            "def is_even(n):\n    return n % 2 == 0",
            'def is_even(n):\n    """Tell whether `n` is even."""\n    return n % 2 == 0',
        ),
        (
            "async def fetch_rows():\n    # all\n    return 1",
            'async def fetch_rows():\n    """Fetch rows."""\n    # all\n    return 1',
        ),
    ],
)
def test_python_is_refined(before, after):
    assert refine(before, "python") == after


@pytest.mark.parametrize(
    "code",
    [
        "import numpy as np\nmask = column == None",  # arrays give == a meaning of their own
        "ok = not a == b",
        "ok = not a in b in c",
        'text = """a   \n\n\n\n\nb"""',
        "def f(x): return x",
        "def __init__(self):\n    self.a = 1",
        "def f(a:\n    return a == None   ",
    ],
)
def test_what_cannot_be_proven_stays(code):
    assert refine(code, "python") == code


def test_other_languages_keep_their_tokens():
    assert (
        refine("int f() {   \n\n\n\n\n  return 1;\n}  \n", "c") == "int f() {\n\n\n  return 1;\n}"
    )
    template = "const s = `a   \n\n\n\n\nb`;"
    assert refine(template, "javascript") == template
    assert refine("SELECT 1   ;  ", "sql") == "SELECT 1   ;  "


def _same(before: str, after: str) -> None:
    assert normal(ast.parse(after)) == normal(ast.parse(before))


def test_refined_library_code_keeps_its_tree(library):
    changed = 0
    for text in library:
        made = refine(text, "python")
        assert parses(made, "python")
        _same(text, made)
        assert refine(made, "python") == made
        changed += made != text
    without = [t.replace('"""', "'''") for t in library]
    assert all(normal(ast.parse(refine(t, "python"))) for t in without)


_NAMES = st.sampled_from(["a", "b", "None", "x.y", "f(1)", "(a, b)", "not c", "-a", "[1]"])
_EXPRESSIONS = st.recursive(
    _NAMES,
    lambda inner: st.tuples(inner, st.sampled_from(["==", "!=", "in", "not in", "is", "and", "or", "+"]), inner).map(lambda t: f"({t[0]}) {t[1]} {t[2]}")
    | inner.map(lambda e: f"not {e}")
    | inner.map(lambda e: f"not ({e})"),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(_EXPRESSIONS, min_size=1, max_size=3), st.sampled_from(["", "  ", "\t"]))
def test_refining_expressions_keeps_the_tree(expressions, blank):
    text = "\n".join(f"r{i} = {e}{blank}" for i, e in enumerate(expressions))
    try:
        ast.parse(text)
    except SyntaxError:
        return
    _same(text, refine(text, "python"))


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=300), st.sampled_from([None, "python", "javascript", "java", "bash", "sql"])
)
def test_any_text_can_be_reviewed(text, lang):
    made = review(text, text, lang)
    assert 0 <= made.correctness <= 10 and 0 <= made.clarity <= 10
    assert 1 <= len(made.suggestions) <= 4 and all("\n" not in s for s in made.suggestions)


def test_real_rows_spread_over_the_marks(data):
    rows = data("gpteacher_codegen.json")[:800]
    made = [review(r["response"], r["instruction"]) for r in rows]
    assert len({m.clarity for m in made}) >= 4
    assert sum(m.suggestions != (NOTHING,) for m in made) > len(made) / 3
    for r, m in zip(rows, made, strict=True):
        assert parses(m.refined) or not parses(r["response"])
