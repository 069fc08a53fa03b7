"""Which language a text holds, whether it parses, how clear and organised it is: pinned results."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest
from alchemist_runtime.code.functions import blocks, clarity, code, fences, lang, organised, parses
from hypothesis import given
from hypothesis import strategies as st

SAMPLES = {
    "python": "def area(r):\n    return 3.14 * r * r",
    "javascript": "const total = items.reduce((a, b) => a + b, 0);\nconsole.log(total);",
    "typescript": "interface Point {\n  x: number;\n  y: number;\n}\nfunction norm(p: Point): number {\n  return p.x + p.y;\n}",
    "java": "public static int twice(int n) {\n    return 2 * n;\n}",
    "c": '#include <stdio.h>\nint main(void) {\n    printf("hi\\n");\n    return 0;\n}',
    "cpp": "#include <iostream>\nint main() {\n    std::cout << 1 << std::endl;\n}",
    "go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("hi")\n}',
    "rust": 'fn main() {\n    let mut n = 1;\n    n += 1;\n    println!("{}", n);\n}',
    "bash": '#!/bin/bash\nfor f in *.txt; do\n  echo "$f"\ndone',
    "sql": "SELECT name FROM staff WHERE salary > 100;",
    "html": "<!DOCTYPE html>\n<html><body><p>Hi</p></body></html>",
    "json": '{"name": "Ada", "tags": ["x"]}',
    "csharp": "using System;\nclass Program {\n    static void Main(string[] args) {\n        Console.WriteLine(1);\n    }\n}",
    "css": "h1 {\n  color: red;\n}",
    "php": "<?php\necho strtoupper($name);\n?>",
    "ruby": "def twice(n)\n  n * 2\nend\n\nputs twice(4)",
    "swift": "func twice(_ n: Int) -> Int {\n    return 2 * n\n}",
    "kotlin": "fun twice(n: Int): Int {\n    return 2 * n\n}",
    "haskell": "twice :: Int -> Int\ntwice n = 2 * n",
    "perl": "use strict;\nmy $n = 3;\nprint $n;",
    "r": "twice <- function(n) {\n  2 * n\n}",
    "powershell": "Get-ChildItem -Path C:\\ | Write-Host",
    "scala": "object Main extends App {\n  println(1)\n}",
}
NO_CODE = (
    "",
    "   \n",
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n#### 72",
    "The function returns the sum of the two numbers, and it prints the result.",
    "You can use the `print()` function to write a line to the screen.",
    "Select the customers from the list where the city is known.",
    "Paris (France)",
    "import goods from overseas",
    "x = 10",
    "[1, 2, 3]",
    "42",
    "Yes",
    "Area = length * width",
    "name: Ada\nage: 36",
    "1. Wash the apples.\n2. Peel them.\n3. Cut them into pieces.",
)


@pytest.mark.parametrize("name", SAMPLES)
def test_language_by_syntax(name):
    assert lang(SAMPLES[name]) == name


@pytest.mark.parametrize("text", NO_CODE)
def test_prose_and_values_are_no_code(text):
    assert lang(text) is None
    assert code(text) is None
    assert parses(text) is True  # nothing to hold against it


@pytest.mark.parametrize(
    "tag, name",
    [("py", "python"), ("C++", "cpp"), ("golang", "go"), ("sh", "bash"), ("Python3", "python"), ("elixir", "elixir")],
)
def test_a_fence_tag_comes_first(tag, name):
    assert lang(f"Here:\n\n```{tag}\nx = 1\n```\n") == name


def test_language_of_several_blocks_is_the_largest():
    text = "Install:\n```bash\npip install x\n```\nThen:\n```python\nimport x\nx.run()\nprint(x.result)\n```\nIt prints:\n```text\n42\n```"
    assert lang(text) == "python"
    assert code(text) == "import x\nx.run()\nprint(x.result)"
    assert fences(text) == 3
    assert [b[0] for b in blocks(text)] == ["bash", "python"]


def test_blocks_are_joined_by_a_blank_line():
    assert code("```python\na = f()\n```\ntext\n```py\nb = g()\n```") == "a = f()\n\nb = g()"


def test_untagged_fence_is_read_by_syntax():
    assert lang("```\ndef f():\n    return 1\n```") == "python"


def test_open_fence_runs_to_the_end():
    assert code("```python\ndef f():\n    return 1") == "def f():\n    return 1"
    assert fences("```python\nx") == 1


def test_fences_inside_longer_fences_and_lists():
    assert fences("````md\n```python\nx\n```\n````") == 1
    assert code("1. Do:\n\n   ```python\n   def f():\n       return 1\n   ```") == "def f():\n    return 1"
    assert fences("Use ```x``` here.") == 0


def test_python_that_holds_fences_is_taken_whole():
    text = 'def f():\n    """Example:\n\n    ```\n    f()\n    ```\n    """\n    return 1'
    assert lang(text) == "python"
    assert code(text) == text


def test_code_without_fences_is_the_whole_text_if_it_parses():
    for name, text in SAMPLES.items():
        assert code(text) == text, name
    assert code("def f(:\n    return 1") is None


def test_broken_code_keeps_its_language():
    assert lang("def f(a, b):\nreturn a +") == "python"
    assert lang("public static int f(int a) {\n    return a") == "java"
    assert not parses("def f(a, b):\nreturn a +")


BROKEN = {
    "python": "def area(r:\n    return 3",
    "javascript": "function f( { return 1; }",
    "typescript": "function f(a: ): number { return 1",
    "java": "public int f(int a) { return a }",
    "c": "int main( { return 0; }",
    "cpp": "int main() { std::cout << ; }",
    "go": "func main() { fmt.Println( }",
    "rust": "fn main() { let mut = ; }",
    "bash": "if [ 1 ]; then echo hi",
    "json": '{"a": 1,}',
}


@pytest.mark.parametrize("name", BROKEN)
def test_parses_tells_sound_from_broken(name):
    assert parses(SAMPLES[name], name) is True
    assert parses(BROKEN[name], name) is False


SNIPPETS = [
    ("python", "    x = 1\n    return x"),
    ("python", ">>> f(1)\n2\n>>> for i in a:\n...     print(i)\n1"),
    ("python", "return 3"),
    ("java", "public Foo(int a) { this.a = a; }"),
    ("java", "import java.util.*;\npublic static int f() { return 1; }\nint[] a = {1};"),
    ("java", "int a = 3; System.out.println(a);"),
    ("javascript", "getName() { return 1; }"),
    ("javascript", "await f();"),
    ("typescript", "const x = <div>{name}</div>"),
    ("c", "for (int i = 0; i < 3; i++) { a[i] = 1; }"),
    ("cpp", "cout << x << endl;"),
    ("go", "x := 3\nfmt.Println(x)"),
    ("go", 'package main\nimport "fmt"\nx := 3\nfmt.Println(x)'),
    ("rust", 'let mut x = 3; println!("{}", x);'),
    ("bash", "s=$1\nfor((i=0; i<${#s}; i++)); do echo ${s:$i:1}; done"),
]


@pytest.mark.parametrize("name, text", SNIPPETS)
def test_snippets_parse(name, text):
    assert parses(text, name)


def test_text_with_fences_parses_if_its_blocks_do():
    assert parses("So:\n```python\nx = f(1)\n```\nand\n```python\ny = 2\n```", "python")
    assert not parses("So:\n```python\nx = f(1\n```", "python")


@pytest.mark.parametrize(
    "tag, broken",
    [
        ("javascript", "function ( {"),
        ("ts", "const x: = ;"),
        ("go", "func ( {"),
        ("bash", "if [ x"),
        ("java", "int f( {"),
    ],
)
@pytest.mark.parametrize("before", ["", "Here.\n", "Here:\n", "Solution\n\n"])
def test_a_broken_block_does_not_parse_as_a_string_between_backticks(tag, broken, before):
    assert not parses(f"{before}```{tag}\n{broken}\n```")
    assert not parses(f"{before}```{tag}\n{broken}")


def test_fences_in_strings_and_comments_belong_to_the_code():
    assert parses("cat > a.md <<'EOF'\n```\nhi (\n```\nEOF\necho done", "bash")
    assert parses("/*\n```\nfoo(\n```\n*/\nclass A { int f() { return 1; } }", "java")
    assert parses("function f() { /*\n```\nf(\n```\n*/ return 1; }", "javascript")


INNER = 'def usage():\n    """Show it.\n\n    ```python\n    usage()\n    ```\n    """\n    return 1'


def test_a_fence_that_is_indented_as_code_is_does_not_close_the_block():
    assert code(f"```python\n{INNER}\n```\nDone.") == INNER
    assert parses(f"```python\n{INNER}\n```\nDone.")
    assert not parses(f"```python\n{INNER} +\n```\nDone.")
    # CommonMark's three columns, and a writer who indents the last fence too far
    assert code("```js\nf()\n   ```\nDone.") == "f()"
    assert code("```js\nf()\n    ```\nand\n```js\ng()\n    ```") == "f()\n\ng()"
    assert code("1. Do:\n\n    ```js\n    f()\n    ```\n\n2. Then:\n```js\ng()\n```") == "f()\n\ng()"


DOCTEST = 'def add(a, b):\n    """Add.\n\n    >>> add(1, 2)\n    3\n    """\n    return a + b'


@pytest.mark.parametrize(
    "old, new",
    [
        ("return a + b", "return a + (b"),
        ("return a + b", "return = = b"),
        ("def add(a, b):", "def add(a, b:"),
        ('    """\n', ""),
        ("def add", ")\ndef add"),
    ],
)
def test_a_doctest_saves_no_broken_code(old, new):
    assert parses(DOCTEST)
    broken = "".join(DOCTEST.rpartition(old)[:1]) + new + DOCTEST.rpartition(old)[2]
    assert not parses(broken, "python")
    assert not parses(f"```python\n{broken}\n```")


