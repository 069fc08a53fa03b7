"""Any one line of a recipe broken in any way: names, columns and kinds are still offered in the other blocks."""

from __future__ import annotations

import random

import pytest
from editor import Editor
from test_lsp_completion import BROKEN, HEAD

LINES = HEAD.split("\n")
#: Lines inside blocks; the header of a block is what the others complete, so it stays.
INNER = [n for n, line in enumerate(LINES) if line.startswith("  ")]
MORE = [*BROKEN, "", '  """', '  x = jinja"""', "  from", "  from = from", "  ]", "  ) )", '  "', "\t", "  \x00"]
BLOCKS = {"first", "more", "clean", "judged"}


@pytest.mark.parametrize("seed", range(4))
def test_any_broken_line_leaves_the_names_of_all_blocks(editor: Editor, seed: int) -> None:
    draw = random.Random(seed)
    for number in INNER:
        broken = draw.choice(MORE)
        lines = [*LINES[:number], broken, *LINES[number + 1 :]]
        found = editor.completed("\n".join(lines) + "\nfilter x {\n  from = ‸\n}\n")
        assert found.keys() >= BLOCKS, (LINES[number], broken, sorted(found))


@pytest.mark.parametrize("broken", MORE)
def test_a_broken_line_leaves_the_columns_of_other_sources(editor: Editor, broken: str) -> None:
    at = LINES.index("  ]")  # of `clean`, which `x` does not read
    lines = [*LINES[:at], broken, *LINES[at + 1 :]]
    text = "\n".join(lines) + "\nfilter x {\n  from = first\n  drop ‸\n}\n"
    found = editor.completed(text)
    assert found.keys() >= {"topic", "response", "chars"}, (broken, sorted(found))
