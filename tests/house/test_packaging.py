"""The wheel and the editable install both carry what they need; proven by building and installing them."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SEE = """
import alchemist_dsl, alchemist_runtime, pathlib
from alchemist_dsl.syntax.parse import parse
from alchemist_dsl.source import SourceFile
file, problems = parse(SourceFile("r.recipe", "edition 2026\\nrecipe {\\n  seed = 1\\n}\\n"))
assert file.items and not problems, problems
from alchemist_dsl.project.workspace import library
assert (library() / "alchemy.recipe").is_file(), "the standard library is not there"
from importlib.metadata import entry_points
(entry,) = entry_points(group="alchemist.components", name="teachers.rules")
assert entry.load().__alchemist__.name == "rules"
print(pathlib.Path(alchemist_dsl.__file__).parent, pathlib.Path(alchemist_runtime.__file__).parent)
"""


def build(kind: str, to: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(to), str(ROOT)],
        check=True,
        capture_output=True,
        text=True,
    )
    return next(p for p in to.iterdir() if p.suffix == ".whl")


def fresh(folder: Path) -> Path:
    """A virtual environment that sees this one's libraries, so that only alchemist itself is installed into it."""
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    here = next(p for p in map(Path, sys.path) if p.name == "site-packages")
    target = next((folder / "lib").glob("python*/site-packages"))
    names = [
        p for p in here.iterdir() if not p.name.lower().startswith(("alchemist", "_alchemist", "__editable__", "pip"))
    ]
    for path in names:
        if not (target / path.name).exists():
            (target / path.name).symlink_to(path)
    return python


@pytest.mark.slow
def test_wheel_is_whole(tmp_path: Path) -> None:
    wheel = build("wheel", tmp_path / "dist")
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "alchemist_dsl/py.typed",
        "alchemist_runtime/py.typed",
        "alchemist_dsl/_grammar/recipe.lark",
        "alchemist_dsl/_grammar/recipe.tables.json",
        "alchemist_dsl/_recipes/std/alchemy.recipe",
        "alchemist_dsl/diagnostics/pages/A103.md",
        "alchemist_dsl/starter/data/samples.jsonl",
        "alchemist_runtime/_accelerate/fsdp.yaml",
        "alchemist_runtime/operators/dedup/minhash.py",
        "alchemist_rules/teacher.py",
        "alchemist_rules/py.typed",
    ):
        assert wanted in names, wanted
    assert not [n for n in names if n.startswith(("tests/", "runtime/"))]
    python = fresh(tmp_path / "env")
    subprocess.run([python, "-m", "pip", "install", "--no-deps", "--quiet", str(wheel)], check=True)
    seen = subprocess.run([python, "-c", SEE], cwd=tmp_path, capture_output=True, text=True)
    assert seen.returncode == 0, seen.stderr
    assert all(str(tmp_path / "env") in part for part in seen.stdout.split())
    command = subprocess.run([tmp_path / "env" / "bin" / "alchemist", "--version"], capture_output=True, text=True)
    assert command.returncode == 0 and command.stdout.strip()


@pytest.mark.slow
def test_editable_install_is_live(tmp_path: Path) -> None:
    python = fresh(tmp_path / "env")
    subprocess.run(
        [python, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--quiet", "-e", str(ROOT)],
        check=True,
        capture_output=True,
        text=True,
    )
    seen = subprocess.run([python, "-c", SEE], cwd=tmp_path, capture_output=True, text=True)
    assert seen.returncode == 0, seen.stderr
    assert all(part.startswith(str(ROOT)) for part in seen.stdout.split())
