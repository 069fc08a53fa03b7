"""What the rules teacher says of a response is proven by its syntax: every idea with a near miss that must not be called it."""

from __future__ import annotations

import time

import pytest
from alchemist_runtime.teachers._describe import copies, describe, read
from hypothesis import given, settings
from hypothesis import strategies as st

BINARY = """def find(items, wanted):
    lo, hi = 0, len(items) - 1
    while lo <= hi:
        mid = (lo + hi) // 2
        if items[mid] == wanted:
            return mid
        if items[mid] < wanted:
            lo = mid + 1
        else:
            hi = mid - 1
    return -1"""
BUBBLE = """def order(xs):
    for i in range(len(xs)):
        for j in range(len(xs) - 1):
            if xs[j] > xs[j + 1]:
                xs[j], xs[j + 1] = xs[j + 1], xs[j]
    return xs"""
TABLE = """def lcs(a, b):
    dp = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            if a[i - 1] == b[j - 1]:
                dp[i][j] = dp[i - 1][j - 1] + 1
            else:
                dp[i][j] = max(dp[i - 1][j], dp[i][j - 1])
    return dp[-1][-1]"""

# idea -> (a word of its phrase, code that shows it, a near miss that does not)
IDEAS = {
    "recursion": ("recursive", "def fact(n):\n    return 1 if n < 2 else n * fact(n - 1)", "def close(f):\n    f.close()\n    return f"),
    "recursion, not a method of that name": ("recurs", "class T:\n    def walk(self):\n        return self.left.value + self.walk()", "def walk(self, node):\n    return walk(node)"),
    "recursion, not a rebound name": ("recursive", "def f(n):\n    return f(n - 1)", "def f(f):\n    return f(1)"),
    "memoisation by hand": ("earlier results", "memo = {}\ndef fib(n):\n    if n in memo:\n        return memo[n]\n    memo[n] = n if n < 2 else fib(n - 1) + fib(n - 2)\n    return memo[n]", "def get(d, k):\n    if k in d:\n        return d[k]\n    return None"),
    "memoisation by a cache": ("lru_cache", "from functools import lru_cache\n\n@lru_cache\ndef f(n):\n    return n", "def lru_caches(n):\n    return n"),
    "dynamic programming": ("dynamic", TABLE, "def add(a):\n    out = [0] * len(a)\n    for i in range(len(a)):\n        out[i] = a[i - 1] + a[i]\n    return out"),
    "table from earlier entries": ("earlier entries", "def sums(a):\n    out = [0] * (len(a) + 1)\n    for i in range(len(a)):\n        out[i + 1] = out[i + 0] + a[i]\n    return out", "def shift(a):\n    for i in range(1, len(a)):\n        a[i] = a[i - 1]\n    return a"),
    "binary search": ("halving", BINARY, BINARY.replace("(lo + hi) // 2", "lo + 1")),
    "two pointers": ("two pointers", "def pal(s):\n    i, j = 0, len(s) - 1\n    while i < j:\n        if s[i] != s[j]:\n            return False\n        i += 1\n        j -= 1\n    return True", "def count(i, j):\n    while i < j:\n        i += 1\n        j += 1\n    return i"),
    "Euclid": ("Euclid", "def gcd(a, b):\n    while b:\n        a, b = b, a % b\n    return a", "def fib(n):\n    a, b = 0, 1\n    while n:\n        a, b = b, a + b\n        n -= 1\n    return a"),
    "bubble sort": ("neighbouring", BUBBLE, BUBBLE.replace("xs[j], xs[j + 1] = xs[j + 1], xs[j]", "print(xs[j])")),
    "sorting": ("built-in `sorted`", "def f(a):\n    return sorted(a)", "def f(a):\n    return resorted(a)"),
    "sorting by key": ("key", "def f(a):\n    return sorted(a, key=len)", "def f(a):\n    return sorted(a)"),
    "sorting down": ("descending", "def f(a):\n    return sorted(a, reverse=True)", "def f(a):\n    return sorted(a, reverse=False)"),
    "heap": ("heap", "import heapq\ndef f(a):\n    return heapq.nlargest(3, a)", "def f(a):\n    return a.heap()"),
    "counting": ("dictionary", "def f(a):\n    d = {}\n    for x in a:\n        d[x] = d.get(x, 0) + 1\n    return d", "def f(a, d):\n    for x in a:\n        d.total += 1\n    return d"),
    "Counter": ("Counter", "from collections import Counter\ndef f(a):\n    return Counter(a)", "def f(a):\n    return Encounter(a)"),
    "seen set": ("seen in a set", "def f(a):\n    seen = set()\n    for x in a:\n        if x in seen:\n            return x\n        seen.add(x)", "def f(a):\n    seen = set()\n    for x in a:\n        seen.add(x)\n    return seen"),
    "stack": ("stack", "def f(s):\n    st = []\n    for c in s:\n        if c == '(':\n            st.append(c)\n        else:\n            st.pop()\n    return st", "def f(d, s):\n    s.append(1)\n    return d.pop()"),
    "queue": ("queue", "from collections import deque\ndef f(g, a):\n    q = deque([a])\n    while q:\n        x = q.popleft()\n        for y in g[x]:\n            q.append(y)", "from collections import deque\ndef f(a):\n    return deque(a, 3)"),
    "regular expression": ("regular expression", "import re\ndef f(s):\n    return re.findall('a+', s)", "def f(s):\n    return re.findall('a+', s)"),
    "list comprehension": ("list comprehension", "def f(a):\n    return [x + 1 for x in a]", "def f(a):\n    return list(a)"),
    "dictionary comprehension": ("dictionary comprehension", "def f(a):\n    return {x: 1 for x in a}", "def f(a):\n    return dict(a)"),
    "generator expression": ("generator expression", "def f(a):\n    return sum(x * x for x in a)", "def f(a):\n    return sum(a)"),
    "generator": ("generator function", "def f(a):\n    for x in a:\n        yield x", "def f(a):\n    def g():\n        yield 1\n    return a"),
    "asynchronous": ("asynchronous", "async def f(a):\n    return await a", "def f(a):\n    return a.asynchronous"),
    "decorator": ("decorator", "def twice(f):\n    def inner(*a):\n        f(*a)\n        return f(*a)\n    return inner", "def make(n):\n    def inner(x):\n        return x + n\n    return inner"),
    "context manager": ("context manager class", "class T:\n    def __enter__(self):\n        return self\n    def __exit__(self, *a):\n        pass", "class T:\n    def __enter__(self):\n        return self"),
    "iterator": ("iterator", "class T:\n    def __iter__(self):\n        return self\n    def __next__(self):\n        return 1", "class T:\n    def __next__(self):\n        return 1"),
    "exceptions": ("`KeyError`", "def f(d):\n    try:\n        return d[1]\n    except KeyError:\n        return 0", "def f(d):\n    return d.KeyError"),
    "raises under a check": ("raises `ValueError` when", "def f(n):\n    if n < 0:\n        raise ValueError('n')\n    return n", "def f(n):\n    raise ValueError('n')"),
    "slicing backwards": ("reverses a sequence", "def f(s):\n    return s[::-1]", "def f(s):\n    return s[::2]"),
    "bits": ("bit", "def f(n):\n    return n & 1", "def f(a, b):\n    return a & b"),
    "numpy without a loop": ("without an explicit loop", "import numpy as np\ndef f(a):\n    return np.sqrt(a) + 1", "import numpy as np\ndef f(a):\n    return np.array([x + 1 for x in a])"),
    "match": ("match statement", "def f(x):\n    match x:\n        case 1:\n            return 2", "def f(x):\n    return x.match(1)"),
    "nested loops": ("nested loops", "def f(a):\n    for x in a:\n        for y in x:\n            g(y)", "def f(a):\n    for x in a:\n        g(x)\n    for y in a:\n        g(y)"),
    "full hints": ("full type hints", "def f(a: int) -> int:\n    return a", "def f(a: int, b) -> int:\n    return a"),
    "Google docstring": ("Google", 'def f(a):\n    """Do.\n\n    Args:\n        a: it\n    """\n    return a', 'def f(a):\n    """Do what the args say."""\n    return a'),
    "NumPy docstring": ("NumPy", 'def f(a):\n    """Do.\n\n    Parameters\n    ----------\n    a : int\n    """\n    return a', 'def f(a):\n    """Parameters matter."""\n    return a'),
    "reST docstring": ("reST", 'def f(a):\n    """Do.\n\n    :param a: it\n    """\n    return a', 'def f(a):\n    """Do: a."""\n    return a'),
    "doctest": ("doctest", 'def f(a):\n    """Do.\n\n    >>> f(1)\n    1\n    """\n    return a', 'def f(a):\n    """Do a >> 1."""\n    return a'),
    "assertions": ("assertions that test", "def f(a):\n    return a\n\nassert f(1) == 1", "def f(a):\n    assert a\n    return a"),
    "tests": ("unit test", "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertTrue(1)", "class TestCase:\n    def test(self):\n        return 1"),
    "main guard": ("main guard", "def f():\n    return 1\n\nif __name__ == '__main__':\n    f()", "def f(name):\n    if name == '__main__':\n        return 1\n    return 2"),
    "shown output": ("output", "def f(a):\n    return a\n\nprint(f(1))  # Output: 1", "def f(a):\n    return a\n\nprint(f(1))  # try it"),
    "dataclass": ("dataclass", "from dataclasses import dataclass\n\n@dataclass\nclass P:\n    x: int", "class P:\n    x: int"),
    "inheritance": ("`Animal`", "class Dog(Animal):\n    def bark(self):\n        return 1", "class Dog:\n    animal = Animal()"),
    "library": ("csv", "import csv\ndef f(p):\n    return csv.reader(p)", "import csv\ndef f(p):\n    return p"),
    "input": ("user", "n = input()\nprint(n)", "n = form.input()\nprint(n)"),
    "truth value": ("True or False", "def f(a):\n    return a > 1", "def f(a):\n    return a or 1"),
    "any arguments": ("any number", "def f(*a):\n    return a", "def f(a):\n    return g(*a)"),
}  # fmt: skip


