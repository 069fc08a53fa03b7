"""Libraries of Python code and its habits: type hints, docstring style, tests, usage examples, comments."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from typing import Final

from alchemist_runtime.teachers._facts import Facts
from alchemist_runtime.teachers._python_scan import (
    COMPS,
    LOOPS,
    Scan,
    arguments,
    called,
    docstring,
    is_docstring,
    prints,
)

#: Libraries by the name people know them by.
_LIBRARIES: Final[dict[str, str]] = {
    "numpy": "NumPy",
    "pandas": "pandas",
    "matplotlib": "Matplotlib",
    "sklearn": "scikit-learn",
    "bs4": "Beautiful Soup",
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "torch": "PyTorch",
    "flask": "Flask",
    "django": "Django",
    "scipy": "SciPy",
    "requests": "requests",
    "nltk": "NLTK",
    "tkinter": "Tkinter",
}
#: Modules that a phrase of their own speaks for, or that say nothing.
_SILENT: Final = frozenset(
    {"typing", "__future__", "re", "asyncio", "abc", "unittest", "pytest", "bisect", "heapq"}
)


def libraries(s: Scan, out: Facts) -> None:
    used = {m for name, m in s.modules.items() if name in s.names}
    used |= {m.rpartition(".")[0] for name, m in s.members.items() if name in s.names}
    tops = [
        t
        for t in dict.fromkeys(sorted(m.partition(".")[0] for m in used))
        if t and t not in _SILENT
    ]
    if "numpy" in tops:
        explicit = any(s.kinds[k] for k in LOOPS) or any(s.kinds[k] for k in COMPS)
        out.say("uses NumPy" if explicit else "computes on NumPy arrays without an explicit loop")
    for top in [t for t in tops if t != "numpy"][:2]:
        if top in (
            "functools",
            "collections",
            "math",
            "itertools",
            "sys",
            "contextlib",
            "enum",
            "dataclasses",
        ):
            if top == "itertools":
                out.say("combines tools from `itertools`", "uses `itertools`")
            continue
        if top in _LIBRARIES:
            out.say(f"uses {_LIBRARIES[top]}", f"is built on {_LIBRARIES[top]}")
        elif top in sys.stdlib_module_names:
            out.say(f"uses the `{top}` module", f"draws on the standard `{top}` module")
        else:
            out.say(f"uses the `{top}` package", f"builds on `{top}`")


_OUTPUT: Final = re.compile(
    r"^[ \t]*#+ ?(?:expected |sample |example )?(?:output|prints|result|returns)\b|#\s*(?:=>|->|output:|prints:?|returns:?|[\d\[({'\"])",
    re.M | re.I,
)
_NUMPY_DOC: Final = re.compile(
    r"^\s*(?:Parameters|Returns|Yields|Raises|Notes|Examples)\n\s*-{3,}", re.M
)
_GOOGLE_DOC: Final = re.compile(r"^\s*(?:Args|Arguments|Returns|Yields|Raises):\s*(?:$|\S)", re.M)
_REST_DOC: Final = re.compile(r"^\s*:(?:param|parameter|arg|returns?|rtype|type|raises)\b", re.M)


def habits(s: Scan, part: Scan, source: str, out: Facts) -> None:
    """`part` is what the phrases about a function look at, `s` the whole code."""
    calls = Counter(called(c, part) for c in part.calls)
    functions = [f for f, _ in s.functions]
    annotated = [sum(1 for x in arguments(f) if x.annotation) for f in functions]
    wanted = [sum(1 for x in arguments(f) if x.arg not in ("self", "cls")) for f in functions]
    if functions and (any(annotated) or any(f.returns for f in functions)):
        full = all(a >= w for a, w in zip(annotated, wanted, strict=True)) and all(
            f.returns for f in functions
        )
        out.have(
            "full type hints" if full else "type hints",
            "complete type annotations" if full else "some type annotations",
        )
    docs = [d for d in (docstring(n) for n in [s.tree, *functions, *s.classes]) if d]
    if docs:
        out.have(*_doc_style(docs))
        if any(">>> " in d for d in docs):
            out.have("doctest examples", "examples in doctest form")
    _tests(s, calls, out)
    shown = _OUTPUT.search(source) is not None
    loose = [n for n in s.tree.body if isinstance(n, ast.Expr | ast.Assign) and not is_docstring(n)]
    own = {f.name for f in functions} | {c.name for c in s.classes}
    uses = any(
        isinstance(c, ast.Call) and isinstance(c.func, ast.Name) and c.func.id in own
        for n in loose
        for c in ast.walk(n)
    )
    shows = any(
        isinstance(c, ast.Call) and called(c, s) == "print" for n in loose for c in ast.walk(n)
    )
    if uses and shown:
        out.have(
            "an example call and its output in a comment", "a usage example whose output is noted"
        )
    elif uses:
        out.have(
            "an example call that prints the result" if shows else "an example call",
            "a printed usage example" if shows else "a usage example",
        )
    elif calls["print"] and (not functions or any(prints(f, s) for f in functions)):
        out.also("prints to the console", "prints its output")
    if any(
        isinstance(n, ast.If)
        and "__name__" in {x.id for x in ast.walk(n.test) if isinstance(x, ast.Name)}
        for n in s.tree.body
    ):
        out.have("a main guard", "an `if __name__` block")
    comments = len(re.findall(r"^\s*#", source, re.M))
    if comments >= 3:
        out.have("explanatory comments", "comments along the way")
    elif comments:
        out.have("a short comment", "a brief comment")


def _doc_style(docs: list[str]) -> tuple[str, str]:
    whole = "\n".join(docs)
    if _NUMPY_DOC.search(whole):
        return "a NumPy-style docstring", "a docstring with NumPy sections"
    if _REST_DOC.search(whole):
        return "a reST docstring", "a docstring with reST fields"
    if _GOOGLE_DOC.search(whole):
        return "a Google-style docstring", "a docstring in Google style"
    if len(docs) > 1:
        return "docstrings", "documentation strings"
    return (
        ("a one-line docstring", "a short docstring")
        if "\n" not in docs[0]
        else ("a docstring of several lines", "a longer docstring")
    )


def _tests(s: Scan, calls: Counter[str], out: Facts) -> None:
    if out.unit.startswith(("test", "unit test")):
        return
    if any(f.name.startswith("test_") for f, _ in s.functions):
        out.have("test functions", "tests beside the code")
    elif any(isinstance(n, ast.Assert) for n in s.tree.body):
        out.have("assertions that test it", "a few assertions as tests")
    elif s.kinds[ast.Assert]:
        out.have("assertions", "assertions on its assumptions")
