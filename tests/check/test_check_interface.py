"""What the checker asks of its callers, and what it must not load."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from alchemist_runtime.schema.kinds import KINDS

from alchemist_dsl import ir
from alchemist_dsl.checker import check
from alchemist_dsl.checker.types import bounded, element, family, fields, fits, join, plain
from alchemist_dsl.source import SourceFile

RECIPE = """edition 2026
import "lib/more.recipe" as more

source evol {
  files = "a.jsonl"
}

mixture m {
  from = [evol, more.other]
}

export e {
  data = m
  path = "out"
}
"""
MORE = 'edition 2026\nsource other {\n  files = "b.jsonl"\n}\n'


def test_files_are_read_by_their_path_from_the_project() -> None:
    asked: list[str] = []

    def read(path: str) -> bytes | None:
        asked.append(path)
        return MORE.encode() if path == "recipes/lib/more.recipe" else None

    program, problems = check(SourceFile("recipes/r.recipe", RECIPE), read)
    assert program is not None and not problems
    assert asked == ["recipes/lib/more.recipe"]
    assert [i.path for i in program.imports] == ["recipes/lib/more.recipe"]
    assert list(program.blocks) == ["evol", "m", "e", "more.other"]
    assert set(program.files) == {"recipes/r.recipe", "recipes/lib/more.recipe"}


def test_the_folder_may_be_given_apart() -> None:
    program, problems = check(
        SourceFile("r.recipe", RECIPE),
        lambda path: MORE.encode() if path == "recipes/lib/more.recipe" else None,
        root="recipes",
    )
    assert program is not None and not problems


def test_the_digest_of_an_import_does_not_depend_on_line_ends() -> None:
    def digest(data: bytes) -> str:
        program, _ = check(SourceFile("r.recipe", RECIPE), lambda path: data)
        assert program is not None
        return program.imports[0].digest

    assert digest(MORE.encode()) == digest(MORE.replace("\n", "\r\n").encode())
    assert digest(MORE.encode()) != digest(MORE.encode() + b"# more\n")


def test_columns_are_asked_with_the_attributes_of_the_source() -> None:
    seen: dict[str, ir.Value | None] = {}

    def columns(block: ir.Block) -> Mapping[str, str] | None:
        seen[block.name] = block.get("files")
        return {"instruction": "text", "response": "text", "score": "int"}

    program, _ = check(SourceFile("r.recipe", RECIPE), lambda path: MORE.encode(), columns=columns)
    assert program is not None
    assert set(seen) == {"evol", "more.other"} and all(isinstance(v, ir.ListV) for v in seen.values())
    assert program.schemas["m", "rows"].columns["score"] == "int"
    assert not program.schemas["m", "rows"].open


def test_without_columns_the_schema_is_open() -> None:
    program, _ = check(SourceFile("r.recipe", RECIPE), lambda path: MORE.encode())
    assert program is not None
    assert program.schemas["m", "rows"].open
    assert {"instruction", "response", "lang"} <= set(program.schemas["m", "rows"].columns)


def test_a_file_that_is_not_utf8_is_said_and_the_rest_is_checked() -> None:
    program, problems = check(SourceFile("r.recipe", RECIPE), lambda path: b"edition 2026\n\xff\n")
    assert program is not None
    assert {d.code for d in problems} >= {"A014"}


def test_every_attribute_type_of_the_kind_table_is_understood() -> None:
    known = {
        "text",
        "bool",
        "int",
        "real",
        "percent",
        "rows",
        "packs",
        "tokens",
        "steps",
        "multiplier",
        "money",
        "price",
        "bytes",
        "duration",
        "rate",
        "choice",
        "template",
        "expr",
        "condition",
        "select",
        "ref",
        "stream",
        "method",
        "list",
        "record",
        "name",
    }
    for kind in KINDS.values():
        for attribute in kind.attributes.values():
            for one in attribute.type.alternatives:
                assert one.name in known, attribute.type
                for method in one.methods:
                    assert method.name.isidentifier()


@pytest.mark.parametrize(
    ("a", "b", "met"),
    [
        ("int", "real", "real"),
        ("text", "text?", "text?"),
        ("null", "int", "int?"),
        ("text", "int", None),
        ('enum("a","b")', "text", "text"),
        ("list<int>", "list<real>", "list<real>"),
        ("list<int>", "list<text>", None),
        ("any", "int", "any"),
    ],
)
def test_joining_types(a: str, b: str, met: str | None) -> None:
    assert join(a, b) == met
    assert join(b, a) == met


def test_reading_types() -> None:
    chat = "list<record<role: text, content: text>>?"
    assert family(chat) == "list" and plain(chat) == "list of {role, content}"
    assert fields(element(chat) or "") == {"role": "text", "content": "text"}
    assert bounded("int(0..10)?") == "int?" and bounded('enum("a(b)")') == 'enum("a(b)")'
    assert fits(chat, "messages") and not fits("list<text>", "messages")
    assert fits("int", "number") and not fits("real", "int") and fits("null", "text")


HEAVY = ("torch", "transformers", "datasets", "openai", "polars", "pyarrow", "numpy", "huggingface_hub", "pydantic")


def _loaded(text: str) -> set[str]:
    """Modules that a fresh process has after checking a recipe."""
    root = Path(__file__).parents[2]
    code = (
        "import sys\n"
        "from alchemist_dsl.checker import check\n"
        "from alchemist_dsl.source import SourceFile\n"
        f"check(SourceFile('r.recipe', {text!r}), lambda path: None)\n"
        "print(' '.join(m for m in sys.modules if '.' not in m))\n"
    )
    path = f"{root}:{root / 'runtime'}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": path}
    )
    return set(done.stdout.split())


def test_nothing_heavy_is_loaded() -> None:
    body = 'edition 2026\nsource a {\n  files = "a.jsonl"\n}\ndedup d {\n  from = a\n  method = minhash()\n}\n'
    body += "decontaminate c {\n  from = d\n  against = a\n}\n"
    loaded = _loaded(body)
    assert not loaded & set(HEAVY)
    assert "jinja2" not in loaded, "jinja2 is loaded where no template is"
    with_template = body + 'prompt p {\n  output {\n    x: text\n  }\n  user = "{{ y }}"\n}\n'
    assert "jinja2" in _loaded(with_template)
