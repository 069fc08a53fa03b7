"""Golden cases of syntax messages: `UPDATE_GOLDEN=1 pytest tests/syntax` rewrites what is expected."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from golden_syntax import Case, read_cases, rewrite, says

from alchemist_dsl.syntax.grammar import load

CASES = Path(__file__).parent / "cases"
if os.environ.get("UPDATE_GOLDEN") == "1":
    for file in sorted(CASES.glob("*.md")):
        rewrite(file)

ALL = [
    pytest.param(case, id=f"{path.stem}: {case.title}")
    for path in sorted(CASES.glob("*.md"))
    for case in read_cases(path)
]


@pytest.mark.parametrize("case", ALL)
def test_case(case: Case) -> None:
    assert case.expected is not None, "the case does not say what is expected"
    assert says(case.recipe) == case.expected


@pytest.mark.parametrize("case", ALL)
def test_messages_speak_the_users_language(case: Case) -> None:
    """No message names a terminal of the grammar."""
    table = load()
    inner = {t for row in table.actions for t in row if len(t) > 3} | {"EQ", "LSQB", "RSQB"}
    words = set(re.findall(r"[A-Z_]{2,}", case.expected or "")) - set(re.findall(r"[A-Z_]{2,}", case.recipe))
    assert not words & (inner - {"NAME"})
