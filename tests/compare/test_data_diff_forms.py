"""What a comparison prints: golden text and Markdown, every line in its width, nothing of the data that steers a
terminal or a page.
"""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from alchemist_runtime.engine.compare import (
    ColumnDiff,
    DataDiff,
    GroupDiff,
    Made,
    Missing,
    Move,
    PortDiff,
    Sample,
    StepDiff,
)
from alchemist_runtime.schema.codes import Problem
from hypothesis import given
from hypothesis import strategies as st

from alchemist_dsl.cli.data_report import data_document, data_model
from alchemist_dsl.document.blocks import markdown, terminal
from alchemist_dsl.document.text import cells


def data_lines(result: DataDiff, width: int = 80, colour: bool = False) -> list[str]:
    return terminal(data_document(result), width, colour)


def data_markdown(result: DataDiff) -> list[str]:
    return markdown(data_document(result))


def data_json(result: DataDiff) -> dict[str, Any]:
    return data_model(result).model_dump(mode="json")


ID = "4f3a9c1200112233445566778899aabb"


def changed(before: dict[str, Any], after: dict[str, Any], id_: str = ID) -> Sample:
    return Sample(id_, 0, "web", before, after)


def one(port: PortDiff, **more: Any) -> DataDiff:
    made = Made("a.recipe", None), Made("a.recipe", None)
    return DataDiff((StepDiff("tidy", "tidy", "filter", "changed", (port,), **more),), *made)


FULL = DataDiff(
    (
        StepDiff("web", "web", "source", "same", (PortDiff("rows", 1200, 1200, read=False),)),
        StepDiff(
            "tidy",
            "neat",
            "filter",
            "changed",
            (
                PortDiff(
                    "rows",
                    1200,
                    1150,
                    added=1,
                    removed=51,
                    changed=2,
                    columns=(
                        ColumnDiff("response", "text", "text", 2),
                        ColumnDiff("score", "int", "real", 0),
                        ColumnDiff("more", None, "bool"),
                        ColumnDiff("old", "text", None),
                    ),
                    origins=(GroupDiff("book", 200, 200), GroupDiff("web", 1000, 950, 1, 51, 2)),
                    samples={
                        "changed": (changed({"response": "A quick fox."}, {"response": "A slow fox."}),),
                        "added": (Sample("7", 1, None, None, {"response": "new\nrow"}),),
                    },
                ),
                PortDiff("dropped", 0, 50, added=50, rules=(GroupDiff("too_short", 0, 50, 50),)),
            ),
            moves=(
                Move(
                    "too_short",
                    "dropped",
                    50,
                    (changed({"response": "x"}, {"response": "x", "rule": "too_short"}, "ab" * 16),),
                ),
            ),
        ),
        StepDiff("gone", None, "map", "removed", (PortDiff("rows", 3, None, removed=3, read=False),)),
        StepDiff(
            "pool",
            "pool",
            "dedup",
            "unknown",
            missing=(Missing("after", "pool", "pool"), Missing("before", "pool", "web")),
        ),
        StepDiff("sft", "sft", "mixture", "unknown", missing=(Missing("after", "sft", "sft"),)),
        StepDiff(
            "bad",
            "bad",
            "map",
            "unknown",
            problem=Problem("A907", "the shard `a` is damaged", place="store/a", help="delete it"),
        ),
        StepDiff(
            "coder",
            "coder",
            "train",
            "rowless",
            (PortDiff("data", 9, 9, read=False),),
            note="the model of a training has no rows that could be compared",
        ),
    ),
    Made("a.recipe", None),
    Made("a.recipe", "small"),
)

