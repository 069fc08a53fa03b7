"""What `base` may name: told by `check`, before anything is paid for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner

from alchemist_dsl.cli.main import group
from alchemist_dsl.ir import TextV
from alchemist_dsl.lowering.scope import base_folder, wrong_base
from alchemist_dsl.source import Span

WHOLE = ("config.json", "model.safetensors", "tokenizer.json")
RECIPE = """edition 2026
source chat {{
  files = "rows.jsonl"
}}
train model {{
  data = chat
  base = "{base}"
  epochs = 1
  batch = 8 rows
  packing = none
  max_length = 512 tokens
  learning_rate = 1e-4
}}
"""


def named(base: str, recipe: str = "r.recipe") -> TextV:
    return TextV(Span(recipe, 0, 1), base)


def folder(at: Path, files: Iterable[str]) -> None:
    at.mkdir(parents=True, exist_ok=True)
    for name in files:
        (at / name).write_text("{}")


@pytest.mark.parametrize(
    ("base", "recipe", "path"),
    [
        ("./model", "r.recipe", "./model"),
        ("../model", "recipes/r.recipe", "./model"),
        ("./model", "recipes/r.recipe", "./recipes/model"),
        ("../../model", "recipes/r.recipe", "../model"),
        ("/models/one", "recipes/r.recipe", "/models/one"),
        ("owner/model", "recipes/r.recipe", None),
        ("gpt2", "r.recipe", None),
    ],
)
def test_a_folder_is_relative_to_the_recipe(base: str, recipe: str, path: str | None) -> None:
    assert base_folder(named(base, recipe)) == path


@pytest.mark.parametrize("files", [WHOLE, ("config.json", "pytorch_model.bin", "vocab.json")])
def test_a_whole_model_is_a_base(tmp_path: Path, files: tuple[str, ...]) -> None:
    folder(tmp_path / "models/base", files)
    for base in ("./models/base", "models/base", str(tmp_path / "models/base")):
        assert wrong_base(named(base), tmp_path) is None


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (("model.Q4_K_M.gguf",), "`./m` holds only GGUF files, which cannot be trained"),
        (("config.json", "m.gguf"), "`./m` holds only GGUF files, which cannot be trained"),
        (
            ("adapter_config.json", "adapter_model.safetensors"),
            "`./m` is an adapter, and a training starts from a whole model",
        ),
        (("README.md",), "`./m` holds no model: it has no `config.json`"),
        (("config.json", "tokenizer.json"), "`./m` holds no weights"),
        (("config.json", "model.safetensors"), "`./m` has no tokenizer"),
    ],
)
def test_a_folder_that_is_no_whole_model(tmp_path: Path, files: tuple[str, ...], says: str) -> None:
    folder(tmp_path / "m", files)
    found = wrong_base(named("./m"), tmp_path)
    assert found is not None and (found.code, found.headline) == ("A812", says)
    assert found.help


@pytest.mark.parametrize(
    ("base", "says", "way_out"),
    [
        ("./models/bsae", "no folder `./models/bsae`", 'did you mean `base = "./models/base"`?'),
        ("../nowhere", "no folder `../nowhere`", "relative to the recipe"),
        ("models/base/final", "no folder `models/base/final`", "relative to the recipe"),
        ("./m.gguf", "`./m.gguf` is in GGUF format, which cannot be trained", "gguf_file"),
        ("owner/Some-8B-GGUF", "`owner/Some-8B-GGUF` is in GGUF format, which cannot be trained", "convert"),
        (
            "./models/base/config.json",
            "`./models/base/config.json` is a file, and a base is a folder",
            '`base = "./models/base"`',
        ),
    ],
)
def test_what_is_no_folder(tmp_path: Path, base: str, says: str, way_out: str) -> None:
    folder(tmp_path / "models/base", WHOLE)
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    found = wrong_base(named(base), tmp_path)
    assert found is not None and (found.code, found.headline) == ("A812", says)
    assert way_out in (found.help or "")


@pytest.mark.parametrize("command", ["check", "compile"])
def test_check_and_compile_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "recipes/rows.jsonl").write_text('{"instruction": "a", "response": "b"}\n')
    recipe = tmp_path / "recipes/r.recipe"
    recipe.write_text(RECIPE.format(base="../typo"))
    done = CliRunner().invoke(group, [command, str(recipe)])
    assert done.exit_code == 1 and "error[A812 no-base]: no folder `../typo`" in done.output
    folder(tmp_path / "base", WHOLE)
    recipe.write_text(RECIPE.format(base="../base"))
    done = CliRunner().invoke(group, [command, str(recipe)])
    assert done.exit_code == 0, done.output
