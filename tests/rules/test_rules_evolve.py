"""Evolution by rule: the new code does what is newly asked, and otherwise what it did before; shown by running both."""

from __future__ import annotations

import contextlib
import io
import subprocess

import pytest
from alchemist_runtime.operators.code import parses
from alchemist_runtime.teachers._evolve import WAYS, evolve, fitting
from hypothesis import given, settings
from hypothesis import strategies as st

FIB = "def fib(n):\n    if n < 2:\n        return n\n    return fib(n - 1) + fib(n - 2)\n\nprint([fib(i) for i in range(12)])"
EVEN = "def evens(values):\n    # what is found\n    found = []\n    for v in values:\n        if v % 2 == 0:\n            found.append(v)\n    return found\n\nprint(evens([1, 2, 4]), sum(evens(range(9))))"
GREET = "def greet(name, mark='!', times=1):\n    return ' '.join([name + mark] * times)\n\nprint(greet('a'), greet('b', times=2))"
DOCTEST = 'def double(n):\n    """Double a number.\n\n    >>> double(2)\n    4\n    >>> double(-1)\n    -2\n    """\n    return 2 * n\n\nprint(double(4))'
CAMEL = "def addTwo(a, b):\n    return a + b\n\nprint(addTwo(1, 2))"
SCRIPT = "import math\n\n# the radii\nradii = [1, 2]\nareas = [math.pi * r * r for r in radii]\nfor a in areas:\n    print(a)"
FLAG = "def big(values):\n    out = {}\n    for v in values:\n        out[v] = v > 3\n    return out\n\nprint(big([1, 5]))"

# way -> (code it fits, what the new code must hold, near misses it must not fit)
PYTHON = {
    "type hints": (FLAG, "-> dict:", ["def f(a: int):\n    return a", "def f(a):\n    return a", "def f(a):\n    if a:\n        return 1", "def f(a, len):\n    return len(a)"]),
    "none check": (EVEN, "raise ValueError", ["def f():\n    return 1", "def f(a=1):\n    return a", "def f(a):\n    if not a:\n        return 0\n    return a", "def f(a):\n    return a is None", "def f(a):\n    yield a", "def f(n):\n    return f(n.next)"]),
    "memoise": (FIB, "@lru_cache", ["def f(n):\n    return n - 1", "def f(n):\n    print(n)\n    return f(n - 1)", "def f(a):\n    return f(a[1:])", "def f(n):\n    return f(n - step)", "def f(s):\n    return f(s)"]),
    "generator": (EVEN, "yield v", ["def f(a):\n    out = [1]\n    for x in a:\n        out.append(x)\n    return out", "def f(a):\n    out = []\n    for x in a:\n        if x in out:\n            out.append(x)\n    return out", "def f(a):\n    out = []\n    for x in a:\n        if x:\n            return out\n        out.append(x)\n    return out", "def f(a):\n    out = []\n    for x in a:\n        out.append(x)\n    return out\n\ng = f"]),
    "docstring": (EVEN, "Args:", ['def f(a):\n    """Doc."""\n    return a', "def f(a): return a"]),
    "example checks": (DOCTEST, "assert double(-1) == -2", ['def f(a):\n    """Doc."""\n    return a', 'def f(a):\n    """D.\n\n    >>> f(1)\n    <object>\n    """\n    return a']),
    "main guard": (FIB, '__name__ == "__main__"', ["def f():\n    return 1", "print(1)", "def f():\n    return LIMIT\n\nLIMIT = 3\nprint(f())", 'def f():\n    return 1\n\nprint("""a\nb""")']),
    "main function": (SCRIPT, "def main():", ["def f():\n    return 1\n\nf()\nf()\nf()", "a = 1", "sum = sum([1])\nb = 2\nprint(sum)", 'a = """x\ny"""\nb = 1\nprint(a)', "x = 1\nf = lambda: x\nprint(f())"]),
    "logging": (EVEN, "logger.debug(", ["import logging\ndef f(a):\n    b = a\n    return b", "def f(a):\n    return a"]),
    "snake case": (CAMEL, "def add_two(", ["def add(a):\n    return a", "def addTwo(a):\n    return 'addTwo'", "def addTwo(add_two):\n    return add_two"]),
    "keyword only": (GREET, "*, mark=", ["def f(a):\n    return a", "def f(a, b=1):\n    return a\n\nf(1, 2)", "def f(a=1):\n    return a", "def f(a=1, /):\n    return a", "def f(a=1, /, b=2):\n    return a + b"]),
}  # fmt: skip


