"""Recipes with one token deleted, doubled or replaced: nothing crashes, and one fault gives one message or two.

2,000 mutants of all bundled recipes by default, every one of them with `ALCHEMIST_TEST_ALL=1`.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from mutation import CHOSEN, FEW, RECIPES, Outcome, outcomes

EVERY = os.environ.get("ALCHEMIST_TEST_ALL") == "1"


@pytest.fixture(scope="module")
def found() -> dict[str, Outcome]:
    return outcomes(EVERY)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_mutant_is_told(found: dict[str, Outcome], recipe: str) -> None:
    """No exception, no place outside of a file, every format can be written; what is accepted compiles."""
    one = found[recipe]
    assert one.mutants
    assert not one.faults, "\n".join(one.faults[:10])
    if EVERY:
        assert one.few >= 0.95 * one.wrong, "\n".join(one.many[:20])


def test_one_fault_gives_one_message_or_two(found: dict[str, Outcome]) -> None:
    total: Counter[int] = sum((o.messages for o in found.values()), Counter())
    wrong = total.total()
    assert sum(o.mutants for o in found.values()) >= CHOSEN
    assert wrong > 0.8 * CHOSEN
    few = sum(count for number, count in total.items() if number <= FEW)
    many = [text for o in found.values() for text in o.many]
    assert few >= 0.98 * wrong, f"{sorted(total.items())}\n" + "\n".join(many[:20])
    assert total[1] >= 0.9 * wrong, sorted(total.items())
