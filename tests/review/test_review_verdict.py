"""The limit on dollars: what is spent counts at its high end, and unknown is neither yes nor no."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemist_dsl.review.github import FormError, Increase, increase, verdict

money = st.fractions(-1000, 1000)


def rise(low: str | None, value: str | None, high: str | None) -> Increase:
    return Increase(*(None if x is None else Fraction(x) for x in (low, value, high)))


@pytest.mark.parametrize(
    ("found", "truth"),
    [
        (rise("10", "10", "10"), "pass"),
        (rise("50", "50", "50"), "pass"),
        (rise("50.01", "50.01", "50.01"), "fail"),
        (rise("-5", "-5", "-5"), "pass"),
        (rise("30", "40", "50"), "pass"),
        (rise("30", "40", "60"), "unknown"),  # within the limit or not
        (rise("40", "55", "60"), "fail"),
        (rise("51", None, None), "fail"),  # too much whatever the rest comes to
        (rise(None, None, "49"), "pass"),
        (rise("10", "20", None), "unknown"),
        (rise(None, None, None), "unknown"),
    ],
)
def test_truth(found: Increase, truth: str) -> None:
    strict = verdict(found, Fraction(50), allow_unknown=False)
    assert strict.truth == truth
    lenient = verdict(found, Fraction(50), allow_unknown=True)
    assert lenient.truth == ("pass" if truth == "unknown" else truth)
    assert "`max-increase` is $50" in strict.text


@given(money, money, money, money)
def test_a_pass_is_never_more_than_the_limit(a: Fraction, b: Fraction, c: Fraction, most: Fraction) -> None:
    low, value, high = sorted([a, b, c])
    for found in (Increase(low, value, high), Increase(None, value, high), Increase(low, value, None)):
        truth = verdict(found, most, allow_unknown=False).truth
        if truth == "pass":
            assert found.high is not None and found.high <= most
        if found.high is not None and found.high <= most:
            assert truth == "pass"
        if truth == "fail":
            assert value > most


def test_words() -> None:
    said = verdict(rise("60", "72.5", "80"), Fraction(50), False)
    assert said.text == "The cost from scratch rises by $72.50 ($60 to $80); `max-increase` is $50."
    said = verdict(rise(None, None, None), Fraction(50), False)
    assert said.text == (
        "The change of the cost from scratch is unknown: the limit could not be evaluated; `max-increase` is $50."
    )
    assert verdict(rise("0.001", "0.001", "0.001"), Fraction(0), False).text == (
        "The cost from scratch rises by less than $0.01; `max-increase` is $0."
    )
    assert rise("-3", "-3", "-3").shown == "-$3"
    assert rise("1/3", "1/3", "1/3").plain == "0.333333"
    assert rise("1e-9", "1e-9", "1e-9").plain == "0"
    assert rise("-1200", "-1200", "-1200").plain == "-1200"
    assert rise(None, None, "5").plain == "unknown"


def test_reading() -> None:
    def of(delta: object) -> dict[str, object]:
        return {"totals": {"usd_scratch": {"delta": delta}}}

    assert increase(of({"low": "1/3", "value": "0.5", "high": "2"})) == rise("1/3", "0.5", "2")
    assert increase(of({"value": "1"})) == rise(None, "1", None)
    for unknown in (of(None), {"totals": {"usd_scratch": {}}}, {"totals": {}}, {}):
        assert increase(unknown) == Increase()
    for wrong in (of({"value": "much"}), of([1])):
        with pytest.raises(FormError):
            increase(wrong)