def run(code: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "code", "exec"), {"__name__": "__main__"})
    return out.getvalue()


@pytest.mark.parametrize("way", PYTHON)
def test_python_way_fits_changes_and_keeps_what_the_code_does(way):
    code, mark, near = PYTHON[way]
    wordings, new = WAYS[way](code, "python")
    assert mark in new and mark not in code
    assert parses(new, "python") and all(w.endswith(".") for w in wordings)
    assert run(new) == run(code) != ""
    for text in near:
        assert parses(text, "python")
        assert WAYS[way](text, "python") is None, text


def test_what_is_newly_asked_is_done():
    space = {}
    exec(WAYS["none check"](EVEN, "python")[1], space)
    with pytest.raises(ValueError, match="values"):
        space["evens"](None)
    exec(WAYS["memoise"](FIB, "python")[1], space)
    assert space["fib"](80) == 23416728348467685
    exec(WAYS["generator"](EVEN, "python")[1], space)
    assert next(space["evens"](iter([3, 8]))) == 8
    exec(WAYS["keyword only"](GREET, "python")[1], space)
    with pytest.raises(TypeError):
        space["greet"]("a", "?")
    exec(WAYS["docstring"](EVEN, "python")[1], space)
    assert "values" in space["evens"].__doc__
    exec(WAYS["type hints"](FLAG, "python")[1], space)
    assert space["big"].__annotations__ == {"return": "dict"}  # by `annotations` of this file
    quiet = {"__name__": "module"}
    exec(WAYS["main guard"](FIB, "python")[1], quiet)
    assert "fib" in quiet


def test_logging_says_what_was_called(caplog):
    space = {}
    with caplog.at_level("DEBUG"):
        exec(
            WAYS["logging"](GREET.replace("    return", "    times += 0\n    return"), "python")[1],
            space,
        )
    assert "greet(name='a')" in caplog.text


JAVA = "public static String twice(String word, int n) {\n    String out = word;\n    return out + out + n;\n}"
JS = "function twice(list) {\n  return list.concat(list);\n}\n\nconsole.log(twice([1]));"
SH = '#!/bin/bash\n\nfor f in "$1"/*; do\n  echo "$f"\ndone'

OTHERS = [
    ("doc comment", "javascript", JS, "@param list", [JS.replace("function", "// twice\nfunction", 1), "f(1);"]),
    ("doc comment", "java", JAVA, "@param n", []),
    ("doc comment", "c", "int add(int a, int b) {\n    return a + b;\n}", "@param b", ["int main() {\n    return 0;\n}"]),
    ("doc comment", "cpp", "#include <vector>\nint size(const std::vector<int>& items) {\n    return items.size();\n}", "@param items", []),
    ("doc comment", "go", "package p\n\nfunc add(a, b int) int {\n\treturn a + b\n}", "// It takes a, b.", []),
    ("doc comment", "rust", "fn add(a: i32, b: i32) -> i32 {\n    a + b\n}", "/// * `b`", []),
    ("doc comment", "typescript", "export function add(a: number, b: number): number {\n  return a + b;\n}", "@param a", []),
    ("export", "javascript", JS, "module.exports = { twice }", ["export function f() {}", "function f() { document.title = 'a'; }"]),
    ("null check", "javascript", JS, "list === undefined", ["function f(a) {\n  if (!a) return 1;\n  return a;\n}", "function f(a = 1) {\n  return a;\n}"]),
    ("null check", "java", JAVA, "word == null", [JAVA.replace("String word", "int word"), JAVA.replace("return", "if (word == null) return \"\"; return")]),
    ("final parameters", "java", JAVA, "final String word, final int n", [JAVA.replace("return", "n = 2; return"), JAVA.replace("return", "n++; return")]),
    ("strict shell", "bash", SH, "set -euo pipefail", [SH.replace("#!/bin/bash", "#!/bin/sh"), "#!/bin/bash\nset -e\nls"]),
    ("usage check", "bash", SH, '"$#" -lt 1', ["#!/bin/bash\nls", "#!/bin/bash\nf() { echo $1; }\nf a"]),
]  # fmt: skip


