"""Every published recipe runs to its last step, on stand-ins of its sources, its teachers and its models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes" / "published"
ALL = bool(os.environ.get("ALCHEMIST_TEST_ALL"))
#: Of the series one file stands for the others, which differ in a few lines.
NAMES = [n for n in sorted(p.stem for p in RECIPES.glob("*.recipe")) if ALL or "tulu3_" not in n]


def test_every_recipe_runs_to_its_last_step(tmp_path: Path) -> None:
    """One after the other in one process, and in one test, so that test processes do not each run all of them."""
    pytest.importorskip("torch")
    project = tmp_path / "published"
    shutil.copytree(RECIPES, project / "recipes" / "published")
    (project / "recipe.lock").write_text("version = 1\n")
    report = project / "report.json"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "ALCHEMIST_"))}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("standins.py")), str(project), str(report), *NAMES],
        cwd=project,
        env={**clean, "PYTHONPATH": os.pathsep.join(sys.path), "XDG_CONFIG_HOME": str(project)},
        capture_output=True,
        text=True,
    )
    assert report.exists(), done.stderr[-3000:]
    found: dict[str, Any] = json.loads(report.read_text())
    assert [*found] == NAMES
    for name, made in found.items():
        assert made["last"], f"{name} has a step that this version carries out"
        assert made["exit"] == 0, f"{name}: {made['output'][-2000:]}"
