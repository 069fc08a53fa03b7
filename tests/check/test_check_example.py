"""The AlchemistCoder example of the language definition checks clean, and no mutant of it makes the checker raise."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from golden_cases import Case, run_check
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from alchemist_dsl import ir

EXAMPLE = (Path(__file__).parent / "alchemistcoder_example.recipe").read_text()
LINES = EXAMPLE.splitlines(keepends=True)
WORDS = sorted({w for w in EXAMPLE.replace("\n", " ").split(" ") if w})
PIECES = [
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    '"',
    '"""',
    "=",
    ".",
    ",",
    "null",
    "any(1%, 2%)",
    "param.relabel_share",
    "extends = clean",
    "set messages = turns(x)",
    "rest",
    "out.prompt",
    "-5",
    "1..0",
    'row["keep"]',
    "$3 per 1M tokens",
]


def checked(text: str, **kw: object) -> tuple[ir.Program, list[str]]:
    case = Case("", {"r.recipe": text}, **kw)  # type: ignore[arg-type]
    program, diagnostics = run_check(case)
    return program, [f"{d.code} {d.headline}" for d in diagnostics]


def test_the_example_checks_clean() -> None:
    program, problems = checked(EXAMPLE)
    assert problems == ["A807 this version compiles `evaluate` blocks, but does not run them"]
    assert not any(b.poisoned for b in program.blocks.values())
    assert program.variants == ("directly_mix",)
    relabeled = program.blocks["harmonized"].sets[0]
    assert relabeled.column == "instruction"
    assert relabeled.expr.tree == ["cat", ["cat", ["out", "prompt"], ["lit", "text", "\n"]], ["col", "instruction"]]
    tasks = {n: program.blocks[n].standard_task for n in ("evolution", "filtering", "review")}
    assert tasks == {n: n for n in tasks}
    roles = dict(zip(program.blocks["filtering"].roles, program.blocks["filtering"].inputs, strict=True))
    assert roles["sound"].target == "clean" and roles["learn"].port == "dropped"


def test_its_variant_checks_clean() -> None:
    program, problems = checked(EXAMPLE, variant="directly_mix")
    assert [p[:4] for p in problems] == ["A807"]
    assert [e.name for e in program.blocks["sft"].entries] == ["final"]
    assert program.params["relabel_share"].text == "0%"


@pytest.mark.parametrize("number", range(0, len(LINES), 1))
def test_without_a_line(number: int) -> None:
    checked("".join(LINES[:number] + LINES[number + 1 :]))


def _mutants() -> st.SearchStrategy[str]:
    line = st.integers(0, len(LINES) - 1)

    def swap_lines(a: int, b: int) -> str:
        lines = list(LINES)
        lines[a], lines[b] = lines[b], lines[a]
        return "".join(lines)

    def put(at: int, piece: str) -> str:
        place = at % (len(EXAMPLE) + 1)
        return EXAMPLE[:place] + piece + EXAMPLE[place:]

    def cut(at: int, length: int) -> str:
        place = at % len(EXAMPLE)
        return EXAMPLE[:place] + EXAMPLE[place + length :]

    def word(old: str, new: str, which: int) -> str:
        parts = EXAMPLE.split(old)
        if len(parts) < 2:
            return EXAMPLE
        at = which % (len(parts) - 1)
        return old.join(parts[: at + 1]) + new + old.join(parts[at + 1 :])

    words = st.sampled_from(WORDS)
    return st.one_of(
        st.builds(swap_lines, line, line),
        st.builds(put, st.integers(0, 10**6), st.sampled_from([*PIECES, *WORDS])),
        st.builds(cut, st.integers(0, 10**6), st.integers(1, 60)),
        st.builds(word, words, st.sampled_from([*PIECES, *WORDS]), st.integers(0, 50)),
    )


@settings(
    phases=(Phase.explicit, Phase.generate)  # shrinking takes minutes and the text is small as it is
)
@given(_mutants())
@example("")
@example('edition 2026\nrecipe { extends = "r.recipe" }\n')
@example('edition 2026\nimport "r.recipe" as me\nmap me {\n  from = me.me\n}\n')
def test_no_mutant_raises(text: str) -> None:
    program, _ = checked(text)
    for block in program.blocks.values():
        assert len(block.inputs) == len(block.roles)


def _long(steps: int) -> str:
    parts = ['edition 2026\nsource s0 {\n  files = "a.jsonl"\n}\n']
    for i in range(1, steps):
        parts.append(
            f"filter s{i} {{\n  from = s{i - 1}\n  drop chars(response) < {i} as short\n"
            f'  keep code(response) != null and lang in ["c", "go"] as known\n}}\n'
        )
    parts.append(f'export e {{\n  data = s{steps - 1}\n  path = "out"\n}}\n')
    return "".join(parts)


def _seconds(text: str) -> float:
    start = time.process_time()
    _, problems = checked(text)
    assert problems == []
    return time.process_time() - start


def test_time_grows_with_the_length() -> None:
    """Ten times the lines take about ten times as long; a square would take a hundred times."""
    _seconds(_long(50))
    short, long = _seconds(_long(200)), _seconds(_long(2000))
    assert long < 30 * short