GOLDEN = """\
data: 3 steps could not be compared, the data of 2 steps differs, that of 2 steps is the
same

step            before  after  added  removed  changed  columns
──────────────  ──────  ─────  ─────  ───────  ───────  ────────────────────────────────
~ neat           1,200  1,150      1       51        2  response, score, +more, -old
~ neat.dropped       0     50     50
- gone               3      -               3
? pool                                                  not materialised after and
                                                        before
? sft                                                   not materialised after
? bad                                                   cannot be read

filter tidy → neat
  50 rows that were kept are now dropped by rule too_short
    > abababababab…  web
        rule: too_short
        response: x
  column response: changed in 2 rows
  column score: int → real; the value differs in 0 rows
  column more: new (bool)
  column old: gone (it was text)
  origin web: 1,000 → 950 (1 added, 51 removed, 2 changed)
    ~ 4f3a9c120011…  web
        response: A [-quick-]{+slow+} fox.
    + 7 copy 2
        response: new⏎ row
  .dropped
  rule too_short: 0 → 50 (50 added)

map bad
  error[A907 damaged-store]: the shard `a` is damaged (store/a)
  help: delete it

not materialised before the change: web, in which rows of pool lie; `alchemist run
a.recipe --upto web` makes it

not materialised after the change: pool, sft; `alchemist run a.recipe --variant small
--upto pool --upto sft` makes them

the same: web
not compared by rows: coder (the model of a training has no rows that could be compared;
  the rows that it reads are the same)"""


def test_the_text() -> None:
    assert "\n".join(data_lines(FULL, 88)) == GOLDEN


def test_the_outcome_is_incomplete_whatever_the_other_steps_say() -> None:
    assert FULL.outcome == "incomplete"
    assert one(PortDiff("rows", 1, 2, added=1)).outcome == "different"
    unread = PortDiff("rows", 1, 1, columns=(ColumnDiff("b", "text", "text", unread="no"),))
    assert one(unread).outcome == "incomplete"
    assert "column b could not be compared: no" in "\n".join(data_lines(one(unread)))


def test_a_side_of_one_recipe_is_made_with_the_recipe_as_it_stood() -> None:
    step = StepDiff("a", "a", "map", "unknown", missing=(Missing("before", "a", "a"),))
    text = " ".join(data_lines(DataDiff((step,), Made("r.recipe"), Made("r.recipe")), 100))
    assert "`alchemist run r.recipe --upto a`, with the recipe as it stood then, makes it" in text


def test_steps_that_came_or_went_stand_in_the_table_alone() -> None:
    steps = (
        StepDiff(None, "new", "map", "added", (PortDiff("rows", None, 3, added=3), PortDiff("dropped", None, 0))),
        StepDiff("coder", None, "train", "removed", note="a model has no rows"),
    )
    lines = data_lines(DataDiff(steps))
    assert lines[0] == "data: the data of 2 steps differs" and len(lines) == 7
    assert lines[4].startswith("+ new ") and lines[6].endswith("a model has no rows")
    page = "\n".join(data_markdown(DataDiff(steps)))
    assert "| ➕ new | - | 3 | 3 |" in page and "a model has no rows" in page


def test_a_row_is_shown_once_however_many_steps_pass_it_on() -> None:
    sample = changed({"response": "a"}, {"response": "b"})
    port = PortDiff(
        "rows", 1, 1, changed=1, columns=(ColumnDiff("response", "text", "text", 1),), samples={"changed": (sample,)}
    )
    steps = tuple(StepDiff(n, n, "map", "changed", (port,)) for n in ("one", "two"))
    for lines in (data_lines(DataDiff(steps)), data_markdown(DataDiff(steps))):
        assert "\n".join(lines).count("4f3a9c12") == 1


MARKDOWN = """\
**Data: the data of 1 step differs**

| step | before | after | added | removed | changed | columns |
|---|---:|---:|---:|---:|---:|---|
| ✏️ tidy | 2 | 2 |  |  | 1 | response |

<details><summary>filter tidy</summary>

- column response: changed in 1 row

✏️ 4f3a9c120011…  web

<pre><b>response</b> A <del>quick</del><ins>slow</ins> fox.</pre>

</details>"""