def test_a_session_stands_alone_or_beside_code_that_parses():
    assert parses(f"{DOCTEST}\n\n>>> add(2, 3)\n5", "python")
    assert not parses(">>> add(2, 3\n5", "python")
    assert not parses("def f(:\n    pass\n\n>>> f(1)\n1", "python")


NEWER = [
    "def first[T](xs: list[T]) -> T:\n    return xs[0]",
    "class Box[T: (int, str) = int, *Ts = *tuple[int], **P = [int]](Base[T]):\n    def get[S](self, x: S) -> S: ...",
    "type Pairs[K, V] = list[tuple[K, V]]\ntype Name = str",
    """print(f"{', '.join(names)} {"x"}")""",
    r"""x = f'{'\n'.join(f'{len('a')}' for n in ns)!r:>{'w'}}'""",
    "x = f'{\n    a  # why\n} {{}} \\N{DIGIT ONE}'\ny = f\"{f'{a['b']}'}\"",
    "try:\n    f()\nexcept OSError, ValueError:\n    pass",
    "page = t'<p>{name!s}</p>'",
]
WORSE = [
    "def first[](xs): pass",
    "def first[T=int, U](xs): pass",
    "type = = int",
    "type Name = ",
    "type Name = int,",
    "x = f'{a['b'}'",
    "x = f'{'a'} }'",
    "x = f'{}{'a'}'",
    "x = f'{'a'!x}'",
    "x = f'{'a'}\n'",
    "try:\n    f()\nexcept OSError, ValueError as e:\n    pass",
    "page = t'{name'",
    "def f[T](x): return x +",
    "print 'hello', name",
]


