"""Reviews: what can be proven against code, the marks that follow from it, and the code with all of it mended."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.code import functions as code_functions
from alchemist_runtime.code import grammars, languages

from alchemist_rules.python_code import FUNCTION, Python, docstring, parse
from alchemist_rules.snippet import Edit, Snippet, Tree, edited, every, listed, snippet, text_of, tree, words


@dataclass(frozen=True, slots=True)
class Review:
    """`suggestions` say in every case whether `refined` is the code as it was."""

    correctness: int  # 0..10
    clarity: int  # 0..10
    suggestions: tuple[str, ...]
    refined: str


@dataclass(frozen=True, slots=True)
class Fix:
    """A finding, which no rule mends where it has no edits. `wrong`: the points that it costs in correctness."""

    line: int | None
    text: str
    edits: tuple[Edit, ...] = ()
    wrong: int = 0


#: A request for a part of something that defines more, or code that begins with a method.
_PART: Final = r"(?im)\b(?:of|for|from|in) the (?:\w+ )?(?:module|class|package)\b|^\s*def \w+\(self\b|\Acomplete\b"
_MOST: Final = 6  # findings of a review
NOTHING: Final = "Nothing to change: the refined code is the code as it was."
_UNCHANGED: Final = "No rule mends this, so the code below is as it was."


def review(response: str, instruction: str | None = None, lang: str | None = None) -> Review | None:
    """Marks of 10 less what is proven against the code; None for what rules cannot judge: prose, a session at the
    prompt, languages without a parser here.

    Correctness loses 9 for code that does not parse and 1 to 3 for every other defect. Clarity is `clarity(code)` less
    1 for each other finding.
    """
    code = snippet(response, instruction or "", lang)
    if code is None or code.session or code.lang not in grammars.PARSED or not grammars.judged(code.code, code.lang):
        return None
    if code.alone and not grammars.parses(code.code, code.lang) and any(map(languages.prose, code.code.split("\n"))):
        return None  # sentences stand around it
    fixes, text = _mended(code, instruction or "")
    lines = {f.text: sorted({str(g.line) for g in fixes if g.text == f.text and g.line}, key=int) for f in fixes}
    said = [f"Line{'s' * (len(at) > 1)} {listed(at)}: {text}" if at else text for text, at in lines.items()]
    left = [f.text.rstrip(".") for f in fixes if not f.edits]
    if left:
        said.append(_UNCHANGED if len(left) == len(fixes) else f"The refined code leaves open: {listed(left)}.")
    wrong = sum({f.text: f.wrong for f in fixes}.values())
    clarity = (code_functions.clarity(code.code, code.lang) or 0) - len({f.text for f in fixes if not f.wrong})
    return Review(max(0, 10 - wrong), max(0, clarity), tuple(said) or (NOTHING,), text)


def _mended(code: Snippet, request: str) -> tuple[list[Fix], str]:
    """What is found, and the code with it mended; a fix that would not leave code that parses is not told."""
    raw, chosen = grammars.encoded(code.code), list[Fix]()
    for f in _found(code, request):
        if len({g.text for g in chosen} | {f.text}) > _MOST:
            continue
        taken = [e for g in chosen for e in g.edits]
        if any((a < d and c < b) or a == c for a, b, _ in f.edits for c, d, _ in taken):
            continue
        if not f.edits or f.wrong >= 9 or grammars.parses(edited(raw, [*taken, *f.edits]), code.lang):
            chosen.append(f)
    return chosen, edited(raw, [e for g in chosen for e in g.edits])


def _found(code: Snippet, request: str) -> Iterator[Fix]:
    if not grammars.parses(code.code, code.lang):
        yield _broken(code)
        return
    py, t = (parse(code.code) if code.lang == "python" else None), tree(code.code, code.lang)
    if t is None or (code.lang == "python" and py is None):
        return
    yield from _by_table(t)
    if py is not None:
        line, why = _refusal(code.code)
        if why:
            yield Fix(line, f"The code does not compile: {why}.", wrong=6)
        cut_out = re.search(_PART, f"{request}\n{code.code}")
        for rule in (_unimported, _mutable_default, _needless_else, _quoted_docstring)[bool(cut_out) :]:
            yield from rule(py)


#: Under languages and kinds of nodes, a row each: points | the whole text of the node | what takes its place (PAD: its
#: indentation) | what is wrong.
_TABLE: Final = r"""
== python: comparison_operator
2 | ([^=<>!\n]+) is (-?\d+|'[^'\n]*'|"[^"\n]*") | \1 == \2 | Identity with a literal varies; compare by `==`.
2 | ([^=<>!\n]+) is not (-?\d+|'[^'\n]*'|"[^"\n]*") | \1 != \2 | Identity with a literal varies; use `!=`.
0 | ([^=<>!\n]+) == None | \1 is None | None is compared by value; use `is`.
0 | ([^=<>!\n]+) != None | \1 is not None | None is compared by value; use `is not`.
== python: not_operator
0 | not ([\w.]+) in ([^\n]+) | \1 not in \2 | The negation stands before the comparison; `not in` is one operator.
0 | not ([\w.]+) is (?!not\b)([^\n]+) | \1 is not \2 | The negation stands before the comparison; write `is not`.
== python: assert_statement except_clause
2 | assert \(([^(),\n]+), ([^(),\n]+)\) | assert \1, \2 | An assertion on a tuple always holds; drop the parentheses.
1 | (?s)except:((?:(?!\braise\b).)*) | except Exception:\1 | A bare `except` also catches the keyboard interrupt.
== python: call
0 | range\(0, ([^,\n]+)\) | range(\1) | `range` begins at 0 by itself.
0 | (sum|min|max|set)\(\[((?!.*\bawait\b)[^\[\]\n]+ for [^\[\]\n]+)\]\) | \1(\2) | `\1` needs no list of the values.
== python: if_statement
0 | if (not [\w.]+|[\w.]+ (?:not )?in [\w.'"]+):\s+return True\s+else:\s+return False | return \1 | Return the test.
0 | if ([^\n]+):\n\s+return False\n\s*else:\n\s+return True | return not (\1) | Return the negated test.
== java: character_literal
3 | '([^'\\"\n]{2,})' | "\1" | A character literal holds one character; this must be a string in double quotes.
== javascript typescript java c cpp: if_statement
0 | if (\([^\n]*\))\n(\s*)([^\s{][^\n]*;) | if \1 {\n\2\3\nPAD} | The body of this `if` has no braces.
== javascript typescript java c cpp go rust: block statement_block compound_statement
0 | (?s)(\{[^\n]*\n.*[^\s}])[ \t]*\} | \1\nPAD} | A closing brace stands behind other code; put it on a line of its own.
"""
#: (language, kind of node) -> its rows.
_ROWS: Final = {
    (lang, kind): [row.split(" | ") for row in rows]
    for head, *rows in (group.split("\n") for group in _TABLE.strip().removeprefix("== ").split("\n== "))
    for lang in head.partition(": ")[0].split()
    for kind in head.partition(": ")[2].split()
}
_OVERLOADING: Final = r"\b(?:numpy|np|pandas|pd|sqlalchemy|peewee|django|polars|torch|tensorflow|pyspark|sympy)\b"


def _by_table(t: Tree) -> Iterator[Fix]:
    text = text_of(t.nodes[0])
    for n in t.nodes:
        for points, pattern, new, said in _ROWS.get((t.lang, n.type), ()) if n.is_named else ():
            old = text_of(n)
            found = re.fullmatch(pattern, old)
            called = old.partition("(")[0] if n.type == "call" else ""
            own = called and re.search(rf"\b{re.escape(called)}\b(?!\()|(?:def|class) {re.escape(called)}\b", text)
            if found is None or own or ("None" in said and re.search(_OVERLOADING, text)):
                continue
            edit = (*t.span(n), found.expand(new).replace("PAD", t.indent(n)))
            yield Fix(t.line(n), found.expand(said), (edit,), int(points))


def _unimported(py: Python) -> Iterator[Fix]:
    """Modules of the standard library that are used as such, under names that nothing in the code binds."""
    for name in words("math re os sys json random time string itertools functools collections copy csv datetime"):
        uses = [n.lineno for n in ast.walk(py.tree) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == name]
        if uses and not re.search(rf"(?<![\w.]){name}\b(?!\.)|import \*|\b(?:exec|globals)\(", py.text):
            said = f"`{name}` is used and never imported; add `import {name}`."
            yield Fix(min(uses), said, tuple(py.imports(f"import {name}", gap="\n")), wrong=3)


def _quoted_docstring(py: Python) -> Iterator[Fix]:
    for f in (n for n in ast.walk(py.tree) if isinstance(n, (*FUNCTION, ast.ClassDef)) and docstring(n)):
        found = re.fullmatch(r"(['\"])(?!['\"])([^'\"\\\n]+)\1", py.of(f.body[0]))
        if found:
            said = "The docstring stands in single quotes; three double quotes are usual, for one line too."
            edit = (py.start(f.body[0]), py.end(f.body[0]), f'"""{found[2]}"""')
            yield Fix(f.body[0].lineno, said, (edit,))


def _needless_else(py: Python) -> Iterator[Fix]:
    """What follows `else:` moves out, where control never passes the first branch."""
    for n in (n for n in ast.walk(py.tree) if isinstance(n, ast.If) and n.orelse):
        ends = isinstance(n.body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)
        first, last = n.orelse[0].lineno, n.orelse[-1].end_lineno or 0
        texts = [x for s in n.orelse for x in ast.walk(s) if isinstance(x, ast.Constant | ast.JoinedStr)]
        alone = py.lines[first - 2].strip() == "else:" and py.lines[n.lineno - 1].lstrip().startswith("if ")
        if ends and alone and all(x.lineno == x.end_lineno for x in texts):
            pad = len(py.indent(n.orelse[0])) - len(py.indent(n))
            rows = [py.line_start(i) for i in range(first, last + 1) if py.lines[i - 1].strip()]
            edits = [(py.line_start(first - 1), py.line_start(first), ""), *((at, at + pad, "") for at in rows)]
            said = "Control never passes the first branch, so the `else` is not needed."
            yield Fix(n.lineno, said, tuple(edits))


def _mutable_default(py: Python) -> Iterator[Fix]:
    for f in (n for n in ast.walk(py.tree) if isinstance(n, FUNCTION)):
        plain, first = [*f.args.posonlyargs, *f.args.args], py.first_line(f)
        for a, d in zip(plain[len(plain) - len(f.args.defaults) :], f.args.defaults, strict=True):
            result = isinstance(d, ast.List | ast.Dict | ast.Set) or ast.unparse(d) in ("list()", "dict()", "set()")
            if result and a.annotation is None and first is not None:
                check = py.before(first, f"if {a.arg} is None:\n    {a.arg} = {py.of(d)}")
                said = f"The default of `{a.arg}` is one object that all calls share; make it in each call."
                yield Fix(d.lineno, said, ((py.start(d), py.end(d), "None"), check), wrong=2)


def _broken(code: Snippet) -> Fix:
    """The first error, mended where only a token or a comma too much stands in the way."""
    line, text = None, "The code does not parse."
    tries, rows = [re.sub(r",(?=\s*[}\]])", "", code.code)] if code.lang == "json" else [], code.code.split("\n")
    if code.lang == "python":
        line, message = _refusal(code.code)
        text, row = f"The code does not parse: {message}.", rows[line - 1].rstrip() if 0 < line <= len(rows) else ""
        closing = {"'('": ")", "'['": "]", "'{'": "}"}.get(message[:3], "") if "never closed" in message else ""
        for new in (f"{row}:", row + closing, row[:-1] + closing + ":"):
            tries += ["\n".join([*rows[: line - 1], new, *rows[line:]])] if line else []
        tries.append(re.sub(r"(?m)^([ \t]*)print[ \t]+(?!\()([^\n#;]+?)[ \t]*$", r"\1print(\2)", code.code))
    elif code.lang != "json":
        raw = grammars.encoded(code.code)
        errors = [n for n in every(grammars.parser(code.lang).parse(raw).root_node) if n.is_missing or n.is_error]
        line = errors[0].start_point[0] + 1 if errors else None
        missing = [n for n in errors if n.is_missing and n.type in (")", "]", "}", ";")]
        tries = [edited(raw, [(n.start_byte, n.start_byte, n.type)]) for n in missing[:1]]
        text = f"The code does not parse: `{missing[0].type}` is missing." if missing else text
    result = next((x for x in tries if x != code.code and grammars.parses(x, code.lang)), None)
    return Fix(line, text, ((0, len(grammars.encoded(code.code)), result),) if result is not None else (), wrong=9)


def _refusal(code: str) -> tuple[int, str]:
    """The line at which Python refuses code, and why; an empty reason where it does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(code, "code", "exec", dont_inherit=True, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        return error.lineno or 0, str(error.msg)
    except (ValueError, MemoryError, RecursionError, OverflowError) as error:
        return 0, type(error).__name__
    return 0, ""
