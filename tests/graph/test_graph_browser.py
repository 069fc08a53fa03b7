"""The drawings in a real browser: texts within their cards, no page wider than a phone, steps that open, Mermaid's own
parser.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from command_line import PATIENCE
from graph_plans import bundled

from alchemist_dsl.graph.mermaid import flowchart
from alchemist_dsl.graph.page import page
from alchemist_dsl.graph.svg import image

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.slow]
NAMES = ("quickstart", "alchemistcoder", "published/olmo3_instruct")
PUBLISHED = sorted(p.stem for p in (Path(__file__).parents[2] / "recipes/published").glob("*.recipe"))
WIDTHS = (390, 1280)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawn")


def chromium(place: Path, *arguments: str) -> str:
    done = subprocess.run(
        [
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={place}/profile",
            "--virtual-time-budget=60000",
            "--allow-file-access-from-files",
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def asked(place: Path, body: str, script: str) -> Any:
    """What a script says of a page. The frame of it is as wide as a phone or a desk, whatever the window is."""
    asking = place / "asking.html"
    asking.write_text(
        f"<!doctype html><meta charset=utf-8><body style=margin:0>{body}<pre id=answer></pre><script>"
        f"const say = v => document.getElementById('answer').textContent = JSON.stringify(v);\n{script}</script>",
        "utf-8",
    )
    found = re.search(r'<pre id="answer">(.*?)</pre>', chromium(place, "--dump-dom", asking.as_uri()), re.S)
    assert found is not None
    return json.loads(unescape(found[1]))


_MEASURE = """
addEventListener("load", () => say([...document.querySelectorAll("iframe")].map(frame => {
  const d = frame.contentDocument, shown = a => getComputedStyle(a).display != "none";
  const out = { wide: d.scrollingElement.scrollWidth - frame.clientWidth, cards: 0, over: [], open: [], seen: true };
  for (const card of d.querySelectorAll("[data-step]")) {
    const box = card.querySelector("rect").getBoundingClientRect();
    out.cards++;
    for (const t of card.querySelectorAll("text")) {
      const b = t.getBoundingClientRect();
      if (b.left < box.left || b.right > box.right || b.top < box.top || b.bottom > box.bottom + 1)
        out.over.push(t.textContent);
    }
  }
  for (const a of d.querySelectorAll("article")) if (shown(a)) {
    const b = a.getBoundingClientRect();
    out.open.push(a.id);
    out.seen = b.left >= 0 && b.right <= frame.clientWidth + 1 && b.top >= 0 && b.bottom <= frame.clientHeight + 1;
  }
  return out;
})));
"""


@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_phone_and_desk_and_opens_steps(place: Path, name: str) -> None:
    graph = bundled(name, place)
    (place / "page.html").write_text(page(graph), "utf-8")
    (place / "image.html").write_text(f"<!doctype html><body style=margin:0>{image(graph)}", "utf-8")
    step = graph.steps[len(graph.steps) // 2].name
    frames = [
        f'<iframe src="{address}" width={width} height=844 style="border:0"></iframe>'
        for width in WIDTHS
        for address in ("page.html", f"page.html#{step}")
    ]
    frames.append('<iframe src="image.html" width=3000 height=844></iframe>')
    measured = asked(place, "".join(frames), _MEASURE)
    for found in measured:
        assert found["wide"] <= 0
        assert found["cards"] == len(graph.steps)
        assert found["over"] == []
        assert found["seen"]
    assert [m["open"] for m in measured] == [[], [step], [], [step], []]


@pytest.mark.parametrize("form", ["svg", "html"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_picture_of_it_shows_something(place: Path, form: str, width: int, dark: bool) -> None:
    graph = bundled("quickstart", place)
    drawn = place / f"drawn.{form}"
    drawn.write_text(image(graph) if form == "svg" else page(graph), "utf-8")
    shown = (
        "<img src=drawn.svg style=width:100%>"
        if form == "svg"
        else (f'<iframe src="drawn.html#safe" width={width} height=844 style="border:0;display:block"></iframe>')
    )
    (place / "frame.html").write_text(f"<!doctype html><body style=margin:0>{shown}", "utf-8")
    taken = place / f"{form}-{width}-{'dark' if dark else 'light'}.png"
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]
    chromium(
        place, *scheme, f"--window-size={max(width, 500)},844", f"--screenshot={taken}", (place / "frame.html").as_uri()
    )
    colors = Picture(taken)
    page_color = (0x12, 0x15, 0x1A) if dark else (0xFF, 0xFF, 0xFF)
    seen = list(colors.pixels(width))
    assert page_color in seen and len(set(seen)) > 50
    assert seen.count(page_color) > len(seen) / 4


class Picture:
    """A PNG of eight bits a channel, decoded: enough to see what was drawn."""

    def __init__(self, path: Path) -> None:
        import zlib

        raw, at, packed = path.read_bytes(), 8, b""
        while at < len(raw):
            size, kind = struct.unpack(">I4s", raw[at : at + 8])
            chunk = raw[at + 8 : at + 8 + size]
            if kind == b"IHDR":
                self.width, self.height, depth, color = struct.unpack(">IIBB", chunk[:10])
                assert depth == 8 and color in (2, 6)
                self.step = 3 if color == 2 else 4
            packed += chunk if kind == b"IDAT" else b""
            at += 12 + size
        self.data = zlib.decompress(packed)

    def pixels(self, wide: int) -> Iterator[tuple[int, int, int]]:
        """The colours of the left `wide` columns of the first lines."""
        stride, step = self.width * self.step, self.step
        before = bytes(stride)
        for y in range(min(self.height, 250)):
            start = y * (stride + 1)
            line = bytearray(self.data[start + 1 : start + 1 + stride])
            _unfilter(self.data[start], line, before, step)
            before = bytes(line)
            for x in range(0, min(wide, self.width) * step, step):
                yield line[x], line[x + 1], line[x + 2]


def _unfilter(kind: int, line: bytearray, before: bytes, step: int) -> None:
    for i in range(len(line)):
        left = line[i - step] if i >= step else 0
        up, corner = before[i], before[i - step] if i >= step else 0
        match kind:
            case 1:
                line[i] = (line[i] + left) & 255
            case 2:
                line[i] = (line[i] + up) & 255
            case 3:
                line[i] = (line[i] + (left + up) // 2) & 255
            case 4:
                guess = left + up - corner
                near = min((left, up, corner), key=lambda v: abs(guess - v))
                line[i] = (line[i] + near) & 255


_RENDER = """
(async () => {
  const out = {};
  for (const [name, chart] of Object.entries(charts)) {
    try {
      await mermaid.parse(chart);
      const svg = new DOMParser().parseFromString((await mermaid.render("m" + Object.keys(out).length, chart)).svg, "text/html");
      out[name] = { nodes: [...svg.querySelectorAll(".node b")].map(n => n.textContent.replaceAll("\u2060", "")), edges: svg.querySelectorAll(".edgePaths path").length };
    } catch (e) { out[name] = { error: String(e) }; }
  }
  say(out);
})();
"""


@pytest.mark.needs("npm")
def test_mermaids_own_parser_draws_every_recipe(place: Path) -> None:
    packed = subprocess.run(
        ["npm", "pack", "--silent", "mermaid@11.12.0"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert packed.returncode == 0, packed.stderr
    with tarfile.open(place / packed.stdout.strip()) as archive:
        source = archive.extractfile("package/dist/mermaid.min.js")
        assert source is not None
        (place / "mermaid.min.js").write_bytes(source.read())
    graphs = {n: bundled(n, place) for n in ("quickstart", "alchemistcoder", *(f"published/{p}" for p in PUBLISHED))}
    odd = odd_graph()
    charts = json.dumps({"odd": flowchart(odd), **{n: flowchart(g) for n, g in graphs.items()}}).replace("</", "<\\/")
    load = '<script src="mermaid.min.js"></script>'
    found = asked(place, load, f"const charts = {charts};\nmermaid.initialize({{ startOnLoad: false }});\n{_RENDER}")
    for name, graph in {"odd": odd, **graphs}.items():
        assert "error" not in found[name], (name, found[name])
        assert set(found[name]["nodes"]) ^ {s.name for s in graph.steps} == set(), name
        assert len(found[name]["nodes"]) == len(graph.steps), name
        assert found[name]["edges"] == len(graph.links), name


def odd_graph() -> Any:
    """Steps whose names mean something to Mermaid, Markdown or HTML."""
    from alchemist_runtime.schema.plan import At, Edge, FilterSpec, Node, Plan

    from alchemist_dsl.graph.model import graph_of

    names = [
        "end",
        "1. list",
        "- item",
        "`code`",
        '"quoted"',
        "a & b",
        "<b>bold</b>",
        "$$x$$",
        "%% note",
        "subgraph",
        "a[b](c)",
        "*em* _x_",
        "#35;",
        "fa:fa-car",
        "click",
        "x|y",
        "é≤",
        "a;b",
        "{{{",
        "&lt;",
    ]
    at, nodes = At(file="r", line=1, column=1), []
    for i, name in enumerate(names):
        inputs = [Edge(node=names[i - 1], role=names[-i], key="")] if i else []
        nodes.append(Node(id=name, kind="filter", at=at, inputs=inputs, spec=FilterSpec(rules=[]), key="", meta_key=""))
    return graph_of(Plan(edition=2026, recipe={"path": "r"}, title="end; of <it>", nodes=nodes))
