"""What parses, into which tree, with which spans."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemist_dsl.source import SourceFile, Span
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.decode import BadNumber, read_number
from alchemist_dsl.syntax.parse import decode, parse, parse_value

PAPER = (Path(__file__).parent / "paper.recipe").read_text()


def tree(text: str) -> ast.File:
    file, problems = parse(SourceFile("r.recipe", "edition 2026\n" + text))
    assert not problems, problems
    return file


def block(body: str) -> ast.Block:
    (only,) = tree(f"filter a {{\n{body}\n}}\n").items
    assert isinstance(only, ast.Block)
    return only


def value(text: str) -> ast.Expr:
    (only,) = block(f"x = {text}").body
    assert isinstance(only, ast.Assign)
    return only.value


def source(node: Any, text: str) -> str:
    span: Span = node.span
    return text[span.start : span.end]


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "amount", "unit"),
    [
        ("5%", "percent", Fraction(1, 20), None),
        ("0.5%", "percent", Fraction(1, 200), None),
        ("50_000", "int", 50_000, None),
        ("50k", "int", 50_000, None),
        ("1.5M", "int", 1_500_000, None),
        ("7B", "int", 7 * 10**9, None),
        ("200M tokens", "tokens", 200 * 10**6, None),
        ("50k rows", "rows", 50_000, None),
        ("1 row", "rows", 1, None),
        ("800 chars", "chars", 800, None),
        ("60 words", "words", 60, None),
        ("12 lines", "lines", 12, None),
        ("15 steps", "steps", 15, None),
        ("4 calls", "calls", 4, None),
        ("3x", "multiplier", 3, None),
        ("0.5x", "multiplier", Fraction(1, 2), None),
        ("14.3 parts", "parts", Fraction(143, 10), None),
        ("$250", "money", 250, None),
        ("$1.2k", "money", 1200, None),
        ("512MiB", "bytes", 512 * 2**20, None),
        ("2GB", "bytes", 2 * 10**9, None),
        ("90s", "duration", 90, None),
        ("15m", "duration", 900, None),
        ("2h", "duration", 7200, None),
        ("250ms", "duration", Fraction(1, 4), None),
        ("500/min", "rate", Fraction(25, 3), "calls"),
        ("2M tokens/min", "rate", Fraction(100_000, 3), "tokens"),
        ("1e-4", "real", Fraction(1, 10_000), None),
        ("0.85", "real", Fraction(17, 20), None),
        ("42", "int", 42, None),
    ],
)
def test_numbers(text: str, kind: str, amount: Fraction, unit: str | None) -> None:
    found = value(text)
    assert isinstance(found, ast.Quantity)
    assert (found.kind, found.value, found.unit, found.text) == (kind, amount, unit, text)


@given(st.from_regex(r"\$?[0-9][0-9A-Za-z_.%]{0,12}( (rows|tokens|parts))?(/(s|min|h))?", fullmatch=True))
def test_reading_a_number_never_raises(text: str) -> None:
    read = read_number(text)
    if isinstance(read, BadNumber):
        assert text in read.headline or "too long" in read.headline
        assert read.better is None or not isinstance(read_number(read.better), BadNumber)


def test_an_exact_fraction_stays_exact() -> None:
    found = value("33.333333333333333333%")
    assert isinstance(found, ast.Quantity)
    assert found.value == Fraction(33333333333333333333, 10**20)


# --- texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ('"a\\nb"', "a\nb"),
        ('""', ""),
        ('"\\u00e9\\ud83d\\ude00 \\" \\\\ \\/"', 'é😀 " \\ /'),
        ('"# no comment { } ["', "# no comment { } ["),
    ],
)
def test_strings(literal: str, text: str) -> None:
    found = value(literal)
    assert isinstance(found, ast.Text)
    assert (found.value, found.form) == (text, "string")


def test_a_text_block_loses_the_indentation_of_its_closing_quotes() -> None:
    body = 'jinja"""\n    Say {{ x }}.\n\n      indented   \n    """'
    text = f"edition 2026\nfilter a {{\nx = {body}\n}}\n"
    found = value(body)
    assert isinstance(found, ast.Text)
    assert (found.value, found.form) == ("Say {{ x }}.\n\n  indented   ", "template")
    for line, offset in zip(found.value.split("\n"), found.line_offsets, strict=True):
        assert text[offset : offset + len(line)] == line


def test_longer_quotes_allow_shorter_ones_inside() -> None:
    found = value('""""\n  """\n  user = jinja"""\n  """\n  """"')
    assert isinstance(found, ast.Text)
    assert found.value == '"""\nuser = jinja"""\n"""'


