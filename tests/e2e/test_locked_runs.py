"""A rebuild from `recipe.lock` in another folder gives the same bytes, and `--locked` refuses a world that has
drifted.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from e2e_cli import alchemist, built, exported, jsonl, place, refused, run

RECIPE = """edition 2026

import "std:alchemy" as alchemy

recipe {
  title = "Rebuilt elsewhere"
  license = "MIT"
  seed = 11
}

teacher rules {
  provider = rules
}

source sums {
  files = "data/*.jsonl"
  license = "MIT"
}

source library {
  python = "json"
  license = "PSF-2.0"
}

filter clean {
  from = [
    sums,
    library,
  ]
  drop chars(response) < 30 as too_short
}

generate reviewed {
  from = clean
  select = 20%
  teacher = rules
  prompt = alchemy.review
}

task review {
  learn = reviewed.trace
}

mixture sft {
  unit = rows
  take {
    clean = all
    review = 10%
  }
  on_short = shrink
}

export dataset {
  data = sft
  path = "out"
  split {
    train = 90%
    eval = 10%
  }
}

export lines {
  data = clean
  format = jsonl
  path = "lines"
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a"
    for part in range(2):
        jsonl(
            folder / f"data/part{part}.jsonl",
            (
                {
                    "instruction": f"Add two numbers, and {i} to their sum.",
                    "response": f"def add_{i}(a, b):\n    return a + b + {i}\n" if i % 7 else "No.",
                }
                for i in range(part * 100, part * 100 + 100)
            ),
        )
    (folder / "r.recipe").write_text(RECIPE)
    (folder / "recipe.lock").write_text("version = 1\n")
    return folder


def copied(project: Path, name: str) -> Path:
    """What is committed of a project, in another folder: recipe, lock, data. No store, and other times of the files."""
    other = project.parent / name
    other.mkdir()
    for file in ("r.recipe", "recipe.lock"):
        shutil.copyfile(project / file, other / file)
    for file in sorted((project / "data").iterdir()):
        (other / "data").mkdir(exist_ok=True)
        shutil.copyfile(file, other / "data" / file.name)
        os.utime(other / "data" / file.name, (1_000_000_000, 1_000_000_000))
    return other


def plan(project: Path, *more: str) -> tuple[str, dict[str, Any]]:
    done = alchemist("compile", "r.recipe", "--portable", "--format", "json", "--locked", *more, cwd=project)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(done.stdout)


@pytest.mark.parametrize("made_by", ["run", "lock"])
def test_a_rebuild_from_the_lock_is_the_same_to_the_byte(project: Path, made_by: str) -> None:
    if made_by == "lock":
        assert alchemist("lock", cwd=project).returncode == 0
    first = run("r.recipe", project, *(["--locked"] if made_by == "lock" else []))
    lock = (project / "recipe.lock").read_bytes()
    assert (b"[measured]" in lock) == (made_by == "run")
    other = copied(project, "elsewhere with spaces")
    second = run("r.recipe", other, "--locked")
    assert (other / "recipe.lock").read_bytes() == lock
    assert built(second) == built(first) and len(built(first)) >= 8
    text, here = plan(project)
    same, there = plan(other)
    assert text == same and here["digest"] == there["digest"]
    assert {n["id"]: n["key"] for n in here["nodes"]} == {n["id"]: n["key"] for n in there["nodes"]}
    for folder in ("out", "lines"):
        assert len(exported(project, folder)) >= 3
        assert exported(project, folder) == exported(other, folder)
    assert alchemist("lock", "--check", cwd=other).returncode == 0
    assert built(run("r.recipe", other, "--locked")) == set()


def test_drift_is_refused_before_anything_is_built(project: Path) -> None:
    assert alchemist("lock", cwd=project).returncode == 0
    assert alchemist("compile", "r.recipe", cwd=project).returncode == 0  # digests are cached now
    lock = (project / "recipe.lock").read_bytes()
    file = project / "data/part1.jsonl"
    stat = file.stat()
    file.write_text(file.read_text().replace("add_101(a", "add_999(a", 1))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size, same time: only the bytes tell
    done = alchemist("run", "r.recipe", "--locked", cwd=project)
    refused(
        done,
        1,
        "A908",
        "file `data/part1.jsonl` differs from recipe.lock: content ",
        "alchemist lock --update data/part1.jsonl",
        at=place(RECIPE, "source sums", "sums"),
    )
    assert not (project / ".alchemist/store").exists() and not (project / "out").exists()
    assert (project / "recipe.lock").read_bytes() == lock
    done = alchemist("lock", "--update", "sums", cwd=project)
    assert done.returncode == 0 and "~ file `data/part1.jsonl`: content" in done.stdout
    run("r.recipe", project, "--locked")


def test_every_fact_that_drifted_is_told_before_and_after(project: Path) -> None:
    assert alchemist("lock", cwd=project).returncode == 0
    file = project / "data/part0.jsonl"
    file.write_text('{"instruction": "x", "response": "y", "level": 3}\n' + file.read_text())
    jsonl(project / "data/part2.jsonl", [{"instruction": "a", "response": "b"}])
    text = RECIPE.replace('license = "MIT"\n}\n\nsource', 'license = "BSD-3-Clause"\n}\n\nsource')
    (project / "r.recipe").write_text(text)
    done = alchemist("run", "r.recipe", "--locked", cwd=project)
    refused(
        done,
        1,
        "A908",
        "rows 100 → 101 (+1)",
        "column `level: int?` is new",
        "file `data/part2.jsonl` is not in recipe.lock",
        "licence MIT → BSD-3-Clause",
        at=place(text, "source sums", "sums"),
    )


def test_facts_of_a_later_version_are_kept(project: Path) -> None:
    (project / "recipe.lock").write_text(
        'version = 1\nlater = "yes"\n\n[files]\n"data/part0.jsonl" = { owner = "me" }\n\n[unheard]\n"x" = { y = [1] }\n'
    )
    assert alchemist("lock", "--prune", cwd=project).returncode == 0
    run("r.recipe", project)
    text = (project / "recipe.lock").read_text()
    assert 'later = "yes"' in text and '[unheard]\n"x" = { y = [1] }' in text
    assert 'owner = "me"' in text
    assert alchemist("run", "r.recipe", "--locked", cwd=project).returncode == 0


def test_a_plan_holds_its_facts_itself(project: Path) -> None:
    assert alchemist("compile", "r.recipe", "-o", "p.json", cwd=project).returncode == 0
    done = alchemist("run", "p.json", "--locked", cwd=project)
    assert done.returncode == 2 and "belong to a recipe" in done.stderr
