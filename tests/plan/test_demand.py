"""What a mixture takes of a teacher step bounds what the step asks."""

from __future__ import annotations

import pytest

RECIPE = """edition 2026

teacher t {
  provider = openai
  model = "m-2024-01-01"
  price = free
}
source given {
  files = "data/a.jsonl"
}
prompt say {
  input {
    instruction: text
  }
  output {
    answer: text
  }
  user = "{{ instruction }}"
}
generate answers {
  from = given
  teacher = t
  prompt = say
  set response = out.answer
  drop chars(out.answer) < 5 as too_short
}
map tagged {
  from = answers
  set kind = "taught"
}
mixture sft {
  unit = rows
  take {
    answers = 12 rows
    given = 10 rows
  }
}
export dataset {
  data = sft
  path = "out"
}
"""
TOTAL = ("  unit = rows\n", "  total = 30 rows\n")
SHARES = ("    answers = 12 rows\n    given = 10 rows\n", "    answers = 33.5%\n    given = rest\n")


def accept(work, *changes):
    text = RECIPE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return work.plan(text).node("answers").spec.accept


def test_a_count_that_a_mixture_takes_is_enough(work):
    assert accept(work) == 12
    calls = work.node("answers", RECIPE).estimate["calls"]
    assert (calls.low, calls.value, calls.high) == ("12", "12", "40")  # no more than there are
    assert work.node("answers", RECIPE).estimate["rows"].high == "12"


def test_so_is_a_share_of_a_total_in_rows_rounded_up(work):
    assert accept(work, TOTAL, SHARES) == 11


def test_through_steps_that_pass_every_row_on(work):
    assert accept(work, ("    answers = 12", "    tagged = 12")) == 12


def test_what_is_written_stands(work):
    assert accept(work, ("  prompt = say\n", "  prompt = say\n  accept = 20 rows\n")) == 20


@pytest.mark.parametrize(
    "changes",
    [
        [("answers = 12 rows", "answers = all")],
        [("answers = 12 rows", "answers = 2x")],
        [("answers = 12 rows", "answers.given = 12 rows")],  # of one origin
        [("answers = 12 rows", "answers.dropped = 12 rows")],
        [
            (
                "export dataset",
                'task told {\n  learn = answers.trace\n  instruction = "What?"\n  response = "{{ before.instruction }}"\n}\nexport also {\n  data = told\n  path = "too"\n}\nexport dataset',
            )
        ],
        [("export dataset", 'export also {\n  data = answers\n  path = "too"\n}\nexport dataset')],
        [("export dataset", "check many {\n  expect rows(answers) >= 20 rows\n}\nexport dataset")],
        [("  prompt = say\n", "  prompt = say\n  expect rows >= 20\n")],
        [("  prompt = say\n", "  prompt = say\n  mode = add\n")],
        [("  unit = rows\n", "  unit = rows\n  redraw = per_epoch\n")],
        [SHARES],  # of a total that nobody knows
        [
            ("    answers = 12", "    long = 12"),
            (
                'map tagged {\n  from = answers\n  set kind = "taught"\n}',
                "filter long {\n  from = answers\n  drop chars(response) < 9\n}",
            ),
        ],
    ],
)
def test_where_more_may_be_read_or_nobody_knows_how_many_everything_is_asked(work, changes):
    assert accept(work, *changes) is None


def test_another_amount_asks_for_more_and_moves_the_key_of_the_step_alone(work):
    few, many = (work.write(RECIPE.replace("= 12 rows", f"= {n} rows")).plan() for n in (12, 20))
    moved = {n.id for n in few.nodes if n.key != many.node(n.id).key}
    assert moved == {"answers", "sft", "dataset"}
