"""Every step's line closes: rows in = rows out + what was left out by name - what was made beside, over all kinds of
steps.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from alchemist_runtime.storage.store import left_out
from click.testing import CliRunner
from e2e_cli import jsonl

from alchemist_dsl.cli.main import group

RECIPE = """edition 2026
import "std:alchemy" as alchemy
teacher rules {{
  provider = rules
  price = free
}}
source a {{
  files = "a.jsonl"
  on_bad_row = skip(max = 9)
  limit = {limit} rows
}}
source b {{
  files = "b.jsonl"
}}
suite bench {{
  files = "bench.jsonl"
  text = "prompt"
}}
map marked {{
  from = [
    a,
    b,
  ]
  select = {some}
  mode = {mode_1}
  set lang = "python"
}}
dedup once {{
  from = marked
  on = response
}}
filter clean {{
  from = once
  drop chars(response) < 70 as too_short
  drop starts_with(instruction, "Row 3") as odd
  select = {most}
}}
generate evolved {{
  from = clean
  select = {some}
  mode = {mode_2}
  samples = {samples}
  teacher = rules
  prompt = alchemy.evolve
  set instruction = out.instruction
  set response = out.response
  drop chars(out.instruction) > {longest} as wordy
}}
relabel told {{
  from = clean
  select = {most}
  mode = {mode_3}
  teacher = rules
  prompt = alchemy.relabel
  drop chars(out.prompt) > {longest} as wordy
}}
decontaminate final {{
  from = told
  against = bench
}}
task evolution {{
  learn = evolved.trace
  select = {most}
}}
task filtering {{
  learn = clean.dropped
  select = {most}
  classes {{
    short_response = too_short
  }}
  sound = 20%
}}
mixture sft {{
  unit = rows
  take {{
    final = {amount}
    evolution = {share}%
    filtering = all
  }}
  on_short = {on_short}
}}
split parts {{
  from = sft
  eval = 20%
  salt = "cut"
}}
export dataset {{
  data = parts
  path = "out"
}}
export cut {{
  data = sft
  path = "cut"
  split {{
    train = 80%
    eval = 20%
  }}
}}
"""


def written(draw: random.Random) -> str:
    mode_2 = draw.choice(["only", "add", "replace"])
    return RECIPE.format(
        limit=draw.randint(20, 60),
        some=draw.choice(["30%", "7 rows", "100%", "chars(response) > 78"]),
        most=draw.choice(["90%", "25 rows", "100%"]),
        mode_1=draw.choice(["only", "add", "replace"]),
        mode_2=mode_2,
        mode_3=draw.choice(["only", "add", "replace"]),
        samples=draw.randint(1, 3) if mode_2 == "only" else 1,
        longest=draw.choice([120, 160, 400]),
        amount=draw.choice(["all", "9 rows", "1.5x"]),
        share=draw.choice([5, 20]),
        on_short=draw.choice(["shrink", "repeat(max = 99x)"]),
    )


def rows(name: str, n: int) -> list[dict[str, str]]:
    code = '```python\ndef {}_{}(x):\n    """Add {} to x."""\n    return x + {}{}\n```'
    return [
        {
            "instruction": f"Row {k} of {name}: write it.",
            "response": "x" if k % 9 == 0 else code.format(name, k % 40, k % 40, k, " + 0" * (k % 5)),
        }
        for k in range(n)
    ]


def planned() -> dict[str, int]:
    """The sums of a plan compiled after the run: what is left of each, by node."""
    done = CliRunner().invoke(group, ["compile", "r.recipe", "--format", "json"])
    assert done.exit_code == 0, done.output
    sums = {}
    for node in json.loads(done.stdout)["nodes"]:
        told = {n: int(e["value"]) for n, e in node["estimate"].items() if e["basis"] == "last_run"}
        if "rows_in" in told:
            gone, made = (sum(x for n, x in told.items() if n.startswith(part)) for part in ("left_out.", "added."))
            sums[node["id"]] = told["rows_in"] - gone + made - told["rows"]
    return sums


@pytest.mark.parametrize("seed", range(9))
def test_every_line_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    draw = random.Random(seed)
    (tmp_path / "recipe.lock").touch()
    (tmp_path / "r.recipe").write_text(written(draw))
    jsonl(tmp_path / "a.jsonl", [*rows("a", draw.randint(50, 80)), '{"instruction": 1', '{"b": 2}'])
    jsonl(tmp_path / "b.jsonl", rows("b", draw.randint(30, 50)))
    jsonl(tmp_path / "bench.jsonl", [{"prompt": "Row 7 of a: write it. def a_7(x): Add 7 to x."}])
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(group, ["run", "r.recipe", "--format", "json"])
    assert done.exit_code == 0, done.output
    sums, parts = {}, []
    for node in json.loads(done.stdout)["nodes"]:
        parts += [node["figures"][n] for n in ("parts", "splits") if n in node["figures"]]
        figures = node["figures"]
        if "rows_in" in figures:
            out = node["rows"] if node["rows"] is not None else sum(figures["splits"].values())
            gone, made = left_out(figures), figures.get("added", {})
            assert min([*gone.values(), *made.values(), 0]) == 0
            sums[node["node"]] = figures["rows_in"] - sum(gone.values()) + sum(made.values()) - out
    assert len(sums) >= 14
    assert sums == dict.fromkeys(sums, 0)
    assert planned() == dict.fromkeys(sums.keys() - {"dataset", "cut"}, 0)
    assert parts[0] == parts[1] == parts[2], "a step cuts as an export of its salt does"
