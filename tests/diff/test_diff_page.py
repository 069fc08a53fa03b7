"""The Markdown of a comparison as a page: on a phone and on a desk nothing is wider than the page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.schema.plan import Estimate
from command_line import PATIENCE
from markdown_it import MarkdownIt

from alchemist_dsl.comparison.compare import combine, compare
from alchemist_dsl.comparison.impact import exact
from alchemist_dsl.comparison.model import Entry, MixtureDiff, MixtureRow, Pair
from alchemist_dsl.comparison.report import document, mixture
from alchemist_dsl.document.blocks import Table, markdown
from alchemist_dsl.project.operands import Settings, of_file

RECIPES = Path(__file__).parents[2] / "recipes"
#: As wide as a page is that shows the comment, and what a page of that kind says of tables and code.
STYLE = """
  body { font: 14px/1.5 sans-serif; margin: 0; padding: 12px; max-width: 900px; }
  table { display: block; overflow: auto; border-collapse: collapse; max-width: 100%; }
  td, th { border: 1px solid #d1d9e0; padding: 4px 10px; }
  pre { background: #f6f8fa; padding: 10px; overflow: auto; }
  code { background: #eff1f3; overflow-wrap: anywhere; }
"""
EDITS = {
    "quickstart.recipe": [
        ("select = 8%", "select = 10%"),
        ("chars(response) < 60 as too_short", "chars(response) < 40 as too_short"),
        ("method = ngram(n = 10)", "method = ngram(n = 13)"),
        ("evolution_clean = 3%", "evolution_clean = 9%"),
    ],
    "alchemistcoder.recipe": [
        ("gpt-3.5-turbo-0125", "gpt-3.5-turbo-1106"),
        ("learning_rate = 1e-4", "learning_rate = 2e-4"),
    ],
}


def page(name: str, place: Path) -> str:
    """The comparison of a bundled recipe with an edit of it, as HTML."""
    folder = place / "recipes"
    shutil.copytree(RECIPES, folder)
    (place / ".git").mkdir()  # what marks the folder of a project
    changed = (folder / name).read_text("utf-8")
    before = of_file(folder / name, Settings())
    for old, new in EDITS[name]:
        assert old in changed, old
        changed = changed.replace(old, new)
    (folder / name).write_text(changed, "utf-8")
    after = of_file(folder / name, Settings())
    made = combine(name, "edited", [compare(before, after)], 2)
    shown = "\n".join(markdown(document(made, everything=True)))
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(shown)
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><body>{body}</body>"


@pytest.mark.needs("chromium")
@pytest.mark.slow
@pytest.mark.parametrize("name", EDITS)
def test_nothing_is_wider_than_the_page(name: str, tmp_path: Path) -> None:
    (tmp_path / "comment.html").write_text(page(name, tmp_path), "utf-8")
    frames = "".join(f'<iframe src="comment.html" width={w} height=900 frameborder=0></iframe>' for w in (390, 1280))
    script = """
      addEventListener("load", () => document.getElementById("answer").textContent = JSON.stringify(
        [...document.querySelectorAll("iframe")].map(frame => {
          const d = frame.contentDocument;
          return { over: d.scrollingElement.scrollWidth - frame.clientWidth, items: d.querySelectorAll("li").length,
            rows: d.querySelectorAll("tr").length, heads: d.querySelectorAll("h3").length, high: d.body.scrollHeight };
        })));
    """
    asking = tmp_path / "asking.html"
    asking.write_text(
        f"<!doctype html><body style=margin:0>{frames}<pre id=answer></pre><script>{script}</script>", "utf-8"
    )
    done = subprocess.run(
        [
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
            f"--user-data-dir={tmp_path}/profile",
            "--virtual-time-budget=20000",
            "--dump-dom",
            asking.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    found = re.search(r'<pre id="answer">(.*?)</pre>', done.stdout, re.S)
    assert found is not None
    seen: list[dict[str, Any]] = json.loads(unescape(found[1]))
    assert len(seen) == 2
    for frame in seen:
        assert frame["over"] <= 0, frame
        assert frame["items"] >= 4 and frame["heads"] == 1 and frame["high"] > 200, frame


@pytest.mark.parametrize("name", EDITS)
def test_the_page_holds_what_markdown_must_not_read(name: str, tmp_path: Path) -> None:
    html = page(name, tmp_path)
    text = unescape(re.sub(r"<[^>]+>", "", html))
    assert "&amp;lt;" not in html  # escaped once
    for word in ("select", "8%", "10%") if name == "quickstart.recipe" else ("gpt-3.5-turbo-1106",):
        assert word in text


def _entry(amount: str, rows: Estimate | None, share: str | None) -> Entry:
    return Entry(amount=amount, rows=rows, share=share)


@pytest.mark.parametrize(
    ("before", "after", "cells"),
    [
        pytest.param(
            ("all", 85, "1/2"), ("all", 85, "1"), ["all = 85 rows", "all = 85 rows", "50.0% → 100.0%"], id="both"
        ),
        pytest.param(("all", 85, "1/2"), None, ["all = 85 rows", "", "50.0% → 0%"], id="removed"),
        pytest.param(None, ("10 rows", 10, "1/4"), ["", "10 rows", "0% → 25.0%"], id="added"),
        pytest.param(
            ("all", 85, "1/2"), ("all", None, None), ["all = 85 rows", "all", "50.0% → unknown"], id="unknown"
        ),
        pytest.param(("2x", None, None), None, ["2x", "", ""], id="nothing known"),
    ],
)
def test_an_entry_of_a_mixture_says_its_share_on_both_sides(before: Any, after: Any, cells: list[str]) -> None:
    def side(values: Any) -> Entry | None:
        return values and _entry(values[0], None if values[1] is None else exact(values[1]), values[2])

    table = mixture(_mixture(side(before), side(after))).blocks[0]
    assert isinstance(table, Table)
    assert list(table.rows[0][1:4]) == cells


@pytest.mark.parametrize(
    ("low", "value", "high", "shown"),
    [("85", "85", "85", "all = 85 rows"), (None, None, "85", "all ≤ 85 rows"), ("80", "84", "90", "all ~84 rows")],
)
def test_no_equals_sign_stands_before_a_bound_or_an_estimate(
    low: str | None, value: str | None, high: str, shown: str
) -> None:
    rows = Estimate(value=value, low=low, high=high, basis="exact" if low == high else "declared")
    table = mixture(_mixture(None, _entry("all", rows, "1"))).blocks[0]
    assert isinstance(table, Table)
    assert table.rows[0][2] == shown


@pytest.mark.parametrize(("share", "bar"), [("0", ""), ("1/1000", "█"), ("1/2", "██████"), ("1", "█" * 12)])
def test_the_bar_of_no_rows_is_empty(share: str, bar: str) -> None:
    table = mixture(_mixture(_entry("2x", exact(9), "1/3"), _entry("all", exact(3), share))).blocks[0]
    assert isinstance(table, Table)
    assert table.rows[0][4] == bar


def _mixture(before: Entry | None, after: Entry | None) -> MixtureDiff:
    pair = Pair(before=exact(1), after=exact(1))
    return MixtureDiff(id="m", rows=pair, entries=[MixtureRow(name="e", before=before, after=after)])
