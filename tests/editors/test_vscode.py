"""The VS Code extension builds from its lock, and what it names is there."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

GRAMMARS = Path(__file__).resolve().parents[2] / "grammar"
VSCODE = GRAMMARS / "vscode"
MANIFEST = json.loads((VSCODE / "package.json").read_text())


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
    assert lock["packages"][""]["dependencies"] == MANIFEST["dependencies"]
    assert not any("resolved" in package for package in lock["packages"].values())


@pytest.mark.slow
@pytest.mark.needs("node")
def test_it_builds(tmp_path: Path) -> None:
    copy = tmp_path / "vscode"
    shutil.copytree(VSCODE, copy, ignore=shutil.ignore_patterns("node_modules", "dist", "syntaxes"))
    shutil.copy(GRAMMARS / "recipe.tmLanguage.json", tmp_path)
    for command in (["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "build"]):
        done = subprocess.run(
            command, cwd=copy, capture_output=True, text=True, timeout=300, check=False
        )
        if command[1] == "ci" and any(
            e in done.stderr for e in ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED")
        ):
            pytest.skip("no package registry in reach")
        assert done.returncode == 0, done.stderr
    for place in (MANIFEST["main"], MANIFEST["contributes"]["grammars"][0]["path"]):
        assert (copy / place).is_file()
    started = subprocess.run(
        ["node", "-e", _START], cwd=copy, capture_output=True, text=True, timeout=60, check=False
    )
    assert started.returncode == 0, started.stderr


#: Loads the built client with an editor that is not there; it must offer what VS Code calls.
_START = """
const Module = require("node:module");
const load = Module._load;
const stub = new Proxy(function () {}, { get: (_, key) => key === Symbol.toPrimitive ? () => "" : stub,
  apply: () => stub, construct: () => ({}) });
Module._load = (name, ...rest) => (name === "vscode" ? stub : load(name, ...rest));
const extension = require("./dist/extension.js");
if (typeof extension.activate !== "function" || typeof extension.deactivate !== "function") process.exit(1);
"""
