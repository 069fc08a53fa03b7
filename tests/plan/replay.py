"""Compile every recipe with the code of a revision and with the code here: no key may move. `python replay.py [REV]`.

A key that moves makes every user pay for the step again; a refactor must move none, a new operator version says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def keys(code: Path, recipe: Path) -> dict[str, str] | None:
    """Key of every node of a recipe, compiled by the code in a checkout; None where that code refuses it."""
    command = [sys.executable, "-m", "alchemist_dsl", "compile", str(recipe), "--portable", "--format", "json"]
    env = {**os.environ, "PYTHONPATH": f"{code}{os.pathsep}{code / 'runtime'}"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=code)
    return {n["id"]: n["key"] for n in json.loads(done.stdout)["nodes"]} if done.returncode == 0 else None


def main(revision: str = "main") -> int:
    recipes = sorted(p for p in (ROOT / "recipes").rglob("*.recipe") if p.parent.name != "std")
    moved = 0
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "code"
        subprocess.run(
            ["git", "-C", str(ROOT), "worktree", "add", "--quiet", "--detach", str(other), revision], check=True
        )
        try:
            for recipe in recipes:
                name = recipe.relative_to(ROOT)
                # where the code of back then refuses today's text, its own text is what users have stored results of
                before, after = keys(other, recipe) or keys(other, other / name), keys(ROOT, recipe)
                if before is None or after is None:
                    print(
                        f"{name}: compiles only {'here' if before is None else 'there'}"
                        if before != after
                        else f"{name}: compiles nowhere"
                    )
                    moved += before is not None
                    continue
                changed = [n for n in sorted(before.keys() & after.keys()) if before[n] != after[n]]
                moved += len(changed)
                print(f"{name}: {len(after)} keys" + (f", moved: {', '.join(changed)}" if changed else ", none moved"))
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(other)], check=True)
    return 1 if moved else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
