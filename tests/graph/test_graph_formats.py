"""Mermaid, SVG, page and JSON of any graph: every step and link once, nothing that breaks out of its text, nothing
loaded.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from typing import Final
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from alchemist_runtime.schema.plan import At, Node, Plan
from alchemist_runtime.schema.plan import Edge as Input
from graph_plans import ODD, PLAIN, links, plans, spec_of, streams
from hypothesis import given
from sheet_checks import check_sheet

from alchemist_dsl.docs.schemas import all_schemas
from alchemist_dsl.graph.colors import DARK, LIGHT, Theme, contrast
from alchemist_dsl.graph.layout import Block, Edge, arrange
from alchemist_dsl.graph.mermaid import data, flowchart
from alchemist_dsl.graph.model import compared, graph_of, upto
from alchemist_dsl.graph.page import page
from alchemist_dsl.graph.sheet import sheet
from alchemist_dsl.graph.svg import anchor, image, path
from alchemist_dsl.graph.text import draw

SVG: Final = "{http://www.w3.org/2000/svg}"
ANY: Final = PLAIN | ODD
SCHEMA: Final = jsonschema.Draft202012Validator(json.loads(all_schemas()["graph.json"]))


# --- JSON -------------------------------------------------------------------------------------------------------------


@given(plans(ANY))
def test_json_holds_every_step_and_input_once(plan: Plan) -> None:
    found = data(graph_of(plan))
    SCHEMA.validate(json.loads(json.dumps(found)))
    assert sorted(n["id"] for n in found["nodes"]) == sorted(n.id for n in plan.nodes)
    edges = Counter((e["source"], e["target"], e["port"], e["origin"]) for e in found["edges"])
    assert edges == streams(plan)
    place = {n["id"]: i for i, n in enumerate(found["nodes"])}
    assert all(place[e["source"]] < place[e["target"]] for e in found["edges"])


# --- Mermaid ----------------------------------------------------------------------------------------------------------

_TEXT = r'"((?:[^"&`#;\[\]{}|<>\\]|#\d+;|<b>|</b>|<br/>)+)"'
_NODE = re.compile(rf"  (s\d+)(?:\[\({_TEXT}\)\]|\[{_TEXT}\]|\(\[{_TEXT}\]\)|\{{\{{{_TEXT}\}}\}})")
_ARROW = re.compile(rf"  (s\d+) -->(?:\|{_TEXT}\|)? (s\d+)")


@given(plans(ANY))
def test_mermaid_holds_every_step_and_link_once(plan: Plan) -> None:
    graph = graph_of(plan)
    lines = flowchart(graph).splitlines()
    assert lines[0] == "flowchart TD" and re.fullmatch(r"  accTitle: [\w .,:/()+-]+", lines[1])
    names: dict[str, str] = {}
    arrows = []
    classes: list[str] = []
    for line in lines[3:]:
        if node := _NODE.fullmatch(line):
            words = next(t for t in node.groups()[1:] if t).partition("<br/>")[0]
            assert node[1] not in names
            names[node[1]] = decoded(words.removeprefix("<b>").removesuffix("</b>"))
        elif arrow := _ARROW.fullmatch(line):
            arrows.append((names[arrow[1]], names[arrow[3]]))
        elif members := re.fullmatch(r"  class (s\d+(?:,s\d+)*) (\w+)", line):
            classes += members[1].split(",")
            assert f"classDef {members[2]} " in "\n".join(lines)
        else:
            assert line.startswith("  classDef "), line
    assert sorted(names.values()) == sorted(n.id for n in plan.nodes)
    assert sorted(arrows) == sorted(links(plan))
    assert sorted(classes) == sorted(names)


def decoded(text: str) -> str:
    shown = re.sub(r"#(\d+);", lambda m: chr(int(m[1])), text)
    return re.sub(r"\\(.)", r"\1", shown.replace("\u2060", ""))


# --- layout -----------------------------------------------------------------------------------------------------------


@given(plans())
def test_cards_do_not_touch_and_lines_lead_down_past_them(plan: Plan) -> None:
    graph = graph_of(plan)
    check_sheet(sheet(graph))
    marks = {n.id: ("added", "removed", "changed", "indirect", None)[i % 5] for i, n in enumerate(plan.nodes)}
    check_sheet(sheet(compared(graph, graph, {k: v for k, v in marks.items() if v})))  # type: ignore[misc]


def test_a_chain_is_upright_and_a_cross_is_undone() -> None:
    blocks = [Block(n, 100, 40) for n in "abcdef"]
    lines = arrange(blocks[:3], [Edge("a", "b"), Edge("b", "c")]).lines
    assert {x for line in lines.values() for x, _ in line} == {50}
    # a and b lead to c and d the other way round: the layers are ordered so that no lines cross
    crossed = arrange(blocks[:4], [Edge("a", "d"), Edge("b", "c")])
    order = sorted("abcd", key=lambda n: (crossed.corners[n][1], crossed.corners[n][0]))
    assert order in (["a", "b", "d", "c"], ["b", "a", "c", "d"])


# --- SVG and page -----------------------------------------------------------------------------------------------------


@given(plans(ANY))
def test_svg_holds_every_step_and_link_once(plan: Plan) -> None:
    root = ET.fromstring(image(graph_of(plan)))
    steps = [e for e in root.iter() if e.get("data-step") is not None]
    assert sorted(e.get("data-step", "") for e in steps) == sorted(n.id for n in plan.nodes)
    for step in steps:
        title, desc = step.find(f"{SVG}title"), step.find(f"{SVG}desc")
        assert title is not None and desc is not None and title.text and desc.text
        assert step.get("aria-labelledby", "").split() == [title.get("id"), desc.get("id")]
        assert title.text.startswith(f"{step.get('data-step')}: ")
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    drawn = [e for e in root.iter() if (e.get("class") or "").startswith("link ")]
    expected = [f"link from-{anchor(a)} to-{anchor(b)}" for a, b in links(plan)]
    assert sorted(e.get("class", "") for e in drawn) == sorted(expected)


@given(plans(ANY))
def test_the_page_says_every_step_once_and_loads_nothing(plan: Plan) -> None:
    written = page(graph_of(plan))
    ids = re.findall(r'<article id="([^"]*)"', written)
    assert sorted(ids) == sorted(anchor(n.id) for n in plan.nodes)
    names = [html.unescape(n) for n in re.findall(r"<h2>(.*?)</h2>", written)]
    assert sorted(names) == sorted(n.id for n in plan.nodes)
    assert written.count('class="link from-') == len(links(plan))
    targets = set(re.findall(r'href="#([^"]*)"', written))
    assert targets | {"-"} == {*ids, "-"}  # "-": what closes the description of a step
    for text in (written, image(graph_of(plan))):
        bare = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"<script|@import|url\(|\bsrc=|https?://|\bon\w+=\"", bare)


def test_names_cannot_become_markup() -> None:
    name = '</style><script>alert("1")</script>&amp;\x1b[31m\x00'
    graph = graph_of(Plan(edition=2026, recipe={"path": name}, title=name, nodes=[node(name, "filter", [], name)]))
    for written in (image(graph), page(graph), flowchart(graph)):
        assert "<script" not in written and "\x1b" not in written and "\x00" not in written
    assert name[:20] in str(ET.fromstring(image(graph)).find(f"{SVG}title").text)  # type: ignore[union-attr]


def test_a_path_is_round_at_corners_and_curved_aside() -> None:
    assert path(((0, 0), (0, 10))) == "M0 0L0 10"
    assert path(((0, 0), (20, 10))) == "M0 0C0 5 20 5 20 10"
    assert path(((0, 0), (20, 0), (20, 30))) == "M0 0L13 0Q20 0 20 7L20 30"


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_can_be_read(theme: Theme) -> None:
    for ground in (theme.page, theme.frame):
        assert contrast(theme.text, ground) >= 7
        assert contrast(theme.quiet, ground) >= 4.5
        assert contrast(theme.line, ground) >= 3
    for name, tone in theme.tones.items():
        assert contrast(theme.text, tone.ground) >= 7, name
        assert contrast(theme.quiet, tone.ground) >= 4.5, name
        assert contrast(tone.word, tone.ground) >= 4.5, name
        assert contrast(tone.word, theme.page) >= 4.5, name
        for ground in (tone.ground, theme.page, theme.frame):
            assert contrast(tone.border, ground) >= 3, name


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


# --- parts and comparisons --------------------------------------------------------------------------------------------


@given(plans())
def test_a_part_holds_what_its_steps_need(plan: Plan) -> None:
    graph = graph_of(plan)
    last = graph.steps[-1].name
    part = upto(graph, [last])
    names = {s.name for s in part.steps}
    assert last in names
    assert set(part.links) == {k for k in graph.links if k.target in names}
    assert {k.source for k in part.links} <= names
    assert all(part.out_of(s.name) for s in part.steps if s.name != last)


@given(plans(), plans())
def test_a_comparison_shows_both_sides_once(before: Plan, after: Plan) -> None:
    old, new = graph_of(before), graph_of(after)
    here = {s.name for s in new.steps}
    marks = {s.name: "removed" for s in old.steps if s.name not in here}
    marks |= {s.name: "added" for s in new.steps if s.name not in {o.name for o in old.steps}}
    both = compared(old, new, marks)  # type: ignore[arg-type]
    names = [s.name for s in both.steps]
    assert sorted(names) == sorted(here | {s.name for s in old.steps})
    assert all(names.index(k.source) < names.index(k.target) for k in both.links)
    assert set(new.links) <= set(both.links)
    assert {s.name: s.mark for s in both.steps} == {n: marks.get(n, "unchanged") for n in names}
    assert dict(both.call_stats()) == dict(Counter(s.mark for s in both.steps))
    said = draw(both, 250)
    root = ET.fromstring(image(both))
    for mark in set(marks.values()):
        assert len(re.findall(rf"  [+-] {mark}\b", said)) == list(marks.values()).count(mark)
        drawn = [e for e in root.iter() if e.get("class") == f"step {mark}" and e.get("data-step")]
        assert sorted(e.get("data-step", "") for e in drawn) == sorted(n for n in marks if marks[n] == mark)
    check_sheet(sheet(both))


def test_wires_of_a_stack_share_one_label() -> None:
    sources = [node(f"s{i}", "source", []) for i in range(4)]
    inputs = [Input(node=s.id, role="against", key="") for s in sources]
    graph = graph_of(Plan(edition=2026, recipe={"path": "r"}, nodes=[*sources, node("f", "filter", inputs)]))
    drawn = sheet(graph)
    assert [f.caption for f in drawn.frames] == ["4 sources"]
    assert len({w.at for w in drawn.wires}) == 1
    assert image(graph).count('class="label"') == 1


def node(name: str, kind: str, inputs: list[Input], doc: str | None = None) -> Node:
    at, spec = At(file="r.recipe", line=1, column=1), spec_of(kind, inputs)
    return Node(id=name, kind=kind, at=at, inputs=inputs, spec=spec, key="b2:0", meta_key="b2:0", doc=doc)
