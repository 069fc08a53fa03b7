"""The command line as a user runs it, in a project folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ALCHEMIST = [sys.executable, "-m", "alchemist_dsl"]


def alchemist(
    *args: str | Path, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run `alchemist …` off a terminal."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ALCHEMIST_")}
    return subprocess.run(
        [*ALCHEMIST, *map(str, args)],
        cwd=cwd,
        env={**clean, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def run(
    recipe: str, cwd: Path, *more: str, env: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """A run that must succeed; what became of each node."""
    done = alchemist("run", recipe, "--format", "json", *more, cwd=cwd, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return {n["node"]: n for n in json.loads(done.stdout)["nodes"]}


def built(nodes: Mapping[str, Mapping[str, Any]]) -> set[str]:
    return {name for name, n in nodes.items() if n["action"] == "built"}


def calls(nodes: Mapping[str, Mapping[str, Any]]) -> int:
    """New teacher calls of the steps that a run built."""
    return sum(n["figures"].get("calls_new", 0) for n in nodes.values() if n["action"] == "built")
