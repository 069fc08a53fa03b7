"""Public data from end to end: three sources, a benchmark kept out, a served teacher, tasks, mixture, export, two
processes.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e_cli import alchemist, built, calls, run

RECIPE = """edition 2026

import "std:alchemy" as alchemy

recipe {{
  title = "Three public sets"
  seed = 11
}}

teacher served {{
  provider = openai
  model = "gpt-4o-mini-2024-07-18"
  base_url = "{base_url}"
  identity = "the test server"
  price = free
  concurrency = 16
}}

source gpteacher {{
  files = "gpteacher_codegen.json"
  license = "mit"
  limit = 1_200 rows
  set instruction = pick(chars(input) > 0, instruction + "\\n\\n" + input, instruction)
}}

source alpaca {{
  files = "codealpaca_2k.json"
  license = "cc-by-nc-4.0"
  limit = 600 rows
  set instruction = pick(chars(input) > 0, instruction + "\\n\\n" + input, instruction)
  set response = output
}}

source gsm {{
  files = "gsm8k_train.jsonl"
  license = "mit"
  limit = 600 rows
  set instruction = question
  set response = answer
}}

source planted {{
  files = "planted.jsonl"
}}

suite humaneval {{
  files = "humaneval.jsonl.gz"
  id = "task_id"
  text = [
    "prompt",
    "canonical_solution",
  ]
  entry_point = "entry_point"
}}

map tagged {{
  from = [
    gpteacher,
    alpaca,
    gsm,
    planted,
  ]
  set lang = lang(response)
}}

dedup pool {{
  from = tagged
  method = minhash(ngram = 5, permutations = 128, threshold = 0.8)
}}

filter clean {{
  from = pool
  drop chars(response) < 40 as too_short
  drop not parses(code(response), lang) as broken_code
  drop clarity(code(response), lang) < 4 as unclear
  drop not organised(code(response), lang) as disorganised
}}

decontaminate safe {{
  from = clean
  against = humaneval
}}

relabel harmonized {{
  from = safe
  select = 5% per origin
  teacher = served
  prompt = alchemy.relabel
}}

generate reviewed {{
  from = safe
  select = 20 rows
  teacher = served
  prompt = alchemy.review
}}

decontaminate final {{
  from = harmonized
  against = humaneval
}}

task filtering {{
  learn = clean.dropped
  classes {{
    short_response = too_short
    uncompilable_code = broken_code
    unclear_code = unclear
    disorganised_code = disorganised
  }}
  sound = 20%
}}

task review {{
  learn = reviewed.trace
}}

mixture sft {{
  unit = rows
  take {{
    final = all
    filtering = 4%
    review = all
  }}
  on_short = shrink
}}

export dataset {{
  data = sft
  path = "out"
  split {{
    train = 90%
    eval = 10%
  }}
}}

