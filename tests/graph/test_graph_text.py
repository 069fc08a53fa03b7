"""The drawing in a terminal: golden ones, and its lines read back give the graph again, whatever the graph is."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import pytest
from alchemist_runtime.schema.plan import Plan
from graph_plans import PLAIN, bundled, links, plans, streams
from hypothesis import given
from sheet_checks import check_sheet

from alchemist_dsl.graph.mermaid import flowchart
from alchemist_dsl.graph.model import Graph, graph_of
from alchemist_dsl.graph.sheet import sheet
from alchemist_dsl.graph.text import CHANGES, MARKS, draw, rows

GOLDEN = Path(__file__).parent / "golden"
TEXTS = ("quickstart", "alchemistcoder", "published/tulu3", "published/olmo3_instruct")
CHARTS = ("quickstart", "published/xcoder")
PUBLISHED = sorted(p.stem for p in (Path(__file__).parents[2] / "recipes/published").glob("*.recipe"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundled")


def expect(text: str, name: str) -> None:
    """Compare with the golden file; the digest of the plan moves with versions of packages."""
    text = re.sub(r"plan [0-9a-f]{12}", "plan 000000000000", text)
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


@pytest.mark.parametrize("name", TEXTS)
def test_golden_text(place: Path, name: str) -> None:
    expect(draw(bundled(name, place), 80), f"{Path(name).name}.txt")


@pytest.mark.parametrize("name", CHARTS)
def test_golden_mermaid(place: Path, name: str) -> None:
    expect(flowchart(bundled(name, place)), f"{Path(name).name}.mmd")


def test_the_page_of_the_docs_shows_what_is_drawn() -> None:
    written = (GOLDEN.parents[2] / "docs/graph.md").read_text("utf-8")
    for name, fence in (("quickstart.txt", "text"), ("quickstart.mmd", "mermaid")):
        assert f"```{fence}\n{(GOLDEN / name).read_text('utf-8')}```\n" in written


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_fit_a_terminal_and_a_sheet(place: Path, name: str) -> None:
    graph = bundled(f"published/{name}", place)
    drawn = draw(graph, 80)
    assert max(map(len, drawn.splitlines())) <= 80
    assert read_back(graph) == {(k.source, k.target) for k in graph.links}
    check_sheet(sheet(graph))


def read_back(graph: Graph) -> set[tuple[str, str]]:
    """The links that the lanes show, followed by eye: down along bars, aside along the line of a step."""
    carried: dict[int, set[str]] = {}  # lane -> the steps whose lines run in it
    found = set()
    for row in rows(graph):
        lane = row.own.index("●") // 2
        found |= {(source, row.step) for source in carried.pop(lane, ())}
        joined = {}
        for step, start in ((-1, lane - 1), (1, lane + 1)):
            at = start
            while 0 <= 2 * at < len(row.own) and row.own[2 * min(at, at - step) + 1] == "─":
                joined[at] = row.own[2 * at]
                at += step
        for other, char in joined.items():
            if char in "├┤┼┬╮":
                carried.setdefault(other, set()).add(row.step)
            else:
                assert char in "│─", char
        if row.below[2 * lane : 2 * lane + 1] == "│":
            carried.setdefault(lane, set()).add(row.step)
        assert {i for i, c in enumerate(row.below[::2]) if c == "│"} == set(carried), row
    assert not carried, "a lane ends nowhere"
    return found


@given(plans())
def test_lanes_show_every_link_once(plan: Plan) -> None:
    graph = graph_of(plan)
    assert [r.step for r in rows(graph)] == [s.name for s in graph.steps]
    assert read_back(graph) == links(plan)


def said(graph: Graph, drawn: str) -> Counter[tuple[str, str, str, str | None]]:
    """The inputs that the text names, and those that it leaves to the line from the step above."""
    names = [s.name for s in graph.steps]
    lines = drawn.splitlines()
    body = lines[lines.index(next(x for x in lines if x.split()[:2] == ["step", "kind"])) + 1 :]
    found: Counter[tuple[str, str, str, str | None]] = Counter()
    text: dict[str, str] = {}
    current = ""
    for line in body[: body.index("")]:
        words = line.lstrip("│├┤┼╮┬─ " + "".join(MARKS.values()))
        if words.startswith("← ") or (current and not any(m in line for m in MARKS.values())):
            text[current] = text.get(current, "") + " " + words.removeprefix("← ")
        else:
            current = words.split()[0]
            text[current] = ""
    assert list(text) == names
    for i, name in enumerate(names):
        if not text[name].strip():
            found.update((k.source, name, "rows", None) for k in graph.into(name))
            assert [k.source for k in graph.into(name)] in ([], names[i - 1 : i])
            continue
        for part in re.split(r"[,;] ", text[name].strip()):
            found[_stream(part.split()[-1], name, names)] += 1
    return found


def _stream(word: str, target: str, names: list[str]) -> tuple[str, str, str, str | None]:
    source = max((n for n in names if word == n or word.startswith(n + ".")), key=len)
    rest = word.removeprefix(source).lstrip(".")
    port, _, origin = rest.partition(".")
    if port in ("dropped", "trace"):
        return source, target, port, origin or None
    return source, target, "rows", rest or None


@given(plans(names=PLAIN.map(lambda n: n.replace(".", "_"))))
def test_text_names_every_step_and_input_once(plan: Plan) -> None:
    graph = graph_of(plan)
    assert said(graph, draw(graph, 250)) == streams(plan)


@given(plans())
def test_a_narrow_terminal_cuts_nothing(plan: Plan) -> None:
    graph = graph_of(plan)
    wide, narrow = (
        sorted(w for w in draw(graph, width).split() if set(w) - set("│├┤┼┬╮─" + "".join(MARKS.values())))
        for width in (250, 60)
    )
    assert wide == narrow


@given(plans())
def test_colour_changes_no_character(plan: Plan) -> None:
    graph = graph_of(plan)
    colored = draw(graph, 80, color=True)
    assert "\x1b[" in colored and "\x1b[" not in draw(graph, 80)
    plain = re.sub(r"\x1b\[[0-9]*m", "", colored)
    assert [x.rstrip() for x in plain.splitlines()] == draw(graph, 80).splitlines()


def test_marks_can_be_told_apart_without_colour() -> None:
    marks = {MARKS[s] for s in MARKS if s != "planned"}
    assert len(marks) == len(MARKS) - 1
    assert len(set(CHANGES.values())) == len(CHANGES)