@pytest.mark.parametrize("text", NEWER)
def test_python_of_later_versions_parses_on_every_interpreter(text):
    assert parses(text, "python")
    assert parses("def f():\n    pass\n\n" + text, "python")
    assert not parses(f"{text}\nx = (", "python")


@pytest.mark.parametrize("text", WORSE)
def test_what_no_version_of_python_reads_does_not_parse(text):
    assert not parses(text, "python")


def test_language_of_later_python():
    assert lang(NEWER[0]) == "python"
    assert code(NEWER[0]) == NEWER[0]


@pytest.mark.parametrize(
    "text, sound",
    [
        ("f(a=1, a=2)", False),
        ("f(a=1, b=g(a=2))", True),
        ("def f(a, a): pass", False),
        ("def f(*, a, b, **a): pass", False),
        ("lambda x, x: 1", False),
        ("class A(B, m=C, m=D): pass", False),
        ("f(**a, **b)", True),
        ("def f(a=1): return g(a=a)\ndef h(a=2): pass", True),
        ("nonlocal n\nn += 1", True),
        ("nonlocal n\ndef f(a, a): pass", False),
        ("def f():\n    n = 1\n    global n", False),
    ],
)
def test_an_argument_stands_once(text, sound):
    assert parses(text, "python") is sound
    assert parses(f"```python\n{text}\n```") is sound


