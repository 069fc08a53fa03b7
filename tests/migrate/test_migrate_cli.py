"""`alchemist migrate` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alchemist_dsl.cli.main import group

YAML = "base_model: acme/base\nlearning_rate: 1e-4\nneftune_noise_alpha: 5\nwandb_api_key: pa55-phrase\ndatasets:\n  - path: talks.jsonl\n    type: alpaca\n"


def alchemist(*args: str, given: str | None = None) -> Result:
    return CliRunner().invoke(group, list(args), input=given)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talks.jsonl").write_text('{"instruction": "Add.", "output": "x + y"}\n')
    (tmp_path / "a.yaml").write_text(YAML)
    return tmp_path


def test_the_recipe_lies_beside_and_passes_check(folder: Path) -> None:
    done = alchemist("migrate", "a.yaml")
    assert done.exit_code == 0
    assert "wrote a.recipe (from axolotl" in done.stdout
    recipe = (folder / "a.recipe").read_text()
    assert 'files = "talks.jsonl"' in recipe
    assert "input" not in recipe, "the file has no column of this name"
    assert "# neftune_noise_alpha: 5 (line 3)" in recipe
    assert alchemist("check", "a.recipe").exit_code == 0
    assert alchemist("fmt", "--check", "a.recipe").exit_code == 0
    assert "pa55" not in recipe + done.output


def test_warnings_show_the_line_without_its_key(folder: Path) -> None:
    done = alchemist("migrate", "a.yaml")
    assert "a.yaml:4:1" in done.stderr
    assert "4 | wandb_api_key: ***********" in done.stderr
    assert "set the environment variable WANDB_API_KEY" in done.stderr


def test_a_second_run_writes_over_nothing(folder: Path) -> None:
    (folder / "a.recipe").write_text("mine")
    done = alchemist("migrate", "a.yaml")
    assert done.exit_code == 2
    assert "`a.recipe` is there already and is not written over; name another file with `-o`" in done.stderr
    assert (folder / "a.recipe").read_text() == "mine"
    assert alchemist("migrate", "a.yaml", "-o", "b.recipe").exit_code == 0


def test_paths_are_those_of_the_recipe(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "parts").mkdir()
    for name in ("one.jsonl", "two.jsonl"):
        (folder / "parts" / name).write_text('{"instruction": "a", "output": "b"}\n')
    (folder / "a.yaml").write_text(YAML.replace("talks.jsonl", "parts"))
    assert alchemist("migrate", "a.yaml", "-o", "out/b.recipe").exit_code == 0
    recipe = (folder / "out" / "b.recipe").read_text()
    assert '"../parts/one.jsonl"' in recipe and '"../parts/two.jsonl"' in recipe
    assert alchemist("check", "out/b.recipe").exit_code == 0


@pytest.mark.parametrize("tool", ["axolotl", "trl"])
@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("chat.jinja", 'chat_template = "chat.jinja"'),
        ("chat.tpl", "<|{{ m.role }}|>"),  # the ending says nothing: its text
        ("other", 'chat_template = "./other"'),
        ("acme/other", 'chat_template = "acme/other"'),
        ("none.jinja", "`none.jinja` is not there"),
    ],
)
def test_a_template_that_is_named(folder: Path, tool: str, name: str, taken: str) -> None:
    text = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}\n"
    for file in ("chat.jinja", "chat.tpl", "other/chat_template.jinja"):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text)
    (folder / "pairs.jsonl").write_text('{"prompt": "Add.", "completion": "x + y"}\n')
    trl = "model_name_or_path: acme/base\ndataset_name: pairs.jsonl\nchat_template_path: "
    text = f"{YAML}chat_template_jinja: " if tool == "axolotl" else trl
    (folder / "t.yaml").write_text(f"{text}{name}\n")
    assert alchemist("migrate", "t.yaml", "--from", tool).exit_code == 0
    assert taken in (folder / "t.recipe").read_text()
    assert alchemist("check", "t.recipe").exit_code == 0


def test_a_pattern_stays_one(folder: Path) -> None:
    text = "model_name_or_path: acme/base\ndatasets:\n  - path: json\n    data_files: pair*.jsonl\n"
    (folder / "pairs.jsonl").write_text('{"prompt": "Add.", "completion": "x + y"}\n')
    (folder / "t.yaml").write_text(text)
    done = alchemist("migrate", "t.yaml", "--from", "trl")
    assert 'files = "pair*.jsonl"' in (folder / "t.recipe").read_text()
    assert done.exit_code == 0


def test_data_that_is_not_as_the_yaml_says(folder: Path) -> None:
    (folder / "talks.jsonl").write_text('{"question": "Add.", "answer": "x + y"}\n')
    done = alchemist("migrate", "a.yaml")
    assert done.exit_code == 1
    assert "a.recipe:" in done.stderr and "output" in done.stderr


def test_standard_input_and_output(folder: Path) -> None:
    done = alchemist("migrate", "-", given=YAML)
    assert done.exit_code == 0
    assert done.stdout.startswith("edition 2026\n")
    assert "wrote" not in done.stdout
    assert sorted(p.name for p in folder.iterdir()) == ["a.yaml", "talks.jsonl"]


def test_json_says_what_became_of_every_key(folder: Path) -> None:
    data = json.loads(alchemist("migrate", "a.yaml", "--format", "json").stdout)
    assert data["tool"] == "axolotl"
    assert data["output"] is None
    assert {"base_model", "learning_rate", "datasets", "datasets[0].path"} <= set(data["used"])
    assert {p["code"] for p in data["problems"]} == {"A952", "A953", "A955"}


@pytest.mark.parametrize(
    ("args", "code", "part"),
    [
        (["nosuch.yaml"], 2, "there is no file `nosuch.yaml`"),
        (["b.yaml"], 2, "did you mean `a.yaml`?"),
        (["a.yaml", "-o", "nowhere/x.recipe"], 2, "there is no folder `nowhere`"),
        (["a.yaml", "-o", "."], 2, "is a folder; write `-o a.recipe`"),
        (["a.yaml", "--from", "axolotI"], 2, "axolotI"),
        (["a.yaml", "--gpus", "0"], 2, "--gpus"),
        (["."], 2, "cannot be opened"),
    ],
)
def test_usage(args: list[str], code: int, part: str) -> None:
    done = alchemist("migrate", *args)
    assert done.exit_code == code
    assert part in done.stderr


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"a: [\n", "c.yaml:2:1"),
        (b"a: \xff\n", "the file is not UTF-8"),
        (b"foo: 1\n", "it is not clear which tool this is for: none of those that we know"),
        (b"base_model: a/b\nlearning_rate: 1\nrl: dpo\n", "preference training"),
        (b"base_model: a/b\n", "there is no `learning_rate` that can be read"),
    ],
)
def test_what_cannot_be_taken_over(folder: Path, data: bytes, part: str) -> None:
    (folder / "c.yaml").write_bytes(data)
    done = alchemist("migrate", "c.yaml")
    assert done.exit_code == 1
    assert part in done.stderr
    assert not (folder / "c.recipe").exists()


def test_devices_make_the_batch(folder: Path) -> None:
    (folder / "a.yaml").write_text(f"{YAML}micro_batch_size: 2\ngradient_accumulation_steps: 3\n")
    alchemist("migrate", "a.yaml", "--gpus", "8")
    assert "# 2 a device x 3 x 8 devices\n  batch = 48 rows" in (folder / "a.recipe").read_text()


def test_real_processes(folder: Path) -> None:
    """Taken over, checked, formatted: each by a process of its own."""
    for args in (["migrate", "a.yaml"], ["check", "a.recipe"], ["fmt", "--check", "a.recipe"]):
        done = subprocess.run(
            [sys.executable, "-m", "alchemist_dsl", *args], capture_output=True, text=True, cwd=folder
        )
        assert done.returncode == 0, done.stderr
    again = subprocess.run(
        [sys.executable, "-m", "alchemist_dsl", "migrate", "a.yaml"], capture_output=True, text=True, cwd=folder
    )
    assert again.returncode == 2