def test_nothing_in_a_text_block_is_escaped() -> None:
    found = value('"""\n  \\n # no comment "\n  """')
    assert isinstance(found, ast.Text)
    assert found.value == '\\n # no comment "'


def test_an_empty_text_block() -> None:
    found = value('"""\n  """')
    assert isinstance(found, ast.Text)
    assert (found.value, found.line_offsets) == ("", ())


# --- expressions ------------------------------------------------------------------------------------------------------


def shape(e: Any) -> str:
    """An expression with all its parentheses."""
    match e:
        case ast.Binary(op=op, left=left, right=right):
            return f"({shape(left)} {op} {shape(right)})"
        case ast.Unary(op=op, operand=operand):
            return f"({op} {shape(operand)})"
        case ast.Interval(low=low, high=high):
            return f"<{shape(low)}..{shape(high)}>"
        case ast.Call(function=f, args=args):
            inside = ", ".join((f"{a.name.name}=" if a.name else "") + shape(a.value) for a in args)
            return f"{f.name}({inside})"
        case ast.Member(base=base, name=name):
            return f"{shape(base)}.{name.name}"
        case ast.Index(base=base, index=index):
            return f"{shape(base)}[{shape(index)}]"
        case ast.ListExpr(items=items):
            return "[" + ", ".join(map(shape, items)) + "]"
        case ast.Record(fields=fields):
            return "{" + ", ".join(f"{f.name.name}={shape(f.value)}" for f in fields) + "}"
        case ast.Quantity(text=text) | ast.Name(name=text):
            return str(text)
        case ast.Text(value=text):
            return repr(text)
        case ast.Bool(value=flag):
            return str(flag).lower()
        case ast.Null():
            return "null"
    raise AssertionError(e)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a or b and not c", "(a or (b and (not c)))"),
        ("a + b * -c - d", "((a + (b * (- c))) - d)"),
        ("a == b + 1", "(a == (b + 1))"),
        ("chars(x) in 50..8000 and y", "((chars(x) in <50..8000>) and y)"),
        ("a not in [1, 2,]", "(a not in [1, 2])"),
        ("not a in b", "(not (a in b))"),
        ("minhash(ngram = 5, threshold = 0.8)", "minhash(ngram=5, threshold=0.8)"),
        ("f(x, y = 2,)", "f(x, y=2)"),
        ("lib.a.b[1].c", "lib.a.b[1].c"),
        ('row["keep"]', "row['keep']"),
        ("[a, [b], {}]", "[a, [b], {}]"),
        ("{ a = 1, b = { c = null } }", "{a=1, b={c=null}}"),
        ("(a or b) and true", "((a or b) and true)"),
        ("10 / chars(x) - 500 / min(a, b)", "((10 / chars(x)) - (500 / min(a, b)))"),
        ("now() ", "now()"),
        ("param.share", "param.share"),
    ],
)
def test_expressions(text: str, wanted: str) -> None:
    assert shape(value(text)) == wanted


def test_newlines_inside_brackets_mean_nothing() -> None:
    assert shape(value("[\n a,\n\n # why\n b\n]")) == "[a, b]"
    assert shape(value("(a\n and b)")) == "(a and b)"


def test_records_over_several_lines() -> None:
    assert shape(value("{\n a = 1\n b = 2,\n c = 3,\n}")) == "{a=1, b=2, c=3}"
    assert shape(value("[\n { a = 1\n b = 2 },\n { a = 3 }\n]")) == "[{a=1, b=2}, {a=3}]"


def test_a_parenthesis_belongs_to_the_span() -> None:
    text = "edition 2026\nfilter a {\nx = (a or b) and c\n}\n"
    found = value("(a or b) and c")
    assert isinstance(found, ast.Binary)
    assert source(found, text) == "(a or b) and c"
    assert source(found.left, text) == "(a or b)"


# --- statements and blocks --------------------------------------------------------------------------------------------