@pytest.mark.parametrize("way, lang, code, mark, near", OTHERS)
def test_other_languages(way, lang, code, mark, near):
    _, new = WAYS[way](code, lang)
    assert mark in new and mark not in code
    assert parses(new, lang)
    for text in near:
        assert WAYS[way](text, lang) is None, text


def test_evolved_shell_scripts_run(tmp_path):
    (tmp_path / "a.txt").write_text("")
    for way in ("strict shell", "usage check"):
        new = WAYS[way](SH, "bash")[1]
        ran = subprocess.run(
            ["bash", "-c", new, "x", str(tmp_path)], capture_output=True, text=True
        )
        assert (ran.returncode, ran.stdout) == (0, f"{tmp_path}/a.txt\n")
    assert subprocess.run(["bash", "-c", new, "x"], capture_output=True).returncode == 1


def test_every_kind_of_code_has_several_ways():
    assert len(fitting(EVEN, "python")) >= 5
    assert len(fitting(JS, "javascript")) >= 3
    assert len(fitting(JAVA, "java")) >= 3


def test_instruction_and_response_change_together():
    made = evolve("Find the even numbers", EVEN)
    assert made.instruction.startswith("Find the even numbers. ") and made.response != EVEN
    assert {evolve("Find the even numbers.", EVEN, sample=i).way for i in range(30)} >= {
        "none check",
        "generator",
        "docstring",
    }
    assert evolve("Find the even numbers.", EVEN, sample=4) == evolve(
        "Find the even numbers.", EVEN, sample=4
    )


def test_the_text_around_a_fence_stays():
    made = evolve("Add up.", "Sure:\n\n```python\n" + CAMEL + "\n```\n\nIt adds both.")
    assert made.response.startswith("Sure:\n\n```python\n") and made.response.endswith(
        "\n```\n\nIt adds both."
    )
    assert CAMEL not in made.response


@pytest.mark.parametrize(
    "instruction, response",
    [
        ("What is it?", "It is a number."),
        ("", EVEN),
        ("Write it.", "def f(:\n    return 1"),
        ("Count.", "SELECT COUNT(*) FROM t;"),
        ("Two of them.", "```python\na = f()\n```\n```python\nb = f()\n```"),
    ],
)
def test_what_no_rule_evolves(instruction, response):
    assert evolve(instruction, response) is None


@settings(max_examples=120, deadline=None)
@given(
    st.text(max_size=60),
    st.text(max_size=200) | st.sampled_from([EVEN, JS, SH, JAVA]),
    st.integers(0, 3),
)
def test_any_text_may_come(instruction, response, sample):
    made = evolve(instruction, response, sample=sample)
    assert made is None or (made.instruction != instruction and made.response != response)


def test_library_code_is_evolved_into_code_that_parses(library):
    ways = [(w, WAYS[w](text, "python")) for text in library[:150] for w in PYTHON]
    made = [(w, m) for w, m in ways if m is not None]
    assert len(made) > 150
    assert all(parses(new, "python") for _, (_, new) in made)
    for _, (_, new) in made:
        compile(new, "code", "exec")


def test_real_rows_evolve(data):
    rows = data("gpteacher_codegen.json")[:600]
    made = [evolve(r["instruction"], r["response"]) for r in rows]
    found = [m for m in made if m]
    assert len(found) > len(rows) / 2
    assert len({m.way for m in found}) >= 10
    assert all(parses(m.response) for m in found)
