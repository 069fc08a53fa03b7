"""Nodes of expression trees: null rules, types, JSON paths, records and lists, sharing, worker processes, messages."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from alchemist_runtime.engine import row_functions
from alchemist_runtime.engine.expressions import Scope, evaluate
from alchemist_runtime.engine.row_functions import Session, Workers
from alchemist_runtime.engine.streams import TURN
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.schema.expressions import columns_read, expression
from alchemist_runtime.schema.plan import text_digest
from hypothesis import given
from hypothesis import strategies as st

NULL = ["lit", "null", None]
TRUE, FALSE = ["lit", "bool", True], ["lit", "bool", False]
MIXED = '{"a": {"b": [10, 20.5, "x"], "ok": true}, "n": "7"}'


def i(value: int | str) -> list[Any]:
    return ["lit", "int", value]


def t(value: str) -> list[Any]:
    return ["lit", "text", value]


def c(name: str) -> list[Any]:
    return ["col", name]


def values(expr: list[Any], types: dict[str, str] | None = None, **columns: Any) -> list[Any]:
    batch = pa.RecordBatch.from_pydict(columns or {"_": [0]})
    return evaluate(expr, batch, types=types).to_pylist()


def problem(expr: list[Any], types: dict[str, str] | None = None, **columns: Any) -> Any:
    with pytest.raises(RunError) as caught:
        values(expr, types, **columns)
    assert caught.value.exit_code == 1
    return caught.value.problem


def test_literals_are_repeated_and_exact() -> None:
    assert values(i(5), a=[1, 2]) == [5, 5]
    assert values(["lit", "int", "50000"], a=[1]) == [50_000]
    assert values(["lit", "percent", "1/20"], a=[1]) == [0.05]
    assert values(["lit", "money", "0.0005"], a=[1]) == [0.0005]
    assert values(["lit", "real", "1/3"], a=[1]) == [1 / 3]
    assert values(["lit", "rows", 7], a=[1]) == [7]
    assert values(NULL, a=[1, 2]) == [None, None]
    assert values(t("ü"), a=[]) == []


def test_comparisons_over_null_are_null_and_equals_null_asks() -> None:
    x = [1, None, 3]
    assert values(["cmp", "<", c("x"), i(2)], x=x) == [True, None, False]
    assert values(["cmp", "==", c("x"), NULL], x=x) == [False, True, False]
    assert values(["cmp", "!=", NULL, c("x")], x=x) == [True, False, True]
    assert values(["cmp", "==", NULL, NULL], x=x) == [True] * 3
    assert values(["cmp", "<", c("x"), NULL], x=x) == [None] * 3
    assert values(["cmp", "==", c("x"), c("x")], x=x) == [True, None, True]


def test_and_or_not_are_three_valued() -> None:
    three = {"a": [True, True, True, False, False, False, None, None, None], "b": [True, False, None] * 3}
    assert values(["and", [c("a"), c("b")]], **three) == [True, False, None, False, False, False, None, False, None]
    assert values(["or", [c("a"), c("b")]], **three) == [True, True, True, True, False, None, True, None, None]
    assert values(["not", c("b")], **three)[:3] == [False, True, None]
    guard = ["or", [["cmp", "==", c("x"), NULL], ["cmp", "<", ["call", "chars", {"x": c("x")}], i(3)]]]
    assert values(guard, x=[None, "ab", "abc"]) == [True, True, False]
    assert values(["and", [TRUE, NULL]], x=[1]) == [None]


def test_numbers_of_several_types_compare_and_add() -> None:
    assert values(["cmp", "<=", c("x"), ["lit", "percent", "1/20"]], x=[0.05, 0.0500001, 0.04]) == [True, False, True]
    assert values(["cmp", "==", c("x"), ["lit", "real", "3"]], x=[3, 4]) == [True, False]
    assert values(["cmp", ">", c("x"), ["lit", "real", "7/2"]], x=[3, 4]) == [False, True]
    assert values(["num", "+", c("x"), ["lit", "real", "1/2"]], x=[1, None]) == [1.5, None]
    assert values(["num", "*", c("x"), i(3)], x=[2, -1]) == [6, -3]
    assert values(["num", "-", c("x"), c("y")], x=[2, 5], y=[7, None]) == [-5, None]
    assert values(["neg", c("x")], x=[2, None]) == [-2, None]
    assert values(["num", "+", c("x"), NULL], x=[2]) == [None]
    big = 2**53 + 1
    assert values(["cmp", "==", c("x"), i(big)], x=[big, big - 1]) == [True, False]


def test_division_is_real_and_by_zero_null() -> None:
    assert values(["num", "/", c("x"), c("y")], x=[7, 7, 0, None], y=[2, 0, 0, 1]) == [3.5, None, None, None]
    assert values(["num", "/", i(1), ["lit", "real", "0"]], x=[1]) == [None]


def test_too_large_numbers_are_an_error_and_not_another_number() -> None:
    found = problem(["num", "*", c("x"), i(2)], x=[2**62])
    assert found.code == "A504"
    assert "`x * 2`" in found.headline


def test_membership() -> None:
    one_of = ["in", c("x"), ["list", [t("a"), t("b")]]]
    assert values(one_of, x=["a", "c", None]) == [True, False, None]
    assert values(["in", c("x"), ["list", []]], x=["a", None]) == [False, None]
    closed = ["in", c("x"), ["interval", i(2), ["lit", "real", "9/2"]]]
    assert values(closed, x=[1, 2, 4, 5, None]) == [False, True, True, False, None]
    assert values(["in", c("x"), c("xs")], x=["a", "b", None], xs=[["a"], ["a"], []]) == [True, False, None]
    assert values(["in", c("x"), ["list", [c("y"), t("z")]]], x=["a", "z"], y=["a", None]) == [True, True]
    assert values(["not", one_of], x=["a", "c", None]) == [False, True, None]


def test_text_is_joined_and_null_swallows() -> None:
    assert values(["cat", c("x"), t("\n")], x=["ü", "", None]) == ["ü\n", "\n", None]
    assert values(["cat", c("x"), NULL], x=["a"]) == [None]
    assert problem(["cat", c("n"), t("x")], n=[1]).help == "cast it with text(…)"


def test_lists_and_records_and_their_elements() -> None:
    made = ["list", [c("x"), i(0)]]
    assert values(made, x=[1, None]) == [[1, 0], [None, 0]]
    assert values(["item", made, i(0)], x=[1, None]) == [1, None]
    assert values(["item", made, i(-1)], x=[1, None]) == [0, 0]
    assert values(["item", made, i(2)], x=[1, None]) == [None, None]
    assert values(["item", c("xs"), c("k")], xs=[["a", "b"], ["c"], None, []], k=[1, -1, 0, 0]) == [
        "b",
        "c",
        None,
        None,
    ]
    record = ["record", {"a": c("x"), "b": t("t"), "n": NULL}]
    assert values(record, x=[1]) == [{"a": 1, "b": "t", "n": None}]
    assert values(["field", record, "b"], x=[1]) == ["t"]
    assert values(["field", c("r"), "a"], r=pa.array([{"a": 1}, None, {"a": None}])) == [1, None, None]
    missing = problem(["field", c("r"), "z"], r=pa.array([{"a": 1}]))
    assert "no field `z`; its fields: a" in missing.headline
    assert values(["list", []], x=[1]) == [[]]
    sliced = pa.array([["z"], ["a", "b"], ["c"]])[1:]
    assert values(["item", c("xs"), i(0)], xs=sliced) == ["a", "c"]


def test_turns_have_fields_and_further_keys() -> None:
    chat = pa.array([[{"role": "user", "content": "q", "extra": '{"name": "bob"}'}], None], pa.list_(TURN))
    first = ["item", c("m"), i(0)]
    assert values(["field", first, "content"], m=chat) == ["q", None]
    assert values(["call", "text", {"x": ["field", first, "name"]}], m=chat) == ["bob", None]


def test_json_is_read_by_path_and_cast() -> None:
    path = ["field", ["field", c("j"), "a"], "b"]
    data = {"j": [MIXED, "{}", None, "no json", '{"a": []}']}
    assert values(["item", path, i(2)], **data) == ['"x"', None, None, None, None]
    assert values(["call", "text", {"x": ["item", path, i(2)]}], **data)[0] == "x"
    assert values(["call", "int", {"x": ["item", path, i(0)]}], **data)[0] == 10
    assert values(["call", "int", {"x": ["item", path, i(1)]}], **data)[0] is None
    assert values(["call", "real", {"x": ["item", path, i(1)]}], **data)[0] == 20.5
    assert values(["call", "int", {"x": ["field", c("j"), "n"]}], **data)[0] == 7
    assert values(["call", "len", {"x": path}], **data)[0] == 3
    assert values(["item", path, c("k")], **data, k=[-1, 0, 0, 0, 0])[0] == '"x"'
    assert values(["cmp", ">", ["item", path, i(1)], i(20)], **data)[0] is True
    assert values(["cmp", "==", ["item", path, i(2)], t("x")], **data) == [True, None, None, None, None]
    assert values(["not", ["field", ["field", c("j"), "a"], "ok"]], **data)[0] is False
    inside = ["field", ["field", c("r"), "meta"], "k"]
    assert values(["call", "text", {"x": inside}], r=pa.array([{"meta": '{"k": "v"}'}])) == ["v"]


def test_types_tell_json_from_text() -> None:
    as_text = ["call", "text", {"x": c("j")}]
    assert values(as_text, j=['"x"', "[1]", "null"]) == ['"x"', "[1]", "null"]
    assert values(as_text, {"j": "json?"}, j=['"x"', "[1]", "null"]) == ["x", "[1]", None]
    assert values(["cmp", "==", c("j"), t("x")], {"j": "json"}, j=['"x"']) == [True]
    assert values(["call", "chars", {"x": c("j")}], {"j": "json"}, j=['"xyz"']) == [3]
    either = ["call", "coalesce", {"x": ["list", [c("j"), t("none")]]}]
    assert values(either, {"j": "json?"}, j=['"x"', None]) == ["x", "none"]
    choice = ["call", "pick", {"condition": TRUE, "then": c("j"), "otherwise": i(0)}]
    assert values(choice, {"j": "json"}, j=["5"]) == [5]
    assert values(["cat", c("j"), t("!")], {"j": "json"}, j=['"x"']) == ["x!"]


def test_ids_beside_texts_are_their_digits() -> None:
    ids = pa.array([bytes(range(16)), None], pa.binary(16))
    assert values(["cmp", "==", c("_id"), t(bytes(range(16)).hex())], _id=ids) == [True, None]
    assert values(["call", "text", {"x": c("_id")}], _id=ids) == [bytes(range(16)).hex(), None]


def test_nested_values_compare_by_content() -> None:
    xs = pa.array([["a"], [], None])
    assert values(["cmp", "==", c("xs"), ["list", []]], xs=xs) == [False, True, None]
    assert problem(["cmp", "<", c("xs"), c("xs")], xs=xs).code == "A504"
    assert values(["call", "coalesce", {"x": ["list", [c("xs"), ["list", [t("z")]]]]}], xs=xs) == [["a"], [], ["z"]]


def test_columns_of_other_arrow_types_are_read() -> None:
    assert values(["call", "chars", {"x": c("x")}], x=pa.array(["ab", "c"]).dictionary_encode()) == [2, 1]
    assert values(["call", "chars", {"x": c("x")}], x=pa.array(["ab"], pa.large_string())) == [2]
    assert values(["cmp", "==", c("x"), i(3)], x=pa.array([3], pa.int8())) == [True]
    assert values(["num", "+", c("x"), i(1)], x=pa.array([0.5], pa.float32())) == [1.5]


def test_the_answer_of_a_teacher() -> None:
    out = pa.array([{"prompt": "Use recursion.", "score": 7}, None])
    batch = pa.RecordBatch.from_pydict({"instruction": ["Sort.", "Add."]})
    joined = ["cat", ["cat", ["out", "prompt"], t("\n")], c("instruction")]
    assert evaluate(joined, batch, out=out).to_pylist() == ["Use recursion.\nSort.", None]
    assert evaluate(["cmp", ">=", ["out", "score"], i(7)], batch, out=out).to_pylist() == [True, None]
    with pytest.raises(ValueError, match="only where a teacher answers"):
        evaluate(["out", "prompt"], batch)


def test_messages_name_the_place() -> None:
    unknown = problem(["call", "chars", {"x": c("reponse")}], response=["a"])
    assert (unknown.code, unknown.headline) == ("A503", "the rows have no column `reponse`")
    assert unknown.note == "columns read: response"
    assert problem(["cmp", "<", c("x"), t("a")], x=[1]).headline == "`<` takes values of one type, not int and text"
    assert problem(["call", "chars", {"x": c("x")}], x=[1]).headline == "`chars` takes a text, not int"
    assert problem(["and", [c("x"), TRUE]], x=["a"]).headline == "`x` is no condition: it is text"
    assert problem(["num", "+", c("x"), i(1)], x=["a"]).headline == "`x` is text, not a number"
    assert problem(["call", "lang", {"x": c("x")}], x=[1]).headline == "`lang` takes text, not int"
    with pytest.raises(ValueError, match="no value in a row"):
        values(["total", "rows"], x=[1])


def test_show_is_about_what_was_written() -> None:
    tree = [
        "not",
        [
            "and",
            [
                ["cmp", "<", ["call", "chars", {"x": c("a")}], i(80)],
                ["in", ["item", ["field", c("m"), "x"], i(0)], ["interval", i(1), i(2)]],
            ],
        ],
    ]
    assert expression(tree) == "not ((chars(a) < 80) and (m.x[0] in 1..2))"
    assert (
        expression(["call", "contains", {"x": c("a"), "any": ["list", [t('"'), NULL]]}]) == 'contains(a, "\\"", null)'
    )


def test_columns_read_finds_all_and_nothing_else() -> None:
    tree = [
        "and",
        [
            ["cmp", "==", ["call", "contains", {"x": c("a"), "any": ["list", [c("b"), t("col")]]}], TRUE],
            ["in", ["field", c("d"), "e"], ["list", [c("f"), ["out", "g"]]]],
            ["cmp", "==", ["template", "b2:x", ["h", "out"]], ["cat", c("i"), ["item", c("k"), ["neg", c("l")]]]],
            ["cmp", "==", ["record", {"m": c("n")}], ["lit", "list<text>", ["col", "zz"]]],
            ["in", c("o"), ["interval", c("p"), i(1)]],
        ],
    ]
    assert columns_read(tree) == set("abdfhiklnop")
    assert columns_read(t("col")) == frozenset()


# --- templates in expressions -----------------------------------------------------------------------------------------


def test_templates_see_typed_values() -> None:
    text = "{{ meta.k }}|{% for t in history %}{{ t.role }}:{{ t.content }}{{ t.name }};{% endfor %}|{{ note }}|{{ before.x }}|{{ out.score }}"
    history = pa.array([[{"role": "user", "content": "{{ note }}", "extra": '{"name": "bob"}'}]], pa.list_(TURN))
    batch = pa.RecordBatch.from_pydict(
        {"meta": ['{"k": [1]}'], "history": history, "note": pa.nulls(1, pa.string()), "before": pa.array([{"x": 2}])}
    )
    digest = text_digest(text)
    expr = ["template", digest, ["meta", "history", "note", "before", "out"]]
    got = evaluate(expr, batch, texts={digest: text}, types={"meta": "json"}, out=pa.array([{"score": 3}]))
    assert got.to_pylist() == ["[1]|user:{{ note }}bob;||2|3"]


# --- sharing and worker processes -------------------------------------------------------------------------------------

CODE = ["call", "code", {"x": c("x")}]
PROGRAMS = [
    "def f():\n    return 1\n",
    "x = = 1",
    "for i in range(3):\n    print(i)\n",
    None,
    "def f():\n    return 1\n",
]


def test_what_several_rules_share_is_computed_once() -> None:
    session = Session(Workers(1))
    scope = Scope(pa.RecordBatch.from_pydict({"x": PROGRAMS}), session=session)
    scope(["cmp", "==", CODE, NULL])
    once = session.calls
    assert once == 3  # distinct texts, null not asked
    scope(["call", "parses", {"x": CODE, "lang": t("python")}])
    asked = session.calls
    scope(["not", ["call", "parses", {"x": CODE, "lang": t("python")}]])
    assert session.calls == asked
    rest = scope.take([0, 2])
    assert rest(CODE).to_pylist() == [PROGRAMS[0], PROGRAMS[2]]
    assert session.calls == asked
    other = Scope(pa.RecordBatch.from_pydict({"x": PROGRAMS[:1]}), session=session)
    other(CODE)
    assert session.calls == asked  # the verdict on this text is known from the other batch


def test_worker_processes_give_what_one_process_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_functions, "POOL_FROM", 10)
    monkeypatch.setattr(row_functions, "POOL_BATCH", 7)
    texts = [f"def f{n}(x):\n    return x + {n}\n" if n % 3 else f"no code at all, number {n}." for n in range(60)]
    fenced = [f"So:\n```python\n{x}```\n" if n % 2 else x for n, x in enumerate(texts)]
    batch = pa.RecordBatch.from_pydict({"x": [*fenced, None, fenced[0]]})
    alone, pooled = Session(Workers(1)), Session(Workers(2))
    try:
        for name in sorted(row_functions.CODE):
            expr = ["call", name, {"x": c("x")}]
            assert evaluate(expr, batch, session=pooled).equals(evaluate(expr, batch, session=alone)), name
        assert pooled.workers._pool is not None
        assert alone.workers._pool is None
    finally:
        pooled.close()
    assert pooled.workers._pool is None


def test_a_killed_worker_does_not_stop_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import signal

    monkeypatch.setattr(row_functions, "POOL_FROM", 1)
    workers = Workers(2)
    assert workers.map("fences", [("a",), ("```\nx\n```",)]) == [0, 1]
    assert workers._pool is not None
    for process in list(workers._pool._processes.values()):
        os.kill(process.pid, signal.SIGKILL)
    assert workers.map("fences", [("a",), ("```\nx\n```",)]) == [0, 1]
    workers.close()


def test_verdicts_that_are_long_are_not_kept() -> None:
    session = Session(Workers(1))
    long = "Here:\n```python\n" + "print('a line of code')\n" * 20 + "```\n"
    got = evaluate(CODE, pa.RecordBatch.from_pydict({"x": [long, PROGRAMS[0]]}), session=session)
    assert got[0].as_py().count("print") == 20
    assert len(session.verdicts) == 1


@given(
    st.lists(st.one_of(st.none(), st.integers(-5, 5)), min_size=1, max_size=9),
    st.lists(st.one_of(st.none(), st.integers(-5, 5)), min_size=9, max_size=9),
)
def test_arithmetic_and_order_agree_with_python(a: list[int | None], b: list[int | None]) -> None:
    b = b[: len(a)]
    pairs = list(zip(a, b, strict=True))
    x, y = pa.array(a, pa.int64()), pa.array(b, pa.int64())
    operations = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
    for op, function in operations.items():
        want = [None if p is None or q is None else function(p, q) for p, q in pairs]
        assert values(["num", op, c("x"), c("y")], x=x, y=y) == want
    orders = {"<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__, "==": int.__eq__, "!=": int.__ne__}
    for op, function in orders.items():
        want = [None if p is None or q is None else function(p, q) for p, q in pairs]
        assert values(["cmp", op, c("x"), c("y")], x=x, y=y) == want
