"""What the rules teacher says of a response is proven by its syntax: every idea with a near miss that must not be
called it.
"""

from __future__ import annotations

import re

import pytest
from alchemist_rules.describe import describe, read
from alchemist_rules.snippet import snippet
from hypothesis import given
from hypothesis import strategies as st

BINARY = "def find(xs, x):\n    lo, hi = 0, len(xs) - 1\n    while lo <= hi:\n        mid = (lo + hi) // 2\n        if xs[mid] < x:\n            lo = mid + 1\n        else:\n            hi = mid - 1\n    return lo"

# topic -> (code that shows it, a near miss that does not)
IDEAS = {
    "recurs": (
        "def fact(n):\n    return 1 if n < 2 else n * fact(n - 1)",
        "def close(f):\n    f.close()\n    return f",
    ),
    "recurs of a method": (
        "class T:\n    def walk(self):\n        return self.walk()",
        "def walk(self, node):\n    return walk(node)",
    ),
    "recurs of a parameter": ("def f(n):\n    return f(n - 1)", "def f(f):\n    return f(1)"),
    "memo": (
        "from functools import lru_cache\n\n@lru_cache\ndef f(n):\n    return n",
        "def lru_caches(n):\n    return n",
    ),
    "search": (BINARY, BINARY.replace("(lo + hi) // 2", "lo + 1")),
    "pointer": (
        "def pal(s):\n    i, j = 0, len(s) - 1\n    while i < j:\n        i += 1\n        j -= 1\n    return True",
        "def count(i, j):\n    while i < j:\n        i += 1\n        j += 1\n    return i",
    ),
    "euclid": (
        "def gcd(a, b):\n    while b:\n        a, b = b, a % b\n    return a",
        "def fib(n):\n    a, b = 0, 1\n    while n:\n        a, b = b, a + b\n        n -= 1\n    return a",
    ),
    "sort": ("def f(a):\n    return sorted(a)", "def sorted(a):\n    return a\n\ndef g(a):\n    return sorted(a)"),
    "heap": ("import heapq\ndef f(a):\n    return heapq.nlargest(3, a)", "def f(a):\n    return a.heap()"),
    "count": (
        "def f(a):\n    d = {}\n    for x in a:\n        d[x] = d.get(x, 0) + 1\n    return d",
        "def f(a, d):\n    for x in a:\n        d.total += 1\n    return d",
    ),
    "generator": ("def f(a):\n    for x in a:\n        yield x", "def f(a):\n    return a.yields"),
    "comprehension": ("def f(a):\n    return [x + 1 for x in a]", "def f(a):\n    return list(a)"),
    "reverse": ("def f(s):\n    return s[::-1]", "def f(s):\n    return s[::2]"),
    "join": ("def f(a):\n    return ', '.join(a)", "import os\n\ndef f(a):\n    return os.path.join(a, 'b')"),
    "errors": ("def f(n):\n    raise ValueError('n')", "def f(n):\n    return n.ValueError"),
    "handles": (
        "def f(d):\n    try:\n        return d[1]\n    except KeyError:\n        return 0",
        "def f(d):\n    return d.KeyError",
    ),
    "with": ("def f(p):\n    with open(p) as file:\n        return file.read()", "def f(p):\n    return p.open()"),
    "bits": ("def f(n):\n    return n >> 1", "def f(a, b):\n    return a & b"),
    "format": ("def f(n):\n    return f'{n}!'", "def f(a):\n    return a\n\nprint(f'{f(1)}')"),
    "library": ("import csv\ndef f(p):\n    return csv.reader(p)", "import csv\ndef f(p):\n    return p\n\nprint(p)"),
    "input": ("n = input()\nprint(n)", "n = form.input()\nprint(n)"),
}


def said(text: str, request: str = "") -> dict:
    facts = read(text, snippet(text, request))
    return facts.says | facts.has


@pytest.mark.parametrize("idea", IDEAS)
def test_an_idea_is_named_where_it_is_shown_and_only_there(idea):
    topic = idea.split()[0]
    shows, near = IDEAS[idea]
    assert topic in said(shows)
    assert topic not in said(near)


@pytest.mark.parametrize(
    "text, language, topic",
    [
        ("function fact(n) {\n  return n < 2 ? 1 : n * fact(n - 1);\n}", "JavaScript", "recurs"),
        ("function f(p: string): string {\n  return p.trim();\n}", "TypeScript", "parameters"),
        ("public static int f(int n) {\n    return n < 2 ? 1 : n * f(n - 1);\n}", "Java", "recurs"),
        ("#include <stdlib.h>\nint *make(int n) {\n    return malloc(n);\n}", "C", "memory"),
        ("#include <iostream>\nint main() {\n    std::cout << 1;\n}", "C++", "print"),
        ("package main\n\nfunc send(c chan int) {\n\tgo func() { c <- 1 }()\n}", "Go", "goroutine"),
        ("fn sign(n: i32) -> i32 {\n    match n {\n        0 => 0,\n        _ => 1,\n    }\n}", "Rust", "match"),
        ("#!/bin/bash\ncat log.txt | sort | uniq -c", "Bash", "pipe"),
    ],
)
def test_every_language_is_read(text, language, topic):
    assert read(text, snippet(text)).language == language
    assert topic in said(text)
    assert language in describe(text)


