"""The tree-sitter grammar reads every recipe, and its queries mark what they should."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tree_sitter import Language, Node, Parser, Query, QueryCursor

from alchemist_dsl.docs.words import vocabulary

pytestmark = pytest.mark.needs("compiler")

ROOT = Path(__file__).resolve().parents[2]
GRAMMAR = ROOT / "grammar" / "tree-sitter-recipe"
RECIPES = [
    *sorted((ROOT / "recipes").rglob("*.recipe")),
    *(ROOT / "tests" / name for name in ("syntax/paper.recipe", "plan/golden/every_kind.recipe")),
]
QUICKSTART = ROOT / "recipes" / "quickstart.recipe"
CASES = [
    pytest.param(text, tree, id=title)
    for page in sorted((GRAMMAR / "test" / "corpus").glob("*.txt"))
    for title, text, tree in re.findall(
        r"^=+\n([^\n]+)\n=+\n\n(.*?)\n\n---\n\n(.*?)(?=\n\n=+\n|\s*\Z)", page.read_text(), re.M | re.S
    )
]


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def faults(node: Node) -> list[tuple[str, int]]:
    return [(n.type, n.start_point.row + 1) for n in walk(node) if n.is_error or n.is_missing]


def captures(language: Language, query: str, text: str) -> dict[str, list[str]]:
    tree = Parser(language).parse(text.encode())
    found = QueryCursor(Query(language, (GRAMMAR / "queries" / query).read_text())).captures(tree.root_node)
    return {name: [n.text.decode() for n in nodes if n.text] for name, nodes in found.items()}


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_recipe_parses_without_an_error(language: Language, path: Path) -> None:
    assert faults(Parser(language).parse(path.read_bytes()).root_node) == []


@pytest.mark.parametrize(("text", "tree"), CASES)
def test_corpus(language: Language, text: str, tree: str) -> None:
    found = str(Parser(language).parse(text.encode()).root_node)
    assert found == re.sub(r"\s+", " ", tree).strip().replace("( ", "(").replace(" )", ")")


def test_the_corpus_is_read_whole() -> None:
    titles = sum(p.read_text().count("\n---\n") for p in (GRAMMAR / "test" / "corpus").glob("*.txt"))
    assert len(CASES) == titles >= 6


@pytest.mark.parametrize(
    "text", ["map a {\n  b = 1 c = 2\n}\n", "map a {\n  b =\n", "map {{\n}\n", 'map a {\n  b = "x\n}\n', "keep x\n"]
)
def test_what_is_wrong_is_an_error(language: Language, text: str) -> None:
    assert faults(Parser(language).parse(text.encode()).root_node)


def test_a_fault_stays_in_its_block(language: Language) -> None:
    text = QUICKSTART.read_text()
    whole = Parser(language).parse(text.encode()).root_node
    broken = text.replace("select = 8%", "select = = 8%")
    assert broken != text
    root = Parser(language).parse(broken.encode()).root_node
    assert {row for _, row in faults(root)} == {broken[: broken.index("= = 8%")].count("\n") + 1}
    assert [n.type for n in root.children] == [n.type for n in whole.children]


def test_noise_and_cuts_never_crash_the_scanner(language: Language) -> None:
    text, draw = QUICKSTART.read_bytes(), random.Random(7)
    parser = Parser(language)
    for _ in range(100):
        a, b = sorted(draw.randrange(len(text)) for _ in range(2))
        tree = parser.parse(text[:a] + bytes(draw.choices(b'{}[]()"\n#=/j"\x00\xff 5', k=6)) + text[b:])
        assert tree.root_node.end_byte <= len(text) + 6


def test_templates_are_injected_as_jinja_and_raw_text_is_not(language: Language) -> None:
    text = 'prompt p {\n  system = """\n    raw\n    """\n  user = jinja"""\n    {{ x }}\n    """\n}\n'
    assert captures(language, "injections.scm", text) == {"injection.content": ["    {{ x }}\n"]}


def test_highlights_tell_known_words_from_others(language: Language) -> None:
    text = "filter f {\n  from = a\n  odd = 1\n  keep chars(x) < other(y)\n}\nnonsense n {\n}\n"
    found = captures(language, "highlights.scm", text)
    assert found["keyword"] == ["filter", "keep"]
    assert found["attribute"] == ["from"]
    assert found["function.builtin"] == ["chars"]
    assert found["constant"] == ["f", "n"]


def test_the_parser_knows_the_units_of_the_tables() -> None:
    rules = json.loads((GRAMMAR / "src" / "grammar.json").read_text())["rules"]
    assert [m["value"] for m in rules["unit"]["members"]] == vocabulary()["units"], (
        "generate src/parser.c anew: npm run generate in grammar/tree-sitter-recipe"
    )


# --- grammar.js, grammar.json and parser.c are one grammar ------------------------------------------------------------


def test_the_parser_knows_every_rule_of_its_grammar(language: Language) -> None:
    grammar = json.loads((GRAMMAR / "src" / "grammar.json").read_text())
    said = json.loads((GRAMMAR / "src" / "node-types.json").read_text())
    known = [(language.node_kind_for_id(n), n) for n in range(language.node_kind_count)]
    seen = {k for k, n in known if k and language.node_kind_is_visible(n)}
    named = {k for k, n in known if k in seen and language.node_kind_is_named(n)} - {"ERROR"}
    outside = {rule["name"] for rule in grammar["externals"]}
    rules = {name for name in {*grammar["rules"], *outside} if not name.startswith("_")}
    assert named == rules == {entry["type"] for entry in said if entry["named"]}
    fields = {language.field_name_for_id(n + 1) for n in range(language.field_count)}
    assert fields == set(re.findall(r'"type": "FIELD",\s*"name": "(\w+)"', json.dumps(grammar)))


@pytest.mark.needs("node")
def test_grammar_js_is_what_grammar_json_says() -> None:
    program = Path(__file__).with_name("grammar_json.js")
    command = ["node", program, GRAMMAR / "grammar.js"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    kept = json.loads((GRAMMAR / "src" / "grammar.json").read_text())
    assert kept.pop("$schema").endswith("grammar.schema.json") and kept.pop("reserved") == {}
    assert json.loads(made.stdout) == kept, "generate src/ anew: npm run generate"


@pytest.mark.needs("tree-sitter")
def test_the_parser_is_the_one_that_the_generator_makes(tmp_path: Path) -> None:
    copy = tmp_path / "grammar"
    shutil.copytree(GRAMMAR, copy, ignore=shutil.ignore_patterns("node_modules"))
    script = json.loads((GRAMMAR / "package.json").read_text())["scripts"]["generate"]
    subprocess.run(script.split(), cwd=copy, check=True, timeout=300)
    for name in ("grammar.json", "node-types.json", "parser.c", "tree_sitter/parser.h"):
        assert (copy / "src" / name).read_text() == (GRAMMAR / "src" / name).read_text(), name
