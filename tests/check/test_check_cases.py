"""Golden cases of the checker: `GOLDEN=write pytest tests/check` rewrites what is expected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from golden_cases import Case, read_cases, rewrite, run

CASES = Path(__file__).parent / "cases"
if os.environ.get("GOLDEN") == "write":
    for file in sorted(CASES.glob("*.md")):
        rewrite(file)


def _all() -> list[object]:
    return [
        pytest.param(case, id=f"{path.stem}: {case.title}")
        for path in sorted(CASES.glob("*.md"))
        for case in read_cases(path)
    ]


@pytest.mark.parametrize("case", _all())
def test_case(case: Case) -> None:
    made = run(case)
    assert "says" in case.expected, "the case does not say what is expected"
    for kind, body in made.items():
        assert body == case.expected[kind]