@pytest.mark.parametrize("text, language", [("SELECT a.x FROM a JOIN b ON a.i = b.i;", "SQL"), ("<p>Go</p>", "HTML")])
def test_of_a_language_without_a_parser_only_its_name_and_length_are_said(text, language):
    assert read(text, snippet(text)).language == language and set(said(text)) <= {"length"}
    assert language in describe(text)


def test_words_in_strings_and_comments_prove_nothing():
    assert "recurs" not in said("def f(a):\n    # f(a) again\n    return 'f(a)'")
    assert "print" not in said('#include <string>\nint main() {\n    std::string s = "cout <<";\n}')


def test_the_request_names_the_language_where_the_code_parses_in_both():
    text = "int twice(int n) {\n    return 2 * n;\n}"
    assert read(text, snippet(text)).language == "C"
    for request, language in {
        "Create a C++ function": "C++",
        "Write a Java method": "Java",
        "Write a C function": "C",
        "Write a Python function": "C",
    }.items():
        assert read(text, snippet(text, request)).language == language
        assert f" {NOT[language]} " not in describe(text, request=request)


NOT = {"C++": "C", "Java": "C", "C": "C++"}


@pytest.mark.parametrize(
    "request_, gone",
    [
        ("Write a recursive Python function `fact`.", ("`fact`", "Python", "recursive")),
        ("Use a conditional expression.", ("conditional",)),
    ],
)
def test_what_the_request_holds_is_not_said_again(request_, gone):
    text = IDEAS["recurs"][0]
    for sample in range(12):
        label = describe(text, request=request_, sample=sample)
        assert label.endswith(".") and not any(word in label for word in gone)


def clauses(label: str) -> list[str]:
    """What a label says, each as the words that tell."""
    return [
        " ".join(sorted(w[:5] for w in re.findall(r"[a-z]{4,}", c)))
        for c in re.split(r" that |,| and | with ", re.sub(r"`[^`]*`", "", label))
    ]


def test_no_label_says_a_clause_twice_or_copies_a_line(data, library):
    rows = [(r["instruction"], r["response"]) for r in data("gpteacher_codegen.json")[::12]]
    rows += [("", text) for text in library[::8]]
    for request, response in rows:
        label = describe(response, request=request)
        told = [c for c in clauses(label) if c]
        assert len(told) == len(set(told)), label
        assert not any(len(x) > 12 and x in label for x in map(str.strip, response.split("\n")))


@pytest.mark.parametrize(
    "text, word",
    [
        ("1. Wash.\n2. Peel.\n3. Cut.", "numbered list"),
        ("- one thing\n- another thing", "bulleted list"),
        ("42", "number"),
        ("Paris", "word"),
        ("It is warm today. It will rain.", "seven words"),
        ("", "empty"),
    ],
)
def test_prose_is_described_by_its_form(text, word):
    assert word in describe(text)


def test_text_around_code_is_named():
    fenced = "This adds two numbers:\n\n```python\ndef add(a, b):\n    return a + b\n```\n"
    assert said(fenced)["explained"] == ("a short introduction", "a word before the code")
    assert "after the code" in said(fenced.partition("\n\n")[2] + "\nIt uses the plus sign.")["explained"][0]
    assert "explained" not in said(fenced.partition("\n\n")[2])


def test_of_code_that_does_not_parse_only_the_language_is_said():
    text = describe("```python\ndef find(a, b:\n    return sorted(a\n```")
    assert "Python" in text and "sort" not in text


def test_wordings_differ_but_follow_from_the_text():
    drawn = {describe(BINARY, sample=i) for i in range(20)}
    assert len(drawn) > 8 and describe(BINARY, sample=3) == describe(BINARY, sample=3)
    assert all(t.endswith(".") and "  " not in t and t[0].isupper() for t in drawn)


@given(
    st.text(max_size=200) | st.text(alphabet="(){}[]=:;<>#`'\"\n\t def", max_size=120),
    st.sampled_from([None, "python", "java", "bash", "sql", "html", "elixir"]),
)
def test_any_text_gets_a_label(text, lang):
    label = describe(text, lang, request=text)
    assert label.endswith(".") and "\n" not in label