def test_the_markdown() -> None:
    port = PortDiff(
        "rows",
        2,
        2,
        changed=1,
        columns=(ColumnDiff("response", "text", "text", 1),),
        samples={"changed": (changed({"response": "A quick fox."}, {"response": "A slow fox."}),)},
    )
    assert "\n".join(data_markdown(one(port))) == MARKDOWN


NASTY = "</pre>\x1b[31m@someone | `x` <script>alert(1)</script>\r\n\u202e# head"


def test_nothing_of_the_data_steers_a_terminal_or_a_page() -> None:
    sample = changed({NASTY: "one"}, {NASTY: NASTY})
    added = Sample(NASTY, 0, NASTY, None, {"response": NASTY})
    port = PortDiff(
        "rows",
        1,
        2,
        added=1,
        changed=1,
        columns=(ColumnDiff(NASTY, "text", "text", 1, unread=NASTY),),
        origins=(GroupDiff(NASTY, 0, 1, 1),),
        samples={"changed": (sample,), "added": (added,)},
    )
    result = one(port)
    for lines in (data_lines(result), data_markdown(result)):
        text = "\n".join(lines)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", text)
    page = "\n".join(data_markdown(result))
    assert "<script" not in page and page.count("<pre>") == page.count("</pre>") == 2
    assert not re.search(r"(?m)^#", page)
    outside = re.sub(r"(?s)<pre>.*?</pre>", "", page)
    assert "@someone" not in outside and not re.search(r"(?<!\\)`x", outside)


def test_colours_only_where_they_are_asked_for() -> None:
    plain, coloured = data_lines(FULL, 88), data_lines(FULL, 88, True)
    assert "\x1b" not in "".join(plain) and "\x1b[31mquick\x1b[0m" in "".join(coloured)
    assert "[-" not in "".join(coloured)


def test_data_is_plain_json_with_whole_values() -> None:
    long = "word " * 500
    port = PortDiff(
        "rows", 1, 1, changed=1, samples={"changed": (changed({"r": long, "x": float("nan")}, {"r": "", "x": [1]}),)}
    )
    found = json.loads(json.dumps(data_json(one(port)), allow_nan=False))
    [sample] = found["steps"][0]["ports"][0]["samples"]["changed"]
    assert sample["id"] == ID and sample["before"] == {"r": long, "x": None}
    assert found["outcome"] == "different"
    whole = json.loads(json.dumps(data_json(FULL)))
    states = {s["after"] or s["before"]: (s["state"], s["compared"]) for s in whole["steps"]}
    assert states["pool"] == ("unknown", False) and states["web"] == ("same", True)
    assert whole["steps"][1]["moves"][0]["rows"] == 50
    assert whole["steps"][3]["missing"][0] == {"side": "after", "step": "pool", "needs": "pool"}
    assert whole["steps"][5]["problem"]["code"] == "A907"


WORDS = st.text("ab \n.é漢字\u0301", max_size=400)


@given(WORDS, WORDS, st.integers(72, 120), st.booleans())
@pytest.mark.parametrize("kind", ["changed", "added"])
def test_lines_stay_in_their_width_and_say_what_differs(
    kind: str, before: str, after: str, width: int, colour: bool
) -> None:
    sample = changed({"response": before}, {"response": after})
    port = PortDiff("rows", 1, 1, changed=1, samples={kind: (sample,)})
    lines = data_lines(one(port), width, colour)
    bare = [re.sub(r"\x1b\[\d+m", "", line) for line in lines]
    assert max(map(cells, bare)) <= width
    page = "\n".join(data_markdown(one(port)))
    if kind == "changed" and before != after:
        assert "<del>" in page or "<ins>" in page
        assert colour or "[-" in "".join(bare) or "{+" in "".join(bare)
    assert html.unescape(page).count("<pre>") == 1
