"""Templates over rows: values are data, nothing but the row is seen, what goes wrong names the row."""

from __future__ import annotations

import pytest
from alchemist_runtime.engine.templates import render
from alchemist_runtime.errors import RunError


def test_values_enter_as_text_and_are_never_read_as_templates() -> None:
    rows = ["{{ 7 * 7 }}", "{% if x %}", "<b>&</b>", "{# note #}", "ü\n"]
    assert render("[{{ x }}]", {"x": rows}, 5) == [f"[{r}]" for r in rows]


def test_nothing_prints_nothing_and_may_be_asked() -> None:
    text = "{% if x %}has {{ x }}{% else %}none{% endif %}|{{ x }}"
    assert render(text, {"x": ["a", None]}, 2) == ["has a|a", "none|"]


def test_lines_of_block_tags_leave_no_blank_lines() -> None:
    text = "A\n{% for t in turns %}\n  - {{ t.role }}\n{% endfor %}\nZ\n"
    assert render(text, {"turns": [[{"role": "user"}, {"role": "assistant"}]]}, 1) == [
        "A\n  - user\n  - assistant\nZ"
    ]


def test_json_is_not_escaped_for_a_page() -> None:
    assert render("{{ x | tojson }}", {"x": [{"a": "<ü>"}]}, 1) == ['{"a": "<ü>"}']


def test_a_template_without_columns() -> None:
    assert render("same", {}, 3) == ["same"] * 3
    assert render("{{ x }}", {"x": []}, 0) == []


def failed(text: str, **columns: list[object]) -> RunError:
    with pytest.raises(RunError) as caught:
        render(
            text,
            columns,
            len(next(iter(columns.values()))),
            node="step",
            place=lambda i: f"row {i:02}",
        )
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
