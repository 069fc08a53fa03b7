"""The VS Code extension builds and packs from its lock, and colours recipes as VS Code's own engine reads them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GRAMMARS = ROOT / "grammar"
VSCODE = GRAMMARS / "vscode"
MANIFEST = json.loads((VSCODE / "package.json").read_text())
RECIPES = sorted((ROOT / "recipes").rglob("*.recipe"))

Lines = list[list[tuple[str, list[str]]]]


def test_the_language_is_the_one_of_the_grammar() -> None:
    given = MANIFEST["contributes"]
    grammar = json.loads((GRAMMARS / "recipe.tmLanguage.json").read_text())
    assert given["grammars"][0]["scopeName"] == grammar["scopeName"]
    assert given["languages"][0]["extensions"] == [f".{e}" for e in grammar["fileTypes"]]
    assert MANIFEST["activationEvents"] == [f"onLanguage:{given['languages'][0]['id']}"]


def test_json_files_are_json_and_the_lock_names_no_registry() -> None:
    json.loads((VSCODE / "language-configuration.json").read_text())
    lock = json.loads((VSCODE / "package-lock.json").read_text())
    assert lock["name"] == MANIFEST["name"] and lock["version"] == MANIFEST["version"]
    for part in ("dependencies", "devDependencies"):
        assert lock["packages"][""][part] == MANIFEST[part]
    assert not any("resolved" in package for package in lock["packages"].values())


def done(command: list[str], place: Path) -> str:
    made = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the extension with the packages of its lock; the tree stays as it was."""
    top = tmp_path_factory.mktemp("extension")
    copy = top / "grammar" / "vscode"
    shutil.copytree(VSCODE, copy, ignore=shutil.ignore_patterns("node_modules", "dist", "syntaxes", "*.vsix"))
    shutil.copy(GRAMMARS / "recipe.tmLanguage.json", copy.parent)
    shutil.copy(ROOT / "LICENSE", top)
    done(["npm", "ci", "--no-audit", "--no-fund"], copy)
    return copy


@pytest.mark.slow
@pytest.mark.needs("npm")
def test_it_is_packed_with_what_it_names_and_starts(extension: Path, tmp_path: Path) -> None:
    done(["npm", "run", "package"], extension)
    (packed,) = extension.glob("*.vsix")
    assert packed.name == f"{MANIFEST['name']}-{MANIFEST['version']}.vsix"
    with zipfile.ZipFile(packed) as file:
        inside = {name.removeprefix("extension/").lower() for name in file.namelist()}
        file.extractall(tmp_path)
    assert inside == {
        "[content_types].xml",
        "extension.vsixmanifest",
        "package.json",
        "readme.md",
        "license.txt",
        "language-configuration.json",
        "dist/extension.js",
        "syntaxes/recipe.tmlanguage.json",
    }
    unpacked = tmp_path / "extension"
    given = json.loads((unpacked / "package.json").read_text())
    named = [
        given["main"],
        given["contributes"]["languages"][0]["configuration"],
        given["contributes"]["grammars"][0]["path"],
    ]
    assert all((unpacked / place).is_file() for place in named)
    done(["node", "-e", _START], unpacked)


#: Loads the packed client with an editor that is not there; it must offer what VS Code calls.
_START = """
const Module = require("node:module");
const load = Module._load;
const stub = new Proxy(function () {}, { get: (_, key) => key === Symbol.toPrimitive ? () => "" : stub,
  apply: () => stub, construct: () => ({}) });
Module._load = (name, ...rest) => (name === "vscode" ? stub : load(name, ...rest));
const extension = require("./dist/extension.js");
if (typeof extension.activate !== "function" || typeof extension.deactivate !== "function") process.exit(1);
"""


def coloured(extension: Path, *files: Path) -> list[Lines]:
    """What VS Code's engine makes of each file: its lines, each as parts with their scopes."""
    program = str(Path(__file__).with_name("textmate.js"))
    grammar = str(GRAMMARS / "recipe.tmLanguage.json")
    modules = str(extension / "node_modules")
    said = done(["node", program, modules, grammar, *map(str, files)], extension)
    return [[[(text, scopes) for text, scopes in line] for line in json.loads(row)] for row in said.splitlines()]


def coloured_text(extension: Path, folder: Path, text: str) -> Lines:
    file = folder / "r.recipe"
    file.write_text(text)
    (lines,) = coloured(extension, file)
    return lines


def scopes_of(lines: Lines, wanted: str) -> list[str]:
    (found,) = [scopes for line in lines for text, scopes in line if text.strip() == wanted]
    return found


TEMPLATE = '''prompt ask {
  system = """
    {{ raw }} if
    """
  user = jinja"""
    Say {{ instruction | trim }} twice.
    {% if lang %}in {{ lang }}{% endif %}
    {# source x { #}
    source y {
    ""
    """
  shots = 8
}
source z {
}
'''


@pytest.mark.slow
@pytest.mark.needs("npm")
def test_jinja_is_coloured_inside_templates_and_nowhere_else(extension: Path, tmp_path: Path) -> None:
    lines = coloured_text(extension, tmp_path, TEMPLATE)
    assert "variable.other.jinja" in scopes_of(lines, "instruction")
    assert "support.function.jinja" in scopes_of(lines, "trim")
    assert "comment.block.jinja" in scopes_of(lines, "source x {")
    assert "meta.tag.jinja" in scopes_of(lines, "endif")
    inside = scopes_of(lines, "source y {")
    assert "meta.embedded.block.jinja" in inside and "keyword.declaration.recipe" not in inside
    assert scopes_of(lines, "{{ raw }} if") == ["string.quoted.triple.recipe"]
    assert scopes_of(lines, "shots") == ["support.type.property-name.recipe"]
    assert scopes_of(lines, "z") == ["entity.name.type.recipe"]


@pytest.mark.slow
@pytest.mark.needs("npm")
@pytest.mark.parametrize("opened", ["{{ instruction", "{% if instruction", "{# instruction"])
def test_what_is_left_open_in_a_template_ends_with_it(extension: Path, tmp_path: Path, opened: str) -> None:
    text = f'prompt ask {{\n  user = jinja"""\n    {opened}\n    """\n  shots = 8\n}}\n'
    lines = coloured_text(extension, tmp_path, text)
    assert scopes_of(lines, "shots") == ["support.type.property-name.recipe"]


@pytest.mark.slow
@pytest.mark.needs("npm")
def test_every_recipe_is_coloured_to_its_end(extension: Path) -> None:
    read = coloured(extension, *RECIPES)
    for path, lines in zip(RECIPES, read, strict=True):
        assert ["".join(t for t, _ in line) for line in lines] == path.read_text().split("\n")
        for line in lines:
            for text, scopes in line:
                words = text.replace(".", " ").split()
                assert scopes or all(w.isidentifier() for w in words), (path.name, line)
        opened = re.findall(r"^(\w+)(?: \w+| \"[^\"]*\")? \{", path.read_text(), re.M)
        marked = {text.strip() for line in lines for text, scopes in line if "keyword.declaration.recipe" in scopes}
        assert set(opened) <= marked, path
