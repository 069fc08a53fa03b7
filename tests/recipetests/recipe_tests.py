"""Small projects with recipes whose tests are carried out, in this process or by the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from command_line import cli

from alchemist_dsl.checker import check
from alchemist_dsl.cli.test_runner import Tested, run_tests
from alchemist_dsl.project.workspace import Project
from alchemist_dsl.source import SourceFile

HERE = Path(__file__).parent
ROW = {"instruction": "a", "response": "b", "score": 1}
ITEM = {
    "id": "rain",
    "prompt": "Write trapped water heights garden walls one metre apart and returns litres",
    "solution": "def trapped(): pass",
    "entry_point": "trapped",
}
BASE = """edition 2026
import "std:alchemy" as alchemy
teacher paid {
  provider = openai
  model = "gpt-4o-2024-08-06"
}
source pairs {
  files = "data/a.jsonl"
}
filter clean {
  from = pairs
  drop chars(response) < 10 as too_short
}
dedup pool {
  from = clean
}
relabel marked {
  from = clean
  teacher = paid
  prompt = alchemy.relabel
}
generate reviewed {
  from = marked
  teacher = paid
  prompt = alchemy.review
  set score = out.correctness
}
decontaminate final {
  from = reviewed
  against = alchemy.humaneval
}
mixture sft {
  unit = rows
  take {
    final = all
    pool = all
  }
}
export dataset {
  data = sft
  path = "out"
}
"""


def project(folder: Path) -> Path:
    """A folder with the files that the recipes here read."""
    (folder / "data").mkdir()
    (folder / "data/a.jsonl").write_text(json.dumps(ROW) + "\n")
    (folder / "data/items.jsonl").write_text(json.dumps(ITEM) + "\n")
    (folder / "recipe.lock").write_text("")
    return folder


def copied(name: str, folder: Path) -> Path:
    """One of the recipes beside this file, in a project of its own."""
    path = project(folder) / name
    path.write_text((HERE / name).read_text())
    return path


def came_of(text: str, folder: Path) -> Tested:
    """The tests of a recipe, carried out in this process."""
    path = folder / "r.recipe"
    path.write_text(text)
    return run_tests(path)


def says(test: str, folder: Path) -> list[str]:
    """What the checker says of a test over the recipe above: code, line in the test, headline."""
    text = BASE + test
    first = BASE.count("\n")
    _, found = check(
        SourceFile("r.recipe", text),
        Project(folder).read,
        columns=lambda b: {"instruction": "text", "response": "text"} if b.name == "pairs" else None,
    )
    lines = [SourceFile("r.recipe", text).position(d.span.start)[0] - first for d in found]
    return [f"{d.code} {line}: {d.headline}" for d, line in zip(found, lines, strict=True) if line > 0]


def alchemist(*args: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`alchemist …` without a way to the network: whoever asks for a name gets none."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ALCHEMIST_", "OPENAI_"))}
    clean |= {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    return cli(*args, cwd=cwd, env=clean)


def timeless(text: str) -> str:
    """Output without the seconds."""
    return re.sub(r"\d+\.\d s\b", "N s", text)
