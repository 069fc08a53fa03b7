"""`alchemist docs`: everything in the tables can be asked for, and nothing heavy is loaded for it."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from alchemist_runtime.schema.attributes import TEXT, choice, integer, list_of, real, signature, whole
from alchemist_runtime.schema.codes import CODES
from alchemist_runtime.schema.functions import AGGREGATES, FUNCTIONS
from alchemist_runtime.schema.kinds import KINDS
from click.testing import CliRunner

from alchemist_dsl.checker import check
from alchemist_dsl.cli.main import group
from alchemist_dsl.docs import reference, words
from alchemist_dsl.source import SourceFile

ATTRIBUTES = [(k, a) for k, kind in KINDS.items() for a in kind.attributes]


def docs(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(group, ["docs", *args])
    return done.exit_code, done.output


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_told_whole(kind: str) -> None:
    code, text = docs(kind)
    assert code == 0 and words.header(kind, KINDS[kind]) in text
    for name, attribute in KINDS[kind].attributes.items():
        assert re.search(rf"^  {name}: ", text, re.M)
        assert attribute.doc.split(".")[0][:40] in " ".join(text.split())
    assert (", required" in text.partition("\nof ")[0]) == any(a.required for a in KINDS[kind].attributes.values())


@pytest.mark.parametrize("kind,attribute", ATTRIBUTES)
def test_every_attribute_has_a_type_in_words(kind: str, attribute: str) -> None:
    code, text = docs(f"{kind}.{attribute}")
    assert code == 0 and text.startswith(f"of {kind}:\n  {attribute}: ")
    shown = words.attribute_type(KINDS[kind].attributes[attribute])
    assert shown and "alt" not in shown.split()
    assert not re.search(r"\bor or\b|^ | $|,,", shown)


@pytest.mark.parametrize("name", [*FUNCTIONS, *AGGREGATES])
def test_every_function_is_told(name: str) -> None:
    code, text = docs(name)
    assert code == 0
    for table in (FUNCTIONS, AGGREGATES):
        if name in table:
            assert words.signature(table[name]) in text
            assert table[name].doc[:30] in " ".join(text.split())


def test_methods_are_told_with_their_parameters() -> None:
    text = docs("dedup.method")[1]
    assert "minhash(ngram: int(1..32) = 5, permutations: int(16..1024) = 128, threshold: " in text
    assert "cosine(warmup: percent | steps | rows = 0%, floor: percent = 0%)" in docs("schedule")[1]
    assert "repeat(max: multiplier = 4x)" in docs("on_short")[1]


def test_an_attribute_of_many_kinds_is_told_once() -> None:
    text = docs("on_long")[1]
    assert text.count("on_long: ") == 2, "teacher steps and train differ"
    assert docs("samples")[1].startswith("of relabel, generate:\n")


def test_the_list_holds_all_names() -> None:
    code, text = docs()
    assert code == 0
    assert all(f"  {kind} " in text for kind in KINDS)
    assert all(re.search(rf"\b{name}\b", text) for name in (*FUNCTIONS, *AGGREGATES))


@pytest.mark.parametrize(
    "asked,offered", [("fliter", "filter"), ("selct", "select"), ("filter.form", "filter.from"), ("cahrs", "chars")]
)
def test_near_names(asked: str, offered: str) -> None:
    code, text = docs(asked)
    assert code == 2 and f"did you mean `{offered}`" in text


def test_forms_of_a_kind() -> None:
    assert docs("filter", "--format", "markdown")[1].startswith("## filter\n")
    assert json.loads(docs("filter", "--format", "json")[1])["properties"]["kind"] == {"const": "filter"}
    assert docs("chars", "--format", "json")[0] == 2


def test_defaults_of_the_reference_are_those_of_a_recipe() -> None:
    """A default as it is printed can be written into a recipe."""
    for kind, attribute in ATTRIBUTES:
        row = KINDS[kind].attributes[attribute]
        if row.default_text is None:
            continue
        text = f"edition 2026\n{kind} x {{\n  {attribute} = {row.default_text}\n}}\n"
        _, found = check(SourceFile("r.recipe", text), lambda path: None)
        wrong = [d.headline for d in found if d.code in ("A201", "A202", "A204", "A213") or d.code[:2] == "A0"]
        assert wrong == [], f"{kind}.{attribute}"


def test_defaults_of_methods_can_be_written_too() -> None:
    for kind, attribute in ATTRIBUTES:
        row = KINDS[kind].attributes[attribute]
        for method in words.methods_of(row):
            name, _, params = method.signature.partition("(")
            given = re.findall(r"(\w+): [^,=]*? = ((?:\[[^]]*\]|[^,)\s]+(?: \w+)?))", params)
            call = f"{name}({', '.join(f'{n} = {v}' for n, v in given)})"
            text = f"edition 2026\n{kind} x {{\n  {attribute} = {call}\n}}\n"
            _, found = check(SourceFile("r.recipe", text), lambda path: None)
            wrong = [d for d in found if d.code in ("A120", "A201", "A202", "A204", "A208")]
            missing = {d.headline for d in wrong if "needs" in d.headline}
            assert {d.headline for d in wrong} <= missing, f"{call}: {wrong}"


def test_pages_hold_every_entry() -> None:
    kinds = reference.kinds_page()
    for kind, attribute in ATTRIBUTES:
        section = kinds.split(f"\n## {kind}\n")[1].split("\n## ")[0]
        assert f"\n| `{attribute}` | " in section
    functions = reference.functions_page()
    assert all(f"| `{words.signature(f)}` |" in functions for f in (*FUNCTIONS.values(), *AGGREGATES.values()))
    assert all(f"[{code}]" in reference.errors_page() for code in CODES)


def test_cells_of_tables_are_whole() -> None:
    for page in (reference.kinds_page(), reference.functions_page(), reference.errors_page()):
        width = 0
        for line in page.splitlines():
            if not line.startswith("|"):
                width = 0
                continue
            cells = len(re.findall(r"(?<!\\)\|", line))
            assert not width or cells == width, line
            width = cells


def test_alternatives_are_told_once() -> None:
    assert words.type_words(choice("error", "shrink") | signature("repeat", max=(integer(), whole(4)))) == (
        "`error`, `shrink` or `repeat(…)`"
    )
    assert words.type_words(real(0) | integer(0)) == "number from 0"
    assert words.type_words(TEXT | list_of(TEXT)) == "text, or a list of such"


def test_docs_and_explain_load_nothing_heavy() -> None:
    heavy = ("pydantic", "pyarrow", "numpy", "torch", "datasets", "huggingface_hub", "rich", "lark")
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom alchemist_dsl.cli.main import group\n"
        "for args in (['docs'], ['docs', 'filter'], ['docs', 'dedup.method'], ['explain', 'A103'], ['explain']):\n"
        "    assert CliRunner().invoke(group, args).exit_code == 0\n"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