def test_languages_without_a_parser_count_as_parsing():
    assert parses("anything at all", "ruby") and parses("selec * fro", "sql") and parses("<p>", "html")


def test_null_gives_null():
    assert lang(None) is code(None) is parses(None) is clarity(None) is organised(None) is None


#: Deeper than any stack; the full number with everything that is tested.
MANY = 100_000 if os.environ.get("ALCHEMIST_TEST_ALL") else 20_000
HOSTILE = [
    "(" * MANY,
    "[" * 150 + "]" * 150,
    "-" * MANY + "1",
    "1+" * MANY + "1",
    "a" + ".b" * MANY,
    "x" + "[0]" * MANY,
    "if a:\n  b\n" + "elif a:\n  b\n" * (MANY // 5),
    "a\0b = 1",
    "\ud800",
    "1" * MANY,
    "{" * MANY,
    '{"a":' * MANY,
    "```" * MANY,
    "<div>" * MANY,
    "\N{ZERO WIDTH JOINER}" * 1000,
]


def test_hostile_texts_crash_nothing():
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from alchemist_runtime.code import functions as c\n"
        f"texts = [eval(t) for t in {[repr(t) for t in HOSTILE]!r}]\n"
        "for t in texts:\n"
        "    for name in ('python', 'javascript', 'java', 'c', 'cpp', 'go', 'rust', 'bash', 'json', None):\n"
        "        c.parses(t, name)\n"
        "    c.lang(t), c.code(t), c.fences(t), c.clarity(t, 'python'), c.clarity(t, 'java'), c.organised(t, 'python')\n"
        "print('done')\n"
    )
    ran = subprocess.run([sys.executable, "-", *sys.path], input=program, capture_output=True, text=True, timeout=300)
    assert ran.stdout == "done\n", ran.stderr[-2000:]


@given(st.text(max_size=300) | st.text(alphabet="(){}[]=:;<>#`'\"\n\t /*.,abcdefif$", max_size=200))
def test_any_text_has_an_answer(text):
    name = lang(text)
    assert name is None or re.fullmatch(r"[a-z][\w+#.-]*", name)
    assert isinstance(parses(text), bool) and isinstance(organised(text), bool)
    assert 0 <= clarity(text) <= 10 and fences(text) >= 0
    found = code(text)
    assert found is None or isinstance(found, str)
    assert (lang(text), parses(text), clarity(text)) == (name, parses(text), clarity(text))


# --- clarity ----------------------------------------------------------------------------------------------------------

CRYPTIC = (
    "def a(b,c):\n\tq=b;w=c;e=q+w\n\tif q:\n\t\tif w:\n\t\t\tif e:\n\t\t\t\tif b:\n\t\t\t\t\tif c: q=1;w=2\n"
    + "".join(f"\tv{i}=q;u{i}=w;t{i}=e\n" for i in range(30))
)
CLEAR = '''def mean(values):
    """The arithmetic mean of numbers."""
    total = sum(values)
    return total / len(values)
'''


@pytest.mark.parametrize(
    "text, name, points",
    [
        (CLEAR, "python", 10),
        (CRYPTIC, "python", 1),
        ("def f(a, b):\n    return a + b", "python", 7),
        ("def area(radius):\n    return radius * radius * 3 if radius > 0 else 0", "python", 10),
        ("int f(int a,int b){int c=a+b;int d=c*2;return d;}", "c", 5),
        (SAMPLES["java"], "java", 10),
        ("x" * 150, None, 5),
        ("", "python", 0),
    ],
)
def test_clarity_is_pinned(text, name, points):
    assert clarity(text, name) == points