def said(text: str) -> str:
    """Everything that could be said of a response."""
    facts = read(text)
    phrases = [
        w for group in (facts.says, facts.others, facts.has) for wordings in group for w in wordings
    ]
    return " | ".join([*facts.adjectives, facts.unit, *phrases])


@pytest.mark.parametrize("idea", IDEAS)
def test_idea_is_named_where_it_is_shown_and_only_there(idea):
    word, shows, near = IDEAS[idea]
    assert word in said(shows)
    assert word not in said(near)


LANGUAGES = {
    "JavaScript": ("function fact(n) {\n  if (n < 2) return 1;\n  return n * fact(n - 1);\n}", "recursive"),
    "TypeScript": ("interface P { x: number; }\nfunction f(p: P): number {\n  return p.x;\n}", "interface"),
    "Java": ("import java.util.*;\npublic class A {\n  public static int f(int[] a) {\n    Arrays.sort(a);\n    return a[0];\n  }\n}", "library's sort"),
    "C": ("#include <stdlib.h>\nint *make(int n) {\n    int *p = malloc(n);\n    return p;\n}", "memory"),
    "C++": ("#include <vector>\n#include <algorithm>\nvoid f(std::vector<int>& v) {\n    std::sort(v.begin(), v.end());\n}", "library's sort"),
    "Go": ("package main\n\nfunc send(c chan int) {\n\tgo func() { c <- 1 }()\n}", "goroutines"),
    "Rust": ("fn sign(n: i32) -> i32 {\n    match n {\n        0 => 0,\n        _ => 1,\n    }\n}", "match"),
    "Bash": ("#!/bin/bash\ncat log.txt | sort | uniq -c", "pipe"),
    "SQL": ("SELECT a.x, COUNT(*) FROM a JOIN b ON a.i = b.i GROUP BY a.x;", "join"),
    "HTML": ("<form><input name='a'><button>Go</button></form>", "form"),
    "JSON": ('{"a": {"b": 1}, "c": [1]}', "nests objects"),
    "CSS": (".box {\n  display: flex;\n}", "flexbox"),
    "C#": ("using System;\nclass P {\n    static void Main() {\n        foreach (var x in xs) { Console.WriteLine(x); }\n    }\n}", "foreach"),
    "PHP": ("<?php\nfunction f($a) {\n    foreach ($a as $x) { echo $x; }\n}\n?>", "foreach"),
    "Ruby": ("def f(a)\n  a.each { |x| puts x }\nend", "prints"),
}  # fmt: skip


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_language_is_read(name):
    text, word = LANGUAGES[name]
    assert name in describe(text).replace("`", " ")
    assert read(text).language == name
    assert word in said(text)


