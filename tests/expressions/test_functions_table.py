"""Every function of the table against a plain-Python oracle, with nulls, empty texts and what is not ASCII."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pytest
from alchemist_runtime.code import functions as code_functions
from alchemist_runtime.engine.expressions import evaluate
from alchemist_runtime.engine.streams import TURN, arrow_type
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.schema.functions import FUNCTIONS
from alchemist_runtime.schema.rows import required
from hypothesis import given
from hypothesis import strategies as st

TEXTS = [
    None,
    "",
    " ",
    "a",
    "hello world",
    "Ünïcödé 日本語\n",
    "one\ntwo\n",
    "\n",
    "\n\n",
    "no end\nof line",
    "tab\there\u00a0and\u2003wide",
    "x" * 50,
    "a=b=c",
    "=",
    "==",
    "İSTANBUL ΣΑΣ",
    "e\u0301 combining",
    "😀 astral 😀",
    "line of twenty chars!\n" * 3 + "other",
    "\x00nul",
    "Sentence one is here for you. Sentence one is here for you. And three.",
    "12",
    " -7 ",
    "3.5",
    "1e3",
    "nan",
    "12345678901234567890",
    "١٢",
    "true",
    "null",
    '{"a": [1, {"b": "ü"}]}',
    "[]",
    '"text"',
    "{bad",
    "def f(x):\n    return x\n",
    "Say:\n```python\nprint(1)\n```\nand\n```\nx\n```\n",
]
NUMBERS: list[int | None] = [None, 0, 1, -3, 2**53 + 1, 7]
REALS: list[float | None] = [None, 0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 1e18, 3.25]
RealOrNone = float | None
LISTS: list[list[str] | None] = [None, [], ["a"], ["a", "b", ""], ["ü", "日"]]


def isspace(c: str) -> bool:
    return c.isspace()


def words(x: str) -> int:
    flags = [unicodedata.category(c)[0] in "LN" or c == "_" for c in x]
    return sum(f and not (i and flags[i - 1]) for i, f in enumerate(flags))


def lower(x: str) -> str:
    return "".join(low if len(low := c.lower()) == 1 else low[0] for c in x)


def lines(x: str) -> int:
    return 0 if not x else x.count("\n") + (not x.endswith("\n"))


def repeats(x: str, unit: str = "lines") -> int:
    cut = {"lines": r"\n", "sentences": r"(?<=[.!?])\s+|\n+", "paragraphs": r"\n\s*\n"}[unit]
    pieces = [p.strip() for p in re.split(cut, x)]
    counts = Counter(p for p in pieces if len(p) >= 20)
    return max(counts.values()) if counts else 0


def read(x: str) -> Any:
    try:
        return orjson.loads(x)
    except ValueError:
        return None


def whole(x: str) -> int | None:
    number = real(x)
    if number is None or number != int(number):
        return None
    exact = int(x.strip()) if re.fullmatch(r"\s*[+-]?[0-9]+\s*", x) else int(number)
    return exact if -(2**63) <= exact < 2**63 else None


def real(x: str) -> float | None:
    x = x.strip()
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", x):
        return None
    value = float(x)
    return value if abs(value) != float("inf") else None


def draw(value: Any, seed: int = 0) -> float:
    data = seed.to_bytes(8, "big") + orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return (int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") >> 11) / 2**53


def excerpt(x: str, n: int = 15, least: int | None = None) -> str:
    whole_lines = x.removesuffix("\n").split("\n")
    if least is not None:
        drawn = hashlib.blake2b(x.encode(), digest_size=8, salt=b"lines").digest()
        most = min(n, len(whole_lines))
        n = most - int.from_bytes(drawn, "big") % (most - min(least, most) + 1)
    if len(whole_lines) <= n:
        return x
    start = int.from_bytes(hashlib.blake2b(x.encode(), digest_size=8).digest(), "big") % (len(whole_lines) - n + 1)
    return "\n".join(whole_lines[start : start + n])


def conversation(x: str) -> list[dict[str, Any]] | None:
    data = read(x)
    if not isinstance(data, list) or not all(isinstance(t, dict) and {"role", "content"} <= set(t) for t in data):
        return None
    return [{"role": t["role"], "content": t["content"], "extra": None} for t in data]


def to_text(x: Any) -> str:
    return (
        x
        if isinstance(x, str)
        else {True: "true", False: "false"}[x]
        if isinstance(x, bool)
        else repr(x).removesuffix(".0")
        if isinstance(x, float) and abs(x) < 1e16
        else str(x)
    )


Case = tuple[list[Any], Callable[..., Any], Sequence[Any]]


def constants(*values: Any) -> Sequence[Any]:
    return values


DOCUMENTED: dict[str | None, str | None] = {
    None: None,
    "x = 1": None,
    'def f():\n    """ First one.\n    """\n\ndef g(a):\n    """\n    Adds it up.\n    >>> g(1)\n    """\n': "Adds it up.\n    >>> g(1)",
    "def f(a):\n    '''Two words '''\n": "Two words",
    "/**\n * Adds it up.\n * @param a\n */\nint f(int a) {": "Adds it up.\n@param a",
    "#include <a>\n/*\nCheck if\n*/\nint f() {": "Check if",
    "// first part\nx();\n\n// Returns the sum\n// of all.\nfunc F() int {": "Returns the sum\nof all.",
    "/// Adds it up.\nfn f() {} // one": "Adds it up.",
}

#: function -> cases: values of the first argument, oracle, the other arguments
CASES: dict[str, list[Case]] = {
    "chars": [(TEXTS, len, ())],
    "words": [(TEXTS, words, ())],
    "lines": [(TEXTS, lines, ())],
    "tokens": [(TEXTS, lambda x: -(-len(x) // 4), ())],
    "lower": [(TEXTS, lower, ())],
    "strip": [(TEXTS, lambda x: x.strip(), ())],
    "squeeze": [(TEXTS, lambda x: " ".join(x.split()), ())],
    "head": [(TEXTS, lambda x, n: x[: max(n, 0)], (n,)) for n in (0, 1, 3, 99, -2)],
    "after": [(TEXTS, lambda x, m: x.partition(m)[2] if m in x else None, (m,)) for m in ("=", "ö", "world", "\n")],
    "before": [(TEXTS, lambda x, m: x.partition(m)[0] if m in x else None, (m,)) for m in ("=", "ö", "world", "\n")],
    "excerpt": [
        (TEXTS, excerpt, ()),
        (TEXTS, excerpt, (1,)),
        (TEXTS, excerpt, (2,)),
        (TEXTS, excerpt, (3, 1)),
        (TEXTS, excerpt, (2, 5)),
    ],
    "replace": [(TEXTS, lambda x, a, b: x.replace(a, b), (a, b)) for a, b in (("o", "00"), ("日本", ""), ("==", "="))],
    "contains": [(TEXTS, lambda x, *m: any(p in x for p in m), m) for m in ((), ("o",), ("日", "zzz"), ("",))],
    "starts_with": [(TEXTS, lambda x, *m: x.startswith(m), m) for m in (("a",), ("Ü", "hello"), ("",))],
    "ends_with": [(TEXTS, lambda x, *m: x.endswith(m), m) for m in (("\n",), ("語", "d"), ("",))],
    "matches": [
        (TEXTS, lambda x, p: re.search(p, x) is not None, (p,)) for p in (r"^[a-z]+$", "ö", "(?i)HELLO", r"\.\s")
    ],
    "count": [
        (TEXTS, lambda x, p: len(re.findall(p, x)), (p,)) for p in ("[a-z]+", "ö", "(?i)L", "\\n", "日|本", "o{2}")
    ],
    "join": [(LISTS, lambda x, s: s.join(x), (s,)) for s in ("", ", ", "ü")],
    "repeats": [(TEXTS, repeats, ()), *((TEXTS, repeats, (u,)) for u in ("lines", "sentences", "paragraphs"))],
    "ascii_share": [(TEXTS, lambda x: sum(c < "\x80" for c in x) / len(x) if x else 1.0, ())],
    "lang": [(TEXTS, code_functions.lang, ())],
    "code": [(TEXTS, code_functions.code, ())],
    "fences": [(TEXTS, code_functions.fences, ())],
    "parses": [(TEXTS, code_functions.parses, ()), (TEXTS, code_functions.parses, ("python",))],
    "docstring": [(list(DOCUMENTED), DOCUMENTED.get, ())],
    "clarity": [(TEXTS, code_functions.clarity, ()), (TEXTS, code_functions.clarity, ("python",))],
    "organised": [(TEXTS, code_functions.organised, ()), (TEXTS, code_functions.organised, ("python",))],
    "json": [(TEXTS, lambda x: None if read(x) is None else orjson.dumps(read(x)).decode(), ())],
    "text": [
        (TEXTS, to_text, ()),
        (NUMBERS, to_text, ()),
        (REALS[:-2], to_text, ()),
        ([True, False, None], to_text, ()),
    ],
    "int": [(TEXTS, whole, ()), (NUMBERS, int, ()), (REALS, lambda x: int(x) if x == int(x) else None, ())],
    "real": [(TEXTS, real, ()), (NUMBERS, float, ()), (REALS, float, ())],
    "len": [(TEXTS, len, ()), (LISTS, len, ())],
    "coalesce": [(TEXTS, lambda x: x, ("other",)), (NUMBERS, lambda x: x, (5,))],
    "pick": [([True, False, None], lambda x: x, ("yes", "no"))],
    "min": [(NUMBERS, lambda x, y: min(x, y), (1,)), (REALS, lambda x, y: min(x, y), (1,))],
    "max": [(NUMBERS, lambda x, y: max(x, y), (1,)), (REALS, lambda x, y: max(x, y), (1,))],
    "abs": [(NUMBERS, abs, ()), (REALS, abs, ())],
    "round": [(NUMBERS, round, ()), (REALS, round, ())],
    "hash": [(TEXTS, draw, ()), (TEXTS, draw, (7,)), (NUMBERS, draw, ()), (LISTS, draw, ())],
    "turns": [([*TEXTS, '[{"role": "user", "content": "hi"}]'], conversation, ())],
    "roles": [
        (
            [None, [], [{"role": "user", "content": "a", "extra": None}, {"role": "x", "content": "", "extra": None}]],
            lambda m: [t["role"] for t in m],
            (),
        )
    ],
}


#: What this version carries out; the others only check and compile.
RUN = sorted(name for name, function in FUNCTIONS.items() if function.runs)


def column(values: Sequence[Any]) -> pa.Array:
    """The values in the Arrow type that their column type has."""
    first = next((v for v in values if v is not None), None)
    if isinstance(first, list):
        texts = any(isinstance(v, str) for x in values for v in x or ())
        return pa.array(values, pa.list_(pa.string() if texts else TURN))
    kinds: dict[type, pa.DataType] = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    return pa.array(values, kinds.get(type(first), pa.string()))


def lit(value: Any) -> list[Any]:
    return ["lit", "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "text", value]


def call(name: str, *others: Any, first: Any = None) -> list[Any]:
    """The call with its first argument from the column `x`."""
    head, *rest = FUNCTIONS[name].params
    given = [first or ["col", "x"], *(lit(v) for v in others)]
    if head.variadic:
        return ["call", name, {head.name: ["list", given]}]
    args: dict[str, Any] = {head.name: given[0]}
    for param, value in zip(rest, given[1:], strict=False):
        args[param.name] = ["list", given[1:]] if param.variadic else value
    if rest and rest[0].variadic and len(given) == 1:
        args[rest[0].name] = ["list", []]
    return ["call", name, args]


def value_of(name: str, values: Sequence[Any], *others: Any) -> list[Any]:
    batch = pa.RecordBatch.from_pydict({"x": column(values)})
    return evaluate(call(name, *others), batch).to_pylist()


def expected(name: str, oracle: Callable[..., Any], value: Any, others: Sequence[Any]) -> Any:
    if name == "coalesce":
        return others[0] if value is None else value
    if name == "pick":
        return others[0] if value else others[1]
    return None if value is None else oracle(value, *others)


def test_every_function_has_a_case() -> None:
    assert set(CASES) == set(RUN)


@pytest.mark.parametrize("name", RUN)
def test_function_equals_its_oracle(name: str) -> None:
    for values, oracle, others in CASES[name]:
        want = [expected(name, oracle, v, others) for v in values]
        assert value_of(name, values, *others) == want, others


@pytest.mark.parametrize("name", RUN)
def test_result_has_the_type_of_the_table(name: str) -> None:
    result = FUNCTIONS[name].result
    if result == "T":
        return
    for values, _, others in CASES[name]:
        got = evaluate(call(name, *others), pa.RecordBatch.from_pydict({"x": column(values)}))
        assert got.type == arrow_type(required(result))
        assert len(got) == len(values)


@pytest.mark.parametrize("name", RUN)
def test_no_rows_all_null_and_slices(name: str) -> None:
    for values, oracle, others in CASES[name][:1]:
        array = column(values)
        empty = evaluate(call(name, *others), pa.RecordBatch.from_pydict({"x": array[:0]}))
        assert len(empty) == 0
        nulls = evaluate(call(name, *others), pa.RecordBatch.from_pydict({"x": pa.nulls(3, array.type)}))
        assert nulls.to_pylist() == [expected(name, oracle, None, others)] * 3
        part = evaluate(call(name, *others), pa.RecordBatch.from_pydict({"x": array[1:]}))
        assert part.to_pylist() == value_of(name, values, *others)[1:]
        chunked = pa.table({"x": pa.chunked_array([array[:2], array[2:]])})
        assert evaluate(call(name, *others), chunked).to_pylist() == value_of(name, values, *others)


@pytest.mark.parametrize("name", [n for n in RUN if not FUNCTIONS[n].null_aware and n != "tokens"])
def test_a_null_in_any_argument_gives_null(name: str) -> None:
    params = FUNCTIONS[name].params
    for values, _, others in CASES[name][:1]:
        for i in range(1, len(params)):
            if params[i].default is None:
                continue
            filled = [*others, *([0] * len(params))][: len(params) - 1]
            filled[i - 1] = None
            made = call(name, *filled)
            part = made[2][params[i].name]
            made[2][params[i].name] = ["list", [["lit", "null", None]]] if params[i].variadic else ["lit", "null", None]
            assert part is not None
            got = evaluate(made, pa.RecordBatch.from_pydict({"x": column(values)}))
            assert got.null_count == len(got), params[i].name


def texts() -> st.SearchStrategy[str]:
    known = st.characters(exclude_categories=("Cs", "Cn", "Co"))
    return st.text(st.one_of(known, st.sampled_from(" \n=a.é日😀\t`")), max_size=60)


ORACLES = [
    "chars",
    "words",
    "lines",
    "tokens",
    "strip",
    "squeeze",
    "lower",
    "ascii_share",
    "repeats",
    "json",
    "int",
    "real",
    "excerpt",
    "hash",
]


@given(st.lists(st.one_of(st.none(), texts()), min_size=1, max_size=8))
def test_text_functions_on_any_text(values: list[str | None]) -> None:
    for name in ORACLES:
        _, oracle, others = CASES[name][0]
        assert value_of(name, values, *others) == [expected(name, oracle, v, others) for v in values], name


@given(st.lists(texts(), min_size=1, max_size=6), st.text("a=é日\n", min_size=1, max_size=2), st.text("ab", max_size=2))
def test_text_functions_with_a_mark(values: list[str], mark: str, new: str) -> None:
    for name in ("after", "before", "contains", "starts_with", "ends_with"):
        oracle = CASES[name][0][1]
        assert value_of(name, values, mark) == [oracle(v, mark) for v in values], name
    assert value_of("replace", values, mark, new) == [v.replace(mark, new) for v in values]


def test_arguments_that_differ_from_row_to_row() -> None:
    batch = pa.RecordBatch.from_pydict(
        {"x": ["a=b", "a-b", None, "ab"], "m": ["=", "-", "=", None], "n": [1, 2, 3, None]}
    )
    X, M, N = ["col", "x"], ["col", "m"], ["col", "n"]

    def at(name: str, **args: Any) -> list[Any]:
        return evaluate(["call", name, args], batch).to_pylist()

    assert at("after", x=X, mark=M) == ["b", "b", None, None]
    assert at("before", x=X, mark=M) == ["a", "a", None, None]
    assert at("head", x=X, n=N) == ["a", "a-", None, None]
    assert at("contains", x=X, any=["list", [M]]) == [True, True, None, None]
    assert at("replace", x=X, old=M, new=["lit", "text", ""]) == ["ab", "ab", None, None]
    assert at("matches", x=X, pattern=M) == [True, True, None, None]
    assert at("hash", x=X, seed=N)[0] == draw("a=b", 1)
    assert at("min", x=["list", [N, ["lit", "real", "3/2"]]]) == [1.0, 1.5, 1.5, None]
    assert at("excerpt", x=X, lines=N) == ["a=b", "a-b", None, None]


def test_the_length_of_an_excerpt_is_drawn_evenly() -> None:
    texts = [f"{k}\n" + "\n".join("abcdefghijklmnopqrst") for k in range(600)]
    batch = pa.RecordBatch.from_pydict({"x": pa.array(texts)})

    def lengths(**args: Any) -> list[int]:
        made = evaluate(["call", "excerpt", {"x": ["col", "x"], **args}], batch).to_pylist()
        return [m.count("\n") + 1 for m in made]

    fifteen, one = ["lit", "int", 15], ["lit", "int", 1]
    assert set(lengths(lines=fifteen)) == {15}
    drawn = Counter(lengths(lines=fifteen, least=one))
    assert set(drawn) == set(range(1, 16)) and min(drawn.values()) > 20


def test_tokens_are_counted_by_the_tokenizer_once_per_text() -> None:
    asked: list[str] = []

    def by_words(values: Sequence[str]) -> list[int]:
        asked.extend(values)
        return [len(v.split()) for v in values]

    batch = pa.RecordBatch.from_pydict({"x": ["a b", "a b", None, "c"]})
    assert evaluate(call("tokens"), batch, tokenizer=by_words).to_pylist() == [2, 2, None, 1]
    assert sorted(asked) == ["a b", "c"]
    turns = [
        [{"role": "user", "content": "a b", "extra": None}, {"role": "assistant", "content": "c", "extra": None}],
        None,
        [],
    ]
    messages = pa.RecordBatch.from_pydict({"x": pa.array(turns, pa.list_(TURN))})
    assert evaluate(call("tokens"), messages, tokenizer=by_words).to_pylist() == [3, None, 0]
    assert evaluate(call("tokens"), messages).to_pylist() == [2, None, 0]


def test_usual_layouts_of_conversations() -> None:
    layouts = [
        '[{"role": "human", "content": "q"}, {"role": "bot", "content": "a"}]',
        '[{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]',
        '{"conversations": [{"from": "user", "value": "q"}, {"from": "model", "value": "a"}]}',
        '["{\\"role\\": \\"user\\", \\"content\\": \\"q\\"}", "{\\"role\\": \\"assistant\\", \\"content\\": \\"a\\"}"]',
        '[{"role": "user", "content": [{"type": "text", "text": "q"}]}, {"role": "assistant", "content": "a"}]',
    ]
    for made in value_of("turns", layouts):
        assert [(t["role"], t["content"]) for t in made] == [("user", "q"), ("assistant", "a")]
    records = pa.array([[{"from": "system", "value": "s"}, {"from": "gpt", "value": None}]])
    got = evaluate(call("turns"), pa.RecordBatch.from_pydict({"x": records})).to_pylist()
    assert [(t["role"], t["content"]) for t in got[0]] == [("system", "s"), ("assistant", "")]
    tool = '[{"role": "assistant", "content": null, "tool_calls": [{"id": 1}], "weight": 0}]'
    (turn,) = value_of("turns", [tool])[0]
    assert turn["content"] == ""
    assert json.loads(turn["extra"]) == {"content": None, "tool_calls": [{"id": 1}], "weight": 0}
    assert value_of("turns", ['{"a": 1}', '["x"]', "3", '[{"role": "user"}]']) == [None] * 4


def test_a_pattern_that_is_none_is_named() -> None:
    with pytest.raises(RunError) as caught:
        value_of("matches", ["x"], "(")
    assert caught.value.problem.code == "A208"
    assert "`(` is not a regular expression" in caught.value.problem.headline
