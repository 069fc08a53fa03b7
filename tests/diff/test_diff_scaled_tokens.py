"""Tokens of a changed step's calls: as many a call as were measured, whatever the alphabet; nothing of a teacher that
counts none.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from alchemist_runtime.schema.plan import Price, Teacher
from hypothesis import given
from hypothesis import strategies as st

from alchemist_dsl.comparison.impact import _tokens
from alchemist_dsl.estimate.figures import Figures
from alchemist_dsl.estimate.ranges import between

MADE = Figures(calls=between(20, 30, 40, "scaled"), tokens_in=between(1, 2, 3), tokens_out=between(4, 5, 6))
MODEL = Teacher(name="m", provider="openai", sampling={"max_tokens": 300}, price=Price(free=True))


@given(st.integers(1, 50), st.integers(1, 10**6), st.integers(0, 10**6))
def test_a_call_has_what_it_had(calls: int, sent: int, got: int) -> None:
    fact = {"calls": calls, "tokens_in": sent, "tokens_out": got}
    for made, each, most in zip(
        _tokens(fact, MADE, MODEL), (Fraction(sent, calls), Fraction(got, calls)), (None, 300), strict=True
    ):
        value = each if most is None else min(each, most)
        assert made.value == 30 * value and made.basis == "scaled"
        assert made.low is not None and made.high is not None
        assert made.low <= made.value <= made.high and (most is None or made.high <= 40 * most)


def test_rules_count_no_tokens_and_a_model_in_their_place_does() -> None:
    none = {"calls": 5, "tokens_in": 0, "tokens_out": 0}
    assert _tokens(none, MADE, MODEL) == (MADE.tokens_in, MADE.tokens_out)
    rules = replace(MODEL, provider="rules")
    assert [made.value for made in _tokens(none, MADE, rules)] == [0, 0]