def test_javascript_that_calls_another_function_of_a_method_name_is_not_recursive():
    assert "recursive" not in said("function close(f) {\n  f.close();\n  return f;\n}")
    assert "recurs" not in said(
        "function f(n) {\n  return g(n);\n}\nfunction g(n) {\n  return n;\n}"
    )


@pytest.mark.parametrize(
    "text, claim",
    [
        ("import os\n\ndef f(a):\n    return os.path.join(a, 'b')", "joins"),
        ("def sorted(a):\n    return a\n\ndef g(a):\n    return sorted(a)", "built-in"),
        ("def f(a):\n    return a\n\nprint(f'{f(1)}')", "f-strings"),
        ("import csv\n\ndef f(a):\n    return a\n\nprint(csv.reader(f(1)))", "csv"),
        ("function fetchData(a) {\n  return a;\n}\n\nfetchData(1);", "HTTP"),
        ("function sort(a) {\n  return a;\n}\n\nsort([1]);", "`sort`"),
        ("function f(a) {\n  return a;\n}\n\nconst b = [1, 2];\nf(b.sort());", "`sort`"),
        ("function f(a) {\n  return path.join(a, 'b');\n}", "text"),
        (
            "#include <string>\nstd::string f(std::string strings) {\n    return strings.substr(1);\n}",
            "C string",
        ),
        ('#include <iostream>\nint main() {\n    std::cout << "cin";\n}', "input"),
        ("#!/bin/bash\nreadlink -f a\nls", "reads input"),
    ],
)
def test_names_that_only_look_alike_prove_nothing(text, claim):
    assert claim not in said(text)


