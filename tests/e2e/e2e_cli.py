"""The command line as a user runs it, in a project folder of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from command_line import ALCHEMIST, PATIENCE, cli, process


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command: nothing of alchemist's own, and no real key."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ALCHEMIST_")}
    return {**clean, "OPENAI_API_KEY": "", **(more or {})}


def alchemist(*args: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `alchemist …` off a terminal: in this process, and in one of its own where a variable ends it or is
    Python's."""
    own = any(n == "ALCHEMIST_FAULT" or n.startswith("PYTHON") for n in env or ())
    return (process if own else cli)(*args, cwd=cwd, env=environment(env))


class Said(NamedTuple):
    """What a command ended with, and all that it said."""

    code: int
    said: str


def call(*args: str | Path) -> Said:
    """Run `alchemist …` in the current folder and this process; none of our bugs."""
    done = alchemist(*args, cwd=Path.cwd())
    assert done.returncode != 4, done.stdout + done.stderr
    return Said(done.returncode, done.stdout + done.stderr)


def start(*args: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start `alchemist …` and go on; a signal reaches it alone."""
    return subprocess.Popen(
        [*ALCHEMIST, *map(str, args)],
        cwd=cwd,
        env=environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], what: Callable[[], bool]) -> None:
    """Wait until something is so; AssertionError where the process ends or the time is over before."""
    until = time.monotonic() + PATIENCE
    while not what():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise AssertionError("too early or too late:\n" + "\n".join(process.communicate()))
        time.sleep(0.005)


def run(recipe: str, cwd: Path, *more: str, env: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """A run that must succeed; what became of each node."""
    done = alchemist("run", recipe, "--format", "json", *more, cwd=cwd, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return {n["node"]: n for n in json.loads(done.stdout)["nodes"]}


def built(nodes: Mapping[str, Mapping[str, Any]]) -> set[str]:
    return {name for name, n in nodes.items() if n["action"] == "built"}


def calls(nodes: Mapping[str, Mapping[str, Any]]) -> int:
    """New teacher calls of the steps that a run built."""
    return sum(n["figures"].get("calls_new", 0) for n in nodes.values() if n["action"] == "built")


# --- projects ---------------------------------------------------------------------------------------------------------


def jsonl(path: Path, rows: Iterable[Mapping[str, Any] | str]) -> None:
    """Records as lines; a text stands as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))


def squares(n: int) -> list[dict[str, str]]:
    """Small rows."""
    return [{"instruction": f"Square {i}.", "response": f"The square is {i * i}."} for i in range(n)]


def edit(project: Path, old: str, new: str) -> str:
    """Change what must stand in `r.recipe`; the recipe as it is then."""
    text = (project / "r.recipe").read_text()
    assert old in text
    changed = text.replace(old, new, 1)
    (project / "r.recipe").write_text(changed)
    return changed


def exported(project: Path, folder: str = "out") -> dict[str, str]:
    """Digests of the files of an export."""
    files = sorted(p for p in (project / folder).rglob("*") if p.is_file())
    return {str(p.relative_to(project)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def place(recipe: str, text: str, name: str | None = None) -> str:
    """`r.recipe:LINE:COLUMN` of a name in the first line of the recipe that holds a text."""
    line, found = next((n, x) for n, x in enumerate(recipe.split("\n"), 1) if text in x)
    at = found.index(text) + (text.rindex(name) if name else 0)
    return f"r.recipe:{line}:{at + 1}"


def refused(done: subprocess.CompletedProcess[str], exit_code: int, code: str, *says: str, at: str | None) -> None:
    """A command ended with a message for people: its code, its place in the recipe, a way out, and all of `says`."""
    said = done.stdout + done.stderr
    assert done.returncode == exit_code, said
    assert f"error[{code} " in said, said
    assert "help: " in said, said
    assert at is None or f" --> {at}\n" in said, (at, said)
    for words in says:
        assert words in said, (words, said)
    assert "Traceback" not in said and "our bug" not in said
