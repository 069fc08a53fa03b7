"""Templates over rows: values are data, nothing but the row is seen, what goes wrong names the row."""

from __future__ import annotations

import pytest
from alchemist_runtime.engine.turns import render
from alchemist_runtime.schema.codes import RunError


def test_values_enter_as_text_and_are_never_read_as_templates() -> None:
    rows = ["{{ 7 * 7 }}", "{% if x %}", "<b>&</b>", "{# note #}", "ü\n"]
    assert render("[{{ x }}]", {"x": rows}, 5) == [f"[{r}]" for r in rows]


def test_nothing_prints_nothing_and_may_be_asked() -> None:
    text = "{% if x %}has {{ x }}{% else %}none{% endif %}|{{ x }}"
    assert render(text, {"x": ["a", None]}, 2) == ["has a|a", "none|"]


def test_lines_of_block_tags_leave_no_blank_lines() -> None:
    text = "A\n{% for t in turns %}\n  - {{ t.role }}\n{% endfor %}\nZ\n"
    assert render(text, {"turns": [[{"role": "user"}, {"role": "assistant"}]]}, 1) == ["A\n  - user\n  - assistant\nZ"]


def test_json_is_not_escaped_for_a_page() -> None:
    assert render("{{ x | tojson }}", {"x": [{"a": "<ü>"}]}, 1) == ['{"a": "<ü>"}']


def test_a_template_without_columns() -> None:
    assert render("same", {}, 3) == ["same"] * 3
    assert render("{{ x }}", {"x": []}, 0) == []


def failed(text: str, **columns: list[object]) -> RunError:
    with pytest.raises(RunError) as caught:
        render(text, columns, len(next(iter(columns.values()))), node="step", place=lambda i: f"row {i:02}")
    return caught.value


def test_an_unknown_name_is_an_error_that_names_the_row() -> None:
    problem = failed("{{ x.a }}", x=[{"a": 1}, {}]).problem
    assert (problem.code, problem.node, problem.place) == ("A402", "step", "row 01")
    assert failed("{{ nothing }}", x=[1]).problem.code == "A402"
    assert failed("{{ x + 1 }}", x=["a"]).problem.code == "A409"
    assert failed("{% for %}", x=["a"]).problem.code == "A401"


@pytest.mark.parametrize(
    "text",
    [
        "{{ x.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ x.append(1) }}",
        "{{ (x | attr('__class__')).__name__ }}",
        "{{ lipsum() }}",
        "{{ x | random }}",
        "{% include 'a' %}",
    ],
)
def test_a_template_reaches_nothing_but_its_row(text: str) -> None:
    assert failed(text, x=[[1, 2]]).problem.code in ("A401", "A402", "A409")


def test_what_is_counted_is_rendered_as_before() -> None:
    text = (
        "{% for i in x %}{{ loop.index }}/{{ loop.length }}:{{ i }}{{ ', ' if not loop.last }}{% endfor %}|"
        "{% for i in [] %}{% else %}none{% endfor %}|{{ 'a' ~ 1 ~ x[0] }}|{{ 2 ** 3 * 4 % 5 }}|{{ x | map('string') | join('+') }}|"
        "{{ '%-4s|%.2f' | format('é', 1.5) }}|{{ '{:>{}}'.format(7, 3) }}|{{ 'ab' * 2 + 'c' }}|{{ 'x' | center(3) }}|"
        "{{ 'a-b' | replace('-', '+') }}|{{ 2.345 | round(1) }}|{{ [1, 2, 3] | batch(2, 0) | list }}|{{ 'a\nb' | indent(2) }}"
    )
    assert render(text, {"x": [[5, 6]]}, 1) == [
        "1/2:5, 2/2:6|none|a15|2|5+6|é   |1.50|  7|ababc| x |a+b|2.3|[[1, 2], [3, 0]]|a\n  b"
    ]
    nested = "{% for i in x recursive %}{{ i if i is number else '(' ~ loop(i) ~ ')' }}{% endfor %}"
    assert render(nested, {"x": [[1, [2, [3]]]]}, 1) == ["1(2(3))"]


#: What would take all memory or years; none of it is begun.
TOO_MUCH = {
    "power": "{{ 9 ** (9 ** 9) }}",
    "product": "{{ 'a' * 9999999999 }}",
    "list": "{{ [1] * 9999999999 }}",
    "center": "{{ 'a' | center(9999999999) }}",
    "map": "{{ x | map('center', 9999999999) | list }}",
    "method": "{{ 'a'.ljust(9999999999) }}",
    "printf": "{{ '%9999999999d' % 1 }}",
    "printf-filter": "{{ '%*d' | format(9999999999, 1) }}",
    "format": "{{ '{:9999999999}'.format(1) }}",
    "format-width": "{{ '{:{}}'.format(1, 9999999999) }}",
    "replace": "{{ ('x' * 9999) | replace('x', 'y' * 9999) }}",
    "tabs": "{{ '\t'.expandtabs(9999999999) }}",
    "batch": "{{ [1] | batch(9999999999, 0) | list }}",
    "round": "{{ 1.5 | round(9999999999, 'ceil') }}",
    "bytes": "{{ (5).to_bytes(9999999999) }}",
    "json": "{{ x | tojson(indent=9999999999) }}",
    "doubling": "{% set n = namespace(a='x') %}{% for i in range(99) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
    "doubling-lists": "{% set n = namespace(a=x) %}{% for i in range(99) %}{% set n.a = [n.a, n.a] %}{% endfor %}{{ n.a }}",
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "macros": "{% macro f(n) %}{{ f(n - 1) ~ f(n - 1) if n }}{% endmacro %}{{ f(99) }}",
    "long-text": "{% for a in range(99999) %}" + "text " * 999 + "{% endfor %}",
}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_a_template_that_asks_for_too_much_is_stopped(case: str) -> None:
    problem = failed(TOO_MUCH[case], x=[[1, 2]]).problem
    assert problem.code == "A409" and "is not allowed to do that: it " in problem.headline


def test_the_size_of_a_text_is_told() -> None:
    problem = failed("{{ 'a' * x }}", x=[16 << 20, (16 << 20) + 1]).problem
    assert problem.place == "row 01"
    assert problem.headline.endswith("it makes more than 16,777,216 characters")


@pytest.mark.parametrize(
    "text",
    [
        "{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}",
        "{{ 1" + " + 1" * 3_000 + " }}",
        "{% if x %}" * 40 + "{% endif %}" * 40,
    ],
    ids=["brackets", "sums", "blocks"],
)
def test_a_template_that_is_nested_too_deeply(text: str) -> None:
    problem = failed(text, x=[1]).problem
    assert problem.code == "A401" and "nested too deeply" in problem.headline


def test_compiling_evaluates_nothing() -> None:
    """Every kind of constant expression; a filter that is called would be noticed."""
    from alchemist_runtime.schema.template_sandbox import Sandbox, undeclared

    def noticed(*_: object) -> str:
        raise AssertionError("evaluated while it was compiled")

    env = Sandbox()
    env.filters["noticed"] = env.globals["noticed"] = noticed
    text = "{{ 1 | noticed }}{% if 1 | noticed %}{% endif %}{% set a = [1 | noticed] %}{% for b in 'x' | noticed %}{% endfor %}{{ 'a' ~ (1 | noticed) }}"
    assert undeclared(env.parse(text)) == set()
    env.from_string(text)