def test_statements() -> None:
    body = block(
        "select = 5% per origin\nprice = $30 per 1M tokens\nset a = b\nset sft.take.math = 1k rows\n"
        "keep a\ndrop b as bad\nexpect rows >= 1\nname: text? = null\nprice { input = $1 per 1M tokens }"
    ).body
    kinds = [type(s).__name__ for s in body]
    assert kinds == ["Assign", "Assign", "Assign", "Assign", "RuleStmt", "RuleStmt", "RuleStmt", "FieldDecl", "Block"]
    first, price, plain, dotted, _, drop, _, field, inner = body
    assert isinstance(first, ast.Assign) and isinstance(first.per, ast.Name)
    assert isinstance(price, ast.Assign) and isinstance(price.per, ast.Quantity)
    assert isinstance(plain, ast.Assign) and plain.set
    assert isinstance(dotted, ast.Assign) and [i.name for i in dotted.path] == ["sft", "take", "math"]
    assert isinstance(drop, ast.RuleStmt) and drop.name is not None and drop.name.name == "bad"
    assert isinstance(field, ast.FieldDecl) and field.type.nullable and isinstance(field.default, ast.Null)
    assert isinstance(inner, ast.Block) and inner.name is None and len(inner.body) == 1


def test_a_block_on_one_line() -> None:
    (only,) = tree("input { instruction: text, response: text }\n").items
    assert isinstance(only, ast.Block) and len(only.body) == 2


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("text", "text"),
        ("int(0..10)", "int(0..10)"),
        ("real(-1..1)", "real(-1..1)"),
        ("int(1..)", "int(1..)"),
        ("list<text>", "list<text>"),
        ("list< list<int> >?", "list<list<int>>?"),
        ('enum("a", "b",)', 'enum("a","b")'),
        ("alchemy.sft", "alchemy.sft"),
    ],
)
def test_types(text: str, canonical: str) -> None:
    (only,) = block(f"x: {text}").body
    assert isinstance(only, ast.FieldDecl)
    assert only.type.text == canonical


def test_words_of_the_top_level_are_names_elsewhere() -> None:
    found = block("param = import\nedition = param.x").body
    assert [shape(s.value) for s in found if isinstance(s, ast.Assign)] == ["import", "param.x"]


def test_documentation_belongs_to_what_follows() -> None:
    file = tree(
        "## One\n## two.\n\nparam a: int\n\nfilter b {\n  ## Why.\n  # not this\n  drop x ## nor this\n  keep y\n}\n"
    )
    param, filter_ = file.items
    assert isinstance(param, ast.ParamDecl) and param.doc == "One\ntwo."
    assert isinstance(filter_, ast.Block)
    assert [s.doc for s in filter_.body] == ["Why.", None]
    assert [c.text for c in file.comments] == ["## One", "## two.", "## Why.", "# not this", "## nor this"]


def test_the_paper() -> None:
    file, problems = parse(SourceFile("paper.recipe", PAPER))
    assert not problems
    assert file.edition is not None and file.edition.year == 2026
    names = [i.name.name for i in file.items if isinstance(i, ast.Block) and isinstance(i.name, ast.Ident)]
    assert {"gpt4", "evol", "clean", "harmonized", "sft", "alchemist_ds", "directly_mix"} <= set(names)
    clean = next(i for i in file.items if isinstance(i, ast.Block) and getattr(i.name, "name", "") == "clean")
    assert PAPER[clean.header.start : clean.header.end] == "filter clean"
    assert PAPER[clean.span.start : clean.span.end].endswith("}")
    rules = [PAPER[s.condition.span.start : s.condition.span.end] for s in clean.body if isinstance(s, ast.RuleStmt)]
    assert rules[2] == "not parses(code(response), lang)"


# --- from outside -----------------------------------------------------------------------------------------------------


def test_a_value_from_outside() -> None:
    found, problems = parse_value("5%", "--set share")
    assert isinstance(found, ast.Quantity) and not problems
    found, problems = parse_value(" [a, 2] ", "--set x")
    assert isinstance(found, ast.ListExpr) and not problems


@pytest.mark.parametrize("text", ["", "5% 6%", "a =", "[a", "{ a b }", '"x', "a\nb"])
def test_a_bad_value_from_outside(text: str) -> None:
    found, problems = parse_value(text, "--set x")
    assert problems and (found is None or problems)


def test_bytes() -> None:
    file, problems = decode("x", b"\xef\xbb\xbfedition 2026\r\n# \xc3\xa9\r")
    assert file is not None and not problems
    assert file.text == "edition 2026\n# é\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"edition 2026\n# caf\xe9\n", "byte 0xe9 at offset 18, on line 2"), ("x".encode("utf-16"), "UTF-16")],
)
def test_bytes_that_are_no_text(data: bytes, words: str) -> None:
    file, (problem,) = decode("x", data)
    assert file is None and problem.code == "A014" and words in problem.headline