def test_words_in_strings_and_comments_prove_nothing():
    assert "join" not in said("SELECT 'join' FROM t -- join\nWHERE x = 1;")
    assert "await" not in said("function f() {\n  // await\n  return 'await';\n}")


def test_an_example_call_is_no_printing_function():
    text = "function twice(n) {\n    return 2 * n;\n}\n\nconsole.log(twice(2));"
    assert "prints to the console" not in said(text)
    assert "printed usage example" in said(text)


STEPS = "He buys 2*3=<<2*3=6>>6 apples.\nThen he has 6+1=<<6+1=7>>7 for $8.\n#### 7"


def test_worked_steps():
    text = describe(STEPS)
    assert (
        "two" in text and "multiplication and addition" in text and "#" in text
    ) or "four hash" in text
    assert "7" not in text and "6" not in text and "8" not in text  # no number of the answer
    assert read("Add 2 and 3 to get 5.").unit == "sentences"


@pytest.mark.parametrize(
    "text, word",
    [
        ("1. Wash.\n2. Peel.\n3. Cut.", "list"),
        ("- one thing\n- another thing", "list"),
        ("42", "number"),
        ("Paris", "word"),
        ("It is warm today. It will rain tomorrow.", "two sentences"),
        ("", "empty"),
    ],
)
def test_prose_is_described_by_its_form(text, word):
    assert word in describe(text)


def test_text_around_code_is_named():
    fenced = "This function adds two numbers for you:\n\n```python\ndef add(a, b):\n    return a + b\n```\n"
    assert "introduction" in said(fenced) and "after the code" not in said(fenced)
    assert "before and after the code" in said(
        fenced + "\nIt uses the plus sign, which is all that is needed."
    )
    assert read(fenced).name == "add"


def test_code_that_does_not_parse_is_called_by_its_language_only():
    text = describe("def find(a, b:\n    return sorted(a")
    assert "Python" in text and "sort" not in text


def test_wordings_differ_but_follow_from_the_text():
    text = IDEAS["counting"][1]
    drawn = {describe(text, sample=i) for i in range(20)}
    assert len(drawn) > 8
    assert describe(text, sample=3) == describe(text, sample=3)
    assert all(t.endswith(".") and "  " not in t and t[0].isupper() for t in drawn)


def test_pinned_sentences():
    assert (
        describe(IDEAS["binary search"][1])
        == "In Python, write a function called `find` that searches by halving the interval at each step and repeats with a `while` loop."
    )
    assert (
        describe(IDEAS["recursion"][1])
        == "Give a recursive Python function named `fact` that works from the parameter `n` and uses a conditional expression."
    )
    assert (
        describe(STEPS)
        == "Solve it in two steps by multiplication and addition, in this order, with two calculations in double angle brackets and dollar amounts, and put the result on a last line of its own after four hash signs."
    )


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=400), st.integers(0, 5))
def test_any_text_gets_one_sentence_that_copies_no_line(text, sample):
    sentence = describe(text, sample=sample)
    assert sentence and "\n" not in sentence and sentence.endswith(".")
    assert not copies(sentence, text)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [row for _, a, b in IDEAS.values() for row in a.split("\n") + b.split("\n")]
        ),
        max_size=12,
    ),
    st.sampled_from([None, "python", "java", "bash"]),
)
def test_mixed_lines_of_code_never_fail(rows, lang):
    text = "\n".join(rows)
    assert not copies(describe(text, lang), text)


def test_a_line_that_looks_like_a_sentence_is_not_repeated():
    name = "a_very_long_name_of_a_function"
    text = f"{name}\ndef {name}(x):\n    return x"
    assert not copies(describe(text), text)


def test_labels_of_library_code_are_distinct_and_short(library):
    made = [describe(text) for text in library]
    assert len(set(made)) / len(set(library)) > 0.97
    assert max(len(t.split()) for t in made) <= 45
    assert not any(copies(t, text) for t, text in zip(made, library, strict=True))


def test_labels_are_quick(library):
    start = time.process_time()
    for text in library:
        describe(text)
    assert len(library) / (time.process_time() - start) > 150  # some 1,200 a second on a quiet core


@pytest.mark.parametrize("name, field, share", [("gpteacher_codegen.json", "response", 0.93), ("codealpaca_2k.json", "output", 0.85), ("gsm8k_train.jsonl", "answer", 0.85)])  # fmt: skip
def test_labels_of_real_rows_are_distinct(data, name, field, share):
    texts = list(dict.fromkeys(r[field] for r in data(name)))[:1500]
    made = [describe(t) for t in texts]
    assert len(set(made)) / len(texts) > share
    assert not any(copies(s, t) for s, t in zip(made, texts, strict=True))