train tiny {{
  data = sft
  init = scratch(layers = 2, hidden = 64, heads = 2, intermediate = 128, context = 256)
  steps = 12
  batch = 8 packs
  max_length = 256 tokens
  learning_rate = 5e-3
  schedule = constant(warmup = 2 steps)
  gpus = 0
  processes = 2
}}
"""


def plant(folder: Path) -> dict[str, set[str]]:
    """Rows with known faults, and the truth about them: which leak which item, which repeat a row of another source."""
    packed = (folder / "humaneval.jsonl.gz").read_bytes()
    items = [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    rows = json.loads((folder / "gpteacher_codegen.json").read_text())
    pick = random.Random(5)
    truth: dict[str, set[str]] = {"leak": set(), "copy": set()}
    out: list[dict[str, Any]] = []
    for item in pick.sample(items, 12):
        text = f"Could you finish this for me?\n\n{item['prompt']}"
        out.append(
            {
                "instruction": text,
                "response": f"Here it is:\n\n```python\n{item['prompt']}{item['canonical_solution']}```\n",
            }
        )
        truth["leak"].add(text)
    long = [r for r in rows if len(r["response"]) > 400 and not r["input"]]
    for row in pick.sample(long, 15):
        out.append({"instruction": row["instruction"] + " ", "response": row["response"]})
        truth["copy"].add(row["instruction"] + " ")
        out.append({"instruction": row["instruction"], "response": row["response"]})
    (folder / "planted.jsonl").write_text("".join(json.dumps(r) + "\n" for r in out))
    return truth


@pytest.fixture
def project(tmp_path: Path, data: Path) -> Path:
    for name in ("gpteacher_codegen.json", "codealpaca_2k.json", "gsm8k_train.jsonl", "humaneval.jsonl.gz"):
        shutil.copy(data / name, tmp_path / name)
    return tmp_path


def lineage(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert len(row["_id"]) == 32 and len(row["_root"]) == 32
        assert row["origin"] in {"gpteacher", "alpaca", "gsm", "planted"}
        made = row["made_by"] in ("filtering", "review")
        assert (row["_parent"] is not None) == made
        assert (row["_id"] == row["_root"]) == (not made)


@pytest.mark.needs("data")
@pytest.mark.slow
def test_three_sets_to_a_model(project: Path, llmock: Callable[..., str]) -> None:
    truth = plant(project)
    (project / "r.recipe").write_text(RECIPE.format(base_url=llmock()))
    nodes = run("r.recipe", project)
    assert calls(nodes) > 0

    import datasets

    found = datasets.load_dataset(str(project / "out"))
    assert set(found) == {"train", "eval"}
    rows = [r for split in found.values() for r in split]
    assert len(rows) == nodes["sft"]["rows"]
    lineage(rows)
    roots = {split: {r["_root"] for r in found[split]} for split in found}
    assert not roots["train"] & roots["eval"]

    # every planted leak is gone, and so is one of each planted pair
    kept = {r["instruction"] for r in rows if r["origin"] == "planted"}
    assert not kept & truth["leak"]
    dropped = sum(nodes["safe"]["figures"]["dropped"].values())
    assert dropped >= len(truth["leak"])
    assert nodes["pool"]["figures"]["dropped"]["duplicate"] >= 15
    plain = [r for r in rows if r["made_by"] not in ("filtering", "review")]
    copies = Counter(r["response"] for r in plain if r["origin"] in ("planted", "gpteacher"))
    assert max(copies.values()) <= 2

    # the prompts stand before the instructions, and the answers are untouched
    asked: dict[str, set[str]] = {}
    for row in json.loads((project / "gpteacher_codegen.json").read_text()):
        more = f"\n\n{row['input']}" if row["input"] else ""
        asked.setdefault(row["response"], set()).add(row["instruction"] + more)
    mine = [r for r in plain if r["origin"] == "gpteacher"]
    assert all(r["response"] in asked for r in mine)
    prompted = [r for r in mine if r["instruction"] not in asked[r["response"]]]
    assert len(prompted) == round(0.05 * len(mine))
    assert all(r["made_by"] == "harmonized" for r in prompted)
    for row in prompted:
        assert any(row["instruction"].endswith("\n" + text) for text in asked[row["response"]])

    card = (project / "out/README.md").read_text()
    assert "cc-by-nc-4.0" in card and "leak of humaneval" in card
    train = nodes["tiny"]["figures"]
    assert train["world_size"] == 2 and train["last_loss"] < train["first_loss"]
    assert built(run("r.recipe", project)) == set()


@pytest.mark.slow
def test_a_real_model_answers(tmp_path: Path, tiny_server: str) -> None:
    """Rows relabelled by a tiny model that `transformers serve` runs: nonsense, but real tokens through the real
    interface.
    """
    rows = [{"instruction": f"Count to {i}.", "response": " ".join(map(str, range(i)))} for i in range(2, 10)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    base_url, _, model = tiny_server.partition(" ")
    recipe = f'''edition 2026
import "std:alchemy" as alchemy
teacher tiny {{
  provider = openai
  model = "{model}"
  base_url = "{base_url}"
  max_tokens = 8 tokens
  price = free
}}
source numbers {{
  files = "rows.jsonl"
}}
relabel harmonized {{
  from = numbers
  select = 3 rows
  teacher = tiny
  prompt = alchemy.relabel
}}
export dataset {{
  data = harmonized
  path = "out"
  format = messages
}}
'''
    (tmp_path / "r.recipe").write_text(recipe)
    done = alchemist("run", "r.recipe", "--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    nodes = {n["node"]: n for n in json.loads(done.stdout)["nodes"]}
    assert nodes["harmonized"]["figures"]["calls_new"] == 3
    (file,) = (tmp_path / "out/data").iterdir()
    lines = [json.loads(x) for x in file.read_text().splitlines()]
    assert len(lines) == len(rows) and all(m["messages"][-1]["role"] == "assistant" for m in lines)