def test_comments_count_for_long_code_only():
    rows = [
        f"value_{w} = compute({w!r})"
        for w in (
            [
                "alpha",
                "beta",
                "gamma",
                "delta",
                "epsilon",
                "zeta",
                "eta",
                "theta",
                "iota",
                "kappa",
                "lamda",
                "omicron",
                "sigma",
            ]
            * 3
        )
    ]
    assert clarity("\n".join(rows), "python") == 8
    assert clarity("# what it is for\n" + "\n".join(rows), "python") == 9
    assert clarity("# what it is for\n# and why\n" + "\n".join(rows), "python") == 10


def test_a_shebang_is_no_comment():
    rows = "\n".join(f'echo "{i} files"' for i in range(30))
    assert clarity("#!/bin/bash\n" + rows, "bash") == clarity(rows, "bash")


# --- organised --------------------------------------------------------------------------------------------------------

LOOSE = "\n".join(f"x{i} = f({i})" for i in range(6))


@pytest.mark.parametrize(
    "text, name, verdict",
    [
        ("\n".join(LOOSE.split("\n")[:5]), "python", True),
        (LOOSE, "python", False),
        ("import a\nimport b\nLIMIT = 3\n" + "\n".join(LOOSE.split("\n")[:5]), "python", True),
        ("def f():\n    " + LOOSE.replace("\n", "\n    "), "python", True),
        ("def f(): pass\n" + LOOSE, "python", False),
        ("def main():\n    pass\nif __name__ == '__main__':\n    " + LOOSE.replace("\n", "\n    "), "python", True),
        ("".join(f"console.log({i});\n" for i in range(8)), "javascript", False),
        ("const f = () => {\n" + "".join(f"console.log({i});\n" for i in range(8)) + "};", "javascript", True),
        ("".join(f"int a{i} = {i};\n" for i in range(8)), "java", False),
        ("class A {\nvoid f() {\n" + "".join(f"int a{i} = {i};\n" for i in range(8)) + "}\n}", "java", True),
        ("".join(f"echo {i}\n" for i in range(20)), "bash", True),
        ("".join(f"echo {i}\n" for i in range(21)), "bash", False),
        ("SELECT 1;" * 30, "sql", True),
    ],
)
def test_organised(text, name, verdict):
    assert organised(text, name) is verdict


# --- real data --------------------------------------------------------------------------------------------------------

_ASKED = {
    "cpp": r"C\+\+",
    "javascript": r"JavaScript",
    "java": r"\bJava\b",
    "python": r"Python",
    "csharp": r"C#",
    "php": r"PHP",
}


def test_real_answers_get_the_language_that_was_asked_for(data):
    """Requests to write something in one language; what else they got are mostly answers in words and translations."""
    right = wrong = 0
    for row in data("gpteacher_codegen.json"):
        text = row["instruction"]
        asked = [name for name, pattern in _ASKED.items() if re.search(pattern, text)]
        if len(asked) == 1 and re.match(r"(?:Write|Create|Implement|Design|Develop)\b", text):
            got = lang(row["response"])
            right += got == asked[0]
            wrong += got != asked[0]
    assert right > 1500
    assert wrong / (right + wrong) < 0.03


def test_worked_steps_are_no_code(data):
    assert not [r for r in data("gsm8k_train.jsonl") if lang(r["answer"]) or lang(r["question"])]


def test_benchmark_solutions_parse(data):
    for row in data("humaneval.jsonl.gz"):
        assert lang(row["prompt"] + row["canonical_solution"]) == "python"
        assert parses(row["canonical_solution"], "python"), row["task_id"]


def test_library_code_is_python_that_parses(library):
    verdicts = [(lang(text), parses(text, "python"), organised(text, "python")) for text in library]
    assert set(verdicts) == {("python", True, True)}


def test_parses_is_quick(library):
    start = time.process_time()
    for text in library:
        parses(text, "python")
    assert (time.process_time() - start) / len(library) < 0.002  # a fifth of it as a rule; machines differ
